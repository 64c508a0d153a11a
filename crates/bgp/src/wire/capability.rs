// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Capabilities of OPEN (RFC 5492): all that are known are read, all that are not are kept.
//!
//! A known code whose value has an impossible length is kept as [`Capability::Unknown`]: it must not cost the session.

use std::fmt;

use super::cursor::Cursor;
use super::iana::capability_code as code;
use super::mp::AfiSafi;
use super::notification::sanitised;

/// One entry of the extended next hop capability: this family may have next hops of that AFI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtendedNextHop {
    /// The family.
    pub family: AfiSafi,
    /// AFI of the next hop.
    pub next_hop_afi: u16,
}

/// One capability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capability {
    /// 1: this family is spoken.
    Multiprotocol(AfiSafi),
    /// 2.
    RouteRefresh,
    /// 128, the same before it had a number.
    RouteRefreshCisco,
    /// 5.
    ExtendedNextHop(Vec<ExtendedNextHop>),
    /// 6.
    ExtendedMessage,
    /// 9.
    Role(u8),
    /// 64.
    GracefulRestart {
        /// The sender has just restarted (R).
        is_restarting: bool,
        /// NOTIFICATIONs keep the routes too (N, RFC 8538).
        has_notification: bool,
        /// Restart time in seconds, 12 bits.
        time_s: u16,
        /// Families and whether their forwarding was preserved (F).
        families: Vec<(AfiSafi, bool)>,
    },
    /// 65: the sender's AS number.
    FourOctetAs(u32),
    /// 69: families and mode (1 receive, 2 send, 3 both).
    AddPath(Vec<(AfiSafi, u8)>),
    /// 70.
    EnhancedRouteRefresh,
    /// 71: families, flags and stale time in seconds.
    LongLivedGracefulRestart(Vec<(AfiSafi, u8, u32)>),
    /// 73.
    Fqdn {
        /// Host name, cleaned for display.
        host: String,
        /// Domain name, cleaned for display.
        domain: String,
    },
    /// 75: name and version, cleaned for display.
    SoftwareVersion(String),
    /// Anything else, kept for display.
    Unknown {
        /// Its code.
        code: u8,
        /// Its value.
        value: Vec<u8>,
    },
}

impl Capability {
    /// Reads the value of capability `code`.
    pub fn decode(code: u8, value: &[u8]) -> Self {
        Self::decode_known(code, value).unwrap_or_else(|| Self::Unknown { code, value: value.to_vec() })
    }

    /// `None` if the code is not known or the value does not fit it.
    fn decode_known(code: u8, value: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(value);
        let capability = match code {
            code::MULTIPROTOCOL => {
                let [a, b, _reserved, safi] = cursor.array()?;
                Self::Multiprotocol(AfiSafi { afi: u16::from_be_bytes([a, b]), safi })
            }
            code::ROUTE_REFRESH => Self::RouteRefresh,
            code::ROUTE_REFRESH_CISCO => Self::RouteRefreshCisco,
            code::EXTENDED_NEXT_HOP => {
                Self::ExtendedNextHop(entries(&mut cursor, |[a, b, _, safi, n, m]| {
                    let family = AfiSafi { afi: u16::from_be_bytes([a, b]), safi };
                    ExtendedNextHop { family, next_hop_afi: u16::from_be_bytes([n, m]) }
                }))
            }
            code::EXTENDED_MESSAGE => Self::ExtendedMessage,
            code::ROLE => Self::Role(cursor.u8()?),
            code::GRACEFUL_RESTART => {
                let word = cursor.u16()?;
                Self::GracefulRestart {
                    is_restarting: word & 0x8000 != 0,
                    has_notification: word & 0x4000 != 0,
                    time_s: word & 0x0fff,
                    families: entries(&mut cursor, |[a, b, safi, flags]| {
                        (AfiSafi { afi: u16::from_be_bytes([a, b]), safi }, flags & 0x80 != 0)
                    }),
                }
            }
            code::FOUR_OCTET_AS => Self::FourOctetAs(cursor.u32()?),
            code::ADD_PATH => Self::AddPath(entries(&mut cursor, |[a, b, safi, mode]| {
                (AfiSafi { afi: u16::from_be_bytes([a, b]), safi }, mode)
            })),
            code::ENHANCED_ROUTE_REFRESH => Self::EnhancedRouteRefresh,
            code::LONG_LIVED_GRACEFUL_RESTART => {
                Self::LongLivedGracefulRestart(entries(&mut cursor, |[a, b, safi, flags, x, y, z]| {
                    let family = AfiSafi { afi: u16::from_be_bytes([a, b]), safi };
                    (family, flags, u32::from_be_bytes([0, x, y, z]))
                }))
            }
            code::FQDN => {
                let host = text(&mut cursor)?;
                let domain = text(&mut cursor)?;
                Self::Fqdn { host, domain }
            }
            code::SOFTWARE_VERSION => Self::SoftwareVersion(text(&mut cursor)?),
            _ => return None,
        };
        cursor.is_empty().then_some(capability)
    }

    /// Appends code, length and value; capabilities beyond 255 octets are not built by us and are left out.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (code, value) = self.raw();
        if let Ok(length) = u8::try_from(value.len()) {
            out.extend_from_slice(&[code, length]);
            out.extend_from_slice(&value);
        }
    }

    /// Its code.
    pub fn code(&self) -> u8 {
        self.raw().0
    }

    fn raw(&self) -> (u8, Vec<u8>) {
        let mut value = Vec::new();
        let code = match self {
            Self::Multiprotocol(family) => {
                value.extend_from_slice(&family.afi.to_be_bytes());
                value.extend_from_slice(&[0, family.safi]);
                code::MULTIPROTOCOL
            }
            Self::RouteRefresh => code::ROUTE_REFRESH,
            Self::RouteRefreshCisco => code::ROUTE_REFRESH_CISCO,
            Self::ExtendedNextHop(list) => {
                for entry in list {
                    value.extend_from_slice(&entry.family.afi.to_be_bytes());
                    value.extend_from_slice(&[0, entry.family.safi]);
                    value.extend_from_slice(&entry.next_hop_afi.to_be_bytes());
                }
                code::EXTENDED_NEXT_HOP
            }
            Self::ExtendedMessage => code::EXTENDED_MESSAGE,
            Self::Role(role) => {
                value.push(*role);
                code::ROLE
            }
            Self::GracefulRestart { is_restarting, has_notification, time_s, families } => {
                let flags = u16::from(*is_restarting) << 15 | u16::from(*has_notification) << 14;
                value.extend_from_slice(&(flags | (time_s & 0x0fff)).to_be_bytes());
                for (family, is_preserved) in families {
                    value.extend_from_slice(&family.to_octets());
                    value.push(u8::from(*is_preserved) << 7);
                }
                code::GRACEFUL_RESTART
            }
            Self::FourOctetAs(asn) => {
                value.extend_from_slice(&asn.to_be_bytes());
                code::FOUR_OCTET_AS
            }
            Self::AddPath(list) => {
                for (family, mode) in list {
                    value.extend_from_slice(&family.to_octets());
                    value.push(*mode);
                }
                code::ADD_PATH
            }
            Self::EnhancedRouteRefresh => code::ENHANCED_ROUTE_REFRESH,
            Self::LongLivedGracefulRestart(list) => {
                for (family, flags, time_s) in list {
                    value.extend_from_slice(&family.to_octets());
                    value.push(*flags);
                    value.extend_from_slice(&time_s.to_be_bytes()[1..]);
                }
                code::LONG_LIVED_GRACEFUL_RESTART
            }
            Self::Fqdn { host, domain } => {
                push_text(&mut value, host);
                push_text(&mut value, domain);
                code::FQDN
            }
            Self::SoftwareVersion(version) => {
                push_text(&mut value, version);
                code::SOFTWARE_VERSION
            }
            Self::Unknown { code, value: octets } => {
                value.extend_from_slice(octets);
                *code
            }
        };
        (code, value)
    }
}

/// Reads entries of `N` octets until fewer are left; what is left makes the capability malformed.
fn entries<const N: usize, T>(cursor: &mut Cursor<'_>, read: impl Fn([u8; N]) -> T) -> Vec<T> {
    std::iter::from_fn(|| cursor.array::<N>()).map(read).collect()
}

fn text(cursor: &mut Cursor<'_>) -> Option<String> {
    let length = cursor.u8()?;
    Some(sanitised(&String::from_utf8_lossy(cursor.take(usize::from(length))?)))
}

/// Longest text of a capability that we build: two of them and their lengths fit the capability's 255 octets.
const TEXT_MAX: usize = 64;

fn push_text(out: &mut Vec<u8>, text: &str) {
    let end = (0..=text.len().min(TEXT_MAX)).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    out.push(u8::try_from(end).expect("TEXT_MAX is below 256"));
    out.extend_from_slice(&text.as_bytes()[..end]);
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Multiprotocol(family) => write!(f, "MP {family}"),
            Self::RouteRefresh => f.write_str("route-refresh"),
            Self::RouteRefreshCisco => f.write_str("route-refresh(cisco 128)"),
            Self::ExtendedNextHop(list) => {
                f.write_str("ENHE")?;
                list.iter().try_for_each(|e| write!(f, " {}->{}", e.family, e.next_hop_afi))
            }
            Self::ExtendedMessage => f.write_str("extended-message"),
            Self::Role(role) => write!(f, "role {role}"),
            Self::GracefulRestart { is_restarting, has_notification, time_s, families } => {
                let (r, n) = (u8::from(*is_restarting), u8::from(*has_notification));
                write!(f, "GR R={r} N={n} time={time_s}")?;
                if families.is_empty() {
                    f.write_str(" no-AFI")?;
                }
                families.iter().try_for_each(|(family, kept)| write!(f, " {family}:F={}", u8::from(*kept)))
            }
            Self::FourOctetAs(asn) => write!(f, "AS4 {asn}"),
            Self::AddPath(list) => {
                f.write_str("ADD-PATH")?;
                list.iter().try_for_each(|(family, mode)| write!(f, " {family}:{mode}"))
            }
            Self::EnhancedRouteRefresh => f.write_str("enhanced-route-refresh"),
            Self::LongLivedGracefulRestart(list) => {
                f.write_str(if list.is_empty() { "LLGR empty" } else { "LLGR" })?;
                list.iter().try_for_each(|(family, flags, time)| {
                    write!(f, " {family}:flags={flags:#x},stale={time}")
                })
            }
            Self::Fqdn { host, domain } => write!(f, "FQDN host='{host}' domain='{domain}'"),
            Self::SoftwareVersion(version) => write!(f, "software-version '{version}'"),
            Self::Unknown { code, value } => {
                write!(f, "unknown {code} ")?;
                value.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_code_of_wrong_length_is_kept_raw() {
        for (code, value) in
            [(1, &[0u8, 1][..]), (65, &[0, 0, 1]), (5, &[0; 7]), (64, &[0]), (73, &[9, 65]), (2, &[1])]
        {
            let capability = Capability::decode(code, value);
            assert_eq!(capability, Capability::Unknown { code, value: value.to_vec() });
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let family = AfiSafi { afi: 2, safi: 1 };
        let all = [
            Capability::Multiprotocol(family),
            Capability::RouteRefresh,
            Capability::RouteRefreshCisco,
            Capability::ExtendedNextHop(vec![ExtendedNextHop { family, next_hop_afi: 2 }]),
            Capability::ExtendedMessage,
            Capability::Role(3),
            Capability::GracefulRestart {
                is_restarting: true,
                has_notification: false,
                time_s: 120,
                families: vec![(family, true)],
            },
            Capability::FourOctetAs(4_200_000_001),
            Capability::AddPath(vec![(family, 1)]),
            Capability::EnhancedRouteRefresh,
            Capability::LongLivedGracefulRestart(vec![(family, 0x80, 3600)]),
            Capability::Fqdn { host: "lb1".into(), domain: "lab".into() },
            Capability::SoftwareVersion("weir/0.1".into()),
            Capability::Unknown { code: 200, value: vec![1, 2] },
        ];
        for capability in all {
            let mut out = vec![];
            capability.encode(&mut out);
            assert_eq!(usize::from(out[1]), out.len() - 2);
            assert_eq!(Capability::decode(out[0], &out[2..]), capability);
        }
    }
}
