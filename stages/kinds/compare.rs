//! The stage `compare`: how good several catalogues of the same spectra are, side by side.

use std::collections::BTreeMap;

use pipe_engine::{
    ArtifactType, Exactness, Fault, Format, InputPort, Output, OutputPort, StageContext,
    StageError, StageKind,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    artifacts::{COMPARISON, COMPARISON_FILE, METRICS, METRICS_FILE, TABLE},
    kinds::evaluate::{Document, Subset},
    spectra::{Bin, CountBin, MatchCriteria, Metrics, summary::SUMMARY},
};

/// The comparison of evaluations.
pub struct Compare;

/// A text that people read.
const MARKDOWN: ArtifactType = ArtifactType::new("markdown", Format::Any);

/// What is compared, and in which order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The names of inputs that come first, in this order; the others follow in order of their names.
    pub order: Vec<String>,
    /// The figures, in order; `pipe show STAGE.tables --path summary.csv` of an `evaluate` names all there are.
    #[schemars(length(min = 1))]
    pub figures: Vec<String>,
    /// Figures that are known from elsewhere: a mapping from a name to figures with their values. They stand before the
    /// others.
    pub published: BTreeMap<String, BTreeMap<String, f64>>,
    /// Whether the fit from the truth is shown, where it was evaluated.
    pub oracle: bool,
    /// Whether what says the same of every spectrum is shown.
    pub baselines: bool,
}

impl Default for Config {
    fn default() -> Self {
        let figures = [
            "count_accuracy",
            "slot_r2_amplitude",
            "slot_r2_mean",
            "slot_r2_sigma",
            "precision",
            "recall",
            "f1",
            "within_1_bound",
            "within_2_bound",
            "within_3_bound",
        ];
        Self {
            order: Vec::new(),
            figures: figures.map(String::from).to_vec(),
            published: BTreeMap::new(),
            oracle: true,
            baselines: true,
        }
    }
}

/// What keeps evaluations from being compared.
#[derive(Debug, thiserror::Error)]
enum CompareError {
    #[error(
        "`{one}` and `{other}` are not about the same spectra: {one_spectra} with {one_components} components, and \
         {other_spectra} with {other_components}"
    )]
    Spectra {
        one: String,
        other: String,
        one_spectra: u64,
        one_components: u64,
        other_spectra: u64,
        other_components: u64,
    },
    #[error("`{one}` and `{other}` evaluate other rows, or match components by other criteria")]
    Criteria { one: String, other: String },
    #[error("`order` names `{name}`, and the inputs are {}", known.join(", "))]
    Order { name: String, known: Vec<String> },
}

/// The document that the output `comparison` holds.
#[derive(Debug, Serialize)]
struct Comparison<'a> {
    /// The rows that were evaluated.
    subset: Subset,
    /// When components matched.
    criteria: MatchCriteria,
    /// The number of spectra.
    spectra: u64,
    /// The number of true components.
    true_components: u64,
    /// The figures of each column.
    columns: BTreeMap<&'a str, BTreeMap<&'a str, Option<f64>>>,
}

impl StageKind for Compare {
    type Config = Config;

    const KIND: &'static str = "compare";
    const ABOUT: &'static str =
        "Puts the evaluations of several catalogues of the same spectra side by side.";
    const REVISION: u32 = 1;
    const EXACTNESS: Exactness = Exactness::Exact;
    const INPUTS: &'static [InputPort] =
        &[InputPort::any(METRICS, "evaluations, each under the name that its column is to have")];
    const OUTPUTS: &'static [OutputPort] = &[
        OutputPort::new("comparison", COMPARISON, "the figures of each, as JSON"),
        OutputPort::new(
            "tables",
            TABLE,
            "as CSV: comparison, count_by_separation, f1_by_separation, f1_by_signal_to_noise",
        ),
        OutputPort::new("markdown", MARKDOWN, "the same tables as Markdown, rounded"),
    ];

    fn check(config: &Config) -> Vec<Fault> {
        let known = |name: &str| SUMMARY.iter().any(|(figure, _)| *figure == name);
        let fault = |path: Vec<String>, name: &str| {
            let names: Vec<&str> = SUMMARY.iter().map(|(name, _)| *name).collect();
            Fault {
                path,
                message: format!("there is no figure `{name}`"),
                help: Some(format!("the figures are {}", names.join(", "))),
            }
        };
        let mut faults = Vec::new();
        for name in config.figures.iter().filter(|name| !known(name)) {
            faults.push(fault(vec!["figures".to_owned()], name));
        }
        for (column, figures) in &config.published {
            for name in figures.keys().filter(|name| !known(name)) {
                faults.push(fault(vec!["published".to_owned(), column.clone()], name));
            }
        }
        faults
    }

    fn run(config: &Config, context: &StageContext<'_>) -> Result<(), StageError> {
        let mut documents: Vec<(String, Document)> = Vec::new();
        for input in context.inputs() {
            documents.push((input.name().to_owned(), input.document(METRICS_FILE)?));
        }
        arrange(&mut documents, &config.order)?;
        for (name, document) in &documents[1..] {
            check_same(&documents[0], name, document)?;
        }
        let columns = columns(config, &documents);
        let tables = tables(config, &columns);

        let first = &documents[0].1;
        let values = columns.iter().map(|column| {
            let figures = config.figures.iter();
            (column.name(), figures.map(|name| (name.as_str(), column.figure(name))).collect())
        });
        let comparison = Comparison {
            subset: first.subset,
            criteria: first.criteria,
            spectra: first.metrics.spectra,
            true_components: first.metrics.matched.truth,
            columns: values.collect(),
        };
        context.output("comparison")?.document(COMPARISON_FILE, &comparison)?;
        let output = context.output("tables")?;
        for table in &tables {
            table.write_csv(output)?;
        }
        let markdown: Vec<String> = tables.iter().map(Table::markdown).collect();
        Ok(context.output("markdown")?.write("comparison.md", markdown.join("\n").as_bytes())?)
    }
}

/// Puts those first that `order` names.
fn arrange(documents: &mut [(String, Document)], order: &[String]) -> Result<(), CompareError> {
    if let Some(name) = order.iter().find(|name| documents.iter().all(|(known, _)| known != *name))
    {
        let known = documents.iter().map(|(name, _)| format!("`{name}`")).collect();
        return Err(CompareError::Order { name: name.clone(), known });
    }
    let place = |name: &String| order.iter().position(|other| other == name);
    documents.sort_by_key(|(name, _)| place(name).unwrap_or(order.len()));
    Ok(())
}

/// Whether two evaluations are about the same rows of the same truth, as far as they tell.
fn check_same(
    (one, first): &(String, Document),
    other: &str,
    second: &Document,
) -> Result<(), CompareError> {
    let truth = |document: &Document| -> Vec<u64> {
        document.metrics.by_separation.iter().map(|bin| bin.score.truth).collect()
    };
    if first.metrics.spectra != second.metrics.spectra || truth(first) != truth(second) {
        return Err(CompareError::Spectra {
            one: one.clone(),
            other: other.to_owned(),
            one_spectra: first.metrics.spectra,
            one_components: first.metrics.matched.truth,
            other_spectra: second.metrics.spectra,
            other_components: second.metrics.matched.truth,
        });
    }
    if first.criteria != second.criteria || first.subset != second.subset {
        return Err(CompareError::Criteria { one: one.clone(), other: other.to_owned() });
    }
    Ok(())
}

/// One column of the tables.
enum Column<'a> {
    Published(&'a str, &'a BTreeMap<String, f64>),
    Measured(&'a str, &'a Metrics),
}

impl Column<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Published(name, _) | Self::Measured(name, _) => name,
        }
    }

    fn figure(&self, name: &str) -> Option<f64> {
        match self {
            Self::Published(_, figures) => figures.get(name).copied(),
            Self::Measured(_, metrics) => {
                let (_, figure) = SUMMARY.iter().find(|(figure, _)| *figure == name)?;
                figure(metrics)
            }
        }
    }

    fn metrics(&self) -> Option<&Metrics> {
        match self {
            Self::Published(..) => None,
            Self::Measured(_, metrics) => Some(metrics),
        }
    }
}

fn columns<'a>(config: &'a Config, documents: &'a [(String, Document)]) -> Vec<Column<'a>> {
    let published = config.published.iter().map(|(name, figures)| Column::Published(name, figures));
    let measured =
        documents.iter().map(|(name, document)| Column::Measured(name, &document.metrics));
    let mut columns: Vec<Column<'a>> = published.chain(measured).collect();
    // They are the same in every evaluation of these spectra that has them.
    let oracle = documents.iter().find_map(|(_, document)| document.oracle.as_ref());
    if let Some(oracle) = oracle.filter(|_| config.oracle) {
        columns.push(Column::Measured("oracle", oracle));
    }
    if config.baselines {
        let baselines = &documents[0].1.baselines;
        columns.push(Column::Measured("majority count", &baselines.majority_count));
        columns.push(Column::Measured("constant guess", &baselines.constant_guess));
    }
    columns
}

/// A table with a title, whose lines begin with texts and go on with numbers.
struct Table {
    file: &'static str,
    title: &'static str,
    heads: Vec<String>,
    columns: Vec<String>,
    lines: Vec<(Vec<String>, Vec<Option<f64>>)>,
}

/// A property of bins of the metrics, with the bins' labels.
type Labelled = (String, Option<f64>);

fn tables(config: &Config, columns: &[Column<'_>]) -> Vec<Table> {
    let names = |columns: &[&Column<'_>]| columns.iter().map(|c| c.name().to_owned()).collect();
    let all: Vec<&Column<'_>> = columns.iter().collect();
    let measured: Vec<&Column<'_>> = columns.iter().filter(|c| c.metrics().is_some()).collect();
    let by = |file,
              title,
              heads: [&str; 2],
              values: &dyn Fn(&Metrics) -> Vec<Labelled>,
              size: &dyn Fn(&Metrics) -> Vec<u64>| {
        let of: Vec<(Vec<Labelled>, Vec<u64>)> = measured
            .iter()
            .filter_map(|column| column.metrics())
            .map(|metrics| (values(metrics), size(metrics)))
            .collect();
        let line = |i: usize| {
            let (labels, sizes) = &of[0];
            let heads = vec![labels[i].0.clone(), sizes[i].to_string()];
            (
                heads,
                of.iter().map(|(values, _)| values.get(i).and_then(|(_, value)| *value)).collect(),
            )
        };
        let count = of.first().map_or(0, |(labels, _)| labels.len());
        Table {
            file,
            title,
            heads: heads.map(String::from).to_vec(),
            columns: names(&measured),
            lines: (0..count).map(line).collect(),
        }
    };
    let figures = config
        .figures
        .iter()
        .map(|name| (vec![name.clone()], all.iter().map(|column| column.figure(name)).collect()));
    let scores = |bins: &[Bin]| bins.iter().map(|b| (b.label.clone(), b.score.f1)).collect();
    let true_components = |bins: &[Bin]| bins.iter().map(|bin| bin.score.truth).collect();
    let accuracies =
        |bins: &[CountBin]| bins.iter().map(|b| (b.label.clone(), b.accuracy)).collect();
    vec![
        Table {
            file: "comparison.csv",
            title: "",
            heads: vec!["figure".to_owned()],
            columns: names(&all),
            lines: figures.collect(),
        },
        by(
            "count_by_separation.csv",
            "Count accuracy by the least separation of two components, in units of the rms of their sigmas",
            ["separation", "spectra"],
            &|metrics| accuracies(&metrics.count.by_separation),
            &|metrics| metrics.count.by_separation.iter().map(|bin| bin.spectra).collect(),
        ),
        by(
            "f1_by_separation.csv",
            "F1 by separation from the nearest neighbour, in units of the rms of both sigmas",
            ["separation", "true_components"],
            &|metrics| scores(&metrics.by_separation),
            &|metrics| true_components(&metrics.by_separation),
        ),
        by(
            "f1_by_signal_to_noise.csv",
            "F1 by amplitude over noise rms",
            ["signal_to_noise", "true_components"],
            &|metrics| scores(&metrics.by_signal_to_noise),
            &|metrics| true_components(&metrics.by_signal_to_noise),
        ),
    ]
}

impl Table {
    /// Numbers have the fewest digits that read back as the same number.
    fn write_csv(&self, output: &Output) -> Result<(), StageError> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record(self.heads.iter().chain(&self.columns))?;
        for (heads, values) in &self.lines {
            let number = |value: &Option<f64>| value.map_or_else(String::new, |v| v.to_string());
            csv.write_record(heads.iter().cloned().chain(values.iter().map(number)))?;
        }
        let bytes = csv.into_inner().map_err(csv::IntoInnerError::into_error)?;
        Ok(output.write(self.file, &bytes)?)
    }

    /// Numbers are rounded to four digits behind the point, counts are whole.
    fn markdown(&self) -> String {
        let number = |value: &Option<f64>| match value {
            None => "–".to_owned(),
            Some(value) if value.fract() == 0.0 && value.abs() >= 2.0 => value.to_string(),
            Some(value) => format!("{value:.4}"),
        };
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let cells = |text: &String| text.replace('|', "\\|").replace('_', " ");
        let mut text = String::new();
        if !self.title.is_empty() {
            text.push_str(self.title);
            text.push_str(":\n\n");
        }
        text.push_str(&line(self.heads.iter().chain(&self.columns).map(cells).collect()));
        text.push_str(&line(vec!["---".to_owned(); self.heads.len() + self.columns.len()]));
        for (heads, values) in &self.lines {
            text.push_str(&line(
                heads.iter().map(cells).chain(values.iter().map(number)).collect(),
            ));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kinds::evaluate::Baselines,
        spectra::{Component, Evaluation},
    };

    /// The evaluation of two spectra in which the components are found `off` their place.
    fn document(off: f64, spectra: usize) -> Document {
        let mut evaluation = Evaluation::new(MatchCriteria::default(), 1.0, 2);
        for row in 0..spectra {
            let at = |mean| Component { amplitude: 1.0 + row as f64, mean, sigma: 4.0 };
            evaluation.push(&[at(40.0), at(80.0)], &[at(40.0 + off), at(80.0)], 0.1);
        }
        let metrics = evaluation.finish();
        Document {
            subset: Subset::All,
            criteria: MatchCriteria::default(),
            intensity_unit: String::new(),
            axis_unit: String::new(),
            oracle: Some(metrics.clone()),
            baselines: Baselines {
                majority_count: metrics.clone(),
                constant_guess: metrics.clone(),
            },
            metrics,
        }
    }

    fn named(name: &str, off: f64) -> (String, Document) {
        (name.to_owned(), document(off, 2))
    }

    #[test]
    fn tables_have_a_column_for_each() {
        let mut documents = vec![named("fit", 1.0), named("forest", 10.0), named("network", 0.0)];
        arrange(&mut documents, &["network".to_owned(), "forest".to_owned()]).unwrap();
        let config = Config {
            figures: vec!["count_accuracy".to_owned(), "f1".to_owned(), "spectra".to_owned()],
            published: BTreeMap::from([(
                "a | first_solver".to_owned(),
                BTreeMap::from([("count_accuracy".to_owned(), 0.527)]),
            )]),
            baselines: false,
            ..Config::default()
        };
        assert_eq!(Compare::check(&config), []);
        let columns = columns(&config, &documents);
        let tables = tables(&config, &columns);
        assert_eq!(
            tables[0].markdown(),
            "| figure | a \\| first solver | network | forest | fit | oracle |\n\
             | --- | --- | --- | --- | --- | --- |\n\
             | count accuracy | 0.5270 | 1.0000 | 1.0000 | 1.0000 | 1.0000 |\n\
             | f1 | – | 1.0000 | 0.5000 | 1.0000 | 1.0000 |\n\
             | spectra | – | 2 | 2 | 2 | 2 |\n"
        );
        assert!(tables[2].markdown().contains("| ≥ 2 | 4 | 1.0000 | 0.5000 | 1.0000 | 1.0000 |"));
        assert!(tables[1].markdown().starts_with("Count accuracy by"));
    }

    #[test]
    fn what_is_not_about_the_same_is_refused() {
        let one = named("one", 0.0);
        assert!(check_same(&one, "other", &document(3.0, 2)).is_ok());
        let error = check_same(&one, "other", &document(0.0, 3)).unwrap_err().to_string();
        assert!(error.contains("2 with 4 components, and 3 with 6"), "{error}");
        let strict = MatchCriteria { mean_tolerance: 1.0, ..MatchCriteria::default() };
        let strict = Document { criteria: strict, ..document(0.0, 2) };
        assert!(matches!(check_same(&one, "x", &strict), Err(CompareError::Criteria { .. })));
        let order = ["none".to_owned()];
        assert!(matches!(arrange(&mut [one], &order), Err(CompareError::Order { .. })));
    }

    #[test]
    fn a_figure_that_there_is_not_is_a_fault() {
        let unknown = || "f2".to_owned();
        let figures = Config { figures: vec![unknown()], ..Config::default() };
        assert_eq!(Compare::check(&figures)[0].path, ["figures"]);
        let published = BTreeMap::from([("x".to_owned(), BTreeMap::from([(unknown(), 1.0)]))]);
        let published = Config { published, ..Config::default() };
        assert_eq!(Compare::check(&published)[0].path, ["published", "x"]);
        assert_eq!(Compare::check(&Config::default()), []);
    }
}
