//! Components in units of the noise and channels, and back.

use super::least_squares::Parameters;
use crate::spectra::{Axis, ByParameter, Component};

/// A component in units of the noise rms and channels.
pub(super) fn to_channels(component: &Component, axis: &Axis, rms: f64) -> Parameters {
    [component.amplitude / rms, axis.channel(component.mean), component.sigma / axis.width()]
}

/// The component with these parameters, in the units of the spectrum and its axis.
pub(super) fn to_component(
    [amplitude, mean, sigma]: Parameters,
    axis: &Axis,
    rms: f64,
) -> Component {
    Component { amplitude: amplitude * rms, mean: axis.value(mean), sigma: sigma * axis.width() }
}

/// Standard deviations in the units of the spectrum and its axis.
pub(super) fn to_uncertainty(
    [amplitude, mean, sigma]: Parameters,
    axis: &Axis,
    rms: f64,
) -> ByParameter<f64> {
    ByParameter {
        amplitude: amplitude * rms,
        mean: mean * axis.width(),
        sigma: sigma * axis.width(),
    }
}
