//! How the program ends where it should not have come to: a panic, memory that can't be had, a limit of the system.

use std::{
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
};

use anstream::ColorChoice;

use super::{exit_code, printer::Printer};

/// What is said when the process aborts; the line before tells why.
const LAST: &str = "error: the program had to end at once, for the reason above; what was finished is kept\n\
                    help: if memory was short: fewer jobs (`-j 1`), or a higher limit (`ulimit -v`)\n";

/// Lets the program end with a word and an exit code, whatever happens.
pub(crate) fn prepare() {
    panic::set_hook(Box::new(tell));
    // Without these the process still ends, if with less to say.
    let _ = pipe_child::speak_before_abort(LAST, exit_code::SYSTEM_FAILED);
    // A write beyond the limit of a file's size fails then, as any that fails. Programs that are run have the system's way.
    let _ =
        signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::new(AtomicBool::new(false)));
}

/// Does `act`, and ends well also where it panics.
pub(crate) fn caught(act: impl FnOnce() -> u8) -> ExitCode {
    let ended = panic::catch_unwind(AssertUnwindSafe(act));
    let code = ended.unwrap_or_else(|_| {
        let printer = Printer::new(ColorChoice::Auto);
        printer.help(
            "this is a fault of the program, told above with its place: what was finished is kept",
        );
        exit_code::SYSTEM_FAILED
    });
    ExitCode::from(code)
}

/// Tells of a panic in one line, by the way of all messages; with `RUST_BACKTRACE` also how it came to that.
fn tell(panic: &PanicHookInfo<'_>) {
    let printer = Printer::new(ColorChoice::Auto);
    let place = panic.location().map(|place| format!(" at {place}")).unwrap_or_default();
    let what = panic.payload_as_str().unwrap_or("it gave no reason");
    printer.error(format_args!("panicked{place}: {what}"));
    let trace = std::backtrace::Backtrace::capture();
    if trace.status() == std::backtrace::BacktraceStatus::Captured {
        printer.messages(&trace.to_string());
    }
}
