// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The form of the JSON files: `{"data": …, "format": 1, "sha256": "…"}`, readable with `cat`. Pure.
//!
//! The hash is over the compact text of `data`, so white space does not matter and every other change does: a torn file
//! and one edited by hand are both refused.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Version of the files that this program writes and reads.
const FORMAT: u64 = 1;

/// Why a file of the state directory is not used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Not one of ours, or cut off.
    #[error("cut off, or not a file of Weir")]
    Torn,
    /// The content is not what was written.
    #[error("its content does not match its checksum: damaged, or edited by hand")]
    Checksum,
    /// Another version wrote it.
    #[error("format {found}, this version reads {FORMAT}")]
    Format {
        /// What it says.
        found: u64,
    },
    /// Whole, and yet its content means nothing to this version.
    #[error("content not understood: {0}")]
    Content(String),
    /// Larger than any file that is written.
    #[error("larger than {max} bytes")]
    TooLarge {
        /// The most that is read.
        max: u64,
    },
    /// The system did not give it.
    #[error("cannot be read: {0}")]
    Read(#[source] std::io::Error),
}

/// A file with `data` as its content.
pub fn seal<T: Serialize>(data: &T) -> Vec<u8> {
    // Values of this program are trees of strings and numbers, which always have a JSON form.
    let data = serde_json::to_value(data).expect("state has string keys and finite numbers");
    let sealed = json!({ "format": FORMAT, "sha256": checksum(&data), "data": data });
    let mut bytes = format!("{sealed:#}").into_bytes();
    bytes.push(b'\n');
    bytes
}

/// The content of a file, if it is whole.
pub fn unseal<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FileError> {
    let mut sealed: Value = serde_json::from_slice(bytes).map_err(|_| FileError::Torn)?;
    match sealed.get("format").and_then(Value::as_u64) {
        Some(FORMAT) => {}
        Some(found) => return Err(FileError::Format { found }),
        None => return Err(FileError::Torn),
    }
    let data = sealed.get_mut("data").map(Value::take).ok_or(FileError::Torn)?;
    if sealed.get("sha256").and_then(Value::as_str) != Some(checksum(&data).as_str()) {
        return Err(FileError::Checksum);
    }
    serde_json::from_value(data).map_err(|error| FileError::Content(error.to_string()))
}

fn checksum(data: &Value) -> String {
    hex(&Sha256::digest(data.to_string().as_bytes()))
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn sample() -> BTreeMap<String, Vec<u64>> {
        [("b".to_owned(), vec![1, u64::MAX]), ("ä\n".to_owned(), vec![])].into()
    }

    #[test]
    fn what_was_sealed_comes_out() {
        let bytes = seal(&sample());
        assert_eq!(unseal::<BTreeMap<String, Vec<u64>>>(&bytes).unwrap(), sample());
        let compact = serde_json::from_slice::<Value>(&bytes).unwrap().to_string();
        assert_eq!(unseal::<BTreeMap<String, Vec<u64>>>(compact.as_bytes()).unwrap(), sample());
    }

    #[test]
    fn no_cut_and_no_changed_byte_gets_through() {
        let bytes = seal(&sample());
        let is_refused = |bytes: &[u8]| match unseal::<BTreeMap<String, Vec<u64>>>(bytes) {
            Ok(data) => data == sample(),
            Err(_) => true,
        };
        for cut in 0..bytes.len() - 2 {
            assert!(unseal::<Value>(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut spoiled = bytes.clone();
                spoiled[at] ^= 1 << bit;
                assert!(is_refused(&spoiled), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn each_refusal_has_its_reason() {
        let refusal = |text: &str| unseal::<Vec<u64>>(text.as_bytes()).unwrap_err().to_string();
        assert!(refusal("").starts_with("cut off"));
        assert!(refusal("{\"data\": []}").starts_with("cut off"));
        assert!(refusal("{\"format\": 2}").starts_with("format 2"));
        assert!(refusal("{\"format\": 1, \"data\": [], \"sha256\": \"0\"}").contains("checksum"));
        let other = String::from_utf8(seal(&"text")).unwrap();
        assert!(refusal(&other).starts_with("content not understood"));
    }
}
