// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The body of any UPDATE.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| weir_fuzz::wire::update(octets));
