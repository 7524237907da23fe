//! Complaints about a pipeline, drawn with the lines that they speak of.

use annotate_snippets::{Annotation, AnnotationKind, Level, Renderer, Snippet};
use pipe_engine::{
    Source,
    load::{Complaint, Complaints, Label},
};

use super::{
    printer::Printer,
    text::{self, ERROR, styled},
};

/// Complaints past these are only counted.
const MOST: usize = 50;

/// Draws all complaints on stderr, and their number.
pub(crate) fn tell(complaints: &Complaints, printer: Printer) {
    for complaint in complaints.complaints.iter().take(MOST) {
        printer.drawn(format_args!("{}\n", draw(complaint, &complaints.sources)));
    }
    let count = complaints.complaints.len();
    let more = count.saturating_sub(MOST);
    let errors = if count == 1 { "1 error".to_owned() } else { format!("{count} errors") };
    let shown = if more > 0 { format!(", {more} of them not shown") } else { String::new() };
    let file = complaints.sources.first().map_or("the pipeline", |source| source.name.as_str());
    printer.message(format_args!(
        "{}: {errors} in {file}{shown}; nothing was run",
        styled(ERROR, "error")
    ));
}

fn draw(complaint: &Complaint, sources: &[Source]) -> String {
    let mut title = Level::ERROR
        .primary_title(single_line(&complaint.message))
        .elements(None::<Snippet<'_, Annotation<'_>>>);
    let mut first = true;
    for labels in complaint.labels.chunk_by(|a, b| a.span.source == b.span.source) {
        if let Some(source) = sources.get(labels[0].span.source as usize) {
            title = title.element(snippet(source, labels, first));
        }
        first = false;
    }
    if let Some(help) = &complaint.help {
        title = title.element(Level::HELP.message(single_line(help)));
    }
    Renderer::styled().render(&[title])
}

/// The lines from the first label to the last, with a mark under each place.
fn snippet<'s>(
    source: &'s Source,
    labels: &'s [Label],
    is_first: bool,
) -> Snippet<'s, Annotation<'s>> {
    let text = source.text.as_str();
    let starts = labels.iter().map(|label| label.span.range().start.min(text.len()));
    let (first, last) = (starts.clone().min().unwrap_or(0), starts.max().unwrap_or(0));
    let start = text[..first].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[last..].find('\n').map_or(text.len(), |newline| last + newline);
    let (line, _) = source.position(start);
    let annotations = labels.iter().enumerate().map(|(i, label)| {
        let range = label.span.range();
        let from = range.start.clamp(start, end);
        // A place of many lines is marked in its first.
        let line_end = text[from..end].find('\n').map_or(end, |newline| from + newline);
        let to = range.end.clamp(from, line_end);
        let kind =
            if is_first && i == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
        let annotation = kind.span(from - start..to - start);
        if label.text.is_empty() { annotation } else { annotation.label(single_line(&label.text)) }
    });
    Snippet::source(text::of_equal_length(&source.text[start..end]))
        .path(single_line(&source.name))
        .line_start(line)
        .annotations(annotations)
}

/// Text from a pipeline may hold anything; in a message it stays on its line, and controls no terminal.
fn single_line(text: &str) -> String {
    text::plain(&text.replace(['\n', '\t', '\r'], "\u{fffd}"))
}
