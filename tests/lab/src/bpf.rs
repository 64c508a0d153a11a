// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The `bpf` system call, as much of it as a lab needs, and what is pinned below a folder.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// `bpf` command numbers.
pub(crate) mod command {
    pub(crate) const PROG_LOAD: libc::c_long = 5;
    pub(crate) const OBJ_GET: libc::c_long = 7;
    pub(crate) const LINK_CREATE: libc::c_long = 28;
}

/// Folders below a pin directory: instance, layout version, and one for the maps.
const DEPTH_MAX: usize = 4;

/// Head of `union bpf_attr` for `BPF_OBJ_GET`.
#[repr(C)]
struct ObjGet {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// Runs a command that returns a descriptor.
pub(crate) fn descriptor<T>(command: libc::c_long, attributes: &T) -> Result<OwnedFd> {
    // SAFETY: the attributes live through the call and their size is given; callers keep alive what they point to.
    let fd = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>() as libc::c_long)
    };
    if fd < 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    let fd = RawFd::try_from(fd).context("a descriptor fits")?;
    // SAFETY: the commands used here return a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A folder on bpffs that nobody else uses; removed, and with it all that is pinned there, when dropped.
#[derive(Debug)]
pub struct PinDir(PathBuf);

impl PinDir {
    /// A folder named after the lab whose files are in `lab`.
    pub(crate) fn create(lab: &Path) -> Result<PinDir> {
        let name = lab.file_name().context("a lab's folder has a name")?;
        let path = Path::new("/sys/fs/bpf").join(name);
        std::fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(PinDir(path))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for PinDir {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("lab: remove {}: {error}", self.0.display());
        }
    }
}

/// Everything pinned below `dir` by its path there, with the kernel's number for it: `map_id 7`, `link_id 3`, `prog_id 5`.
/// Empty if the folder is missing.
pub(crate) fn pinned(dir: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let mut found = BTreeMap::new();
    if dir.exists() {
        walk(dir, dir, DEPTH_MAX, &mut found)?;
    }
    Ok(found)
}

fn walk(root: &Path, dir: &Path, depth: usize, found: &mut BTreeMap<PathBuf, String>) -> Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            anyhow::ensure!(depth > 0, "{} is nested too deep", path.display());
            walk(root, &path, depth - 1, found)?;
        } else {
            let number = identity(&path).with_context(|| format!("open the pin {}", path.display()))?;
            found.insert(path.strip_prefix(root).unwrap_or(&path).to_path_buf(), number);
        }
    }
    Ok(())
}

fn identity(path: &Path) -> Result<String> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let get = ObjGet { pathname: name.as_ptr() as u64, bpf_fd: 0, file_flags: 0 };
    let fd = descriptor(command::OBJ_GET, &get)?;
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))?;
    // A link also tells its program, so the link's own number is asked first.
    for key in ["link_id:", "map_id:", "prog_id:"] {
        if let Some(value) = info.lines().find_map(|line| line.strip_prefix(key)) {
            return Ok(format!("{} {}", key.trim_end_matches(':'), value.trim()));
        }
    }
    anyhow::bail!("neither map, program nor link")
}
