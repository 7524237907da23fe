//! The kinds of stage: one file or folder each, and nothing else.

pub mod compare;
pub mod evaluate;
pub mod export;
pub mod fit;
pub mod forest;
pub mod generate;
pub mod import;
pub mod import_truth;
pub mod maps;
pub mod plot;
pub mod predict;
pub mod refine;
pub mod scale;
pub mod smooth;
pub mod split;
pub mod train;

use pipe_engine::Registry;

use crate::artifacts::device;

/// Every kind of stage that ships with `pipe`, in the order in which a pipeline has them.
pub fn builtin() -> Registry {
    let registry = Registry::new()
        .with::<generate::Generate>()
        .with::<import::Import>()
        .with::<import_truth::ImportTruth>()
        .with::<split::Split>()
        .with::<scale::Scale>()
        .with::<train::Train>()
        .with::<predict::Predict>()
        .with::<forest::RandomForest>()
        .with::<fit::Fit>()
        .with::<refine::Refine>()
        .with::<smooth::Smooth>()
        .with::<export::Export>()
        .with::<evaluate::Evaluate>()
        .with::<compare::Compare>()
        .with::<plot::Plot>()
        .with::<maps::Maps>();
    device::with_gpu(registry)
}
