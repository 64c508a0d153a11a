// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the document says of tunnels: UDP ports of GUE, and the room they take from segments.

use std::collections::BTreeSet;

use toml::Spanned;
use toml::de::DeValue;
use weir_dataplane_core::decap::GUE_PORTS_MAX;

use super::Reader;

/// TCP over IPv4 and over IPv6, without options: what is between an MSS and a packet (RFC 9293 §3.7.1).
const HEADERS_V4: u16 = 40;
const HEADERS_V6: u16 = 60;
/// The least that is announced: below it stacks ignore the option or crawl (RFC 9293 §3.7.1, for IPv4).
const MSS_MIN: u16 = 536;
const PATH_MTU_MIN: i64 = 1_280;
/// The most that a tunnel can add: outer IPv6, UDP, GUE with all its words.
const OVERHEAD_MAX: i64 = 40 + 8 + 4 + 31 * 4;

/// How far the MSS in SYN-ACKs of VIPs is lowered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mss {
    /// Largest packet on the way from the appliances, in bytes, outer headers included.
    pub path_mtu: u16,
    /// What the appliances add to a packet, in bytes.
    pub overhead: u16,
}

impl Mss {
    /// The largest segment of a packet that fits, over IPv4.
    pub fn v4(&self) -> u16 {
        self.path_mtu - self.overhead - HEADERS_V4
    }

    /// The same over IPv6.
    pub fn v6(&self) -> u16 {
        self.path_mtu - self.overhead - HEADERS_V6
    }
}

impl Reader {
    /// `gue_ports = [6080]`; an empty list: none.
    pub(super) fn gue_ports(&mut self, value: &Spanned<DeValue<'_>>) -> Option<BTreeSet<u16>> {
        let Some(items) = value.get_ref().as_array().filter(|items| items.len() <= GUE_PORTS_MAX as usize)
        else {
            let message = format!("gue_ports: expected a list of at most {GUE_PORTS_MAX} UDP ports");
            self.wrong(value.span().start, message);
            return None;
        };
        let mut ports = BTreeSet::new();
        for item in items {
            match integer(item.get_ref()).and_then(|port| u16::try_from(port).ok()) {
                Some(port) if port != 0 => {
                    if !ports.insert(port) {
                        self.wrong(item.span().start, format!("gue_ports: found {port} twice"));
                    }
                }
                _ => self.wrong(item.span().start, "gue_ports: expected 1 to 65535".to_owned()),
            }
        }
        Some(ports)
    }

    /// `mss = { path_mtu = 1500, overhead = 56 }`.
    pub(super) fn mss(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Mss> {
        let at = value.span().start;
        let Some(table) = value.get_ref().as_table() else {
            self.wrong(at, "mss: expected a table like `{ path_mtu = 1500, overhead = 56 }`".to_owned());
            return None;
        };
        for (key, _) in table {
            if !["path_mtu", "overhead"].contains(&key.get_ref().as_ref()) {
                let message = format!("mss: unknown key `{}`; known: path_mtu, overhead", key.get_ref());
                self.wrong(key.span().start, message);
            }
        }
        let mut number = |key: &str, least: i64, most: i64| {
            let found = table.get(key).and_then(|value| integer(value.get_ref()));
            let valid = found.filter(|found| (least..=most).contains(found));
            if valid.is_none() {
                self.wrong(at, format!("mss: expected `{key}` of {least} to {most} bytes"));
            }
            valid.and_then(|number| u16::try_from(number).ok())
        };
        let path_mtu = number("path_mtu", PATH_MTU_MIN, 65_535);
        let overhead = number("overhead", 0, OVERHEAD_MAX);
        let mss = Mss { path_mtu: path_mtu?, overhead: overhead? };
        // Cannot be with these bounds; a change of one must not go unseen.
        if mss.v6() < MSS_MIN {
            self.wrong(at, format!("mss: would be below {MSS_MIN}"));
            return None;
        }
        Some(mss)
    }
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}
