// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Keys of TCP MD5 signatures: a file each, readable by nobody else, never shown.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use thiserror::Error;
use weir_bgp::Secret;

use super::limits::MD5_KEY_BYTES_MAX;
use crate::model::Document;

/// Bytes read of a key file: the longest key, the end of its line, and one more to see that it is too long.
const FILE_BYTES_MAX: u64 = MD5_KEY_BYTES_MAX as u64 + 3;
/// Mode bits that let anybody read or write.
const OTHERS: u32 = 0o007;

/// Why a key file is refused. The message never holds the file's content.
#[derive(Debug, Error)]
pub enum KeyError {
    /// No such file, no permission, no plain file.
    #[error("read the key file")]
    Read(#[source] io::Error),
    /// Other users could read or change it.
    #[error("the key file has mode {mode:04o}, expected no rights for others")]
    Mode {
        /// Permission bits found.
        mode: u32,
    },
    /// No key, or one that the kernel does not take.
    #[error("the key file does not hold 1 to {MD5_KEY_BYTES_MAX} bytes")]
    Content,
}

/// A peer's key that is refused.
#[derive(Debug, Error)]
#[error("peer `{peer}`")]
pub struct PeerKeyError {
    /// Its name.
    pub peer: String,
    /// Why.
    #[source]
    pub error: KeyError,
}

/// Reads the key of every peer that has one, by name.
pub fn read_md5_keys(document: &Document) -> Result<BTreeMap<String, Secret>, PeerKeyError> {
    let mut keys = BTreeMap::new();
    for (name, peer) in &document.peers {
        let Some(file) = &peer.md5_file else { continue };
        let key = read_md5_key(file).map_err(|error| PeerKeyError { peer: name.clone(), error })?;
        keys.insert(name.clone(), key);
    }
    Ok(keys)
}

/// Reads one key file. The end of its line is no part of the key; every other byte is.
pub(super) fn read_md5_key(path: &Path) -> Result<Secret, KeyError> {
    let file = File::open(path).map_err(KeyError::Read)?;
    let metadata = file.metadata().map_err(KeyError::Read)?;
    if !metadata.is_file() {
        return Err(KeyError::Read(io::Error::other("not a plain file")));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(KeyError::Mode { mode });
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(KeyError::Read)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    Secret::new(bytes).ok_or(KeyError::Content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8], mode: u32) -> Result<Secret, KeyError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        read_md5_key(file.path())
    }

    #[test]
    fn the_end_of_the_line_is_no_part_of_the_key() {
        for content in [&b"s3cr3t"[..], b"s3cr3t\n", b"s3cr3t\r\n"] {
            assert_eq!(read(content, 0o640).unwrap().octets(), b"s3cr3t");
        }
        assert_eq!(read(b" s3cr3t \n\n", 0o600).unwrap().octets(), b" s3cr3t \n");
        assert_eq!(read(&[0xff; 80], 0o600).unwrap().octets(), [0xff; 80]);
        let longest = [&[b'k'; 80][..], b"\r\n"].concat();
        assert_eq!(read(&longest, 0o600).unwrap().octets(), [b'k'; 80]);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for content in [&b""[..], b"\n", &[b'k'; 81], &[b'k'; 500]] {
            assert!(matches!(read(content, 0o600), Err(KeyError::Content)), "{} bytes", content.len());
        }
        assert!(matches!(read(b"key", 0o604), Err(KeyError::Mode { mode: 0o604 })));
        assert!(matches!(read_md5_key(Path::new("/nonexistent")), Err(KeyError::Read(_))));
    }

    #[test]
    fn a_key_is_never_shown() {
        assert_eq!(format!("{:?}", read(b"s3cr3t", 0o600).unwrap()), "Secret(..)");
    }
}
