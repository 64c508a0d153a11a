// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What keeps others off a session: MD5 signatures (RFC 2385), hop limits (RFC 5082); and why not TCP-AO (RFC 5925).
//!
//! Keys are the kernel's business: a segment with a wrong signature, or with none where a key is set, is dropped before any
//! of our code. It looks keys up by address alone, so two interfaces whose neighbours have the same link-local address
//! share one key.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use libc::{IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, TCP_MD5SIG_EXT, c_int};
use socket2::{SockAddr, Socket, Type};

use crate::advertise::Prefix;
use crate::config::Secret;
use crate::sockopt;

/// TTL and hop limit of a neighbour (RFC 5082 §3).
const HOP_LIMIT: u32 = 255;
/// `struct tcp_md5sig` of `linux/tcp.h`: address 128, flags 1, prefix length 1, key length 2, interface 4, key 80.
const MD5SIG_LEN: usize = 216;
const MD5SIG_FLAGS_AT: usize = 128;
const MD5SIG_PREFIX_LEN_AT: usize = 129;
const MD5SIG_KEY_LEN_AT: usize = 130;
const MD5SIG_KEY_AT: usize = 136;
/// `TCP_MD5SIG_FLAG_PREFIX`.
const MD5SIG_FLAG_PREFIX: u8 = 1;
/// `TCP_AO_INFO` of `linux/tcp.h`, Linux 6.7.
const TCP_AO_INFO: c_int = 40;
/// Octets of `struct tcp_ao_info_opt`.
const TCP_AO_INFO_LEN: usize = 56;

/// Whether the kernel knows TCP-AO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpAo {
    /// It does.
    Present,
    /// It was built without.
    Absent,
}

/// Why a session cannot be protected by TCP-AO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TcpAoError {
    /// The kernel cannot.
    #[error("this kernel has no TCP-AO (CONFIG_TCP_AO, Linux 6.7)")]
    Kernel,
    /// The kernel can, we cannot.
    #[error("TCP-AO is not supported by this version, although this kernel has it; use MD5")]
    Version,
}

/// Asks the kernel whether it knows TCP-AO (RFC 5925), by an option that only then exists.
pub fn probe_tcp_ao() -> TcpAo {
    // Without a socket nothing works, TCP-AO neither.
    let Ok(socket) = Socket::new(socket2::Domain::IPV4, Type::STREAM, None) else { return TcpAo::Absent };
    match sockopt::get(&socket, IPPROTO_TCP, TCP_AO_INFO, &mut [0; TCP_AO_INFO_LEN]) {
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => TcpAo::Absent,
        // A socket without keys has nothing to tell; that it says so, in whatever way, is the answer.
        Ok(_) | Err(_) => TcpAo::Present,
    }
}

/// Why a configuration that asks for TCP-AO must be refused on this machine.
pub fn refuse_tcp_ao() -> TcpAoError {
    match probe_tcp_ao() {
        TcpAo::Absent => TcpAoError::Kernel,
        TcpAo::Present => TcpAoError::Version,
    }
}

/// Sets the key for peers within `prefix`. The longest prefix wins, as with routes.
pub(super) fn set_md5(socket: impl AsFd, prefix: &Prefix, key: &Secret) -> io::Result<()> {
    sockopt::set(socket, IPPROTO_TCP, TCP_MD5SIG_EXT, &md5sig(prefix, Some(key)))
}

/// Removes the key for peers within `prefix`; `false` if there was none.
pub(super) fn remove_md5(socket: impl AsFd, prefix: &Prefix) -> io::Result<bool> {
    match sockopt::set(socket, IPPROTO_TCP, TCP_MD5SIG_EXT, &md5sig(prefix, None)) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether the handshake of an accepted connection was signed: only then it has inherited a key, which it keeps.
///
/// A key that was learnt a moment ago is no proof: the connection may have been waiting to be accepted since before.
pub(super) fn was_signed(stream: impl AsFd, remote: IpAddr, key: &Secret) -> io::Result<bool> {
    let prefix = Prefix::host(remote);
    // There is no way to ask, but removing tells. Nothing can be forged in the microsecond between: whoever does not see the
    // connection would have to guess where it is.
    let was_signed = remove_md5(&stream, &prefix)?;
    if was_signed {
        set_md5(&stream, &prefix, key)?;
    }
    Ok(was_signed)
}

fn md5sig(prefix: &Prefix, key: Option<&Secret>) -> [u8; MD5SIG_LEN] {
    let mut octets = [0; MD5SIG_LEN];
    put_address(&mut octets, prefix.address());
    octets[MD5SIG_FLAGS_AT] = MD5SIG_FLAG_PREFIX;
    octets[MD5SIG_PREFIX_LEN_AT] = prefix.length();
    if let Some(key) = key {
        let key = key.octets();
        // A `Secret` has at most 80 octets.
        let length = u16::try_from(key.len()).unwrap_or(0);
        octets[MD5SIG_KEY_LEN_AT..MD5SIG_KEY_AT - 4].copy_from_slice(&length.to_ne_bytes());
        octets[MD5SIG_KEY_AT..MD5SIG_KEY_AT + key.len()].copy_from_slice(key);
    }
    octets
}

/// `struct sockaddr_in` or `sockaddr_in6` without port and scope, at the beginning of `octets`.
fn put_address(octets: &mut [u8; MD5SIG_LEN], address: IpAddr) {
    let family = SockAddr::from(SocketAddr::new(address, 0)).family();
    octets[..2].copy_from_slice(&family.to_ne_bytes());
    match address {
        IpAddr::V4(v4) => octets[4..8].copy_from_slice(&v4.octets()),
        IpAddr::V6(v6) => octets[8..24].copy_from_slice(&v6.octets()),
    }
}

/// Sends with the highest TTL or hop limit, as a neighbour that requires it expects.
pub(super) fn send_far(socket: &Socket, is_ipv4: bool) -> io::Result<()> {
    if is_ipv4 { socket.set_ttl_v4(HOP_LIMIT) } else { socket.set_unicast_hops_v6(HOP_LIMIT) }
}

/// Drops whatever a router has touched on its way here.
pub(super) fn require_near(socket: impl AsFd, is_ipv4: bool) -> io::Result<()> {
    let (level, name) =
        if is_ipv4 { (IPPROTO_IP, libc::IP_MINTTL) } else { (IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT) };
    sockopt::set_int(socket, level, name, c_int::from(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_structure_is_laid_out_as_in_its_header() {
        let key = Secret::new("s3cr3t").unwrap();
        let octets = md5sig(&"10.0.4.0/24".parse().unwrap(), Some(&key));
        assert_eq!(octets[..8], [2, 0, 0, 0, 10, 0, 4, 0]);
        assert_eq!(octets[128..142], *b"\x01\x18\x06\0\0\0\0\0s3cr3t");
        assert!(octets[142..].iter().all(|octet| *octet == 0));
        let octets = md5sig(&"fe80::1/128".parse().unwrap(), None);
        assert_eq!(octets[..2], 10u16.to_ne_bytes());
        assert_eq!((octets[8], octets[9], octets[23]), (0xfe, 0x80, 1));
        assert_eq!(octets[128..136], [1, 128, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn keys_are_taken_and_removed_by_the_kernel() {
        for (domain, prefix) in [
            (socket2::Domain::IPV4, "10.0.0.1/32"),
            (socket2::Domain::IPV4, "10.0.0.0/24"),
            (socket2::Domain::IPV6, "fe80::1/128"),
            (socket2::Domain::IPV6, "2001:db8::/64"),
        ] {
            let socket = Socket::new(domain, Type::STREAM, None).unwrap();
            let prefix = prefix.parse().unwrap();
            let longest = Secret::new(vec![b'k'; Secret::LEN_MAX]).unwrap();
            set_md5(&socket, &prefix, &longest).unwrap();
            assert!(remove_md5(&socket, &prefix).unwrap());
            assert!(!remove_md5(&socket, &prefix).unwrap());
        }
    }

    #[test]
    fn hop_limits_are_set() {
        let v4 = Socket::new(socket2::Domain::IPV4, Type::STREAM, None).unwrap();
        send_far(&v4, true).unwrap();
        require_near(&v4, true).unwrap();
        let mut minimum = [0; 4];
        sockopt::get(&v4, IPPROTO_IP, libc::IP_MINTTL, &mut minimum).unwrap();
        assert_eq!((v4.ttl_v4().unwrap(), minimum), (255, 255i32.to_ne_bytes()));
        let v6 = Socket::new(socket2::Domain::IPV6, Type::STREAM, None).unwrap();
        send_far(&v6, false).unwrap();
        require_near(&v6, false).unwrap();
        sockopt::get(&v6, IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT, &mut minimum).unwrap();
        assert_eq!((v6.unicast_hops_v6().unwrap(), minimum), (255, 255i32.to_ne_bytes()));
    }

    #[test]
    fn a_kernel_without_tcp_ao_is_said_to_have_none() {
        // Which it is depends on the machine; that question and refusal agree does not.
        let said = refuse_tcp_ao().to_string();
        match probe_tcp_ao() {
            TcpAo::Absent => assert_eq!(said, "this kernel has no TCP-AO (CONFIG_TCP_AO, Linux 6.7)"),
            TcpAo::Present => assert!(said.contains("not supported by this version")),
        }
    }
}
