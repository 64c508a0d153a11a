// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Writes an initial file system for a kernel: the "newc" archive (Linux: Documentation/driver-api/early-userspace/buffer-format.rst).
//!
//! ```text
//! record = "070701" | 13 numbers, 8 hexadecimal digits each | name, NUL | pad to 4 | content | pad to 4
//! archive = record... | record named "TRAILER!!!"
//! ```
//! Owners are root and times are zero, so that the same content gives the same bytes.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;

/// Links followed from one name before it is taken for a circle.
const LINKS_MAX: usize = 16;

/// What stands under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Directory,
    Symlink(PathBuf),
    Copy(PathBuf),
    Text { content: Vec<u8>, mode: u32 },
}

/// A file tree under construction, by absolute path in the guest.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    entries: BTreeMap<PathBuf, Entry>,
}

impl Tree {
    /// An empty folder, and those above it.
    pub(crate) fn folder(&mut self, path: &Path) {
        for above in path.ancestors().filter(|above| above.parent().is_some()) {
            self.entries.entry(above.to_owned()).or_insert(Entry::Directory);
        }
    }

    /// A file with this content.
    pub(crate) fn text(&mut self, path: &Path, content: impl Into<Vec<u8>>, mode: u32) {
        self.above(path);
        self.entries.insert(path.to_owned(), Entry::Text { content: content.into(), mode });
    }

    /// A symbolic link.
    pub(crate) fn link(&mut self, path: &Path, target: &Path) {
        self.above(path);
        self.entries.insert(path.to_owned(), Entry::Symlink(target.to_owned()));
    }

    /// A copy of the machine's file `from` at `path`.
    pub(crate) fn copy(&mut self, path: &Path, from: &Path) {
        self.above(path);
        self.entries.insert(path.to_owned(), Entry::Copy(from.to_owned()));
    }

    /// What the machine has under `path`, at the same path: links with what they point to, folders without their content.
    /// Gives the files that came in by it.
    pub(crate) fn mirror(&mut self, path: &Path) -> Result<Vec<PathBuf>> {
        let mut path = path.to_owned();
        for _ in 0..LINKS_MAX {
            // Folders that are links (`/lib` on a merged system) come in as links themselves.
            let Some((link, target)) = first_link(&path)? else {
                if path.is_dir() {
                    self.folder(&path);
                    return Ok(Vec::new());
                }
                self.copy(&path, &path);
                return Ok(vec![path]);
            };
            self.link(&link, &target);
            let beyond = path.strip_prefix(&link).context("a prefix of itself")?;
            let resolved = link.parent().unwrap_or(Path::new("/")).join(&target);
            path = normal(&if beyond.as_os_str().is_empty() { resolved } else { resolved.join(beyond) });
        }
        anyhow::bail!("{}: too many links", path.display());
    }

    /// All files and links below the machine's folder `from`, put below `to`.
    pub(crate) fn graft(&mut self, to: &Path, from: &Path) -> Result<()> {
        self.folder(to);
        for entry in std::fs::read_dir(from).with_context(|| format!("list {}", from.display()))? {
            let entry = entry?;
            let (path, kind) = (to.join(entry.file_name()), entry.file_type()?);
            if kind.is_dir() {
                self.graft(&path, &entry.path())?;
            } else if kind.is_symlink() {
                self.link(&path, &std::fs::read_link(entry.path())?);
            } else {
                self.copy(&path, &entry.path());
            }
        }
        Ok(())
    }

    fn above(&mut self, path: &Path) {
        if let Some(parent) = path.parent() {
            self.folder(parent);
        }
    }

    /// Writes the archive.
    pub(crate) fn write(&self, out: &mut impl Write) -> Result<()> {
        // Parents sort before what is in them.
        for (number, (path, entry)) in self.entries.iter().enumerate() {
            let name = path.strip_prefix("/").context("paths in the guest are absolute")?;
            let inode = u32::try_from(number + 1).context("too many files")?;
            record(out, inode, name, entry).with_context(|| format!("pack {}", path.display()))?;
        }
        header(out, 0, 0, b"TRAILER!!!", 0)?;
        Ok(())
    }
}

/// The first component of `path` that is a symbolic link, and where it points.
fn first_link(path: &Path) -> Result<Option<(PathBuf, PathBuf)>> {
    let mut so_far = PathBuf::new();
    for part in path.components() {
        so_far.push(part);
        let kind =
            std::fs::symlink_metadata(&so_far).with_context(|| format!("look at {}", so_far.display()))?;
        if kind.is_symlink() {
            let target = std::fs::read_link(&so_far)?;
            return Ok(Some((so_far, target)));
        }
    }
    Ok(None)
}

/// `path` without `.` and `..`; links have been taken care of.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                normal.pop();
            }
            std::path::Component::CurDir => {}
            std::path::Component::RootDir
            | std::path::Component::Prefix(_)
            | std::path::Component::Normal(_) => normal.push(part),
        }
    }
    normal
}

fn record(out: &mut impl Write, inode: u32, name: &Path, entry: &Entry) -> Result<()> {
    let name = name.as_os_str().as_bytes();
    match entry {
        Entry::Directory => header(out, inode, DIRECTORY | 0o755, name, 0)?,
        Entry::Symlink(target) => {
            let target = target.as_os_str().as_bytes();
            header(out, inode, SYMLINK | 0o777, name, target.len() as u64)?;
            padded(out, target)?;
        }
        Entry::Text { content, mode } => {
            header(out, inode, FILE | mode, name, content.len() as u64)?;
            padded(out, content)?;
        }
        Entry::Copy(from) => {
            let mut file = std::fs::File::open(from)?;
            let metadata = file.metadata()?;
            header(out, inode, FILE | (metadata.permissions().mode() & 0o7777), name, metadata.len())?;
            let copied = io::copy(&mut file, out)?;
            ensure!(copied == metadata.len(), "it changed while it was read");
            pad(out, copied)?;
        }
    }
    Ok(())
}

fn header(out: &mut impl Write, inode: u32, mode: u32, name: &[u8], size: u64) -> Result<()> {
    let size = u32::try_from(size).context("a file of more than 4 GiB")?;
    let name_size = u32::try_from(name.len() + 1).context("a name of more than 4 GiB")?;
    let links = 1;
    // inode, mode, uid, gid, links, time, size, device (2), special device (2), size of the name, sum
    let mut text = String::from("070701");
    for number in [inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0] {
        text += &format!("{number:08x}");
    }
    out.write_all(text.as_bytes())?;
    out.write_all(name)?;
    out.write_all(&[0])?;
    pad(out, (text.len() + name.len() + 1) as u64)?;
    Ok(())
}

fn padded(out: &mut impl Write, content: &[u8]) -> io::Result<()> {
    out.write_all(content)?;
    pad(out, content.len() as u64)
}

fn pad(out: &mut impl Write, written: u64) -> io::Result<()> {
    out.write_all(match written % 4 {
        0 => &[],
        1 => &[0, 0, 0],
        2 => &[0, 0],
        _ => &[0],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_records_and_an_end() {
        let mut tree = Tree::default();
        tree.text(Path::new("/a/b"), "hello", 0o755);
        tree.link(Path::new("/c"), Path::new("a/b"));
        let mut archive = Vec::new();
        tree.write(&mut archive).expect("memory takes it");
        let field = |at: usize| u32::from_str_radix(std::str::from_utf8(&archive[at..at + 8]).unwrap(), 16);
        // The folder: header of 110, `a` and its end, padded to 112; the file's mode and size follow.
        assert_eq!(&archive[..6], b"070701");
        assert_eq!(field(14).unwrap(), 0o040_755);
        assert_eq!((&archive[110..112], &archive[112..118]), (&b"a\0"[..], &b"070701"[..]));
        assert_eq!((field(112 + 14).unwrap(), field(112 + 54).unwrap()), (0o100_755, 5));
        assert_eq!(&archive[112 + 110..112 + 124], b"a/b\0\0\0hello\0\0\0"[..].get(..14).unwrap());
        assert!(archive.len().is_multiple_of(4) && archive.windows(10).any(|window| window == b"TRAILER!!!"));
    }

    #[test]
    fn links_bring_what_they_point_to() {
        let root = tempfile();
        std::fs::create_dir_all(root.join("usr/lib")).unwrap();
        std::fs::write(root.join("usr/lib/real"), "x").unwrap();
        std::os::unix::fs::symlink("real", root.join("usr/lib/name")).unwrap();
        std::os::unix::fs::symlink("usr/lib", root.join("lib")).unwrap();
        let mut tree = Tree::default();
        let files = tree.mirror(&root.join("lib/name")).unwrap();
        assert_eq!(files, [root.join("usr/lib/real")]);
        assert_eq!(tree.entries[&root.join("lib")], Entry::Symlink("usr/lib".into()));
        assert_eq!(tree.entries[&root.join("usr/lib/name")], Entry::Symlink("real".into()));
        assert!(tree.mirror(&root.join("nothing")).is_err());
        std::fs::remove_dir_all(root).unwrap();
    }

    fn tempfile() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("weir-xtask-cpio-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder.canonicalize().unwrap()
    }

    #[test]
    fn dots_are_taken_out() {
        assert_eq!(normal(Path::new("/usr/./bin/../lib/x")), Path::new("/usr/lib/x"));
    }
}
