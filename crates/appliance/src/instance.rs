// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One process an instance: a lock on the folder of its pins.
//!
//! The lock is on the folder itself, so it guards just what two processes must not share, whatever their documents say
//! about other paths. It ends with the process, however that ends.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Attempts to lock a folder that others remove at the same time.
const ATTEMPTS_MAX: usize = 16;

/// Held for the life of the process.
#[derive(Debug)]
pub struct InstanceLock {
    folder: PathBuf,
    _locked: File,
}

/// Why the instance cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process runs it.
    #[error("another process runs the instance in {}", folder.display())]
    Held {
        /// Folder of its pins.
        folder: PathBuf,
    },
    /// The folder cannot be made or locked.
    #[error("lock {}", folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl InstanceLock {
    /// Locks `folder`, which is made when missing.
    pub fn acquire(folder: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Io { folder: folder.to_path_buf(), source };
        for _ in 0..ATTEMPTS_MAX {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
            let locked = match File::open(folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(failed)?,
            };
            match locked.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(LockError::Held { folder: folder.to_path_buf() });
                }
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
            // A process that ends removes the folder: a lock on what is no longer there locks nothing.
            let inode = locked.metadata().map_err(failed)?.ino();
            if fs::metadata(folder).is_ok_and(|found| found.ino() == inode) {
                return Ok(Self { folder: folder.to_path_buf(), _locked: locked });
            }
        }
        Err(failed(io::Error::other("the folder is removed again and again")))
    }
}

impl Drop for InstanceLock {
    fn drop(&mut self) {
        // Only an empty folder goes: one that this process made and put nothing in. Pins stay for the next process.
        fs::remove_dir(&self.folder).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_had_once() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("weir/default");
        let first = InstanceLock::acquire(&folder).unwrap();
        assert!(matches!(InstanceLock::acquire(&folder), Err(LockError::Held { .. })));
        let other = InstanceLock::acquire(&root.path().join("weir/other")).unwrap();
        drop((first, other));
        assert!(!folder.exists(), "an empty folder is removed");
        InstanceLock::acquire(&folder).unwrap();
    }

    #[test]
    fn what_is_pinned_stays() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("default");
        let lock = InstanceLock::acquire(&folder).unwrap();
        fs::create_dir(folder.join("v1")).unwrap();
        drop(lock);
        assert!(folder.join("v1").exists());
    }

    #[test]
    fn a_folder_removed_by_its_holder_is_free() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("default");
        let _leaving = InstanceLock::acquire(&folder).unwrap();
        fs::remove_dir(&folder).unwrap();
        InstanceLock::acquire(&folder).unwrap();
    }
}
