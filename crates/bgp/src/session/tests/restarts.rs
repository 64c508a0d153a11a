// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Two sessions over a simulated network while processes stop, restart and die.

use super::pair::{MINUTE, World, wanted};
use super::*;
use crate::config::{Ending, Family};
use std::time::SystemTime;

const PREFIXES: [&str; 2] = ["192.0.2.1/32", "2001:db8:ffff::1/128"];

fn world(seed: u64) -> World {
    let mut world = World::new(seed, |_, config| config.graceful_restart = Some(GracefulRestart::default()));
    world.start_all();
    world.nodes[0].session.handle_wanted(wanted(&PREFIXES));
    world.drain(0);
    world.run(Duration::from_secs(40));
    world.assert_met("at first");
    assert_eq!(holds(&world, 1), PREFIXES);
    world
}

/// What a node holds of the other.
fn holds(world: &World, index: usize) -> Vec<String> {
    let routes = world.nodes[index].session.adj_rib_in().snapshot(world.now, SystemTime::now());
    routes.iter().map(|r| format!("{}{}", r.prefix, if r.is_stale { " stale" } else { "" })).collect()
}

fn end(world: &mut World, ending: &Ending) {
    world.nodes[0].session.handle_ending(world.now, ending);
    world.drain(0);
    for _ in 0..3 {
        world.nodes[0].session.handle_timeout(world.now);
        world.drain(0);
    }
}

/// A process that has adopted its forwarding.
fn adopted(now: Instant) -> impl Fn(&mut SessionConfig) {
    move |config| config.restarting_until = Some(now + GracefulRestart::RESTART_TIME_DEFAULT)
}

/// Runs in small steps, and the other holds both prefixes at every one of them.
fn run_watched(world: &mut World, duration: Duration, what: &str) {
    let end = world.now + duration;
    while world.now < end {
        world.run(Duration::from_millis(5));
        let held = holds(world, 1);
        let held: Vec<_> = held.iter().map(|text| text.trim_end_matches(" stale")).collect();
        assert_eq!(held, PREFIXES, "{what}");
    }
}

#[test]
fn a_restart_is_not_noticed_by_the_peers_routes() {
    for seed in 0..20 {
        for is_planned in [true, false] {
            let mut world = world(seed);
            let what = format!("seed {seed}, planned {is_planned}");
            if is_planned {
                end(&mut world, &Ending::Restart { text: "upgrade".into() });
            }
            world.kill(0);
            run_watched(&mut world, Duration::from_secs(3), &what);
            assert!(holds(&world, 1).iter().all(|text| text.ends_with("stale")), "{what}");
            let now = world.now;
            world.revive(0, adopted(now));
            // The set is put together piece by piece; nothing goes before it is whole.
            run_watched(&mut world, Duration::from_secs(8), &what);
            world.nodes[0].session.handle_wanted(wanted(&PREFIXES[..1]));
            world.drain(0);
            run_watched(&mut world, Duration::from_millis(100), &what);
            world.nodes[0].session.handle_wanted(wanted(&PREFIXES));
            world.nodes[0].session.handle_complete(world.now);
            world.drain(0);
            run_watched(&mut world, Duration::from_secs(5), &what);
            world.assert_met(&what);
            assert_eq!(holds(&world, 1), PREFIXES, "{what}: nothing is stale");
        }
    }
}

#[test]
fn what_a_restarted_process_does_not_announce_again_goes_with_end_of_rib() {
    let mut world = world(1);
    world.kill(0);
    let now = world.now;
    world.revive(0, adopted(now));
    world.nodes[0].session.handle_wanted(wanted(&PREFIXES[..1]));
    world.drain(0);
    world.run(Duration::from_secs(10));
    assert_eq!(holds(&world, 1), [PREFIXES[0], "2001:db8:ffff::1/128 stale"]);
    world.nodes[0].session.handle_complete(world.now);
    world.drain(0);
    world.run(Duration::from_millis(100));
    assert_eq!(holds(&world, 1), PREFIXES[..1]);
}

#[test]
fn a_process_that_lost_its_forwarding_makes_the_peer_forget() {
    let mut world = world(2);
    world.kill(0);
    world.run(Duration::from_secs(1));
    assert_eq!(holds(&world, 1).len(), 2);
    world.revive(0, |_| {});
    world.run(Duration::from_secs(10));
    world.assert_met("F is clear");
    assert!(holds(&world, 1).is_empty());
}

#[test]
fn a_process_that_never_comes_back_is_forgotten_after_the_restart_time() {
    let mut world = world(3);
    world.kill(0);
    world.is_refusing = true;
    run_watched(&mut world, Duration::from_secs(19), "within");
    world.run(Duration::from_secs(2));
    assert!(holds(&world, 1).is_empty() && world.nodes[1].session.stale_until().is_none());
}

#[test]
fn a_stop_is_final_at_once() {
    let mut world = world(4);
    end(&mut world, &Ending::Stop { text: "rack 12".into() });
    world.run(Duration::from_millis(20));
    assert!(holds(&world, 1).is_empty());
    let heard = world.heard(1).pop();
    assert_eq!(heard.unwrap(), "cease (6), hard reset (9) for administrative shutdown (6/2): rack 12");
    world.run(MINUTE);
    assert_eq!(world.nodes[0].session.state(), State::Idle);
}

#[test]
fn a_dead_path_takes_the_routes_along_on_both_sides() {
    let mut world = world(5);
    world.nodes[1].session.handle_path_down(world.now, PathDown::Bfd);
    world.drain(1);
    assert!(holds(&world, 1).is_empty());
    world.run(MINUTE);
    world.assert_met("the path is back");
    assert_eq!(holds(&world, 1), PREFIXES);
    assert!(world.heard(0).contains(&"cease (6), hard reset (9) for BFD down (6/10)".to_owned()));
}

#[test]
fn whatever_happens_each_holds_in_the_end_what_the_other_announces() {
    for seed in 0..60 {
        let mut world = world(seed);
        world.latency_max = Duration::from_millis(20);
        let mut announced = [PREFIXES.map(str::to_owned).to_vec(), vec![]];
        for round in 0..24u64 {
            let index = usize::try_from((seed + round / 3) % 2).unwrap();
            match (seed * 7 + round * 5) % 9 {
                0 => world.cut(),
                1 => world.is_silent = !world.is_silent,
                2 => world.is_refusing = !world.is_refusing,
                3 | 4 => {
                    world.kill(index);
                    let pause = world.chance(Duration::from_secs(8));
                    world.run(pause);
                    let until = (round % 2 == 0).then_some(world.now + Duration::from_secs(20));
                    world.revive(index, |config| config.restarting_until = until);
                    announced[index].clear();
                }
                5 => {
                    let why = if round % 2 == 0 { PathDown::Bfd } else { PathDown::Link };
                    world.nodes[index].session.handle_path_down(world.now, why);
                    world.drain(index);
                }
                6 => world.nodes[index].session.handle_forwarding(round % 2 == 0),
                7 => {
                    world.nodes[index].session.handle_complete(world.now);
                    world.drain(index);
                }
                _ => {
                    announced[index] = vec![format!("192.0.2.{round}/32"), format!("198.51.100.{round}/32")];
                    let list: Vec<&str> = announced[index].iter().map(String::as_str).collect();
                    world.nodes[index].session.handle_wanted(wanted(&list));
                    world.drain(index);
                }
            }
            let pause = world.chance(Duration::from_secs(16));
            world.run(pause);
            for node in &world.nodes {
                let session = &node.session;
                assert_eq!(session.stale_until().is_some(), !session.adj_rib_in().stale().is_empty());
                let is_up = session.state() == State::Established;
                assert!(is_up || session.adj_rib_in().is_empty() || session.stale_until().is_some());
                for family in Family::ALL {
                    assert!(session.adj_rib_in().len(family) <= PeerConfig::PREFIXES_MAX_DEFAULT);
                }
            }
        }
        (world.is_silent, world.is_refusing) = (false, false);
        world.run(5 * MINUTE);
        world.assert_met(&format!("seed {seed}"));
        for index in 0..2 {
            assert_eq!(holds(&world, index), announced[1 - index], "seed {seed}, node {index}");
            assert!(world.nodes[index].session.rib().is_settled());
        }
    }
}
