// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What taking backends out would do to VIPs, told before it is done. Pure: reads what the API says.
//!
//! A pool serves a VIP while its usable backends reach the VIP's low mark; a VIP is fit while the services that it
//! requires are served (`[vips.*.announce]`). Only VIPs that are fit now can be lost.

use std::collections::{BTreeMap, BTreeSet};

use weir_api::v1::{BackendState, PoolStatus, ServiceStatus, Spec, Status, Vip};

use crate::overrides::Target;

/// A VIP that a change would cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loss {
    /// Name of the VIP.
    pub(super) vip: String,
    /// Its services that would not be served any more.
    pub(super) services: Vec<String>,
    /// What then becomes of it.
    pub(super) effect: &'static str,
}

/// The VIPs that would be lost if `target` took no new flows any more. Empty for targets that are not backends.
pub(super) fn losses(target: &Target, status: &Status, vips: &[Vip]) -> Vec<Loss> {
    let (pool, backend) = match target {
        Target::Appliance | Target::Vip(_) => return Vec::new(),
        Target::Pool(pool) => (pool, None),
        Target::Backend { pool, backend } => (pool, Some(backend)),
    };
    let is_out = |of: &str, name: &str| of == pool && backend.is_none_or(|backend| backend == name);
    let mut services: BTreeMap<&str, Services<'_>> = BTreeMap::new();
    for (name, service) in &status.services {
        services.entry(&service.vip).or_default().push((name, service));
    }
    let of = |vip: &Vip| services.get(vip.name.as_str()).map_or(&[][..], Vec::as_slice);
    vips.iter().filter_map(|vip| loss(vip, of(vip), status, is_out)).collect()
}

/// Services of one VIP, with their names.
type Services<'a> = Vec<(&'a str, &'a ServiceStatus)>;

fn loss(
    vip: &Vip,
    services: &[(&str, &ServiceStatus)],
    status: &Status,
    is_out: impl Fn(&str, &str) -> bool,
) -> Option<Loss> {
    if !vip.status.announce_desired && !vip.status.announced {
        return None;
    }
    let announce = vip.spec.get("announce").and_then(|value| value.as_object()).cloned().unwrap_or_default();
    let low = Low::read(&announce);
    let mut now = BTreeSet::new();
    let mut then = BTreeSet::new();
    let mut lost = Vec::new();
    for (name, service) in services.iter().copied() {
        let Some(pool) = status.pools.get(&service.pool) else { continue };
        let is_served_now = low.is_reached(pool, |_| false);
        let is_served_then = low.is_reached(pool, |backend| is_out(&service.pool, backend));
        if is_served_now {
            now.insert(name);
        }
        if is_served_then {
            then.insert(name);
        }
        if is_served_now && !is_served_then {
            lost.push(name.to_owned());
        }
    }
    if lost.is_empty() || !is_fit(&announce, services, &now) || is_fit(&announce, services, &then) {
        return None;
    }
    let effect = match announce.get("on_all_down").and_then(|value| value.as_str()) {
        Some("keep") => "would go on being announced without a backend",
        Some("deprioritise") => "would be announced with the least preference",
        _ => "would be withdrawn",
    };
    Some(Loss { vip: vip.name.clone(), services: lost, effect })
}

/// Whether the served services are those that the VIP requires.
fn is_fit(announce: &Spec, services: &[(&str, &ServiceStatus)], served: &BTreeSet<&str>) -> bool {
    match announce.get("require") {
        Some(serde_json::Value::Array(names)) => {
            names.iter().filter_map(|name| name.as_str()).all(|name| served.contains(name))
        }
        Some(serde_json::Value::String(word)) if word == "any" => !served.is_empty(),
        _ => services.iter().all(|(name, _)| served.contains(name)),
    }
}

/// The low mark of a VIP.
enum Low {
    Backends(u64),
    Percent(u64),
}

impl Low {
    fn read(announce: &Spec) -> Self {
        let low = announce.get("low");
        let percent =
            low.and_then(|value| value.as_str()).and_then(|text| text.strip_suffix('%')?.parse().ok());
        match (percent, low.and_then(|value| value.as_u64())) {
            (Some(percent), _) => Self::Percent(percent),
            (None, Some(count)) => Self::Backends(count),
            // The document's default.
            (None, None) => Self::Backends(1),
        }
    }

    /// Whether the pool reaches the mark once the backends that `is_out` names are drained.
    fn is_reached(&self, pool: &PoolStatus, is_out: impl Fn(&str) -> bool) -> bool {
        let usable =
            pool.backends.iter().filter(|(name, one)| one.state == BackendState::Usable && !is_out(name));
        match self {
            Self::Backends(count) => usable.count() as u64 >= (*count).max(1),
            Self::Percent(percent) => {
                // Backends that operators took out do not count as part of the pool.
                let is_part = |(name, one): &(&String, &weir_api::v1::BackendStatus)| {
                    !matches!(one.state, BackendState::Draining | BackendState::Disabled) && !is_out(name)
                };
                let total: u64 =
                    pool.backends.iter().filter(is_part).map(|(_, one)| u64::from(one.weight)).sum();
                let usable: u64 = usable.map(|(_, one)| u64::from(one.weight)).sum();
                usable > 0 && usable.saturating_mul(100) >= total.saturating_mul(*percent)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use weir_api::v1::VipList;

    use super::super::tests::answer;
    use super::*;

    /// Losses of the sample state after `change` was made to it.
    fn after(target: &str, change: impl Fn(&mut Status, &mut Vec<Vip>)) -> Vec<Loss> {
        let mut status: Status = answer("/v1/status");
        let mut vips = answer::<VipList>("/v1/vips").items;
        change(&mut status, &mut vips);
        let target = super::super::target::parse(target).expect("a target");
        losses(&target, &status, &vips)
    }

    fn announce(vips: &mut [Vip], key: &str, value: serde_json::Value) {
        let www = vips.iter_mut().find(|vip| vip.name == "www").expect("it is there");
        www.spec["announce"][key] = value;
    }

    fn set(status: &mut Status, pool: &str, backend: &str, state: BackendState) {
        let pool = status.pools.get_mut(pool).expect("it is there");
        pool.backends.get_mut(backend).expect("it is there").state = state;
    }

    #[test]
    fn one_of_two_usable_backends_costs_nothing() {
        assert_eq!(after("web/b1", |_, _| ()), []);
        assert_eq!(after("web/b3", |_, _| ()), [], "it takes no new flows already");
        assert_eq!(after("web/none", |_, _| ()), []);
        assert_eq!(after("none", |_, _| ()), []);
    }

    #[test]
    fn the_last_usable_backend_costs_the_vip() {
        let losses = after("web/b1", |status, _| set(status, "web", "b2", BackendState::Failed));
        assert_eq!(losses.len(), 1);
        assert_eq!((losses[0].vip.as_str(), losses[0].effect), ("www", "would be withdrawn"));
        assert_eq!(losses[0].services, ["www-http", "www-https"]);
        assert_eq!(after("web", |_, _| ()), losses, "so does the whole pool");
    }

    #[test]
    fn the_policy_of_the_vip_counts() {
        assert_eq!(after("web/b1", |_, vips| announce(vips, "low", json!(2))).len(), 1, "two are needed");
        // Two of three halves remain: what operators take out does not count.
        assert_eq!(after("web/b1", |_, vips| announce(vips, "low", json!("60%"))), []);
        let half = |status: &mut Status, vips: &mut Vec<Vip>| {
            set(status, "web", "b3", BackendState::Failed);
            announce(vips, "low", json!("60%"));
        };
        assert_eq!(after("web/b1", half).len(), 1, "one of two is less than 60 %");
        let kept = after("web", |_, vips| announce(vips, "on_all_down", json!("keep")));
        assert_eq!(kept[0].effect, "would go on being announced without a backend");
        let worse = after("web", |_, vips| announce(vips, "on_all_down", json!("deprioritise")));
        assert_eq!(worse[0].effect, "would be announced with the least preference");
    }

    #[test]
    fn only_required_services_count() {
        // `www-https` moves to a pool of its own.
        let split = |status: &mut Status| {
            status.services.get_mut("www-https").expect("it is there").pool = "api".to_owned();
        };
        assert_eq!(after("web", |status, _| split(status)).len(), 1, "all are required");
        let any = after("web", |status, vips| {
            split(status);
            announce(vips, "require", json!("any"));
        });
        assert_eq!(any, []);
        let other = after("web", |status, vips| {
            split(status);
            announce(vips, "require", json!(["www-https"]));
        });
        assert_eq!(other, []);
        let this = after("web", |status, vips| {
            split(status);
            announce(vips, "require", json!(["www-http"]));
        });
        assert_eq!(this.len(), 1);
    }

    #[test]
    fn a_vip_that_is_not_announced_cannot_be_lost() {
        assert_eq!(after("dns/d1", |_, _| ()), []);
        assert_eq!(after("api", |_, _| ()), [], "withheld already");
        assert_eq!(after("vip/www", |_, _| ()), [], "that is what was asked for");
        assert_eq!(after("appliance", |_, _| ()), []);
    }
}
