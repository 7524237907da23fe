//! The figures by which a catalogue is summed up, by name: what tables of several have in common.

use crate::spectra::{Calibration, Metrics, Within};

/// A figure's name, and how to take it from the metrics.
pub(crate) type SummaryFigure = (&'static str, fn(&Metrics) -> Option<f64>);

/// All figures, in order.
pub(crate) const SUMMARY: [SummaryFigure; 22] = [
    ("spectra", |m| Some(m.spectra as f64)),
    ("true_components", |m| Some(m.matched.truth as f64)),
    ("predicted_components", |m| Some(m.matched.predicted as f64)),
    ("count_accuracy", |m| m.count.accuracy),
    ("count_bias", |m| m.count.bias),
    ("pooled_active_r2", |m| m.active.pooled_r2),
    ("active_r2_amplitude", |m| m.active.r2.amplitude),
    ("active_r2_mean", |m| m.active.r2.mean),
    ("active_r2_sigma", |m| m.active.r2.sigma),
    ("slot_r2_amplitude", |m| m.slot_r2.amplitude),
    ("slot_r2_mean", |m| m.slot_r2.mean),
    ("slot_r2_sigma", |m| m.slot_r2.sigma),
    ("matched", |m| Some(m.matched.matched as f64)),
    ("precision", |m| m.matched.precision),
    ("recall", |m| m.matched.recall),
    ("f1", |m| m.matched.f1),
    ("within_1_bound", |m| within(m.cramer_rao.as_ref()).within_1),
    ("within_2_bound", |m| within(m.cramer_rao.as_ref()).within_2),
    ("within_3_bound", |m| within(m.cramer_rao.as_ref()).within_3),
    ("within_1_stated", |m| within(m.stated.as_ref()).within_1),
    ("within_2_stated", |m| within(m.stated.as_ref()).within_2),
    ("within_3_stated", |m| within(m.stated.as_ref()).within_3),
];

/// Of the errors of all parameters of all matched components.
fn within(calibration: Option<&Calibration>) -> Within {
    calibration.map_or_else(Within::default, |calibration| calibration.matched.all)
}
