//! The machine that this process runs on.

use std::sync::OnceLock;

/// The machine's name, for people.
pub(crate) fn name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

/// What tells this running system from every other one, and from itself before it was last started: processes that
/// give the same identity see each other's file locks.
///
/// A test can say it, so that it can be on two machines.
pub(crate) fn identity() -> &'static str {
    static IDENTITY: OnceLock<String> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let boot = || std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let found = crate::base::faults::machine().or_else(boot).unwrap_or_default();
        let mut found: String =
            found.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(64).collect();
        if found.is_empty() {
            // A system without a boot's identity is known by its name: after a restart its old leases are waited for.
            found = name().chars().filter(char::is_ascii_alphanumeric).take(64).collect();
        }
        found
    })
}
