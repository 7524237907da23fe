//! `pipe graph`.

use std::{collections::BTreeMap, fmt::Write as _};

use clap::{Args, ValueEnum};
use pipe_engine::{
    Registry,
    graph::{Input, Pipeline, StageNode, Task},
};

use crate::cli::{
    arguments::PipelineArguments, error::CommandError, exit_code, printer::Printer, project,
    view::line,
};

/// Draws the pipeline.
#[derive(Debug, Args)]
pub(crate) struct GraphArguments {
    #[command(flatten)]
    pipeline: PipelineArguments,

    /// How to draw it.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Format {
    /// A line for each stage, with its inputs.
    #[default]
    Text,
    /// A flowchart for Mermaid, such as for Markdown.
    Mermaid,
    /// A graph for Graphviz.
    Dot,
}

pub(crate) fn run(
    arguments: GraphArguments,
    before: PipelineArguments,
    registry: &Registry,
    printer: Printer,
) -> Result<u8, CommandError> {
    let pipeline = project::load(&arguments.pipeline.over(before), registry)?;
    let drawing = match arguments.format {
        Format::Text => text(&pipeline),
        Format::Mermaid => mermaid(&pipeline),
        Format::Dot => dot(&pipeline),
    };
    printer.block(drawing.trim_end())?;
    Ok(exit_code::DONE)
}

fn stages(pipeline: &Pipeline) -> impl Iterator<Item = (usize, &StageNode)> {
    pipeline.order.iter().map(|&i| (i, &pipeline.stages[i]))
}

fn kind(stage: &StageNode) -> &str {
    match &stage.task {
        Task::Kind { kind, .. } => kind.name(),
        Task::Command(_) => "command",
        Task::Select(_) => "select",
    }
}

fn text(pipeline: &Pipeline) -> String {
    let width = line::name_width(pipeline.stages.iter().map(|stage| stage.name.as_str()));
    let mut drawing = String::new();
    for (_, stage) in stages(pipeline) {
        let mut inputs: Vec<String> = Vec::new();
        for input in stage.inputs.values() {
            let name = match input {
                Input::Output { stage, output } => {
                    format!("{}.{output}", pipeline.stages[*stage].name)
                }
                Input::Gathered { stage, output, .. } => format!("{stage}.{output}[*]"),
                Input::File { written, .. } => written.clone(),
            };
            if !inputs.contains(&name) {
                inputs.push(name);
            }
        }
        let line = if inputs.is_empty() {
            stage.name.clone()
        } else {
            format!("{:width$}  ← {}", stage.name, inputs.join(", "))
        };
        drawing.push_str(&line);
        drawing.push('\n');
    }
    drawing
}

/// The files that stages read, numbered in the order of the stages.
fn files(pipeline: &Pipeline) -> BTreeMap<&str, usize> {
    let mut files = BTreeMap::new();
    for (_, stage) in stages(pipeline) {
        for input in stage.inputs.values() {
            if let Input::File { written, .. } = input {
                let number = files.len();
                files.entry(written.as_str()).or_insert(number);
            }
        }
    }
    files
}

/// The edges: from where, which output, to which stage. Each once.
fn edges(pipeline: &Pipeline) -> Vec<(String, String, usize)> {
    let files = files(pipeline);
    let mut edges = Vec::new();
    for (to, stage) in stages(pipeline) {
        let mut own = Vec::new();
        for input in stage.inputs.values() {
            match input {
                Input::Output { output, .. } | Input::Gathered { output, .. } => {
                    own.extend(input.stages().map(|from| (format!("s{from}"), output.clone(), to)));
                }
                Input::File { written, .. } => {
                    own.push((format!("f{}", files[written.as_str()]), String::new(), to));
                }
            }
        }
        for (i, edge) in own.iter().enumerate() {
            if !own[..i].contains(edge) {
                edges.push(edge.clone());
            }
        }
    }
    edges
}

fn mermaid(pipeline: &Pipeline) -> String {
    // Mermaid's own escapes: https://mermaid.js.org/syntax/flowchart.html
    let quote = |text: &str| text.replace('#', "#35;").replace('"', "#quot;");
    let mut drawing = String::from("flowchart TD\n");
    for (name, number) in files(pipeline) {
        let _ = writeln!(drawing, "    f{number}[/\"{}\"/]", quote(name));
    }
    for (i, stage) in stages(pipeline) {
        let _ = writeln!(drawing, "    s{i}[\"{}\"]", quote(&stage.name));
    }
    for (from, output, to) in edges(pipeline) {
        let label =
            if output.is_empty() { String::new() } else { format!("|\"{}\"|", quote(&output)) };
        let _ = writeln!(drawing, "    {from} -->{label} s{to}");
    }
    drawing
}

fn dot(pipeline: &Pipeline) -> String {
    let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut drawing =
        String::from("digraph pipeline {\n    rankdir = TB;\n    node [shape = box];\n");
    for (name, number) in files(pipeline) {
        let _ = writeln!(drawing, "    f{number} [label = {}, shape = note];", quote(name));
    }
    for (i, stage) in stages(pipeline) {
        let _ = writeln!(
            drawing,
            "    s{i} [label = {}, tooltip = {}];",
            quote(&stage.name),
            quote(kind(stage))
        );
    }
    for (from, output, to) in edges(pipeline) {
        let _ = writeln!(drawing, "    {from} -> s{to} [label = {}];", quote(&output));
    }
    drawing.push_str("}\n");
    drawing
}
