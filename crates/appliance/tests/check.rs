// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `weir check` on documents good and bad, by running the binary.
//!
//! `tests/check/bad` and `tests/check/good` hold one document a file and beside it, in `.expected`, the whole answer.
//! `UPDATE_EXPECT=1` writes the answers anew; read the difference before keeping it.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const WEIR: &str = env!("CARGO_BIN_EXE_weir");

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check").join(name)
}

fn weir(folder: &Path, args: &[&str]) -> Output {
    Command::new(WEIR)
        .args(args)
        .current_dir(folder)
        .env_remove("WEIR_LOG")
        .output()
        .expect("the binary runs")
}

fn transcript(output: &Output) -> String {
    let code = output.status.code().expect("no signal");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("exit {code}\n--- stdout\n{stdout}--- stderr\n{stderr}")
}

/// What `weir run` says of a document when no earlier one is kept: the last line, of that, is taken off.
fn run_refused(folder: &Path, name: &str) -> String {
    let state = tempfile::tempdir().unwrap();
    let state_dir = state.path().to_str().unwrap();
    let run = transcript(&weir(folder, &["run", "--config", name, "--state-dir", state_dir]));
    let nothing_kept = format!("no accepted document is kept in {state_dir}\n");
    let text = run.strip_suffix(&nothing_kept);
    text.unwrap_or_else(|| panic!("{name}: `{nothing_kept}` is not the end of\n{run}")).to_owned()
}

fn documents(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".toml")).collect();
    names.sort();
    names
}

/// Compares, or rewrites when asked; gives the names of those that differ.
fn compare(folder: &Path, name: &str, actual: &str) -> Option<String> {
    let path = folder.join(name).with_extension("expected");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, actual).unwrap();
        return None;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    (expected != actual).then(|| format!("{name}\n=== expected\n{expected}=== found\n{actual}"))
}

#[test]
fn every_bad_document_is_refused_with_its_errors() {
    let folder = folder("bad");
    let documents = documents(&folder);
    assert!(documents.len() >= 80, "the documents are there");
    let mut differences = Vec::new();
    for name in &documents {
        let output = weir(&folder, &["check", name]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(output.stdout.is_empty(), "{name}: errors go to standard error");
        differences.extend(compare(&folder, name, &transcript(&output)));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn run_refuses_a_bad_document_as_check_does() {
    let folder = folder("bad");
    for name in documents(&folder) {
        let checked = weir(&folder, &["check", &name]);
        assert_eq!(run_refused(&folder, &name), transcript(&checked), "{name}");
    }
}

#[test]
fn every_good_document_is_accepted() {
    let folder = folder("good");
    let mut differences = Vec::new();
    for name in documents(&folder) {
        let output = weir(&folder, &["check", &name]);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", transcript(&output));
        differences.extend(compare(&folder, &name, &transcript(&output)));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn json_errors_name_path_line_and_column() {
    let output = weir(&folder("bad"), &["check", "--output", "json", "address_incomplete.toml"]);
    assert_eq!(output.status.code(), Some(1));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["ok"], false);
    let error = &answer["errors"][0];
    assert_eq!(error["path"], "pools.web.backends.b1.address");
    assert_eq!((error["line"].as_u64(), error["column"].as_u64()), (Some(31), Some(11)));
    assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("192.0.2.10")));
    assert_eq!(answer["errors"].as_array().map(Vec::len), Some(1));
}

#[test]
fn json_says_ok_with_the_hash() {
    let output = weir(&folder("good"), &["check", "--output", "json", "least.toml"]);
    assert_eq!(output.status.code(), Some(0));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["ok"], true);
    assert_eq!(answer["hash"].as_str().map(str::len), Some(64));
}

#[test]
fn json_has_the_load_of_checks_and_the_warnings() {
    let output = weir(&folder("good"), &["check", "--output", "json", "warned.toml"]);
    assert_eq!(output.status.code(), Some(0), "a warning refuses nothing");
    assert!(output.stderr.is_empty());
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["checks"]["count"], 6);
    assert_eq!(answer["checks"]["attempts_per_second"], 60.0);
    assert_eq!(answer["checks"]["busiest"]["attempts_per_second"], 30.0);
    let warnings = answer["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 2);
    assert_eq!(warnings[0]["path"], "vips.www.announce.low");
    assert_eq!((warnings[0]["line"].as_u64(), warnings[0]["column"].as_u64()), (Some(22), Some(7)));
    assert!(warnings.iter().all(|warning| warning["hint"].as_str().is_some_and(|hint| !hint.is_empty())));
}

#[test]
fn a_missing_file_is_refused() {
    let output = weir(&folder("good"), &["check", "none.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("none.toml: cannot read the file: "));
}

#[test]
fn a_bad_command_line_is_a_usage_error() {
    for args in [&["check"][..], &["check", "--no-such", "x"], &["czech"], &[], &["run", "x"]] {
        assert_eq!(weir(&folder("good"), args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn a_document_for_another_host_is_refused_on_this_one() {
    let output = weir(&folder("host"), &["check", "--host", "another_host.toml"]);
    assert_eq!(output.status.code(), Some(1));
    let difference = compare(&folder("host"), "another_host.toml", &transcript(&output));
    assert!(difference.is_none(), "{}", difference.unwrap_or_default());
    assert_eq!(
        weir(&folder("host"), &["check", "another_host.toml"]).status.code(),
        Some(0),
        "good by itself"
    );
    let run = run_refused(&folder("host"), "another_host.toml");
    assert_eq!(run, transcript(&output), "`run` refuses it alike");
}

/// Given a host (a throw-away network namespace) made by a script, `weir check --host` of a document for it.
fn check_on_host(setup: &str, seed_mode: u32) -> (Option<i32>, String) {
    let work = tempfile::tempdir().unwrap();
    let seed = work.path().join("seed");
    fs::write(&seed, "5a".repeat(32)).unwrap();
    fs::set_permissions(&seed, fs::Permissions::from_mode(seed_mode)).unwrap();
    write_document(work.path(), &seed);
    let output = on_host(work.path(), setup, "check --host weir.toml");
    let text = transcript(&output).replace(work.path().to_str().unwrap(), "WORK");
    (output.status.code(), text)
}

fn write_document(work: &Path, seed: &Path) {
    let document = fs::read_to_string(folder("good").join("least.toml")).unwrap();
    let document = document.replace("/etc/weir/hash-seed", seed.to_str().unwrap());
    fs::write(work.join("weir.toml"), document).unwrap();
}

/// Runs `weir WORDS` in a throw-away network namespace after the script `setup`, with `work` as its folder.
fn on_host(work: &Path, setup: &str, words: &str) -> Output {
    let script = format!("set -e; {setup}; exec \"$0\" {words}");
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", &script, WEIR]).current_dir(work);
    command.output().expect("unshare runs")
}

const HOST: &str = "ip link add eth0 type veth peer name tor0; ip link set eth0 up; ip link set lo up; \
                    ip address add 192.0.2.1/32 dev lo";

#[test]
#[ignore = "needs root and netns"]
fn a_host_that_fits_is_accepted() {
    let (code, text) = check_on_host(HOST, 0o600);
    assert_eq!(code, Some(0), "{text}");
}

#[test]
#[ignore = "needs root and netns"]
fn a_link_that_is_down_is_a_problem() {
    let (code, text) = check_on_host(&format!("{HOST}; ip link set eth0 down"), 0o600);
    assert_eq!(code, Some(1));
    assert!(text.contains(":7:10: uplinks.eth0: interface `eth0` is down"), "{text}");
}

#[test]
#[ignore = "needs root and netns"]
fn a_vip_that_is_an_own_address_is_a_problem() {
    let (code, text) = check_on_host(&format!("{HOST}; ip address add 198.51.100.10/32 dev lo"), 0o600);
    assert_eq!(code, Some(1));
    assert!(
        text.contains("vips.www.address: `198.51.100.10` is an own address of this host (interface `lo`)"),
        "{text}"
    );
}

#[test]
#[ignore = "needs root and netns"]
fn a_source_that_the_host_lacks_is_a_problem() {
    let (code, text) = check_on_host(&format!("{HOST}; ip address flush dev lo"), 0o600);
    assert_eq!(code, Some(1));
    assert!(text.contains("appliance.source_v4: `192.0.2.1` is not an address of this host"), "{text}");
}

#[test]
#[ignore = "needs root and netns"]
fn a_seed_that_others_can_read_is_a_problem() {
    let (code, text) = check_on_host(HOST, 0o644);
    assert_eq!(code, Some(1));
    assert!(text.contains("appliance.hash_seed_file: the hash seed file has mode 0644"), "{text}");
    assert!(!text.contains("5a5a"), "the seed is never shown");
}

#[test]
#[ignore = "needs root and netns"]
fn a_kernel_that_refuses_is_named_before_anything_is_touched() {
    let work = tempfile::tempdir().unwrap();
    let seed = work.path().join("seed");
    fs::write(&seed, "5a".repeat(32)).unwrap();
    fs::set_permissions(&seed, fs::Permissions::from_mode(0o600)).unwrap();
    write_document(work.path(), &seed);
    // Root of a user namespace of its own has every capability, and yet the kernel lets it do nothing with bpf(2).
    let within = format!("{HOST}; set -- unshare --user --map-root-user \"$0\" \"$@\"");
    let run = |words: &str| {
        let script = format!("set -e; {within}; exec \"$@\" {words}");
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", &script, WEIR]).current_dir(work.path());
        transcript(&command.output().expect("unshare runs"))
    };
    for words in ["run --config weir.toml --state-dir state", "dataplane probe"] {
        let text = run(words);
        assert!(text.starts_with("exit 1\n"), "{words}: {text}");
        assert!(text.contains("needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"), "{words}: {text}");
    }
    assert!(!work.path().join("state").exists(), "nothing is kept");
    let allowed = transcript(&on_host(work.path(), HOST, "dataplane probe"));
    assert!(allowed.starts_with("exit 0\n"), "{allowed}");
    assert!(allowed.contains("Weir can run on this kernel"), "{allowed}");
}
