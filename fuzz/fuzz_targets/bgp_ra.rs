// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Any router advertisement or solicitation.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| weir_fuzz::ra::advertisement(octets));
