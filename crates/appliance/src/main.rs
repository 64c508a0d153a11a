// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The binary `weir`: parse the command line, run one command, turn its outcome into an exit code.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    weir_appliance::cli::main()
}
