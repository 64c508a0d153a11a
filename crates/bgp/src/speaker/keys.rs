// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which MD5 keys the listening sockets must know, and what to change so that they do. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use crate::advertise::Prefix;
use crate::config::{PeerConfig, Remote, Secret};

/// Keys by the prefix of the peers that must use them.
pub(super) type Keys = BTreeMap<Prefix, Secret>;

/// A peer and, if it is found on an interface, where it is now.
#[derive(Debug)]
pub(super) struct Keyed<'a> {
    pub(super) config: &'a PeerConfig,
    pub(super) learnt: Option<Ipv6Addr>,
}

/// The keys that these peers need, and what cannot be: neighbours of one link-local address on several interfaces with
/// different keys, because the kernel tells keys apart by address alone. The first peer's key stands.
pub(super) fn wanted<'a>(peers: impl IntoIterator<Item = Keyed<'a>>) -> (Keys, Vec<String>) {
    let mut keys = Keys::new();
    let mut owners: BTreeMap<Prefix, &PeerConfig> = BTreeMap::new();
    let mut faults = Vec::new();
    for peer in peers {
        let prefix = match &peer.config.remote {
            Remote::Address(address) => Some(Prefix::host(*address)),
            Remote::Interface { .. } => peer.learnt.map(|learnt| Prefix::host(IpAddr::V6(learnt))),
            Remote::Range { prefix, .. } => Some(*prefix),
        };
        let Some(prefix) = prefix else { continue };
        if let Some(other) = owners.get(&prefix) {
            if other.md5 != peer.config.md5 {
                faults.push(format!(
                    "peers `{}` and `{}` have the same address {} now and need the same MD5 key",
                    other.name,
                    peer.config.name,
                    prefix.address()
                ));
            }
            continue;
        }
        owners.insert(prefix, peer.config);
        if let Some(key) = &peer.config.md5 {
            keys.insert(prefix, key.clone());
        }
    }
    (keys, faults)
}

/// What to set (or, without a key, to remove) so that `before` becomes `after`.
pub(super) fn changes<'a>(before: &'a Keys, after: &'a Keys) -> Vec<(&'a Prefix, Option<&'a Secret>)> {
    let gone = before.keys().filter(|prefix| !after.contains_key(*prefix)).map(|prefix| (prefix, None));
    let set = after.iter().filter(|(prefix, key)| before.get(*prefix) != Some(*key));
    gone.chain(set.map(|(prefix, key)| (prefix, Some(key)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RemoteAs;

    fn keyed(name: &str, key: Option<&str>) -> PeerConfig {
        PeerConfig {
            md5: key.map(|key| Secret::new(key).unwrap()),
            ..PeerConfig::unnumbered(name, format!("eth-{name}"), RemoteAs::External)
        }
    }

    fn at<'a>(config: &'a PeerConfig, learnt: &str) -> Keyed<'a> {
        Keyed { config, learnt: learnt.parse().ok() }
    }

    #[test]
    fn equal_addresses_need_equal_keys() {
        let (a, b, c) = (keyed("a", Some("one")), keyed("b", Some("one")), keyed("c", None));
        let (keys, faults) = wanted([at(&a, "fe80::1"), at(&b, "fe80::1"), at(&c, "fe80::2")]);
        assert_eq!((keys.len(), faults.len()), (1, 0));
        let (keys, faults) = wanted([at(&a, "fe80::1"), at(&c, "fe80::1")]);
        assert_eq!(keys.len(), 1, "the first stands");
        assert_eq!(faults, ["peers `a` and `c` have the same address fe80::1 now and need the same MD5 key"]);
        assert_eq!(wanted([at(&a, "")]), (Keys::new(), vec![]), "nobody is there yet");
    }

    #[test]
    fn only_what_differs_is_changed() {
        let secret = |text: &str| Secret::new(text).unwrap();
        let prefix = |text: &str| text.parse::<Prefix>().unwrap();
        let before = Keys::from([
            (prefix("fe80::1/128"), secret("one")),
            (prefix("fe80::2/128"), secret("two")),
            (prefix("10.0.0.1/32"), secret("three")),
        ]);
        let after = Keys::from([
            (prefix("fe80::3/128"), secret("one")),
            (prefix("fe80::2/128"), secret("other")),
            (prefix("10.0.0.1/32"), secret("three")),
        ]);
        let changed: Vec<String> = changes(&before, &after)
            .into_iter()
            .map(|(prefix, key)| format!("{}{prefix}", if key.is_some() { '+' } else { '-' }))
            .collect();
        assert_eq!(changed, ["-fe80::1/128", "+fe80::2/128", "+fe80::3/128"]);
    }
}
