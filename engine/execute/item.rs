//! The items of an input: the files of a folder, or the rows of a table.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
    sync::Arc,
};

use csv::StringRecord;
use thiserror::Error;

use crate::{
    artifact::{
        artifact::{Artifact, ArtifactError},
        input_file::InputFile,
    },
    base::{
        digest::Digest,
        tree::{ArtifactPath, Tree},
    },
    cache::CacheError,
};

/// A table that is larger, in bytes, isn't taken apart.
const LARGEST_TABLE: u64 = 256 << 20;
/// A row that is larger, in bytes, is given to no command.
const LARGEST_ROW: u64 = 1 << 20;

/// What keeps an input from being taken apart.
#[derive(Debug, Error)]
pub(crate) enum ItemError {
    /// It is one file that is no table.
    #[error(
        "input `{input}` is neither a folder of files nor a CSV table with a row of column names"
    )]
    NoTable { input: String, source: csv::Error },
    /// Two columns share a name.
    #[error("the table `{input}` has two columns called `{column}`")]
    TwoColumns { input: String, column: String },
    /// It is more than is meant for a command a row.
    #[error(
        "{what} of input `{input}` is larger than {} MiB, which is the most for a command that runs for each row: give the \
         command the whole table instead, or a folder of files", most >> 20
    )]
    TooLarge { input: String, what: String, most: u64 },
    /// The input can't be read.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// A row can't be kept.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// One item of an input.
pub(crate) struct Item {
    /// What it is called: a file's path within its folder, or a row's number, from 1.
    pub(crate) name: String,
    content: Content,
}

enum Content {
    /// A file, which lies in the cache, or with the user.
    File { artifact: Box<Artifact>, source: Option<Box<InputFile>> },
    /// A row of a table.
    Row { head: Arc<Head>, values: StringRecord },
}

/// What all rows of a table have above them.
struct Head {
    names: StringRecord,
    /// The number of each column.
    columns: HashMap<String, usize>,
    /// The names as CSV.
    line: Vec<u8>,
}

/// An item, and where what a command makes of it stands.
pub(crate) struct PlacedItem<'a> {
    pub(crate) item: &'a Item,
    /// Where what is made of it stands in each output.
    pub(crate) paths: BTreeMap<&'a str, String>,
}

impl Item {
    /// The items of `artifact`: the files of a folder, by their paths, or the rows of a table. `source`: what the artifact
    /// was when it was hashed, if it is the user's.
    pub(crate) fn all(
        artifact: &Artifact,
        source: Option<&InputFile>,
    ) -> Result<Vec<Self>, ItemError> {
        Ok(if artifact.tree().is_file() {
            rows(artifact)?
        } else {
            let mut sources = source.map(InputFile::split).unwrap_or_default();
            let file = |(path, entry): (&ArtifactPath, &crate::base::tree::Entry)| {
                let source = sources.remove(&entry.path).map(Box::new);
                let artifact = Box::new(artifact.only(entry));
                Self { name: path.to_string(), content: Content::File { artifact, source } }
            };
            // A link to a file is an item like any other.
            let tree = artifact.tree();
            let files = tree.files().iter().map(|entry| (&entry.path, entry));
            let links = tree.links().iter().map(|link| &link.path);
            let links = links.filter_map(|path| Some((path, tree.find(path.as_str())?)));
            let mut all: Vec<_> = files.chain(links).collect();
            all.sort_unstable_by_key(|(path, _)| *path);
            all.into_iter().map(file).collect()
        })
    }

    /// What `{item}` stands for, or with a word `{item.WORD}`; `None` if there is no such thing.
    pub(crate) fn value(&self, word: Option<&str>) -> Option<Cow<'_, str>> {
        let Some(word) = word else { return Some(Cow::Borrowed(&self.name)) };
        match &self.content {
            Content::Row { head, values } => {
                values.get(*head.columns.get(word)?).map(Cow::Borrowed)
            }
            Content::File { .. } => {
                let path = Path::new(&self.name);
                let part = match word {
                    "stem" => path.file_stem(),
                    "name" => path.file_name(),
                    _ => None,
                };
                part.map(|part| part.to_string_lossy())
            }
        }
    }

    /// What may follow `item.` in a placeholder.
    pub(crate) fn words(&self) -> Vec<String> {
        match &self.content {
            Content::Row { head, .. } => head.names.iter().map(str::to_owned).collect(),
            Content::File { .. } => vec!["stem".to_owned(), "name".to_owned()],
        }
    }

    /// Whether it is called so for what it is, and not for where it happens to stand, as a row is.
    pub(crate) fn has_own_name(&self) -> bool {
        matches!(self.content, Content::File { .. })
    }

    /// The digest of its content.
    pub(crate) fn digest(&self) -> Digest {
        match &self.content {
            Content::File { artifact, .. } => artifact.tree().digest(),
            Content::Row { head, values } => {
                let table = table(head, values);
                Tree::single(Digest::of(&table), table.len() as u64).digest()
            }
        }
    }

    /// The item as the input `name` of a command. A row is written into the folder `folder`, which is made.
    pub(crate) fn artifact(&self, name: &str, folder: &Path) -> Result<Artifact, ItemError> {
        match &self.content {
            Content::File { artifact, .. } => Ok(artifact.as_ref().clone()),
            Content::Row { head, values } => {
                let table = table(head, values);
                let file = folder.join(format!("{name}.csv"));
                fs::create_dir_all(folder)
                    .and_then(|()| fs::write(&file, &table))
                    .map_err(CacheError::io("write", &file))?;
                let tree = Tree::single(Digest::of(&table), table.len() as u64);
                Ok(Artifact::outside(name, Arc::new(tree), &file))
            }
        }
    }

    /// The file that it is, if that is the user's.
    pub(crate) fn source(&self) -> Option<&InputFile> {
        match &self.content {
            Content::File { source, .. } => source.as_deref(),
            Content::Row { .. } => None,
        }
    }
}

/// The rows of a CSV table.
fn rows(artifact: &Artifact) -> Result<Vec<Item>, ItemError> {
    let input = || artifact.name().to_owned();
    let no_table = |source| ItemError::NoTable { input: input(), source };
    if artifact.tree().size() > LARGEST_TABLE {
        return Err(ItemError::TooLarge {
            input: input(),
            what: "the table".to_owned(),
            most: LARGEST_TABLE,
        });
    }
    let bytes = artifact.read(ArtifactPath::ITSELF)?;
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let head = reader.headers().map_err(no_table)?.clone();
    let mut columns = HashMap::with_capacity(head.len());
    for (number, column) in head.iter().enumerate() {
        if columns.insert(column.to_owned(), number).is_some() {
            return Err(ItemError::TwoColumns { input: input(), column: column.to_owned() });
        }
    }
    let head = Arc::new(Head { columns, line: line(&head).map_err(no_table)?, names: head });
    let mut items = Vec::new();
    for (i, row) in reader.records().enumerate() {
        let values = row.map_err(no_table)?;
        if values.as_slice().len() as u64 > LARGEST_ROW {
            let what = format!("row {}", i + 1);
            return Err(ItemError::TooLarge { input: input(), what, most: LARGEST_ROW });
        }
        let head = Arc::clone(&head);
        items.push(Item { name: (i + 1).to_string(), content: Content::Row { head, values } });
    }
    Ok(items)
}

/// A table of one row.
fn table(head: &Head, values: &StringRecord) -> Vec<u8> {
    let row = line(values).unwrap_or_else(|_| unreachable!("writing into memory does not fail"));
    [head.line.as_slice(), &row].concat()
}

fn line(record: &StringRecord) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(record)?;
    Ok(writer.into_inner().unwrap_or_else(|_| unreachable!("writing into memory does not fail")))
}
