//! Where the stages that have a network compute.

use pipe_engine::{Device, Registry, StageContext, StageError};

use crate::network::Backend;

/// Where a stage's network computes. The record says which device that is.
///
/// # Errors
/// When the device that was asked for isn't there.
pub(crate) fn backend(context: &StageContext<'_>) -> Result<Backend, StageError> {
    match context.device()? {
        Device::Cpu => Ok(Backend::native()),
        #[cfg(feature = "cuda")]
        Device::Cuda => Ok(Backend::cuda()),
        #[cfg(not(feature = "cuda"))]
        Device::Cuda => Err(pipe_engine::DeviceError::NotBuilt.into()),
    }
}

/// Says that stages can use a GPU, where they can.
#[cfg(feature = "cuda")]
pub(crate) fn with_gpu(registry: Registry) -> Registry {
    registry.with_cuda(|| Backend::try_cuda().map_err(|fault| fault.reason))
}

/// Says that stages can use a GPU, where they can.
#[cfg(not(feature = "cuda"))]
pub(crate) fn with_gpu(registry: Registry) -> Registry {
    registry
}
