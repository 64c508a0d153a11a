// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every (state, input) pair against rows written from RFC 4271 §8.2.2, and rules that all pairs keep.

use super::*;

/// Actions of the table, in the words of the code without their punctuation.
fn words(step: Step) -> String {
    let mut out = step.next.to_string();
    for action in step.actions {
        out.push(' ');
        out.push_str(&format!("{action:?}").replace("Notify(", "").replace([')', '('], ""));
    }
    out
}

const CONNECT: &str = "OpenSent StopConnectRetry SendOpen ArmOpenHold";
const ABORT: &str = "Idle AbortDial StopConnectRetry";
const LEAVE: &str = "Idle StopConnectRetry";

/// One row an input, one column a state: Idle, Connect, Active, OpenSent, OpenConfirm, Established.
#[rustfmt::skip]
const TABLE: [(Input, [&str; 6]); 16] = [
    (Input::Start, ["Connect Dial ArmConnectRetry", "Connect", "Active", "OpenSent", "OpenConfirm", "Established"]),
    (Input::StartPassive, ["Active", "Connect", "Active", "OpenSent", "OpenConfirm", "Established"]),
    (Input::Stop, ["Idle", ABORT, LEAVE, "Idle Stop Close", "Idle Stop Close", "Idle Down Stop Close"]),
    (Input::ConnectRetryExpired, ["Idle", "Connect AbortDial Dial ArmConnectRetry", "Connect Dial ArmConnectRetry",
        "Idle Fsm0 Close", "Idle Fsm0 Close", "Idle Down Fsm0 Close"]),
    (Input::HoldExpired, ["Idle", ABORT, LEAVE, "Idle HoldTimer Close", "Idle HoldTimer Close",
        "Idle Down HoldTimer Close"]),
    (Input::KeepaliveExpired, ["Idle", ABORT, LEAVE, "Idle Fsm0 Close", "OpenConfirm SendKeepalive ArmKeepalive",
        "Established SendKeepalive ArmKeepalive"]),
    (Input::SendHoldExpired, ["Idle", ABORT, LEAVE, "Idle SendHoldTimer Close", "Idle SendHoldTimer Close",
        "Idle Down SendHoldTimer Close"]),
    (Input::Connected, ["Idle Close", CONNECT, CONNECT, "OpenSent", "OpenConfirm", "Established"]),
    (Input::TcpFailed, ["Idle", "Active ArmConnectRetry", "Active ArmConnectRetry", "Active Close ArmConnectRetry",
        "Idle Close", "Idle Down Close"]),
    (Input::OpenReceived, ["Idle", ABORT, LEAVE, "OpenConfirm AcceptOpen SendKeepalive ArmKeepalive ArmHold",
        "Idle Fsm2 Close", "Idle Down Fsm3 Close"]),
    (Input::BadMessage, ["Idle", ABORT, LEAVE, "Idle Error Close", "Idle Error Close", "Idle Down Error Close"]),
    (Input::CollisionLost, ["Idle", ABORT, LEAVE, "Idle Collision Close", "Idle Collision Close",
        "Idle Down Collision Close"]),
    (Input::NotificationReceived, ["Idle", ABORT, LEAVE, "Idle Close", "Idle Close", "Idle Down Close"]),
    (Input::KeepaliveReceived, ["Idle", ABORT, LEAVE, "Idle Fsm1 Close", "Established ArmHold Up",
        "Established ArmHold"]),
    (Input::UpdateReceived, ["Idle", ABORT, LEAVE, "Idle Fsm1 Close", "Idle Fsm2 Close",
        "Established ArmHold ReadUpdate"]),
    (Input::RefreshReceived, ["Idle", ABORT, LEAVE, "Idle Fsm1 Close", "Idle Fsm2 Close",
        "Established ReadRefresh"]),
];

#[test]
fn every_pair_is_as_the_table_says() {
    let mut checked = 0;
    for input in Input::ALL {
        let rows: Vec<_> = TABLE.iter().filter(|(i, _)| *i == input).collect();
        assert_eq!(rows.len(), 1, "one row for {input:?}");
        for (state, expected) in State::ALL.into_iter().zip(rows[0].1) {
            assert_eq!(words(transition(state, input)), expected, "{state} on {input:?}");
            checked += 1;
        }
    }
    assert_eq!(checked, 96);
}

#[test]
fn connections_and_sessions_end_exactly_when_they_should() {
    for state in State::ALL {
        for input in Input::ALL {
            let Step { next, actions } = transition(state, input);
            let count = |wanted: Action| actions.iter().filter(|a| **a == wanted).count();
            let what = format!("{state} on {input:?}");
            let loses_connection = state.is_connected() && !next.is_connected();
            let refuses = state == State::Idle && input == Input::Connected;
            assert_eq!(count(Action::Close), usize::from(loses_connection || refuses), "{what}");
            let goes_down = state == State::Established && next != State::Established;
            assert_eq!(count(Action::Down), usize::from(goes_down), "{what}");
            let comes_up = state != State::Established && next == State::Established;
            assert_eq!(count(Action::Up), usize::from(comes_up), "{what}");
            let dials = next == State::Connect && (state != State::Connect || count(Action::AbortDial) == 1);
            assert_eq!(count(Action::Dial), usize::from(dials), "{what}");
            if actions.iter().any(|a| matches!(a, Action::Notify(_))) {
                assert!(matches!(actions, [.., Action::Notify(_), Action::Close]), "{what}");
            }
        }
    }
}
