// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Developer tasks, run as `cargo xtask TASK`; the Makefile names the ones people use.
//!
//! ```text
//! check   fmt, clippy as errors, licences and sources, house rules
//! tidy    the house rules alone: dependency edges, file heads, lengths, paths
//! test    every test; those that need root run inside scripts/isolated.sh; last line `N passed, N failed`
//! test-vm  those of the kernel programs on older kernels, in emulated machines
//! gen-docs  writes the pages of docs/ that come from the code; the tests say when one is stale
//! demo    builds, then tells the lab's story inside scripts/isolated.sh
//! dist    manual pages, completions and notices of the program, to target/dist
//! deb     the Debian package; test-deb also examines it
//! ```
//! Each task prints what it runs. A failed step makes the exit code 1; a wrong command line makes it 2.

mod cargo;
mod check;
mod deb;
mod demo;
mod dist;
mod docs;
mod run;
mod test;
mod tidy;
mod vm;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask check | tidy | gen-docs | test [-p PACKAGE]... [--filter NAME] [--measures] | test-vm [--kernel 6.1|6.12]... [-p PACKAGE]... [--filter NAME] | demo [--keep] | dist | deb | test-deb";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["check"] => check::check(),
        ["tidy"] => check::tidy(),
        ["gen-docs"] => docs::generate(),
        ["test", options @ ..] => match test::Options::parse(options) {
            Some(options) => test::test(&options),
            None => return usage(),
        },
        ["test-vm", options @ ..] => match vm::Options::parse(options) {
            Some(options) => vm::test(&options),
            None => return usage(),
        },
        ["demo"] => demo::demo(std::env::var_os("KEEP").is_some_and(|value| !value.is_empty())),
        ["demo", "--keep"] => demo::demo(true),
        ["dist"] => dist::build_and_dist(&[]),
        ["deb"] => deb::deb().map(|_| ()),
        ["test-deb"] => deb::test(),
        _ => return usage(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}
