//! `pipe show`.

use std::{fmt::Write as _, path::Path};

use clap::Args;
use pipe_engine::{ArtifactPath, Entry, Registry};

use super::outputs::{self, FoundOutput, Outputs};
use crate::cli::{
    arguments::PipelineArguments,
    display::{array, document, table},
    error::CommandError,
    exit_code,
    printer::Printer,
    text::{self, NAME, styled},
};

/// Shows an output on the terminal: a document, a table, a text, or what arrays there are.
#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// The stage, or one of its outputs; one combination of a matrix is `'STAGE[AXIS=VALUE,…].OUTPUT'`.
    #[arg(value_name = "STAGE[.OUTPUT]")]
    wanted: String,

    /// Which file, of an output that has several.
    #[arg(long, value_name = "PATH")]
    path: Option<String>,

    /// How many rows of a table.
    #[arg(long, value_name = "N", default_value_t = 20)]
    rows: usize,

    #[command(flatten)]
    pipeline: PipelineArguments,
}

/// The largest file that is shown, in bytes.
const LARGEST: u64 = 64 << 20;

pub(crate) fn run(
    arguments: &ShowArguments,
    before: PipelineArguments,
    registry: &Registry,
    printer: Printer,
) -> Result<u8, CommandError> {
    let pipeline = arguments.pipeline.clone().over(before);
    let outputs = outputs::find(&arguments.wanted, &pipeline, registry)?;
    if let [output] = outputs.found.as_slice() {
        printer.block(show(&outputs, output, arguments, printer)?.trim_end())?;
        return Ok(exit_code::DONE);
    }
    let mut text = String::new();
    for output in &outputs.found {
        let name = format!("{}.{}", output.stage, output.name);
        let _ = writeln!(text, "{} ({})", styled(NAME, name), output.artifact);
        text.push_str(&files(output));
    }
    printer.block(text.trim_end())?;
    if let Some(first) = outputs.found.first() {
        let name = format!("{}.{}", first.stage, first.name);
        let quote = if name.contains('[') { "'" } else { "" };
        printer.help(format_args!("to look into one: `pipe show {quote}{name}{quote}`"));
    }
    Ok(exit_code::DONE)
}

fn show(
    outputs: &Outputs,
    output: &FoundOutput,
    arguments: &ShowArguments,
    printer: Printer,
) -> Result<String, CommandError> {
    let tree = &output.tree;
    let read = |entry: &Entry| outputs.cache.read_blob(entry).map_err(CommandError::from);
    let entry = match &arguments.path {
        Some(name) => tree.find(name).ok_or_else(|| {
            let known: Vec<&str> = tree.files().iter().map(|entry| entry.path.as_str()).collect();
            CommandError::no_such("file", name, known)
        })?,
        None if tree.get("zarr.json").is_some() => {
            return array::show(tree, &read, Printer::width());
        }
        None => {
            let readable = |entry: &&Entry| {
                let path = entry.path.as_str();
                path == ArtifactPath::ITSELF || Kind::of(path).is_some()
            };
            let mut readable = tree.files().iter().filter(readable);
            let (Some(only), None) = (readable.next(), readable.next()) else {
                printer.help("to look into a file: `--path PATH`");
                return Ok(files(output));
            };
            only
        }
    };
    if entry.size > LARGEST {
        return Err(CommandError::wrong(
            format!("the file has {}, too much to show", size(entry.size)),
            format!("put it where you can look at it: `pipe out {}`", arguments.wanted),
        ));
    }
    let name = match entry.path.as_str() {
        ArtifactPath::ITSELF => output.name.as_str(),
        path => path,
    };
    let bytes = read(entry)?;
    let Ok(text) = String::from_utf8(bytes) else {
        return Ok(format!("{name}: {}, not a text", size(entry.size)));
    };
    Ok(match Kind::of(name) {
        Some(Kind::Table) => table::show(&text, arguments.rows, Printer::width()).unwrap_or(text),
        Some(Kind::Document) | None => match serde_json::from_str(&text) {
            Ok(value) => document::show(&value),
            Err(_) => text,
        },
        Some(Kind::Text) => text,
    })
}

/// What a file is, by the ending of its name.
enum Kind {
    Document,
    Table,
    Text,
}

impl Kind {
    fn of(name: &str) -> Option<Self> {
        match Path::new(name).extension()?.to_str()? {
            "json" => Some(Self::Document),
            "csv" => Some(Self::Table),
            "txt" | "md" | "log" | "yaml" | "yml" | "toml" => Some(Self::Text),
            _ => None,
        }
    }
}

/// What an output holds, the files with their sizes, as much as one reads.
fn files(output: &FoundOutput) -> String {
    const MOST: usize = 20;
    let tree = &output.tree;
    if tree.is_empty() {
        return "  an empty folder\n".to_owned();
    }
    let name = |path: &str| match path {
        ArtifactPath::ITSELF => output.name.clone(),
        path => path.to_owned(),
    };
    let files = tree.files().iter();
    let files = files.map(|entry| (name(entry.path.as_str()), size(entry.size)));
    let links = tree.links().iter();
    let links = links.map(|link| (link.path.to_string(), format!("→ {}", link.target)));
    let folders = tree.folders().iter().map(|path| (format!("{path}/"), "empty".to_owned()));
    let listed = files.chain(links).chain(folders).take(MOST);
    let one_line = |text: String| text::one_line(&text).into_owned();
    let listed: Vec<(String, String)> =
        listed.map(|(name, what)| (one_line(name), one_line(what))).collect();
    let width = listed.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, what) in &listed {
        let _ = writeln!(text, "  {name:width$}  {what:>10}");
    }
    let all = tree.files().len() + tree.links().len() + tree.folders().len();
    if all > listed.len() {
        let _ = writeln!(text, "  … and {} more files", all - listed.len());
    }
    text
}

fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}
