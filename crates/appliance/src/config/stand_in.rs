// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A document for a look at forwarding alone: what only a running appliance needs may be left out and is stood in for.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::report::Report;
use super::{LoadErrors, finish, read_text, refused, syntax_errors};
use crate::model::Document;

/// Stands in for what is left out. None of it has a say in what becomes of a packet.
const STAND_INS: &str = r#"
[appliance]
name = "replay"
router_id = "192.0.2.1"
hash_seed_file = "/etc/weir/hash-seed"
[bgp]
asn = 64512
[uplinks.uplink]
xdp = "generic"
"#;

/// Reads a document as [`super::load`] does, but without the section `apart`, which is the caller's to read, and with
/// stand-ins for what is left out and has no say in forwarding. Gives the text too.
pub fn load_for_forwarding(path: &Path, apart: &str) -> Result<(Document, String), LoadErrors> {
    let text = read_text(path)?;
    let document = parse_for_forwarding(&path.display().to_string(), &text, apart)?;
    Ok((document, text))
}

/// As [`load_for_forwarding`], from text; `file` is what errors call it.
pub fn parse_for_forwarding(file: &str, text: &str, apart: &str) -> Result<Document, LoadErrors> {
    let mut report = Report::new(file, text);
    let (mut table, errors) = DeTable::parse_recoverable(text);
    if !syntax_errors(&mut report, text, errors) {
        return Err(refused(report, file));
    }
    let (stand_ins, _) = DeTable::parse_recoverable(STAND_INS);
    table.get_mut().remove(apart);
    add_missing(table.get_mut(), stand_ins.into_inner(), 2);
    let (document, report) = finish(file, report, table.get_ref())?;
    report.into_result().map(|()| document)
}

/// Adds the keys of `from` that `to` does not have: of tables in it, `depth` levels down. Names of objects are no keys: a
/// map of them is left as it is when it is there.
fn add_missing<'t>(to: &mut DeTable<'t>, from: DeTable<'t>, depth: u8) {
    for (key, value) in from {
        let name: &str = key.get_ref();
        let is_map_of_objects = name == "uplinks";
        match to.get_mut(name).map(|there| there.get_mut()) {
            None => {
                to.insert(key, value);
            }
            Some(DeValue::Table(there)) if depth > 1 && !is_map_of_objects => {
                if let DeValue::Table(from) = value.into_inner() {
                    add_missing(there, from, depth - 1);
                }
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = r#"
[appliance]
source_v4 = "192.0.2.9"
[vips.www]
address = "198.51.100.10"
[services.https]
vip = "www"
protocol = "tcp"
port = 443
pool = "web"
[pools.web]
mode = "ipip"
[pools.web.backends.b1]
address = "10.1.0.1"
[replay]
anything = "goes"
"#;

    #[test]
    fn what_forwarding_does_not_need_may_be_missing() {
        let document = parse_for_forwarding("x.toml", LEAST, "replay").unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(document.appliance.source_v4, Some([192, 0, 2, 9].into()));
        assert_eq!(document.uplinks.len(), 1);
        let own = format!("{LEAST}\n[uplinks.eth7]\nxdp = \"native\"\n");
        let document = parse_for_forwarding("x.toml", &own, "replay").unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(document.uplinks.keys().collect::<Vec<_>>(), ["eth7"]);
    }

    #[test]
    fn what_it_needs_is_checked_as_ever() {
        let text = LEAST.replace("pool = \"web\"", "pool = \"wob\"");
        let errors = parse_for_forwarding("x.toml", &text, "replay").unwrap_err().to_string();
        assert!(errors.contains("services.https.pool"), "{errors}");
        let errors = parse_for_forwarding("x.toml", "a = ", "replay").unwrap_err().to_string();
        assert!(errors.contains("syntax"), "{errors}");
    }
}
