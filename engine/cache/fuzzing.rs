//! What is private and yet reads bytes that others wrote, as the fuzz targets in `fuzz/` see it: each function panics
//! when a property doesn't hold. Built for them only.

use super::{
    contents::{Named, names},
    lease_file::{LINE, Line},
    record::Record,
    run::{RunFile, Stages, fingerprints_in},
    stat_cache::{self, Content},
};

/// A memo that is read is written and read again as the same, with `bytes` as they are and as what a right checksum
/// stands behind.
pub fn memo(bytes: &[u8]) {
    for bytes in [bytes.to_vec(), stat_cache::sealed(bytes)] {
        if let Some(content) = Content::decode(&bytes) {
            assert_eq!(Content::decode(&content.encode()), Some(content));
        }
    }
}

/// The line of an owner that is read fits into its place when it is written by us, is read again as the same, and is
/// never waited for without end.
pub fn lease(bytes: &[u8]) {
    let Some(line) = Line::parse(bytes) else { return };
    let patience = line.patience();
    assert!(patience.as_secs() <= 600 && !patience.is_zero(), "{patience:?}");
    let written = line.bytes();
    let again = Line::parse(&written).expect("what was written can be read");
    assert_eq!(written.last(), Some(&b'\n'));
    assert!(written.len() >= LINE);
    assert_eq!(again.bytes(), written);
}

/// A record that is read is written and read again as the same, and whoever collects sees all that it names.
pub fn record(json: &[u8]) {
    let _ = Record::from_bytes(json);
    let Ok(record) = serde_json::from_slice::<Record>(json) else { return };
    let written = record.to_bytes();
    if record.format == super::FORMAT {
        let again = Record::from_bytes(&written).expect("what was written can be read");
        assert_eq!(again, record);
        assert_eq!(again.recipe.fingerprint(), record.recipe.fingerprint());
        assert_eq!(again.to_bytes(), written);
    }
    let named: Named = serde_json::from_slice(json).expect("whoever collects reads every record");
    assert_eq!(named.outputs, record.outputs);
    assert_eq!(named.log, record.log);
    assert_eq!(named.sources, record.sources);
    assert_eq!(named.parts, record.parts);
}

/// Of any bytes whoever explains reads stages, or none.
pub fn any_text_is_a_run_or_none(json: &[u8]) {
    let _: Option<Stages> = fingerprints_in(json);
}

/// Whoever explains sees the stages of the run in `json`, and whoever collects all that it names.
pub fn run_is_seen_whole(run: &RunFile, json: &[u8]) {
    if run.format == super::FORMAT {
        let known = run
            .stages
            .iter()
            .filter_map(|stage| Some((stage.name.clone(), (stage.fingerprint?, stage.outcome))));
        assert_eq!(fingerprints_in(json), Some(known.collect()));
    }
    let text = String::from_utf8_lossy(json);
    // Names are written as they are, never with escapes.
    if text.contains("\\u") {
        return;
    }
    let seen: std::collections::BTreeSet<[u8; 32]> = names(&text).collect();
    for stage in &run.stages {
        let log = stage.error.as_ref().and_then(|error| error.log);
        let digests = stage.outputs.values().copied().chain(log.map(|(blob, _)| blob));
        let all = digests.map(|digest| *digest.as_bytes());
        for name in all.chain(stage.fingerprint.map(|name| *name.as_bytes())) {
            assert!(seen.contains(&name), "{name:?}");
        }
    }
}
