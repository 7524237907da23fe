//! The kinds of stage of `pipe`: [`kinds`] has one file, or one folder, for each.
//!
//! The science is in [`spectra`], the network in [`network`], forests in [`ensemble`], the pictures in [`figures`]: plain
//! functions on arrays, which the kinds connect to [`artifacts`].

pub mod artifacts;
pub mod ensemble;
pub mod figures;
pub mod kinds;
pub mod network;
pub mod spectra;

pub use self::kinds::builtin;
