// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Any ICMP error about a packet of a tunnel.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| weir_fuzz::dataplane::path(octets));
