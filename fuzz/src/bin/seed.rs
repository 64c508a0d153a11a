// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Fills `corpus/` from the recorded messages: whole for streams and sessions, bodies for the rest.

use std::fs;
use std::io;
use std::path::Path;

fn main() -> io::Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fixtures = here.join("../crates/bgp/tests/fixtures");
    for folder in ["open", "update", "notification", "refresh", "malformed"] {
        for entry in fs::read_dir(fixtures.join(folder))? {
            let path = entry?.path();
            let message = octets(&fs::read_to_string(&path)?);
            let name = format!("{folder}-{}", path.file_stem().and_then(|s| s.to_str()).unwrap_or("unnamed"));
            let put = |target: &str, seed: Vec<u8>| -> io::Result<()> {
                let corpus = here.join("corpus").join(target);
                fs::create_dir_all(&corpus)?;
                fs::write(corpus.join(&name), seed)
            };
            // In chunks of seven, within the old bound and within the new one.
            put("bgp_message", [&[if folder == "update" { 0x87 } else { 7 }], &message[..]].concat())?;
            let length = u8::try_from(message.len()).unwrap_or(u8::MAX);
            put("bgp_session", [&[2, length, 1], &message[..]].concat())?;
            let body = message.get(19..).unwrap_or_default().to_vec();
            match folder {
                "open" => put("bgp_open", body)?,
                "notification" => put("bgp_notification", body)?,
                "refresh" => put("bgp_refresh", body)?,
                "update" | "malformed" => put("bgp_update", [&[0], &body[..]].concat())?,
                _ => {}
            }
        }
    }
    for entry in fs::read_dir(here.join("../crates/bfd/tests/fixtures"))? {
        let path = entry?.path();
        let packet = octets(&fs::read_to_string(&path)?);
        let name = path.file_stem().and_then(|s| s.to_str()).unwrap_or("unnamed").to_owned();
        for (target, before, after) in [("bfd_packet", &[][..], &[][..]), ("bfd_session", &[0, 0], &[4, 0])] {
            let corpus = here.join("corpus").join(target);
            fs::create_dir_all(&corpus)?;
            fs::write(corpus.join(&name), [before, &packet[..], after].concat())?;
        }
    }
    Ok(())
}

fn octets(text: &str) -> Vec<u8> {
    let digits: String = text.lines().filter(|l| !l.starts_with('#')).collect();
    let pairs = digits.as_bytes().chunks(2).filter_map(|p| std::str::from_utf8(p).ok());
    pairs.filter_map(|p| u8::from_str_radix(p, 16).ok()).collect()
}
