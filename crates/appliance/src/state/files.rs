// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Files of one folder: replaced as a whole, moved aside, read up to a bound. Knows nothing of what is in them.
//!
//! ```text
//!  write NAME:  .NAME.new, fsync ─► NAME.previous = the old NAME ─► rename to NAME ─► fsync of the folder
//!  spoiled:     NAME ─► NAME.bad-<unix seconds>, NAME.previous ─► NAME
//! ```
//!
//! At every step of either there is a whole `NAME` or a whole `NAME.previous`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::envelope::FileError;

/// Most that is read of a file: several times what the largest allowed set of overrides or verdicts needs.
pub(super) const FILE_BYTES_MAX: u64 = 64 << 20;
/// Spoiled files that are kept of each name; the oldest go first.
pub(super) const BAD_KEPT_MAX: usize = 3;
/// Mode of new files: the group may read them, others may not.
const FILE_MODE: u32 = 0o640;

/// Where the file before this one is kept.
pub(super) fn previous(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.previous"))
}

/// Content of a file; `None` if there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    let file = match File::open(path) {
        // Also where something else is in the place of the folder.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        other => other.map_err(FileError::Read)?,
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(FileError::Read)?;
    if u64::try_from(bytes.len()).is_ok_and(|size| size > FILE_BYTES_MAX) {
        return Err(FileError::TooLarge { max: FILE_BYTES_MAX });
    }
    Ok(Some(bytes))
}

/// Replaces a file as a whole. After an error the file is as before.
pub(super) fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let staged = dir.join(format!(".{name}.new"));
    let outcome = stage(&staged, bytes).and_then(|()| {
        keep_previous(dir, name);
        fs::rename(&staged, dir.join(name))
    });
    if outcome.is_err() {
        // On a full disk the half of a file would keep the room that the next attempt needs. It may not be there.
        fs::remove_file(&staged).ok();
        return outcome;
    }
    sync_folder(dir)
}

fn stage(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Best effort: without a file before, a spoiled one is only lost.
fn keep_previous(dir: &Path, name: &str) {
    let previous = previous(dir, name);
    fs::remove_file(&previous).ok();
    fs::hard_link(dir.join(name), previous).ok();
}

/// Moves a spoiled file aside and puts the one before in its place if `is_previous_good`, else removes that too. Gives
/// the new path.
pub(super) fn move_aside(
    dir: &Path,
    name: &str,
    is_previous_good: bool,
    now: SystemTime,
) -> io::Result<PathBuf> {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let kept = dir.join(format!("{name}.bad-{seconds}"));
    fs::rename(dir.join(name), &kept)?;
    // A file that could not be put back is as if there were none; the next write makes one.
    if is_previous_good {
        fs::rename(previous(dir, name), dir.join(name)).ok();
    } else {
        fs::remove_file(previous(dir, name)).ok();
    }
    remove_oldest_bad(dir, name);
    sync_folder(dir)?;
    Ok(kept)
}

/// Best effort: one too many is no harm.
fn remove_oldest_bad(dir: &Path, name: &str) {
    let prefix = format!("{name}.bad-");
    let Ok(entries) = fs::read_dir(dir) else { return };
    let mut bad: Vec<(u64, PathBuf)> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let seconds = entry.file_name().to_str()?.strip_prefix(&prefix)?.parse().ok()?;
            Some((seconds, entry.path()))
        })
        .collect();
    bad.sort();
    let surplus = bad.len().saturating_sub(BAD_KEPT_MAX);
    for (_, path) in bad.iter().take(surplus) {
        fs::remove_file(path).ok();
    }
}

/// Makes the names in a folder last: a rename is only certain after it.
fn sync_folder(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
