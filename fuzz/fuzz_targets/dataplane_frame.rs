// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Any two frames from the wire, in small tables of any kind.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| weir_fuzz::dataplane::frame(octets));
