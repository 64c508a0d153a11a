// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Socket options that no library wraps, as octets. The only unsafe code of this crate.

#![expect(unsafe_code, reason = "two system calls without a safe wrapper")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use libc::{c_int, c_void, socklen_t};

/// Sets an option to these octets, in the layout of the kernel's headers.
pub(crate) fn set(socket: impl AsFd, level: c_int, name: c_int, value: &[u8]) -> io::Result<()> {
    let length = socklen_t::try_from(value.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let descriptor = socket.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open for as long as `socket` is borrowed, and the kernel reads `length` octets from `value`,
    // which has as many; it keeps no pointer.
    let result =
        unsafe { libc::setsockopt(descriptor, level, name, value.as_ptr().cast::<c_void>(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets an option that is an `int`.
pub(crate) fn set_int(socket: impl AsFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    set(socket, level, name, &value.to_ne_bytes())
}

/// Reads an option into `value`; gives how many octets of it the kernel wrote.
pub(crate) fn get(socket: impl AsFd, level: c_int, name: c_int, value: &mut [u8]) -> io::Result<usize> {
    let mut length = socklen_t::try_from(value.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let descriptor = socket.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open for as long as `socket` is borrowed, and the kernel writes at most `length` octets to
    // `value`, which has as many, and how many they were to `length`, which outlives the call.
    let result = unsafe {
        libc::getsockopt(descriptor, level, name, value.as_mut_ptr().cast::<c_void>(), &raw mut length)
    };
    if result == 0 { Ok(length as usize) } else { Err(io::Error::last_os_error()) }
}
