// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given an appliance with an uplink to each of two switches, and routes to its backends over both,
//! When clients' packets come in by the one,
//! Then they leave by both, half each, in both families; and when a route, a neighbour or a link goes, the other switch
//! takes over, with no frame to the address that is gone later than a tenth of a second.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use weir_lab::{Mac, SWITCH_MACS, Sent, TwoSwitches, wait_until};

use crate::{PATIENCE, weir};

/// The longest that frames may go to an address which is gone.
const STALE_MAX: Duration = Duration::from_millis(100);
/// So long nothing went there any more: none will.
const SILENCE: Duration = Duration::from_millis(400);
/// Times each way of going is tried.
const ROUNDS: usize = 5;
/// Between two frames of the stream.
const INTERVAL: Duration = Duration::from_micros(250);
/// Where the second switch moves to.
const MOVED: Mac = [2, 0, 0, 0, 0xa, 0x77];

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

/// What switch `number` (from 0) saw for `mac`.
fn sent(two: &TwoSwitches, number: usize, mac: Mac) -> Sent {
    two.seen()[number].get(&mac).copied().unwrap_or_default()
}

/// Waits until new frames go to both switches.
fn wait_both(two: &TwoSwitches) {
    let before = [0, 1].map(|number| sent(two, number, SWITCH_MACS[number]));
    wait_until("frames to both switches", PATIENCE, || {
        for number in [0, 1] {
            let (was, is) = (before[number], sent(two, number, SWITCH_MACS[number]));
            anyhow::ensure!(is.v4 > was.v4 + 20 && is.v6 > was.v6 + 20, "switch {number}: {is:?}");
        }
        Ok(())
    })
    .unwrap_or_else(|error| {
        two.logs.show();
        panic!("{error:#}");
    });
}

fn running() -> TwoSwitches {
    let mut two = TwoSwitches::build(&weir()).expect("the network");
    two.appliance.start().unwrap_or_else(|error| {
        two.logs.show();
        panic!("{error:#}");
    });
    two
}

#[test]
#[ignore = "needs root and netns"]
fn flows_are_spread_over_both_uplinks() {
    let two = running();
    let stream = two.stream(INTERVAL).expect("a stream");
    wait_both(&two);
    // Each flow sends as often as every other: the shares of packets are those of flows.
    wait_until("some thousand frames", PATIENCE, || {
        let all: u64 =
            [0, 1].map(|number| sent(&two, number, SWITCH_MACS[number])).map(|s| s.v4 + s.v6).iter().sum();
        anyhow::ensure!(all > 16_000, "{all}");
        Ok(())
    })
    .expect("frames");
    let [first, second] = [0, 1].map(|number| sent(&two, number, SWITCH_MACS[number]));
    stream.stop().expect("it ran");
    println!("by the same uplink (transmit): {first:?}; by the other (redirect): {second:?}");
    for (one, other) in [(first.v4, second.v4), (first.v6, second.v6)] {
        let share = one as f64 / (one + other) as f64;
        assert!((0.44..0.56).contains(&share), "{share} of the packets by the first");
    }
    // Nothing went to any other address, and none of one switch's frames to the other.
    for (number, seen) in two.seen().iter().enumerate() {
        assert_eq!(seen.keys().collect::<Vec<_>>(), [&SWITCH_MACS[number]]);
    }
    let status = two.appliance.status().expect("status");
    assert_eq!(status["dataplane"]["uplinks"].as_object().map(|uplinks| uplinks.len()), Some(2));
}

/// A way for the path over the second switch to go.
struct Loss {
    what: &'static str,
    /// What happens at the second switch just before.
    at_switch: &'static str,
    /// What happens at the appliance.
    lines: String,
    /// Brings it back: at the switch, at the appliance.
    undo: (&'static str, String),
}

fn losses() -> [Loss; 4] {
    let neighbour = |state: &str, last: &str| {
        ["10.0.2.1", "2001:db8:2::1"]
            .map(|address| {
                format!("neigh replace {address} dev eth1 nud {state} lladdr 02:00:00:00:0a:{last}")
            })
            .join("\n")
    };
    [
        Loss {
            what: "route",
            at_switch: "",
            lines: TwoSwitches::route_lines(&[1]),
            undo: ("", TwoSwitches::route_lines(&[1, 2])),
        },
        Loss {
            what: "moved neighbour",
            at_switch: "",
            lines: neighbour("reachable", "77"),
            undo: ("", neighbour("reachable", "02")),
        },
        // As after the kernel has asked in vain; the switch is mute, or it would be found again at once.
        Loss {
            what: "failed neighbour",
            at_switch: "address del 10.0.2.1/24 dev lb1\naddress del 2001:db8:2::1/64 dev lb1",
            lines: neighbour("failed", "02"),
            undo: (
                "address add 10.0.2.1/24 dev lb1\naddress add 2001:db8:2::1/64 dev lb1 nodad",
                neighbour("reachable", "02"),
            ),
        },
        Loss {
            what: "link",
            at_switch: "",
            lines: "link set eth1 down".to_owned(),
            undo: ("", format!("link set eth1 up\n{}", TwoSwitches::route_lines(&[1, 2]))),
        },
    ]
}

#[test]
#[ignore = "needs root and netns"]
fn a_path_that_goes_is_left_within_a_tenth_of_a_second() {
    let two = running();
    let host = two.appliance.netns();
    let stream = two.stream(INTERVAL).expect("a stream");
    let mut late = Vec::new();
    for round in 1..=ROUNDS {
        for loss in losses() {
            wait_both(&two);
            let before = sent(&two, 0, SWITCH_MACS[0]);
            if !loss.at_switch.is_empty() {
                two.switches[1].ip(loss.at_switch).expect("the switch falls silent");
            }
            let started = now();
            host.ip(&loss.lines).expect("it goes");
            let ended = now();
            wait_until("the address that is gone to be left", PATIENCE, || {
                let last = sent(&two, 1, SWITCH_MACS[1]).last_at;
                anyhow::ensure!(now() - last.max(started) > SILENCE.as_secs_f64(), "still used");
                Ok(())
            })
            .unwrap_or_else(|error| {
                two.logs.show();
                panic!("{}: {error:#}", loss.what);
            });
            let stale = (sent(&two, 1, SWITCH_MACS[1]).last_at - started).max(0.0) * 1000.0;
            println!(
                "round {round}, {}: last frame to it {stale:.1} ms after the command began, which took {:.1} ms",
                loss.what,
                (ended - started) * 1000.0
            );
            if stale > STALE_MAX.as_secs_f64() * 1000.0 {
                late.push((round, loss.what, stale));
            }
            let after = sent(&two, 0, SWITCH_MACS[0]);
            assert!(after.v4 > before.v4 && after.v6 > before.v6, "the other switch goes on");
            if loss.what == "moved neighbour" {
                let moved = sent(&two, 1, MOVED);
                assert!(moved.v4 > 0 && moved.v6 > 0, "{moved:?}");
            }
            let (at_switch, at_host) = &loss.undo;
            if !at_switch.is_empty() {
                two.switches[1].ip(at_switch).expect("the switch comes back");
            }
            host.ip(at_host).expect("it comes back");
        }
    }
    stream.stop().expect("it ran");
    assert!(late.is_empty(), "{late:?}");
}

/// When the last path goes nothing leaves any more, and the status says why; when one comes back, packets leave by it.
#[test]
#[ignore = "needs root and netns"]
fn with_the_last_path_everything_stops_and_comes_back() {
    let two = running();
    let host = two.appliance.netns();
    let stream = two.stream(INTERVAL).expect("a stream");
    wait_both(&two);
    host.ip("route del 10.1.0.0/16\nroute del 2001:db8:1000::/44").expect("no route");
    let total = || -> u64 {
        [0, 1].map(|number| sent(&two, number, SWITCH_MACS[number])).iter().map(|s| s.v4 + s.v6).sum()
    };
    wait_until("the status to say so", PATIENCE, || {
        let said = two.appliance.api().get("/v1/pools/web4/backends/b1")?.to_string();
        anyhow::ensure!(said.contains("no route"), "{said}");
        Ok(())
    })
    .expect("unresolved");
    let before = total();
    let dropped = || -> f64 {
        let metrics = two.appliance.metrics().expect("metrics");
        let count =
            |verdict: &str| metrics.count("weir_xdp_packets_total", &[&format!("verdict=\"{verdict}\"")]);
        count("drop_no_backend") + count("drop_no_next_hop")
    };
    let counted = dropped();
    wait_until("drops to be counted", PATIENCE, || {
        anyhow::ensure!(dropped() > counted + 500.0, "{}", dropped());
        Ok(())
    })
    .expect("drops");
    assert_eq!(total(), before, "nothing leaves");
    two.route(&[1, 2]).expect("routes");
    wait_both(&two);
    stream.stop().expect("it ran");
}

/// An uplink that is removed as a whole leaves the other to carry everything, without a withdrawal; when it is there again it
/// gets its program.
#[test]
#[ignore = "needs root and netns"]
fn an_uplink_that_vanishes_leaves_the_other() {
    let two = running();
    let stream = two.stream(INTERVAL).expect("a stream");
    wait_both(&two);
    two.appliance.netns().ip("link del eth1").expect("gone");
    // With one path's device the kernel takes an IPv4 route away as a whole; routing daemons put the rest back.
    two.route(&[1]).expect("routes");
    let before = sent(&two, 0, SWITCH_MACS[0]);
    wait_until("everything by the first", PATIENCE, || {
        let now = sent(&two, 0, SWITCH_MACS[0]);
        anyhow::ensure!(now.v4 > before.v4 + 1000, "{now:?}");
        Ok(())
    })
    .expect("the other goes on");
    let status = two.appliance.status().expect("status");
    assert_eq!(status["dataplane"]["uplinks"]["eth0"]["attached"], true, "{status}");
    stream.stop().expect("it ran");
}
