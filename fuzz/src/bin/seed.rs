// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Fills `corpus/` from the recorded messages: whole for streams and sessions, bodies for the rest; and from frames as the
//! dataplane's own tests make them.

#[path = "../../../crates/dataplane/tests/support/build.rs"]
#[expect(dead_code, reason = "all that its other users need")]
mod build;
#[path = "seed/dataplane.rs"]
mod dataplane;
#[path = "../../../crates/dataplane/tests/program/differential/frames.rs"]
#[expect(dead_code, reason = "all that its other users need")]
mod frames;
#[path = "../../../crates/dataplane/tests/program/differential/random.rs"]
mod random;

/// Where the frames look for the builder.
mod support {
    pub(crate) use crate::build;
}

/// Where they look for VIPs: those of `weir_fuzz::dataplane`.
mod states {
    pub const VIPS_V4: [&str; 3] = ["198.51.100.10", "198.51.100.11", "198.51.100.64"];
    pub const VIPS_V6: [&str; 3] = ["2001:db8:100::10", "2001:db8:100::11", "2001:db8:200::"];
}

use std::fs;
use std::io;
use std::path::Path;

/// Commands of `weir_fuzz::session`: a configuration octet, then each command with its arguments.
const SESSIONS: [(&str, &[u8]); 5] = [
    ("up-and-stop", &[0, 10, 0x35, 7, 0, 0, 0x14, 0, 1, 0, 0, 2, 0, 5, 3, 10, 0x53, 15, 0]),
    ("up-and-restart", &[0, 10, 0xff, 7, 0, 0, 0x74, 0, 1, 0, 0, 2, 1, 15, 1]),
    ("accepted-v6", &[1, 10, 0xff, 8, 0x80, 0, 0x1c, 0x80, 1, 0, 0x80, 2, 1, 0x80, 6, 0, 0x89]),
    ("peer-restarts", &[0, 7, 0, 0, 0x7c, 0, 1, 0, 0, 2, 0, 9, 5, 50, 7, 0, 0, 0x7c, 0, 1, 0, 0, 5, 0]),
    ("path-down", &[0x20, 10, 3, 7, 0, 0, 0x54, 0, 1, 0, 11, 5, 60, 5, 60, 7]),
];

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
    let put = |target: &str, name: &str, seed: &[u8]| -> io::Result<()> {
        let corpus = here.join("corpus").join(target);
        fs::create_dir_all(&corpus)?;
        fs::write(corpus.join(name), seed)
    };
    for entry in fs::read_dir(fixtures.join("ra"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "hex") {
            let name = path.file_stem().and_then(|s| s.to_str()).unwrap_or("unnamed").to_owned();
            put("bgp_ra", &name, &[&[0], &octets(&fs::read_to_string(&path)?)[..]].concat())?;
        }
    }
    // A session that comes up by either connection, is told and tells something, and ends in each way.
    for (name, script) in SESSIONS {
        put("bgp_session", name, script)?;
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
    dataplane::seeds(put)
}

fn octets(text: &str) -> Vec<u8> {
    let digits: String = text.lines().filter(|l| !l.starts_with('#')).collect();
    let pairs = digits.as_bytes().chunks(2).filter_map(|p| std::str::from_utf8(p).ok());
    pairs.filter_map(|p| u8::from_str_radix(p, 16).ok()).collect()
}
