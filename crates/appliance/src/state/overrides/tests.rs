// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Overrides over restarts, with and without a disk.

use std::fs;
use std::path::Path;

use super::*;
use crate::state::{Conditions, STATE_FILE_BAD, STATE_NOT_KEPT};

fn open(dir: &Path) -> (Arc<OverrideStore>, StateDir) {
    let state = StateDir::open(dir, &Conditions::new()).unwrap();
    (Arc::new(OverrideStore::open(&state)), state)
}

fn drain(until: Option<SystemTime>) -> Override {
    // Files have milliseconds.
    let created = SystemTime::UNIX_EPOCH + Duration::from_millis(1_764_000_000_123);
    let (author, reason) = ("ana".to_owned(), "disk swap, \"b1\"".to_owned());
    Override { state: OverrideState::Drain, author, reason, created, until }
}

fn target(backend: &str) -> Target {
    Target::Backend { pool: "web".to_owned(), backend: backend.to_owned() }
}

fn in_force(store: &OverrideStore) -> Vec<String> {
    store.subscribe().borrow().by_target.keys().map(ToString::to_string).collect()
}

#[tokio::test]
async fn overrides_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (store, state) = open(folder.path());
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    let set = store.set(target("b1"), drain(Some(end))).await.unwrap();
    assert_eq!(set, Set { is_new: true, kept: Kept::OnDisk });
    assert!(store.set(target("b2"), drain(None)).await.unwrap().is_new);
    assert!(!store.set(target("b2"), drain(None)).await.unwrap().is_new);
    assert_eq!(store.clear(&target("b2")).await, Some(Kept::OnDisk));
    assert_eq!(store.clear(&target("b2")).await, None);
    drop((store, state));
    let (store, _state) = open(folder.path());
    let kept = store.subscribe().borrow().by_target.clone();
    assert_eq!(kept, [(target("b1"), drain(Some(end)))].into());
}

#[tokio::test]
async fn a_refused_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _state) = open(folder.path());
    let passed = drain(Some(SystemTime::UNIX_EPOCH));
    assert_eq!(store.set(target("b1"), passed).await, Err(OverrideError::EndPassed));
    assert_eq!(in_force(&store), [""; 0]);
    assert!(!folder.path().join(NAME).exists());
}

#[tokio::test]
async fn an_override_ends_at_its_time_and_stays_ended() {
    let folder = tempfile::tempdir().unwrap();
    let (store, state) = open(folder.path());
    let mut seen = store.subscribe();
    let task = tokio::spawn(Arc::clone(&store).run());
    let end = SystemTime::now() + Duration::from_millis(50);
    store.set(target("b1"), drain(Some(end))).await.unwrap();
    store.set(target("b2"), drain(None)).await.unwrap();
    let limit = Duration::from_secs(10);
    let ended = seen.wait_for(|overrides| overrides.by_target.len() == 1);
    tokio::time::timeout(limit, ended).await.expect("it ends").unwrap();
    assert!(SystemTime::now() >= end);
    assert_eq!(in_force(&store), ["backend/web/b2"]);
    // Written too: the file is read back, since the task may be writing yet.
    let on_disk = async {
        loop {
            let kept = read(&fs::read(folder.path().join(NAME)).unwrap()).unwrap();
            if kept.by_target.len() == 1 {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(limit, on_disk).await.expect("it is written");
    task.abort();
    drop(state);
}

#[tokio::test]
async fn what_ended_while_the_appliance_was_down_does_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let over = Overrides {
        by_target: [(target("b1"), drain(Some(SystemTime::UNIX_EPOCH))), (target("b2"), drain(None))].into(),
    };
    fs::write(folder.path().join(NAME), write(&over)).unwrap();
    assert_eq!(in_force(&open(folder.path()).0), ["backend/web/b2"]);
}

#[tokio::test]
async fn a_torn_file_gives_the_overrides_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let (store, state) = open(folder.path());
    store.set(target("b1"), drain(None)).await.unwrap();
    store.set(target("b2"), drain(None)).await.unwrap();
    drop((store, state));
    let path = folder.path().join(NAME);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 20]).unwrap();
    let (store, state) = open(folder.path());
    assert_eq!(in_force(&store), ["backend/web/b1"]);
    assert!(state.conditions().raised().contains_key(STATE_FILE_BAD));
}

#[tokio::test]
async fn without_a_disk_overrides_hold_and_the_answer_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("state");
    fs::write(&dir, "in the way").unwrap();
    let (store, state) = open(&dir);
    let set = store.set(target("b1"), drain(None)).await.unwrap();
    assert_eq!(set, Set { is_new: true, kept: Kept::InMemory });
    assert_eq!(in_force(&store), ["backend/web/b1"]);
    assert!(state.conditions().raised()[STATE_NOT_KEPT].message.contains(NAME));
    // The disk is mended: nothing is asked again, and it is kept all the same.
    fs::remove_file(&dir).unwrap();
    state.tend();
    assert!(state.conditions().raised().is_empty());
    drop((store, state));
    assert_eq!(in_force(&open(&dir).0), ["backend/web/b1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_change_is_the_last_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (store, state) = open(folder.path());
    let mut changes = tokio::task::JoinSet::new();
    for n in 0..32 {
        let store = Arc::clone(&store);
        changes.spawn(async move { store.set(target(&format!("b{n}")), drain(None)).await.unwrap().kept });
    }
    assert!(changes.join_all().await.iter().all(|kept| *kept == Kept::OnDisk));
    assert_eq!(in_force(&store).len(), 32);
    drop((store, state));
    assert_eq!(in_force(&open(folder.path()).0).len(), 32);
}

#[test]
fn lines_that_mean_nothing_spoil_the_file() {
    let line = |target: &str, state: &str| {
        let one = serde_json::json!({
            "target": target, "state": state, "author": "a", "reason": "", "created_ms": 1,
        });
        read(&seal(&[one]))
    };
    assert!(line("vip/www", "withhold").is_ok());
    assert!(line("vip", "withhold").is_err());
    assert!(line("vip/www", "burn").is_err());
}
