// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The order of steps, what is withheld and why, and the promise under siblings that fail.

mod driver;
mod health;
mod model;
mod promise;
mod report;
mod scale;
mod steps;
