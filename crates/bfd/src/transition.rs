// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The state machine of RFC 5880 §6.2 and §6.8.6 as a table: our state, and the state that a packet says.
//!
//! ```text
//!                 Down, AdminDown,              Init, Up
//!            ┌─── timer ─────────── Init ────────────────► Up ───┐
//!            ▼                       ▲                     ▲     │ Down, AdminDown, timer
//!          Down ── Down ─────────────┘                     │     │
//!            └──── Init ───────────────────────────────────┘     │
//!            ▲───────────────────────────────────────────────────┘
//! ```

use crate::packet::{Diagnostic, State};

/// What a received state does to ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The packet is discarded: while AdminDown nothing is heard.
    Discard,
    /// No change.
    Stay,
    /// A new state, and the diagnostic that goes with it.
    Go(State, Diagnostic),
}

const SIGNALED: Next = Next::Go(State::Down, Diagnostic::NEIGHBOUR_SIGNALED_DOWN);
const INIT: Next = Next::Go(State::Init, Diagnostic::NONE);
const UP: Next = Next::Go(State::Up, Diagnostic::NONE);

/// Rows: our state; columns: what was received; both in the order of [`State::ALL`].
const TABLE: [[Next; 4]; 4] = [
    // received: AdminDown  Down           Init           Up
    [Next::Discard, Next::Discard, Next::Discard, Next::Discard], // AdminDown
    [Next::Stay, INIT, UP, Next::Stay],                           // Down
    [SIGNALED, Next::Stay, UP, UP],                               // Init
    [SIGNALED, SIGNALED, Next::Stay, Next::Stay],                 // Up
];

/// What becomes of a session in `state` that receives `received`.
pub const fn next(state: State, received: State) -> Next {
    TABLE[state as usize][received as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sentences of RFC 5880 §6.8.6, written once more in another form than the table.
    fn by_the_text(state: State, received: State) -> Next {
        if state == State::AdminDown {
            return Next::Discard;
        }
        if received == State::AdminDown {
            if state != State::Down {
                return SIGNALED;
            }
        } else if state == State::Down {
            if received == State::Down {
                return INIT;
            } else if received == State::Init {
                return UP;
            }
        } else if state == State::Init {
            if received == State::Init || received == State::Up {
                return UP;
            }
        } else if received == State::Down {
            return SIGNALED;
        }
        Next::Stay
    }

    #[test]
    fn every_pair_does_what_the_text_says() {
        for state in State::ALL {
            for received in State::ALL {
                assert_eq!(next(state, received), by_the_text(state, received), "{state} hears {received}");
            }
        }
    }
}
