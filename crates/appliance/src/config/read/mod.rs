// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Tables of the document to a [`Draft`]: every value by itself is good, what they say together is not looked at yet.
//!
//! A field of a draft is `None` exactly when a problem was reported for it, so the rules that follow skip it and do not
//! report the same slip twice.

mod announce;
mod attributes;
mod bfd;
mod bgp;
mod bootstrap;
mod check;
mod dataplane;
mod peer;
mod pools;
mod routing;
mod traffic;

use std::collections::BTreeMap;

use toml::de::DeTable;

pub(super) use self::attributes::{AttributesDraft, CommunityWord};
pub(super) use self::bgp::BgpDraft;
pub(super) use self::bootstrap::BootstrapDraft;
pub(super) use self::check::{CheckDraft, Kind};
pub(super) use self::dataplane::LimitsDraft;
pub(super) use self::peer::{ImportDefault, PeerDraft};
pub(super) use self::pools::{BackendDraft, ModeWord, PoolDraft};
pub(super) use self::routing::ApplianceDraft;
pub(super) use self::traffic::{ServiceDraft, VipDraft};
use super::report::Report;
use super::section::Section;
use super::shape::{Change, Key, Shape};
use crate::model::{Document, DocumentHash, Uplink};

const ROOT: Shape = Shape {
    path: "",
    title: "",
    about: "",
    change: Change::Reload,
    keys: &[
        Key::section("bootstrap"),
        Key::section("appliance"),
        Key::section("uplinks"),
        Key::section("dataplane"),
        Key::section("bgp"),
        Key::section("peers"),
        Key::section("vips"),
        Key::section("services"),
        Key::section("pools"),
    ],
    later: &["include", "api", "etcd", "health", "bfd", "announce"],
};

/// A document whose values are read and whose rules are not checked.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) bootstrap: BootstrapDraft,
    pub(super) appliance: ApplianceDraft,
    /// `None`: an uplink that is wrong in itself.
    pub(super) uplinks: BTreeMap<String, Option<Uplink>>,
    /// Uplinks that are written, also those whose names were refused.
    pub(super) uplink_count: Option<usize>,
    pub(super) limits: LimitsDraft,
    pub(super) bgp: BgpDraft,
    pub(super) peers: BTreeMap<String, PeerDraft>,
    pub(super) vips: BTreeMap<String, VipDraft>,
    pub(super) services: BTreeMap<String, ServiceDraft>,
    pub(super) pools: BTreeMap<String, PoolDraft>,
}

/// Reads all sections.
pub(super) fn read(report: &mut Report, table: &DeTable<'_>) -> Draft {
    let root = Section::root(report, table, ROOT);
    Draft {
        bootstrap: bootstrap::read(report, &root),
        appliance: routing::read_appliance(report, &root),
        uplinks: routing::read_uplinks(report, &root),
        uplink_count: root.entry_count("uplinks"),
        limits: dataplane::read(report, &root),
        bgp: bgp::read(report, &root),
        peers: peer::read(report, &root),
        vips: traffic::read_vips(report, &root),
        services: traffic::read_services(report, &root),
        pools: pools::read_pools(report, &root),
    }
}

impl Draft {
    /// The document, or `None` when a field was refused.
    pub(super) fn finish(self, hash: DocumentHash) -> Option<Document> {
        let bgp = self.bgp.finish()?;
        Some(Document {
            bootstrap: self.bootstrap.finish()?,
            appliance: self.appliance.finish()?,
            uplinks: all(self.uplinks, |uplink| uplink)?,
            limits: self.limits.finish()?,
            peers: all(self.peers, |peer| peer.finish(&bgp.communities))?,
            vips: all(self.vips, |vip| vip.finish(&bgp.communities))?,
            services: all(self.services, ServiceDraft::finish)?,
            pools: all(self.pools, PoolDraft::finish)?,
            bgp,
            hash,
        })
    }
}

/// Every object finished, or `None` when one cannot be.
fn all<D, T>(drafts: BTreeMap<String, D>, finish: impl Fn(D) -> Option<T>) -> Option<BTreeMap<String, T>> {
    drafts.into_iter().map(|(name, draft)| Some((name, finish(draft)?))).collect()
}

/// Every section of the document, in the order in which people read about them.
pub(super) fn shapes() -> Vec<Shape> {
    [
        &[ROOT][..],
        bootstrap::SHAPES,
        routing::SHAPES,
        bgp::SHAPES,
        peer::SHAPES,
        traffic::SHAPES,
        pools::SHAPES,
        dataplane::SHAPES,
    ]
    .concat()
}
