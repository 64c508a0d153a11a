// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A session in any stage, fed and kept waiting in any way.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| weir_fuzz::session::session(octets));
