// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whole tunnelled frames as they were on the wire: the kernel takes the outermost VLAN tag off before a packet socket sees a
//! frame and tells it beside, so it is put back here.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};

use crate::frames::{Worker, open, option, tunnelled};
use crate::netns::Netns;

/// Frames that are kept, the youngest.
const FRAMES_MAX: usize = 4096;

/// A running record of the tunnelled frames that come in on an interface; ended when dropped.
#[derive(Debug)]
pub struct Tap {
    frames: Arc<Mutex<VecDeque<Vec<u8>>>>,
    _worker: Worker,
}

impl Tap {
    /// Starts to record.
    pub fn start(on: (&Netns, &str)) -> Result<Tap> {
        let socket = open(on)?;
        option(&socket, libc::SOL_PACKET, libc::PACKET_AUXDATA, &1_i32).context("ask for tags")?;
        let frames = Arc::new(Mutex::new(VecDeque::new()));
        let shared = Arc::clone(&frames);
        let worker = Worker::start(move |stop| {
            while !stop.load(Ordering::Relaxed) {
                let Some(frame) = receive(&socket)? else { continue };
                let mut frames = shared.lock().unwrap_or_else(PoisonError::into_inner);
                if frames.len() == FRAMES_MAX {
                    frames.pop_front();
                }
                frames.push_back(frame);
            }
            Ok(())
        });
        Ok(Tap { frames, _worker: worker })
    }

    /// The frames so far that `wanted` takes.
    pub fn frames(&self, wanted: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
        let frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        frames.iter().filter(|frame| wanted(frame)).cloned().collect()
    }
}

/// The next frame, if it is a tunnelled one; nothing also when the time is up.
fn receive(socket: &OwnedFd) -> Result<Option<Vec<u8>>> {
    let mut frame = vec![0_u8; 2048];
    let mut control = [0_u64; 16];
    let mut part = libc::iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: frame.len() };
    // SAFETY: all zero is a valid message header; the pointers are set below.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: everything that the message points to lives through the call, and the sizes are given.
    let len = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
    let Ok(len) = usize::try_from(len) else {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR | libc::ENETDOWN) => Ok(None),
            _ => Err(error).context("receive a frame"),
        };
    };
    frame.truncate(len);
    if tunnelled(&frame).is_none() {
        return Ok(None);
    }
    if let Some(tag) = tag(&message) {
        frame.splice(12..12, tag);
    }
    Ok(Some(frame))
}

/// The tag that the kernel took off, in wire order.
fn tag(message: &libc::msghdr) -> Option<[u8; 4]> {
    // SAFETY: the message was filled by the kernel, and its control buffer lives.
    let head = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: the first header, if there is one, lies whole in the buffer.
    let is_ours = unsafe { head.as_ref() }
        .is_some_and(|head| (head.cmsg_level, head.cmsg_type) == (libc::SOL_PACKET, libc::PACKET_AUXDATA));
    if !is_ours {
        return None;
    }
    // SAFETY: that kind of message holds this structure; it need not be aligned.
    let data = unsafe { libc::CMSG_DATA(head).cast::<libc::tpacket_auxdata>().read_unaligned() };
    if data.tp_status & libc::TP_STATUS_VLAN_VALID == 0 {
        return None;
    }
    let [a, b] = data.tp_vlan_tpid.to_be_bytes();
    let [c, d] = data.tp_vlan_tci.to_be_bytes();
    Some([a, b, c, d])
}
