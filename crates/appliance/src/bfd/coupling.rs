// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What BFD's verdicts mean for BGP (RFC 5882): which paths have failed since the last look, and whose session is not
//! protected. Pure.
//!
//! - A session that left Up though both ends wanted it is a failed path: BGP on it ends at once, graceful restart or not.
//! - The peer's AdminDown says nothing of the path, and leaves BGP alone (§3.2); a failure follows none of our own wishes either.
//! - A peer whose BGP has ended, and that then ends its BFD with its own word, restarts: its routes are kept as they would be
//!   without BFD (§4.3.2). Silence, or a failure that it names, is the end of them.
//! - A session that never comes up does not hold BGP back, but is told.

use std::time::{Duration, Instant};

use weir_bfd::{SessionStatus, Snapshot, State, Wanted};
use weir_bgp::{PeerState, PeerStatus};

use super::status::Protection;

/// How long BGP may be Established before BFD has to be Up too: a session begins at one packet a second.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// How long a peer's word that it ends its BFD waits for the end of its BGP. The peer lives, so nothing is lost meanwhile.
pub(super) const WORD_WAIT: Duration = Duration::from_millis(100);

/// Peers whose path failed between two snapshots, in the order of their names.
///
/// Counted, not seen: a session that has failed and is up again by the second snapshot is found all the same.
pub(super) fn failed<'s>(before: Option<&Snapshot>, after: &'s Snapshot) -> Vec<&'s str> {
    let earlier = |name: &str| before.and_then(|before| before.sessions.get(name));
    let failures_before = |name: &str, session: &SessionStatus| match earlier(name) {
        Some(earlier) if earlier.local_discriminator == session.local_discriminator => earlier.failures,
        // Another session of that name: its failures begin at none.
        Some(_) | None => 0,
    };
    let sessions = after.sessions.iter();
    let failed = sessions.filter(|(name, session)| session.failures > failures_before(name, session));
    failed.map(|(name, _)| name.as_str()).collect()
}

/// Whether the last failure may be part of a restart of the peer. It is one if its BGP has ended too, which is known
/// [`WORD_WAIT`] later: both words leave the peer in the same moment, and either may be heard first.
pub(super) fn may_be_restart(session: &SessionStatus) -> bool {
    session.last_failure.is_some_and(|failure| failure.is_peer_ending())
}

/// Whether BGP with a peer stands.
pub(super) fn is_standing(peer: Option<&PeerStatus>) -> bool {
    peer.is_some_and(|peer| peer.state == PeerState::Established)
}

/// Whether a BGP session is protected by its BFD session.
pub(super) fn protection(peer: &PeerStatus, session: Option<&SessionStatus>, now: Instant) -> Protection {
    if peer.state != PeerState::Established {
        return Protection::Open;
    }
    let is_up = session.is_some_and(|session| session.state == State::Up);
    if is_up {
        return Protection::Protected;
    }
    // Down by our own wish is no lack.
    let is_held = session.is_some_and(|session| session.wanted != Wanted::Up);
    if is_held || peer.uptime(now).is_none_or(|uptime| uptime < GRACE) {
        return Protection::Open;
    }
    match session {
        Some(session) if session.ups > 0 => Protection::Lost,
        Some(_) | None => Protection::NeverUp,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::num::NonZeroU32;
    use std::time::SystemTime;

    use weir_bfd::{Diagnostic, Discards, Failure, Scheduling, Timing};
    use weir_bgp::{PeerConfig, RemoteAs};

    use super::*;

    fn session(discriminator: u32, ups: u64, failures: u64, state: State) -> SessionStatus {
        SessionStatus {
            remote_address: "10.0.0.1".parse().expect("an address"),
            interface: None,
            wanted: Wanted::Up,
            timing: Timing::default(),
            state,
            diagnostic: Diagnostic::NONE,
            since: SystemTime::UNIX_EPOCH,
            transitions: 0,
            ups,
            downs: failures,
            failures,
            last_failure: None,
            is_never_up: ups == 0,
            remote_state: State::Down,
            remote_diagnostic: Diagnostic::NONE,
            local_discriminator: NonZeroU32::new(discriminator).expect("not zero"),
            remote_discriminator: None,
            remote_detect_mult: 0,
            transmit_interval: None,
            receive_interval: None,
            detection_time: None,
            is_polling: false,
            packets_sent: 0,
            packets_received: 0,
            send_errors: 0,
            send_error: None,
        }
    }

    fn snapshot(sessions: &[(&str, SessionStatus)]) -> Snapshot {
        let sessions = sessions.iter().map(|(name, session)| ((*name).to_owned(), session.clone()));
        Snapshot {
            sessions: sessions.collect::<BTreeMap<_, _>>(),
            discards: Discards::default(),
            scheduling: Scheduling::Ordinary,
            late_max: Duration::ZERO,
            late_recent: Duration::ZERO,
            is_stopped: false,
        }
    }

    #[test]
    fn each_failure_is_told_once_and_only_failures_are() {
        let up = session(1, 1, 0, State::Up);
        let wish = session(1, 1, 0, State::Down);
        let down = session(1, 1, 1, State::Down);
        let up_again = session(1, 2, 1, State::Up);
        let renewed = session(2, 0, 0, State::Down);
        let failed_anew = session(2, 1, 1, State::Down);
        for (before, after, expected) in [
            (&up, &up, false),
            (&up, &wish, false),
            (&up, &down, true),
            // The look came late.
            (&up, &up_again, true),
            (&down, &down, false),
            (&down, &up_again, false),
            // Another session of the same name.
            (&down, &renewed, false),
            (&down, &failed_anew, true),
        ] {
            let (before, after) = (snapshot(&[("a", before.clone())]), snapshot(&[("a", after.clone())]));
            assert_eq!(failed(Some(&before), &after), if expected { vec!["a"] } else { vec![] }, "{after:?}");
        }
    }

    #[test]
    fn sessions_that_come_and_go_are_no_failures() {
        let one = snapshot(&[("a", session(1, 1, 0, State::Up))]);
        let none = snapshot(&[]);
        assert!(failed(Some(&one), &none).is_empty() && failed(Some(&none), &one).is_empty());
        let two = snapshot(&[("a", session(1, 1, 1, State::Down)), ("b", session(2, 1, 1, State::Down))]);
        assert_eq!(failed(None, &two), ["a", "b"]);
    }

    #[test]
    fn the_word_of_a_peer_that_lives_may_be_a_restart() {
        let word = Failure {
            diagnostic: Diagnostic::NEIGHBOUR_SIGNALED_DOWN,
            remote_diagnostic: Diagnostic::NEIGHBOUR_SIGNALED_DOWN,
            remote_is_independent: false,
        };
        let silence = Failure { diagnostic: Diagnostic::DETECTION_EXPIRED, ..word };
        let deaf = Failure { remote_diagnostic: Diagnostic::DETECTION_EXPIRED, ..word };
        let reset = Failure { remote_diagnostic: Diagnostic::FORWARDING_PLANE_RESET, ..word };
        let independent = Failure { remote_is_independent: true, ..word };
        for (failure, expected) in
            [(word, true), (silence, false), (deaf, false), (reset, false), (independent, false)]
        {
            let session = SessionStatus { last_failure: Some(failure), ..session(1, 1, 1, State::Down) };
            assert_eq!(may_be_restart(&session), expected, "{failure:?}");
        }
        assert!(!may_be_restart(&session(1, 1, 0, State::Up)));
    }

    #[test]
    fn protection_follows_both() {
        let now = Instant::now() + GRACE;
        let config = PeerConfig::new("a", "10.0.0.1".parse().expect("an address"), RemoteAs::External);
        let mut peer = PeerStatus::new(&config);
        let never = session(1, 0, 0, State::Down);
        assert_eq!(protection(&peer, Some(&never), now), Protection::Open);
        peer.state = PeerState::Established;
        peer.established_at = Some(now - GRACE + Duration::from_millis(1));
        assert_eq!(protection(&peer, Some(&never), now), Protection::Open, "not for long enough");
        let up = session(1, 1, 0, State::Up);
        assert_eq!(protection(&peer, Some(&up), now), Protection::Protected);
        peer.established_at = Some(now - GRACE);
        assert_eq!(protection(&peer, Some(&never), now), Protection::NeverUp);
        assert_eq!(protection(&peer, None, now), Protection::NeverUp);
        assert_eq!(protection(&peer, Some(&session(1, 1, 0, State::Down)), now), Protection::Lost);
        let held = SessionStatus { wanted: Wanted::ForwardingLost, ..never };
        assert_eq!(protection(&peer, Some(&held), now), Protection::Open);
    }
}
