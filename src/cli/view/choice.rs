//! Which reader of a run is used.

use std::io::{self, IsTerminal as _};

use super::{
    json, plain, progress,
    reader::{Detail, View},
};
use crate::cli::printer::Printer;

/// The view that fits where the output goes.
pub(crate) fn choose(json: bool, detail: Detail, printer: Printer) -> Box<dyn View> {
    if json {
        Box::new(json::Json::new(printer))
    } else if io::stderr().is_terminal() && !detail.quiet {
        Box::new(progress::Progress::new(plain::Plain::new(detail, printer)))
    } else {
        Box::new(plain::Plain::new(detail, printer))
    }
}
