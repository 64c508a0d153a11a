// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Any datagram on BFD's port.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| weir_fuzz::bfd::packet(octets));
