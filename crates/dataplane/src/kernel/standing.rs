// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A traffic control program on one side of an interface, that stays when its process goes.
//!
//! By a pinned link where there are such (TCX, kernel 6.6): adopted by the next start and taken off by its pin. Else by a filter
//! under the `clsact` queueing discipline, at a priority and handle of its own, which a start replaces. Nothing in the kernel
//! says whose filter that is, so the program is pinned beside, under a name that says where it is. For [`Place::CLONES`]:
//!
//! | pin | stands for |
//! |---|---|
//! | `tcx_<interface>` | a link; with it goes the program |
//! | `filter_<index>_<interface>` | a filter on the interface that had this index |

use std::io;
use std::path::Path;

use aya::programs::links::{FdLink, Link as _, LinkError, PinnedLink};
use aya::programs::tc::{
    NlOptions, SchedClassifier, SchedClassifierLink, SchedClassifierLinkId, TcAttachOptions, TcAttachType,
    TcHandle, qdisc_add_clsact,
};
use aya::programs::{LinkOrder, ProgramError};

use super::egress::Hook;
use super::link::{self, ifindex};
use super::pinned_link;
use super::pins::{Pins, PinsError};
use super::unlink::unlink;

/// Handle of all our filters.
const HANDLE: TcHandle = TcHandle::new(0, 0x5752);

/// Where one program stands on every interface that has it.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// What it sees.
    pub side: Side,
    /// How the names of pinned links begin. Neither prefix is the beginning of the other, or of other names in the folder.
    pub links: &'static str,
    /// How the names of programs begin that are pinned for their filters.
    pub filters: &'static str,
    /// Of the filter: above 49,152, and so behind filters whose owners did not say where.
    pub priority: u16,
}

impl Place {
    /// The program that copies errors.
    pub const CLONES: Self =
        Self { side: Side::Ingress, links: "tcx_", filters: "filter_", priority: 49_201 };

    fn link_pin(&self, interface: &str) -> String {
        format!("{}{interface}", self.links)
    }

    fn filter_pin(&self, index: u32, interface: &str) -> String {
        format!("{}{index}_{interface}", self.filters)
    }

    /// The filter, whether it is there or not.
    fn filter(&self, interface: &str) -> io::Result<SchedClassifierLink> {
        SchedClassifierLink::attached(interface, self.side.attach_type(), self.priority, HANDLE, None)
    }
}

/// Side of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What comes in.
    Ingress,
    /// What goes out.
    Egress,
}

impl Side {
    /// The word in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }

    const fn attach_type(self) -> TcAttachType {
        match self {
            Self::Ingress => TcAttachType::Ingress,
            Self::Egress => TcAttachType::Egress,
        }
    }
}

/// Why the program is not on an interface, or not off it.
#[derive(Debug, thiserror::Error)]
pub enum StandingError {
    /// The kernel refused.
    #[error("attach to the {side} of `{interface}`", side = side.name())]
    Attach {
        /// Which side.
        side: Side,
        /// The interface.
        interface: String,
        /// What the kernel said.
        #[source]
        source: Box<ProgramError>,
    },
    /// It could not be taken off.
    #[error("take a program off the {side} of `{interface}`", side = side.name())]
    Detach {
        /// Which side.
        side: Side,
        /// The interface.
        interface: String,
        /// What the kernel said.
        #[source]
        source: Box<ProgramError>,
    },
    /// A pin could not be made or removed.
    #[error("pin what is on the {side} of `{interface}`", side = side.name())]
    Pin {
        /// Which side.
        side: Side,
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

/// Puts `program` (loaded) on `interface`, or in the place of the one that a former process put there, by `hook` or, if that is
/// left open, by the first that the kernel has. Tells whether there was one.
///
/// # Errors
/// [`StandingError`]; nothing is attached then that was not before.
pub fn attach(
    program: &mut SchedClassifier,
    place: &Place,
    interface: &str,
    hook: Option<Hook>,
    pins: &Pins,
) -> Result<bool, StandingError> {
    let refused = refused(place, interface);
    if let Some(adopted) = adopt(program, place, interface, pins)? {
        return Ok(adopted);
    }
    if hook != Some(Hook::Clsact) {
        let by_link = TcAttachOptions::TcxOrder(LinkOrder::default());
        match program.attach_with_options(interface, place.side.attach_type(), by_link) {
            Ok(id) => {
                let link = program.take_link(id).map_err(refused)?;
                return pin_link(link, place, interface, pins).map(|()| false);
            }
            Err(ProgramError::SyscallError(error))
                if hook.is_none() && error.io_error.raw_os_error() == Some(libc::EINVAL) => {}
            Err(error) => return Err(refused(error)),
        }
    }
    filter(program, place, interface, pins)
}

/// Whether `program`, which [`attach`] put on the interface, still is there. A filter is put into its own place for that, since
/// the kernel says nothing of whose filter is where: it refuses if the place is empty.
pub fn stays(program: &mut SchedClassifier, place: &Place, interface: &str, pins: &Pins) -> bool {
    let Some(index) = ifindex(interface) else { return false };
    if pins.path(&place.filter_pin(index, interface)).exists() {
        return place.filter(interface).is_ok_and(|left| put_in_place(program, left).is_ok());
    }
    is_linked(place, interface, pins)
}

/// Whether the pinned link is on the interface that has this name now.
fn is_linked(place: &Place, interface: &str, pins: &Pins) -> bool {
    ifindex(interface).is_some_and(|index| {
        pinned_link::interface(&pins.path(&place.link_pin(interface))).is_ok_and(|found| found == Some(index))
    })
}

/// Takes the program off every interface but those in `wanted`, and removes the pins of what is gone already. Gives the
/// interfaces that it was on.
///
/// # Errors
/// [`StandingError`] for the first that could not be taken off; the others are.
pub fn detach_others(place: &Place, pins: &Pins, wanted: &[&str]) -> Result<Vec<String>, StandingError> {
    let mut gone = Vec::new();
    let mut first = None;
    for name in pins.names(place.links)? {
        let interface = &name[place.links.len()..];
        if !wanted.contains(&interface) {
            match unlink(&pins.path(&name)) {
                Ok(()) => gone.push(interface.to_owned()),
                Err(source) => {
                    first.get_or_insert(unpinned(place, interface)(source));
                }
            }
        }
    }
    for name in pins.names(place.filters)? {
        let Some((index, interface)) = name[place.filters.len()..].split_once('_') else { continue };
        // It may have another name by now.
        let now = index.parse().ok().and_then(link::interface);
        if let Some(now) = &now {
            let is_wanted = wanted.contains(&now.as_str());
            if is_wanted && now == interface {
                continue;
            }
            // Else there is a filter in the same place by a pin of the new name, which stays.
            let is_anothers = is_wanted && pins.path(&format!("{}{index}_{now}", place.filters)).exists();
            if !is_anothers {
                // Without the pin nobody would know of it any more.
                if let Err(error) = remove_filter(place, now) {
                    first.get_or_insert(error);
                    continue;
                }
                gone.push(now.clone());
            }
        }
        if let Err(source) = std::fs::remove_file(pins.path(&name)) {
            first.get_or_insert(unpinned(place, interface)(source));
        }
    }
    first.map_or(Ok(gone), Err)
}

fn refused(place: &Place, interface: &str) -> impl Fn(ProgramError) -> StandingError + use<> {
    let (side, interface) = (place.side, interface.to_owned());
    move |source| StandingError::Attach { side, interface: interface.clone(), source: Box::new(source) }
}

fn unpinned(place: &Place, interface: &str) -> impl Fn(io::Error) -> StandingError + use<> {
    let (side, interface) = (place.side, interface.to_owned());
    move |source| StandingError::Pin { side, interface: interface.clone(), source }
}

/// Puts `program` where a former process's is. `None`: there is none, and no pin any more that says so.
fn adopt(
    program: &mut SchedClassifier,
    place: &Place,
    interface: &str,
    pins: &Pins,
) -> Result<Option<bool>, StandingError> {
    let unpinned = unpinned(place, interface);
    let path = pins.path(&place.link_pin(interface));
    if path.exists() {
        if is_linked(place, interface, pins)
            && let Some(link) = put_on_link(program, &path)
        {
            drop(link);
            return Ok(Some(true));
        }
        // The interface went away and came back, or got another name.
        unlink(&path).map_err(unpinned)?;
    }
    let index = ifindex(interface).unwrap_or(0);
    if pins.path(&place.filter_pin(index, interface)).exists() {
        return filter(program, place, interface, pins).map(|_| Some(true));
    }
    Ok(None)
}

fn put_on_link(program: &mut SchedClassifier, path: &Path) -> Option<SchedClassifierLink> {
    let link = FdLink::from(PinnedLink::from_pin(path).ok()?);
    let id = program.attach_to_link(SchedClassifierLink::try_from(link).ok()?).ok()?;
    program.take_link(id).ok()
}

fn pin_link(
    link: SchedClassifierLink,
    place: &Place,
    interface: &str,
    pins: &Pins,
) -> Result<(), StandingError> {
    let unpinned = unpinned(place, interface);
    let link = FdLink::try_from(link)
        .map_err(|_: LinkError| unpinned(io::Error::from_raw_os_error(libc::EINVAL)))?;
    link.pin(pins.path(&place.link_pin(interface)))
        .map(drop)
        .map_err(|error| unpinned(io::Error::other(error)))
}

/// Puts `program` under `clsact`, in the place of what is there, and pins it beside.
fn filter(
    program: &mut SchedClassifier,
    place: &Place,
    interface: &str,
    pins: &Pins,
) -> Result<bool, StandingError> {
    let refused = refused(place, interface);
    // There already, as a rule; else the filter cannot be put there either, and says why.
    if let Err(error) = qdisc_add_clsact(interface) {
        tracing::debug!(interface, %error, "queueing discipline for filters not added");
    }
    let left = place.filter(interface).map_err(|error| refused(error.into()))?;
    if put_in_place(program, left).is_err() {
        let options = NlOptions { priority: place.priority, handle: HANDLE, ..NlOptions::default() };
        let id = program
            .attach_with_options(interface, place.side.attach_type(), TcAttachOptions::Netlink(options))
            .map_err(&refused)?;
        keep(program, id).map_err(refused)?;
    }
    pin_program(program, place, interface, pins).inspect_err(|_| {
        // Nobody would know of it.
        if let Err(error) = remove_filter(place, interface) {
            tracing::warn!(%error, "filter left");
        }
    })?;
    Ok(false)
}

/// Puts `program` in the place of the filter `left`.
///
/// # Errors
/// There is none.
fn put_in_place(program: &mut SchedClassifier, left: SchedClassifierLink) -> Result<(), ProgramError> {
    let id = program.attach_to_link(left)?;
    keep(program, id)
}

/// Has a filter stay when this process goes; `detach_others` takes it off.
fn keep(program: &mut SchedClassifier, id: SchedClassifierLinkId) -> Result<(), ProgramError> {
    std::mem::forget(program.take_link(id)?);
    Ok(())
}

fn pin_program(
    program: &mut SchedClassifier,
    place: &Place,
    interface: &str,
    pins: &Pins,
) -> Result<(), StandingError> {
    let unpinned = unpinned(place, interface);
    let path = pins.path(&place.filter_pin(ifindex(interface).unwrap_or(0), interface));
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unpinned(error)),
        Ok(()) | Err(_) => {}
    }
    program.pin(&path).map_err(|error| unpinned(io::Error::other(error)))
}

/// Nothing there is fine: no filter (`ENOENT`), no queueing discipline (`EINVAL`), no interface (`ENODEV`).
fn remove_filter(place: &Place, interface: &str) -> Result<(), StandingError> {
    const NOTHING_THERE: [i32; 3] = [libc::ENOENT, libc::EINVAL, libc::ENODEV];
    let Ok(link) = place.filter(interface) else { return Ok(()) };
    match link.detach() {
        Err(ProgramError::NetlinkError(error))
            if error.raw_os_error().is_some_and(|code| NOTHING_THERE.contains(&code)) =>
        {
            Ok(())
        }
        Err(source) => Err(StandingError::Detach {
            side: place.side,
            interface: interface.to_owned(),
            source: Box::new(source),
        }),
        Ok(()) => Ok(()),
    }
}
