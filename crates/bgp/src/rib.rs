// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What one peer is to hold (Adj-RIB-Out), and the messages that take it there. Pure.
//!
//! Nothing is queued as octets: [`AdjRibOut::poll`] builds the next message when there is room for it, so a slow peer
//! costs a list of prefixes at most, and a newer wish replaces an older one that was not yet sent.
//!
//! ```text
//!   wanted set ──diff──► withdraws ─► announces by attributes ─► EoRR ─► End-of-RIB ─► BoRR + everything again
//!                        (first)      (packed)                                        (route refresh asked)
//! ```

mod received;
mod view;

pub use received::{AS_PATH_TEXT_MAX, AdjRibIn, COMMUNITIES_KEPT_MAX, ReceivedPath, TooMany};
pub use view::AdjRibOutView;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Weak};

use crate::advertise::{Advertisement, Prefix};
use crate::config::{ExportPolicy, Families, Family, LinkBandwidth};
use crate::wire::{
    AsPath, LinkBandwidthForm, NextHop, Origin, PathToSend, Refresh, RefreshKind, UpdateEncoder,
    link_bandwidth,
};

/// The attributes of advertised paths that differ between them.
#[derive(Debug, Eq, PartialOrd, Ord)]
struct Attributes {
    med: Option<u32>,
    communities: Vec<u32>,
    large_communities: Vec<[u32; 3]>,
    prepend: u8,
    link_bandwidth: Option<u64>,
}

impl Attributes {
    fn are_of(&self, advertisement: &Advertisement) -> bool {
        self.med == advertisement.med
            && self.prepend == advertisement.prepend
            && self.link_bandwidth == advertisement.link_bandwidth
            && are_same(&self.communities, &advertisement.communities)
            && are_same(&self.large_communities, &advertisement.large_communities)
    }
}

impl PartialEq for Attributes {
    fn eq(&self, other: &Self) -> bool {
        self.med == other.med
            && self.prepend == other.prepend
            && self.link_bandwidth == other.link_bandwidth
            && are_same(&self.communities, &other.communities)
            && are_same(&self.large_communities, &other.large_communities)
    }
}

/// Equality that does not ask the C library about nothing: its comparison of zero octets behind the dangling pointer of
/// an empty vector costs 100 ns where it is done by masked loads, and this is asked once per prefix.
fn are_same<T: PartialEq>(a: &[T], b: &[T]) -> bool {
    a.len() == b.len() && (a.is_empty() || a == b)
}

/// The attributes of `advertisement`, the same ones for equal attributes.
fn interned(known: &mut BTreeSet<Arc<Attributes>>, advertisement: &Advertisement) -> Arc<Attributes> {
    let attributes = Attributes {
        med: advertisement.med,
        communities: advertisement.communities.clone(),
        large_communities: advertisement.large_communities.clone(),
        prepend: advertisement.prepend,
        link_bandwidth: advertisement.link_bandwidth,
    };
    if let Some(shared) = known.get(&attributes) {
        return Arc::clone(shared);
    }
    let shared = Arc::new(attributes);
    known.insert(Arc::clone(&shared));
    shared
}

/// The whole set to advertise, shared by all peers; equal attributes are stored once.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Sorted, each prefix once.
    paths: Vec<(Prefix, Arc<Attributes>)>,
    rejected: Vec<Prefix>,
    /// What differs from the set before, found once for all peers.
    changes: Option<Changes>,
}

/// The difference between a set and the one before it.
#[derive(Debug)]
struct Changes {
    /// Kept by its address alone, which nobody else gets while this is here.
    before: Weak<Wanted>,
    /// Prefixes that came, went or changed, sorted.
    prefixes: Vec<Prefix>,
}

impl Wanted {
    /// The set in the shape peers work from. Of two advertisements of one prefix the first in order stands; one with
    /// more than [`Advertisement::MAX_COMMUNITIES`] communities is rejected.
    pub fn new(advertisements: &BTreeSet<Advertisement>) -> Self {
        let mut known: BTreeSet<Arc<Attributes>> = BTreeSet::new();
        let mut wanted =
            Self { paths: Vec::with_capacity(advertisements.len()), rejected: Vec::new(), changes: None };
        for advertisement in advertisements {
            let prefix = advertisement.prefix;
            let is_too_long = advertisement.communities.len() > Advertisement::MAX_COMMUNITIES
                || advertisement.large_communities.len() > Advertisement::MAX_COMMUNITIES;
            // The set is sorted by prefix before anything else.
            let is_second = wanted.paths.last().is_some_and(|(last, _)| *last == prefix);
            if is_too_long || is_second {
                wanted.rejected.push(prefix);
                continue;
            }
            let attributes = match wanted.paths.last() {
                Some((_, last)) if last.are_of(advertisement) => Arc::clone(last),
                _ => interned(&mut known, advertisement),
            };
            wanted.paths.push((prefix, attributes));
        }
        wanted
    }

    /// As [`Wanted::new`], knowing what changes against `before`: a peer that holds `before` need not look at the rest.
    pub fn after(advertisements: &BTreeSet<Advertisement>, before: &Arc<Wanted>) -> Self {
        let mut wanted = Self::new(advertisements);
        let mut prefixes = Vec::new();
        merge(before, &wanted, |prefix, old, new| {
            if old != new {
                prefixes.push(*prefix);
            }
        });
        wanted.changes = Some(Changes { before: Arc::downgrade(before), prefixes });
        wanted
    }

    fn changes_since(&self, before: &Arc<Wanted>) -> Option<&[Prefix]> {
        let changes = self.changes.as_ref()?;
        std::ptr::eq(changes.before.as_ptr(), Arc::as_ptr(before)).then_some(&changes.prefixes)
    }

    fn get(&self, prefix: &Prefix) -> Option<&Arc<Attributes>> {
        let place = self.paths.binary_search_by(|(p, _)| p.cmp(prefix)).ok()?;
        self.paths.get(place).map(|(_, attributes)| attributes)
    }

    fn contains(&self, prefix: &Prefix) -> bool {
        self.paths.binary_search_by(|(p, _)| p.cmp(prefix)).is_ok()
    }

    /// Prefixes that will not be advertised, or not with all the attributes asked for.
    pub fn rejected(&self) -> &[Prefix] {
        &self.rejected
    }

    /// Prefixes to advertise.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Whether nothing is to be advertised.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }
}

/// What one set of attributes becomes on its way to one peer.
#[derive(Debug)]
struct Told {
    /// How often our AS number stands in the AS_PATH.
    path_length: usize,
    med: Option<u32>,
    communities: Vec<u32>,
    large_communities: Vec<[u32; 3]>,
    link_bandwidth: Option<(u64, LinkBandwidthForm)>,
}

/// Our AS number at most this often in the AS_PATH: one segment, and room for everything else in 4096 octets.
const PATH_LENGTH_MAX: usize = 255;

impl Told {
    fn new(attributes: &Attributes, policy: &ExportPolicy) -> Self {
        let prepended = usize::from(attributes.prepend) + usize::from(policy.prepend);
        let form = match policy.link_bandwidth {
            LinkBandwidth::Off => None,
            LinkBandwidth::Transitive => Some(LinkBandwidthForm::Transitive),
            LinkBandwidth::NonTransitive => Some(LinkBandwidthForm::NonTransitive),
        };
        Self {
            path_length: (1 + prepended).min(PATH_LENGTH_MAX),
            med: attributes.med.or(policy.med),
            communities: united(&attributes.communities, &policy.communities),
            large_communities: united(&attributes.large_communities, &policy.large_communities),
            link_bandwidth: attributes.link_bandwidth.zip(form),
        }
    }
}

/// The first list and what of the second is not in it.
fn united<T: Copy + PartialEq>(own: &[T], added: &[T]) -> Vec<T> {
    let mut all = own.to_vec();
    for value in added {
        if !all.contains(value) {
            all.push(*value);
        }
    }
    all
}

/// How a session exports: fixed while it is Established.
#[derive(Debug, Clone)]
pub struct Export {
    /// Our AS.
    pub asn: u32,
    /// Families negotiated.
    pub families: Families,
    /// Next hop of IPv4 prefixes; without one they are not sent.
    pub next_hop_v4: Option<NextHop>,
    /// Next hop of IPv6 prefixes; without one they are not sent.
    pub next_hop_v6: Option<NextHop>,
    /// Measures of the messages.
    pub encoder: UpdateEncoder,
    /// Both sides know the borders of a refresh (RFC 7313).
    pub has_enhanced_refresh: bool,
    /// What every advertisement gets on its way.
    pub policy: Arc<ExportPolicy>,
}

impl Export {
    fn next_hop(&self, family: Family) -> Option<NextHop> {
        match family {
            Family::Ipv4Unicast => self.next_hop_v4,
            Family::Ipv6Unicast => self.next_hop_v6,
        }
    }

    fn sends(&self, prefix: &Prefix) -> bool {
        self.sends_family(prefix.family())
    }

    /// Whether prefixes of a family are sent: it was negotiated, and there is a next hop for it.
    pub fn sends_family(&self, family: Family) -> bool {
        self.families.contains(family) && self.next_hop(family).is_some()
    }
}

/// Prefixes of one family and one set of attributes, still to be announced.
#[derive(Debug)]
struct Group {
    attributes: Arc<Attributes>,
    family: Family,
    prefixes: Vec<Prefix>,
    sent: usize,
}

/// What one peer is to hold and what is still to be said to it.
#[derive(Debug, Default)]
pub struct AdjRibOut {
    wanted: Arc<Wanted>,
    export: Option<Export>,
    /// Sorted, so families are together; the first `withdrawn` are sent.
    withdraws: Vec<Prefix>,
    withdrawn: usize,
    groups: VecDeque<Group>,
    end_of_rib: Families,
    /// End-of-RIB waits: what is wanted is not whole yet (RFC 4724 §4.1).
    is_end_of_rib_held: bool,
    refresh_asked: Families,
    refresh_running: Families,
    version: u64,
}

impl AdjRibOut {
    /// The session is Established: everything wanted is announced, then End-of-RIB of each family.
    pub fn session_up(&mut self, export: Export) {
        self.session_down();
        let families = export.families;
        self.export = Some(export);
        self.end_of_rib = families;
        self.announce_all(families);
    }

    /// Lets End-of-RIB wait, or go.
    pub fn hold_end_of_rib(&mut self, is_held: bool) {
        self.is_end_of_rib_held = is_held;
    }

    /// Whether End-of-RIB of every family was handed out.
    pub fn has_ended_rib(&self) -> bool {
        self.export.is_some() && self.end_of_rib.is_empty()
    }

    /// The measures of the session, while there is one.
    pub fn export(&self) -> Option<&Export> {
        self.export.as_ref()
    }

    /// The session has ended: the peer holds nothing, nothing is to be said.
    pub fn session_down(&mut self) {
        *self = Self {
            wanted: Arc::clone(&self.wanted),
            version: self.version + 1,
            is_end_of_rib_held: self.is_end_of_rib_held,
            ..Self::default()
        };
    }

    /// Replaces what is wanted. What was still to be said is recomputed, so the latest wish wins.
    ///
    /// A prefix that was never sent may be withdrawn: an older announcement of it may be with the peer.
    pub fn set_wanted(&mut self, wanted: Arc<Wanted>) {
        let old = std::mem::replace(&mut self.wanted, wanted);
        let new = Arc::clone(&self.wanted);
        self.version += 1;
        let Some(export) = &self.export else { return };
        let unsaid: BTreeSet<Prefix> = self.unsaid_announces().collect();
        let mut withdraws: Vec<Prefix> = self.unsaid_withdraws().filter(|p| !new.contains(p)).collect();
        let mut announces = Vec::new();
        let mut each = |prefix: &Prefix, before: Option<&_>, after| match (before, after) {
            _ if !export.sends(prefix) => {}
            (_, None) => withdraws.push(*prefix),
            (Some(before), Some(after)) if before == after && !unsaid.contains(prefix) => {}
            (_, Some(after)) => announces.push((*prefix, after)),
        };
        match new.changes_since(&old) {
            // Ten thousand prefixes of which one changes: looked at once, not once for each peer.
            Some(changed) => {
                let touched: BTreeSet<&Prefix> = changed.iter().chain(&unsaid).collect();
                touched.into_iter().for_each(|prefix| each(prefix, old.get(prefix), new.get(prefix)));
            }
            None => merge(&old, &new, each),
        }
        withdraws.sort_unstable();
        withdraws.dedup();
        self.withdraws = withdraws;
        self.withdrawn = 0;
        self.groups = grouped(announces);
    }

    /// The peer asks for everything of a family again. Asked while one is running, it is done once more.
    pub fn refresh(&mut self, family: Family) {
        if self.export.as_ref().is_some_and(|e| e.families.contains(family)) {
            self.refresh_asked.insert(family);
            self.version += 1;
        }
    }

    /// The next message, withdraws first. The answer may change after every other call.
    pub fn poll(&mut self) -> Option<Vec<u8>> {
        let export = self.export.take()?;
        let message = self.poll_withdraw(&export).or_else(|| self.poll_announce(&export));
        let message = message.or_else(|| self.poll_marker(&export));
        self.export = Some(export);
        if message.is_some() {
            self.version += 1;
        }
        message
    }

    fn poll_withdraw(&mut self, export: &Export) -> Option<Vec<u8>> {
        let rest = &self.withdraws[self.withdrawn..];
        let family = rest.first()?.family();
        let rest = &rest[..rest.partition_point(|p| p.family() == family)];
        // What went by MP_REACH is withdrawn by MP_UNREACH (RFC 8950 §4).
        let (message, count) = match export.next_hop(family) {
            Some(NextHop::V6(_)) => export.encoder.withdraw_multiprotocol(family, rest)?,
            Some(NextHop::V4(_)) | None => export.encoder.withdraw(family, rest)?,
        };
        self.withdrawn += count;
        if self.withdrawn == self.withdraws.len() {
            self.withdraws = Vec::new();
            self.withdrawn = 0;
        }
        Some(message)
    }

    fn poll_announce(&mut self, export: &Export) -> Option<Vec<u8>> {
        while let Some(group) = self.groups.front_mut() {
            // Once per message, not per prefix.
            let told = Told::new(&group.attributes, &export.policy);
            let as_path = AsPath::own(export.asn, told.path_length);
            let bandwidth = told.link_bandwidth.map(|(bytes, form)| link_bandwidth(export.asn, bytes, form));
            let path = PathToSend {
                as_path: &as_path,
                origin: Origin::Igp,
                med: told.med,
                communities: &told.communities,
                extended_communities: bandwidth.as_slice(),
                large_communities: &told.large_communities,
            };
            let rest = &group.prefixes[group.sent..];
            let encoded = export
                .next_hop(group.family)
                .and_then(|next_hop| export.encoder.announce(path, next_hop, group.family, rest));
            match encoded {
                Some((message, count)) => {
                    group.sent += count;
                    if group.sent == group.prefixes.len() {
                        self.groups.pop_front();
                    }
                    return Some(message);
                }
                // Nothing left of it, or attributes that cannot fit, which the bounds of `Wanted` and policy rule out.
                None => {
                    self.groups.pop_front();
                }
            }
        }
        None
    }

    /// Borders and End-of-RIB, one at a time, once there is nothing to announce.
    fn poll_marker(&mut self, export: &Export) -> Option<Vec<u8>> {
        if let Some(family) = take_first(&mut self.refresh_running)
            && export.has_enhanced_refresh
        {
            return Some(Refresh::new(RefreshKind::End, family).encode());
        }
        if !self.is_end_of_rib_held
            && let Some(family) = take_first(&mut self.end_of_rib)
        {
            return Some(export.encoder.end_of_rib(family));
        }
        let family = take_first(&mut self.refresh_asked)?;
        let mut only = Families::default();
        only.insert(family);
        self.announce(only, export);
        if export.has_enhanced_refresh {
            self.refresh_running.insert(family);
            return Some(Refresh::new(RefreshKind::Begin, family).encode());
        }
        self.poll_announce(export).or_else(|| self.poll_marker(export))
    }

    fn announce_all(&mut self, families: Families) {
        if let Some(export) = self.export.take() {
            self.announce(families, &export);
            self.export = Some(export);
        }
    }

    fn announce(&mut self, families: Families, export: &Export) {
        let all = self.wanted.paths.iter();
        let all = all.filter(|(p, _)| families.contains(p.family()) && export.sends(p));
        let all = all.map(|(p, a)| (*p, a)).collect();
        self.groups.extend(grouped(all));
    }

    /// Whether nothing is left to say; an End-of-RIB that waits does not count.
    pub fn is_settled(&self) -> bool {
        let end_of_rib = if self.is_end_of_rib_held { Families::default() } else { self.end_of_rib };
        self.withdraws.is_empty()
            && self.groups.is_empty()
            && [end_of_rib, self.refresh_asked, self.refresh_running].iter().all(Families::is_empty)
    }

    /// Whether the peer may hold something that it has not yet been told to drop.
    pub fn owes_withdraws(&self) -> bool {
        !self.withdraws.is_empty()
    }

    /// Changes with everything that may change [`AdjRibOut::view`].
    pub fn version(&self) -> u64 {
        self.version
    }

    /// What the peer was told, once settled; `None` before.
    pub fn view(&self) -> Option<AdjRibOutView> {
        self.is_settled().then(|| AdjRibOutView::new(Arc::clone(&self.wanted), self.export.clone()))
    }

    fn unsaid_announces(&self) -> impl Iterator<Item = Prefix> + '_ {
        self.groups.iter().flat_map(|g| &g.prefixes[g.sent..]).copied()
    }

    fn unsaid_withdraws(&self) -> impl Iterator<Item = Prefix> + '_ {
        self.withdraws[self.withdrawn..].iter().copied()
    }
}

/// Walks both sets in order of prefix.
fn merge<'a>(
    old: &'a Wanted,
    new: &'a Wanted,
    mut each: impl FnMut(&Prefix, Option<&'a Arc<Attributes>>, Option<&'a Arc<Attributes>>),
) {
    let (mut old, mut new) = (old.paths.iter().peekable(), new.paths.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let before = if order.is_le() { old.next() } else { None };
        let after = if order.is_ge() { new.next() } else { None };
        if let Some((prefix, _)) = before.or(after) {
            each(prefix, before.map(|(_, a)| a), after.map(|(_, a)| a));
        }
    }
}

/// By attributes and family, each group's prefixes in the order given.
fn grouped(announces: Vec<(Prefix, &Arc<Attributes>)>) -> VecDeque<Group> {
    let mut places: BTreeMap<(&Arc<Attributes>, Family), usize> = BTreeMap::new();
    let mut groups: Vec<Group> = Vec::new();
    let mut last = 0;
    for (prefix, attributes) in announces {
        let family = prefix.family();
        let is_run = |g: &Group| Arc::ptr_eq(&g.attributes, attributes) && g.family == family;
        if !groups.get(last).is_some_and(is_run) {
            last = *places.entry((attributes, family)).or_insert(groups.len());
            if last == groups.len() {
                let attributes = Arc::clone(attributes);
                groups.push(Group { attributes, family, prefixes: Vec::new(), sent: 0 });
            }
        }
        groups[last].prefixes.push(prefix);
    }
    groups.into()
}

fn take_first(families: &mut Families) -> Option<Family> {
    let family = families.iter().next()?;
    match family {
        Family::Ipv4Unicast => families.ipv4 = false,
        Family::Ipv6Unicast => families.ipv6 = false,
    }
    Some(family)
}

#[cfg(test)]
mod tests;
