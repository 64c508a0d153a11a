// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One session, its peer played by hand: input at a time, exact outputs.

use super::*;
use crate::advertise::Advertisement;
use crate::config::Ending;
use crate::wire::decode_message;
use std::collections::BTreeSet;

const REMOTE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 179);

/// A session and what it did.
pub(super) struct Script {
    pub(super) session: Session,
    pub(super) now: Instant,
}

impl Script {
    /// A session that is started and wants to connect.
    pub(super) fn started(config: SessionConfig) -> Self {
        let mut script = Self { session: Session::new(config, 1), now: Instant::now() };
        script.session.handle_start(script.now);
        script
    }

    /// A session whose dialled connection stands, OPEN sent.
    fn open_sent() -> Self {
        let mut script = Self::started(config(65010, "192.0.2.1", "10.0.0.1", 65000));
        assert_eq!(script.events(), ["Dial"]);
        script.session.handle_connected(script.now, "10.0.0.2:5000".parse().unwrap(), REMOTE);
        assert_eq!(script.sent(), ["Open"]);
        script
    }

    /// The same, Established, End-of-RIB sent.
    pub(super) fn established() -> Self {
        let mut script = Self::open_sent();
        script.meet(&open(65000));
        assert_eq!(script.sent(), ["Update", "Update"]);
        script
    }

    /// Brings a connection where our OPEN is sent up.
    pub(super) fn meet(&mut self, theirs: &Open) {
        self.hear(&theirs.encode());
        assert_eq!(self.sent(), ["Keepalive"]);
        self.hear(&encode_keepalive());
        assert_eq!(self.events(), ["Up"]);
        assert_eq!(self.session.state(), State::Established);
    }

    /// Dials between these ends and gives our OPEN.
    pub(super) fn dial(&mut self, local: &str, remote: &str) -> Open {
        assert_eq!(self.events(), ["Dial"]);
        self.session.handle_connected(self.now, local.parse().unwrap(), remote.parse().unwrap());
        let context = DecodeContext { four_octet_as: true, local_address: None };
        let message = self.session.poll_transmit(Slot::Dialled).unwrap();
        match decode_message(&message, &context).unwrap() {
            Message::Open(open) => open,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn hear(&mut self, octets: &[u8]) {
        self.session.handle_octets(self.now, Slot::Dialled, octets);
    }

    pub(super) fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.session.handle_timeout(self.now);
    }

    pub(super) fn sent(&mut self) -> Vec<String> {
        let context = DecodeContext { four_octet_as: true, local_address: None };
        let poll = || self.session.poll_transmit(Slot::Dialled);
        std::iter::from_fn(poll)
            .map(|m| match decode_message(&m, &context).unwrap() {
                Message::Open(_) => "Open".into(),
                Message::Update(update) => {
                    let announced = update.announced().map(|p| format!(" +{p}"));
                    let withdrawn = update.withdrawals().map(|p| format!(" -{p}"));
                    format!("Update{}", withdrawn.chain(announced).collect::<String>())
                }
                Message::Notification(n) => n.to_string(),
                Message::Keepalive => "Keepalive".into(),
                Message::Refresh(refresh) => format!("{:?}", refresh.kind),
            })
            .collect()
    }

    /// Events in short; a NOTIFICATION as code/subcode, once as event and once as farewell.
    pub(super) fn events(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.session.poll_event())
            .map(|event| match event {
                SessionEvent::NotificationSent { notification: n, .. } => {
                    format!("sent {}/{}", n.code(), n.subcode())
                }
                SessionEvent::NotificationReceived(n) => format!("heard {}/{}", n.code(), n.subcode()),
                SessionEvent::Close { slot: Slot::Dialled, farewell: None } => "close".into(),
                SessionEvent::Close { slot: Slot::Dialled, farewell: Some(m) } => {
                    format!("close {}/{}", m[19], m[20])
                }
                SessionEvent::Dial(_) => "Dial".into(),
                other => format!("{other:?}"),
            })
            .collect()
    }

    pub(super) fn stop(&mut self, text: &str) {
        self.session.handle_ending(self.now, &Ending::Stop { text: text.into() });
    }
}

pub(super) fn open(asn: u32) -> Open {
    Open {
        two_octet_as: Open::two_octet(asn),
        hold_time_s: 9,
        router_id: Ipv4Addr::new(10, 0, 0, 1),
        capabilities: vec![
            Capability::Multiprotocol(crate::Family::Ipv4Unicast.into()),
            Capability::Multiprotocol(crate::Family::Ipv6Unicast.into()),
            Capability::RouteRefresh,
            Capability::EnhancedRouteRefresh,
            Capability::FourOctetAs(asn),
        ],
    }
}

pub(super) fn wanted(prefixes: &[&str]) -> Arc<Wanted> {
    let set: BTreeSet<_> = prefixes.iter().map(|p| Advertisement::plain(p.parse().unwrap())).collect();
    Arc::new(Wanted::new(&set))
}

/// A message with any type and body.
pub(super) fn raw(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).unwrap();
    [&[0xff; 16][..], &length.to_be_bytes(), &[kind], body].concat()
}

#[test]
fn prefixes_are_announced_changed_and_withdrawn() {
    let mut script = Script::established();
    script.session.handle_wanted(wanted(&["192.0.2.1/32", "2001:db8:ffff::1/128"]));
    assert_eq!(script.sent(), ["Update +192.0.2.1/32", "Update +2001:db8:ffff::1/128"]);
    script.session.handle_wanted(wanted(&["192.0.2.2/32"]));
    assert_eq!(
        script.sent(),
        ["Update -192.0.2.1/32", "Update -2001:db8:ffff::1/128", "Update +192.0.2.2/32"]
    );
    assert_eq!(script.session.rib().view().unwrap().len(crate::Family::Ipv4Unicast), 1);
}

#[test]
fn keepalives_are_sent_within_a_third_of_the_hold_time() {
    let mut script = Script::established();
    for _ in 0..20 {
        let before = script.now;
        script.now = script.session.poll_timeout().unwrap();
        let waited = script.now - before;
        assert!(waited >= Duration::from_millis(2250) && waited <= Duration::from_secs(3), "{waited:?}");
        script.session.handle_timeout(script.now);
        assert_eq!(script.sent(), ["Keepalive"]);
        script.hear(&encode_keepalive());
    }
    assert_eq!(script.events(), [] as [&str; 0]);
}

#[test]
fn hold_timer_expiry_sends_notification() {
    let mut script = Script::established();
    script.wait(8);
    assert_eq!(script.session.state(), State::Established);
    script.wait(1);
    assert_eq!(script.events(), ["Down", "sent 4/0", "close 4/0"]);
    assert_eq!(script.session.state(), State::Idle);
}

#[test]
fn an_update_keeps_the_session_alive() {
    let mut script = Script::established();
    for _ in 0..10 {
        script.wait(6);
        script.hear(&raw(2, &[0, 0, 0, 0]));
    }
    assert_eq!(script.session.state(), State::Established);
    assert_eq!(script.session.counters().received_ipv4.end_of_rib, 10);
}

#[test]
fn without_a_hold_time_nothing_expires() {
    let mut script = Script::open_sent();
    script.hear(&Open { hold_time_s: 0, ..open(65000) }.encode());
    script.hear(&encode_keepalive());
    script.sent();
    assert_eq!(script.session.poll_timeout(), None);
    script.wait(100_000);
    assert_eq!((script.session.state(), script.sent().len()), (State::Established, 0));
}

#[test]
fn without_a_hold_time_a_peer_that_never_confirms_is_still_given_up() {
    let mut script = Script::open_sent();
    script.hear(&Open { hold_time_s: 0, ..open(65000) }.encode());
    assert_eq!(script.session.state(), State::OpenConfirm);
    script.wait(29);
    assert_eq!(script.events(), [] as [&str; 0]);
    script.wait(1);
    assert_eq!(script.events(), ["sent 4/0", "close 4/0"]);
}

/// A peer that opened a connection and forgot it must not keep us from dialling for minutes.
#[test]
fn a_peer_that_never_sends_an_open_is_given_up_soon() {
    let mut script = Script::open_sent();
    script.wait(29);
    assert_eq!((script.session.state(), script.events()), (State::OpenSent, vec![]));
    script.wait(1);
    assert_eq!(script.events(), ["sent 4/0", "close 4/0"]);
}

#[test]
fn a_bad_open_is_answered_by_its_subcode() {
    let cases = [
        (open(65001).encode(), "2/2"),
        (open(0).encode(), "2/2"),
        (Open { hold_time_s: 2, ..open(65000) }.encode(), "2/6"),
        (Open { router_id: Ipv4Addr::UNSPECIFIED, ..open(65000) }.encode(), "2/3"),
        (raw(1, &[3, 0, 0, 0, 9, 1, 1, 1, 1, 0]), "2/1"),
        (raw(1, &[4, 0, 0, 0, 9, 1, 1, 1, 1, 2, 7, 0]), "2/4"),
        (raw(1, &[4, 0, 0, 0, 9, 1, 1, 1, 1, 9]), "2/0"),
        (encode_keepalive(), "5/1"),
        (raw(2, &[0, 0, 0, 0]), "5/1"),
        (raw(5, &[0, 1, 0, 1]), "5/1"),
        (raw(9, &[]), "1/3"),
        (raw(4, &[0]), "1/2"),
        (vec![0; 19], "1/1"),
    ];
    for (message, code) in cases {
        let mut script = Script::open_sent();
        script.hear(&message);
        assert_eq!(script.events(), [format!("sent {code}"), format!("close {code}")], "{message:02x?}");
        assert_eq!(script.session.state(), State::Idle);
    }
}

#[test]
fn a_message_out_of_place_is_an_error_of_the_machine_even_if_malformed() {
    let mut script = Script::open_sent();
    script.hear(&open(65000).encode());
    script.hear(&raw(2, &[0, 255, 0, 0]));
    assert_eq!(script.events(), ["sent 5/2", "close 5/2"]);
    let mut script = Script::established();
    script.hear(&open(65000).encode());
    assert_eq!(script.events(), ["Down", "sent 5/3", "close 5/3"]);
}

#[test]
fn bad_updates_reset_or_are_forgiven() {
    let mut script = Script::established();
    // ORIGIN of value 7: the prefix counts as withdrawn, the session stays.
    let body =
        [&[0, 0, 0, 20, 0x40, 1, 1, 7, 0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe8][..], &[0x40, 3, 4, 10, 0, 0, 1]];
    script.hear(&raw(2, &[&body.concat()[..], &[32, 192, 0, 2, 1]].concat()));
    let counters = script.session.counters();
    assert_eq!((counters.treated_as_withdraw, counters.received_ipv4.withdrawn), (1, 1));
    assert_eq!(counters.last_finding.as_deref(), Some("attribute 1: length or value, treated as withdraw"));
    assert_eq!((script.events().len(), script.session.state()), (0, State::Established));
    script.hear(&raw(2, &[0, 255, 0, 0]));
    assert_eq!(script.events(), ["Down", "sent 3/1", "close 3/1"]);
}

#[test]
fn our_own_prefixes_coming_back_are_no_received_prefixes() {
    let mut script = Script::established();
    let attributes =
        [0x40, 1, 1, 0, 0x40, 2, 10, 2, 2, 0, 0, 0xfd, 0xe8, 0, 0, 0xfd, 0xf2, 0x40, 3, 4, 10, 0, 0, 1];
    script.hear(&raw(2, &[&[0, 0, 0, 24], &attributes[..], &[32, 192, 0, 2, 1]].concat()));
    let counts = script.session.counters().received_ipv4;
    assert_eq!((counts.looped, counts.announced), (1, 0));
}

#[test]
fn a_notification_is_heard_and_not_answered() {
    let mut script = Script::established();
    script.hear(&Notification::shutdown("rack 12 power work").encode());
    assert_eq!(script.events(), ["heard 6/2", "Down", "close"]);
    let mut script = Script::established();
    script.hear(&raw(3, &[6])[..19]);
    script.hear(&[6]);
    assert_eq!(
        script.events(),
        ["Down", "sent 1/2", "close 1/2"],
        "a NOTIFICATION of 20 octets is a bad length"
    );
}

#[test]
fn a_refresh_is_answered_between_borders() {
    let mut script = Script::established();
    script.session.handle_wanted(wanted(&["192.0.2.1/32", "2001:db8:ffff::1/128"]));
    script.sent();
    script.hear(&raw(5, &[0, 2, 0, 1]));
    assert_eq!(script.sent(), ["Begin", "Update +2001:db8:ffff::1/128", "End"]);
    // Unknown subtypes, borders of the peer and families nobody negotiated are ignored.
    for body in [[0, 2, 9, 1], [0, 2, 1, 1], [0, 2, 2, 1], [0, 25, 0, 70]] {
        script.hear(&raw(5, &body));
    }
    assert_eq!((script.sent().len(), script.events().len()), (0, 0));
    script.hear(&raw(5, &[0, 2, 1, 1, 0]));
    assert_eq!(script.events(), ["Down", "sent 7/1", "close 7/1"]);
}

#[test]
fn stopping_withdraws_first_then_tells_why() {
    let mut script = Script::established();
    script.session.handle_wanted(wanted(&["192.0.2.1/32"]));
    script.sent();
    script.stop("maintenance");
    assert_eq!(script.events(), [] as [&str; 0]);
    assert_eq!(script.sent(), ["Update -192.0.2.1/32"]);
    assert!(script.session.poll_timeout().unwrap() <= script.now, "due at once");
    script.wait(0);
    assert_eq!(script.events(), ["Down", "sent 6/2", "close 6/2", "Stopped"]);
    script.wait(100);
    script.session.handle_start(script.now);
    assert_eq!(script.events(), [] as [&str; 0], "the end is the end");
}

#[test]
fn stopping_does_not_wait_for_a_peer_that_takes_nothing() {
    let mut script = Script::established();
    script.session.handle_wanted(wanted(&["192.0.2.1/32"]));
    script.sent();
    script.stop("");
    script.now = script.session.poll_timeout().unwrap();
    script.session.handle_timeout(script.now);
    assert_eq!(script.events(), ["Down", "sent 6/2", "close 6/2", "Stopped"]);
}

#[test]
fn stopping_ends_at_once_if_the_peer_goes_first() {
    let mut script = Script::established();
    script.session.handle_wanted(wanted(&["192.0.2.1/32"]));
    script.stop("");
    script.session.handle_closed(script.now, Slot::Dialled);
    assert_eq!(script.events(), ["Down", "close", "Stopped"]);
}

#[test]
fn octets_that_do_not_move_end_the_session() {
    let mut script = Script::established();
    script.session.handle_blocked(script.now, Slot::Dialled);
    for _ in 0..14 {
        script.wait(2);
        script.hear(&encode_keepalive());
        script.session.handle_blocked(script.now, Slot::Dialled);
    }
    assert_eq!(script.session.state(), State::Established);
    script.wait(2);
    assert_eq!(script.events(), ["Down", "sent 8/0", "close 8/0"]);
    let mut script = Script::established();
    for _ in 0..100 {
        script.session.handle_blocked(script.now, Slot::Dialled);
        script.wait(2);
        script.hear(&encode_keepalive());
        script.session.handle_progress(Slot::Dialled);
    }
    assert_eq!(script.session.state(), State::Established, "progress keeps it alive");
}

#[test]
fn attempts_go_on_at_the_retry_time_for_as_long_as_it_takes() {
    let mut script = Script {
        session: Session::new(config(65010, "192.0.2.1", "10.0.0.1", 65000), 1),
        now: Instant::now(),
    };
    script.session.handle_start(script.now);
    let start = script.now;
    assert_eq!(script.events(), ["Dial"]);
    for _ in 0..100 {
        script.session.handle_connect_failed(script.now);
        assert_eq!(script.session.state(), State::Active);
        script.now = script.session.poll_timeout().unwrap();
        script.session.handle_timeout(script.now);
        assert_eq!(script.events(), ["Dial"]);
    }
    let waited = script.now - start;
    assert!(waited <= Duration::from_secs(500) && waited >= Duration::from_secs(375), "{waited:?}");
    // An attempt that never ends is given up for a new one.
    script.now = script.session.poll_timeout().unwrap();
    script.session.handle_timeout(script.now);
    assert_eq!(script.events(), ["AbortDial", "Dial"]);
}

#[test]
fn failures_in_a_row_are_followed_by_longer_rests() {
    let mut script = Script::open_sent();
    let mut rests = vec![];
    for _ in 0..8 {
        script.hear(&encode_keepalive());
        script.events();
        let due = script.session.poll_timeout().unwrap();
        rests.push((due - script.now).as_secs_f64());
        script.now = due;
        script.session.handle_timeout(script.now);
        assert_eq!(script.events(), ["Dial"]);
        script.session.handle_connected(script.now, "10.0.0.2:5000".parse().unwrap(), REMOTE);
        script.sent();
    }
    for (rest, full) in rests.iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]) {
        assert!(*rest <= full && *rest >= 0.75 * full, "{rests:?}");
    }
}

#[test]
fn a_peer_that_has_too_much_is_left_alone_for_a_while() {
    let mut script = Script::established();
    script.hear(&Notification::new(6, 1, vec![0, 1, 1, 0, 0, 0, 3]).encode());
    script.events();
    assert!(script.session.poll_timeout().unwrap() >= script.now + Duration::from_secs(30));
}

#[test]
fn garbage_of_any_size_leaves_little_behind() {
    let mut script = Script::established();
    let megabyte = vec![0xa5; 1 << 20];
    script.hear(&megabyte);
    script.hear(&megabyte);
    assert_eq!(script.events(), ["Down", "sent 1/1", "close 1/1"]);
    let mut script = Script::established();
    script.hear(&raw(2, &[0, 0, 0, 0]).repeat(100_000));
    assert_eq!((script.events().len(), script.session.counters().messages_in.update), (0, 100_000));
}
