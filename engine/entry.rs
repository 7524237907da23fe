//! The entries of an input: the files of a folder, or the rows of a table.

use std::{borrow::Cow, fs, path::Path, sync::Arc};

use thiserror::Error;

use crate::{
    artifact::{Artifact, ArtifactError},
    cache::CacheError,
    digest::Digest,
    source::Source,
    tree::{ArtifactPath, Tree},
};

/// What keeps an input from being taken apart.
#[derive(Debug, Error)]
pub(crate) enum EntryError {
    /// It has no entries. An output without files can't be told from one that was never made.
    #[error(
        "input `{0}` is empty: there is nothing to run the command for, and nothing to put into its outputs"
    )]
    Empty(String),
    /// It is one file that is no table.
    #[error(
        "input `{input}` is neither a folder of files nor a CSV table with a row of column names"
    )]
    NoTable { input: String, source: csv::Error },
    /// Two columns share a name.
    #[error("the table `{input}` has two columns called `{column}`")]
    TwoColumns { input: String, column: String },
    /// The input can't be read.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// A row can't be kept.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// One entry of an input.
pub(crate) struct Entry {
    /// What it is called: a file's path within its folder, or a row's number, from 1.
    pub(crate) name: String,
    content: Content,
}

enum Content {
    /// A file, which lies in the cache, or with the user.
    File { artifact: Artifact, source: Option<Source> },
    /// A table of one row.
    Row { table: Vec<u8>, columns: Arc<[String]>, values: Vec<String> },
}

impl Entry {
    /// The entries of `artifact`: the files of a folder, by their paths, or the rows of a table. `source`: what the artifact
    /// was when it was hashed, if it is the user's.
    pub(crate) fn all(
        artifact: &Artifact,
        source: Option<&Source>,
    ) -> Result<Vec<Self>, EntryError> {
        let entries = if artifact.tree().is_file() {
            rows(artifact)?
        } else {
            let mut sources = source.map(Source::split).unwrap_or_default();
            let file = |(path, entry): (&ArtifactPath, &crate::Entry)| {
                let source = sources.remove(&entry.path);
                let artifact = artifact.only(entry);
                Self { name: path.to_string(), content: Content::File { artifact, source } }
            };
            // A link to a file is an entry like any other.
            let tree = artifact.tree();
            let files = tree.files().iter().map(|entry| (&entry.path, entry));
            let links = tree.links().iter().map(|link| &link.path);
            let links = links.filter_map(|path| Some((path, tree.find(path.as_str())?)));
            let mut all: Vec<_> = files.chain(links).collect();
            all.sort_unstable_by_key(|(path, _)| *path);
            all.into_iter().map(file).collect()
        };
        if entries.is_empty() {
            return Err(EntryError::Empty(artifact.name().to_owned()));
        }
        Ok(entries)
    }

    /// What `{item}` stands for, or with a word `{item.WORD}`; `None` if there is no such thing.
    pub(crate) fn value(&self, word: Option<&str>) -> Option<Cow<'_, str>> {
        let Some(word) = word else { return Some(Cow::Borrowed(&self.name)) };
        match &self.content {
            Content::Row { columns, values, .. } => {
                let found = columns.iter().position(|column| column == word)?;
                values.get(found).map(|value| Cow::Borrowed(value.as_str()))
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
            Content::Row { columns, .. } => columns.to_vec(),
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
            Content::Row { table, .. } => {
                Tree::single(Digest::of(table), table.len() as u64).digest()
            }
        }
    }

    /// The entry as the input `name` of a command. A row is written into the folder `folder`, which is made.
    pub(crate) fn artifact(&self, name: &str, folder: &Path) -> Result<Artifact, EntryError> {
        match &self.content {
            Content::File { artifact, .. } => Ok(artifact.clone()),
            Content::Row { table, .. } => {
                let file = folder.join(format!("{name}.csv"));
                fs::create_dir_all(folder)
                    .and_then(|()| fs::write(&file, table))
                    .map_err(CacheError::io("write", &file))?;
                let tree = Tree::single(Digest::of(table), table.len() as u64);
                Ok(Artifact::outside(name, Arc::new(tree), &file))
            }
        }
    }

    /// The file that it is, if that is the user's.
    pub(crate) fn source(&self) -> Option<&Source> {
        match &self.content {
            Content::File { source, .. } => source.as_ref(),
            Content::Row { .. } => None,
        }
    }
}

/// The rows of a CSV table, each with the names of the columns before it.
fn rows(artifact: &Artifact) -> Result<Vec<Entry>, EntryError> {
    let input = || artifact.name().to_owned();
    let no_table = |source| EntryError::NoTable { input: input(), source };
    let bytes = artifact.read(ArtifactPath::ITSELF)?;
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let head = reader.headers().map_err(no_table)?.clone();
    let columns: Arc<[String]> = head.iter().map(str::to_owned).collect();
    for (i, column) in columns.iter().enumerate() {
        if columns[..i].contains(column) {
            return Err(EntryError::TwoColumns { input: input(), column: column.clone() });
        }
    }
    let mut entries = Vec::new();
    for (i, row) in reader.records().enumerate() {
        let row = row.map_err(no_table)?;
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(&head).and_then(|()| writer.write_record(&row)).map_err(no_table)?;
        let table = writer
            .into_inner()
            .unwrap_or_else(|_| unreachable!("writing into memory does not fail"));
        let values = row.iter().map(str::to_owned).collect();
        let content = Content::Row { table, columns: Arc::clone(&columns), values };
        entries.push(Entry { name: (i + 1).to_string(), content });
    }
    Ok(entries)
}
