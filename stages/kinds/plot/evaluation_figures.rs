//! The figures of an evaluation.

use crate::{
    figures::{
        self, Beyond, CalibrationPanel, CalibrationSeries, Figure, QualityPanel, QualitySeries,
    },
    kinds::evaluate::Document,
    spectra::{Bin, Calibration, Coverage, Metrics, Within},
};

const SEPARATION: (&str, &str) = ("Separation from the nearest neighbour", "rms sigma");
const LEAST_SEPARATION: (&str, &str) = ("Least separation of two components", "rms sigma");
const SIGNAL: (&str, &str) = ("Amplitude / noise rms", "");
const LEAST_SIGNAL: (&str, &str) = ("Least amplitude / noise rms", "");

/// Values by bins of a property.
struct Binned {
    property: (&'static str, &'static str),
    bins: Vec<String>,
    support: Vec<u64>,
    /// A list of values for each of the names that go with it.
    values: Vec<Vec<f64>>,
}

fn draw(groups: &[Binned], names: &[&str], what: &str) -> Figure {
    let series: Vec<Vec<QualitySeries<'_>>> = groups
        .iter()
        .map(|group| {
            let named = names.iter().zip(&group.values);
            named.map(|(name, values)| QualitySeries { name, values }).collect()
        })
        .collect();
    let panels: Vec<QualityPanel<'_>> = groups
        .iter()
        .zip(&series)
        .map(|(group, series)| QualityPanel {
            name: group.property.0,
            unit: group.property.1,
            bins: &group.bins,
            support: &group.support,
            series,
        })
        .collect();
    figures::errors(&panels, what)
}

/// Draws recall, precision and F1 by bins.
pub(crate) fn scores(metrics: &Metrics) -> Figure {
    type Part = fn(&Bin) -> Option<f64>;
    let parts: [Part; 3] = [|b| b.score.recall, |b| b.score.precision, |b| b.score.f1];
    let groups = [(SEPARATION, &metrics.by_separation), (SIGNAL, &metrics.by_signal_to_noise)];
    let groups = groups.map(|(property, bins)| Binned {
        property,
        bins: bins.iter().map(|bin| bin.label.clone()).collect(),
        support: bins.iter().map(|bin| bin.score.truth).collect(),
        values: parts
            .iter()
            .map(|part| bins.iter().map(|bin| part(bin).unwrap_or(f64::NAN)).collect())
            .collect(),
    });
    draw(&groups, &["recall", "precision", "F1"], "true components")
}

/// Draws how often the number of components is right, by bins.
pub(crate) fn counts(metrics: &Metrics) -> Figure {
    let groups = [
        (LEAST_SEPARATION, &metrics.count.by_separation),
        (LEAST_SIGNAL, &metrics.count.by_signal_to_noise),
    ];
    let groups = groups.map(|(property, bins)| Binned {
        property,
        bins: bins.iter().map(|bin| bin.label.clone()).collect(),
        support: bins.iter().map(|bin| bin.spectra).collect(),
        values: vec![bins.iter().map(|bin| bin.accuracy.unwrap_or(f64::NAN)).collect()],
    });
    draw(&groups, &["Count accuracy"], "spectra")
}

/// Draws how errors compare with the Cramér–Rao bound and with what the catalogue states; nothing where neither is
/// known.
pub(crate) fn calibration(document: &Document) -> Option<Figure> {
    type Part = fn(&Metrics) -> Option<&Calibration>;
    let kinds: [(&str, Part); 2] = [
        ("Cramér–Rao bound", |metrics| metrics.cramer_rao.as_ref()),
        ("stated uncertainty", |metrics| metrics.stated.as_ref()),
    ];
    let subjects =
        [("catalogue", Some(&document.metrics)), ("fit from the truth", document.oracle.as_ref())];
    let known: Vec<(&str, Vec<Named>)> = kinds
        .iter()
        .map(|(name, part)| {
            let of = subjects
                .iter()
                .filter_map(|(name, metrics)| Some((*name, beyond(&part((*metrics)?)?.matched))));
            (*name, of.collect())
        })
        .collect();
    let series: Vec<Vec<CalibrationSeries<'_>>> = known
        .iter()
        .map(|(_, all)| {
            all.iter().map(|(name, parameters)| CalibrationSeries { name, parameters }).collect()
        })
        .collect();
    let panels: Vec<CalibrationPanel<'_>> = known
        .iter()
        .zip(&series)
        .filter(|(_, series)| !series.is_empty())
        .map(|((name, _), series)| CalibrationPanel { name, series })
        .collect();
    (!panels.is_empty()).then(|| figures::calibration(&panels))
}

/// The errors of one catalogue, with its name.
type Named = (&'static str, [Beyond<'static>; 4]);

fn beyond(coverage: &Coverage) -> [Beyond<'static>; 4] {
    let Coverage { components, amplitude, mean, sigma, all } = *coverage;
    let one = |parameter, errors, within: Within| Beyond {
        parameter,
        errors,
        shares: [within.within_1, within.within_2, within.within_3]
            .map(|share| share.map_or(f64::NAN, |share| 1.0 - share)),
    };
    [
        one("amplitude", components, amplitude),
        one("mean", components, mean),
        one("sigma", components, sigma),
        one("all", 3 * components, all),
    ]
}
