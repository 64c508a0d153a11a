// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Taking a pinned link off its interface at once (`BPF_LINK_DETACH`, kernel 5.9).
//!
//! Removing the pin alone is not enough: the kernel drops the link's last reference after an RCU grace period and from a
//! work queue, so the program would run on for some milliseconds, and a start right after the stop would find the interface
//! busy.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Commands of bpf(2) (include/uapi/linux/bpf.h).
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_LINK_DETACH: libc::c_long = 34;

/// Argument of `BPF_OBJ_GET`.
#[repr(C)]
struct ObjectGet {
    path: u64,
    fd: u32,
    flags: u32,
}

/// Argument of `BPF_LINK_DETACH`.
#[repr(C)]
struct LinkDetach {
    fd: u32,
}

/// Takes the link pinned at `path` off its interface and removes the pin. One that is off already is fine.
///
/// # Errors
/// When there is no pin, or the kernel refuses.
pub fn unlink(path: &Path) -> io::Result<()> {
    let link = open(path)?;
    let fd = u32::try_from(link.as_raw_fd()).map_err(io::Error::other)?;
    match bpf(BPF_LINK_DETACH, &mut LinkDetach { fd }) {
        Ok(_) => {}
        // The interface is gone, and the link with it.
        Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => {}
        Err(error) => return Err(error),
    }
    std::fs::remove_file(path)
}

/// Opens a pinned object.
pub(super) fn open(path: &Path) -> io::Result<OwnedFd> {
    let name = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let fd = bpf(BPF_OBJ_GET, &mut ObjectGet { path: name.as_ptr() as u64, fd: 0, flags: 0 })?;
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel just gave this descriptor to us, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// One command of bpf(2).
pub(super) fn bpf<T>(command: libc::c_long, argument: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: `argument` is the beginning of `union bpf_attr` for `command`, with its size given; what it points to lives
    // in the caller.
    let status =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(argument), size_of::<T>()) };
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(status) }
}
