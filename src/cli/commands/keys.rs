//! The keys of stages that no kind declares, in words.

/// What a stage may say, beside the config of its kind.
pub(crate) struct Words {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Key, what it must be, and what it is for.
    pub(crate) keys: &'static [(&'static str, &'static str, &'static str)],
}

/// The kinds that the engine has itself.
pub(crate) const KINDS: [Words; 2] = [
    Words { name: "command", about: "Runs a program of yours.", keys: &COMMAND },
    Words {
        name: "select",
        about: "Takes the best of a matrix's combinations, and says how all of them did.",
        keys: &SELECT,
    },
];

/// What stages of all kinds may say.
pub(crate) const EVERY: Words =
    Words { name: "every stage", about: "These keys are the same for all kinds.", keys: &KEYS };

const KEYS: [(&str, &str, &str); 4] = [
    ("kind", "a name", "What the stage does; when left out, the kind called as the stage is."),
    (
        "inputs",
        "a mapping",
        "What it reads: a stage, `stage.output` or `{ file: PATH }`. Of a stage with a matrix, `stage.output` stands for \
      each combination in turn, `stage.output[AXIS=VALUE,…]` for one, and `stage.output[*]` for a folder with all of them.",
    ),
    ("config", "a mapping", "The config of its kind."),
    (
        "matrix",
        "a mapping",
        "Lists of values for keys of the config, such as `{ learning_rate: [0.001, 0.002], filters: [8, 16] }`. The stage \
      runs once for every combination, and so do the stages that refer to it.",
    ),
];

const SELECT: [(&str, &str, &str); 4] = [
    (
        "inputs",
        "a mapping",
        "`candidates`: what to choose from, `stage.output[*]`. `metrics`: a JSON document for each, `stage.output[*]`.",
    ),
    (
        "metric",
        "a text",
        "The number by which to choose: its keys in the document, with dots between them.",
    ),
    (
        "goal",
        "`max` or `min`",
        "Whether the largest number is best or the smallest. Of equals the first is taken.",
    ),
    ("file", "a text", "Which file of `metrics` is the document, where there are several."),
];

const COMMAND: [(&str, &str, &str); 8] = [
    (
        "run",
        "a text",
        "The command line, split into words as a shell does. `{config.KEY}`, `{inputs.NAME}` and \
      `{outputs.NAME}` stand for a value of `config`, the path of an input, and the path at which an output is to be made; \
      each is one word, never split again. `{{word.word}}` stands for the text `{word.word}`. A list of words may be given instead.",
    ),
    (
        "for_each",
        "a name",
        "An input, for each item of which the command runs: each file of a folder, or each row of a CSV table. \
      `{inputs.NAME}` is the item then: the file, or a table with the one row. `{item}` is the file's path in the folder or the \
      row's number, `{item.name}` and `{item.stem}` the file's name with its ending and without, `{item.COLUMN}` a value of the \
      row. Only items that are new or changed are run.",
    ),
    (
        "outputs",
        "a list of names",
        "What it makes. Each is mentioned in `run`, and must be there when the program ends. A name \
      may have an ending: `table.csv`. With `for_each`, a mapping gives the path of what is made of an item: \
      `{ pictures: \"{item.stem}.png\" }`; the output is the folder with all of them.",
    ),
    (
        "inputs",
        "a mapping",
        "What it reads, under names of your choice: a stage, `stage.output` or `{ file: PATH }`.",
    ),
    ("config", "a mapping", "Values for `run`, free in form."),
    (
        "files",
        "a list of paths",
        "Files and folders of the pipeline's folder that the program uses, such as its script. It runs \
      in a fresh folder in which they stand at their own paths; a change of their content runs the stage again.",
    ),
    ("env", "a list of names", "Environment variables that the result depends on."),
    (
        "shell",
        "`true` or `false`",
        "Whether `run` is a script for `sh -c`. What placeholders stand for is quoted for the shell.",
    ),
];
