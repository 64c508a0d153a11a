// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The agent's own document: a small TOML file, read whole or refused whole.
//!
//! ```toml
//! instance = "agent"                                    # names the pin directory
//! interfaces = { eth0 = { xdp = "native" } }            # native | generic; never changed silently
//! appliances = ["192.0.2.0/24", "2001:db8:ffff::/48"]   # outer sources
//! vips = ["198.51.100.0/24", "2001:db8:100::/48"]       # inner destinations
//! addresses = ["10.1.0.1"]                              # outer destinations; without it: all addresses of the host
//! gue_ports = [6080]                                    # UDP ports; [] = no GUE
//! mss = { path_mtu = 1500, overhead = 56 }              # SYN-ACKs of VIPs announce no more than fits; without it: untouched
//! metrics_listen = "127.0.0.1:9181"
//! pin_dir = "/sys/fs/bpf/weir"
//! ```
//!
//! All that is wrong is said at once, each with its place in the text. Nothing is filled in for a value that is wrong.

mod tunnel;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use weir_dataplane_core::decap::{ADDRESSES_MAX, APPLIANCES_MAX, VIPS_MAX};
use weir_dataplane_core::encap::gue;

pub use tunnel::Mss;

/// How the program runs on an interface.
pub use weir_dataplane::XdpMode;

/// Largest document that is read.
const DOCUMENT_BYTES_MAX: u64 = 1 << 20;
/// Interfaces of one agent.
const INTERFACES_MAX: usize = 64;
/// Problems that are listed; the rest is only counted.
const PROBLEMS_MAX: usize = 50;

const KEYS: [&str; 9] = [
    "instance",
    "interfaces",
    "appliances",
    "vips",
    "addresses",
    "gue_ports",
    "mss",
    "metrics_listen",
    "pin_dir",
];

/// What the agent is told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentConfig {
    /// Names the pin directory below `pin_dir`, so that several agents can share a host.
    pub instance: String,
    /// Interfaces to decapsulate on.
    pub interfaces: BTreeMap<String, XdpMode>,
    /// Prefixes that tunnel packets may come from.
    pub appliances: BTreeSet<IpNet>,
    /// Prefixes that inner packets may be for.
    pub vips: BTreeSet<IpNet>,
    /// Addresses that tunnel packets may be for; `None`: whatever addresses the host has at the time.
    pub addresses: Option<BTreeSet<IpAddr>>,
    /// UDP ports that GUE may come to.
    pub gue_ports: BTreeSet<u16>,
    /// How far the MSS in SYN-ACKs of VIPs is lowered on these interfaces; `None`: not at all.
    pub mss: Option<Mss>,
    /// Where metrics are served.
    pub metrics_listen: SocketAddr,
    /// Folder on bpffs.
    pub pin_dir: PathBuf,
}

/// One thing to change in the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1; 0 when it concerns the file as a whole.
    pub line: usize,
    /// Character in the line, from 1.
    pub column: usize,
    /// What was found and what is allowed.
    pub message: String,
}

/// Why a document was refused: everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The file.
    pub file: PathBuf,
    /// In order of the text; never empty.
    pub problems: Vec<Problem>,
    /// Problems beyond those listed.
    pub more: usize,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        for Problem { line, column, message } in &self.problems {
            match line {
                0 => writeln!(f, "{file}: {message}")?,
                _ => writeln!(f, "{file}:{line}:{column}: {message}")?,
            }
        }
        match self.problems.len().saturating_add(self.more) {
            1 => write!(f, "{file}: refused, 1 error"),
            n => write!(f, "{file}: refused, {n} errors"),
        }
    }
}

impl std::error::Error for ConfigErrors {}

impl AgentConfig {
    /// Reads and checks the document at `path`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        let whole = |message: String| ConfigErrors {
            file: path.to_owned(),
            problems: vec![Problem { line: 0, column: 0, message }],
            more: 0,
        };
        // Not by the size that the file states: a device states none.
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(DOCUMENT_BYTES_MAX + 1).read_to_string(&mut text))
            .map_err(|error| whole(format!("cannot be read: {error}")))?;
        if text.len() as u64 > DOCUMENT_BYTES_MAX {
            return Err(whole(format!("expected at most {DOCUMENT_BYTES_MAX} bytes")));
        }
        Self::parse(&text, path)
    }

    /// Checks the document `text`, which errors call `file`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigErrors> {
        let mut reader = Reader { problems: Vec::new() };
        let (table, syntax) = DeTable::parse_recoverable(text);
        for error in syntax {
            let at = error.span().map_or(0, |span| span.start);
            reader.wrong(at, error.message().to_owned());
        }
        let config = reader.document(table.get_ref());
        match config {
            Some(config) if reader.problems.is_empty() => Ok(config),
            _ => Err(reader.refusal(text, file)),
        }
    }
}

/// Goes through the document and collects problems by offset.
struct Reader {
    problems: Vec<(usize, String)>,
}

impl Reader {
    fn wrong(&mut self, at: usize, message: String) {
        self.problems.push((at, message));
    }

    /// Every value, or `None` if one of them is missing or wrong (and then a problem says so).
    fn document(&mut self, table: &DeTable<'_>) -> Option<AgentConfig> {
        for (key, _) in table {
            if !KEYS.contains(&key.get_ref().as_ref()) {
                self.wrong(
                    key.span().start,
                    format!("unknown key `{}`; known: {}", key.get_ref(), KEYS.join(", ")),
                );
            }
        }
        let instance = match table.get("instance") {
            Some(value) => self.text(value, "instance").and_then(|text| self.instance(value, text)),
            None => Some("agent".to_owned()),
        };
        let interfaces = self.required(table, "interfaces").and_then(|value| self.interfaces(value));
        let appliances =
            self.required(table, "appliances").and_then(|value| self.prefixes(value, APPLIANCES_MAX));
        let vips = self.required(table, "vips").and_then(|value| self.prefixes(value, VIPS_MAX));
        let addresses = match table.get("addresses") {
            Some(value) => self.addresses(value).map(Some),
            None => Some(None),
        };
        let gue_ports = match table.get("gue_ports") {
            Some(value) => self.gue_ports(value),
            None => Some(BTreeSet::from([gue::PORT])),
        };
        let mss = match table.get("mss") {
            Some(value) => self.mss(value).map(Some),
            None => Some(None),
        };
        let metrics_listen = match table.get("metrics_listen") {
            Some(value) => self.text(value, "metrics_listen").and_then(|text| self.listener(value, text)),
            None => Some(SocketAddr::from(([127, 0, 0, 1], 9181))),
        };
        let pin_dir = match table.get("pin_dir") {
            Some(value) => self.text(value, "pin_dir").and_then(|text| self.path(value, text)),
            None => Some(PathBuf::from("/sys/fs/bpf/weir")),
        };
        Some(AgentConfig {
            instance: instance?,
            interfaces: interfaces?,
            appliances: appliances?,
            vips: vips?,
            addresses: addresses?,
            gue_ports: gue_ports?,
            mss: mss?,
            metrics_listen: metrics_listen?,
            pin_dir: pin_dir?,
        })
    }

    fn required<'t>(&mut self, table: &'t DeTable<'t>, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        let value = table.get(key);
        if value.is_none() {
            self.wrong(0, format!("`{key}` is missing"));
        }
        value
    }

    fn text<'t>(&mut self, value: &'t Spanned<DeValue<'t>>, what: &str) -> Option<&'t str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            let found = value.get_ref().type_str();
            self.wrong(value.span().start, format!("{what}: found {found}, expected a string"));
        }
        text
    }

    fn instance(&mut self, value: &Spanned<DeValue<'_>>, text: &str) -> Option<String> {
        let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        if (1..=63).contains(&text.len()) && text.bytes().all(is_word) {
            return Some(text.to_owned());
        }
        self.wrong(value.span().start, "instance: expected 1 to 63 of a-z, 0-9, `-` and `_`".to_owned());
        None
    }

    fn interfaces(&mut self, value: &Spanned<DeValue<'_>>) -> Option<BTreeMap<String, XdpMode>> {
        let at = value.span().start;
        let Some(table) = value.get_ref().as_table() else {
            self.wrong(at, "interfaces: expected a table like `{ eth0 = { xdp = \"native\" } }`".to_owned());
            return None;
        };
        if table.is_empty() || table.len() > INTERFACES_MAX {
            self.wrong(at, format!("interfaces: found {}, expected 1 to {INTERFACES_MAX}", table.len()));
            return None;
        }
        let mut interfaces = BTreeMap::new();
        for (name, settings) in table {
            let name_text: &str = name.get_ref();
            let is_name = (1..=15).contains(&name_text.len())
                && name_text.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b':')
                && ![".", ".."].contains(&name_text);
            if !is_name {
                self.wrong(name.span().start, "interfaces: not a name an interface can have".to_owned());
            }
            if let Some(mode) = self.mode(name_text, settings) {
                interfaces.insert(name_text.to_owned(), mode);
            }
        }
        Some(interfaces)
    }

    fn mode(&mut self, name: &str, settings: &Spanned<DeValue<'_>>) -> Option<XdpMode> {
        let expected =
            format!("interfaces.{name}: expected `{{ xdp = \"native\" }}` or `{{ xdp = \"generic\" }}`");
        let Some(table) = settings.get_ref().as_table() else {
            self.wrong(settings.span().start, expected);
            return None;
        };
        for (key, _) in table {
            if key.get_ref() != "xdp" {
                let message = format!("interfaces.{name}: unknown key `{}`; known: xdp", key.get_ref());
                self.wrong(key.span().start, message);
            }
        }
        // The mode is never guessed: a missing one is as wrong as an unknown one.
        let Some(value) = table.get("xdp") else {
            self.wrong(settings.span().start, expected);
            return None;
        };
        match value.get_ref().as_str() {
            Some("native") => Some(XdpMode::Native),
            Some("generic") => Some(XdpMode::Generic),
            _ => {
                self.wrong(value.span().start, expected);
                None
            }
        }
    }

    fn prefixes(&mut self, value: &Spanned<DeValue<'_>>, max: u32) -> Option<BTreeSet<IpNet>> {
        let items = self.list(value, max)?;
        let mut prefixes = BTreeSet::new();
        for (at, text) in items {
            match prefix(text) {
                Ok(prefix) if prefixes.insert(prefix) => {}
                Ok(prefix) => self.wrong(at, format!("found `{prefix}` twice")),
                Err(message) => self.wrong(at, message),
            }
        }
        Some(prefixes)
    }

    fn addresses(&mut self, value: &Spanned<DeValue<'_>>) -> Option<BTreeSet<IpAddr>> {
        let items = self.list(value, ADDRESSES_MAX)?;
        let mut addresses = BTreeSet::new();
        for (at, text) in items {
            match text.parse() {
                Ok(address) if addresses.insert(address) => {}
                Ok(address) => self.wrong(at, format!("found `{address}` twice")),
                Err(_) => self.wrong(at, format!("found {text:?}, expected an IPv4 or IPv6 address")),
            }
        }
        Some(addresses)
    }

    /// The strings of a list with 1 to `max` of them, each with its offset.
    fn list<'t>(&mut self, value: &'t Spanned<DeValue<'t>>, max: u32) -> Option<Vec<(usize, &'t str)>> {
        let at = value.span().start;
        let Some(items) = value.get_ref().as_array() else {
            self.wrong(at, format!("found {}, expected a list of strings", value.get_ref().type_str()));
            return None;
        };
        if items.is_empty() || items.len() > max as usize {
            self.wrong(at, format!("found {} entries, expected 1 to {max}", items.len()));
            return None;
        }
        Some(
            items
                .iter()
                .filter_map(|item| Some((item.span().start, self.text(item, "list entry")?)))
                .collect(),
        )
    }

    fn listener(&mut self, value: &Spanned<DeValue<'_>>, text: &str) -> Option<SocketAddr> {
        let at = value.span().start;
        match text.parse::<SocketAddr>() {
            // Metrics are served in the clear and to anybody: nobody beyond this host may ask.
            Ok(address) if address.ip().is_loopback() => Some(address),
            Ok(_) => {
                self.wrong(
                    at,
                    "metrics_listen: only a loopback address; put a TLS proxy before it".to_owned(),
                );
                None
            }
            Err(_) => {
                self.wrong(at, format!("metrics_listen: found {text:?}, expected like `127.0.0.1:9181`"));
                None
            }
        }
    }

    fn path(&mut self, value: &Spanned<DeValue<'_>>, text: &str) -> Option<PathBuf> {
        if text.starts_with('/') && !text.contains('\0') {
            return Some(PathBuf::from(text));
        }
        self.wrong(value.span().start, "pin_dir: expected a path from the root".to_owned());
        None
    }

    fn refusal(mut self, text: &str, file: &Path) -> ConfigErrors {
        self.problems.sort();
        let more = self.problems.len().saturating_sub(PROBLEMS_MAX);
        let problems = self.problems.into_iter().take(PROBLEMS_MAX);
        let problems = problems
            .map(|(at, message)| {
                let before = text.get(..at).unwrap_or("");
                let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
                let line = before.matches('\n').count() + 1;
                Problem { line, column: before[line_start..].chars().count() + 1, message }
            })
            .collect();
        ConfigErrors { file: file.to_owned(), problems, more }
    }
}

/// A prefix; an address alone is a prefix of one.
fn prefix(text: &str) -> Result<IpNet, String> {
    let prefix = match (text.parse::<IpNet>(), text.parse::<IpAddr>()) {
        (Ok(prefix), _) => prefix,
        (Err(_), Ok(address)) => IpNet::from(address),
        (Err(_), Err(_)) => return Err(format!("found {text:?}, expected a prefix like `192.0.2.0/24`")),
    };
    if prefix.prefix_len() == 0 {
        return Err(format!("found `{prefix}`: it would accept everybody"));
    }
    if prefix.trunc() != prefix {
        return Err(format!("found `{prefix}`, which has host bits; did you mean `{}`?", prefix.trunc()));
    }
    // IPv4 addresses live in the tables in their IPv6 form, where such a prefix would catch them.
    if let IpNet::V6(v6) = prefix
        && (v6.network().to_ipv4_mapped().is_some() || v6.contains(&IPV4_MAPPED))
    {
        return Err(format!("found `{prefix}`, which holds IPv4 addresses in IPv6 form"));
    }
    Ok(prefix)
}

/// One of the IPv4-mapped addresses.
const IPV4_MAPPED: std::net::Ipv6Addr = std::net::Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0);

#[cfg(test)]
mod tests;
