// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A memory-mapped array: read and written without a system call, one aligned word at a time.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::Pod;
use aya::maps::MapData;

/// A memory-mapped `BPF_MAP_TYPE_ARRAY` (made with `BPF_F_MMAPABLE`, kernel 5.5) of `T`, whose size is a multiple of 8.
///
/// Kernel programs read and write the same words, so every access is one atomic word.
pub struct Mapped<T> {
    words: NonNull<AtomicU64>,
    len: u32,
    _values: PhantomData<T>,
}

// SAFETY: the mapping is shared memory accessed through atomics only; it belongs to no thread.
unsafe impl<T> Send for Mapped<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Mapped<T> {}

impl<T: Pod> Mapped<T> {
    const WORDS: usize = size_of::<T>() / 8;

    /// Maps all `len` values of `map`.
    ///
    /// # Errors
    /// What `mmap(2)` says.
    pub fn new(map: &MapData, len: u32) -> io::Result<Self> {
        const { assert!(size_of::<T>().is_multiple_of(8) && size_of::<T>() > 0) };
        let bytes = len as usize * size_of::<T>();
        // SAFETY: a fresh shared mapping chosen by the kernel; the descriptor is open for the duration of the call.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.fd().as_fd().as_raw_fd(),
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let words = NonNull::new(at.cast()).expect("a mapping is never at address zero");
        Ok(Self { words, len, _values: PhantomData })
    }

    /// Number of values.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Word `word` of value `index`.
    ///
    /// # Panics
    /// If either is out of range: indexes come from this crate's own allocators.
    pub fn word(&self, index: u32, word: usize) -> &AtomicU64 {
        assert!(
            index < self.len && word < Self::WORDS,
            "index {index} word {word} beyond {} values",
            self.len
        );
        // SAFETY: in range of the mapping (just checked), which lives as long as `self`; page aligned, so each word is.
        unsafe { self.words.add(index as usize * Self::WORDS + word).as_ref() }
    }

    /// Value `index`, word by word; for values that nobody writes meanwhile, or of one word.
    pub fn read(&self, index: u32) -> T {
        let mut value = std::mem::MaybeUninit::<T>::uninit();
        for word in 0..Self::WORDS {
            let bits = self.word(index, word).load(Ordering::Acquire);
            // SAFETY: inside the value, whose size is `WORDS` words; unaligned since `T` may want less than 8.
            unsafe { value.as_mut_ptr().cast::<u64>().add(word).write_unaligned(bits) };
        }
        // SAFETY: every byte was written, and `Pod` types are valid for any bytes.
        unsafe { value.assume_init() }
    }

    /// Writes value `index` word by word, the first word last: a reader that finds the first word finds the rest.
    pub fn write(&self, index: u32, value: &T) {
        for word in (0..Self::WORDS).rev() {
            // SAFETY: inside `value`, whose size is `WORDS` words.
            let bits = unsafe { std::ptr::from_ref(value).cast::<u64>().add(word).read_unaligned() };
            self.word(index, word).store(bits, Ordering::Release);
        }
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `new`; no reference into it outlives `self`.
        let status = unsafe { libc::munmap(self.words.as_ptr().cast(), self.len as usize * size_of::<T>()) };
        debug_assert_eq!(status, 0, "unmapping what was mapped cannot fail");
    }
}
