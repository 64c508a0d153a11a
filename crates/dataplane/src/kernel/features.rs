// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a driver can do for XDP, by the kernel's own word: generic netlink, family `netdev` (Linux 6.3).
//!
//! ```text
//! message = length u32 | type u16 | flags u16 | sequence u32 | port u32 | command u8 | version u8 | 0 u16 | attribute...
//! attribute = length u16 | type u16 | value | pad to 4              all in host order
//! ```
//! A redirected frame that the other interface's driver does not take is lost without a word, so it is asked before.

use std::io;
use std::time::Duration;

use rtnetlink::sys::protocols::NETLINK_GENERIC;
use rtnetlink::sys::{Socket, SocketAddr};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

/// Longest wait for an answer: the kernel gives it at once.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Octets of an answer; both are far smaller.
const ANSWER_MAX: usize = 16 * 1024;

// include/uapi/linux/netlink.h, genetlink.h, netdev.h
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
const XDP_ACT_NDO_XMIT: u64 = 1 << 2;
const XDP_ACT_NDO_XMIT_SG: u64 = 1 << 6;

/// Octets of a message before its attributes: both headers.
const HEADERS: usize = 20;

/// What a driver does with frames that are redirected to its interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmits {
    /// It sends them.
    pub frames: bool,
    /// Also those in several buffers, larger than a page.
    pub several_buffers: bool,
}

/// Asks about the interface `index`; `None` from a kernel that does not tell.
///
/// # Errors
/// What the kernel says, for instance that there is no such interface.
pub fn transmits(index: u32) -> io::Result<Option<Transmits>> {
    let mut socket = Socket::new(NETLINK_GENERIC)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_TIMEOUT))?;
    let name = (CTRL_ATTR_FAMILY_NAME, &b"netdev\0"[..]);
    let family = match ask(&socket, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, name) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
        answer => attribute(&answer?, CTRL_ATTR_FAMILY_ID).map(u16::from_ne_bytes),
    };
    let Some(family) = family else { return Ok(None) };
    let index = index.to_ne_bytes();
    let answer = ask(&socket, family, NETDEV_CMD_DEV_GET, (NETDEV_A_DEV_IFINDEX, &index[..]))?;
    Ok(attribute(&answer, NETDEV_A_DEV_XDP_FEATURES).map(u64::from_ne_bytes).map(|features| Transmits {
        frames: features & XDP_ACT_NDO_XMIT != 0,
        several_buffers: features & XDP_ACT_NDO_XMIT_SG != 0,
    }))
}

/// One question with one attribute, and the answer, a whole message.
fn ask(socket: &Socket, family: u16, command: u8, attribute: (u16, &[u8])) -> io::Result<Vec<u8>> {
    socket.send(&request(family, command, attribute), 0)?;
    let mut answer = Vec::with_capacity(ANSWER_MAX);
    loop {
        match socket.recv(&mut answer, 0) {
            // A signal; with a time-out set the kernel does not go on by itself.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            received => {
                received?;
                break;
            }
        }
    }
    match error_of(&answer) {
        Some(number) => Err(io::Error::from_raw_os_error(number)),
        None => Ok(answer),
    }
}

fn request(family: u16, command: u8, (kind, value): (u16, &[u8])) -> Vec<u8> {
    // Values here are a number or a short name.
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut message = vec![0; 4];
    message.extend(family.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([command, 1, 0, 0]);
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    message[..4].copy_from_slice(&length.to_ne_bytes());
    message
}

/// The error number that a message carries, if it is one of that kind.
fn error_of(message: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(message.get(4..6)?.try_into().ok()?);
    let number = i32::from_ne_bytes(message.get(16..20)?.try_into().ok()?);
    (kind == NLMSG_ERROR && number != 0).then(|| number.wrapping_neg())
}

/// The value of the first attribute of this type, if it has this length.
fn attribute<const N: usize>(message: &[u8], wanted: u16) -> Option<[u8; N]> {
    let mut rest = message.get(HEADERS..)?;
    loop {
        let (head, _) = rest.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let value = rest.get(4..length)?;
        if u16::from_ne_bytes([head[2], head[3]]) == wanted {
            return value.try_into().ok();
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_has_both_headers_and_its_attribute() {
        let message = request(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, (CTRL_ATTR_FAMILY_NAME, b"netdev\0"));
        assert_eq!(message.len(), 32);
        assert_eq!(message[..4], 32_u32.to_ne_bytes());
        assert_eq!((&message[16..20], &message[24..]), (&[3, 1, 0, 0][..], &b"netdev\0\0"[..]));
        assert_eq!(attribute::<7>(&message, CTRL_ATTR_FAMILY_NAME).as_ref(), Some(b"netdev\0"));
        assert_eq!(attribute::<8>(&message, CTRL_ATTR_FAMILY_NAME), None, "another length");
        assert_eq!(attribute::<7>(&message, CTRL_ATTR_FAMILY_ID), None, "another type");
    }

    #[test]
    fn broken_answers_are_no_answers() {
        let mut message = request(0x15, NETDEV_CMD_DEV_GET, (NETDEV_A_DEV_IFINDEX, &7_u32.to_ne_bytes()));
        assert_eq!(error_of(&message), None);
        for length in 0..message.len() {
            assert_eq!(attribute::<4>(&message[..length], NETDEV_A_DEV_IFINDEX), None, "{length} octets");
        }
        for length in [0_u16, 3, 9, u16::MAX] {
            message[20..22].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(attribute::<4>(&message, NETDEV_A_DEV_XDP_FEATURES), None, "a length of {length}");
        }
        message[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        message[16..20].copy_from_slice(&(-libc::ENODEV).to_ne_bytes());
        assert_eq!(error_of(&message), Some(libc::ENODEV));
    }

    #[test]
    fn the_kernel_is_asked() {
        // The loopback device never takes redirected frames; before 6.3 nobody tells.
        assert!(transmits(1).expect("an answer").is_none_or(|transmits| !transmits.frames));
        assert!(transmits(u32::MAX >> 1).map_or(true, |answer| answer.is_none()), "no such interface");
    }
}
