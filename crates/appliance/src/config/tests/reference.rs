// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The reference says what the reader does: every default is what a document gets that leaves the key out, every range and
//! every word is what is taken and refused, and the page is the one that is checked in.

use std::collections::BTreeSet;
use std::path::Path;

use toml::{Table, Value};

use super::{EXAMPLE, good};
use crate::config::shape::{Absent, Change, Key, Shape, Values};
use crate::config::value::duration_text;
use crate::config::{Problem, limits, parse, read, reference, to_json};
use crate::model::Limits;
use crate::store::fixed_sections_changed;

/// One object of each kind with the keys that it must have, and nothing else but what these then ask for.
const LEAST: &str = r#"
[appliance]
name = "lb1"
router_id = "192.0.2.1"
source_v4 = "192.0.2.1"
hash_seed_file = "/etc/weir/hash-seed"
[uplinks.eth0]
xdp = "native"
[bgp]
asn = 65010
[peers.tor1]
address = "10.0.0.1"
remote_as = 65000
[vips.www]
address = "198.51.100.10"
[services.web]
vip = "www"
protocol = "tcp"
port = 443
pool = "web"
[pools.web]
mode = "gue"
[pools.web.check]
kind = "http"
[pools.web.backends.b1]
address = "10.1.0.1"
"#;
/// Keys of [`LEAST`] that are not required by themselves: its backends are IPv4, and a peer is found by one key of three.
const ASKED_FOR: [&str; 2] = ["appliance.source_v4", "peers.tor1.address"];
/// The objects of [`LEAST`] behind the patterns of the shapes.
const NAMES: [(&str, &str); 6] = [
    ("uplinks.INTERFACE", "uplinks.eth0"),
    ("peers.NAME", "peers.tor1"),
    ("vips.NAME", "vips.www"),
    ("services.NAME", "services.web"),
    ("backends.NAME", "backends.b1"),
    ("pools.NAME", "pools.web"),
];

/// Path of a section in [`LEAST`].
fn path(shape: &Shape) -> String {
    NAMES.iter().fold(shape.path.to_owned(), |path, (pattern, name)| path.replace(pattern, name))
}

fn sections() -> Vec<Shape> {
    read::shapes().into_iter().filter(|shape| !shape.path.is_empty()).collect()
}

/// Every key that holds a value, with the path of its section.
fn keys() -> Vec<(String, &'static Key)> {
    let of = |shape: Shape| shape.keys.iter().map(move |key| (path(&shape), key));
    sections().into_iter().flat_map(of).filter(|(_, key)| !matches!(key.values, Values::Section)).collect()
}

/// [`LEAST`] with one key set, or without it; the problems found at it.
fn problems_with(section: &str, key: &str, value: Option<Value>) -> Vec<Problem> {
    let mut document: Table = toml::from_str(LEAST).unwrap();
    let mut table = &mut document;
    for name in section.split('.') {
        let sub = table.entry(name).or_insert_with(|| Value::Table(Table::new()));
        table = sub.as_table_mut().unwrap();
    }
    match value {
        Some(value) => table.insert(key.to_owned(), value),
        None => table.remove(key),
    };
    let text = toml::to_string(&document).unwrap();
    let problems = parse("weir.toml", &text).err().map(|errors| errors.problems).unwrap_or_default();
    problems.into_iter().filter(|problem| problem.path == format!("{section}.{key}")).collect()
}

/// A value as the document writes it.
fn value(text: &str) -> Value {
    let table: Table = toml::from_str(&format!("x = {text}")).unwrap_or_else(|e| panic!("{text}: {e}"));
    table["x"].clone()
}

/// Whether the value is not one that the key takes; that other keys do not go with it does not matter.
fn is_refused(section: &str, key: &str, text: &str, expected: &str) -> bool {
    problems_with(section, key, Some(value(text))).iter().any(|problem| problem.message.contains(expected))
}

#[test]
fn docs_fresh_document() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/document.md");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&file, reference()).unwrap();
    }
    let page = std::fs::read_to_string(&file).unwrap();
    assert!(page == reference(), "docs/reference/document.md is stale: run `cargo xtask gen-docs`");
}

#[test]
fn every_section_has_its_shape_and_every_shape_its_place() {
    let paths: Vec<&str> = read::shapes().iter().map(|shape| shape.path).collect();
    assert_eq!(paths.iter().collect::<BTreeSet<_>>().len(), paths.len(), "one shape for each section");
    let mut reached = BTreeSet::from([""]);
    for shape in read::shapes() {
        for key in shape.keys.iter().filter(|key| matches!(key.values, Values::Section)) {
            let child = if shape.path.is_empty() {
                key.name.to_owned()
            } else {
                format!("{}.{}", shape.path, key.name)
            };
            let is_it = |path: &&&str| {
                **path == child
                    || [".NAME", ".INTERFACE"].iter().any(|name| **path == format!("{child}{name}"))
            };
            let found = paths.iter().find(is_it);
            reached.insert(found.unwrap_or_else(|| panic!("`{child}` has no shape")));
        }
    }
    assert_eq!(reached, paths.iter().copied().collect(), "every shape is a key of another");
}

#[test]
fn every_key_is_described_once_and_in_one_line() {
    for shape in sections() {
        assert!(!shape.title.is_empty(), "{}", shape.path);
        let names: BTreeSet<&str> = shape.names().collect();
        assert_eq!(names.len(), shape.keys.len(), "{}", shape.path);
        assert!(shape.later.iter().all(|later| !names.contains(later)), "{}: known and of later", shape.path);
    }
    for (section, key) in keys() {
        let texts = [
            key.name,
            key.meaning,
            match key.absent {
                Absent::Required => "required",
                Absent::Default(text) | Absent::Means(text) => text,
            },
        ];
        for text in texts {
            assert!(!text.is_empty() && !text.contains(['|', '\n']), "{section}.{}: {text:?}", key.name);
            assert!(!text.ends_with('.') && !text.contains("  "), "{section}.{}: {text:?}", key.name);
        }
    }
}

#[test]
fn what_is_left_out_has_the_default_of_the_page() {
    let canonical = to_json(&good(LEAST));
    let least: Table = toml::from_str(LEAST).unwrap();
    let mut counts = [0; 3];
    for (section, key) in keys() {
        let at = format!("{section}.{}", key.name);
        let pointer = format!("/{}", at.replace('.', "/"));
        let table = section.split('.').try_fold(&least, |table, name| table.get(name)?.as_table());
        let is_written = table.is_some_and(|table| table.contains_key(key.name));
        if ASKED_FOR.contains(&at.as_str()) {
            assert!(is_written && key.absent != Absent::Required, "{at}");
            continue;
        }
        assert_eq!(is_written, key.absent == Absent::Required, "{at}");
        match key.absent {
            Absent::Required => {
                let problems = problems_with(&section, key.name, None);
                assert!(
                    problems.iter().any(|problem| problem.message.starts_with("missing")),
                    "{at}: {problems:?}"
                );
                counts[0] += 1;
            }
            Absent::Default(text) => {
                let default = serde_json::to_value(value(text)).unwrap();
                assert_eq!(canonical.pointer(&pointer), Some(&default), "{at}");
                counts[1] += 1;
            }
            Absent::Means(_) => {
                assert_eq!(canonical.pointer(&pointer), None, "{at}");
                counts[2] += 1;
            }
        }
    }
    assert!(counts.iter().all(|count| *count >= 8), "{counts:?} keys were looked at");
    // The one default that depends on another key.
    let udp = LEAST.replace("\"tcp\"", "\"udp\"").replace("kind = \"http\"", "kind = \"http\"\nport = 1");
    assert_eq!(to_json(&good(&udp)).pointer("/services/web/idle"), Some(&"2m".into()));
    assert!(reference().contains("the default of UDP services is `2m`"));
}

#[test]
fn ranges_are_those_of_the_page() {
    let mut count = 0;
    for (section, key) in keys() {
        let at = format!("{section}.{}", key.name);
        // Both ends, what lies beyond them, and what the refusal says.
        let (ends, beyond, expected) = match &key.values {
            Values::Number(range) => {
                let (min, max) = (i64::from(*range.start()), i64::from(*range.end()));
                let what = if key.name.ends_with("port") { "a port" } else { "a whole number" };
                (
                    [min, max].map(|n| n.to_string()),
                    [min - 1, max + 1].map(|n| n.to_string()),
                    format!("expected {what} from {min} to {max}"),
                )
            }
            Values::Span(range) | Values::Seconds(range) => {
                let text = |span| format!("\"{}\"", duration_text(span));
                let step = match key.values {
                    Values::Seconds(_) => std::time::Duration::from_secs(1),
                    Values::Section
                    | Values::Words(_)
                    | Values::Number(_)
                    | Values::Span(_)
                    | Values::Text(_) => std::time::Duration::from_millis(1),
                };
                let (min, max) = (*range.start(), *range.end());
                let below = min.checked_sub(step).map_or("\"-1s\"".to_owned(), text);
                ([min, max].map(text), [below, text(max + step)], "expected a time span".to_owned())
            }
            Values::Section | Values::Words(_) | Values::Text(_) => continue,
        };
        for end in ends {
            assert!(!is_refused(&section, key.name, &end, &expected), "{at} = {end}");
        }
        for wrong in beyond {
            assert!(is_refused(&section, key.name, &wrong, &expected), "{at} = {wrong}");
        }
        count += 1;
    }
    assert!(count >= 15, "{count} ranges were looked at");
}

#[test]
fn words_are_those_of_the_page() {
    let mut count = 0;
    for (section, key) in keys() {
        let Values::Words(words) = key.values else { continue };
        let quoted: Vec<String> = words().iter().map(|word| format!("`\"{word}\"`")).collect();
        for word in words() {
            assert!(
                !is_refused(&section, key.name, &format!("\"{word}\""), "expected"),
                "{section}.{}",
                key.name
            );
        }
        let problems = problems_with(&section, key.name, Some(value("\"no such word\"")));
        let [problem] = problems.as_slice() else { panic!("{section}.{}: {problems:?}", key.name) };
        let list = problem.message.split_once("expected ").map(|(_, list)| list.replace(" or ", ", "));
        assert_eq!(list, Some(quoted.join(", ")), "{section}.{}", key.name);
        count += 1;
    }
    assert!(count >= 8, "{count} lists of words were looked at");
}

#[test]
fn numbers_in_the_words_of_the_page_are_the_limits() {
    let page = reference();
    for (words, limit) in [
        ("list of at most 16 addresses with port", limits::LISTENERS_MAX as u64),
        ("one BGP neighbour (at most 64)", limits::PEERS_MAX as u64),
        ("list of at most 32 of", limits::COMMUNITIES_MAX as u64),
        ("1 to 80 bytes, no rights for others", limits::MD5_KEY_BYTES_MAX as u64),
        ("prefix, IPv4 from /8 and IPv6 from /16 on", u64::from(limits::RANGE_LENGTH_V4)),
        ("prefix, IPv4 from /8 and IPv6 from /16 on", u64::from(limits::RANGE_LENGTH_V6)),
        ("| `16` | Most prefixes of one family", u64::from(limits::PREFIXES_MAX_DEFAULT)),
        ("| 16 | With `range`: most sessions", u64::from(limits::RANGE_SESSIONS_DEFAULT)),
        ("`1s` to `4095s`, whole seconds", limits::RESTART_TIME.end().as_secs()),
        ("`1Mbit` to `10Tbit`", limits::LINK_CAPACITY.start() / 1_000_000),
        ("`1Mbit` to `10Tbit`", limits::LINK_CAPACITY.end() / 1_000_000_000_000),
        ("name of an interface, at most 13 characters", limits::CHECK_INTERFACE_BYTES_MAX as u64),
        ("path of visible ASCII characters, at most 2,048", limits::CHECK_PATH_BYTES_MAX as u64),
        ("visible ASCII characters, at most 255", limits::CHECK_HOST_BYTES_MAX as u64),
        ("text, at most 256 bytes", limits::CHECK_BODY_BYTES_MAX as u64),
        ("list of at most 32 statuses and ranges", limits::CHECK_STATUSES_MAX as u64),
        ("1 to 2,048 backends, or", u64::from(limits::MAX_BACKENDS_MAX)),
        ("1 to 63 printable characters", limits::ZONE_CHARS_MAX as u64),
        ("address, or prefix: IPv4 from /8, IPv6 from /16 on", u64::from(limits::VIP_LENGTH_V4)),
        ("address, or prefix: IPv4 from /8, IPv6 from /16 on", u64::from(limits::VIP_LENGTH_V6)),
        ("IPv4 prefix of /16", u64::from(Limits::ENTROPY_LENGTH_V4)),
        ("IPv6 prefix of /64", u64::from(Limits::ENTROPY_LENGTH_V6)),
        ("a power of two, 64 to 2^29", u64::from(limits::FLOW_SLOTS_HARD_MIN)),
        ("not 253 to 255", u64::from(*limits::ROUTING_TABLES_RESERVED.start())),
    ] {
        assert!(page.contains(words), "{words}");
        let numbers: Vec<String> = words
            .split(|c: char| !c.is_ascii_digit() && c != ',')
            .map(|number| number.replace(',', ""))
            .collect();
        assert!(numbers.contains(&limit.to_string()), "{words}: the limit is {limit}");
    }
    assert_eq!(limits::FLOW_SLOTS_HARD_MAX, 1 << 29);
}

#[test]
fn every_key_is_in_the_example_in_its_section() {
    let mut shown: BTreeSet<(String, String)> = BTreeSet::new();
    let mut section = String::new();
    for line in EXAMPLE.lines() {
        let line = line.trim_start_matches(['#', ' ']);
        if let Some(header) = line.strip_prefix('[').and_then(|line| line.split_once(']')) {
            section = header.0.to_owned();
        } else if let Some((key, _)) = line.split_once(" = ") {
            shown.insert((section.clone(), key.to_owned()));
        }
    }
    let is_at = |section: &str, pattern: &str| {
        let (names, patterns): (Vec<_>, Vec<_>) =
            (section.split('.').collect(), pattern.split('.').collect());
        let is_same =
            |(name, pattern): (&&str, &&str)| name == pattern || ["NAME", "INTERFACE"].contains(pattern);
        names.len() == patterns.len() && names.iter().zip(&patterns).all(is_same)
    };
    for shape in sections() {
        for key in shape.keys.iter().filter(|key| !matches!(key.values, Values::Section)) {
            let is_shown = shown.iter().any(|(section, name)| name == key.name && is_at(section, shape.path));
            assert!(is_shown, "`{}` is missing in [{}] of the example", key.name, shape.path);
        }
    }
}

#[test]
fn what_needs_a_restart_is_what_a_reload_refuses() {
    let edits = [
        ("bootstrap", "[appliance]", "[bootstrap]\ninstance = \"other\"\n[appliance]"),
        ("appliance", "\"lb1\"", "\"lb2\""),
        ("uplinks", "uplinks.eth0", "uplinks.eth1"),
        ("bgp", "65010", "65011"),
        ("dataplane", "[bgp]", "[dataplane.limits]\nmin_mtu_v4 = 600\n[bgp]"),
        ("peers", "10.0.0.1", "10.0.0.2"),
        ("vips", "198.51.100.10", "198.51.100.11"),
        ("services", "443", "444"),
        ("pools", "10.1.0.1", "10.1.0.2"),
    ];
    let before = good(LEAST);
    for (section, old, new) in edits {
        let after = good(&LEAST.replacen(old, new, 1));
        assert_ne!(after, before, "{section}");
        let is_fixed = !fixed_sections_changed(&before, &after).is_empty();
        let shapes = sections().into_iter().filter(|shape| shape.path.split('.').next() == Some(section));
        let changes: Vec<Change> = shapes.map(|shape| shape.change).collect();
        assert!(!changes.is_empty(), "{section}");
        let expected = if is_fixed { Change::Restart } else { Change::Reload };
        assert!(changes.iter().all(|change| *change == expected), "{section}: {changes:?}");
    }
}
