// SPDX-License-Identifier: Apache-2.0 OR MIT
//! BFD beside the sessions, in the API's words. Pure.

use weir_api::v1::{BfdState, BfdStatus, Counter, Timestamp};

use crate::bfd::{BfdPeer, Protection};

/// BFD of one peer that asks for it.
pub(super) fn peer(of_peer: &BfdPeer) -> BfdStatus {
    let is_never_up = of_peer.protection == Protection::NeverUp;
    let Some(session) = &of_peer.session else {
        return BfdStatus {
            state: BfdState::Down,
            since: None,
            diagnostic: "an address of the session is not known, or BFD could not start".to_owned(),
            remote_state: None,
            remote_diagnostic: String::new(),
            is_never_up,
            up_total: Counter(0),
            down_total: Counter(0),
            transmit_interval_seconds: None,
            receive_interval_seconds: None,
            detection_time_seconds: None,
        };
    };
    let is_heard = session.remote_discriminator.is_some();
    let seconds = |time: std::time::Duration| time.as_secs_f64();
    BfdStatus {
        state: state(session.state),
        since: Some(Timestamp(session.since)),
        diagnostic: session.diagnostic.to_string(),
        remote_state: is_heard.then(|| state(session.remote_state)),
        remote_diagnostic: if is_heard { session.remote_diagnostic.to_string() } else { String::new() },
        is_never_up,
        up_total: Counter(session.ups),
        down_total: Counter(session.downs),
        transmit_interval_seconds: session.transmit_interval.map(seconds),
        receive_interval_seconds: session.receive_interval.map(seconds),
        detection_time_seconds: session.detection_time.map(seconds),
    }
}

fn state(state: weir_bfd::State) -> BfdState {
    match state {
        weir_bfd::State::AdminDown => BfdState::AdminDown,
        weir_bfd::State::Down => BfdState::Down,
        weir_bfd::State::Init => BfdState::Init,
        weir_bfd::State::Up => BfdState::Up,
    }
}
