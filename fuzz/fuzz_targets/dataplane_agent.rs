// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Any frame that comes to a backend or leaves it.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| weir_fuzz::dataplane::agent(octets));
