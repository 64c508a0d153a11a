// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The body of any NOTIFICATION.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| weir_fuzz::wire::notification(octets));
