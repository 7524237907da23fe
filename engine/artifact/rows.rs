//! Artifacts cut into chunks of rows, and joined from them.
//!
//! What is cut is a Zarr v3 group: of every array whose first dimension is called `row`, a chunk keeps the files of one
//! chunk of rows, numbered from 0, and its metadata counts those rows. So a chunk is a group like any other, and its
//! content digest names all that it holds. What is joined may also be CSV tables: their rows follow each other.

use std::{io::Write as _, ops::Range, sync::Arc};

use serde_json::{Value, json};
use thiserror::Error;

use super::{
    artifact::{Artifact, ArtifactError, Held},
    format::Format,
    output::Output,
};
use crate::{
    base::{
        digest::Digest,
        tree::{ArtifactPath, BadPath, Entry, Tree, TreeError},
    },
    cache::{Cache, CacheError},
};

/// The name of the dimension that is cut.
pub(crate) const ROW: &str = "row";
/// The name of the file that describes a Zarr array or group.
pub(crate) const METADATA: &str = "zarr.json";
/// How much an array may leave out, in bytes.
const SPARED: u64 = 64 << 20;
/// More than this, in bytes, is no description of an array or a group.
pub(crate) const LARGEST_METADATA: u64 = 16 << 20;
/// How many bytes a chunk of an array may take, unless a single row takes more.
const CHUNK_BYTES: u64 = 32 << 20;
/// How the name of a table ends.
const TABLE: &str = ".csv";

/// What keeps an artifact from being cut or joined.
#[derive(Debug, Error)]
pub(crate) enum RowsError {
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Path(#[from] BadPath),
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error("`{path}` of `{artifact}` is not Zarr metadata")]
    Metadata { artifact: String, path: String, source: serde_json::Error },
    #[error(
        "`{path}` of output `{output}` differs between chunks of rows: what depends on all rows is written once, when all \
         are done"
    )]
    Differs { output: String, path: String },
}

/// An artifact that can be cut into chunks of rows.
#[derive(Debug)]
pub(crate) struct Cuttable {
    artifact: Artifact,
    arrays: Vec<RowArray>,
    /// The files that every chunk has.
    fixed: Vec<Entry>,
    rows: u64,
    chunk_rows: u64,
    row_bytes: u64,
}

/// How many rows of `row_bytes` make a chunk, where there are `rows` of them: `most`, or as many as take no more than the room for
/// a chunk, or all.
pub(crate) fn fitting(most: u64, row_bytes: u64, rows: u64) -> u64 {
    most.min((CHUNK_BYTES / row_bytes.max(1)).max(1)).min(rows.max(1))
}

#[derive(Debug)]
struct RowArray {
    name: String,
    metadata: Value,
}

impl Cuttable {
    /// Opens an artifact of which a chunk sees the arrays `names`. `None` if these aren't all stored in chunks of the same number
    /// of rows.
    pub(crate) fn open(artifact: &Artifact, names: &[&str]) -> Result<Option<Self>, RowsError> {
        let tree = artifact.tree();
        let mut arrays = Vec::new();
        let mut fixed: Vec<Entry> = tree.get(METADATA).cloned().into_iter().collect();
        let mut rows = None;
        let mut row_bytes = 0;
        for name in names {
            let path = format!("{name}/{METADATA}");
            match tree.get(&path) {
                Some(entry) if entry.size > LARGEST_METADATA => return Ok(None),
                Some(_) => {}
                None => continue,
            }
            let metadata: Value =
                serde_json::from_slice(&artifact.read(&path)?).map_err(|source| {
                    RowsError::Metadata { artifact: artifact.name().to_owned(), path, source }
                })?;
            if !has_rows(&metadata) {
                fixed.extend(under(tree, name).iter().cloned());
                continue;
            }
            let count = metadata["shape"][0].as_u64();
            let claimed = claim(&metadata);
            let chunk = metadata["chunk_grid"]["configuration"]["chunk_shape"][0].as_u64();
            let aligned = claimed.is_some_and(|claimed| is_backed(tree, name, claimed))
                && metadata["chunk_key_encoding"]["name"] == "default"
                && metadata["chunk_key_encoding"]["configuration"]["separator"] != ".";
            let stored = count.zip(chunk).filter(|_| aligned);
            if stored.is_none() || rows.is_some_and(|rows| Some(rows) != stored) {
                return Ok(None);
            }
            rows = stored;
            row_bytes = row_bytes.max(claimed.unwrap_or(0) / count.unwrap_or(1).max(1));
            arrays.push(RowArray { name: (*name).to_owned(), metadata });
        }
        Ok(rows.map(|(rows, chunk_rows)| Self {
            artifact: artifact.clone(),
            arrays,
            fixed,
            rows,
            chunk_rows,
            row_bytes,
        }))
    }

    /// The number of rows in a chunk of its arrays.
    pub(crate) fn chunk_rows(&self) -> u64 {
        self.chunk_rows
    }

    /// How many bytes the widest row takes that a chunk sees.
    pub(crate) fn row_bytes(&self) -> u64 {
        self.row_bytes
    }

    /// The number of rows.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// The chunk of the number `chunk`, which has `rows` rows.
    pub(crate) fn chunk(&self, chunk: u64, rows: u64) -> Result<Artifact, RowsError> {
        let mut files = Vec::with_capacity(self.fixed.len() + 2 * self.arrays.len());
        for entry in &self.fixed {
            files.push((entry.clone(), self.hold(entry)));
        }
        for array in &self.arrays {
            let bytes = with_rows(&array.metadata, rows);
            let path = ArtifactPath::new(format!("{}/{METADATA}", array.name))?;
            let (blob, size) = (Digest::of(&bytes), bytes.len() as u64);
            files.push((Entry::plain(path, blob, size), Held::Bytes(bytes)));
            let from = format!("{}/c/{chunk}", array.name);
            for entry in under(self.artifact.tree(), &from) {
                let rest = &entry.path.as_str()[from.len()..];
                let path = ArtifactPath::new(format!("{}/c/0{rest}", array.name))?;
                files.push((Entry { path, ..entry.clone() }, self.hold(entry)));
            }
        }
        Ok(self.artifact.part(files)?)
    }

    fn hold(&self, entry: &Entry) -> Held {
        Held::Of(self.artifact.clone(), entry.clone())
    }
}

/// Whether this is the metadata of an array whose first dimension is that of rows.
fn has_rows(metadata: &Value) -> bool {
    metadata["node_type"] == "array" && metadata["dimension_names"][0] == ROW
}

/// What the metadata of an array claims that it holds, in bytes.
fn claim(metadata: &Value) -> Option<u64> {
    let digits = metadata["data_type"].as_str()?.trim_start_matches(|c: char| !c.is_ascii_digit());
    let size = digits.parse::<u64>().ok()? / 8;
    let mut lengths = metadata["shape"].as_array()?.iter();
    lengths.try_fold(size, |bytes, length| bytes.checked_mul(length.as_u64()?))
}

/// Whether the array `name` of an artifact may hold `claimed` bytes: as many as its files do, or so few that it does no harm
/// where the others are left out, which Zarr allows for what is all fill.
pub(crate) fn is_backed(tree: &Tree, name: &str, claimed: u64) -> bool {
    claimed <= SPARED || claimed <= under(tree, name).iter().map(|entry| entry.size).sum()
}

/// The metadata of an array with another number of rows.
fn with_rows(metadata: &Value, rows: u64) -> Vec<u8> {
    let mut metadata = metadata.clone();
    metadata["shape"][0] = json!(rows);
    serde_json::to_vec_pretty(&metadata).unwrap_or_else(|_| unreachable!("a JSON value is JSON"))
}

/// The file at `path` and the files below it.
pub(crate) fn under<'a>(tree: &'a Tree, path: &str) -> &'a [Entry] {
    let files = tree.files();
    if let Ok(at) = files.binary_search_by(|entry| entry.path.as_str().cmp(path)) {
        return &files[at..=at];
    }
    let folder = format!("{path}/");
    let start = files.partition_point(|entry| entry.path.as_str() < folder.as_str());
    let count = files[start..].iter().take_while(|entry| entry.path.as_str().starts_with(&folder));
    &files[start..start + count.count()]
}

/// The ranges of the chunks of `rows` rows; one, which is empty, of none.
pub(crate) fn chunks(rows: u64, chunk_rows: u64) -> Vec<Range<u64>> {
    let chunk_rows = chunk_rows.max(1);
    let count = rows.div_ceil(chunk_rows).max(1);
    (0..count).map(|i| i * chunk_rows..((i + 1) * chunk_rows).min(rows)).collect()
}

/// Whether [`join`] reads the file `path` of a part. All others it only refers to.
pub(crate) fn is_read(path: &str) -> bool {
    path.ends_with(METADATA) || path.ends_with(TABLE)
}

/// Makes `output` the artifact of which `parts`, published in `cache`, are the chunks; it has `rows` rows.
pub(crate) fn join(
    output: &Arc<Output>,
    format: Format,
    parts: &[Tree],
    rows: u64,
    cache: &Cache,
) -> Result<(), RowsError> {
    let Some(first) = parts.first() else { return Ok(()) };
    for entry in first.files() {
        let path = entry.path.as_str();
        match path.strip_suffix(METADATA).and_then(|folder| folder.strip_suffix('/')) {
            Some(array) if format == Format::Zarr => {
                let metadata = metadata_of(cache, output, entry)?;
                if has_rows(&metadata) {
                    join_array(output, array, &metadata, parts, rows, cache)?;
                } else {
                    for entry in under(first, array) {
                        link_same(output, entry, parts)?;
                    }
                }
            }
            None if format == Format::Table && path.ends_with(TABLE) => {
                join_tables(output, entry, parts, cache)?;
            }
            None if format == Format::Zarr && path != METADATA => {}
            _ => link_same(output, entry, parts)?,
        }
    }
    Ok(())
}

/// Links a file that every part must have alike.
fn link_same(output: &Output, entry: &Entry, parts: &[Tree]) -> Result<(), RowsError> {
    if parts.iter().any(|part| part.get(entry.path.as_str()) != Some(entry)) {
        return Err(differs(output, entry.path.as_str()));
    }
    output.link(entry.path.clone(), entry.blob, entry.size);
    Ok(())
}

fn differs(output: &Output, path: &str) -> RowsError {
    RowsError::Differs { output: output.name().to_owned(), path: path.to_owned() }
}

fn metadata_of(cache: &Cache, output: &Output, entry: &Entry) -> Result<Value, RowsError> {
    let bytes = cache.read_blob(entry)?;
    serde_json::from_slice(&bytes).map_err(|source| RowsError::Metadata {
        artifact: output.name().to_owned(),
        path: entry.path.to_string(),
        source,
    })
}

fn join_array(
    output: &Output,
    array: &str,
    metadata: &Value,
    parts: &[Tree],
    rows: u64,
    cache: &Cache,
) -> Result<(), RowsError> {
    let path = format!("{array}/{METADATA}");
    let whole = with_rows(metadata, rows);
    let from = format!("{array}/c/0");
    let mut same = None;
    for (chunk, part) in parts.iter().enumerate() {
        let entry = part.get(&path).ok_or_else(|| differs(output, &path))?;
        // Most parts have the same number of rows, and so the same metadata.
        if same != Some(entry.blob) {
            if with_rows(&metadata_of(cache, output, entry)?, rows) != whole {
                return Err(differs(output, &path));
            }
            same = Some(entry.blob);
        }
        for entry in under(part, &from) {
            let rest = &entry.path.as_str()[from.len()..];
            let path = ArtifactPath::new(format!("{array}/c/{chunk}{rest}"))?;
            output.link(path, entry.blob, entry.size);
        }
    }
    Ok(output.write(&path, &whole)?)
}

/// Puts the rows of a table's parts after each other, under the header that all of them have.
fn join_tables(
    output: &Output,
    entry: &Entry,
    parts: &[Tree],
    cache: &Cache,
) -> Result<(), RowsError> {
    let path = entry.path.as_str();
    let mut joined = output.create(path)?;
    let mut header: Option<Vec<u8>> = None;
    for part in parts {
        let entry = part.get(path).ok_or_else(|| differs(output, path))?;
        let bytes = cache.read_blob(entry)?;
        let end = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
        let rows = match &header {
            None => &bytes[..],
            Some(header) if *header == bytes[..end] => &bytes[end..],
            Some(_) => return Err(differs(output, path)),
        };
        joined.write_all(rows).map_err(CacheError::io("write", cache.root()))?;
        if header.is_none() {
            header = Some(bytes[..end].to_vec());
        }
    }
    Ok(joined.finish()?)
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::{
        artifact::zarr::ArraySpec,
        cache::{Staging, publish},
    };

    const CHUNK: u64 = 4;

    fn group(cache: &Cache, name: &str, values: &[f32]) -> Artifact {
        let staging = Arc::new(Staging::new(cache).unwrap());
        let output = Output::new(name, &staging);
        let group = output.zarr(Map::from_iter([("unit".to_owned(), json!("K"))])).unwrap();
        let spec = |dimensions, shape| ArraySpec {
            shape,
            dimensions,
            chunk_rows: CHUNK,
            unit: "",
            about: "",
        };
        group.write("axis", &spec(&["channel"], vec![2]), &[1.0_f64, 2.0]).unwrap();
        let rows = values.len() as u64 / 2;
        group.write("spectra", &spec(&["row", "channel"], vec![rows, 2]), values).unwrap();
        let numbers: Vec<u32> = (0..rows as u32).collect();
        group.write("number", &spec(&["row"], vec![rows]), &numbers).unwrap();
        let (tree, staged) = output.finish().unwrap();
        let tree = publish(cache, staging, staged, tree);
        Artifact::cached(name, name, Arc::new(tree), cache)
    }

    fn values(rows: u64) -> Vec<f32> {
        (0..rows * 2).map(|i| i as f32).collect()
    }

    #[test]
    fn a_chunk_is_the_group_of_its_rows() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let whole = group(&cache, "spectra", &values(10));
        let cut = Cuttable::open(&whole, &["axis", "spectra", "missing"]).unwrap().unwrap();
        assert_eq!(cut.rows(), 10);
        let last = cut.chunk(2, 2).unwrap();
        let read = last.zarr().unwrap();
        assert_eq!(read.array::<f32>("spectra").unwrap().read_all().unwrap(), values(10)[16..]);
        assert_eq!(read.array::<f64>("axis").unwrap().read_all().unwrap(), [1.0, 2.0]);
        assert!(!read.has("number"), "only what is named is seen");
        // A chunk is named by its rows, whatever comes after them.
        let longer = group(&cache, "spectra", &values(20));
        let longer = Cuttable::open(&longer, &["axis", "spectra"]).unwrap().unwrap();
        assert_eq!(longer.chunk(1, 4).unwrap().tree(), cut.chunk(1, 4).unwrap().tree());
        assert_ne!(longer.chunk(1, 4).unwrap().tree(), cut.chunk(0, 4).unwrap().tree());
    }

    #[test]
    fn what_is_stored_in_other_chunks_is_not_cut() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let whole = group(&cache, "spectra", &values(10));
        let cut = Cuttable::open(&whole, &["spectra"]).unwrap().unwrap();
        assert_eq!((cut.chunk_rows(), cut.row_bytes()), (CHUNK, 8));
        // With chunks of another number of rows, or a claim of more rows than there are.
        for (key, odd) in [("chunk_grid", 5_u64), ("shape", 1 << 50)] {
            let mut files = Vec::new();
            for entry in whole.tree().files() {
                let mut bytes = whole.read(entry.path.as_str()).unwrap();
                if entry.path.as_str() == "number/zarr.json" {
                    let mut metadata: Value = serde_json::from_slice(&bytes).unwrap();
                    let place = match key {
                        "shape" => &mut metadata["shape"][0],
                        _ => &mut metadata["chunk_grid"]["configuration"]["chunk_shape"][0],
                    };
                    *place = json!(odd);
                    bytes = serde_json::to_vec(&metadata).unwrap();
                }
                let (blob, size) = (Digest::of(&bytes), bytes.len() as u64);
                files.push((Entry::plain(entry.path.clone(), blob, size), Held::Bytes(bytes)));
            }
            let changed = whole.part(files).unwrap();
            assert!(Cuttable::open(&changed, &["spectra", "number"]).unwrap().is_none(), "{key}");
            let read = changed.zarr().unwrap().array::<u32>("number");
            assert_eq!(read.is_err(), key == "shape", "what is claimed is not believed");
        }
        assert!(Cuttable::open(&whole, &["axis"]).unwrap().is_none(), "it has no rows");
    }

    #[test]
    fn chunks_join_to_what_was_cut() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        for rows in [0_u64, 1, 4, 7, 8, 9] {
            let chunk_rows = fitting(CHUNK, 8, rows);
            let whole = group(&cache, "spectra", &values(rows));
            let arrays = ["axis", "number", "spectra"];
            let cut = Cuttable::open(&whole, &arrays).unwrap().unwrap();
            let staging = Arc::new(Staging::new(&cache).unwrap());
            let parts: Vec<Tree> = chunks(rows, chunk_rows)
                .iter()
                .enumerate()
                .map(|(i, range)| {
                    // As a stage would: read the chunk, and write it anew.
                    let chunk = cut.chunk(i as u64, range.end - range.start).unwrap();
                    let output = Output::new("spectra", &staging);
                    for entry in chunk.tree().files() {
                        let path = entry.path.as_str();
                        output.write(path, &chunk.read(path).unwrap()).unwrap();
                    }
                    let (tree, staged) = output.finish().unwrap();
                    publish(&cache, Arc::clone(&staging), staged, tree)
                })
                .collect();
            let output = Output::new("spectra", &staging);
            join(&output, Format::Zarr, &parts, rows, &cache).unwrap();
            let (joined, _) = output.finish().unwrap();
            assert_eq!(joined, **whole.tree(), "{rows} rows");
        }
    }

    #[test]
    fn tables_join_under_one_header() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let staging = Arc::new(Staging::new(&cache).unwrap());
        let part = |text: &str| {
            let output = Output::new("table", &staging);
            output.write("catalogue.csv", text.as_bytes()).unwrap();
            let (tree, staged) = output.finish().unwrap();
            publish(&cache, Arc::clone(&staging), staged, tree)
        };
        let joined = |parts: &[Tree]| {
            let output = Output::new("table", &staging);
            join(&output, Format::Table, parts, 0, &cache).map(|()| {
                let (tree, staged) = output.finish().unwrap();
                let tree = publish(&cache, Arc::clone(&staging), staged, tree);
                Artifact::cached("table", "table", Arc::new(tree), &cache)
                    .read("catalogue.csv")
                    .unwrap()
            })
        };
        let parts = [part("row,x\n0,1\n"), part("row,x\n"), part("row,x\n9,8\n")];
        assert_eq!(joined(&parts).unwrap(), b"row,x\n0,1\n9,8\n");
        let other = [part("row,x\n0,1\n"), part("row,y\n1,1\n")];
        assert!(matches!(joined(&other), Err(RowsError::Differs { .. })));
    }

    #[test]
    fn what_differs_between_chunks_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let staging = Arc::new(Staging::new(&cache).unwrap());
        let part = |text: &str| {
            let output = Output::new("scaler", &staging);
            output.write("scaler.json", text.as_bytes()).unwrap();
            let (tree, staged) = output.finish().unwrap();
            publish(&cache, Arc::clone(&staging), staged, tree)
        };
        let output = Output::new("scaler", &staging);
        let parts = [part("{}"), part("[]")];
        let error = join(&output, Format::Document, &parts, 0, &cache).unwrap_err();
        assert!(error.to_string().contains("scaler.json"), "{error}");
    }

    #[test]
    fn chunks_fit_their_rows_and_their_room() {
        for (row_bytes, rows, expected) in [
            (0, 5000, 2048),
            (560, 5000, 2048),
            (16 << 10, 5000, 2048),
            (17 << 10, 5000, 1927),
            (4_000_000, 5000, 8),
            (u64::MAX, 5000, 1),
            (560, 7, 7),
            (4_000_000, 3, 3),
            (560, 0, 1),
        ] {
            assert_eq!(fitting(2048, row_bytes, rows), expected, "{row_bytes} {rows}");
        }
    }
}
