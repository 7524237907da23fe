//! The arrays of a Zarr v3 group: what each of them is, and its first values.

use pipe_engine::{Entry, Tree};
use serde_json::Value;

use super::{document, table};
use crate::cli::error::CommandError;

/// How many values of an array are shown.
const FIRST: usize = 4;

/// A line for each array: name, type, shape with the names of its dimensions, unit, what it is, first values.
pub(crate) fn show(
    tree: &Tree,
    read: &dyn Fn(&Entry) -> Result<Vec<u8>, CommandError>,
    width: usize,
) -> Result<String, CommandError> {
    let mut rows = Vec::new();
    for entry in tree.files() {
        let Some(name) = entry.path.as_str().strip_suffix("/zarr.json") else { continue };
        let bytes = read(entry)?;
        let Ok(meta) = serde_json::from_slice::<Value>(&bytes) else {
            return Err(CommandError::system(format!(
                "the description of the array `{name}` is no JSON"
            )));
        };
        if meta["node_type"] != "array" {
            continue;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let unit = text(&meta["attributes"]["units"]);
        let about = text(&meta["attributes"]["description"]);
        let values = values(tree, name, &meta, read)?.unwrap_or_default();
        rows.push([name.to_owned(), text(&meta["data_type"]), shape(&meta), unit, about, values]);
    }
    let mut table = table::plain(width);
    table.set_header(["array", "type", "shape", "unit", "what", "first values"]);
    for row in rows {
        table.add_row(row);
    }
    Ok(table::lines(&table, ""))
}

/// `row 100 × channel 140`.
fn shape(meta: &Value) -> String {
    let lengths = meta["shape"].as_array().map(Vec::as_slice).unwrap_or_default();
    let names = meta["dimension_names"].as_array().map(Vec::as_slice).unwrap_or_default();
    let dimension = |(i, length): (usize, &Value)| match names.get(i).and_then(Value::as_str) {
        Some(name) => format!("{name} {length}"),
        None => length.to_string(),
    };
    lengths.iter().enumerate().map(dimension).collect::<Vec<_>>().join(" × ")
}

/// The first values in C order, if the first chunk holds them as they are in memory.
fn values(
    tree: &Tree,
    name: &str,
    meta: &Value,
    read: &dyn Fn(&Entry) -> Result<Vec<u8>, CommandError>,
) -> Result<Option<String>, CommandError> {
    let lengths = |value: &Value| -> Vec<u64> {
        value.as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
    };
    let shape = lengths(&meta["shape"]);
    let chunk = lengths(&meta["chunk_grid"]["configuration"]["chunk_shape"]);
    let codecs = meta["codecs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let plain = matches!(codecs, [only] if only["name"] == "bytes"
        && only["configuration"]["endian"].as_str().is_none_or(|endian| endian == "little"));
    let separator =
        meta["chunk_key_encoding"]["configuration"]["separator"].as_str().unwrap_or("/");
    let key = vec!["0"; shape.len()].join(separator);
    let entry = tree.get(&format!("{name}/c{separator}{key}"));
    let (true, Some(entry), Some(data_type)) = (plain, entry, meta["data_type"].as_str()) else {
        return Ok(None);
    };
    // Along the last dimension the array's rows lie in the chunk one after another.
    let last = shape.last().copied().unwrap_or(0).min(chunk.last().copied().unwrap_or(0));
    let total: u64 = shape.iter().product();
    let count = (last.min(total) as usize).min(FIRST);
    let bytes = read(entry)?;
    let Some(mut shown) = decode(&bytes, data_type, count) else { return Ok(None) };
    if total > count as u64 {
        shown.push("…".to_owned());
    }
    Ok(Some(shown.join(" ")))
}

fn decode(bytes: &[u8], data_type: &str, count: usize) -> Option<Vec<String>> {
    macro_rules! numbers {
        ($type:ty, $show:expr) => {
            bytes
                .chunks_exact(size_of::<$type>())
                .take(count)
                .map(|bytes| bytes.try_into().map(<$type>::from_le_bytes).map($show).ok())
                .collect()
        };
    }
    match data_type {
        "float32" => numbers!(f32, |value| document::number(f64::from(value))),
        "float64" => numbers!(f64, document::number),
        "int8" => numbers!(i8, |value| value.to_string()),
        "int16" => numbers!(i16, |value| value.to_string()),
        "int32" => numbers!(i32, |value| value.to_string()),
        "int64" => numbers!(i64, |value| value.to_string()),
        "uint8" => numbers!(u8, |value| value.to_string()),
        "uint16" => numbers!(u16, |value| value.to_string()),
        "uint32" => numbers!(u32, |value| value.to_string()),
        "uint64" => numbers!(u64, |value| value.to_string()),
        "bool" => Some(bytes.iter().take(count).map(|byte| (*byte != 0).to_string()).collect()),
        _ => None,
    }
}
