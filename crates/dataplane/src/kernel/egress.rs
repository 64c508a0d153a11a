// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A traffic control program on the egress of an interface.
//!
//! By a kernel link where there are such (TCX, kernel 6.6), else by a filter under the `clsact` queueing discipline. Neither
//! is pinned. A link goes with the process that holds it; a filter is taken off when its handle is dropped, and after a
//! SIGKILL stays with its interface until that is removed, which is what the next start does with a check interface.

use aya::programs::tc::{
    NlOptions, SchedClassifier, SchedClassifierLink, TcAttachOptions, TcAttachType, qdisc_add_clsact,
};
use aya::programs::{LinkOrder, ProgramError};

/// How a program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// By a link.
    Tcx,
    /// By a filter.
    Clsact,
}

impl Hook {
    /// The word in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }
}

/// Puts `program` (loaded) on the egress of `interface`, by `hook` or, if that is left open, by the first that the kernel
/// has. It is on for as long as the link that comes back lives.
///
/// # Errors
/// What the kernel says.
pub fn attach(
    program: &mut SchedClassifier,
    interface: &str,
    hook: Option<Hook>,
) -> Result<(SchedClassifierLink, Hook), ProgramError> {
    let by = |program: &mut SchedClassifier, hook| {
        let options = match hook {
            Hook::Tcx => TcAttachOptions::TcxOrder(LinkOrder::default()),
            Hook::Clsact => {
                qdisc_add_clsact(interface)?;
                TcAttachOptions::Netlink(NlOptions::default())
            }
        };
        let id = program.attach_with_options(interface, TcAttachType::Egress, options)?;
        Ok((program.take_link(id)?, hook))
    };
    match hook {
        Some(hook) => by(program, hook),
        None => match by(program, Hook::Tcx) {
            Err(ProgramError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::EINVAL) => {
                by(program, Hook::Clsact)
            }
            other => other,
        },
    }
}
