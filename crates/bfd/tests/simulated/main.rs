// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Two hosts joined by a link in simulated time: hours in milliseconds, and every run the same.

mod coming_and_going;
mod goodbye;
mod pairs;
mod random_runs;
mod reception;
mod timing;
mod world;
