// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The program that lowers the MSS, on the egress of an interface.
//!
//! By a kernel link where there are such (TCX, kernel 6.6): pinned, adopted by the next start and taken off by its pin. Else
//! by a filter under the `clsact` queueing discipline, at a priority and handle of its own: a start replaces what a killed
//! agent left there, and a stop takes it off.

use std::io;

use aya::programs::links::{FdLink, LinkError, PinnedLink};
use aya::programs::tc::{
    NlOptions, SchedClassifier, SchedClassifierLink, TcAttachOptions, TcAttachType, TcHandle,
    qdisc_add_clsact,
};
use aya::programs::{LinkOrder, ProgramError};
use weir_dataplane::kernel::pins::Pins;

/// Beginning of the names of pins.
pub(crate) const PIN_PREFIX: &str = "mss_";
/// Where our filter is, in a kernel without links: behind filters whose owners did not say where.
const PRIORITY: u16 = 49_200;
const HANDLE: TcHandle = TcHandle::new(0, 0x5752);

/// Why the program is not on an interface.
#[derive(Debug, thiserror::Error)]
pub enum ClampError {
    /// The kernel refused.
    #[error("attach program `weir_mss` to `{interface}`")]
    Attach {
        /// The interface.
        interface: String,
        /// What the kernel said.
        #[source]
        source: Box<ProgramError>,
    },
    /// The link could not be pinned.
    #[error("pin the link of `weir_mss` on `{interface}`")]
    Pin {
        /// The interface.
        interface: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// What keeps the program on an interface.
pub(crate) enum Hold {
    /// A pin, whether there was one already.
    Pinned {
        /// The link of a former process goes on with this program.
        adopted: bool,
    },
    /// This filter; it goes when this does.
    Filter(#[expect(dead_code, reason = "held, not read")] SchedClassifierLink),
}

/// Name of the pin of `interface`.
pub(crate) fn pin_name(interface: &str) -> String {
    format!("{PIN_PREFIX}{interface}")
}

/// Puts `program` (loaded) on the egress of `interface`, or on the link that is pinned for it.
pub(crate) fn attach(
    program: &mut SchedClassifier,
    interface: &str,
    pins: &Pins,
) -> Result<Hold, ClampError> {
    let refused = |source| ClampError::Attach { interface: interface.to_owned(), source: Box::new(source) };
    let unpinned = |source| ClampError::Pin { interface: interface.to_owned(), source };
    let path = pins.path(&pin_name(interface));
    if path.exists() {
        if let Some(link) = adopt(program, &path) {
            drop(link);
            return Ok(Hold::Pinned { adopted: true });
        }
        // The interface went away and came back: its link is dead for good.
        std::fs::remove_file(&path).map_err(unpinned)?;
    }
    let by_link = TcAttachOptions::TcxOrder(LinkOrder::default());
    let id = match program.attach_with_options(interface, TcAttachType::Egress, by_link) {
        Err(ProgramError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::EINVAL) => {
            return filter(program, interface).map(Hold::Filter).map_err(refused);
        }
        attached => attached.map_err(refused)?,
    };
    let link = program.take_link(id).map_err(refused)?;
    let link = FdLink::try_from(link)
        .map_err(|_: LinkError| unpinned(io::Error::from_raw_os_error(libc::EINVAL)))?;
    link.pin(&path).map_err(|error| unpinned(io::Error::other(error)))?;
    Ok(Hold::Pinned { adopted: false })
}

/// Puts `program` on the pinned link; `None` if the link is no longer attached to anything.
fn adopt(program: &mut SchedClassifier, path: &std::path::Path) -> Option<SchedClassifierLink> {
    let link = FdLink::from(PinnedLink::from_pin(path).ok()?);
    let id = program.attach_to_link(SchedClassifierLink::try_from(link).ok()?).ok()?;
    program.take_link(id).ok()
}

/// Puts `program` under `clsact`, in the place of what a former process left there.
fn filter(program: &mut SchedClassifier, interface: &str) -> Result<SchedClassifierLink, ProgramError> {
    match qdisc_add_clsact(interface) {
        Err(error) if error.to_string().contains("exists") => {}
        added => added?,
    }
    let left = SchedClassifierLink::attached(interface, TcAttachType::Egress, PRIORITY, HANDLE, None)?;
    let id = match program.attach_to_link(left) {
        Ok(id) => id,
        Err(_) => {
            let options = NlOptions { priority: PRIORITY, handle: HANDLE, ..NlOptions::default() };
            program.attach_with_options(interface, TcAttachType::Egress, TcAttachOptions::Netlink(options))?
        }
    };
    program.take_link(id)
}
