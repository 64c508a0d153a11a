// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Any stream of octets, in any cut.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| weir_fuzz::wire::stream(octets));
