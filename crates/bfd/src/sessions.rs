// SPDX-License-Identifier: Apache-2.0 OR MIT
//! All sessions of a host, sans-IO: finds the session of a datagram, counts what is nobody's by the rule that refused it,
//! and lets removed sessions say goodbye.
//!
//! ```text
//!   datagram ─► hop limit 255? ─► Packet::decode ─► Your Discriminator ─► source and interface its own? ─► Session
//!                                                   none: source and interface
//! ```
//! Standards: RFC 5880 §6.8.6 (reception), RFC 5881 §3 (demultiplexing), §5 and RFC 5082 (hop limit).
//!
//! A session that is removed, or becomes another one, goes on for up to [`GOODBYE_TIME_MAX`] as AdminDown until its peer has
//! said that it is down, so that the peer does not take our silence for a failure. A new session with the same peer ends
//! it at once: two would fight for the peer's one session.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use crate::config::{NAME_LEN_MAX, SESSIONS_MAX, SessionConfig, Wanted};
use crate::error::ConfigError;
use crate::packet::{Packet, PacketError, State};
use crate::random::Random;
use crate::session::{Heard, Session, Transition};

/// Hop limit that nobody but a neighbour can produce (RFC 5881 §5).
pub(crate) const HOP_LIMIT: u8 = 255;

/// How long a session says goodbye at most: two packets at the slow rate. Also the longest wait of a stop.
pub const GOODBYE_TIME_MAX: Duration = Duration::from_secs(2);

/// Sessions and goodbyes together.
const ENTRIES_MAX: usize = 2 * SESSIONS_MAX;

/// What came on port 3784.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub source: IpAddr,
    /// Index of the interface that it came by.
    pub interface: u32,
    /// TTL or hop limit, if the kernel told it.
    pub hop_limit: Option<u8>,
    /// UDP payload.
    pub payload: &'a [u8],
}

/// Why a datagram was dropped. Each is a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Discard {
    /// Its hop limit is not 255, so it may come from afar. The driver's sockets drop such before anybody counts.
    HopLimit,
    /// Shorter than a packet.
    TooShort,
    /// Not version 1.
    Version,
    /// A length that does not fit.
    Length,
    /// Detection multiplier zero.
    DetectMultZero,
    /// Multipoint bit set.
    Multipoint,
    /// The sender's discriminator is zero.
    MyDiscriminatorZero,
    /// Our discriminator is zero, but the sender must know it.
    YourDiscriminatorZero,
    /// Authenticated.
    Authentication,
    /// Demand mode asked for.
    Demand,
    /// Our discriminator, but no session has it; after a restart this is usual for a moment.
    UnknownDiscriminator,
    /// The discriminator is of a session with somebody else, or on another interface.
    WrongSource,
    /// No discriminator, and no session with that source on that interface.
    UnknownSource,
    /// The session is held AdminDown.
    AdminDown,
}

impl Discard {
    /// All of them, in the order of the checks.
    pub const ALL: [Discard; 14] = [
        Discard::HopLimit,
        Discard::TooShort,
        Discard::Version,
        Discard::Length,
        Discard::DetectMultZero,
        Discard::Multipoint,
        Discard::MyDiscriminatorZero,
        Discard::YourDiscriminatorZero,
        Discard::Authentication,
        Discard::Demand,
        Discard::UnknownDiscriminator,
        Discard::WrongSource,
        Discard::UnknownSource,
        Discard::AdminDown,
    ];

    /// Its name in metrics and status.
    pub const fn name(self) -> &'static str {
        match self {
            Discard::HopLimit => "hop_limit",
            Discard::TooShort => "too_short",
            Discard::Version => "version",
            Discard::Length => "length",
            Discard::DetectMultZero => "detect_mult_zero",
            Discard::Multipoint => "multipoint",
            Discard::MyDiscriminatorZero => "my_discriminator_zero",
            Discard::YourDiscriminatorZero => "your_discriminator_zero",
            Discard::Authentication => "authentication",
            Discard::Demand => "demand",
            Discard::UnknownDiscriminator => "unknown_discriminator",
            Discard::WrongSource => "wrong_source",
            Discard::UnknownSource => "unknown_source",
            Discard::AdminDown => "admin_down",
        }
    }
}

impl From<PacketError> for Discard {
    fn from(error: PacketError) -> Discard {
        match error {
            PacketError::TooShort { .. } => Discard::TooShort,
            PacketError::Version { .. } => Discard::Version,
            PacketError::Length { .. } => Discard::Length,
            PacketError::DetectMultZero => Discard::DetectMultZero,
            PacketError::Multipoint => Discard::Multipoint,
            PacketError::MyDiscriminatorZero => Discard::MyDiscriminatorZero,
            PacketError::YourDiscriminatorZero { .. } => Discard::YourDiscriminatorZero,
            PacketError::Authentication => Discard::Authentication,
            PacketError::Demand => Discard::Demand,
        }
    }
}

/// Dropped datagrams by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Discards([u64; Discard::ALL.len()]);

impl Discards {
    fn count(&mut self, discard: Discard) {
        self.0[discard as usize] += 1;
    }

    /// How many for this reason.
    pub fn of(&self, discard: Discard) -> u64 {
        self.0[discard as usize]
    }

    /// All reasons with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (Discard, u64)> + '_ {
        Discard::ALL.into_iter().map(|discard| (discard, self.of(discard)))
    }

    /// How many in all.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// A session with what finds it.
#[derive(Debug)]
pub struct Entry {
    /// Its name; a session that says goodbye keeps the one that it had.
    pub name: String,
    /// What was asked for.
    pub config: SessionConfig,
    /// The machine.
    pub session: Session,
    /// Packets that were used.
    pub received: u64,
    /// Index of `config.interface`, once known. Without one a session bound to an interface hears nothing.
    interface: Option<u32>,
    /// Set while it says goodbye: when that ends at the latest.
    goodbye_until: Option<Instant>,
}

impl Entry {
    /// Whether it is only there to say goodbye.
    pub fn is_leaving(&self) -> bool {
        self.goodbye_until.is_some()
    }

    fn hears(&self, source: IpAddr, interface: u32) -> bool {
        self.config.remote == source && (self.config.interface.is_none() || self.interface == Some(interface))
    }

    fn is_over(&self, now: Instant) -> bool {
        self.goodbye_until.is_some_and(|until| until <= now || self.session.is_peer_down())
    }
}

/// The sessions by our discriminator.
#[derive(Debug)]
pub struct Sessions {
    entries: BTreeMap<NonZeroU32, Entry>,
    discards: Discards,
    random: Random,
}

/// Refuses a set that could not work; what [`Sessions::set`] relies on.
pub fn validate(wanted: &BTreeMap<String, SessionConfig>) -> Result<(), ConfigError> {
    if wanted.len() > SESSIONS_MAX {
        return Err(ConfigError::TooMany { count: wanted.len() });
    }
    let mut peers: BTreeMap<IpAddr, Vec<(&String, &SessionConfig)>> = BTreeMap::new();
    for (name, config) in wanted {
        if name.len() > NAME_LEN_MAX {
            return Err(ConfigError::Name { length: name.len() });
        }
        config
            .validate()
            .map_err(|source| ConfigError::Session { name: name.clone(), source: Box::new(source) })?;
        let same = peers.entry(config.remote).or_default();
        // One without an interface hears all of them.
        let overlaps = |other: &SessionConfig| match (&other.interface, &config.interface) {
            (Some(one), Some(two)) => one == two,
            (None, _) | (_, None) => true,
        };
        if let Some((first, _)) = same.iter().find(|(_, other)| overlaps(other)) {
            return Err(ConfigError::SamePeer { first: (*first).clone(), second: name.clone() });
        }
        same.push((name, config));
    }
    Ok(())
}

impl Sessions {
    /// No sessions. The seed decides discriminators and jitter.
    pub fn new(seed: u64) -> Sessions {
        Sessions { entries: BTreeMap::new(), discards: Discards::default(), random: Random::new(seed) }
    }

    /// Makes these the sessions: keeps those that stay, changes timing in place, lets the others say goodbye.
    pub fn set(
        &mut self,
        mut wanted: BTreeMap<String, SessionConfig>,
        now: Instant,
    ) -> Result<(), ConfigError> {
        validate(&wanted)?;
        for entry in self.entries.values_mut().filter(|entry| !entry.is_leaving()) {
            match wanted.get(&entry.name) {
                Some(config) if config.is_same_session(&entry.config) => {
                    entry.session.set_timing(config.timing, now);
                    entry.session.set_wanted(config.wanted, now);
                    entry.config = config.clone();
                    wanted.remove(&entry.name);
                }
                Some(_) | None => {
                    entry.session.set_wanted(Wanted::AdminDown, now);
                    entry.goodbye_until = Some(now + GOODBYE_TIME_MAX);
                }
            }
        }
        let peers: BTreeSet<IpAddr> = wanted.values().map(|config| config.remote).collect();
        self.entries.retain(|_, entry| !entry.is_leaving() || !peers.contains(&entry.config.remote));
        for (name, config) in wanted {
            self.add(name, config, now);
        }
        // Goodbyes are a courtesy: sets that follow each other faster than those end must not pile them up.
        let mut excess = self.entries.len().saturating_sub(ENTRIES_MAX);
        self.entries.retain(|_, entry| {
            let goes = excess > 0 && entry.is_leaving();
            excess -= usize::from(goes);
            !goes
        });
        Ok(())
    }

    fn add(&mut self, name: String, config: SessionConfig, now: Instant) {
        let mut discriminator = self.random.discriminator();
        while self.entries.contains_key(&discriminator) {
            discriminator = self.random.discriminator();
        }
        let session = Session::new(config.timing, config.wanted, discriminator, self.random.next(), now);
        let entry = Entry { name, config, session, received: 0, interface: None, goodbye_until: None };
        self.entries.insert(discriminator, entry);
    }

    /// Says goodbye to all peers: the beginning of a clean stop.
    pub fn set_admin_down(&mut self, now: Instant) {
        for entry in self.entries.values_mut() {
            entry.session.set_wanted(Wanted::AdminDown, now);
            entry.goodbye_until.get_or_insert(now + GOODBYE_TIME_MAX);
        }
    }

    /// Tells which index a session's interface has now; `None`: it is not there.
    pub fn set_interface(&mut self, discriminator: NonZeroU32, index: Option<u32>) {
        if let Some(entry) = self.entries.get_mut(&discriminator) {
            entry.interface = index;
        }
    }

    /// Takes a datagram; one that is dropped is counted.
    pub fn handle_datagram(&mut self, datagram: &Datagram<'_>, now: Instant) -> Result<NonZeroU32, Discard> {
        let taken = self.take(datagram, now);
        if let Err(discard) = taken {
            self.discards.count(discard);
        }
        taken
    }

    fn take(&mut self, datagram: &Datagram<'_>, now: Instant) -> Result<NonZeroU32, Discard> {
        if datagram.hop_limit != Some(HOP_LIMIT) {
            return Err(Discard::HopLimit);
        }
        let packet = Packet::decode(datagram.payload)?;
        let (source, interface) = (datagram.source, datagram.interface);
        let (discriminator, entry) = match packet.your_discriminator {
            Some(ours) => {
                let entry = self.entries.get_mut(&ours).ok_or(Discard::UnknownDiscriminator)?;
                if !entry.hears(source, interface) {
                    return Err(Discard::WrongSource);
                }
                (ours, entry)
            }
            None => {
                let mut entries = self.entries.iter_mut();
                let (ours, entry) = entries
                    .find(|(_, entry)| entry.hears(source, interface))
                    .ok_or(Discard::UnknownSource)?;
                (*ours, entry)
            }
        };
        match entry.session.handle_packet(&packet, now) {
            Heard::Used => {
                entry.received += 1;
                Ok(discriminator)
            }
            Heard::AdminDown => Err(Discard::AdminDown),
        }
    }

    /// Does what is due in each session, and ends the goodbyes that are over.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.entries.retain(|_, entry| {
            entry.session.handle_timeout(now);
            // The goodbye itself has to leave before the session may.
            !entry.is_over(now) || entry.session.owes()
        });
    }

    /// When to call [`Sessions::handle_timeout`]; changes after every other call.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let of =
            |entry: &Entry| [entry.session.poll_timeout(), entry.goodbye_until].into_iter().flatten().min();
        self.entries.values().filter_map(of).min()
    }

    /// Hands each packet that is to be sent now to `send`, with its session.
    pub fn transmit(&mut self, mut send: impl FnMut(NonZeroU32, &SessionConfig, &Packet)) {
        for (discriminator, entry) in &mut self.entries {
            while let Some(packet) = entry.session.poll_transmit() {
                send(*discriminator, &entry.config, &packet);
            }
        }
    }

    /// Changes of state that were not asked for yet, with the sessions and their names.
    pub fn transitions(&mut self) -> Vec<(NonZeroU32, String, Transition)> {
        let entries = self.entries.iter_mut();
        entries
            .filter_map(|(discriminator, entry)| {
                let transition = entry.session.poll_transition()?;
                Some((*discriminator, entry.name.clone(), transition))
            })
            .collect()
    }

    /// All sessions, those that say goodbye too.
    pub fn iter(&self) -> impl Iterator<Item = (NonZeroU32, &Entry)> {
        self.entries.iter().map(|(discriminator, entry)| (*discriminator, entry))
    }

    /// Whether a session exists.
    pub fn contains(&self, discriminator: NonZeroU32) -> bool {
        self.entries.contains_key(&discriminator)
    }

    /// Whether none is left, not even one that says goodbye.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many are Up.
    pub fn up(&self) -> usize {
        self.entries.values().filter(|entry| entry.session.state() == State::Up).count()
    }

    /// Dropped datagrams by reason.
    pub fn discards(&self) -> &Discards {
        &self.discards
    }
}
