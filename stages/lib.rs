//! The stages of `pipe`: one stage, one file.
//!
//! The science is in [`spectra`], the network in [`network`], forests in [`ensemble`], the pictures in [`figures`]: plain functions on arrays,
//! which the stages connect to artifacts.

pub mod artifacts;
mod device;
pub mod ensemble;
mod evaluation_figures;
mod evaluation_tables;
mod figure_files;
pub mod figures;
mod fit_outputs;
mod fit_rows;
pub mod network;
mod row_chunks;
pub mod spectra;
mod summary;
mod truth_table;

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

/// Every kind of stage that ships with `pipe`.
pub fn builtin() -> Registry {
    let registry = Registry::new()
        .with::<evaluate::Evaluate>()
        .with::<compare::Compare>()
        .with::<import_truth::ImportTruth>()
        .with::<import::Import>()
        .with::<scale::Scale>()
        .with::<split::Split>()
        .with::<generate::Generate>()
        .with::<train::Train>()
        .with::<fit::Fit>()
        .with::<export::Export>()
        .with::<forest::RandomForest>()
        .with::<predict::Predict>()
        .with::<refine::Refine>()
        .with::<smooth::Smooth>()
        .with::<plot::Plot>()
        .with::<maps::Maps>();
    device::with_gpu(registry)
}
