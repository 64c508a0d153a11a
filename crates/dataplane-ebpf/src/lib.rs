// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the kernel programs share: the panic handler, and [`KernelPacket`] and [`KernelSkb`], the kernel's implementations of
//! `Packet`.
//!
//! No decisions are made here; they are in `weir-dataplane-core`. This crate is compiled for the BPF target by the build
//! script of `weir-dataplane`; for the host it is empty.
#![no_std]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
mod packet;
#[cfg(target_arch = "bpf")]
mod skb;

#[cfg(target_arch = "bpf")]
pub use packet::KernelPacket;
#[cfg(target_arch = "bpf")]
pub use skb::{KernelSkb, Notes};

/// The licence that the kernel reads; GPL-compatible, as some helpers demand.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// The verifier refuses programs that could get here, so nothing does.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
