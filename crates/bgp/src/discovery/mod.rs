// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who is at the other end of an interface: router advertisements sent and heard, without the kernel's help.
//!
//! ```text
//!   links::run ──watch<Links>──► task::run   × unnumbered peers ──watch<Found>──► speaker (who may connect)
//!    netlink                      raw socket, clock                          └──► the peer's driver (where to connect)
//!                                 neighbour::Discovery   sans-IO: who, when  ◄──in use── the peer's driver
//!                                 message                octets <-> values
//! ```
//!
//! A session without configured addresses needs the neighbour's link-local one. FRR learns ours from our advertisements and
//! from nothing else, so they are sent for as long as the interface lives; we learn theirs from theirs, or from its
//! connection if that is faster. The neighbour is never forgotten while a session with it lives, and always looked for
//! while none does: interfaces that vanish, return with another index or get another address are followed for ever.
//!
//! Raw ICMPv6 needs `CAP_NET_RAW`.

pub(crate) mod links;
mod message;
mod neighbour;
mod socket;
pub(crate) mod task;

pub use message::{Message, MessageError, RouterAdvertisement, encode_solicitation};
