// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Files made from this very command line, so that they cannot say anything else: man pages, completions, the reference.
//!
//! ```text
//! OUT/man/weir.8, weir-drain.8 …        one page a command, section 8
//! OUT/man/weir.toml.5                   the reference of the document
//! OUT/completions/weir.bash, _weir, weir.fish
//! OUT/cli.md                            checked in as docs/operating/cli.md
//! ```

mod page;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

use super::exit::CODES;
use super::{Exit, output};
use crate::config;

/// Width of the help in the reference, whatever terminal it is made on.
const REFERENCE_COLUMNS: usize = 100;
/// Section of the man pages: system administration.
const SECTION: &str = "8";

/// Arguments of `weir completions`.
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Arguments of `weir generate`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder to write to; made when missing
    out: PathBuf,
}

/// Runs `weir completions`.
pub(super) fn completions(args: &CompletionsArgs, mut command: Command) -> Result<Exit> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "weir", &mut text);
    output::print_body(&text)?;
    Ok(Exit::Ok)
}

/// Runs `weir generate`.
pub(super) fn main(args: &Args, command: Command) -> Result<Exit> {
    let (man, completions) = (args.out.join("man"), args.out.join("completions"));
    for folder in [&man, &completions] {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    for (name, page) in man_pages(command.clone())? {
        write(&man.join(name), &page)?;
    }
    write(&man.join("weir.toml.5"), document_page(&command).as_bytes())?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command.clone(), "weir", &completions)
            .with_context(|| format!("write completions to {}", completions.display()))?;
    }
    write(&args.out.join("cli.md"), reference(command).as_bytes())?;
    Ok(Exit::Ok)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("write {}", path.display()))
}

/// Every command that is shown, built, in the order of the help; the whole first.
fn commands(mut command: Command) -> Vec<Command> {
    fn collect(command: &Command, all: &mut Vec<Command>) {
        all.push(command.clone());
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            collect(sub, all);
        }
    }
    command = command.term_width(REFERENCE_COLUMNS);
    command.build();
    let mut all = Vec::new();
    collect(&command, &mut all);
    all
}

/// Man pages by file name.
fn man_pages(command: Command) -> io::Result<Vec<(String, Vec<u8>)>> {
    let source = format!("weir {}", command.get_version().unwrap_or_default());
    let mut pages = Vec::new();
    for command in commands(command) {
        let title = command.get_display_name().unwrap_or_else(|| command.get_name()).to_uppercase();
        let man = Man::new(command).section(SECTION).title(title).source(&source).manual("Weir");
        let mut page = Vec::new();
        man.render(&mut page)?;
        page.extend(exit_status().as_bytes());
        pages.push((man.get_filename(), page));
    }
    Ok(pages)
}

/// The manual page of the document.
fn document_page(command: &Command) -> String {
    let source = format!("weir {}", command.get_version().unwrap_or_default());
    let mut page =
        page::manual("weir.toml", "5", "the document of a Weir appliance", &source, &config::reference());
    page.push_str(".SH \"SEE ALSO\"\n.BR weir\\-check (8),\n.BR weir\\-reload (8)\n");
    page
}

/// The sections that all pages share.
fn exit_status() -> String {
    let mut text = String::from(".SH \"EXIT STATUS\"\n");
    for (code, meaning) in CODES {
        text.push_str(&format!(".TP\n{code}\n{meaning}\n"));
    }
    text.push_str(
        ".SH ENVIRONMENT\n.TP\nWEIR_SERVER\nThe daemon, as \\-\\-server names it.\n.TP\nNO_COLOR\nNo colours, when it is \
         not empty.\n.SH FILES\n.TP\n/run/weir/api.sock\nThe daemon's API.\n.TP\n/etc/weir/weir.toml\nThe document.\n\
         .SH \"SEE ALSO\"\n.BR weir (8),\n.BR weir\\-status (8),\n.BR weir\\-check (8),\n.BR weir.toml (5)\n",
    );
    text
}

/// The reference of the command line, in Markdown: every help page as it is.
fn reference(command: Command) -> String {
    let mut text = String::from(
        "<!-- SPDX-License-Identifier: Apache-2.0 OR MIT -->\n<!-- Written from the code by `cargo xtask gen-docs`; \
         edit `crates/appliance/src/cli`. -->\n# Command line\n\n\
         Every command's own help. Commands that talk to a daemon do so over its socket, or where `--server` or \
         `WEIR_SERVER` says.\n`--output json` prints exactly what the API answers. Errors are three lines on standard \
         error: what, why, what to do; the word at the end\nis what to search for. A pipe gets no colours and whole \
         lines; `NO_COLOR` takes the colours from a terminal too.\n\n## Exit codes\n\n| code | meaning |\n|---|---|\n",
    );
    for (code, meaning) in CODES {
        text.push_str(&format!("| {code} | {meaning} |\n"));
    }
    for mut command in commands(command) {
        let name = command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned();
        let help = command.render_help().to_string();
        let help: Vec<&str> = help.lines().map(str::trim_end).collect();
        text.push_str(&format!("\n## `{name}`\n\n```text\n{}\n```\n", help.join("\n").trim_end()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::command;
    use super::*;

    #[test]
    fn every_command_has_a_page_that_says_what_it_is() {
        let pages = man_pages(command()).expect("pages");
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        for name in
            ["weir.8", "weir-run.8", "weir-status.8", "weir-drain.8", "weir-show.8", "weir-show-events.8"]
        {
            assert!(names.contains(&name), "{names:?}");
        }
        assert!(!names.contains(&"weir-generate.8"), "hidden commands have none");
        for (name, page) in &pages {
            let page = String::from_utf8_lossy(page);
            assert!(page.contains(".SH NAME\n") && page.contains(" \\- "), "{name}: {page}");
            assert!(page.contains(".SH \"EXIT STATUS\"\n"), "{name}");
        }
    }

    #[test]
    fn docs_fresh_command_line() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operating/cli.md");
        let made = reference(command());
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&path, made).expect("written");
            return;
        }
        let there = fs::read_to_string(&path).unwrap_or_default();
        assert!(there == made, "docs/operating/cli.md is stale: run `cargo xtask gen-docs`");
    }
}
