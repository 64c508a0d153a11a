// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Attaching an XDP program to an interface by a pinned link, adopting the link that is there.
//!
//! The pin's name carries interface and mode (`link_eth0_native`). While the pin exists the program stays attached,
//! whatever becomes of the process; a later process puts its program on the same link, packet by packet without a gap.

use std::io;

use aya::programs::links::{FdLink, LinkError, PinnedLink};
use aya::programs::xdp::{XdpLink, XdpMode};
use aya::programs::{ProgramError, Xdp};

use super::facts::facts;
use super::pinned_link;
use super::pins::{Pins, PinsError};
use super::refusal::{MTU_ONE_BUFFER, Refusal, refusal};
use super::unlink::unlink;

/// How the program is run. Chosen by the operator and never changed silently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// By the driver.
    Native,
    /// By the kernel's stack, behind the driver: slow, for tests and odd hardware.
    Generic,
}

impl Mode {
    /// The word in documents, pins and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Native => Self::Generic,
            Self::Generic => Self::Native,
        }
    }

    const fn xdp(self) -> XdpMode {
        match self {
            Self::Native => XdpMode::Driver,
            Self::Generic => XdpMode::Skb,
        }
    }
}

/// Why the program could not be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// No such interface.
    #[error("interface `{interface}` does not exist")]
    UnknownInterface {
        /// Its name.
        interface: String,
    },
    /// Another program is there.
    #[error(
        "interface `{interface}` already has an XDP program of somebody else: detach it (`ip link set dev {interface} xdp off`)"
    )]
    Busy {
        /// The interface.
        interface: String,
    },
    /// This process may not attach programs.
    #[error("attach to `{interface}`: not permitted; CAP_NET_ADMIN and CAP_BPF are needed")]
    NotPermitted {
        /// The interface.
        interface: String,
    },
    /// The MTU is larger than what the driver can give to XDP.
    #[error(
        "attach to `{interface}` in {mode} mode: the MTU of the interface{found} (or, on veth, of its peer) is too large for \
         its driver: `ip link set dev {interface} mtu {MTU_ONE_BUFFER}` or less; `xdp = \"generic\"` takes every frame, slowly"
    )]
    MtuTooLarge {
        /// The interface.
        interface: String,
        /// The mode asked for.
        mode: &'static str,
        /// The MTU, in words with a leading comma, if it could be read.
        found: String,
    },
    /// The hardware merges received packets.
    #[error("attach to `{interface}` in {mode} mode: LRO is on: `ethtool -K {interface} lro off`")]
    Lro {
        /// The interface.
        interface: String,
        /// The mode asked for.
        mode: &'static str,
    },
    /// The driver has no transmit queues left for the program.
    #[error("attach to `{interface}` in {mode} mode: too few queues ({found}): {remedy}")]
    Queues {
        /// The interface.
        interface: String,
        /// The mode asked for.
        mode: &'static str,
        /// What there is.
        found: String,
        /// What to do.
        remedy: String,
    },
    /// A bond does not take the program: for its mode, its hash policy or one of its members.
    #[error(
        "attach to `{interface}` in native mode: the bond, or a member of it, refuses. It takes a program in the modes balance-rr, \
         active-backup, balance-xor and 802.3ad, not with `xmit_hash_policy` vlan+srcmac, and if each member could be an uplink by \
         itself: a driver with native XDP, queues to spare, LRO off, no program of its own (`cat /proc/net/bonding/{interface}`, `ip \
         link show master {interface}`); `xdp = \"generic\"` works with every bond, slowly"
    )]
    Bond {
        /// The bond.
        interface: String,
    },
    /// The driver cannot run XDP programs.
    #[error(
        "attach to `{interface}` in native mode: its driver (`{driver}`) has no native XDP; `xdp = \"generic\"` works with \
         every driver, slowly"
    )]
    NoNativeXdp {
        /// The interface.
        interface: String,
        /// Its driver.
        driver: String,
    },
    /// The interface is an 802.1Q device.
    #[error(
        "attach to `{interface}`: it is an 802.1Q device: name the interface below it, `{below}`, where tagged frames are \
         served too"
    )]
    TaggedDevice {
        /// The interface.
        interface: String,
        /// What is below, by the usual way of naming such devices.
        below: String,
    },
    /// The driver refuses, and why is not known.
    #[error(
        "attach to `{interface}` in {mode} mode: the driver refuses; the kernel's log may say why. Native XDP needs driver \
         support, often a free transmit queue per CPU (`ethtool -L`), and LRO off (`ethtool -K {interface} lro off`)"
    )]
    Unsupported {
        /// The interface.
        interface: String,
        /// The mode asked for.
        mode: &'static str,
        /// What the kernel said.
        #[source]
        source: Box<ProgramError>,
    },
    /// Anything else the kernel said.
    #[error("attach to `{interface}` in {mode} mode")]
    Program {
        /// The interface.
        interface: String,
        /// The mode asked for.
        mode: &'static str,
        /// What the kernel said.
        #[source]
        source: Box<ProgramError>,
    },
    /// The interface could not be put among those that packets may leave by.
    #[error("enter `{interface}` into the device map")]
    Egress {
        /// The interface.
        interface: String,
        /// What the kernel said.
        #[source]
        source: Box<aya::maps::xdp::XdpMapError>,
    },
    /// The link could not be pinned.
    #[error("pin the link of `{interface}`")]
    Pin {
        /// The interface.
        interface: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The pin directory could not be read.
    #[error(transparent)]
    Pins(#[from] PinsError),
}

/// Interface index of `interface`, or `None` if there is none of that name.
pub fn ifindex(interface: &str) -> Option<u32> {
    let name = std::ffi::CString::new(interface).ok()?;
    // SAFETY: a NUL-terminated string that outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (index != 0).then_some(index)
}

/// The interface that has this index.
pub fn interface(index: u32) -> Option<String> {
    let mut name = [0_u8; libc::IF_NAMESIZE];
    // SAFETY: the buffer has the size that the call asks for.
    let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr().cast()) };
    let end = name.iter().position(|octet| *octet == 0)?;
    if found.is_null() { None } else { String::from_utf8(name[..end].to_vec()).ok() }
}

/// Name of the pin of `interface` in `mode`.
pub fn pin_name(interface: &str, mode: Mode) -> String {
    format!("link_{interface}_{}", mode.name())
}

/// Attaches `program` (loaded) to `interface`, or puts it on the pinned link that is there. Returns whether it adopted one.
///
/// # Errors
/// See [`AttachError`]; nothing is attached then that was not before.
pub fn attach(program: &mut Xdp, interface: &str, mode: Mode, pins: &Pins) -> Result<bool, AttachError> {
    let owned = || interface.to_owned();
    let index = ifindex(interface).ok_or_else(|| AttachError::UnknownInterface { interface: owned() })?;
    // The mode was changed in the document: that needs another link.
    detach(interface, mode.other(), pins)?;
    let path = pins.path(&pin_name(interface, mode));
    if path.exists() {
        if let Some(link) = adopt(program, &path) {
            drop(link);
            return Ok(true);
        }
        // The interface went away and came back: its link is dead for good.
        std::fs::remove_file(&path).map_err(|source| AttachError::Pin { interface: owned(), source })?;
    }
    let id =
        program.attach_to_if_index(index, mode.xdp()).map_err(|source| refused(interface, mode, source))?;
    let link = program.take_link(id).map_err(|source| refused(interface, mode, source))?;
    // Without kernel links the library attaches by netlink; that cannot be pinned, so it is no use here.
    let link = FdLink::try_from(link).map_err(|_: LinkError| AttachError::Pin {
        interface: owned(),
        source: io::Error::from_raw_os_error(libc::EINVAL),
    })?;
    link.pin(&path)
        .map_err(|error| AttachError::Pin { interface: owned(), source: io::Error::other(error) })?;
    Ok(false)
}

/// Whether the pinned link of `interface` in `mode` is on the interface that has this name now.
pub fn is_attached(interface: &str, mode: Mode, pins: &Pins) -> bool {
    let index = ifindex(interface);
    let path = pins.path(&pin_name(interface, mode));
    // No pin, or one that cannot be asked: whatever runs there is not known to be ours.
    index.is_some() && pinned_link::interface(&path).is_ok_and(|found| found == index)
}

/// Puts `program` on the pinned link; `None` if the link is no longer attached to anything.
fn adopt(program: &mut Xdp, path: &std::path::Path) -> Option<XdpLink> {
    let link = FdLink::from(PinnedLink::from_pin(path).ok()?);
    let id = program.attach_to_link(XdpLink::try_from(link).ok()?).ok()?;
    program.take_link(id).ok()
}

/// Removes the link of `interface` in `mode`, if there is one; the program is then off the interface.
///
/// # Errors
/// [`AttachError::Pin`].
pub fn detach(interface: &str, mode: Mode, pins: &Pins) -> Result<bool, AttachError> {
    let path = pins.path(&pin_name(interface, mode));
    match unlink(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(AttachError::Pin { interface: interface.to_owned(), source }),
    }
}

/// The kernel's refusal in words that name the remedy.
fn refused(interface: &str, mode: Mode, source: ProgramError) -> AttachError {
    let errno = match &source {
        ProgramError::SyscallError(error) => error.io_error.raw_os_error(),
        _ => None,
    };
    let cause = errno.map_or(Refusal::Unknown, |errno| refusal(errno, mode, &facts(interface)));
    let (owned, mode) = (interface.to_owned(), mode.name());
    match cause {
        Refusal::Busy => AttachError::Busy { interface: owned },
        Refusal::NotPermitted => AttachError::NotPermitted { interface: owned },
        Refusal::MtuTooLarge { mtu } => {
            let found = mtu.map(|mtu| format!(", {mtu},")).unwrap_or_default();
            AttachError::MtuTooLarge { interface: owned, mode, found }
        }
        Refusal::Lro => AttachError::Lro { interface: owned, mode },
        Refusal::Queues { found, combined } => {
            let remedy = match combined {
                Some(combined) => format!("`ethtool -L {interface} combined {combined}`"),
                None => "give it more queues (`ethtool -L`, or in the virtual machine's settings)".to_owned(),
            };
            AttachError::Queues { interface: owned, mode, found, remedy }
        }
        Refusal::Bond => AttachError::Bond { interface: owned },
        Refusal::NoNativeXdp { driver } => AttachError::NoNativeXdp { interface: owned, driver },
        Refusal::TaggedDevice => {
            let below = interface.rsplit_once('.').map_or("eth0", |(below, _)| below).to_owned();
            AttachError::TaggedDevice { interface: owned, below }
        }
        Refusal::Unknown => match errno {
            Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ENOMEM | libc::ENOSPC) => {
                AttachError::Unsupported { interface: owned, mode, source: Box::new(source) }
            }
            _ => AttachError::Program { interface: owned, mode, source: Box::new(source) },
        },
    }
}
