// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What an interface says of itself: driver, MTU, queues, LRO. Read when an attach failed, to name the remedy. And whether tags
//! are taken off what comes in by it, read when one succeeded.
//!
//! By the old ethtool ioctls: they are in every kernel, and few bytes. Whatever cannot be read is `None`. What stands above and
//! below an interface is told by the kernel's device files, which need no right to be read.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::path::Path;

/// Commands of ethtool (include/uapi/linux/ethtool.h).
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETHTOOL_GCHANNELS: u32 = 0x3c;
/// Flags of `ETHTOOL_GFLAGS`.
const ETH_FLAG_RXVLAN: u32 = 1 << 8;
const ETH_FLAG_LRO: u32 = 1 << 15;
/// Where the kernel has a folder for each interface.
const DEVICES: &str = "/sys/class/net";
/// `IFNAMSIZ`.
const NAME_ROOM: usize = 16;

/// What an interface says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// Name of the driver (`ixgbe`, `veth`, `802.1Q VLAN Support`).
    pub driver: Option<String>,
    /// MTU in bytes.
    pub mtu: Option<u32>,
    /// Receive and transmit queues.
    pub queues: Option<Queues>,
    /// Whether received packets are merged by the hardware.
    pub is_lro_on: Option<bool>,
    /// CPUs that run.
    pub cpus: u32,
}

/// Queues as `ethtool -l` shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Queues {
    /// Most pairs of one receive and one transmit queue.
    pub combined_max: u32,
    /// Such pairs now.
    pub combined: u32,
    /// Queues that only receive, now.
    pub receive: u32,
    /// Queues that only transmit, now.
    pub transmit: u32,
}

/// Reads them.
pub fn facts(interface: &str) -> Facts {
    // SAFETY: no pointers.
    let online = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    let cpus = u32::try_from(online).unwrap_or(1).max(1);
    // Nothing can be asked without a socket; an attach that failed has a reason of its own, which the caller reports.
    let Ok(asked) = Asked::open(interface) else { return Facts { cpus, ..Facts::default() } };
    Facts {
        driver: asked.driver().ok().filter(|name| !name.is_empty()),
        mtu: asked.mtu().ok(),
        queues: asked.queues().ok(),
        is_lro_on: asked.flags().ok().map(|flags| flags & ETH_FLAG_LRO != 0),
        cpus,
    }
}

/// Who takes the tags off frames that come in by `interface`, before its program sees them: itself, or those of a bond's members
/// that do. Nobody where no 802.1Q device on it says that frames have tags.
pub fn tag_strippers(interface: &str) -> Vec<String> {
    let folder = Path::new(DEVICES);
    let entries = std::fs::read_dir(folder.join(interface)).into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let is_tagged = |name: &str| {
        let event = std::fs::read_to_string(folder.join(name).join("uevent"));
        event.is_ok_and(|text| text.lines().any(|line| line == "DEVTYPE=vlan"))
    };
    let mut receiving = receiving(interface, names, is_tagged);
    receiving.retain(|name| {
        let flags = Asked::open(name).and_then(|asked| asked.flags());
        flags.is_ok_and(|flags| flags & ETH_FLAG_RXVLAN != 0)
    });
    receiving
}

/// The interfaces that tagged frames of `interface` come in by, of the names in its folder: those below it if there are any.
fn receiving(
    interface: &str,
    names: impl Iterator<Item = String>,
    is_tagged: impl Fn(&str) -> bool,
) -> Vec<String> {
    let mut has_tags = false;
    let mut below = Vec::new();
    for name in names {
        has_tags |= name.strip_prefix("upper_").is_some_and(&is_tagged);
        below.extend(name.strip_prefix("lower_").map(str::to_owned));
    }
    below.sort_unstable();
    match (has_tags, below.is_empty()) {
        (false, _) => Vec::new(),
        (true, true) => vec![interface.to_owned()],
        (true, false) => below,
    }
}

/// An interface and a socket to ask about it.
struct Asked {
    socket: OwnedFd,
    name: [u8; NAME_ROOM],
}

/// `struct ifreq` with a pointer, or with a number in its place.
#[repr(C)]
struct Request {
    name: [u8; NAME_ROOM],
    value: u64,
    rest: [u64; 2],
}

/// `struct ethtool_drvinfo`.
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    rest: [u8; 160],
}

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// `struct ethtool_channels`: the most of each kind, then how many there are.
#[repr(C)]
#[derive(Default)]
struct Channels {
    command: u32,
    receive_max: u32,
    transmit_max: u32,
    other_max: u32,
    combined_max: u32,
    receive: u32,
    transmit: u32,
    other: u32,
    combined: u32,
}

impl Asked {
    fn open(interface: &str) -> io::Result<Self> {
        let mut name = [0; NAME_ROOM];
        let octets = interface.as_bytes();
        // The last octet stays zero.
        name[..NAME_ROOM - 1]
            .get_mut(..octets.len())
            .ok_or(io::ErrorKind::InvalidInput)?
            .copy_from_slice(octets);
        // SAFETY: no pointers; a descriptor that comes back is new and nobody else's.
        let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: as said.
        Ok(Self { socket: unsafe { OwnedFd::from_raw_fd(fd) }, name })
    }

    fn driver(&self) -> io::Result<String> {
        let mut info = DriverInfo { command: ETHTOOL_GDRVINFO, driver: [0; 32], rest: [0; 160] };
        self.ethtool(&mut info)?;
        let end = info.driver.iter().position(|octet| *octet == 0).unwrap_or(info.driver.len());
        Ok(String::from_utf8_lossy(&info.driver[..end]).into_owned())
    }

    fn flags(&self) -> io::Result<u32> {
        let mut value = Value { command: ETHTOOL_GFLAGS, data: 0 };
        self.ethtool(&mut value)?;
        Ok(value.data)
    }

    fn queues(&self) -> io::Result<Queues> {
        let mut channels = Channels { command: ETHTOOL_GCHANNELS, ..Channels::default() };
        self.ethtool(&mut channels)?;
        let Channels { combined_max, combined, receive, transmit, .. } = channels;
        Ok(Queues { combined_max, combined, receive, transmit })
    }

    fn mtu(&self) -> io::Result<u32> {
        let mut request = Request { name: self.name, value: 0, rest: [0; 2] };
        self.ask(libc::SIOCGIFMTU, &mut request)?;
        let octets = request.value.to_ne_bytes();
        Ok(u32::from_ne_bytes([octets[0], octets[1], octets[2], octets[3]]))
    }

    fn ethtool<T>(&self, argument: &mut T) -> io::Result<()> {
        let value = std::ptr::from_mut(argument) as u64;
        self.ask(libc::SIOCETHTOOL, &mut Request { name: self.name, value, rest: [0; 2] })
    }

    fn ask(&self, request: libc::c_ulong, argument: &mut Request) -> io::Result<()> {
        // SAFETY: the argument has the size of `struct ifreq` and lives through the call, as does what it points to, which
        // is the structure of its ethtool command.
        let status =
            unsafe { libc::ioctl(self.socket.as_raw_fd(), request as _, std::ptr::from_mut(argument)) };
        if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}
const _: () =
    assert!(size_of::<Request>() == 40 && size_of::<DriverInfo>() == 196 && size_of::<Channels>() == 36);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_device_says_its_mtu() {
        let facts = facts("lo");
        assert!(facts.mtu.is_some_and(|mtu| mtu >= 1_280), "{facts:?}");
        assert!(facts.cpus >= 1);
    }

    #[test]
    fn tagged_frames_come_in_by_the_interface_or_by_its_members() {
        let seen = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned());
            receiving("up0", names, |name| name.contains('.'))
        };
        assert_eq!(seen(&["mtu", "queues"]), [""; 0]);
        assert_eq!(seen(&["mtu", "upper_bond0"]), [""; 0], "not tagged");
        assert_eq!(seen(&["lower_eth1", "lower_eth0"]), [""; 0], "not tagged");
        assert_eq!(seen(&["mtu", "upper_bond0", "upper_up0.7"]), ["up0"]);
        assert_eq!(seen(&["lower_eth1", "upper_up0.7", "lower_eth0"]), ["eth0", "eth1"]);
    }

    #[test]
    fn an_interface_that_is_not_there_says_nothing() {
        for name in ["nosuch0", "", "a name that is much too long for an interface"] {
            let facts = facts(name);
            assert_eq!((facts.driver, facts.mtu, facts.queues, facts.is_lro_on), (None, None, None, None));
            assert_eq!(tag_strippers(name), [""; 0]);
        }
    }
}
