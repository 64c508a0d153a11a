// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Documents over restarts: generations, spoiled files, no disk.

use std::fs;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::state::{Conditions, STATE_NOT_KEPT};

/// A document that fits every host, with its file, seed and state in one folder.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        let seed = place.path("seed");
        fs::write(&seed, "0123456789abcdef".repeat(4)).unwrap();
        fs::set_permissions(seed, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        place.write(1);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self) -> PathBuf {
        self.path("weir.toml")
    }

    /// Writes a good document, another one for each last byte of its VIP.
    fn write(&self, last: u8) {
        let least = include_str!("../../tests/check/good/nothing_to_serve.toml");
        let text = least
            .replace("/etc/weir/hash-seed", &self.path("seed").display().to_string())
            .replace("eth0", "lo")
            .replace("source_v4 = \"192.0.2.1\"\n", "");
        let state = self.path("state");
        let text = format!(
            "bootstrap.state_dir = \"{}\"\n{text}\n[vips.www]\naddress = \"198.51.100.{last}\"\n",
            state.display()
        );
        fs::write(self.file(), text).unwrap();
    }

    fn find(&self) -> Result<Start, StartError> {
        Start::find(&self.file(), None)
    }

    fn open(&self) -> Store {
        let start = self.find().unwrap();
        let state = StateDir::open(&start.state_dir, &Conditions::new()).unwrap();
        Store::open(self.file(), start, &state)
    }
}

fn generation(store: &Store) -> u64 {
    store.accepted().borrow().generation.0
}

#[tokio::test]
async fn a_generation_outlives_the_process() {
    let place = Place::new();
    let store = place.open();
    assert_eq!(generation(&store), 1);
    place.write(2);
    let candidate = store.load().unwrap();
    assert_eq!(store.accept(candidate).await, Generation(2));
    drop(store);
    let store = place.open();
    assert_eq!(generation(&store), 2, "the same document");
    drop(store);
    place.write(1);
    let store = place.open();
    assert_eq!(generation(&store), 3, "another document");
    let listed = store.history().iter().map(|past| past.generation.0).collect::<Vec<_>>();
    assert_eq!(listed, [1, 2, 3]);
}

#[tokio::test]
async fn a_look_that_changes_makes_no_generation_and_is_kept() {
    let place = Place::new();
    let store = place.open();
    let mut accepted = store.accepted();
    accepted.mark_unchanged();
    let text = fs::read_to_string(place.file()).unwrap() + "# a comment\n";
    fs::write(place.file(), &text).unwrap();
    let candidate = store.load().unwrap();
    assert_eq!(store.accept(candidate).await, Generation(1));
    assert!(!accepted.has_changed().unwrap());
    assert_eq!(KeptDocument::peek(&place.path("state")).unwrap().text, text);
}

#[tokio::test]
async fn a_file_that_became_bad_starts_the_last_accepted_document() {
    let place = Place::new();
    let store = place.open();
    place.write(2);
    let candidate = store.load().unwrap();
    store.accept(candidate).await;
    drop(store);
    let good = fs::read_to_string(place.file()).unwrap();
    for bad in [good.replace("198.51.100.", "198.51."), good.replace("[bgp]", "[bgp"), String::new()] {
        fs::write(place.file(), &bad).unwrap();
        // Nothing can be read of the last one, not even where state is kept.
        let start = Start::find(&place.file(), Some(&place.path("state"))).unwrap();
        assert!(start.refused.is_some());
        let state = StateDir::open(&start.state_dir, &Conditions::new()).unwrap();
        let store = Store::open(place.file(), start, &state);
        assert_eq!(generation(&store), 2);
        assert_eq!(store.accepted().borrow().document.vips["www"].address_text(), "198.51.100.2");
        let said = state.conditions().raised()[DOCUMENT_FILE_BAD].message.clone();
        assert!(said.ends_with("; generation 2 is in force instead"), "{said}");
        // One line an error: where and what, without help and without a summary.
        let errors = store.rejection().borrow().clone().expect("refused").errors.clone();
        let is_error = |line: &String| line.starts_with(&place.file().display().to_string());
        assert!(errors.iter().all(is_error), "{errors:?}");
        assert!(!errors.iter().any(|line| line.contains("refused,")), "{errors:?}");
        // Put right: as if nothing had been.
        fs::write(place.file(), &good).unwrap();
        let candidate = store.load().unwrap();
        assert_eq!(store.accept(candidate).await, Generation(2));
        assert!(state.conditions().raised().is_empty());
        assert!(store.rejection().borrow().is_none());
    }
    // The state directory is found in a document that is bad elsewhere.
    fs::write(place.file(), good.replace("198.51.100.", "198.51.")).unwrap();
    assert!(place.find().unwrap().refused.is_some());
}

#[tokio::test]
async fn without_a_last_accepted_document_a_bad_file_is_the_end() {
    let place = Place::new();
    let good = fs::read_to_string(place.file()).unwrap();
    let bad = good.replace("198.51.100.", "198.51.");
    fs::write(place.file(), &bad).unwrap();
    let error = place.find().unwrap_err();
    assert!(matches!(error.instead, NoLastGood::None { .. }), "{error}");
    assert!(error.to_string().contains("vips.www.address"), "{error}");

    fs::write(place.file(), &good).unwrap();
    drop(place.open());
    // Of another file.
    let other = place.path("other.toml");
    fs::write(&other, &bad).unwrap();
    assert!(matches!(Start::find(&other, None).unwrap_err().instead, NoLastGood::OtherFile { .. }));
    // Of this file, and not valid any more.
    fs::remove_file(place.path("seed")).unwrap();
    assert!(matches!(place.find().unwrap_err().instead, NoLastGood::Invalid(_)));
}

#[tokio::test]
async fn a_refused_reload_is_a_condition_until_the_file_is_good() {
    let place = Place::new();
    let store = place.open();
    let conditions = store.state.conditions().clone();
    let good = fs::read_to_string(place.file()).unwrap();
    fs::write(place.file(), good.replace("198.51.100.", "198.51.")).unwrap();
    assert!(matches!(store.load(), Err(ReloadError::Invalid(_))));
    let said = conditions.raised()[DOCUMENT_FILE_BAD].message.clone();
    assert!(said.contains("vips.www.address") && said.contains("generation 1"), "{said}");
    // Good, only not for this process.
    fs::write(place.file(), good.replace("asn = 65010", "asn = 65011")).unwrap();
    assert!(matches!(store.load(), Err(ReloadError::NeedsRestart { .. })));
    assert!(conditions.raised().is_empty());
    assert_eq!(KeptDocument::peek(&place.path("state")).unwrap().text, good, "the accepted one is kept");
}

#[tokio::test]
async fn without_a_disk_documents_are_accepted_all_the_same() {
    let place = Place::new();
    fs::write(place.path("state"), "in the way").unwrap();
    let store = place.open();
    place.write(2);
    let candidate = store.load().unwrap();
    assert_eq!(store.accept(candidate).await, Generation(2));
    assert_eq!(generation(&store), 2);
    assert!(store.state.conditions().raised()[STATE_NOT_KEPT].message.contains("document.toml"));
    fs::remove_file(place.path("state")).unwrap();
    store.state.tend();
    assert!(store.state.conditions().raised().is_empty());
    drop(store);
    let store = place.open();
    assert_eq!((generation(&store), store.history().len()), (2, 2));
}

#[test]
fn every_part_that_needs_a_restart_is_named() {
    let text = include_str!("../../tests/check/good/least.toml");
    let old = config::parse("weir.toml", text).unwrap();
    assert_eq!(fixed_sections_changed(&old, &old), [""; 0]);
    let mut new = old.clone();
    new.appliance.drain_wait += Duration::from_secs(1);
    new.peers.clear();
    new.vips.clear();
    let sections = fixed_sections_changed(&old, &new);
    let error = ReloadError::NeedsRestart { sections };
    assert_eq!(error.to_string(), "a change of `appliance`, `peers` needs a restart");
}
