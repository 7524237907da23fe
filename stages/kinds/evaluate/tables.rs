//! The tables of an evaluation, as CSV.

use pipe_engine::{Output, StageError};

use crate::{
    kinds::evaluate::document::{Baselines, Document},
    spectra::{Bin, ByParameter, CountBin, Coverage, Metrics, Within, summary::SUMMARY},
};

/// How to take the bins of components and of spectra from the metrics.
type Bins = (fn(&Metrics) -> &[Bin], fn(&Metrics) -> &[CountBin]);

/// Writes all tables of `document`.
pub(crate) fn write(document: &Document, output: &Output) -> Result<(), StageError> {
    let Document { metrics, baselines, .. } = document;
    let oracle = document.oracle.as_ref();
    table(output, "summary.csv", &summary(metrics, oracle, baselines))?;
    table(output, "parameters.csv", &parameters(document))?;
    table(output, "confusion.csv", &confusion(metrics))?;
    table(output, "calibration.csv", &calibration(metrics, oracle))?;
    let by: [(&str, Bins); 2] = [
        ("separation.csv", (|m| &m.by_separation, |m| &m.count.by_separation)),
        ("signal_to_noise.csv", (|m| &m.by_signal_to_noise, |m| &m.count.by_signal_to_noise)),
    ];
    for (name, (components, counts)) in by {
        let mut lines = vec![titles(&[
            "of",
            "from",
            "to",
            "label",
            "true",
            "predicted",
            "matched",
            "precision",
            "recall",
            "f1",
            "spectra",
            "count_accuracy",
            "count_bias",
        ])];
        for (of, metrics) in subjects(metrics, oracle) {
            lines.extend(bins(of, components(metrics), counts(metrics)));
        }
        table(output, name, &lines)?;
    }
    Ok(())
}

type Line = Vec<String>;

fn titles(titles: &[&str]) -> Line {
    titles.iter().map(|title| (*title).to_owned()).collect()
}

/// The shortest spelling that reads back as the same number; nothing where there is none.
fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn subjects<'a>(
    metrics: &'a Metrics,
    oracle: Option<&'a Metrics>,
) -> impl Iterator<Item = (&'static str, &'a Metrics)> {
    [("catalogue", Some(metrics)), ("oracle", oracle)]
        .into_iter()
        .filter_map(|(name, metrics)| Some((name, metrics?)))
}

fn summary(metrics: &Metrics, oracle: Option<&Metrics>, baselines: &Baselines) -> Vec<Line> {
    let all = [
        ("catalogue", Some(metrics)),
        ("oracle", oracle),
        ("majority_count", Some(&baselines.majority_count)),
        ("constant_guess", Some(&baselines.constant_guess)),
    ];
    let mut lines = vec![titles(&["figure"])];
    lines[0].extend(all.map(|(name, _)| name.to_owned()));
    for (name, figure) in SUMMARY {
        let mut line = titles(&[name]);
        line.extend(all.map(|(_, metrics)| number(metrics.and_then(figure))));
        lines.push(line);
    }
    lines
}

/// One value for each parameter, with its name.
fn named<T>(by: ByParameter<T>) -> [(&'static str, T); 3] {
    [("amplitude", by.amplitude), ("mean", by.mean), ("sigma", by.sigma)]
}

fn parameters(document: &Document) -> Vec<Line> {
    let Document { metrics, intensity_unit, axis_unit, .. } = document;
    let mut lines = vec![titles(&[
        "parameter",
        "unit",
        "active_r2",
        "slot_r2",
        "active_mean_absolute_error",
        "matched_mean_absolute_error",
    ])];
    let columns = [metrics.active.r2, metrics.slot_r2, metrics.active.error, metrics.matched_error]
        .map(|column| named(column).map(|(_, value)| value));
    let units = [intensity_unit, axis_unit, axis_unit];
    for (i, name) in ["amplitude", "mean", "sigma"].into_iter().enumerate() {
        let mut line = vec![name.to_owned(), units[i].clone()];
        line.extend(columns.map(|column| number(column[i])));
        lines.push(line);
    }
    lines
}

fn confusion(metrics: &Metrics) -> Vec<Line> {
    let classes = metrics.count.confusion.len();
    let mut lines = vec![titles(&["true_count"])];
    lines[0].extend((0..classes).map(|predicted| format!("predicted_{predicted}")));
    for (truth, row) in metrics.count.confusion.iter().enumerate() {
        let numbers = row.iter().map(u64::to_string);
        lines.push(std::iter::once(truth.to_string()).chain(numbers).collect());
    }
    lines
}

/// The shares of errors within their standard deviations, and those of normal errors of the right size.
fn calibration(metrics: &Metrics, oracle: Option<&Metrics>) -> Vec<Line> {
    let mut lines = vec![titles(&[
        "of",
        "deviation",
        "components",
        "parameter",
        "errors",
        "within_1",
        "within_2",
        "within_3",
    ])];
    let mut push = |place: [&str; 4], errors: u64, within: Within| {
        let mut line = titles(&place);
        line.push(errors.to_string());
        line.extend([within.within_1, within.within_2, within.within_3].map(number));
        lines.push(line);
    };
    for (of, metrics) in subjects(metrics, oracle) {
        let known = [("cramer_rao", metrics.cramer_rao), ("stated", metrics.stated)];
        for (deviation, calibration) in known {
            let Some(calibration) = calibration else { continue };
            let which =
                [("matched", calibration.matched), ("right_count", calibration.right_count)];
            for (components, coverage) in which {
                let Coverage { components: n, amplitude, mean, sigma, all } = coverage;
                for (parameter, within) in named(ByParameter { amplitude, mean, sigma }) {
                    push([of, deviation, components, parameter], n, within);
                }
                push([of, deviation, components, "all"], 3 * n, all);
            }
        }
    }
    lines
}

/// A line for each bin of components or of spectra; those of spectra without components have no bin of components.
fn bins<'a>(
    of: &'static str,
    components: &'a [Bin],
    counts: &'a [CountBin],
) -> impl Iterator<Item = Line> + use<'a> {
    (0..components.len().max(counts.len())).filter_map(move |i| {
        let (bin, count) = (components.get(i), counts.get(i));
        let (min, max, label) = match (bin, count) {
            (Some(bin), _) => (bin.min, bin.max, &bin.label),
            (None, Some(count)) => (count.min, count.max, &count.label),
            (None, None) => return None,
        };
        let mut line = vec![of.to_owned(), number(min), number(max), label.clone()];
        let score = bin.map(|bin| bin.score).unwrap_or_default();
        line.extend([score.truth, score.predicted, score.matched].map(|n| n.to_string()));
        line.extend([score.precision, score.recall, score.f1].map(number));
        line.push(count.map_or(0, |count| count.spectra).to_string());
        line.push(number(count.and_then(|count| count.accuracy)));
        line.push(number(count.and_then(|count| count.bias)));
        Some(line)
    })
}

fn table(output: &Output, name: &str, lines: &[Line]) -> Result<(), StageError> {
    let mut table = csv::Writer::from_writer(Vec::new());
    for line in lines {
        table.write_record(line)?;
    }
    let bytes = table.into_inner().map_err(csv::IntoInnerError::into_error)?;
    Ok(output.write(name, &bytes)?)
}
