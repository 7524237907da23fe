//! Publication: what one or many computations made becomes part of the cache, in the one order that is safe.

use std::collections::BTreeMap;

use super::{Cache, CacheError, Publication, Record, Staged, Staging};
use crate::{
    artifact::Tree,
    digest::{Digest, Fingerprint},
    stage::Exactness,
};

/// What one computation made: everything that its record names.
#[derive(Debug)]
pub(crate) struct Bundle {
    pub(crate) blobs: Vec<Staged>,
    pub(crate) trees: Vec<Tree>,
    pub(crate) record: Record,
    pub(crate) exactness: Exactness,
}

impl Cache {
    /// Publishes bundles: first the blobs of all, then the trees, then the records. When it returns, all is durable.
    /// Gives the outputs that stand in the end under each record's fingerprint: those of the first who published it.
    ///
    /// # Errors
    /// When something can't be written, or an exact result differs from the one that is there.
    pub(crate) fn publish(
        &self,
        staging: &Staging,
        bundles: Vec<Bundle>,
    ) -> Result<Vec<BTreeMap<String, Digest>>, CacheError> {
        let mut blobs = Vec::new();
        let mut trees = BTreeMap::new();
        let mut records = Vec::with_capacity(bundles.len());
        for bundle in bundles {
            blobs.extend(bundle.blobs);
            trees.extend(bundle.trees.into_iter().map(|tree| (tree.digest(), tree)));
            records.push((bundle.record, bundle.exactness));
        }
        staging.publish(&blobs)?;
        for tree in trees.values() {
            self.publish_tree(staging, tree)?;
        }
        let publish = |(record, exactness): (Record, Exactness)| {
            Ok(match self.publish_record(staging, &record, exactness)? {
                Publication::First => record.outputs,
                Publication::Stands(there) => there.outputs,
            })
        };
        records.into_iter().map(publish).collect()
    }

    /// Removes the record of a part that is no more needed, with its outputs.
    ///
    /// # Errors
    /// When something is there and can't be removed.
    pub(crate) fn remove_part(&self, fingerprint: Fingerprint) -> Result<(), CacheError> {
        let Some(Ok(record)) = self.record(fingerprint)? else { return Ok(()) };
        self.remove_record(fingerprint)?;
        for digest in record.outputs.values() {
            if let Ok(tree) = self.tree(*digest)? {
                self.remove_tree(*digest)?;
                for entry in tree.files() {
                    self.remove_blob(entry.blob)?;
                }
            }
        }
        Ok(())
    }
}
