//! Where a stage computes, when it can compute in more than one place: no part of any fingerprint.

use std::{fmt, str::FromStr, sync::OnceLock};

use thiserror::Error;

use crate::base::span::Span;

/// Where a stage computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// This machine's processor.
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        })
    }
}

/// Where stages are asked to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// On a GPU where there is one, and else on the processor.
    #[default]
    Auto,
    /// On this device, or not at all.
    On(Device),
}

impl DeviceChoice {
    /// All choices, as they are written.
    pub const NAMES: [&str; 3] = ["auto", "cpu", "cuda"];
}

/// A text that names no device.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no device `{0}`: it is one of `auto`, `cpu`, `cuda`")]
pub struct NoDevice(
    /// The text.
    pub String,
);

impl FromStr for DeviceChoice {
    type Err = NoDevice;

    fn from_str(text: &str) -> Result<Self, NoDevice> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::On(Device::Cpu)),
            "cuda" => Ok(Self::On(Device::Cuda)),
            other => Err(NoDevice(other.to_owned())),
        }
    }
}

/// Why a device that was asked for can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DeviceError {
    /// No stage of this program can use it.
    #[error("this program was built without CUDA")]
    NotBuilt,
    /// The machine doesn't have it.
    #[error("CUDA can't be used on this machine: {reason}")]
    Unusable {
        /// What the driver says.
        reason: String,
    },
}

impl DeviceError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotBuilt => "choose `auto` or `cpu`, or use a program that was built with it",
            Self::Unusable { .. } => {
                "`nvidia-smi` lists the GPUs that the driver sees; `auto` and `cpu` need none"
            }
        }
    }
}

/// Tries whether the GPU can be used; what the driver says, if not.
pub type Probe = fn() -> Result<(), String>;

/// Where stages are asked to compute, and who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceWish {
    /// Where.
    pub choice: DeviceChoice,
    /// Where in the pipeline that is written. `None` if it isn't.
    pub place: Option<Span>,
}

/// The device of a run: found out once, and only when a stage asks.
#[derive(Debug)]
pub(crate) struct DeviceSelection {
    choice: DeviceChoice,
    probe: Option<Probe>,
    found: OnceLock<Result<Device, DeviceError>>,
}

impl DeviceSelection {
    pub(crate) fn new(choice: DeviceChoice, probe: Option<Probe>) -> Self {
        Self { choice, probe, found: OnceLock::new() }
    }

    /// Where stages compute.
    pub(crate) fn device(&self) -> Result<Device, DeviceError> {
        self.found.get_or_init(|| self.find()).clone()
    }

    /// Whether what was asked for is there. Where nothing was, nothing is tried.
    pub(crate) fn check(&self) -> Result<(), DeviceError> {
        match self.choice {
            DeviceChoice::On(Device::Cuda) => self.device().map(|_| ()),
            DeviceChoice::Auto | DeviceChoice::On(Device::Cpu) => Ok(()),
        }
    }

    fn find(&self) -> Result<Device, DeviceError> {
        if self.choice == DeviceChoice::On(Device::Cpu) {
            return Ok(Device::Cpu);
        }
        let cuda = match self.probe {
            Some(probe) => probe().map_err(|reason| DeviceError::Unusable { reason }),
            None => Err(DeviceError::NotBuilt),
        };
        match cuda {
            Ok(()) => Ok(Device::Cuda),
            Err(_) if self.choice == DeviceChoice::Auto => Ok(Device::Cpu),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_found_or_refused() {
        let there: Option<Probe> = Some(|| Ok(()));
        let broken: Option<Probe> = Some(|| Err("no driver".to_owned()));
        let found = |choice, probe| DeviceSelection::new(choice, probe).device();
        let [auto, cpu, cuda] = DeviceChoice::NAMES.map(|name| name.parse().unwrap());
        assert_eq!(found(auto, there), Ok(Device::Cuda));
        assert_eq!(found(auto, broken), Ok(Device::Cpu));
        assert_eq!(found(auto, None), Ok(Device::Cpu));
        assert_eq!(found(cpu, there), Ok(Device::Cpu));
        assert_eq!(found(cuda, there), Ok(Device::Cuda));
        let unusable = DeviceError::Unusable { reason: "no driver".to_owned() };
        assert_eq!(found(cuda, broken), Err(unusable.clone()));
        assert_eq!(found(cuda, None), Err(DeviceError::NotBuilt));
        assert_eq!(DeviceSelection::new(cuda, broken).check(), Err(unusable));
        assert_eq!("gpu".parse::<DeviceChoice>(), Err(NoDevice("gpu".to_owned())));
    }

    #[test]
    fn the_gpu_is_only_tried_where_it_may_be_used() {
        let fails: Option<Probe> = Some(|| unreachable!("tried"));
        let [auto, cpu, _] = DeviceChoice::NAMES.map(|name| name.parse().unwrap());
        assert_eq!(DeviceSelection::new(auto, fails).check(), Ok(()));
        assert_eq!(DeviceSelection::new(cpu, fails).device(), Ok(Device::Cpu));
    }
}
