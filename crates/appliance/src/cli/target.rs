// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What `drain`, `disable` and `undrain` are about, as it is typed.
//!
//! ```text
//! web/b1      a backend of pool `web`      backend/web/b1   the same
//! web         the pool                     pool/web         the same
//! vip/www     a VIP                        appliance        everything that it announces
//! ```
//! The long forms are what the API calls its overrides, and reach objects named `vip` or `appliance`.

use super::client::path;
use crate::overrides::Target;

/// Reads a target as it is typed.
pub(super) fn parse(text: &str) -> Result<Target, String> {
    let parts: Vec<&str> = text.split('/').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err("a name is missing".to_owned());
    }
    match parts.as_slice() {
        ["appliance"] => Ok(Target::Appliance),
        ["vip", vip] => Ok(Target::Vip((*vip).to_owned())),
        [pool] | ["pool", pool] => Ok(Target::Pool((*pool).to_owned())),
        [pool, backend] | ["backend", pool, backend] => {
            Ok(Target::Backend { pool: (*pool).to_owned(), backend: (*backend).to_owned() })
        }
        _ => Err("write POOL/BACKEND, POOL, vip/NAME or appliance".to_owned()),
    }
}

/// The shortest form that reads back as the target.
pub(super) fn shown(target: &Target) -> String {
    let short = match target {
        Target::Appliance | Target::Vip(_) => target.to_string(),
        Target::Pool(pool) => pool.clone(),
        Target::Backend { pool, backend } => format!("{pool}/{backend}"),
    };
    if parse(&short).as_ref() == Ok(target) { short } else { target.to_string() }
}

/// Path of the target's object in the API.
pub(super) fn object_path(target: &Target) -> String {
    match target {
        Target::Appliance => path(&["appliance"]),
        Target::Vip(vip) => path(&["vips", vip]),
        Target::Pool(pool) => path(&["pools", pool]),
        Target::Backend { pool, backend } => path(&["pools", pool, "backends", backend]),
    }
}

/// Path of its override.
pub(super) fn override_path(target: &Target) -> String {
    format!("{}/override", object_path(target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_shown_and_found() {
        for (text, short, id, path) in [
            ("web/b1", "web/b1", "backend/web/b1", "/v1/pools/web/backends/b1/override"),
            ("backend/web/b1", "web/b1", "backend/web/b1", "/v1/pools/web/backends/b1/override"),
            ("web", "web", "pool/web", "/v1/pools/web/override"),
            ("pool/web", "web", "pool/web", "/v1/pools/web/override"),
            ("vip/www", "vip/www", "vip/www", "/v1/vips/www/override"),
            ("appliance", "appliance", "appliance", "/v1/appliance/override"),
            ("pool/appliance", "pool/appliance", "pool/appliance", "/v1/pools/appliance/override"),
            ("backend/vip/b1", "backend/vip/b1", "backend/vip/b1", "/v1/pools/vip/backends/b1/override"),
            ("vip", "vip", "pool/vip", "/v1/pools/vip/override"),
        ] {
            let target = parse(text).expect("a target");
            assert_eq!(shown(&target), short);
            assert_eq!(target.to_string(), id);
            assert_eq!(override_path(&target), path);
        }
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for text in ["", "/", "web/", "/b1", "vip/", "a/b/c", "backend/web/b1/x", "pool//"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
