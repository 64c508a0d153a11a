// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Frames that the program sent and the kernel lost: their verdict says "forwarded", and nothing else says otherwise.
//!
//! ```text
//! XDP_REDIRECT ─► the map's interface ─► its queue ─► its driver        XDP_TX ─► driver
//!        xdp_redirect_err       (up? MTU?)     xdp_devmap_xmit            xdp_exception
//! ```
//! The names below are the kernel's tracepoints, at which small programs count by [`Loss`].

/// Why frames were lost behind the program. Numbers index the per-CPU counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum Loss {
    /// The driver of the other uplink takes no frames from XDP, or none in several buffers.
    Unsupported = 0,
    /// The other uplink is down.
    Down = 1,
    /// The frame is larger than the other uplink's MTU.
    TooLarge = 2,
    /// The redirect failed in another way.
    Redirect = 3,
    /// The driver did not take the frames: its queue is full, or it has none for XDP.
    Driver = 4,
    /// The program's action could not be carried out: mostly an uplink that cannot send by itself (`XDP_TX`).
    Exception = 5,
}

/// Number of [`Loss`]es.
pub const LOSSES: u32 = 6;

/// Error numbers (include/uapi/asm-generic/errno.h), negative as the kernel carries them.
const EMSGSIZE: i32 = -90;
const EOPNOTSUPP: i32 = -95;
const ENETDOWN: i32 = -100;

impl Loss {
    /// All, in order of their numbers.
    pub const ALL: [Self; LOSSES as usize] =
        [Self::Unsupported, Self::Down, Self::TooLarge, Self::Redirect, Self::Driver, Self::Exception];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unsupported => "unsupported",
            Self::Down => "down",
            Self::TooLarge => "too_large",
            Self::Redirect => "redirect",
            Self::Driver => "driver",
            Self::Exception => "exception",
        }
    }

    /// What the error number of a failed redirect stands for.
    #[inline(always)]
    pub const fn of_redirect(error: i32) -> Self {
        match error {
            EOPNOTSUPP => Self::Unsupported,
            ENETDOWN => Self::Down,
            EMSGSIZE => Self::TooLarge,
            _ => Self::Redirect,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_places_and_errors_are_told_apart() {
        for (place, loss) in (0..).zip(Loss::ALL) {
            assert_eq!(loss as u32, place, "{}", loss.name());
        }
        let of = [-95, -100, -90, -22, 0].map(Loss::of_redirect);
        assert_eq!(of, [Loss::Unsupported, Loss::Down, Loss::TooLarge, Loss::Redirect, Loss::Redirect]);
    }
}
