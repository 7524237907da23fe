//! Records: what the cache holds under a fingerprint.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::{
    digest::{Digest, Fingerprint},
    encoding::{Encoder, Json},
};

/// Everything that names a result, and so everything that can invalidate it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The kind of stage.
    pub kind: String,
    /// The revision of the kind's code.
    pub revision: u32,
    /// The canonical config; for a command its line, files, variables and config.
    pub config: Value,
    /// The content digest of each input, by the name that the stage has for it. For a part of a stage, of that part
    /// of the input which it sees.
    pub inputs: BTreeMap<String, Digest>,
    /// Which part of a stage's result this is; none for the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
}

/// A part of a stage's result that has a fingerprint and a record of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Part {
    /// Some rows of a row-mapped stage.
    Rows {
        /// The first of them.
        first: u64,
        /// How many.
        rows: u64,
    },
    /// The state of an iterated stage after so many steps.
    Step(u64),
    /// What was made of one entry of a folder or a table.
    Entry(String),
}

const CONTEXT: &str = "pipe 2026-11 fingerprint v1";
/// More than this, in bytes, is no record.
pub(super) const LARGEST: u64 = 256 << 20;

impl Recipe {
    /// The fingerprint: the hash, in a domain of its own, of kind, revision, config, inputs and part in this order,
    /// encoded as the crate's module `encoding` says. A whole adds nothing for its part.
    pub fn fingerprint(&self) -> Fingerprint {
        let config = Json::Value(Cow::Borrowed(&self.config));
        fingerprint(&self.kind, self.revision, &config, &self.inputs, self.part.as_ref())
    }
}

/// The fingerprint of the [`Recipe`] with these parts.
pub(crate) fn fingerprint(
    kind: &str,
    revision: u32,
    config: &Json<'_>,
    inputs: &BTreeMap<String, Digest>,
    part: Option<&Part>,
) -> Fingerprint {
    let mut encoder = Encoder::new(CONTEXT);
    encoder.text(kind).number(revision.into()).json(config);
    encoder.number(inputs.len() as u64);
    for (name, digest) in inputs {
        encoder.text(name).fixed(digest.as_bytes());
    }
    match part {
        None => {}
        Some(Part::Rows { first, rows }) => {
            encoder.text("rows").number(*first).number(*rows);
        }
        Some(Part::Step(step)) => {
            encoder.text("step").number(*step);
        }
        Some(Part::Entry(entry)) => {
            encoder.text("entry").text(entry);
        }
    }
    Fingerprint::from_bytes(encoder.finish())
}

/// How a result came to be. Nothing here enters a fingerprint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// The name of the stage that made it.
    pub stage: String,
    /// The machine.
    pub host: String,
    /// The version of pipe.
    pub version: String,
    /// When the computation began, UTC.
    pub started: String,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// What the stage itself noted, such as the device.
    pub notes: BTreeMap<String, String>,
}

/// What the cache holds under a fingerprint. Its file may have keys that a later version added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The version of this format.
    pub format: u32,
    /// What names the result.
    pub recipe: Recipe,
    /// The content digest of each output.
    pub outputs: BTreeMap<String, Digest>,
    /// The records that this one was put together from: chunks, entries, the last state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Fingerprint>,
    /// The blob with what a command printed, and its size.
    pub log: Option<(Digest, u64)>,
    /// The user's folders that it was made from: the blob with the manifest of each, and its size, by `inputs.NAME` and
    /// `files.PATH`. They tell later which files of a folder changed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, (Digest, u64)>,
    /// How it came to be.
    pub provenance: Provenance,
}

/// What stands in the file of a record before and after the 64 digits of its checksum.
const BEFORE_SUM: &str = ",\"checksum\":\"";
const AFTER_SUM: &str = "\"}";

impl Record {
    /// The bytes of its file: JSON, whose last key has the BLAKE3 hash of all that stands before it.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let json = serde_json::to_vec_pretty(self);
        let mut bytes = json.unwrap_or_else(|_| unreachable!("a record has text keys only"));
        bytes.truncate(bytes.len() - "\n}".len());
        let sum = blake3::hash(&bytes).to_hex();
        for part in [BEFORE_SUM, &sum, AFTER_SUM] {
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes
    }

    /// The record in the `bytes` of its file; else what is wrong with them.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let unseal = |bytes| {
            let (front, sum) = <[u8]>::strip_suffix(bytes, AFTER_SUM.as_bytes())?
                .split_last_chunk::<{ 2 * blake3::OUT_LEN }>()?;
            Some((front.strip_suffix(BEFORE_SUM.as_bytes())?, sum))
        };
        let (body, sum) = unseal(bytes).ok_or("it doesn't end with a checksum")?;
        if blake3::hash(body).to_hex().as_bytes() != sum {
            return Err("its checksum is another".to_owned());
        }
        let record: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if record.format == super::FORMAT {
            Ok(record)
        } else {
            Err(format!("its format is {}", record.format))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn recipe() -> Recipe {
        Recipe {
            kind: "generate".into(),
            revision: 1,
            config: json!({"count": 10, "rate": 0.001}),
            inputs: [("spectra".into(), Digest::of(b"a")), ("truth".into(), Digest::of(b"b"))]
                .into(),
            part: None,
        }
    }

    #[test]
    fn fingerprint_is_pinned() {
        assert_eq!(
            recipe().fingerprint().hex(),
            "1b266f63aec28fe1c6893257cae43b8d686ee27fe49cd74afa3eb167b08601a3"
        );
    }

    #[test]
    fn everything_in_a_recipe_counts() {
        let base = recipe().fingerprint();
        let changes: [fn(&mut Recipe); 10] = [
            |r| r.kind.push('x'),
            |r| r.revision = 2,
            |r| r.config["rate"] = json!(0.002),
            |r| r.config["more"] = json!(null),
            |r| _ = r.inputs.insert("truth".into(), Digest::of(b"c")),
            |r| _ = r.inputs.remove("truth"),
            |r| r.part = Some(Part::Rows { first: 0, rows: 10 }),
            |r| r.part = Some(Part::Rows { first: 10, rows: 0 }),
            |r| r.part = Some(Part::Step(10)),
            |r| r.part = Some(Part::Entry("10".to_owned())),
        ];
        let mut seen = std::collections::BTreeSet::from([base]);
        for change in changes {
            let mut recipe = recipe();
            change(&mut recipe);
            assert!(seen.insert(recipe.fingerprint()), "{recipe:?}");
        }
    }

    #[test]
    fn inputs_that_swap_their_contents_are_told_apart() {
        let mut swapped = recipe();
        swapped.inputs =
            [("spectra".into(), Digest::of(b"b")), ("truth".into(), Digest::of(b"a"))].into();
        assert_ne!(swapped.fingerprint(), recipe().fingerprint());
    }

    fn record() -> Record {
        let provenance = Provenance {
            stage: "a".into(),
            host: "here".into(),
            version: "0".into(),
            started: "2026-11-01T00:00:00Z".into(),
            seconds: 0.25,
            notes: BTreeMap::new(),
        };
        let outputs = [("o".to_owned(), Digest::of(b"o"))].into();
        let (parts, log, sources) = (vec![recipe().fingerprint()], None, BTreeMap::new());
        Record { format: 1, recipe: recipe(), outputs, parts, log, sources, provenance }
    }

    #[test]
    fn a_key_that_is_not_known_is_passed_over() {
        let text = String::from_utf8(record().to_bytes()).unwrap();
        let more = text.replacen('{', "{\"later\":1,", 1);
        let body = &more[..more.rfind(BEFORE_SUM).unwrap()];
        let sum = blake3::hash(body.as_bytes());
        let sealed = format!("{body}{BEFORE_SUM}{sum}{AFTER_SUM}");
        assert_eq!(Record::from_bytes(sealed.as_bytes()), Ok(record()));
        assert_eq!(Record::from_bytes(more.as_bytes()), Err("its checksum is another".to_owned()));
    }

    proptest! {
        #[test]
        fn no_damage_to_a_record_goes_unseen(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let mut bytes = record().to_bytes();
            prop_assert_eq!(Record::from_bytes(&bytes), Ok(record()));
            let at = at.index(bytes.len());
            prop_assert!(Record::from_bytes(&bytes[..at]).is_err());
            bytes[at] ^= 1 << bit;
            prop_assert!(Record::from_bytes(&bytes).is_err());
        }

        #[test]
        fn no_bytes_make_reading_a_record_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Record::from_bytes(&bytes);
            let _ = serde_json::from_slice::<Record>(&bytes);
        }
    }
}
