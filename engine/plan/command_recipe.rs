//! What a command's fingerprint depends on besides the contents of its inputs.

use std::{borrow::Cow, collections::BTreeMap, path::Path, sync::Arc};

use crate::{
    artifact::input_file::InputFile,
    base::encoding::Json,
    graph::{Command, ForEach, Input, Piece, Run, Template, environment},
};

/// Raised when what a command's declaration means changes.
pub(crate) const REVISION: u32 = 2;

/// Everything that a command is declared to be and to see, but for the contents of its `inputs`. `sources` are those of them that
/// are the user's and were looked at.
pub(crate) fn canonical<'a>(
    command: &'a Command,
    inputs: &'a BTreeMap<String, Input>,
    sources: &BTreeMap<String, Arc<InputFile>>,
    files: &'a BTreeMap<String, Arc<InputFile>>,
) -> Json<'a> {
    let one = |key, value| Json::object([(key, value)]);
    let piece = |piece: &'a Piece| match piece {
        Piece::Text(text) => Json::text(text),
        Piece::Config(path) => one("config", path.iter().map(|key| Json::text(key)).collect()),
        Piece::Input(name) => one("input", Json::text(name)),
        Piece::Output(name) => one("output", Json::text(name)),
        Piece::Item(word) => one("item", word.as_deref().map_or(Json::Null, Json::text)),
    };
    let template = |template: &'a Template| template.pieces().iter().map(piece).collect();
    let digest = |source: &InputFile| Json::Text(source.tree.digest().hex().into());
    let files = files.iter().map(|(name, source)| (name.as_str(), digest(source)));
    let variable = |name: &'a String| {
        let digest = environment::digest(name);
        (name.as_str(), digest.map_or(Json::Null, |digest| Json::Text(digest.hex().into())))
    };
    let for_each = command.for_each.as_ref().map(|ForEach { input, paths }| {
        let paths = paths.iter().map(|(name, path)| (name.as_str(), template(path)));
        Json::object([("input", Json::text(input)), ("paths", Json::object(paths))])
    });
    // Many programs go by the name of a file. What it is called for each item is told by the item.
    let each = command.for_each.as_ref().map(|each| each.input.as_str());
    let names = inputs.iter().filter(|(name, _)| Some(name.as_str()) != each);
    let named = |(name, input)| {
        let source = sources.get(name).map(Arc::as_ref);
        Some((String::as_str(name), Json::Text(called(input, source)?)))
    };
    let names = names.filter_map(named);
    let run = match &command.run {
        Run::Words(words) => one("words", words.iter().map(template).collect()),
        Run::Shell { interpreter, strict, script } => Json::object([
            ("interpreter", interpreter.iter().map(|word| Json::text(word)).collect()),
            ("shell", template(script)),
            ("strict", Json::Value(Cow::Owned((*strict).into()))),
        ]),
    };
    let outputs = command.outputs.iter().map(|name| Json::text(name)).collect();
    let environment = &command.environment;
    let inherits = environment.inherit.then(|| Json::Value(Cow::Owned(true.into())));
    let entries = [
        ("config", Some(Json::Value(Cow::Borrowed(&command.config)))),
        ("env", Some(Json::object(environment.names.iter().map(variable)))),
        ("files", Some(Json::object(files))),
        ("for_each", for_each),
        ("inherit", inherits),
        ("names", Some(Json::object(names))),
        ("outputs", Some(outputs)),
        ("run", Some(run)),
    ];
    Json::object(entries.into_iter().filter_map(|(key, value)| Some((key, value?))))
}

/// The name under which a command sees a single file that is this input. Which of several outputs is gathered is told by the
/// names in the recipe, and a folder of the user's is called as the input is.
fn called<'i>(input: &'i Input, source: Option<&InputFile>) -> Option<Cow<'i, str>> {
    let is_folder =
        |path: &Path| source.map_or_else(|| path.is_dir(), |source| !source.tree.is_file());
    match input {
        Input::Output { output, .. } => Some(output.into()),
        Input::Gathered { .. } => None,
        Input::File { path, .. } if is_folder(path) => None,
        // Two names that aren't Unicode may be told as the same; what they hold is not.
        Input::File { path, .. } => path.file_name().map(std::ffi::OsStr::to_string_lossy),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::*;
    use crate::artifact::input_files::InputFiles;
    use crate::{
        artifact::{
            input_file::{Detail, Reading},
            workspace::Scope,
        },
        base::{digest::Digest, interrupt::Interrupt, tree::Tree},
        cache::StatCache,
        graph::Task,
        load::load_text,
        stage::registry::Registry,
    };

    #[test]
    fn all_that_a_declaration_means_is_in_its_canonical_form() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("data"), "x").unwrap();
        let text = "stages:\n  all:\n    kind: command\n    inputs: {d: {file: data}}\n    for_each: d\n    \
                    files: [data]\n    env: [PIPE_NO_SUCH_VARIABLE]\n    config: {b: 1, a: {c: x}}\n    \
                    outputs: {o: '{item.stem}.txt'}\n    \
                    run: tool --c={config.a.c} {item} {inputs.d} {outputs.o}\n  shell:\n    kind: command\n    \
                    shell: true\n    inputs: {i: {file: data}}\n    env: inherit\n    \
                    outputs: [o]\n    run: echo > {outputs.o}\n";
        let file = folder.path().join("pipeline.yaml");
        let pipeline = load_text(&file, text.to_owned(), &[], &Registry::new());
        let pipeline = pipeline.unwrap_or_else(|wrong| panic!("{wrong:?}"));
        let forms = pipeline.stages.iter().map(|node| {
            let Task::Command(command) = &node.task else { panic!("{node:?}") };
            let interrupt = Interrupt::new();
            let read = |path: &Path| {
                let reading = Reading::Yes(&interrupt);
                InputFiles::new(StatCache::none())
                    .read(path, &Scope::default(), Detail::All, reading)
                    .unwrap()
            };
            let files = command.files.iter().map(|file| (file.written.clone(), read(&file.path)));
            Value::from(canonical(command, &node.inputs, &BTreeMap::new(), &files.collect()))
        });
        let data = Tree::single(Digest::of(b"x"), 1).digest();
        let all = json!({
            "config": {"a": {"c": "x"}, "b": 1},
            "env": {"PIPE_NO_SUCH_VARIABLE": null},
            "files": {"data": data},
            "for_each": {"input": "d", "paths": {"o": [{"item": "stem"}, ".txt"]}},
            "names": {},
            "outputs": ["o"],
            "run": {"words": [["tool"], ["--c=", {"config": ["a", "c"]}], [{"item": null}], [{"input": "d"}],
                [{"output": "o"}]]},
        });
        let shell = json!({
            "config": {}, "env": {}, "files": {}, "names": {"i": "data"}, "inherit": true, "outputs": ["o"],
            "run": {"interpreter": ["/bin/sh", "-e", "-c"], "shell": ["echo > ", {"output": "o"}], "strict": true},
        });
        assert_eq!(forms.collect::<Vec<_>>(), [all, shell]);
    }
}
