//! `pipe stages`.

use std::fmt::Write as _;

use clap::Args;
use pipe_engine::{
    InputPort, Kind, Registry,
    load::{ConfigKey, config_keys},
};
use serde_json::{Value, json};

use super::keys::{EVERY, KINDS, Words};
use crate::cli::{
    display::table,
    error::CommandError,
    exit_code,
    printer::Printer,
    text::{NAME, styled},
};

/// Tells which kinds of stage there are: what they do, their inputs and outputs, and every key of their config.
#[derive(Debug, Args)]
pub(crate) struct StagesArguments {
    /// Only this kind.
    kind: Option<String>,

    /// Prints one JSON object on stdout instead of text for people.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(
    arguments: &StagesArguments,
    registry: &Registry,
    printer: Printer,
) -> Result<u8, CommandError> {
    let kinds: Vec<&dyn Kind> = registry
        .iter()
        .map(AsRef::as_ref)
        .filter(|kind| arguments.kind.as_ref().is_none_or(|wanted| wanted == kind.name()))
        .collect();
    let is_wanted = |words: &&Words| arguments.kind.as_ref().is_none_or(|kind| kind == words.name);
    let own: Vec<&Words> = KINDS.iter().filter(is_wanted).collect();
    if kinds.is_empty() && own.is_empty() {
        let known = registry.iter().map(|kind| kind.name());
        let known: Vec<&str> = known.chain(KINDS.iter().map(|words| words.name)).collect();
        let wanted = arguments.kind.as_deref().unwrap_or_default();
        return Err(CommandError::no_such("kind", wanted, known));
    }
    if arguments.json {
        let mut all: Vec<Value> = kinds.iter().map(|kind| object(*kind)).collect();
        all.extend(own.into_iter().map(words_object));
        let mut object = json!({ "kinds": all });
        if arguments.kind.is_none() {
            object["keys"] = words_object(&EVERY)["keys"].take();
        }
        Printer::json(&object)?;
    } else {
        let mut blocks: Vec<String> =
            kinds.iter().map(|kind| text(*kind, Printer::width())).collect();
        let every = arguments.kind.is_none().then_some(&EVERY);
        blocks
            .extend(own.into_iter().chain(every).map(|words| words_text(words, Printer::width())));
        printer.block(blocks.join("\n"))?;
    }
    Ok(exit_code::DONE)
}

fn object(kind: &dyn Kind) -> Value {
    let keys: Vec<Value> = config_keys(&kind.schema())
        .into_iter()
        .map(|key| {
            let ConfigKey { name, wants, default, required, unit, about } = key;
            json!({ "name": name, "wants": wants, "default": default, "required": required, "unit": unit, "about": about })
        })
        .collect();
    json!({
        "name": kind.name(),
        "about": kind.about(),
        "revision": kind.revision(),
        "exactness": kind.exactness(),
        "inputs": kind.inputs(),
        "outputs": kind.outputs(),
        "config": keys,
        "schema": kind.schema(),
    })
}

fn words_object(words: &Words) -> Value {
    let keys: Vec<Value> = words
        .keys
        .iter()
        .map(|(name, wants, about)| json!({ "name": name, "wants": wants, "about": about }))
        .collect();
    json!({ "name": words.name, "about": words.about, "keys": keys })
}

fn text(kind: &dyn Kind, width: usize) -> String {
    let mut text = format!("{}\n", styled(NAME, kind.name()));
    let sentence = kind.about().trim_end_matches('.');
    text.push_str(&rows_text(&[vec![format!("{sentence}.")]], width));
    let inputs: Vec<Vec<String>> = kind
        .inputs()
        .iter()
        .map(|port| {
            let about = if port.required {
                port.about.to_owned()
            } else {
                format!("{} (optional)", port.about)
            };
            let name = if port.name == InputPort::ANY { "any names" } else { port.name };
            vec![name.to_owned(), port.artifact.to_string(), about]
        })
        .collect();
    let outputs: Vec<Vec<String>> = kind
        .outputs()
        .iter()
        .map(|port| vec![port.name.to_owned(), port.artifact.to_string(), port.about.to_owned()])
        .collect();
    let keys: Vec<Vec<String>> = config_keys(&kind.schema()).into_iter().map(row).collect();
    for (title, rows) in [("inputs", inputs), ("outputs", outputs), ("config", keys)] {
        if !rows.is_empty() {
            let _ = writeln!(text, "  {title}");
            text.push_str(&rows_text(&rows, width));
        }
    }
    text
}

fn words_text(words: &Words, width: usize) -> String {
    let rows: Vec<Vec<String>> = words
        .keys
        .iter()
        .map(|(name, wants, about)| {
            vec![(*name).to_owned(), (*wants).to_owned(), (*about).to_owned()]
        })
        .collect();
    format!(
        "{}\n{}  keys\n{}",
        styled(NAME, words.name),
        rows_text(&[vec![words.about.to_owned()]], width),
        rows_text(&rows, width)
    )
}

fn row(key: ConfigKey) -> Vec<String> {
    let default = match (&key.default, key.required) {
        (_, true) => "required".to_owned(),
        (None | Some(Value::Null), _) => "–".to_owned(),
        (Some(Value::String(text)), _) => text.clone(),
        (Some(value), _) => brief(value),
    };
    vec![key.name, default, key.unit, format!("{}{}", sentence(&key.about), key.wants)]
}

/// Numbers as a person writes them: `[1250, 1850]`, not `[1250.0,1850.0]`.
fn brief(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            format!("[{}]", items.iter().map(brief).collect::<Vec<_>>().join(", "))
        }
        Value::Number(number) => {
            let text = number.to_string();
            text.strip_suffix(".0").unwrap_or(&text).to_owned()
        }
        other => other.to_string(),
    }
}

fn sentence(about: &str) -> String {
    match about.trim_end_matches('.') {
        "" => String::new(),
        about => format!("{about}; "),
    }
}

/// Rows, indented, wrapped to `width`.
fn rows_text(rows: &[Vec<String>], width: usize) -> String {
    let mut table = table::plain(width.saturating_sub(4));
    for row in rows {
        table.add_row(row);
    }
    table::lines(&table, "   ")
}
