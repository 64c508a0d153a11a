// SPDX-License-Identifier: Apache-2.0 OR MIT
//! ICMP and ICMPv6 for a VIP.

use super::vip::Vip;
use crate::Packet;
use crate::parse::View;
use crate::process::Exit;
use crate::tables::Tables;
use crate::verdict::Verdict;

/// Decides about the ICMP packet `view` of the right family for `vip`, which has no fault but may be a fragment.
///
/// # Errors
/// How it ends.
#[inline(always)]
pub fn icmp<P: Packet, T: Tables>(packet: &P, tables: &T, view: &View, vip: &Vip) -> Exit {
    let _ = (packet, tables, view, vip);
    Verdict::DropIcmp.into()
}
