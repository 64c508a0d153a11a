// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The far end of a link on which XDP transmits: veth delivers such frames only if the peer runs an XDP program itself.
//!
//! The program is two instructions, `r0 = XDP_PASS; exit`, loaded by the plain system call, so that the lab needs no
//! part of what it tests. The link's descriptor keeps it attached; nothing is pinned.

use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result, bail};

use crate::bpf::{command, descriptor};
use crate::netns::Netns;

const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// `mov64 r0, 2` (XDP_PASS) and `exit`.
const PROGRAM: [u64; 2] = [0x0000_0002_0000_00b7, 0x0000_0000_0000_0095];

/// Head of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// Head of `union bpf_attr` for `BPF_LINK_CREATE`.
#[repr(C)]
#[derive(Default)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// An attached program that passes everything; detached when dropped.
#[derive(Debug)]
pub struct XdpPass {
    _link: OwnedFd,
}

impl XdpPass {
    /// Attaches in native mode to an interface of `netns`.
    pub fn attach(netns: &Netns, interface: &str) -> Result<XdpPass> {
        let attached = netns.enter(|| attach(interface))?;
        attached.with_context(|| format!("attach a passing program to {interface} in {}", netns.name()))
    }
}

fn attach(interface: &str) -> Result<XdpPass> {
    let name = std::ffi::CString::new(interface)?;
    // SAFETY: the pointer is to a string that ends with zero and lives through the call.
    let ifindex = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if ifindex == 0 {
        bail!("no such interface");
    }
    let license = c"Dual MIT/GPL";
    let load = ProgLoad {
        prog_type: BPF_PROG_TYPE_XDP,
        insn_cnt: u32::try_from(PROGRAM.len())?,
        insns: PROGRAM.as_ptr() as u64,
        license: license.as_ptr() as u64,
        expected_attach_type: BPF_XDP,
        ..ProgLoad::default()
    };
    let program = descriptor(command::PROG_LOAD, &load).context("load the program")?;
    let create = LinkCreate {
        prog_fd: u32::try_from(program.as_raw_fd())?,
        target_ifindex: ifindex,
        attach_type: BPF_XDP,
        flags: XDP_FLAGS_DRV_MODE,
    };
    Ok(XdpPass { _link: descriptor(command::LINK_CREATE, &create).context("link the program")? })
}
