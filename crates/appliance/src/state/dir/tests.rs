// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The state directory with what can be wrong with it: torn, in the way, removed, slow.

use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::state::{seal, unseal};

const NAME: &str = "numbers.json";

fn open(dir: &Path) -> StateDir {
    StateDir::open(dir, &Conditions::new()).unwrap()
}

fn load(state: &StateDir) -> Option<Vec<u64>> {
    state.load(NAME, unseal)
}

fn keep(state: &StateDir, numbers: &[u64]) -> Result<(), NotKept> {
    state.replace(NAME, || seal(&numbers))
}

/// Messages of the conditions: not kept, file bad.
fn said(state: &StateDir) -> [Option<String>; 2] {
    let raised = state.conditions().raised();
    [STATE_NOT_KEPT, STATE_FILE_BAD].map(|code| raised.get(code).map(|one| one.message.clone()))
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn what_is_kept_is_there_after_a_restart() {
    let folder = folder();
    let dir = folder.path().join("a/b");
    let state = open(&dir);
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o750);
    assert_eq!(load(&state), None);
    keep(&state, &[1]).unwrap();
    keep(&state, &[1, 2]).unwrap();
    drop(state);
    assert_eq!(load(&open(&dir)), Some(vec![1, 2]));
    assert_eq!(names(&dir), [NAME.to_owned(), format!("{NAME}.previous")]);
    assert_eq!(fs::metadata(dir.join(NAME)).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn a_second_process_is_refused() {
    let folder = folder();
    let first = open(folder.path());
    let error = StateDir::open(folder.path(), &Conditions::new()).unwrap_err();
    assert!(error.to_string().starts_with("another process uses the state directory"), "{error}");
    drop(first);
    open(folder.path());
}

#[test]
fn a_torn_file_is_moved_aside_and_the_one_before_is_used() {
    let folder = folder();
    let path = folder.path().join(NAME);
    let state = open(folder.path());
    keep(&state, &[1]).unwrap();
    keep(&state, &[1, 2]).unwrap();
    drop(state);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();

    let state = open(folder.path());
    assert_eq!(load(&state), Some(vec![1]));
    let [not_kept, bad] = said(&state);
    assert_eq!(not_kept, None);
    assert!(bad.is_some_and(|said| said.contains("cut off") && said.contains("the file before it is used")));
    let aside = state.inner().bad[0].kept.clone().unwrap();
    assert_eq!(fs::read(&aside).unwrap(), whole[..whole.len() / 2]);
    // What was used is what the next start finds, without another word.
    drop(state);
    let state = open(folder.path());
    assert_eq!(load(&state), Some(vec![1]));
    assert_eq!(said(&state), [None, None]);
}

#[test]
fn without_a_file_before_a_torn_one_counts_as_none() {
    let folder = folder();
    fs::write(folder.path().join(NAME), "seven").unwrap();
    fs::write(folder.path().join(format!("{NAME}.previous")), "six").unwrap();
    let state = open(folder.path());
    assert_eq!(load(&state), None);
    assert!(said(&state)[1].as_ref().is_some_and(|said| said.contains("nothing is used instead")));
    keep(&state, &[3]).unwrap();
    assert_eq!(load(&state), Some(vec![3]));
}

#[test]
fn a_folder_in_place_of_a_file_is_moved_aside() {
    let folder = folder();
    fs::create_dir(folder.path().join(NAME)).unwrap();
    let state = open(folder.path());
    assert_eq!(load(&state), None);
    keep(&state, &[3]).unwrap();
    assert_eq!(load(&state), Some(vec![3]));
}

#[test]
fn few_spoiled_files_are_kept_and_their_removal_clears_the_condition() {
    let folder = folder();
    for seconds in [5, 60, 7] {
        fs::write(folder.path().join(format!("{NAME}.bad-{seconds}")), "old").unwrap();
    }
    fs::write(folder.path().join(NAME), "seven").unwrap();
    let state = open(folder.path());
    load(&state);
    let left = names(folder.path());
    assert_eq!(left.len(), files::BAD_KEPT_MAX, "{left:?}");
    assert!(!left.contains(&format!("{NAME}.bad-5")), "the oldest went: {left:?}");
    state.tend();
    assert!(said(&state)[1].is_some(), "it is still there");
    for name in left {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    state.tend();
    assert_eq!(said(&state)[1], None);
}

#[test]
fn what_cannot_be_written_stays_in_memory_and_is_written_later() {
    let folder = folder();
    let dir = folder.path().join("state");
    // A file where the directory should be: neither made nor locked.
    fs::write(&dir, "in the way").unwrap();
    let state = open(&dir);
    assert!(said(&state)[0].is_some(), "said before anything is lost");
    keep(&state, &[1]).unwrap_err();
    keep(&state, &[2]).unwrap_err();
    assert_eq!(load(&state), None, "nothing on disk");
    let message = said(&state)[0].clone().unwrap();
    assert!(message.contains(NAME) && message.contains("would not survive a restart"), "{message}");

    fs::remove_file(&dir).unwrap();
    state.tend();
    assert_eq!(load(&state), Some(vec![2]), "the latest");
    assert_eq!(said(&state), [None, None]);
}

#[test]
fn a_directory_that_was_removed_is_made_anew_and_locked() {
    let folder = folder();
    let dir = folder.path().join("state");
    let state = open(&dir);
    keep(&state, &[1]).unwrap();
    fs::remove_dir_all(&dir).unwrap();
    keep(&state, &[2]).unwrap();
    assert_eq!(load(&state), Some(vec![2]));
    StateDir::open(&dir, &Conditions::new()).unwrap_err();
}

#[test]
fn a_failed_write_leaves_the_file_and_no_half() {
    let folder = folder();
    let state = open(folder.path());
    keep(&state, &[1]).unwrap();
    // A folder where the new file is staged: it cannot be written.
    fs::create_dir(folder.path().join(format!(".{NAME}.new"))).unwrap();
    let error = keep(&state, &[2]).unwrap_err();
    assert!(error.to_string().starts_with("keep numbers.json in "), "{error}");
    assert_eq!(load(&state), Some(vec![1]));
    fs::remove_dir(folder.path().join(format!(".{NAME}.new"))).unwrap();
    state.tend();
    assert_eq!(load(&state), Some(vec![2]));
    assert_eq!(names(folder.path()), [NAME.to_owned(), format!("{NAME}.previous")]);
}

#[test]
fn peeking_changes_nothing() {
    let folder = folder();
    let state = open(folder.path());
    keep(&state, &[1]).unwrap();
    keep(&state, &[2]).unwrap();
    fs::write(folder.path().join(NAME), "torn").unwrap();
    let before = names(folder.path());
    assert_eq!(peek(folder.path(), NAME, unseal::<Vec<u64>>), Some(vec![1]));
    assert_eq!(names(folder.path()), before);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_does_not_answer_is_not_waited_for() {
    let folder = folder();
    let state = open(folder.path());
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let slow = move || {
        wait.recv().unwrap();
        seal(&[1])
    };
    // The clock stands still while a blocking task runs, so it is moved on by hand.
    let kept = tokio::spawn({
        let state = state.clone();
        async move { state.keep(NAME, slow).await }
    });
    tokio::task::yield_now().await;
    tokio::time::advance(DISK_WAIT_MAX * 2).await;
    assert_eq!(kept.await.unwrap(), Kept::InMemory);
    assert!(said(&state)[0].as_ref().is_some_and(|said| said.contains("has not answered for 3 s")));
    go.send(()).unwrap();
    // Waits behind the slow one.
    assert_eq!(state.keep(NAME, || seal(&[2])).await, Kept::OnDisk);
    assert_eq!(said(&state)[0], None);
    assert_eq!(load(&state), Some(vec![2]));
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_does_not_answer_gathers_no_writes_and_has_the_latest_in_the_end() {
    let folder = folder();
    let state = open(folder.path());
    let latest = Arc::new(Mutex::new(0_u64));
    let asked = Arc::new(Mutex::new(0_usize));
    let (hangs, is_hung) = std::sync::mpsc::channel::<()>();
    let (answer, answers) = std::sync::mpsc::channel::<()>();
    let disk = std::thread::spawn({
        let state = state.clone();
        move || {
            let _held = state.inner();
            hangs.send(()).unwrap();
            answers.recv().unwrap();
        }
    });
    is_hung.recv().unwrap();
    for number in 1..=50 {
        *latest.lock().unwrap() = number;
        let (latest, asked) = (Arc::clone(&latest), Arc::clone(&asked));
        let content = move || {
            *asked.lock().unwrap() += 1;
            seal(&[*latest.lock().unwrap()])
        };
        let kept = tokio::spawn({
            let state = state.clone();
            async move { state.keep(NAME, content).await }
        });
        tokio::task::yield_now().await;
        tokio::time::advance(DISK_WAIT_MAX * 2).await;
        assert_eq!(kept.await.unwrap(), Kept::InMemory);
    }
    answer.send(()).unwrap();
    disk.join().unwrap();
    let room = state.room(NAME).acquire_many_owned(u32::try_from(WRITES_MAX).unwrap()).await.unwrap();
    assert_eq!((*asked.lock().unwrap(), load(&state)), (WRITES_MAX, Some(vec![50])));
    drop(room);
    assert_eq!(state.keep(NAME, || seal(&[51])).await, Kept::OnDisk);
    assert_eq!(said(&state)[0], None);
}
