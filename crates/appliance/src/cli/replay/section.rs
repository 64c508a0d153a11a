// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `[replay]` of a document: what is found out on an appliance and given here, so that the output is exact.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use crate::config::decode_hash_seed;

/// Name of the section.
pub(super) const SECTION: &str = "replay";
/// Most interfaces that may be named.
const UPLINKS_MAX: usize = 64;
/// Most paths to one backend: one more than are ever used, so that what happens then can be seen.
const PATHS_MAX: usize = 16;
/// Source of frames that leave by an uplink without a MAC address of its own.
const UPLINK_MAC: MacText = MacText([0x02, 0, 0, 0, 0, 0x01]);
/// Where frames go when no next hop is given.
const GATEWAY_MAC: MacText = MacText([0x02, 0, 0, 0, 0, 0xfe]);
const MTU_DEFAULT: u16 = 1500;

/// The section.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Section {
    /// 64 hex digits, instead of the file that `appliance.hash_seed_file` names.
    hash_seed: Option<String>,
    /// The uplink that frames come in by; the first by name unless said.
    ingress: Option<String>,
    /// Interfaces by name.
    uplinks: BTreeMap<String, Uplink>,
    /// Paths by backend address; `*` for every address that is not named.
    next_hops: Option<BTreeMap<String, OneOrMore>>,
    /// By pool: what every row of it holds, best first.
    pub(super) rows: BTreeMap<String, Vec<String>>,
    /// By pool, then backend: what it may receive, where that is not what the document says.
    pub(super) backends: BTreeMap<String, BTreeMap<String, State>>,
    /// By pool, then backend: the share of its weight that it may carry, in 1/1000.
    pub(super) caps: BTreeMap<String, BTreeMap<String, u16>>,
    /// By VIP: whether it is up. One that is not named is.
    pub(super) vips: BTreeMap<String, VipState>,
}

/// An interface.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Uplink {
    #[serde(default = "uplink_mac")]
    mac: MacText,
}

fn uplink_mac() -> MacText {
    UPLINK_MAC
}

/// A path.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenHop {
    mac: MacText,
    uplink: Option<String>,
    #[serde(default = "mtu_default")]
    mtu: u16,
    vlan: Option<u16>,
    #[serde(default)]
    on_link: bool,
}

fn mtu_default() -> u16 {
    MTU_DEFAULT
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(GivenHop),
    More(Vec<GivenHop>),
}

/// What a backend may receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// Everything.
    Usable,
    /// The flows it has.
    Draining,
    /// Established flows as the pool's `on_failed` says.
    Failed,
    /// Nothing.
    Disabled,
}

/// Whether a VIP is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum VipState {
    /// It is announced.
    Up,
    /// It is not.
    Down,
}

/// A MAC address as `02:00:00:00:00:01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct MacText([u8; 6]);

impl TryFrom<String> for MacText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().filter(|part| part.len() == 2);
            let parsed = part.and_then(|part| u8::from_str_radix(part, 16).ok());
            *octet = parsed.ok_or_else(|| format!("`{text}` is no MAC address like 02:00:00:00:00:01"))?;
        }
        match parts.next() {
            None => Ok(Self(octets)),
            Some(_) => Err(format!("`{text}` is no MAC address like 02:00:00:00:00:01")),
        }
    }
}

/// One way to a backend, in plain values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hop {
    /// Index among [`Section::uplinks`].
    pub(super) uplink: usize,
    pub(super) source_mac: [u8; 6],
    pub(super) destination_mac: [u8; 6],
    pub(super) mtu: u16,
    pub(super) vlan: Option<u16>,
    pub(super) is_on_link: bool,
}

impl Section {
    /// The section of a document's text; an empty one when it has none.
    pub(super) fn read(file: &Path, text: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Apart {
            #[serde(default)]
            replay: Section,
        }
        let Apart { replay } =
            toml::from_str(text).with_context(|| format!("section `[{SECTION}]` of {}", file.display()))?;
        ensure!(replay.uplinks.len() <= UPLINKS_MAX, "`[replay.uplinks]` names more than {UPLINKS_MAX}");
        if let Some(ingress) = &replay.ingress {
            ensure!(
                replay.uplinks.contains_key(ingress),
                "`replay.ingress` is `{ingress}`, which `[replay.uplinks]` does not have"
            );
        }
        Ok(replay)
    }

    /// The seed, if it is written here.
    pub(super) fn hash_seed(&self) -> Result<Option<[u8; 32]>> {
        let seed = |digits: &String| {
            decode_hash_seed(digits.as_bytes()).context("`replay.hash_seed` is not 64 hex digits")
        };
        self.hash_seed.as_ref().map(seed).transpose()
    }

    /// Names of the uplinks; frames come in by the first.
    pub(super) fn uplinks(&self) -> Vec<String> {
        let ingress = self.ingress.as_ref().or_else(|| self.uplinks.keys().next());
        let Some(ingress) = ingress else { return vec!["uplink".to_owned()] };
        let others = self.uplinks.keys().filter(|name| *name != ingress);
        std::iter::once(ingress).chain(others).cloned().collect()
    }

    /// Paths to the backend with `address`; none when it is unresolved.
    pub(super) fn hops(&self, address: IpAddr) -> Result<Vec<Hop>> {
        let Some(given) = &self.next_hops else {
            let mac = self.mac_of(&self.uplinks()[0]);
            let to = GATEWAY_MAC.0;
            let hop = Hop {
                uplink: 0,
                source_mac: mac,
                destination_mac: to,
                mtu: MTU_DEFAULT,
                vlan: None,
                is_on_link: false,
            };
            return Ok(vec![hop]);
        };
        let mut found = given.get("*");
        for (key, paths) in given {
            if key == "*" {
                continue;
            }
            let key: IpAddr =
                key.parse().with_context(|| format!("`replay.next_hops.\"{key}\"` is no address"))?;
            if key == address {
                found = Some(paths);
            }
        }
        let paths = match found {
            None => &[][..],
            Some(OneOrMore::One(path)) => std::slice::from_ref(path),
            Some(OneOrMore::More(paths)) => paths,
        };
        ensure!(paths.len() <= PATHS_MAX, "`{address}` has more than {PATHS_MAX} next hops");
        let uplinks = self.uplinks();
        paths.iter().map(|path| self.hop(path, &uplinks)).collect()
    }

    fn hop(&self, path: &GivenHop, uplinks: &[String]) -> Result<Hop> {
        let uplink = match &path.uplink {
            None => 0,
            Some(name) => match uplinks.iter().position(|known| known == name) {
                Some(index) => index,
                None => bail!("a next hop names uplink `{name}`, which `[replay.uplinks]` does not have"),
            },
        };
        if let Some(vlan) = path.vlan {
            ensure!((1..=4094).contains(&vlan), "VLAN {vlan} of a next hop; 1 to 4094 are possible");
        }
        Ok(Hop {
            uplink,
            source_mac: self.mac_of(&uplinks[uplink]),
            destination_mac: path.mac.0,
            mtu: path.mtu,
            vlan: path.vlan,
            is_on_link: path.on_link,
        })
    }

    fn mac_of(&self, uplink: &str) -> [u8; 6] {
        self.uplinks.get(uplink).map_or(UPLINK_MAC, |uplink| uplink.mac).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> Result<Section> {
        Section::read(Path::new("x.toml"), text)
    }

    #[test]
    fn without_a_section_every_backend_has_a_next_hop() {
        let section = section("[pools]").unwrap();
        assert_eq!(section.uplinks(), ["uplink"]);
        let hops = section.hops("10.1.0.1".parse().unwrap()).unwrap();
        assert_eq!((hops.len(), hops[0].mtu, hops[0].destination_mac), (1, 1500, GATEWAY_MAC.0));
        assert_eq!(section.hash_seed().unwrap(), None);
    }

    #[test]
    fn paths_are_those_of_the_address_or_of_the_star() {
        let text = r#"
            [replay]
            ingress = "eth1"
            hash_seed = "0101010101010101010101010101010101010101010101010101010101010101"
            [replay.uplinks]
            eth0 = { mac = "02:00:00:00:00:10" }
            eth1 = {}
            [replay.next_hops]
            "*" = { mac = "02:00:00:00:00:fe" }
            "10.1.0.1" = [
                { mac = "02:00:00:00:00:aa", uplink = "eth0", vlan = 7, mtu = 9000 },
                { mac = "02:00:00:00:00:bb", on_link = true },
            ]
            "2001:db8::1" = []
        "#;
        let section = section(text).unwrap();
        assert_eq!(section.hash_seed().unwrap(), Some([1; 32]));
        assert_eq!(section.uplinks(), ["eth1", "eth0"]);
        let hops = section.hops("10.1.0.1".parse().unwrap()).unwrap();
        assert_eq!((hops[0].uplink, hops[0].source_mac[5], hops[0].vlan), (1, 0x10, Some(7)));
        assert_eq!((hops[1].uplink, hops[1].source_mac[5], hops[1].is_on_link), (0, 0x01, true));
        assert_eq!(section.hops("10.1.0.9".parse().unwrap()).unwrap()[0].destination_mac[5], 0xfe);
        assert!(section.hops("2001:db8::1".parse().unwrap()).unwrap().is_empty());
    }

    #[test]
    fn slips_are_refused_with_their_place() {
        for (text, words) in [
            ("[replay]\nseed = 1", "seed"),
            ("[replay.uplinks]\neth0 = { mac = \"02:00\" }", "MAC address"),
            ("[replay]\ningress = \"eth9\"", "replay.ingress"),
            ("[replay.vips]\nwww = \"sideways\"", "sideways"),
            ("[replay.backends.web]\nb1 = \"dead\"", "dead"),
        ] {
            let error = format!("{:#}", section(text).unwrap_err());
            assert!(error.contains(words), "{text}: {error}");
        }
        let section = section("[replay.next_hops]\nx = { mac = \"02:00:00:00:00:01\" }").unwrap();
        assert!(section.hops("10.1.0.1".parse().unwrap()).is_err());
    }
}
