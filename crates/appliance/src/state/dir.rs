// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The state directory: one process's own, and never in the way.
//!
//! A [`StateDir`] always works. Without a usable directory its files live in memory only, which a condition says;
//! [`StateDir::tend`] tries again to write what is not on disk, so that a full disk heals by itself. Calls block for as long
//! as the disk does, but for [`StateDir::keep`], which leaves the disk to a thread of its own and waits for it only so long.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;

use super::conditions::{Conditions, STATE_FILE_BAD, STATE_NOT_KEPT, Severity};
use super::envelope::FileError;
use super::files;

/// How often it is tried again to write what could not be written.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// Writes of one file that have a thread, at most: one under way, and one behind it that will write the latest. A disk that
/// does not answer must not gather more.
const WRITES_MAX: usize = 2;

/// How long anybody waits for the disk: a healthy one takes milliseconds, a dying one may never answer.
const DISK_WAIT_MAX: Duration = Duration::from_secs(3);

/// Where a change is by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// On disk: it survives a restart.
    OnDisk,
    /// In force, and lost with the process unless the disk takes it before.
    InMemory,
}

/// Why the directory cannot be had: the only reason not to start.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// Another process uses it.
    #[error("another process uses the state directory {}", dir.display())]
    Held {
        /// The directory.
        dir: PathBuf,
    },
}

/// A file is not on disk as it is in memory.
#[derive(Debug, thiserror::Error)]
#[error("keep {name} in {}", dir.display())]
pub struct NotKept {
    /// The file.
    pub name: &'static str,
    /// The state directory.
    pub dir: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// The state directory of this process; all clones are the same.
#[derive(Debug, Clone)]
pub struct StateDir {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    conditions: Conditions,
    inner: Mutex<Inner>,
    /// Room for writes, by file.
    writes: Mutex<BTreeMap<&'static str, Arc<Semaphore>>>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The directory itself, locked: it works on a read-only file system, where no lock file could be made.
    lock: Option<File>,
    /// Whether the directory could not be made or locked.
    unusable: Option<String>,
    /// Contents that are in memory only, the latest of each file, and why.
    unwritten: BTreeMap<&'static str, Unwritten>,
    /// Files that were not used.
    bad: Vec<Bad>,
}

#[derive(Debug)]
struct Unwritten {
    bytes: Vec<u8>,
    error: String,
}

#[derive(Debug)]
struct Bad {
    name: &'static str,
    sentence: String,
    /// Where it was moved; `None` if it could not be.
    kept: Option<PathBuf>,
}

/// Why the lock is not held.
enum Unlocked {
    Held,
    Io(io::Error),
}

impl StateDir {
    /// Opens and locks the directory, which is made (mode 0750) when missing. One that cannot be made, read or written is
    /// a condition, not an error.
    pub fn open(dir: &Path, conditions: &Conditions) -> Result<Self, StateDirError> {
        let mut inner = Inner::default();
        match lock(dir) {
            Ok(locked) => inner.lock = Some(locked),
            Err(Unlocked::Held) => return Err(StateDirError::Held { dir: dir.to_path_buf() }),
            Err(Unlocked::Io(error)) => inner.unusable = Some(error.to_string()),
        }
        let shared = Shared {
            dir: dir.to_path_buf(),
            conditions: conditions.clone(),
            inner: Mutex::new(inner),
            writes: Mutex::default(),
        };
        let state = Self { shared: Arc::new(shared) };
        state.report(&state.inner());
        Ok(state)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.shared.dir
    }

    /// The conditions that it and its users raise.
    pub fn conditions(&self) -> &Conditions {
        &self.shared.conditions
    }

    /// Content of a file as `parse` understands it, `None` if there is none. A spoiled file is moved aside and the one
    /// before it is used.
    pub fn load<T>(&self, name: &'static str, parse: impl Fn(&[u8]) -> Result<T, FileError>) -> Option<T> {
        let dir = self.path();
        let (why, previous) = match look(dir, name, &parse) {
            Found::Good(content) => return Some(content),
            Found::Nothing => return None,
            Found::Spoiled { why, previous } => (why, previous),
        };
        let mut inner = self.inner();
        let kept = match &inner.lock {
            Some(_) => files::move_aside(dir, name, previous.is_some(), SystemTime::now()),
            None => Err(io::Error::other("the state directory is not locked")),
        };
        let used = if previous.is_some() { "the file before it is used" } else { "nothing is used instead" };
        let whither = match &kept {
            Ok(path) => format!("moved to `{}`", path.display()),
            Err(error) => format!("it stays, since it cannot be moved ({error})"),
        };
        let sentence = format!("`{}`: {why}; {whither}, {used}", dir.join(name).display());
        inner.bad.push(Bad { name, sentence, kept: kept.ok() });
        self.report(&inner);
        previous
    }

    /// Replaces a file. What cannot be written is kept in memory and tried again by [`Self::tend`].
    ///
    /// `content` is asked when it is this write's turn: who keeps the latest there has it last on disk.
    pub fn replace(&self, name: &'static str, content: impl FnOnce() -> Vec<u8>) -> Result<(), NotKept> {
        let mut inner = self.inner();
        let bytes = content();
        let outcome = self.write(&mut inner, name, &bytes);
        match &outcome {
            Ok(()) => inner.unwritten.remove(name),
            Err(error) => inner.unwritten.insert(name, Unwritten { bytes, error: error.to_string() }),
        };
        self.report(&inner);
        outcome.map_err(|source| NotKept { name, dir: self.path().to_path_buf(), source })
    }

    /// The same for tasks. Once begun it goes on, also if the caller goes away; one that takes too long is answered as not
    /// on disk, though it may get there.
    pub async fn keep(&self, name: &'static str, content: impl FnOnce() -> Vec<u8> + Send + 'static) -> Kept {
        let (state, room) = (self.clone(), self.room(name));
        let written = async {
            // Who gets none in time may go: a write that waits has not asked for its content yet, and will tell the latest.
            let room = room.acquire_owned().await.expect("never closed");
            let write = move || {
                let outcome = state.replace(name, content);
                drop(room);
                outcome
            };
            tokio::task::spawn_blocking(write).await
        };
        match tokio::time::timeout(DISK_WAIT_MAX, written).await {
            Ok(Ok(Ok(()))) => Kept::OnDisk,
            // Already said by the condition, or the runtime is ending.
            Ok(Ok(Err(NotKept { .. })) | Err(_)) => Kept::InMemory,
            Err(_) => {
                let message = format!(
                    "changes would not survive a restart, `{}` has not answered for {} s",
                    self.path().display(),
                    DISK_WAIT_MAX.as_secs()
                );
                self.conditions().raise(STATE_NOT_KEPT, Severity::Error, message);
                Kept::InMemory
            }
        }
    }

    /// Tries again to write what is not on disk, and looks whether spoiled files were taken away. To be called every
    /// [`RETRY_INTERVAL`].
    pub fn tend(&self) {
        let mut inner = self.inner();
        if inner.unusable.is_some() {
            // An error is recorded there.
            self.ensure_locked(&mut inner).ok();
        }
        for (name, Unwritten { bytes, .. }) in std::mem::take(&mut inner.unwritten) {
            if let Err(error) = self.write(&mut inner, name, &bytes) {
                inner.unwritten.insert(name, Unwritten { bytes, error: error.to_string() });
            }
        }
        inner.bad.retain(|bad| bad.kept.as_ref().is_none_or(|path| path.exists()));
        self.report(&inner);
    }

    /// Tends until it is dropped.
    pub async fn run(self) {
        let mut turns = tokio::time::interval(RETRY_INTERVAL);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            let state = self.clone();
            // The only error is that the runtime ends.
            tokio::task::spawn_blocking(move || state.tend()).await.ok();
        }
    }

    fn write(&self, inner: &mut Inner, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.ensure_locked(inner)?;
        files::replace(self.path(), name, bytes)?;
        // What could not be moved aside has been replaced now.
        inner.bad.retain(|bad| bad.name != name || bad.kept.is_some());
        Ok(())
    }

    /// Makes and locks the directory unless the one that is there is ours already: somebody may have mounted another
    /// over it, or removed it.
    fn ensure_locked(&self, inner: &mut Inner) -> io::Result<()> {
        let dir = self.path();
        if inner.lock.as_ref().is_some_and(|locked| is_the_same(locked, dir)) {
            return Ok(());
        }
        inner.lock = None;
        let outcome = lock(dir).map_err(|unlocked| match unlocked {
            Unlocked::Held => io::Error::other("another process uses the directory"),
            Unlocked::Io(error) => error,
        });
        inner.unusable = outcome.as_ref().err().map(ToString::to_string);
        inner.lock = Some(outcome?);
        Ok(())
    }

    /// Makes the conditions say what `inner` knows.
    fn report(&self, inner: &Inner) {
        let conditions = self.conditions();
        let mut unkept: Vec<String> =
            inner.unwritten.iter().map(|(name, file)| format!("`{name}`: {}", file.error)).collect();
        if unkept.is_empty() {
            unkept.extend(inner.unusable.clone());
        }
        if unkept.is_empty() {
            conditions.clear(STATE_NOT_KEPT);
        } else {
            let message = format!(
                "changes would not survive a restart, `{}` does not take them: {}",
                self.path().display(),
                unkept.join("; ")
            );
            conditions.raise(STATE_NOT_KEPT, Severity::Error, message);
        }
        if inner.bad.is_empty() {
            conditions.clear(STATE_FILE_BAD);
        } else {
            let sentences: Vec<&str> = inner.bad.iter().map(|bad| bad.sentence.as_str()).collect();
            conditions.raise(STATE_FILE_BAD, Severity::Warning, sentences.join("; "));
        }
    }

    fn room(&self, name: &'static str) -> Arc<Semaphore> {
        // As for `inner`: nobody can have left it half changed.
        let mut writes = self.shared.writes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(writes.entry(name).or_insert_with(|| Arc::new(Semaphore::new(WRITES_MAX))))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic aborts the process, so nobody can have left it half changed.
        self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Content of a file of a directory that another process may be using: changes nothing.
pub fn peek<T>(dir: &Path, name: &str, parse: impl Fn(&[u8]) -> Result<T, FileError>) -> Option<T> {
    match look(dir, name, &parse) {
        Found::Good(content) => Some(content),
        Found::Nothing => None,
        Found::Spoiled { previous, .. } => previous,
    }
}

enum Found<T> {
    Good(T),
    Nothing,
    Spoiled { why: FileError, previous: Option<T> },
}

fn look<T>(dir: &Path, name: &str, parse: &impl Fn(&[u8]) -> Result<T, FileError>) -> Found<T> {
    let read = |path: PathBuf| match files::read(&path)? {
        Some(bytes) => parse(&bytes).map(Some),
        None => Ok(None),
    };
    match read(dir.join(name)) {
        Ok(Some(content)) => Found::Good(content),
        Ok(None) => Found::Nothing,
        // Whatever is wrong with the one before it, it is of no use.
        Err(why) => Found::Spoiled { why, previous: read(files::previous(dir, name)).ok().flatten() },
    }
}

fn lock(dir: &Path) -> Result<File, Unlocked> {
    DirBuilder::new().recursive(true).mode(0o750).create(dir).map_err(Unlocked::Io)?;
    let locked = File::open(dir).map_err(Unlocked::Io)?;
    match locked.try_lock() {
        Ok(()) => Ok(locked),
        Err(TryLockError::WouldBlock) => Err(Unlocked::Held),
        Err(TryLockError::Error(error)) => Err(Unlocked::Io(error)),
    }
}

fn is_the_same(locked: &File, dir: &Path) -> bool {
    let identity = |found: fs::Metadata| (found.dev(), found.ino());
    match (locked.metadata(), fs::metadata(dir)) {
        (Ok(ours), Ok(there)) => identity(ours) == identity(there),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
