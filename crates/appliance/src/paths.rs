// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The ways to backends: their next hops, with the MTUs that routers on the way tell, and what else those say made visible.
//!
//! ```text
//! next_hop resolver ─► path listener ─► reconciler
//!                        └─ what is known ─► conditions
//! ```

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::watch;
use weir_dataplane::next_hop::{NextHopHandle, NextHopResolver, NextHops, StartError};
use weir_dataplane::path::{PathListener, PathStatus};

use crate::model::{Document, Mode};
use crate::state::{Conditions, Severity};
use crate::store::Accepted;

/// Nothing is heard of what routers say about encapsulated packets.
pub const PATHS_UNHEARD: &str = "paths-unheard";
/// Paths to backends have a smaller MTU than the links they begin with; clients are told what fits.
pub const PATH_MTU_LOW: &str = "path-mtu-low";
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
    use weir_dataplane::path::known::PathState;
    use weir_dataplane::path::message::Refusal;

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
            status.insert([10, 1, 0, last].into(), PathState { mtu: Some(1392), refused: None });
        }
        show(&status, &conditions);
        assert!(words(PATH_MTU_LOW).unwrap().ends_with("10.1.0.16 1392 bytes; and 3 more"));
        show(&PathStatus::new(), &conditions);
        assert_eq!((words(PATH_MTU_LOW), words(PATH_REFUSED)), (None, None));
    }
}
