// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Exit codes, the same for every command.

use std::process::ExitCode;

/// What `weir --help` says about exit codes.
pub(super) const HELP: &str = "Exit codes: 0 ok, 1 refused or failed, 2 usage, 3 daemon unreachable, 4 not found, \
                               5 conflict, 6 would disrupt";

/// Each code with its meaning, as the manual says it.
pub(super) const CODES: [(u8, &str); 7] = [
    (0, "Done."),
    (1, "Refused or failed; a bad document too."),
    (2, "The command line is not understood."),
    (3, "The daemon cannot be reached or does not answer."),
    (4, "No object has this name."),
    (5, "Somebody else changed it meanwhile."),
    (
        6,
        "It would withdraw a VIP or break flows, or flows are left when the wait ends. Nothing was done, or the drain stays.",
    ),
];

/// How a command ended. Usage errors (2) are the parser's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Refused or failed, a bad document too.
    Failed = 1,
    /// The daemon does not answer.
    Unreachable = 3,
    /// No object has this name.
    NotFound = 4,
    /// Somebody else changed it meanwhile.
    Conflict = 5,
    /// It would break flows or withdraw a VIP.
    WouldDisrupt = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        // The numbers are the interface: they stand beside the variants.
        ExitCode::from(exit as u8)
    }
}
