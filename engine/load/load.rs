//! Loading: the file and the overrides are read, put together, and checked.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use super::{
    Complaints,
    complaint::{Complaint, Report},
    declaration,
    matrix::STAGES,
    node::{Entry, Node, Tree},
    overrides, stages,
    user_path::UserPaths,
    variables::Variables,
    yaml,
};
use crate::{
    artifact::workspace::expand_home,
    base::{
        shown_path::escaped,
        span::{Source, Span},
    },
    graph::{
        Pipeline,
        name::{self, is_name},
    },
    stage::{
        device::{DeviceChoice, DeviceWish},
        registry::Registry,
    },
};

/// The largest file, in bytes.
const LARGEST: u64 = 16 << 20;
const KEYS: [&str; 4] = ["vars", "cache", "device", "stages"];

/// Reads and checks the pipeline declared in the file `source`, with `overrides` (`STAGE.KEY=VALUE`, `vars.NAME=VALUE`,
/// `cache=PATH`, `device=DEVICE`; later ones win) put over it. Relative paths, also those in overrides, start in the file's folder.
///
/// # Errors
/// All complaints about the file and the overrides.
pub fn load(
    source: &Path,
    overrides: &[String],
    registry: &Registry,
) -> Result<Pipeline, Complaints> {
    let mut report = Report::default();
    let text = read(source, &mut report);
    check(source, text, overrides, registry, report)
}

/// The same of a text that is in no file yet: `source` says where it would be.
///
/// # Errors
/// All complaints about the text and the overrides.
pub fn load_text(
    source: &Path,
    text: String,
    overrides: &[String],
    registry: &Registry,
) -> Result<Pipeline, Complaints> {
    check(source, text, overrides, registry, Report::default())
}

/// Reads `text`, unless there is something in the `report` of its file already.
fn check(
    source: &Path,
    text: String,
    overrides: &[String],
    registry: &Registry,
    mut report: Report,
) -> Result<Pipeline, Complaints> {
    let mut sources = vec![Source { name: source.display().to_string(), text }];
    let (text, ranges) = overrides::join(overrides);
    if !overrides.is_empty() {
        sources.push(Source { name: overrides::SOURCE.into(), text });
    }
    let built = if report.is_empty() {
        let texts = Texts { sources: &sources, overrides: &ranges };
        build(source, texts, registry, &mut report)
    } else {
        None
    };
    match built {
        Some(mut pipeline) if report.is_empty() => {
            pipeline.sources = sources;
            Ok(pipeline)
        }
        _ => Err(Complaints { sources, complaints: report.sorted() }),
    }
}

/// The text of the file; as much of it as can be shown if there is a complaint.
fn read(file: &Path, report: &mut Report) -> String {
    let mut bytes = Vec::new();
    let opened = File::open(file).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
    if let Err(error) = opened {
        let message = match error.kind() {
            io::ErrorKind::NotFound => format!("there is no file `{}`", file.display()),
            io::ErrorKind::IsADirectory => format!("`{}` is a folder", file.display()),
            _ => format!("failed to read `{}`: {error}", file.display()),
        };
        report.push(Complaint { message, labels: Vec::new(), help: None });
        return String::new();
    }
    if bytes.len() as u64 > LARGEST {
        let message = format!("the file is larger than {} MiB", LARGEST >> 20);
        report.push(Complaint::new(Span::new(0, 0..0), message));
        return String::new();
    }
    String::from_utf8(bytes).unwrap_or_else(|error| {
        let at = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
        let message = "the file is not UTF-8: this byte belongs to no character";
        let end = text[at..].chars().next().map_or(at, |c| at + c.len_utf8());
        report.push(Complaint::new(Span::new(0, at..end), message));
        text
    })
}

#[derive(Clone, Copy)]
struct Texts<'a> {
    sources: &'a [Source],
    /// Where each override lies in the second source.
    overrides: &'a [std::ops::Range<usize>],
}

fn build(
    file: &Path,
    texts: Texts<'_>,
    registry: &Registry,
    report: &mut Report,
) -> Option<Pipeline> {
    let sources = texts.sources;
    let mut overrides = Vec::new();
    if let Some(source) = sources.get(1) {
        for range in texts.overrides {
            overrides.extend(overrides::parse(1, &source.text, range.clone(), report));
        }
    }
    let absolute = match std::path::absolute(file) {
        Ok(absolute) => absolute,
        Err(error) => {
            let message = format!("`{}` has no absolute path: {error}", file.display());
            report.push(Complaint { message, labels: Vec::new(), help: None });
            return None;
        }
    };
    let folder = absolute.parent().unwrap_or(&absolute);
    let root = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    let file = absolute.file_name().map_or(absolute.clone(), |name| root.join(name));
    if file.to_str().is_none() {
        let message = format!("the path `{}` is not UTF-8", escaped(&file));
        let complaint = Complaint { message, labels: Vec::new(), help: None };
        report.push(complaint.help("rename the folder or file whose name it is"));
        return None;
    }
    let text = yaml::Text { source: 0, start: 0, content: &sources[0].text, flow: false };
    let document = yaml::parse(text, report)?;
    let mut top = Top::of(document, report)?;

    overrides.retain(|over| over.names_a_value(&top.vars, report));
    for over in overrides.extract_if(.., |over| over.path[0].name == "vars") {
        let name = &over.path[1];
        let declared = top.vars.iter_mut().find(|entry| entry.key.name == name.name);
        if let Some(entry) = declared {
            entry.value = over.value;
        } else {
            let names = top.vars.iter().map(|entry| entry.key.name.as_ref());
            let meant = report.meant(&name.name, names);
            let complaint =
                Complaint::new(name.span, format!("no variable is called `{}`", name.name));
            report
                .push(complaint.suggest(meant, || "the pipeline's `vars` don't declare it".into()));
        }
    }
    let mut variables = Variables::new(top.vars, sources, report);
    if let Some(stages) = &mut top.stages {
        variables.expand(stages, sources, report);
    }
    for over in &mut overrides {
        variables.expand(&mut over.value, sources, report);
    }
    for over in overrides.extract_if(.., |over| over.path[0].name == "cache") {
        top.cache = Some(over.value);
    }
    if let Some(cache) = &mut top.cache {
        variables.expand(cache, sources, report);
    }
    let cache = cache(top.cache.as_ref(), &root, report);
    let paths = UserPaths::new(&root, cache.as_deref().unwrap_or(&root.join("cache")));
    for over in
        overrides.extract_if(.., |over| over.path[0].name == "device" && over.path.len() == 1)
    {
        top.device = Some(over.value);
    }
    if let Some(device) = &mut top.device {
        variables.expand(device, sources, report);
    }
    let device = device(top.device.as_ref(), report);

    let mut entries = match top.stages.map(|stages| stages.tree) {
        Some(Tree::Mapping(entries)) => entries,
        _ => Vec::new(),
    };
    if entries.len() > STAGES {
        let message =
            format!("a pipeline has at most {STAGES} stages, this one has {}", entries.len());
        report.push(Complaint::new(entries[STAGES].key.span, message));
        return None;
    }
    let mut selected: HashMap<usize, Vec<overrides::Selected<'_>>> = HashMap::new();
    if !overrides.is_empty() {
        let places: HashMap<String, usize> =
            entries.iter().enumerate().map(|(i, entry)| (entry.key.name.to_string(), i)).collect();
        for over in overrides {
            if let Some((stage, over)) = overrides::apply(over, &mut entries, &places, report) {
                selected.entry(stage).or_default().push(over);
            }
        }
    }
    let context = declaration::Context { registry, root: &root, sources, paths };
    let (stages, order) = stages::build(entries, selected, &context, report)?;
    let (cache, device, cuda) = (cache?, device?, registry.cuda());
    Some(Pipeline { file, root, cache, device, cuda, stages, order, sources: Vec::new() })
}

/// The folder of the cache.
fn cache(node: Option<&Node<'_>>, root: &Path, report: &mut Report) -> Option<PathBuf> {
    let Some(node) = node.filter(|node| !node.is_null()) else { return Some(root.join("cache")) };
    match node.text() {
        Some(text) if is_of_environment(text) => {
            let message = format!(
                "`{text}` has a variable of the environment in it, and none is looked up here"
            );
            report.push(Complaint::new(node.span, message).help(
                "`~` stands for the home folder; else give the path by `--set cache=PATH`, where a shell looks it up",
            ));
            None
        }
        Some(text) if !text.is_empty() && !text.contains('\0') => match expand_home(text) {
            Ok(path) => Some(root.join(path)),
            Err((fault, help)) => {
                let message = format!("`{text}` can't be looked up: {fault}");
                report.push(Complaint::new(node.span, message).help(help));
                None
            }
        },
        _ if node.is_broken() => None,
        _ => {
            let message =
                format!("`cache` must be the path of a folder, but is {}", node.describe());
            report.push(Complaint::new(node.span, message));
            None
        }
    }
}

/// Whether a part of the path `text` is a variable as shells write it.
fn is_of_environment(text: &str) -> bool {
    text.split('/').any(|part| {
        let name = part.strip_prefix('$').unwrap_or_default();
        name.starts_with(|letter: char| {
            letter.is_ascii_alphabetic() || letter == '_' || letter == '{'
        })
    })
}

/// Where stages are asked to compute.
fn device(node: Option<&Node<'_>>, report: &mut Report) -> Option<DeviceWish> {
    let Some(node) = node.filter(|node| !node.is_null()) else {
        return Some(DeviceWish::default());
    };
    if node.is_broken() {
        return None;
    }
    if let Some(Ok(choice)) = node.text().map(str::parse) {
        return Some(DeviceWish { choice, place: Some(node.span) });
    }
    let meant = node.text().and_then(|text| report.meant(text, DeviceChoice::NAMES));
    let names = DeviceChoice::NAMES.map(|name| format!("`{name}`")).join(", ");
    let message = format!("`device` must be one of {names}, but is {}", node.describe());
    report.push(Complaint::new(node.span, message).suggest(meant, String::new));
    None
}

/// The keys at the top of the file.
struct Top<'a> {
    vars: Vec<Entry<'a>>,
    cache: Option<Node<'a>>,
    device: Option<Node<'a>>,
    /// A mapping; `None` if that was complained about.
    stages: Option<Node<'a>>,
}

impl<'a> Top<'a> {
    fn of(document: Node<'a>, report: &mut Report) -> Option<Self> {
        let span = document.span;
        let described = document.describe();
        let Tree::Mapping(entries) = document.tree else {
            let message = if described == "empty" {
                "the file is empty".to_owned()
            } else {
                format!("a pipeline must be a mapping, but is {described}")
            };
            report.push(Complaint::new(span, message).help("it begins with `stages:`"));
            return None;
        };
        let mut top = Self { vars: Vec::new(), cache: None, device: None, stages: None };
        let mut has_stages = false;
        for Entry { key, value } in entries {
            match key.name.as_ref() {
                "vars" => top.vars = vars(value, report),
                "cache" => top.cache = Some(value),
                "device" => top.device = Some(value),
                "stages" => {
                    has_stages = true;
                    top.stages = stages(value, report);
                }
                name => {
                    let complaint = Complaint::new(key.span, format!("unknown key `{name}`"));
                    let meant = report.meant(name, KEYS);
                    has_stages |= meant == Some("stages");
                    report.push(complaint.suggest(meant, || {
                        format!("the keys of a pipeline are {}", KEYS.join(", "))
                    }));
                }
            }
        }
        if !has_stages {
            let first = Span { end: span.start, ..span };
            report.push(
                Complaint::new(first, "the pipeline has no `stages`")
                    .help("declare them: `stages: { NAME: { kind: …, inputs: …, config: … } }`"),
            );
        }
        Some(top)
    }
}

fn stages<'a>(value: Node<'a>, report: &mut Report) -> Option<Node<'a>> {
    match &value.tree {
        Tree::Mapping(entries) if !entries.is_empty() => return Some(value),
        Tree::Broken => {}
        Tree::Mapping(_) => report.push(Complaint::new(value.span, "`stages` is empty")),
        _ => report.push(Complaint::new(
            value.span,
            format!("`stages` must be a mapping from names to stages, but is {}", value.describe()),
        )),
    }
    None
}

fn vars<'a>(value: Node<'a>, report: &mut Report) -> Vec<Entry<'a>> {
    let described = value.describe();
    let null = value.is_null();
    match value.tree {
        Tree::Mapping(entries) => {
            for entry in &entries {
                if !is_name(&entry.key.name) {
                    let message = format!("`{}` is no name for a variable", entry.key.name);
                    report.push(Complaint::new(entry.key.span, message).help(name::RULE));
                }
            }
            entries
        }
        Tree::Broken => Vec::new(),
        _ if null => Vec::new(),
        _ => {
            report.push(Complaint::new(
                value.span,
                format!("`vars` must be a mapping from names to values, but is {described}"),
            ));
            Vec::new()
        }
    }
}
