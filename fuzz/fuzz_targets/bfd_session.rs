// SPDX-License-Identifier: Apache-2.0 OR MIT
//! BFD sessions that are fed, kept waiting and commanded in any way.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| weir_fuzz::bfd::sessions(octets));
