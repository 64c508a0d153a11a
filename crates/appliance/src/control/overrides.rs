// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Overrides: the store's words in the API's, and back. Pure.

use std::time::SystemTime;

use weir_api::v1::{self, FieldError, Timestamp};
use weir_api::{OverrideRefused, OverrideTarget, OverrideWish};

use crate::overrides::{OVERRIDES_MAX, Override, OverrideError, OverrideState, Overrides, Target};

/// All overrides, in the order of their targets. `is_kept` says whether the disk has them.
pub(super) fn all(overrides: &Overrides, is_kept: bool) -> Vec<v1::Override> {
    overrides.by_target.iter().map(|(target, one)| dto(target, one, is_kept)).collect()
}

pub(super) fn dto(target: &Target, one: &Override, is_kept: bool) -> v1::Override {
    v1::Override {
        id: target.to_string(),
        target: target.to_string(),
        state: match one.state {
            OverrideState::Drain => v1::OverrideState::Drain,
            OverrideState::Disable => v1::OverrideState::Disable,
            OverrideState::Withhold => v1::OverrideState::Withhold,
        },
        author: one.author.clone(),
        reason: one.reason.clone(),
        created: Timestamp(one.created),
        until: one.until.map(Timestamp),
        persisted: is_kept,
    }
}

pub(super) fn target(target: OverrideTarget) -> Target {
    match target {
        OverrideTarget::Appliance => Target::Appliance,
        OverrideTarget::Vip(vip) => Target::Vip(vip),
        OverrideTarget::Pool(pool) => Target::Pool(pool),
        OverrideTarget::Backend { pool, backend } => Target::Backend { pool, backend },
    }
}

pub(super) fn wanted(wish: OverrideWish, now: SystemTime) -> Override {
    let OverrideWish { state, author, reason, until } = wish;
    Override {
        state: match state {
            v1::OverrideState::Drain => OverrideState::Drain,
            v1::OverrideState::Disable => OverrideState::Disable,
            v1::OverrideState::Withhold => OverrideState::Withhold,
        },
        author,
        reason,
        created: now,
        until,
    }
}

pub(super) fn refused(error: &OverrideError) -> OverrideRefused {
    match error.field() {
        Some(field) => OverrideRefused::Invalid(FieldError {
            path: field.to_owned(),
            file: None,
            line: None,
            column: None,
            message: error.to_string(),
            hint: None,
        }),
        None => OverrideRefused::TooMany { max: OVERRIDES_MAX },
    }
}
