// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where a pinned XDP link is now (`BPF_OBJ_GET_INFO_BY_FD`, kernel 5.9).
//!
//! A link outlives its attachment: the interface may go away, and somebody with the right to may detach it or remove its
//! pin. The kernel tells nobody, so it is asked.

use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use super::unlink::{bpf, open};

/// Command of bpf(2) (include/uapi/linux/bpf.h).
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;

/// Argument of `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct InfoByFd {
    fd: u32,
    length: u32,
    info: u64,
}

/// Head of `struct bpf_link_info` of an XDP link; the kernel writes no more than it is given room for.
#[repr(C, align(8))]
#[derive(Default)]
struct XdpLinkInfo {
    kind: u32,
    id: u32,
    program_id: u32,
    padding: u32,
    interface: u32,
    padding_at_end: u32,
}

/// Index of the interface that the XDP link pinned at `path` is on; `None` when it is on none any more.
///
/// # Errors
/// When there is no pin, or the kernel refuses.
pub fn interface(path: &Path) -> io::Result<Option<u32>> {
    let link = open(path)?;
    let mut info = XdpLinkInfo::default();
    let mut argument = InfoByFd {
        fd: u32::try_from(link.as_raw_fd()).map_err(io::Error::other)?,
        length: u32::try_from(size_of::<XdpLinkInfo>()).map_err(io::Error::other)?,
        info: std::ptr::from_mut(&mut info) as u64,
    };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut argument)?;
    Ok((info.interface != 0).then_some(info.interface))
}
