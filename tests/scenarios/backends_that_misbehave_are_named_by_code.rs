// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given backends whose web servers misbehave, each in its own way,
//! When they are checked,
//! Then each is failed with the code of what it does, no attempt takes longer than the timeout allows, the daemon holds no
//! more sockets after many attempts than after a few, and all of them come back once they behave.

use weir_lab::document::{self, Checks};
use weir_lab::{Fabric, Layout, Misbehaviour, requests, wait_until};

use crate::{PATIENCE, weir};

/// What each backend does from the second on, and the code for it. The first behaves, the last is dead.
const WAYS: [(Misbehaviour, &str); 7] = [
    (Misbehaviour::Garbage, "protocol"),
    (Misbehaviour::HalfClose, "protocol"),
    (Misbehaviour::Stall, "timeout-read"),
    (Misbehaviour::Reset, "reset"),
    (Misbehaviour::Mute, "timeout-read"),
    (Misbehaviour::Unwell, "status 503"),
    (Misbehaviour::Endless, "protocol"),
];

/// The document's timeout of 400 ms, and scheduling on a busy machine.
const ATTEMPT_LIMIT: f64 = 0.7;

/// Attempts on each backend while sockets are counted.
const ATTEMPTS: usize = 20;

/// Sockets that come and go: attempts in flight, and our own question.
const IN_FLIGHT: usize = 2 * (WAYS.len() + 2) + 2;

#[test]
#[ignore = "needs root and netns"]
fn every_misbehaviour_has_a_code_and_leaks_nothing() {
    let layout = Layout { backends: 9, checks: Checks::Quick, ..Layout::small(weir()) };
    let mut fabric = Fabric::up(&layout).expect("the fabric comes up");
    let all: Vec<String> = (1..=9).map(|number| format!("b{number}")).collect();
    let at_first = fabric.appliances[0].open_sockets().expect("sockets");

    for (number, (how, _)) in WAYS.iter().enumerate() {
        fabric.backends[number + 1].misbehave(*how).expect("it misbehaves");
    }
    fabric.backends[8].kill_web().expect("it dies");
    let codes = WAYS.iter().map(|(_, code)| *code).chain(["refused"]);
    for (backend, code) in all[1..].iter().zip(codes) {
        for pool in ["web4", "web6"] {
            let lb1 = &fabric.appliances[0];
            let status = lb1.wait_backend(pool, backend, "failed", PATIENCE).expect("found");
            assert_eq!(status["check"]["cause"], code, "{pool}/{backend}: {status}");
            for result in status["check"]["checks"][0]["results"].as_array().expect("results") {
                let took = result["seconds"].as_f64().expect("a number");
                assert!(took < ATTEMPT_LIMIT, "{pool}/{backend} took {took} s: {result}");
            }
        }
    }
    let tally = requests(&fabric.client, &document::targets(), 100).expect("the load runs");
    assert_eq!((tally.failed, tally.spread.len()), (0, 1), "{tally:?}");

    let taken = |fabric: &Fabric| -> Vec<usize> {
        fabric.backends.iter().filter_map(|backend| Some(backend.rogue()?.taken())).collect()
    };
    let before = taken(&fabric);
    assert_eq!(before.len(), WAYS.len());
    wait_until("many more attempts on each", PATIENCE * 2, || {
        let now = taken(&fabric);
        anyhow::ensure!(
            now.iter().zip(&before).all(|(now, then)| now - then >= ATTEMPTS),
            "{before:?} to {now:?}"
        );
        Ok(())
    })
    .expect("attempts go on");
    let now = fabric.appliances[0].open_sockets().expect("sockets");
    assert!(now <= at_first + IN_FLIGHT, "{at_first} sockets at first, {now} after many failures");

    for backend in &mut fabric.backends {
        backend.start_web().expect("it serves");
    }
    for backend in &all {
        fabric.appliances[0].wait_both(backend, "usable", PATIENCE).expect("well again");
    }
    let lb1 = &fabric.appliances[0];
    wait_until("the sockets of the attempts to be closed", PATIENCE, || {
        let now = lb1.open_sockets()?;
        anyhow::ensure!(now <= at_first, "{at_first} at first, {now} now");
        Ok(())
    })
    .expect("nothing leaked");
}
