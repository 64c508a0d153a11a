// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Scripts: a link, routers that speak, and seconds that pass.

use super::super::message::{ADVERTISEMENT, SOLICITATION};
use super::*;

const OURS: &str = "fe80::a";
const ROUTER: &str = "fe80::b";
const OTHER: &str = "fe80::c";

struct Script {
    discovery: Discovery,
    begin: Instant,
    now: Instant,
}

fn address(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

impl Script {
    fn new(fixed: Option<&str>) -> Self {
        let now = Instant::now();
        Self { discovery: Discovery::new(fixed.map(address), 7), begin: now, now }
    }

    fn up(fixed: Option<&str>) -> Self {
        let mut script = Self::new(fixed);
        script.link(Some(OURS));
        script
    }

    fn link(&mut self, own: Option<&str>) {
        let ours =
            own.map(|own| Ours { addresses: vec![address(own)], link_layer: Some([2, 0, 0, 0, 0, 1]) });
        self.discovery.handle_link(self.now, ours);
    }

    fn hear(&mut self, source: &str) {
        let octets = RouterAdvertisement::ours(None).encode();
        self.discovery.handle_message(self.now, address(source), 255, &octets);
    }

    fn ask(&mut self) {
        self.discovery.handle_message(self.now, address(ROUTER), 255, &encode_solicitation(None));
    }

    fn use_it(&mut self, neighbour: Option<&str>) {
        self.discovery.handle_in_use(self.now, neighbour.map(address));
    }

    fn neighbour(&self) -> Option<String> {
        self.discovery.neighbour().map(|a| a.to_string())
    }

    /// Lets time pass and gives when what was sent: `A` advertisements, `S` solicitations, in seconds from the begin.
    fn pass(&mut self, seconds: u64) -> Vec<(char, f64)> {
        let end = self.now + Duration::from_secs(seconds);
        let mut sent = Vec::new();
        loop {
            while let Some(outgoing) = self.discovery.poll_transmit(self.now) {
                let (kind, to) = match outgoing.octets[0] {
                    ADVERTISEMENT => ('A', ALL_NODES),
                    SOLICITATION => ('S', ALL_ROUTERS),
                    other => panic!("type {other}"),
                };
                assert_eq!(outgoing.destination, to);
                sent.push((kind, (self.now - self.begin).as_secs_f64()));
                assert!(sent.len() < 1000, "it never stops");
            }
            match self.discovery.poll_timeout().filter(|at| *at <= end) {
                Some(at) => self.now = at.max(self.now),
                None => break,
            }
            self.discovery.handle_timeout(self.now);
        }
        self.now = end;
        self.discovery.handle_timeout(end);
        sent
    }

    fn advertised(&mut self, seconds: u64) -> Vec<f64> {
        self.pass(seconds).into_iter().filter(|(kind, _)| *kind == 'A').map(|(_, at)| at).collect()
    }
}

#[test]
fn three_advertisements_soon_then_one_every_ten_seconds() {
    let mut script = Script::up(None);
    let times = script.advertised(60);
    assert_eq!(times[0], 0.0);
    let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps[..2].iter().all(|gap| (1.0..=3.0).contains(gap)), "{gaps:?}");
    assert!(gaps[2..].iter().all(|gap| (7.5..=10.0).contains(gap)), "{gaps:?}");
    assert!(times.len() >= 8);
    assert_eq!(script.discovery.status().sent, times.len() as u64);
}

#[test]
fn it_asks_at_once_and_for_as_long_as_nobody_is_known() {
    let mut script = Script::up(None);
    let asked = |sent: Vec<(char, f64)>| sent.iter().filter(|(kind, _)| *kind == 'S').count();
    assert!((10..=14).contains(&asked(script.pass(40))));
    script.hear(ROUTER);
    assert_eq!(asked(script.pass(30)), 0, "known now");
    assert!(asked(script.pass(30)) > 0, "and forgotten again");
}

#[test]
fn a_question_is_answered_at_once_but_not_each_time() {
    let mut script = Script::up(None);
    script.pass(30);
    script.ask();
    let before = (script.now - script.begin).as_secs_f64();
    assert_eq!(script.advertised(0), [before]);
    let mut answers = 0;
    for _ in 0..100 {
        script.ask();
        script.now += Duration::from_millis(20);
        answers += script.advertised(0).len();
    }
    assert_eq!(answers, 2, "once a second at the most");
}

#[test]
fn the_router_heard_is_the_neighbour_and_hears_of_us_at_once() {
    let mut script = Script::up(None);
    script.pass(30);
    assert_eq!(script.neighbour(), None);
    script.hear(ROUTER);
    assert_eq!(script.neighbour().as_deref(), Some(ROUTER));
    assert_eq!(script.advertised(0).len(), 1);
    assert_eq!(script.discovery.status().last_heard, Some(script.now));
}

#[test]
fn our_own_word_and_bad_words_are_ignored() {
    let mut script = Script::up(None);
    script.hear(OURS);
    let octets = RouterAdvertisement::ours(None).encode();
    script.discovery.handle_message(script.now, address(ROUTER), 64, &octets);
    script.discovery.handle_message(script.now, address("2001:db8::1"), 255, &octets);
    assert_eq!(script.neighbour(), None);
    let status = script.discovery.status();
    assert_eq!((status.received, status.ignored), (0, 2));
}

#[test]
fn a_new_address_is_followed_while_no_session_lives() {
    let mut script = Script::up(None);
    script.hear(ROUTER);
    script.hear(OTHER);
    assert_eq!(script.neighbour().as_deref(), Some(OTHER));
    assert_eq!(script.discovery.status().others, [address(ROUTER)]);
}

#[test]
fn invented_addresses_change_the_target_once_a_second_at_the_most() {
    let mut script = Script::up(None);
    script.hear(ROUTER);
    let mut seen = std::collections::BTreeSet::new();
    for n in 0..1000u16 {
        script.hear(&format!("fe80::1:{n:x}"));
        seen.extend(script.neighbour());
        script.now += Duration::from_millis(5);
    }
    assert!((4..=6).contains(&seen.len()), "{seen:?}");
    assert_eq!(script.discovery.status().others.len(), OTHERS_MAX);
    // The flood over, it is found again.
    script.pass(41);
    script.hear(ROUTER);
    assert_eq!(script.neighbour().as_deref(), Some(ROUTER));
}

#[test]
fn a_second_change_within_a_second_is_followed_with_the_next_word() {
    let mut script = Script::up(None);
    script.hear(ROUTER);
    script.hear(OTHER);
    script.now += Duration::from_millis(500);
    script.hear("fe80::d");
    assert_eq!(script.neighbour().as_deref(), Some(OTHER));
    script.pass(3);
    script.hear("fe80::d");
    assert_eq!(script.neighbour().as_deref(), Some("fe80::d"));
}

#[test]
fn the_neighbour_of_a_live_session_is_kept_and_others_are_told() {
    let mut script = Script::up(None);
    script.hear(ROUTER);
    script.use_it(Some(ROUTER));
    for _ in 0..20 {
        script.hear(OTHER);
        script.hear(ROUTER);
        script.pass(10);
    }
    assert_eq!(script.neighbour().as_deref(), Some(ROUTER));
    assert_eq!(script.discovery.status().others, [address(OTHER)]);
    script.use_it(None);
    script.pass(29);
    script.hear(OTHER);
    assert_eq!(script.neighbour().as_deref(), Some(ROUTER), "both speak, and it has its time");
    script.pass(2);
    script.hear(OTHER);
    assert_eq!(script.neighbour().as_deref(), Some(OTHER));
}

#[test]
fn an_address_that_changed_during_a_session_is_followed_when_it_ends() {
    let mut script = Script::up(None);
    script.hear(ROUTER);
    script.use_it(Some(ROUTER));
    script.pass(30);
    script.hear(OTHER);
    script.pass(9);
    assert_eq!(script.neighbour().as_deref(), Some(ROUTER), "silent, but the session lives");
    script.use_it(None);
    assert_eq!(script.neighbour().as_deref(), Some(OTHER));
}

#[test]
fn two_routers_do_not_make_the_target_swing() {
    let mut script = Script::up(None);
    let mut seen = vec![];
    for _ in 0..12 {
        for router in [ROUTER, OTHER] {
            script.hear(router);
            seen.extend(script.neighbour());
            script.pass(5);
        }
    }
    seen.dedup();
    assert!((3..=6).contains(&seen.len()), "each gets its time: {seen:?}");
}

#[test]
fn at_most_eight_others_are_remembered_and_none_for_ever() {
    let mut script = Script::up(None);
    script.hear(ROUTER);
    script.use_it(Some(ROUTER));
    for host in 1..100 {
        script.hear(&format!("fe80::1:{host:x}"));
    }
    assert_eq!(script.discovery.status().others.len(), 8);
    script.pass(60);
    assert!(script.discovery.status().others.is_empty());
}

#[test]
fn who_connects_first_is_the_neighbour() {
    let mut script = Script::up(None);
    script.use_it(Some(ROUTER));
    assert_eq!(script.neighbour().as_deref(), Some(ROUTER));
    script.pass(200);
    assert_eq!(script.neighbour().as_deref(), Some(ROUTER));
    script.use_it(None);
    script.pass(41);
    assert_eq!(script.neighbour(), None, "it never spoke and its session is gone");
}

#[test]
fn a_link_that_goes_takes_everything_along_and_begins_anew() {
    let mut script = Script::up(None);
    script.hear(ROUTER);
    script.pass(60);
    script.hear(ROUTER);
    script.link(None);
    assert_eq!((script.neighbour(), script.discovery.poll_timeout()), (None, None));
    assert_eq!(script.pass(60), []);
    script.hear(ROUTER);
    assert_eq!(script.neighbour(), None, "nothing is heard on a link that is down");
    script.link(Some(OURS));
    let sent: Vec<char> = script.pass(5).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(sent[..2], ['A', 'S']);
    assert!(sent.iter().filter(|kind| **kind == 'A').count() >= 2);
}

#[test]
fn a_new_address_of_ours_is_told_at_once() {
    let mut script = Script::up(None);
    script.hear(ROUTER);
    script.pass(15);
    script.hear(ROUTER);
    script.link(Some(OURS));
    assert_eq!(script.pass(0), [], "nothing has changed");
    script.link(Some("fe80::aa"));
    assert_eq!(script.advertised(0).len(), 1);
    assert_eq!(script.neighbour().as_deref(), Some(ROUTER));
}

#[test]
fn a_fixed_neighbour_needs_no_word_and_is_never_exchanged() {
    let mut script = Script::new(Some(ROUTER));
    assert_eq!(script.neighbour(), None, "not without a link");
    script.link(Some(OURS));
    assert_eq!(script.neighbour().as_deref(), Some(ROUTER));
    script.hear(OTHER);
    script.use_it(Some(OTHER));
    assert!(script.advertised(120).len() > 10, "the neighbour may need ours");
    assert_eq!(script.neighbour().as_deref(), Some(ROUTER));
}
