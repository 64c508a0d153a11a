// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The ways to backends: their next hops, with the MTUs that routers on the way tell, and what else those say made visible.
//!
//! ```text
//! next_hop resolver ─► path listener ─► reconciler
//!                        └─ what is known ─► conditions ◄─ links whose MTU is too small
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::watch;
use weir_dataplane::next_hop::{NextHopHandle, NextHopResolver, NextHops, StartError};
use weir_dataplane::path::known::IPV6_MTU_MIN;
use weir_dataplane::path::{PathListener, PathStatus};
use weir_dataplane_core::encap::overhead_max;

use crate::model::{Document, Mode, Service};
use crate::reconcile::backends::mode;
use crate::state::{Conditions, Severity};
use crate::store::Accepted;

/// Nothing is heard of what routers say about encapsulated packets.
pub const PATHS_UNHEARD: &str = "paths-unheard";
/// Paths to backends have a smaller MTU than the links they begin with; clients are told what fits.
pub const PATH_MTU_LOW: &str = "path-mtu-low";
/// Links towards backends have so little that IPv6 clients cannot be told what fits: too large packets of theirs are lost.
pub const LINK_MTU_LOW: &str = "link-mtu-low";
/// Routers or backends say that encapsulated packets do not arrive.
pub const PATH_REFUSED: &str = "path-refused";

/// Backends that a condition names; of more it says how many.
const NAMED_MAX: usize = 8;

/// The resolver and the listener behind it.
#[derive(Debug)]
pub struct Ways {
    resolver: NextHopHandle,
    answers: watch::Receiver<Arc<NextHops>>,
}

impl Ways {
    /// Starts both for `documents`, of which the uplinks and source addresses of the first count. Without the right to hear
    /// ICMP the next hops are as the resolver says, and a condition tells.
    pub fn start(
        documents: watch::Receiver<Arc<Accepted>>,
        conditions: Conditions,
    ) -> Result<Self, StartError> {
        let (uplinks, sources) = {
            let accepted = documents.borrow();
            let appliance = &accepted.document.appliance;
            let v4 = appliance.source_v4.map(IpAddr::from);
            let v6 = appliance.source_v6.map(IpAddr::from);
            (accepted.document.uplinks.keys().cloned().collect(), v4.into_iter().chain(v6).collect())
        };
        let resolver = NextHopResolver::start(uplinks)?;
        tokio::spawn(follow_links(resolver.watch(), documents.clone(), conditions.clone()));
        let answers = match PathListener::start(sources, resolver.watch()) {
            Ok(listener) => {
                let answers = listener.next_hops();
                tokio::spawn(follow(listener, documents, conditions));
                answers
            }
            Err(error) => {
                let why = std::error::Error::source(&error).map(|source| format!(": {source}"));
                let message = format!("{error}{}", why.unwrap_or_default());
                conditions.raise(PATHS_UNHEARD, Severity::Warning, message);
                resolver.watch()
            }
        };
        Ok(Self { resolver, answers })
    }

    /// As [`NextHopHandle::set_destinations`].
    pub fn set_destinations(&self, destinations: BTreeSet<IpAddr>) {
        self.resolver.set_destinations(destinations);
    }

    /// Next hops as they are to be used.
    pub fn watch(&self) -> watch::Receiver<Arc<NextHops>> {
        self.answers.clone()
    }

    /// As [`NextHopHandle::shutdown`].
    pub async fn shutdown(self) {
        self.resolver.shutdown().await;
    }
}

/// Keeps the listener's ports those of the document, and the conditions those of the paths. Ends with either.
async fn follow(
    listener: PathListener,
    mut documents: watch::Receiver<Arc<Accepted>>,
    conditions: Conditions,
) {
    let mut status = listener.status();
    loop {
        listener.set_ports(ports(&documents.borrow_and_update().document));
        show(&status.borrow_and_update(), &conditions);
        // CANCEL: a change that was not seen is seen by the next turn.
        let changed = tokio::select! {
            changed = documents.changed() => changed,
            changed = status.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Keeps the condition about links what next hops and document say. Ends with either.
async fn follow_links(
    mut next_hops: watch::Receiver<Arc<NextHops>>,
    mut documents: watch::Receiver<Arc<Accepted>>,
    conditions: Conditions,
) {
    loop {
        let short = short_links(&documents.borrow_and_update().document, &next_hops.borrow_and_update());
        set(&conditions, LINK_MTU_LOW, "IPv6 clients cannot be told what fits on the way to", short);
        // CANCEL: a change that was not seen is seen by the next turn.
        let changed = tokio::select! {
            changed = documents.changed() => changed,
            changed = next_hops.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Backends of IPv6 VIPs over whose links not even the least packet fits that every IPv6 client may send.
fn short_links(document: &Document, hops: &NextHops) -> Vec<String> {
    let serves_v6 = |service: &&Service| {
        document.vips.get(&service.vip).is_some_and(|vip| vip.prefix.address().is_ipv6())
    };
    let pools: BTreeSet<&String> =
        document.services.values().filter(serves_v6).map(|one| &one.pool).collect();
    let mut short = BTreeMap::new();
    for pool in pools.into_iter().filter_map(|name| document.pools.get(name)) {
        let mode = mode(&pool.mode);
        for address in pool.backends.values().map(|backend| backend.address) {
            let Some(Ok(hops)) = hops.get(&address) else { continue };
            let mtus = hops.iter().filter(|hop| mode.can_use(hop)).map(|hop| hop.mtu);
            let Some(mtu) = mtus.min() else { continue };
            let needed = u32::from(IPV6_MTU_MIN) + overhead_max(mode.number(), address.is_ipv6());
            if u32::from(mtu) < needed {
                let known = short.entry(address).or_insert((mtu, needed));
                known.1 = needed.max(known.1);
            }
        }
    }
    let words =
        |(address, (mtu, needed))| format!("{address}: the link has {mtu} bytes, {needed} are needed");
    short.into_iter().map(words).collect()
}

/// UDP destination ports of outer headers.
fn ports(document: &Document) -> BTreeSet<u16> {
    let port = |mode: &Mode| match mode {
        Mode::Gue(gue) => Some(gue.port),
        Mode::Ipip | Mode::L2 => None,
    };
    document.pools.values().filter_map(|pool| port(&pool.mode)).collect()
}

/// Raises and clears what the paths say.
fn show(status: &PathStatus, conditions: &Conditions) {
    let low = status.iter().filter_map(|(backend, path)| Some(format!("{backend} {} bytes", path.mtu?)));
    set(conditions, PATH_MTU_LOW, "smaller MTU on the way to", low.collect());
    let refused = status.iter().filter_map(|(backend, path)| {
        let (why, router) = path.refused?;
        Some(format!("{backend}: {}, says {router}", why.words()))
    });
    set(conditions, PATH_REFUSED, "packets do not reach", refused.collect());
}

fn set(conditions: &Conditions, code: &'static str, what: &str, backends: Vec<String>) {
    if backends.is_empty() {
        conditions.clear(code);
        return;
    }
    let more = backends.len().saturating_sub(NAMED_MAX);
    let mut words = backends.into_iter().take(NAMED_MAX).collect::<Vec<_>>().join("; ");
    if more > 0 {
        words.push_str(&format!("; and {more} more"));
    }
    conditions.raise(code, Severity::Warning, format!("{what} {words}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_dataplane::next_hop::NextHop;
    use weir_dataplane::path::known::PathState;
    use weir_dataplane::path::message::Refusal;

    #[test]
    fn links_are_told_where_an_ipv6_client_could_not_be() {
        let text = r#"
            [appliance]
            name = "lb1"
            router_id = "192.0.2.1"
            source_v4 = "192.0.2.1"
            source_v6 = "2001:db8:ffff::1"
            hash_seed_file = "/etc/weir/hash-seed"
            [uplinks.eth0]
            xdp = "native"
            [bgp]
            asn = 65010
            [vips.four]
            address = "198.51.100.10"
            [vips.six]
            address = "2001:db8:100::10"
            [services.four]
            vip = "four"
            protocol = "tcp"
            port = 80
            pool = "ipip"
            [services.six]
            vip = "six"
            protocol = "tcp"
            port = 80
            pool = "gue"
            [pools.ipip]
            mode = "ipip"
            [pools.ipip.backends.b1]
            address = "10.1.0.1"
            [pools.gue]
            mode = "gue"
            [pools.gue.backends.b1]
            address = "10.1.0.1"
            [pools.gue.backends.b2]
            address = "2001:db8:1::2"
            [pools.gue.backends.b3]
            address = "10.1.0.3"
        "#;
        let document = crate::config::parse("weir.toml", text).expect("a good document");
        let hop = |mtu| NextHop {
            ifindex: 2,
            source_mac: [2; 6],
            destination_mac: [4; 6],
            mtu,
            vlan: None,
            is_on_link: true,
        };
        let hops = |v4, v6| -> NextHops {
            [
                ("10.1.0.1".parse().unwrap(), Ok(vec![hop(1500), hop(v4)])),
                ("2001:db8:1::2".parse().unwrap(), Ok(vec![hop(v6)])),
                ("10.1.0.3".parse().unwrap(), Err(weir_dataplane::next_hop::Unresolved::NoRoute)),
            ]
            .into()
        };
        // 1,280 and 32 or 52 octets.
        assert_eq!(short_links(&document, &hops(1_312, 1_332)), [""; 0]);
        assert_eq!(
            short_links(&document, &hops(1_311, 1_331)),
            [
                "10.1.0.1: the link has 1311 bytes, 1312 are needed",
                "2001:db8:1::2: the link has 1331 bytes, 1332 are needed"
            ]
        );
        // IPv4 clients can be told of any link.
        let mut of_four = document;
        of_four.services.remove("six");
        assert_eq!(short_links(&of_four, &hops(600, 600)), [""; 0]);
    }

    #[test]
    fn paths_are_told_as_conditions_and_cleared() {
        let conditions = Conditions::new();
        let words = |code: &str| conditions.raised().get(code).map(|condition| condition.message.clone());
        let router: IpAddr = "172.16.0.9".parse().unwrap();
        let mut status: PathStatus = [
            ("10.1.0.3".parse().unwrap(), PathState { mtu: Some(1400), refused: None }),
            ("10.1.0.4".parse().unwrap(), PathState { mtu: None, refused: Some((Refusal::Port, router)) }),
        ]
        .into();
        show(&status, &conditions);
        assert_eq!(words(PATH_MTU_LOW).unwrap(), "smaller MTU on the way to 10.1.0.3 1400 bytes");
        let refused =
            "packets do not reach 10.1.0.4: it does not listen on the tunnel's port, says 172.16.0.9";
        assert_eq!(words(PATH_REFUSED).unwrap(), refused);
        for last in 10..20 {
            status.insert([10, 1, 0, last].into(), PathState { mtu: Some(1408), refused: None });
        }
        show(&status, &conditions);
        assert!(words(PATH_MTU_LOW).unwrap().ends_with("10.1.0.16 1408 bytes; and 3 more"));
        show(&PathStatus::new(), &conditions);
        assert_eq!((words(PATH_MTU_LOW), words(PATH_REFUSED)), (None, None));
    }
}
