// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Any packet of a health check, in the tables of `dataplane_frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| weir_fuzz::dataplane::check(octets));
