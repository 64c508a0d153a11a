// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A traffic control program on the ingress of an interface, that stays when its process goes.
//!
//! By a pinned link where there are such (TCX, kernel 6.6): adopted by the next start and taken off by its pin. Else by a filter
//! under the `clsact` queueing discipline, at a priority and handle of its own, which a start replaces. Nothing in the kernel
//! says whose filter that is, so the program is pinned beside, under a name that says where it is:
//!
//! | pin | stands for |
//! |---|---|
//! | `tcx_<interface>` | a link; with it goes the program |
//! | `filter_<index>_<interface>` | a filter on the interface that had this index |

use std::io;
use std::path::Path;

use aya::programs::links::{FdLink, Link as _, LinkError, PinnedLink};
use aya::programs::tc::{
    NlOptions, SchedClassifier, SchedClassifierLink, TcAttachOptions, TcAttachType, TcHandle,
    qdisc_add_clsact,
};
use aya::programs::{LinkOrder, ProgramError};

use super::egress::Hook;
use super::link::ifindex;
use super::pinned_link;
use super::pins::{Pins, PinsError};
use super::unlink::unlink;

const LINK_PREFIX: &str = "tcx_";
const FILTER_PREFIX: &str = "filter_";
/// Where our filter is: behind filters whose owners did not say where.
const PRIORITY: u16 = 49_201;
const HANDLE: TcHandle = TcHandle::new(0, 0x5752);

/// Why the program is not on an interface, or not off it.
#[derive(Debug, thiserror::Error)]
pub enum StandingError {
    /// The kernel refused.
    #[error("attach to the ingress of `{interface}`")]
    Attach {
        /// The interface.
        interface: String,
        /// What the kernel said.
        #[source]
        source: Box<ProgramError>,
    },
    /// A pin could not be made or removed.
    #[error("pin what is on the ingress of `{interface}`")]
    Pin {
        /// The interface.
        interface: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The pin directory could not be read.
    #[error(transparent)]
    Pins(#[from] PinsError),
}

/// Puts `program` (loaded) on the ingress of `interface`, or in the place of the one that a former process put there, by `hook`
/// or, if that is left open, by the first that the kernel has. Tells whether there was one.
///
/// # Errors
/// [`StandingError`]; nothing is attached then that was not before.
pub fn attach(
    program: &mut SchedClassifier,
    interface: &str,
    hook: Option<Hook>,
    pins: &Pins,
) -> Result<bool, StandingError> {
    let refused =
        |source| StandingError::Attach { interface: interface.to_owned(), source: Box::new(source) };
    if let Some(adopted) = adopt(program, interface, pins)? {
        return Ok(adopted);
    }
    if hook != Some(Hook::Clsact) {
        let by_link = TcAttachOptions::TcxOrder(LinkOrder::default());
        match program.attach_with_options(interface, TcAttachType::Ingress, by_link) {
            Ok(id) => {
                let link = program.take_link(id).map_err(refused)?;
                return pin_link(link, interface, pins).map(|()| false);
            }
            Err(ProgramError::SyscallError(error))
                if hook.is_none() && error.io_error.raw_os_error() == Some(libc::EINVAL) => {}
            Err(error) => return Err(refused(error)),
        }
    }
    filter(program, interface, pins)
}

/// Whether the program is on the interface that has this name now, as far as the kernel tells: of a filter that somebody
/// removed it does not.
pub fn is_attached(interface: &str, pins: &Pins) -> bool {
    let Some(index) = ifindex(interface) else { return false };
    pins.path(&filter_pin(index, interface)).exists()
        || pinned_link::interface(&pins.path(&link_pin(interface))).is_ok_and(|found| found == Some(index))
}

/// Takes the program off every interface but those in `wanted`, and removes the pins of what is gone already. Gives the
/// interfaces that it was on.
///
/// # Errors
/// [`StandingError`] for the first that could not be taken off; the others are.
pub fn detach_others(pins: &Pins, wanted: &[&str]) -> Result<Vec<String>, StandingError> {
    let mut gone = Vec::new();
    let mut first = None;
    for name in pins.names(LINK_PREFIX)? {
        let interface = &name[LINK_PREFIX.len()..];
        if !wanted.contains(&interface) {
            match unlink(&pins.path(&name)) {
                Ok(()) => gone.push(interface.to_owned()),
                Err(source) => {
                    first.get_or_insert(StandingError::Pin { interface: interface.to_owned(), source });
                }
            }
        }
    }
    for name in pins.names(FILTER_PREFIX)? {
        let Some((index, interface)) = name[FILTER_PREFIX.len()..].split_once('_') else { continue };
        let is_there = ifindex(interface).is_some_and(|found| found.to_string() == index);
        if is_there && wanted.contains(&interface) {
            continue;
        }
        if is_there {
            remove_filter(interface);
            gone.push(interface.to_owned());
        }
        if let Err(source) = std::fs::remove_file(pins.path(&name)) {
            first.get_or_insert(StandingError::Pin { interface: interface.to_owned(), source });
        }
    }
    first.map_or(Ok(gone), Err)
}

fn link_pin(interface: &str) -> String {
    format!("{LINK_PREFIX}{interface}")
}

fn filter_pin(index: u32, interface: &str) -> String {
    format!("{FILTER_PREFIX}{index}_{interface}")
}

/// Puts `program` where a former process's is. `None`: there is none, and no pin any more that says so.
fn adopt(program: &mut SchedClassifier, interface: &str, pins: &Pins) -> Result<Option<bool>, StandingError> {
    let unpinned = |source| StandingError::Pin { interface: interface.to_owned(), source };
    let path = pins.path(&link_pin(interface));
    if path.exists() {
        if is_attached(interface, pins)
            && let Some(link) = put_on_link(program, &path)
        {
            drop(link);
            return Ok(Some(true));
        }
        // The interface went away and came back, or got another name.
        unlink(&path).map_err(unpinned)?;
    }
    let index = ifindex(interface).unwrap_or(0);
    if pins.path(&filter_pin(index, interface)).exists() {
        return filter(program, interface, pins).map(|_| Some(true));
    }
    Ok(None)
}

fn put_on_link(program: &mut SchedClassifier, path: &Path) -> Option<SchedClassifierLink> {
    let link = FdLink::from(PinnedLink::from_pin(path).ok()?);
    let id = program.attach_to_link(SchedClassifierLink::try_from(link).ok()?).ok()?;
    program.take_link(id).ok()
}

fn pin_link(link: SchedClassifierLink, interface: &str, pins: &Pins) -> Result<(), StandingError> {
    let unpinned = |source| StandingError::Pin { interface: interface.to_owned(), source };
    let link = FdLink::try_from(link)
        .map_err(|_: LinkError| unpinned(io::Error::from_raw_os_error(libc::EINVAL)))?;
    link.pin(pins.path(&link_pin(interface))).map(drop).map_err(|error| unpinned(io::Error::other(error)))
}

/// Puts `program` under `clsact`, in the place of what is there, and pins it beside.
fn filter(program: &mut SchedClassifier, interface: &str, pins: &Pins) -> Result<bool, StandingError> {
    let refused =
        |source| StandingError::Attach { interface: interface.to_owned(), source: Box::new(source) };
    // There already, as a rule; else the filter cannot be put there either, and says why.
    if let Err(error) = qdisc_add_clsact(interface) {
        tracing::debug!(interface, %error, "queueing discipline for filters not added");
    }
    let left = SchedClassifierLink::attached(interface, TcAttachType::Ingress, PRIORITY, HANDLE, None)
        .map_err(|error| refused(error.into()))?;
    let id = match program.attach_to_link(left) {
        Ok(id) => id,
        Err(_) => {
            let options = NlOptions { priority: PRIORITY, handle: HANDLE, ..NlOptions::default() };
            program
                .attach_with_options(interface, TcAttachType::Ingress, TcAttachOptions::Netlink(options))
                .map_err(refused)?
        }
    };
    // It is to stay when this process goes; `detach_others` takes it off.
    std::mem::forget(program.take_link(id).map_err(refused)?);
    pin_program(program, interface, pins)?;
    Ok(false)
}

fn pin_program(program: &mut SchedClassifier, interface: &str, pins: &Pins) -> Result<(), StandingError> {
    let unpinned = |source| StandingError::Pin { interface: interface.to_owned(), source };
    let path = pins.path(&filter_pin(ifindex(interface).unwrap_or(0), interface));
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unpinned(error)),
        Ok(()) | Err(_) => {}
    }
    program.pin(&path).map_err(|error| unpinned(io::Error::other(error)))
}

/// Nothing there is fine.
fn remove_filter(interface: &str) {
    if let Ok(link) = SchedClassifierLink::attached(interface, TcAttachType::Ingress, PRIORITY, HANDLE, None)
        && let Err(error) = link.detach()
    {
        tracing::debug!(interface, %error, "no filter to remove");
    }
}
