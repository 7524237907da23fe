//! The devices of dfdx, and how a thread comes to one.

use std::fmt;

use dfdx::prelude::*;

use crate::network::error::DeviceFault;

/// A kind of device, and how a thread comes to one.
#[derive(Debug)]
pub(in crate::network) struct On<D: Device<f32>> {
    pub(super) kind: &'static str,
    open: fn() -> Result<D, D::Err>,
}

/// The first NVIDIA GPU.
#[cfg(feature = "cuda")]
pub(in crate::network) static CUDA: On<Cuda> = On { kind: "cuda", open: gpu };

/// dfdx's CPU device.
#[cfg(test)]
pub(in crate::network) static PROCESSOR: On<Cpu> = On { kind: "cpu", open: || Ok(Cpu::default()) };

/// The GPU of this thread: what CUDA keeps of a device belongs to the thread that opened it.
#[cfg(feature = "cuda")]
fn gpu() -> Result<Cuda, CudaError> {
    use std::cell::RefCell;
    thread_local! {
        static OPEN: RefCell<Option<Cuda>> = const { RefCell::new(None) };
    }
    OPEN.with_borrow_mut(|open| {
        if let Some(device) = open {
            return Ok(device.clone());
        }
        Ok(open.insert(Cuda::try_build(0, 0)?).clone())
    })
}

impl<D: Device<f32>> On<D> {
    /// A device for this thread.
    pub(in crate::network) fn open(&self) -> Result<D, DeviceFault> {
        (self.open)().map_err(|error| self.fault(&error))
    }

    /// What the device's library says, as ours.
    pub(super) fn fault(&self, error: &dyn fmt::Display) -> DeviceFault {
        DeviceFault { device: self.kind, reason: error.to_string() }
    }

    /// For another owner.
    pub(super) fn again(&self) -> Self {
        Self { kind: self.kind, open: self.open }
    }
}
