// SPDX-License-Identifier: Apache-2.0 OR MIT
//! AdminDown both ways, removal, replacement, and the clean stop.

use std::collections::BTreeMap;

use weir_bfd::packet::{Diagnostic, State};
use weir_bfd::{SessionConfig, Wanted};

use crate::world::{A, B, World, config, ms, timing};

fn up() -> World {
    let mut world = World::new(9, [timing(100, 100, 3); 2]);
    world.bring_up();
    world
}

#[test]
fn admin_down_is_heard_at_once_and_undone() {
    let mut world = up();
    let held = SessionConfig { wanted: Wanted::AdminDown, ..config(A, timing(100, 100, 3)) };
    world.set(A, &held);
    world.run(ms(5));
    assert_eq!(world.session(A).diagnostic(), Diagnostic::ADMINISTRATIVELY_DOWN);
    assert_eq!(world.state(B), State::Down);
    assert_eq!(world.session(B).remote().state, State::AdminDown);
    assert_eq!(world.session(B).diagnostic(), Diagnostic::NEIGHBOUR_SIGNALED_DOWN);
    world.run(ms(60_000));
    assert_eq!((world.state(A), world.state(B)), (State::AdminDown, State::Down));
    assert_eq!(world.session(B).remote().state, State::AdminDown, "it goes on saying so");
    for host in [A, B] {
        let session = world.session(host);
        assert_eq!((session.ups(), session.downs()), (1, 1));
        assert_eq!(session.failures(), 0, "a wish is no verdict on the path");
    }
    world.set(A, &config(A, timing(100, 100, 3)));
    world.bring_up();
}

/// Who lost the power to forward wants its peer to know; by itself it has nothing to learn from that.
#[test]
fn lost_forwarding_is_a_failure_for_the_peer_alone() {
    let mut world = up();
    let lost = SessionConfig { wanted: Wanted::ForwardingLost, ..config(A, timing(100, 100, 3)) };
    world.set(A, &lost);
    world.run(ms(5));
    assert_eq!(world.session(B).remote().diagnostic, Diagnostic::FORWARDING_PLANE_RESET);
    assert_eq!((world.session(A).failures(), world.session(B).failures()), (0, 1));
    world.run(ms(10_000));
    assert_ne!(world.state(B), State::Up, "held down");
    world.set(A, &config(A, timing(100, 100, 3)));
    world.bring_up();
}

#[test]
fn a_removed_session_is_gone_when_its_peer_has_heard() {
    let mut world = up();
    world.hosts[A].set(BTreeMap::new(), world.now).expect("a good set");
    let time = world.run_until(ms(3000), |world| world.hosts[A].is_empty());
    assert!(time < ms(150), "{time:?}");
    assert_eq!(world.session(B).remote().state, State::AdminDown);
}

#[test]
fn a_removed_session_does_not_wait_for_ever() {
    let mut world = up();
    world.is_lost = |_, _| true;
    world.hosts[A].set(BTreeMap::new(), world.now).expect("a good set");
    let time = world.run_until(ms(3000), |world| world.hosts[A].is_empty());
    assert!(ms(290) <= time && time <= ms(2000), "{time:?}");
}

#[test]
fn a_stop_says_goodbye_and_ends() {
    let mut world = up();
    world.hosts[A].set_admin_down(world.now);
    world.run_until(ms(150), |world| world.hosts[A].is_empty());
    assert_eq!(world.state(B), State::Down);
    assert_eq!(world.session(B).remote().state, State::AdminDown);
}

/// Another name for the same peer: the old session must not fight the new one.
#[test]
fn a_renamed_session_comes_up_anew() {
    let mut world = up();
    let old = world.session(A).local_discriminator();
    let renamed = BTreeMap::from([("other".to_owned(), config(A, timing(100, 100, 3)))]);
    world.hosts[A].set(renamed, world.now).expect("a good set");
    assert!(!world.hosts[A].contains(old));
    let now = world.now;
    world.hosts[A].handle_timeout(now);
    world.run_until(ms(5000), |world| world.state(B) == State::Down);
    world.bring_up();
    assert_ne!(world.session(A).local_discriminator(), old);
}

/// Sets that follow each other faster than goodbyes end do not pile them up.
#[test]
fn goodbyes_are_bounded() {
    let mut world = up();
    for round in 0..20_u32 {
        let hosts = (0..250)
            .map(|n| SessionConfig::new(std::net::Ipv4Addr::from(0x0b00_0000 + round * 256 + n).into()));
        let set = hosts.enumerate().map(|(n, config)| (n.to_string(), config)).collect();
        world.hosts[A].set(set, world.now).expect("a good set");
        let leaving = world.hosts[A].iter().filter(|(_, entry)| entry.is_leaving()).count();
        assert!(world.hosts[A].iter().count() <= 512 && leaving <= 512 - 250);
    }
}
