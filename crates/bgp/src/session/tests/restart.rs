// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Graceful restart of both sides, and the right ending for each occasion.

use super::script::{Script, open, raw, wanted};
use super::*;
use crate::config::{Ending, Families, Family};
use std::time::SystemTime;

/// A session that offers graceful restart; with `until` as a process that has restarted.
fn config_gr(until: Option<Instant>) -> SessionConfig {
    let mut config = config(65010, "192.0.2.1", "10.0.0.1", 65000);
    config.graceful_restart = Some(GracefulRestart { is_restarting: until.is_some(), ..Default::default() });
    config.restarting_until = until;
    config
}

/// The peer's capability: N, restart time, and families with F.
fn theirs_gr(has_notification: bool, time_s: u16, families: &[(Family, bool)]) -> Open {
    let mut open = open(65000);
    open.capabilities.push(Capability::GracefulRestart {
        is_restarting: false,
        has_notification,
        time_s,
        families: families.iter().map(|(family, f)| ((*family).into(), *f)).collect(),
    });
    open
}

const V4: Family = Family::Ipv4Unicast;
const V6: Family = Family::Ipv6Unicast;
const LOCAL: &str = "10.0.0.2:5000";
const PEER: &str = "10.0.0.1:179";

/// What our OPEN says about restarts.
fn offered(open: &Open) -> String {
    open.capabilities.iter().map(ToString::to_string).find(|word| word.starts_with("GR")).unwrap_or_default()
}

fn established(config: SessionConfig, theirs: &Open) -> Script {
    let mut script = Script::started(config);
    script.dial(LOCAL, PEER);
    script.meet(theirs);
    script.session.handle_wanted(wanted(&["192.0.2.1/32"]));
    script.sent();
    script
}

/// An UPDATE announcing both default routes.
fn defaults() -> Vec<u8> {
    let next_hop = "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets();
    let reach = [&[0x80, 14, 22, 0, 2, 1, 16][..], &next_hop, &[0, 0]].concat();
    let rest = [0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe8, 0x40, 3, 4, 10, 0, 0, 1];
    let attributes = [&reach[..], &rest].concat();
    let length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
    raw(2, &[&[0, 0][..], &length, &attributes, &[0]].concat())
}

fn kept(script: &Script) -> Vec<String> {
    let routes = script.session.adj_rib_in().snapshot(script.now, SystemTime::now());
    routes.iter().map(|r| format!("{}{}", r.prefix, if r.is_stale { " stale" } else { "" })).collect()
}

/// Both connect again after a loss.
fn again(script: &mut Script, theirs: &Open) -> Open {
    script.events();
    script.now = script.session.timers().idle_until.unwrap();
    script.session.handle_timeout(script.now);
    let ours = script.dial(LOCAL, PEER);
    script.meet(theirs);
    ours
}

#[test]
fn a_first_start_says_nothing_was_preserved_and_later_sessions_say_it_was() {
    let helper = theirs_gr(true, 120, &[]);
    let mut script = Script::started(config_gr(None));
    assert_eq!(offered(&script.dial(LOCAL, PEER)), "GR R=0 N=1 time=20 1/1:F=0 2/1:F=0");
    script.meet(&helper);
    assert_eq!(script.sent(), ["Update", "Update"], "End-of-RIB does not wait");
    script.session.handle_closed(script.now, Slot::Dialled);
    assert_eq!(offered(&again(&mut script, &helper)), "GR R=0 N=1 time=20 1/1:F=1 2/1:F=1");
    // What cannot outlive us is not offered; once it is back it was not there the whole time.
    script.session.handle_forwarding(false);
    script.session.handle_closed(script.now, Slot::Dialled);
    assert_eq!(offered(&again(&mut script, &helper)), "GR R=0 N=1 time=20 no-AFI");
    script.session.handle_closed(script.now, Slot::Dialled);
    script.session.handle_forwarding(true);
    assert_eq!(offered(&again(&mut script, &helper)), "GR R=0 N=1 time=20 1/1:F=0 2/1:F=0");
    script.session.handle_closed(script.now, Slot::Dialled);
    assert_eq!(offered(&again(&mut script, &helper)), "GR R=0 N=1 time=20 1/1:F=1 2/1:F=1");
}

#[test]
fn without_the_option_nothing_is_offered() {
    let mut peerless = config_gr(None);
    peerless.peer.has_graceful_restart = false;
    for config in [peerless, config(65010, "192.0.2.1", "10.0.0.1", 65000)] {
        let mut script = Script::started(config);
        assert_eq!(offered(&script.dial(LOCAL, PEER)), "");
        script.meet(&theirs_gr(true, 120, &[(V4, true)]));
        assert_eq!(script.session.negotiated_status().unwrap().graceful_restart, None);
        script.hear(&defaults());
        script.session.handle_closed(script.now, Slot::Dialled);
        assert!(kept(&script).is_empty());
    }
}

#[test]
fn a_restarted_process_holds_end_of_rib_until_the_set_is_whole() {
    let now = Instant::now();
    let mut script = Script::started(config_gr(Some(now + Duration::from_secs(20))));
    script.now = now;
    assert_eq!(offered(&script.dial(LOCAL, PEER)), "GR R=1 N=1 time=20 1/1:F=1 2/1:F=1");
    script.meet(&theirs_gr(true, 120, &[]));
    assert_eq!(script.sent(), [] as [&str; 0]);
    script.session.handle_wanted(wanted(&["192.0.2.1/32"]));
    assert_eq!(script.sent(), ["Update +192.0.2.1/32"]);
    assert!(script.session.rib().is_settled(), "what can be said is said");
    // A session that is lost meanwhile still follows a restart.
    script.session.handle_closed(script.now, Slot::Dialled);
    assert_eq!(
        offered(&again(&mut script, &theirs_gr(true, 120, &[]))),
        "GR R=1 N=1 time=20 1/1:F=1 2/1:F=1"
    );
    assert_eq!(script.sent(), ["Update +192.0.2.1/32"]);
    script.session.handle_complete(script.now);
    assert_eq!(script.sent(), ["Update", "Update"]);
    script.session.handle_closed(script.now, Slot::Dialled);
    assert_eq!(
        offered(&again(&mut script, &theirs_gr(true, 120, &[]))),
        "GR R=0 N=1 time=20 1/1:F=1 2/1:F=1"
    );
    assert_eq!(script.sent(), ["Update +192.0.2.1/32", "Update", "Update"]);
}

#[test]
fn the_restart_time_ends_the_wait_of_end_of_rib() {
    let now = Instant::now();
    let mut script = Script::started(config_gr(Some(now + Duration::from_secs(20))));
    script.now = now;
    script.dial(LOCAL, PEER);
    script.meet(&Open { hold_time_s: 0, ..theirs_gr(true, 120, &[]) });
    assert_eq!(script.session.poll_timeout(), Some(now + Duration::from_secs(20)));
    script.wait(19);
    assert_eq!(script.sent(), [] as [&str; 0]);
    script.wait(1);
    assert_eq!(
        (script.sent(), script.session.poll_timeout()),
        (vec!["Update".into(), "Update".into()], None)
    );
}

#[test]
fn every_ending_has_its_last_word() {
    let stop = Ending::Stop { text: "end".into() };
    let restart = Ending::Restart { text: "back soon".into() };
    let (aware, plain) = (theirs_gr(false, 0, &[]), open(65000));
    let notifies = theirs_gr(true, 120, &[]);
    // Peer, ending, whether the forwarding is lost; withdraws, code, inner code and text.
    let cases = [
        (&plain, &stop, false, true, "6/2 end"),
        (&aware, &stop, false, true, "6/2 end"),
        (&notifies, &stop, false, true, "6/9 6/2 end"),
        (&plain, &restart, false, true, "6/4 back soon"),
        (&aware, &restart, false, false, ""),
        (&notifies, &restart, false, false, ""),
        (&aware, &restart, true, true, "6/4 back soon"),
        (&notifies, &restart, true, true, "6/9 6/4 back soon"),
    ];
    for (peer, ending, is_lost, withdraws, word) in cases {
        let what = format!("{ending:?}, {}, lost {is_lost}", offered(peer));
        let mut script = established(config_gr(None), peer);
        script.session.handle_forwarding(!is_lost);
        script.session.handle_ending(script.now, ending);
        let expected: &[&str] = if withdraws { &["Update -192.0.2.1/32"] } else { &[] };
        assert_eq!(script.sent(), expected, "{what}");
        script.wait(0);
        let mut heard = String::new();
        let mut ends = vec![];
        while let Some(event) = script.session.poll_event() {
            match event {
                SessionEvent::NotificationSent { notification: n, .. } => {
                    heard = format!("{}/{}", n.code(), n.subcode());
                    let inner = n.hard_reset();
                    if let Some(inner) = &inner {
                        heard += &format!(" {}/{}", inner.code(), inner.subcode());
                    }
                    heard += &format!(" {}", inner.unwrap_or(n).shutdown_text().unwrap_or_default());
                }
                SessionEvent::Close { farewell, .. } => {
                    assert_eq!(farewell.is_some(), !word.is_empty(), "{what}");
                    ends.push("close");
                }
                SessionEvent::Down => ends.push("down"),
                SessionEvent::Stopped => ends.push("stopped"),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((heard.as_str(), ends.as_slice()), (word, &["down", "close", "stopped"][..]), "{what}");
        assert_eq!(script.session.counters().flaps, 0, "{what}");
        script.wait(1000);
        assert_eq!(script.events(), [] as [&str; 0], "{what}");
    }
}

#[test]
fn a_restart_first_says_what_is_unsaid_and_a_peer_that_does_not_listen_keeps_nothing() {
    let mut script = established(config_gr(None), &theirs_gr(true, 120, &[]));
    let restart = Ending::Restart { text: String::new() };
    script.session.handle_wanted(wanted(&[]));
    script.session.handle_ending(script.now, &restart);
    assert_eq!(script.events(), [] as [&str; 0]);
    assert_eq!(script.sent(), ["Update -192.0.2.1/32"]);
    script.wait(0);
    assert_eq!(script.events(), ["Down", "close", "Stopped"]);
    let mut script = established(config_gr(None), &theirs_gr(true, 120, &[]));
    script.session.handle_wanted(wanted(&[]));
    script.session.handle_ending(script.now, &restart);
    script.wait(1);
    assert_eq!(script.events(), ["Down", "sent 6/9", "close 6/9", "Stopped"]);
}

/// A peer that keeps our routes over a NOTIFICATION must not keep those that we could not withdraw.
#[test]
fn a_session_that_still_owes_a_withdraw_ends_hard() {
    for (owes, code) in [(false, "8/0"), (true, "6/9")] {
        let mut script = established(config_gr(None), &theirs_gr(true, 120, &[]));
        if owes {
            script.session.handle_wanted(wanted(&[]));
        }
        script.session.handle_blocked(script.now, Slot::Dialled);
        for _ in 0..15 {
            script.wait(2);
            script.hear(&encode_keepalive());
        }
        assert_eq!(script.events(), ["Down".to_owned(), format!("sent {code}"), format!("close {code}")]);
    }
}

#[test]
fn routes_of_the_peer_outlive_what_they_should_and_nothing_else() {
    let gr = |n| theirs_gr(n, 60, &[(V4, true)]);
    let cease = Notification::shutdown("").encode();
    let hard = Notification::hard_reset_of(&Notification::shutdown("")).encode();
    type End = Box<dyn Fn(&mut Script)>;
    let closed = || -> End { Box::new(|s| s.session.handle_closed(s.now, Slot::Dialled)) };
    let hears = |octets: Vec<u8>| -> End { Box::new(move |s| s.hear(&octets)) };
    let cases: [(&str, Open, End, bool); 13] = [
        ("closed", gr(false), closed(), true),
        ("closed, N", gr(true), closed(), true),
        ("closed, no families", theirs_gr(true, 60, &[]), closed(), false),
        ("closed, no time", theirs_gr(true, 0, &[(V4, true)]), closed(), false),
        ("cease", gr(false), hears(cease.clone()), false),
        ("cease, N", gr(true), hears(cease), true),
        ("hard reset", gr(true), hears(hard), false),
        ("hold timer", gr(false), Box::new(|s| s.wait(9)), false),
        ("hold timer, N", gr(true), Box::new(|s| s.wait(9)), true),
        ("our error, N", gr(true), hears(raw(2, &[0, 255, 0, 0])), true),
        ("BFD", gr(true), Box::new(|s| s.session.handle_path_down(s.now, PathDown::Bfd)), false),
        ("link", gr(true), Box::new(|s| s.session.handle_path_down(s.now, PathDown::Link)), false),
        ("our stop", gr(true), Box::new(|s| s.stop("")), false),
    ];
    for (what, theirs, end, is_kept) in cases {
        let mut script = established(config_gr(None), &theirs);
        script.hear(&defaults());
        assert_eq!(kept(&script), ["0.0.0.0/0", "::/0"], "{what}");
        end(&mut script);
        script.sent();
        script.wait(0);
        assert_ne!(script.session.state(), State::Established, "{what}");
        let expected: &[&str] = if is_kept { &["0.0.0.0/0 stale"] } else { &[] };
        assert_eq!(kept(&script), expected, "{what}");
        assert_eq!(script.session.stale_until().is_some(), is_kept, "{what}");
        script.wait(60);
        assert!(kept(&script).is_empty() && script.session.stale_until().is_none(), "{what}: for ever");
    }
}

#[test]
fn a_dead_path_drops_what_is_stale_and_dialling_goes_on() {
    let mut script = established(config_gr(None), &theirs_gr(true, 60, &[(V4, true)]));
    script.hear(&defaults());
    script.session.handle_closed(script.now, Slot::Dialled);
    assert_eq!(kept(&script), ["0.0.0.0/0 stale"]);
    script.events();
    script.session.handle_path_down(script.now, PathDown::Bfd);
    assert!(kept(&script).is_empty());
    script.wait(1);
    assert_eq!(script.events(), ["Dial"]);
    // While Established: Cease/10, as a Hard Reset where both sent N.
    let mut script = established(config_gr(None), &open(65000));
    script.session.handle_path_down(script.now, PathDown::Bfd);
    assert_eq!(script.events(), ["Down", "sent 6/10", "close 6/10"]);
    script.wait(1);
    assert_eq!(script.events(), ["Dial"]);
    let mut script = established(config_gr(None), &theirs_gr(true, 60, &[]));
    script.session.handle_path_down(script.now, PathDown::Bfd);
    assert_eq!(script.events(), ["Down", "sent 6/9", "close 6/9"]);
    let mut script = established(config_gr(None), &theirs_gr(true, 60, &[]));
    script.session.handle_path_down(script.now, PathDown::Link);
    assert_eq!(script.events(), ["Down", "close"], "no word would get through");
}

#[test]
fn stale_routes_go_when_told_again_or_not_preserved_or_not_in_time() {
    let gr = theirs_gr(true, 60, &[(V4, true), (V6, true)]);
    let lost = || {
        let mut script = established(config_gr(None), &gr);
        script.hear(&defaults());
        script.session.handle_closed(script.now, Slot::Dialled);
        assert_eq!(kept(&script), ["0.0.0.0/0 stale", "::/0 stale"]);
        script
    };
    let mut script = lost();
    again(&mut script, &gr);
    assert_eq!(kept(&script), ["0.0.0.0/0 stale", "::/0 stale"]);
    script.hear(&raw(2, &[0, 0, 0, 0]));
    assert_eq!(kept(&script), ["::/0 stale"], "End-of-RIB of IPv4");
    script.hear(&defaults());
    assert_eq!(
        (kept(&script), script.session.stale_until()),
        (vec!["0.0.0.0/0".into(), "::/0".into()], None)
    );

    let mut script = lost();
    again(&mut script, &theirs_gr(true, 60, &[(V4, false), (V6, true)]));
    assert_eq!(kept(&script), ["::/0 stale"], "no F for IPv4");
    let mut script = lost();
    again(&mut script, &open(65000));
    assert!(kept(&script).is_empty(), "no capability any more");

    // Lost again before it was done: what is still stale goes, for else it might stay for ever.
    let mut script = lost();
    again(&mut script, &gr);
    script.session.handle_closed(script.now, Slot::Dialled);
    assert!(kept(&script).is_empty());

    // Our own bound is below the peer's wish.
    let mut bounded = config_gr(None);
    bounded.graceful_restart =
        Some(GracefulRestart { helper_max: Duration::from_secs(5), ..Default::default() });
    let mut script = established(bounded, &gr);
    script.hear(&defaults());
    script.session.handle_closed(script.now, Slot::Dialled);
    assert_eq!(script.session.stale_until(), Some(script.now + Duration::from_secs(5)));
    script.wait(4);
    assert_eq!(kept(&script).len(), 2);
    script.wait(1);
    assert!(kept(&script).is_empty());
}

#[test]
fn a_peer_that_comes_back_before_we_missed_it_is_taken_at_its_word() {
    let gr = theirs_gr(true, 60, &[(V4, true)]);
    let ends: [SocketAddr; 2] = ["10.0.0.2:179", "10.0.0.1:6000"].map(|text| text.parse().unwrap());
    let mut script = established(config_gr(None), &gr);
    script.hear(&defaults());
    let collision = Err(Notification::cease(cease::COLLISION));
    assert_eq!(script.session.handle_accepted(script.now, ends[0], ends[1]), collision, "a late collision");
    script.wait(5);
    assert_eq!(script.session.handle_accepted(script.now, ends[0], ends[1]), Ok(()));
    assert_eq!(script.events(), ["Down", "close"]);
    assert_eq!(
        (script.session.state(), kept(&script)),
        (State::OpenSent, vec!["0.0.0.0/0 stale".to_owned()])
    );
    // A peer that never asked for it is not believed.
    let mut script = established(config_gr(None), &open(65000));
    script.wait(5);
    assert_eq!(script.session.handle_accepted(script.now, ends[0], ends[1]), collision);
}

#[test]
fn what_was_agreed_is_shown() {
    let script = established(config_gr(None), &theirs_gr(true, 60, &[(V4, true)]));
    let restart = script.session.negotiated_status().unwrap().graceful_restart.unwrap();
    assert_eq!((restart.peer_time, restart.has_notification), (Duration::from_secs(60), true));
    assert_eq!(
        (restart.kept_by_peer, restart.kept_for_peer),
        (Families::BOTH, Families { ipv4: true, ipv6: false })
    );
    let timers = script.session.timers();
    assert!(timers.hold_at.is_some() && timers.keepalive_at.is_some());
    assert_eq!((timers.connect_at, timers.idle_until), (None, None));
}
