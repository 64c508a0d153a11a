// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The speaker against real routers: FRR, BIRD and GoBGP as ToRs of one host, one file per sentence.
//!
//! The speaker runs in this process, on a thread inside the host's namespace (`host`), so that a scenario can ask it
//! everything, freeze it and kill it. What concerns the whole appliance is in `tests/scenarios`. One test binary, because
//! each links for long; all need root and run inside `scripts/isolated.sh` (`make test`).

mod host;
mod three_routers_take_what_is_announced;

use std::time::Duration;

/// Generous, for what only has to happen.
const PATIENCE: Duration = Duration::from_secs(20);
