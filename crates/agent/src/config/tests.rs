// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The document as written, and everything that may be wrong with it.

use super::*;

const WHOLE: &str = r#"
instance = "agent"
interfaces = { eth0 = { xdp = "native" }, eth1 = { xdp = "generic" } }
appliances = ["192.0.2.0/24", "2001:db8:ffff::/48"]
vips = ["198.51.100.0/24", "2001:db8:100::/48", "203.0.113.7"]
addresses = ["10.1.0.1", "fd00::1"]
metrics_listen = "127.0.0.1:9200"
pin_dir = "/run/bpf"
"#;

fn problems(text: &str) -> Vec<(usize, usize, String)> {
    let errors = AgentConfig::parse(text, Path::new("agent.toml")).unwrap_err();
    errors.problems.into_iter().map(|p| (p.line, p.column, p.message)).collect()
}

#[test]
fn whole_document_is_read() {
    let config = AgentConfig::parse(WHOLE, Path::new("agent.toml")).unwrap();
    assert_eq!(config.interfaces["eth0"], XdpMode::Native);
    assert_eq!(config.interfaces["eth1"], XdpMode::Generic);
    assert!(config.vips.contains(&"203.0.113.7/32".parse().unwrap()));
    assert_eq!(config.addresses.unwrap().len(), 2);
    assert_eq!(config.metrics_listen, "127.0.0.1:9200".parse().unwrap());
    assert_eq!(config.pin_dir, Path::new("/run/bpf"));
}

#[test]
fn what_is_left_out_has_its_default() {
    let text = "interfaces = { eth0 = { xdp = \"native\" } }\nappliances = [\"192.0.2.1\"]\nvips = [\"198.51.100.1\"]";
    let config = AgentConfig::parse(text, Path::new("agent.toml")).unwrap();
    assert_eq!(config.instance, "agent");
    assert_eq!(config.addresses, None);
    assert_eq!(config.metrics_listen, "127.0.0.1:9181".parse().unwrap());
    assert_eq!(config.pin_dir, Path::new("/sys/fs/bpf/weir"));
}

#[test]
fn all_errors_are_said_at_once_with_their_place() {
    let text = r#"instnce = "agent"
interfaces = { eth0 = { xdp = "fast" }, eth1 = {}, eth2 = { xdp = "native", mtu = 1 } }
appliances = ["192.0.2.1/24", "0.0.0.0/0", 7]
vips = []
metrics_listen = "0.0.0.0:9181"
"#;
    let found = problems(text);
    let places: Vec<_> = found.iter().map(|(line, column, _)| (*line, *column)).collect();
    assert_eq!(places, [(1, 1), (2, 31), (2, 48), (2, 77), (3, 15), (3, 31), (3, 44), (4, 8), (5, 18)]);
    for (index, part) in [
        "unknown key `instnce`",
        "interfaces.eth0: expected",
        "interfaces.eth1: expected",
        "unknown key `mtu`",
        "did you mean `192.0.2.0/24`",
        "accept everybody",
        "expected a string",
        "found 0 entries",
        "loopback",
    ]
    .into_iter()
    .enumerate()
    {
        assert!(found[index].2.contains(part), "{:?}", found[index]);
    }
    let shown = AgentConfig::parse(text, Path::new("agent.toml")).unwrap_err().to_string();
    assert!(shown.starts_with("agent.toml:1:1: unknown key"), "{shown}");
    assert!(shown.ends_with("agent.toml: refused, 9 errors"), "{shown}");
}

#[test]
fn missing_keys_are_named() {
    let found = problems("instance = \"A\"");
    let messages: Vec<_> = found.into_iter().map(|(_, _, message)| message).collect();
    assert_eq!(messages[..3], ["`appliances` is missing", "`interfaces` is missing", "`vips` is missing"]);
    assert!(messages[3].starts_with("instance:"));
}

#[test]
fn prefixes_that_would_catch_the_other_family_are_refused() {
    for wrong in ["::ffff:0:0/96", "::/1", "::ffff:192.0.2.1"] {
        assert!(prefix(wrong).is_err(), "{wrong}");
    }
    assert_eq!(prefix("2001:db8::1"), Ok("2001:db8::1/128".parse().unwrap()));
}

#[test]
fn syntax_errors_have_a_place_and_duplicates_are_refused() {
    let found = problems("interfaces = {\n");
    assert!(!found.is_empty());
    let twice = WHOLE.replace("\"203.0.113.7\"", "\"198.51.100.0/24\"");
    assert_eq!(problems(&twice), [(5, 49, "found `198.51.100.0/24` twice".to_owned())]);
}

#[test]
fn file_that_cannot_be_read_is_one_problem() {
    let errors = AgentConfig::load(Path::new("/nonexistent/agent.toml")).unwrap_err();
    assert_eq!((errors.problems.len(), errors.problems[0].line), (1, 0));
}

#[test]
fn a_document_without_end_is_refused() {
    let errors = AgentConfig::load(Path::new("/dev/zero")).unwrap_err();
    assert_eq!(errors.problems[0].message, "expected at most 1048576 bytes");
}

#[test]
fn the_reference_has_every_key_and_its_default() {
    let page = include_str!("../../../../docs/reference/agent.md");
    let (document, _) = page.split_once("## Its metrics").unwrap();
    let rows: Vec<Vec<&str>> = document
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let documented: BTreeSet<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    assert_eq!(documented, BTreeSet::from(KEYS));
    // The required keys alone, and then every default that the page shows.
    let mut text = "interfaces = { eth0 = { xdp = \"native\" } }\nappliances = [\"192.0.2.1\"]\nvips = [\"198.51.100.1\"]\n".to_owned();
    let least = AgentConfig::parse(&text, Path::new("agent.toml")).unwrap();
    for row in &rows {
        let is_required = ["interfaces", "appliances", "vips"].contains(&row[0].trim_matches('`'));
        assert_eq!(row[2] == "required", is_required, "{}", row[0]);
        if row[2].starts_with('`') {
            text += &format!("{} = {}\n", row[0].trim_matches('`'), row[2].trim_matches('`'));
        }
    }
    assert!(text.lines().count() >= 6, "{text}");
    assert_eq!(AgentConfig::parse(&text, Path::new("agent.toml")).unwrap(), least);
    for max in [APPLIANCES_MAX, VIPS_MAX, ADDRESSES_MAX] {
        assert!(page.contains(&format!("at most {},{:03}", max / 1000, max % 1000)), "{max}");
    }
}

#[test]
fn ports_of_gue_are_numbers_and_may_be_none() {
    let least = "interfaces = { eth0 = { xdp = \"native\" } }\nappliances = [\"192.0.2.1\"]\nvips = [\"198.51.100.1\"]\n";
    let ports = |line: &str| {
        AgentConfig::parse(&format!("{least}{line}"), Path::new("agent.toml")).map(|config| config.gue_ports)
    };
    assert_eq!(ports("").unwrap(), BTreeSet::from([6080]));
    assert_eq!(ports("gue_ports = []").unwrap(), BTreeSet::new());
    assert_eq!(ports("gue_ports = [6080, 19523]").unwrap(), BTreeSet::from([6080, 19_523]));
    let many = format!("gue_ports = {:?}", (1..=17).collect::<Vec<_>>());
    for (line, part) in [
        ("gue_ports = 6080", "expected a list of at most 16"),
        (&many, "expected a list of at most 16"),
        ("gue_ports = [0]", "expected 1 to 65535"),
        ("gue_ports = [65536]", "expected 1 to 65535"),
        ("gue_ports = [\"6080\"]", "expected 1 to 65535"),
        ("gue_ports = [1, 1]", "found 1 twice"),
    ] {
        assert!(ports(line).unwrap_err().to_string().contains(part), "{line}");
    }
}

#[test]
fn the_mss_is_what_fits_the_path() {
    let least = "interfaces = { eth0 = { xdp = \"native\" } }\nappliances = [\"192.0.2.1\"]\nvips = [\"198.51.100.1\"]\n";
    let mss = |line: &str| {
        AgentConfig::parse(&format!("{least}{line}"), Path::new("agent.toml")).map(|config| config.mss)
    };
    assert_eq!(mss("").unwrap(), None);
    let found = mss("mss = { path_mtu = 1500, overhead = 56 }").unwrap().unwrap();
    assert_eq!((found.v4(), found.v6()), (1_404, 1_384));
    let least = mss("mss = { path_mtu = 1280, overhead = 176 }").unwrap().unwrap();
    assert_eq!((least.v4(), least.v6()), (1_064, 1_044));
    for (line, part) in [
        ("mss = 1400", "expected a table"),
        ("mss = { path_mtu = 1500 }", "expected `overhead` of 0 to 176"),
        ("mss = { overhead = 20 }", "expected `path_mtu` of 1280 to 65535"),
        ("mss = { path_mtu = 1279, overhead = 20 }", "expected `path_mtu`"),
        ("mss = { path_mtu = 1500, overhead = 177 }", "expected `overhead`"),
        ("mss = { path_mtu = \"1500\", overhead = 20 }", "expected `path_mtu`"),
        ("mss = { path_mtu = 1500, overhead = 20, v4 = 1 }", "unknown key `v4`"),
    ] {
        assert!(mss(line).unwrap_err().to_string().contains(part), "{line}");
    }
}
