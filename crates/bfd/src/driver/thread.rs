// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The packet thread: wait, receive, let time pass, send, hand over what changed. No rule of the protocol is here.
//!
//! Received packets are taken before the timers are looked at: after a stall of our own the packets that came meanwhile prove
//! that the peer is alive, and a timer that expired during the stall must not say otherwise.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use crate::config::Wanted;
use crate::random::Random;
use crate::session::Transition;
use crate::sessions::{Entry, GOODBYE_TIME_MAX, Sessions};
use crate::status::{Scheduling, SessionStatus, Snapshot};

use super::link::Link;
use super::receive::{Drained, Receivers};
use super::scheduling;
use super::tell::{News, PENDING_MAX, Teller};
use super::{Ending, Shared};

/// How often the counters are published without a change of state.
const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);

/// When news that found no room are offered again.
const RETELL_INTERVAL: Duration = Duration::from_millis(100);

/// Everything that the thread owns.
#[derive(Debug)]
pub(super) struct PacketThread {
    shared: Arc<Shared>,
    receivers: Receivers,
    sessions: Sessions,
    links: BTreeMap<NonZeroU32, Link>,
    /// Last change of each session.
    since: BTreeMap<NonZeroU32, SystemTime>,
    random: Random,
    teller: Teller,
    pending: Vec<(String, Transition)>,
    lost: u64,
    scheduling: Scheduling,
    late_max: Duration,
    late_recent: Duration,
    stop_at: Option<Instant>,
}

impl PacketThread {
    pub(super) fn new(shared: Arc<Shared>, receivers: Receivers, teller: Teller, seed: u64) -> PacketThread {
        let mut random = Random::new(seed);
        PacketThread {
            shared,
            receivers,
            sessions: Sessions::new(random.next()),
            links: BTreeMap::new(),
            since: BTreeMap::new(),
            random,
            teller,
            pending: Vec::new(),
            lost: 0,
            scheduling: Scheduling::Ordinary,
            late_max: Duration::ZERO,
            late_recent: Duration::ZERO,
            stop_at: None,
        }
    }

    /// Runs until it is told to end.
    pub(super) fn run(mut self, priority: Option<i32>) {
        self.scheduling = scheduling::raise(priority);
        let mut publish_at = Instant::now();
        loop {
            let mut is_changed = match self.take_commands() {
                Taken::Nothing => false,
                Taken::Sessions => true,
                Taken::End => break,
            };
            let drained = self.receive();
            let now = Instant::now();
            self.note_lateness(now);
            self.sessions.handle_timeout(now);
            self.transmit();
            is_changed |= self.note_transitions();
            if is_changed || publish_at <= now {
                publish_at = now + if self.tell() { PUBLISH_INTERVAL } else { RETELL_INTERVAL };
            }
            if self.is_goodbye_over(now) {
                break;
            }
            if drained == Drained::Yes {
                self.wait(publish_at);
            }
        }
        self.shared.is_stopped.store(true, Ordering::Release);
        let news = self.news(true);
        self.teller.tell_last(news);
    }

    fn take_commands(&mut self) -> Taken {
        // Whoever writes holds it for a moment; if that is just now, the wake-up that follows brings us back.
        let Ok(mut mailbox) = self.shared.mailbox.try_lock() else { return Taken::Nothing };
        let (sessions, ending) = (mailbox.sessions.take(), mailbox.ending.take());
        drop(mailbox);
        let now = Instant::now();
        match ending {
            Some(Ending::Silent) => return Taken::End,
            Some(Ending::Goodbye) => {
                self.sessions.set_admin_down(now);
                self.stop_at = Some(now + GOODBYE_TIME_MAX);
                return Taken::Sessions;
            }
            None => {}
        }
        // Who stops takes no new sessions.
        let Some(sessions) = sessions.filter(|_| self.stop_at.is_none()) else { return Taken::Nothing };
        if let Err(error) = self.sessions.set(sessions, now) {
            // The handle has validated the set before it got here; saying so is all that is left.
            tracing::error!(%error, "BFD sessions were refused");
        }
        Taken::Sessions
    }

    fn receive(&mut self) -> Drained {
        let sessions = &mut self.sessions;
        self.receivers.receive(|datagram| {
            match sessions.handle_datagram(datagram, Instant::now()) {
                // What is dropped has been counted there.
                Ok(_) | Err(_) => {}
            }
        })
    }

    /// Sends what is due, opening sockets on the way.
    fn transmit(&mut self) {
        let PacketThread { sessions, links, random, .. } = self;
        sessions.transmit(|discriminator, config, packet| {
            let link = links.entry(discriminator).or_default();
            link.open(config, random);
            link.send(&packet.encode());
        });
        links.retain(|discriminator, _| sessions.contains(*discriminator));
        self.since.retain(|discriminator, _| sessions.contains(*discriminator));
        for (discriminator, link) in links {
            sessions.set_interface(*discriminator, link.interface);
        }
    }

    fn note_lateness(&mut self, now: Instant) {
        if let Some(due) = self.sessions.poll_timeout() {
            let late = now.saturating_duration_since(due);
            self.late_recent = self.late_recent.max(late);
            self.late_max = self.late_max.max(late);
        }
    }

    fn note_transitions(&mut self) -> bool {
        let transitions = self.sessions.transitions();
        let now = SystemTime::now();
        let is_changed = !transitions.is_empty();
        for (discriminator, name, transition) in transitions {
            self.since.insert(discriminator, now);
            if self.pending.len() < PENDING_MAX {
                self.pending.push((name, transition));
            } else {
                self.lost += 1;
            }
        }
        is_changed
    }

    /// Whether the news found room.
    fn tell(&mut self) -> bool {
        let news = self.news(false);
        match self.teller.tell(news) {
            Ok(()) => {
                self.late_recent = Duration::ZERO;
                true
            }
            Err(news) => {
                self.pending = news.transitions;
                self.lost = news.lost;
                false
            }
        }
    }

    fn news(&mut self, is_stopped: bool) -> News {
        News {
            snapshot: Arc::new(self.snapshot(is_stopped)),
            transitions: std::mem::take(&mut self.pending),
            lost: std::mem::take(&mut self.lost),
        }
    }

    fn snapshot(&mut self, is_stopped: bool) -> Snapshot {
        let now = SystemTime::now();
        let mut sessions = BTreeMap::new();
        let is_stopping = is_stopped || self.stop_at.is_some();
        for (discriminator, entry) in self.sessions.iter() {
            // Who says goodbye is not a session any more for whoever asked for its removal.
            if entry.is_leaving() && !is_stopping {
                continue;
            }
            let since = *self.since.entry(discriminator).or_insert(now);
            let status = status(entry, since, self.links.get(&discriminator));
            sessions.insert(entry.name.clone(), status);
        }
        Snapshot {
            sessions,
            discards: *self.sessions.discards(),
            scheduling: self.scheduling,
            late_max: self.late_max,
            late_recent: self.late_recent,
            is_stopped,
        }
    }

    fn is_goodbye_over(&mut self, now: Instant) -> bool {
        let Some(stop_at) = self.stop_at else { return false };
        self.sessions.handle_timeout(now);
        stop_at <= now || self.sessions.is_empty()
    }

    fn wait(&self, publish_at: Instant) {
        let until = self.sessions.poll_timeout().map_or(publish_at, |at| at.min(publish_at));
        let mut descriptors: Vec<PollFd<'_>> =
            self.receivers.descriptors().map(|socket| PollFd::new(socket, PollFlags::POLLIN)).collect();
        descriptors.push(PollFd::new(self.shared.wake.as_fd(), PollFlags::POLLIN));
        let timeout = TimeSpec::from(until.saturating_duration_since(Instant::now()));
        // An interrupted wait is a short one.
        ppoll(&mut descriptors, Some(timeout), None).unwrap_or_default();
        // Empty is what it should be.
        self.shared.wake.read().unwrap_or_default();
    }
}

/// What the mailbox held.
enum Taken {
    Nothing,
    Sessions,
    End,
}

fn status(entry: &Entry, since: SystemTime, link: Option<&Link>) -> SessionStatus {
    let (session, remote) = (&entry.session, entry.session.remote());
    SessionStatus {
        remote_address: entry.config.remote,
        interface: entry.config.interface.clone(),
        wanted: entry.config.wanted,
        timing: entry.config.timing,
        state: session.state(),
        diagnostic: session.diagnostic(),
        since,
        transitions: session.transitions(),
        ups: session.ups(),
        downs: session.downs(),
        failures: session.failures(),
        last_failure: session.last_failure(),
        is_never_up: entry.config.wanted == Wanted::Up && !session.was_up(),
        remote_state: remote.state,
        remote_diagnostic: remote.diagnostic,
        local_discriminator: session.local_discriminator(),
        remote_discriminator: remote.discriminator,
        remote_detect_mult: remote.detect_mult,
        transmit_interval: session.transmit_interval(),
        receive_interval: session.receive_interval(),
        detection_time: session.detection_time(),
        is_polling: session.is_polling(),
        packets_sent: link.map_or(0, |link| link.sent),
        packets_received: entry.received,
        send_errors: link.map_or(0, |link| link.errors),
        send_error: link.and_then(|link| Some(link.error.as_ref()?.to_string())),
    }
}
