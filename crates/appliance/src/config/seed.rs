// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The fleet's hash seed: 32 secret bytes in a file, as 64 hex digits, readable by nobody else.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use thiserror::Error;

/// Digits of the seed.
const DIGITS: usize = 64;
/// Bytes read of a seed file: the digits and a few of white space.
const FILE_BYTES_MAX: u64 = 128;
/// Mode bits that let anybody read or write.
const OTHERS: u32 = 0o007;

/// A seed that says nothing about itself when shown.
#[derive(Clone, PartialEq, Eq)]
pub struct HashSeed(pub [u8; 32]);

impl fmt::Debug for HashSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashSeed(secret)")
    }
}

/// Why a seed file is refused. The message never holds the file's content.
#[derive(Debug, Error)]
pub enum SeedError {
    /// No such file, no permission, no plain file.
    #[error("read the hash seed file")]
    Read(#[source] io::Error),
    /// Other users could read or change it.
    #[error("the hash seed file has mode {mode:04o}, expected no rights for others")]
    Mode {
        /// Permission bits found.
        mode: u32,
    },
    /// Something else than a seed.
    #[error("the hash seed file does not hold 64 hex digits")]
    Content,
}

/// Reads a seed file.
pub fn read_hash_seed(path: &Path) -> Result<HashSeed, SeedError> {
    let file = File::open(path).map_err(SeedError::Read)?;
    let metadata = file.metadata().map_err(SeedError::Read)?;
    if !metadata.is_file() {
        return Err(SeedError::Read(io::Error::other("not a plain file")));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(SeedError::Mode { mode });
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(SeedError::Read)?;
    decode_hash_seed(bytes.trim_ascii()).map(HashSeed).ok_or(SeedError::Content)
}

/// The seed that 64 hex digits are, or `None` if they are something else.
pub fn decode_hash_seed(digits: &[u8]) -> Option<[u8; 32]> {
    if digits.len() != DIGITS {
        return None;
    }
    let mut seed = [0; 32];
    for (byte, pair) in seed.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = *pair else { return None };
        *byte = nibble(high)? << 4 | nibble(low)?;
    }
    Some(seed)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed_file(content: &str, mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn a_seed_is_read() {
        let file = seed_file(&format!("{}\n", "0aF1".repeat(16)), 0o640);
        assert_eq!(read_hash_seed(file.path()).unwrap().0[..2], [0x0a, 0xf1]);
    }

    #[test]
    fn a_seed_that_others_can_read_is_refused() {
        let file = seed_file(&"00".repeat(32), 0o644);
        assert!(matches!(read_hash_seed(file.path()), Err(SeedError::Mode { mode: 0o644 })));
    }

    #[test]
    fn anything_but_64_hex_digits_is_refused() {
        for content in ["", "00", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &"0".repeat(500)] {
            let file = seed_file(content, 0o600);
            assert!(matches!(read_hash_seed(file.path()), Err(SeedError::Content)), "{content:?}");
        }
    }

    #[test]
    fn a_folder_is_no_seed() {
        assert!(matches!(read_hash_seed(Path::new("/")), Err(SeedError::Read(_) | SeedError::Mode { .. })));
    }

    #[test]
    fn a_seed_is_never_shown() {
        assert_eq!(format!("{:?}", HashSeed([7; 32])), "HashSeed(secret)");
    }
}
