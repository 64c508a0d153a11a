// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The finite state machine of RFC 4271 §8 as one pure table: (state, input) gives the next state and what to do.
//!
//! ```text
//!            Start                Connected             OpenReceived          KeepaliveReceived
//!   Idle ───────────► Connect ───────────────► OpenSent ───────────► OpenConfirm ───────────► Established
//!     │  StartPassive    │ ▲  TcpFailed   ▲        │
//!     └──────────────────┼─┼──► Active ───┘        │ TcpFailed
//!                        ▼ │ retry  ▲              │
//!                        └─┴────────┴──────────────┘           anything wrong, anywhere: NOTIFICATION, close, Idle
//! ```
//!
//! Each TCP connection has a machine of its own (§8.2.1): one for the connection we dial, one for the one we accept.
//! Left out are the optional DelayOpen and its timer. Differing from the letter: a failed attempt to connect leads to
//! Active and a new attempt after the retry time, not to Idle and its growing wait, for a switch that is away for an
//! hour should be met within seconds of its return.

use std::fmt;

/// The six states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Refusing connections.
    Idle,
    /// Connecting.
    Connect,
    /// Waiting to connect again, and for the peer to connect.
    Active,
    /// Connected, OPEN sent.
    OpenSent,
    /// OPEN of the peer accepted.
    OpenConfirm,
    /// Routes are exchanged.
    Established,
}

impl State {
    /// All of them.
    pub const ALL: [State; 6] =
        [State::Idle, State::Connect, State::Active, State::OpenSent, State::OpenConfirm, State::Established];

    /// Whether there is a connection and an OPEN on its way.
    pub fn is_connected(self) -> bool {
        match self {
            State::Idle | State::Connect | State::Active => false,
            State::OpenSent | State::OpenConfirm | State::Established => true,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Idle => "Idle",
            State::Connect => "Connect",
            State::Active => "Active",
            State::OpenSent => "OpenSent",
            State::OpenConfirm => "OpenConfirm",
            State::Established => "Established",
        })
    }
}

/// What can happen to a machine; in brackets the events of RFC 4271 §8.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Input {
    /// Connect to the peer (1, 3).
    Start,
    /// Wait for the peer (4, 5).
    StartPassive,
    /// End (2, 8).
    Stop,
    /// (9)
    ConnectRetryExpired,
    /// (10)
    HoldExpired,
    /// (11)
    KeepaliveExpired,
    /// RFC 9687: what we wrote has not moved for too long.
    SendHoldExpired,
    /// The connection stands (16, 17).
    Connected,
    /// The connection could not be made or has ended (18).
    TcpFailed,
    /// (19)
    OpenReceived,
    /// A message that [`crate::wire`] refuses (21, 22, 28).
    BadMessage,
    /// The other connection to this peer is the one to keep (23).
    CollisionLost,
    /// (24, 25)
    NotificationReceived,
    /// (26)
    KeepaliveReceived,
    /// (27)
    UpdateReceived,
    /// RFC 2918.
    RefreshReceived,
}

impl Input {
    /// All of them.
    pub const ALL: [Input; 16] = [
        Input::Start,
        Input::StartPassive,
        Input::Stop,
        Input::ConnectRetryExpired,
        Input::HoldExpired,
        Input::KeepaliveExpired,
        Input::SendHoldExpired,
        Input::Connected,
        Input::TcpFailed,
        Input::OpenReceived,
        Input::BadMessage,
        Input::CollisionLost,
        Input::NotificationReceived,
        Input::KeepaliveReceived,
        Input::UpdateReceived,
        Input::RefreshReceived,
    ];
}

/// Why a NOTIFICATION is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notify {
    /// Cease, with the reason the stop came with.
    Stop,
    /// Cease, connection collision resolution.
    Collision,
    /// What the wire error says.
    Error,
    /// Hold timer expired.
    HoldTimer,
    /// Send hold timer expired.
    SendHoldTimer,
    /// Finite state machine error of this subcode (RFC 6608; 0 for what is no message).
    Fsm(u8),
}

/// What to do on the way to the next state, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Begin to connect.
    Dial,
    /// Give up connecting.
    AbortDial,
    /// (Re)start the connect retry timer, jittered.
    ArmConnectRetry,
    /// Stop it.
    StopConnectRetry,
    /// Send OPEN.
    SendOpen,
    /// Start the hold timer with its large initial value.
    ArmOpenHold,
    /// Take over what the peer's OPEN says.
    AcceptOpen,
    /// Restart the hold timer with the negotiated value.
    ArmHold,
    /// Restart the keepalive timer.
    ArmKeepalive,
    /// Send KEEPALIVE.
    SendKeepalive,
    /// The session is up.
    Up,
    /// The session is down.
    Down,
    /// Look at the UPDATE.
    ReadUpdate,
    /// Answer the ROUTE-REFRESH.
    ReadRefresh,
    /// Send NOTIFICATION before closing.
    Notify(Notify),
    /// Close the connection.
    Close,
}

/// Outcome of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The state from now on.
    pub next: State,
    /// What to do.
    pub actions: &'static [Action],
}

const fn step(next: State, actions: &'static [Action]) -> Step {
    Step { next, actions }
}

/// The table.
pub fn transition(state: State, input: Input) -> Step {
    match state {
        State::Idle => from_idle(input),
        State::Connect => from_connect(input),
        State::Active => from_active(input),
        State::OpenSent => from_open_sent(input),
        State::OpenConfirm => from_open_confirm(input),
        State::Established => from_established(input),
    }
}

fn from_idle(input: Input) -> Step {
    match input {
        Input::Start => step(State::Connect, &[Action::Dial, Action::ArmConnectRetry]),
        Input::StartPassive => step(State::Active, &[]),
        Input::Connected => step(State::Idle, &[Action::Close]),
        Input::Stop
        | Input::ConnectRetryExpired
        | Input::HoldExpired
        | Input::KeepaliveExpired
        | Input::SendHoldExpired
        | Input::TcpFailed
        | Input::OpenReceived
        | Input::BadMessage
        | Input::CollisionLost
        | Input::NotificationReceived
        | Input::KeepaliveReceived
        | Input::UpdateReceived
        | Input::RefreshReceived => step(State::Idle, &[]),
    }
}

fn from_connect(input: Input) -> Step {
    match input {
        Input::Start | Input::StartPassive => step(State::Connect, &[]),
        Input::ConnectRetryExpired => {
            step(State::Connect, &[Action::AbortDial, Action::Dial, Action::ArmConnectRetry])
        }
        Input::Connected => {
            step(State::OpenSent, &[Action::StopConnectRetry, Action::SendOpen, Action::ArmOpenHold])
        }
        Input::TcpFailed => step(State::Active, &[Action::ArmConnectRetry]),
        Input::Stop
        | Input::HoldExpired
        | Input::KeepaliveExpired
        | Input::SendHoldExpired
        | Input::OpenReceived
        | Input::BadMessage
        | Input::CollisionLost
        | Input::NotificationReceived
        | Input::KeepaliveReceived
        | Input::UpdateReceived
        | Input::RefreshReceived => step(State::Idle, &[Action::AbortDial, Action::StopConnectRetry]),
    }
}

fn from_active(input: Input) -> Step {
    match input {
        Input::Start | Input::StartPassive => step(State::Active, &[]),
        Input::ConnectRetryExpired => step(State::Connect, &[Action::Dial, Action::ArmConnectRetry]),
        Input::Connected => {
            step(State::OpenSent, &[Action::StopConnectRetry, Action::SendOpen, Action::ArmOpenHold])
        }
        Input::TcpFailed => step(State::Active, &[Action::ArmConnectRetry]),
        Input::Stop
        | Input::HoldExpired
        | Input::KeepaliveExpired
        | Input::SendHoldExpired
        | Input::OpenReceived
        | Input::BadMessage
        | Input::CollisionLost
        | Input::NotificationReceived
        | Input::KeepaliveReceived
        | Input::UpdateReceived
        | Input::RefreshReceived => step(State::Idle, &[Action::StopConnectRetry]),
    }
}

fn from_open_sent(input: Input) -> Step {
    match input {
        Input::Start | Input::StartPassive | Input::Connected => step(State::OpenSent, &[]),
        Input::Stop => step(State::Idle, &[Action::Notify(Notify::Stop), Action::Close]),
        Input::ConnectRetryExpired | Input::KeepaliveExpired => {
            step(State::Idle, &[Action::Notify(Notify::Fsm(0)), Action::Close])
        }
        Input::HoldExpired => step(State::Idle, &[Action::Notify(Notify::HoldTimer), Action::Close]),
        Input::SendHoldExpired => step(State::Idle, &[Action::Notify(Notify::SendHoldTimer), Action::Close]),
        Input::TcpFailed => step(State::Active, &[Action::Close, Action::ArmConnectRetry]),
        Input::OpenReceived => step(
            State::OpenConfirm,
            &[Action::AcceptOpen, Action::SendKeepalive, Action::ArmKeepalive, Action::ArmHold],
        ),
        Input::BadMessage => step(State::Idle, &[Action::Notify(Notify::Error), Action::Close]),
        Input::CollisionLost => step(State::Idle, &[Action::Notify(Notify::Collision), Action::Close]),
        Input::NotificationReceived => step(State::Idle, &[Action::Close]),
        Input::KeepaliveReceived | Input::UpdateReceived | Input::RefreshReceived => {
            step(State::Idle, &[Action::Notify(Notify::Fsm(1)), Action::Close])
        }
    }
}

fn from_open_confirm(input: Input) -> Step {
    match input {
        Input::Start | Input::StartPassive | Input::Connected => step(State::OpenConfirm, &[]),
        Input::Stop => step(State::Idle, &[Action::Notify(Notify::Stop), Action::Close]),
        Input::ConnectRetryExpired => step(State::Idle, &[Action::Notify(Notify::Fsm(0)), Action::Close]),
        Input::HoldExpired => step(State::Idle, &[Action::Notify(Notify::HoldTimer), Action::Close]),
        Input::KeepaliveExpired => step(State::OpenConfirm, &[Action::SendKeepalive, Action::ArmKeepalive]),
        Input::SendHoldExpired => step(State::Idle, &[Action::Notify(Notify::SendHoldTimer), Action::Close]),
        Input::TcpFailed | Input::NotificationReceived => step(State::Idle, &[Action::Close]),
        Input::BadMessage => step(State::Idle, &[Action::Notify(Notify::Error), Action::Close]),
        Input::CollisionLost => step(State::Idle, &[Action::Notify(Notify::Collision), Action::Close]),
        Input::KeepaliveReceived => step(State::Established, &[Action::ArmHold, Action::Up]),
        Input::OpenReceived | Input::UpdateReceived | Input::RefreshReceived => {
            step(State::Idle, &[Action::Notify(Notify::Fsm(2)), Action::Close])
        }
    }
}

fn from_established(input: Input) -> Step {
    match input {
        Input::Start | Input::StartPassive | Input::Connected => step(State::Established, &[]),
        Input::Stop => step(State::Idle, &[Action::Down, Action::Notify(Notify::Stop), Action::Close]),
        Input::ConnectRetryExpired => {
            step(State::Idle, &[Action::Down, Action::Notify(Notify::Fsm(0)), Action::Close])
        }
        Input::HoldExpired => {
            step(State::Idle, &[Action::Down, Action::Notify(Notify::HoldTimer), Action::Close])
        }
        Input::KeepaliveExpired => step(State::Established, &[Action::SendKeepalive, Action::ArmKeepalive]),
        Input::SendHoldExpired => {
            step(State::Idle, &[Action::Down, Action::Notify(Notify::SendHoldTimer), Action::Close])
        }
        Input::TcpFailed | Input::NotificationReceived => step(State::Idle, &[Action::Down, Action::Close]),
        Input::BadMessage => step(State::Idle, &[Action::Down, Action::Notify(Notify::Error), Action::Close]),
        Input::CollisionLost => {
            step(State::Idle, &[Action::Down, Action::Notify(Notify::Collision), Action::Close])
        }
        Input::KeepaliveReceived => step(State::Established, &[Action::ArmHold]),
        Input::UpdateReceived => step(State::Established, &[Action::ArmHold, Action::ReadUpdate]),
        Input::RefreshReceived => step(State::Established, &[Action::ReadRefresh]),
        Input::OpenReceived => {
            step(State::Idle, &[Action::Down, Action::Notify(Notify::Fsm(3)), Action::Close])
        }
    }
}
