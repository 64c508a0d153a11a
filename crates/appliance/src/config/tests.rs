// SPDX-License-Identifier: Apache-2.0 OR MIT
//! No text, however bad, makes the loader panic or point outside it; the example document is good and its comments are
//! true. What the rules say of bad documents is told by `tests/check`.

mod checks;
mod forwarding;
mod guide;
mod reference;

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::model::{AdminState, Families, RemoteAs};

/// The least document that serves something.
const LEAST: &str = include_str!("../../tests/check/good/least.toml");
/// The document that is shipped.
const EXAMPLE: &str = include_str!("../../../../packaging/weir.toml");

fn good(text: &str) -> Document {
    parse("weir.toml", text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Every error of a bad text points into it and says something.
fn assert_sound(text: &str, errors: &LoadErrors) {
    assert!(!errors.problems.is_empty());
    assert!(errors.problems.len() <= PROBLEMS_MAX);
    let lines: Vec<&str> = text.split('\n').collect();
    for problem in &errors.problems {
        let Position { line, column } = problem.position.expect("text has places");
        assert!((1..=lines.len()).contains(&line), "{problem:?}");
        assert!((1..=lines[line - 1].chars().count() + 1).contains(&column), "{problem:?}");
        assert!(!problem.message.is_empty() && !problem.help.is_empty(), "{problem:?}");
        assert!(problem.message.len() < 2_000 && problem.path.len() < 2_000, "{problem:?}");
        assert!(
            !problem.message.contains(char::is_control) && !problem.path.contains(char::is_control),
            "{problem:?}"
        );
    }
    let positions: Vec<_> = errors.problems.iter().map(|problem| problem.position).collect();
    assert!(positions.is_sorted());
    assert!(!errors.to_string().is_empty());
}

/// A good text has a canonical form that means the same; a bad one has errors.
fn assert_answers(text: &str) {
    match parse("weir.toml", text) {
        Ok(document) => {
            let canonical = toml::to_string(&to_json(&document)).unwrap();
            assert_eq!(good(&canonical), document);
        }
        Err(errors) => assert_sound(text, &errors),
    }
}

#[test]
fn the_example_is_good() {
    let document = good(EXAMPLE);
    assert_eq!(document.peers["tor1-v6"].families, Families { ipv4: false, ipv6: true });
    assert_eq!(document.pools["web"].backends["b2"].weight, 50);
}

#[test]
fn defaults_that_the_example_shows_are_the_defaults() {
    // `#key = value` without a space is a default; `# key = value` only shows how a key is written.
    let is_default = |line: &str| {
        line.strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
    };
    let shown = EXAMPLE.lines().filter(|line| is_default(line)).count();
    assert!(shown >= 20, "found {shown} defaults");
    let spelled: String = EXAMPLE
        .lines()
        .map(|line| if is_default(line) { &line[1..] } else { line })
        .flat_map(|l| [l, "\n"])
        .collect();
    assert_eq!(good(&spelled).hash, good(EXAMPLE).hash);
}

#[test]
fn the_hash_is_of_the_meaning_not_of_the_text() {
    let reordered = EXAMPLE
        .replace("address = \"10.0.0.1\"\n", "")
        .replace("remote_as = 65000                      #", "remote_as = 0xfde8\naddress = '10.0.0.1' #");
    assert_ne!(reordered, EXAMPLE);
    assert_eq!(good(&reordered).hash, good(EXAMPLE).hash);
    let changed = EXAMPLE.replace("weight = 50", "weight = 51");
    assert_ne!(good(&changed).hash, good(EXAMPLE).hash);
}

#[test]
fn the_canonical_form_is_a_document_with_the_same_hash() {
    let document = good(EXAMPLE);
    let text = toml::to_string(&to_json(&document)).unwrap();
    assert_eq!(good(&text), document);
}

#[test]
fn values_reach_the_model() {
    let text = EXAMPLE
        .replace("remote_as = 65000                      #", "remote_as = \"external\" #")
        .replace("#hold_time = \"9s\"", "hold_time = \"1m\"")
        .replace("#state = \"active\"", "state = \"draining\"")
        .replace("#idle = \"15m\"", "idle = \"90s\"");
    let document = good(&text);
    let peer = &document.peers["tor1"];
    assert_eq!((peer.remote_as, peer.hold_time.as_secs()), (RemoteAs::External, 60));
    assert_eq!(document.pools["web"].backends["b1"].state, AdminState::Draining);
    assert_eq!(document.services["www-https"].idle.as_secs(), 90);
    assert_eq!(document.services["www6-https"].idle.as_secs(), 900);
}

#[test]
fn tcp_ao_is_refused_in_the_words_of_who_asked_the_kernel() {
    let text = EXAMPLE.replace("# ao_file", "ao_file");
    let problems = parse("weir.toml", &text).unwrap_err().problems;
    let [problem] = problems.as_slice() else { panic!("{problems:?}") };
    assert_eq!(problem.path, "peers.tor1.ao_file");
    assert_eq!(problem.message, weir_bgp::speaker::refuse_tcp_ao().to_string());
}

#[test]
fn a_hundred_errors_are_listed_and_the_rest_counted() {
    let text: String = (0..300).map(|i| format!("unknown{i} = 1\n")).collect();
    let errors = parse("weir.toml", &text).unwrap_err();
    assert_eq!(errors.problems.len(), PROBLEMS_MAX);
    // Two hundred keys more, and what an empty document lacks: appliance, bgp and the uplink.
    assert_eq!(errors.more, 203);
}

#[test]
fn deep_nesting_is_refused() {
    for text in ["a = ".to_owned() + &"[".repeat(100_000), "a".to_owned() + &".a".repeat(100_000) + " = 1"] {
        assert!(parse("weir.toml", &text).is_err());
    }
}

#[test]
fn a_large_document_is_read_in_good_time() {
    let mut text = EXAMPLE.to_owned();
    for pool in 0..8_u32 {
        text.push_str(&format!("[pools.n{pool}]\nmode = \"ipip\"\nmax_backends = 2000\n"));
        for i in 0..2_000_u32 {
            let address = Ipv4Addr::from(0x0a40_0000 + pool * 0x1_0000 + i);
            text.push_str(&format!("[pools.n{pool}.backends.b{i}]\naddress = \"{address}\"\n"));
        }
    }
    let start = std::time::Instant::now();
    let backends: usize = good(&text).pools.values().map(|pool| pool.backends.len()).sum();
    assert_eq!(backends, 16_004);
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

/// Words that mean something to the reader, to be put where they do not belong.
const WORDS: &[&str] = &[
    "[",
    "]",
    "{",
    "}",
    "=",
    ".",
    ",",
    "\"",
    "'",
    "\"\"\"",
    "#",
    "\n",
    " ",
    "0",
    "-1",
    "1e99",
    "nan",
    "true",
    "1979-05-27",
    "9223372036854775808",
    "[bgp]",
    "[pools.web]",
    "pools",
    "address",
    "\"10.1.0.1\"",
    "\"::\"",
    "\"2s\"",
    "\u{feff}",
    "é",
    "\u{202e}",
    "\0",
    "[[a]]",
    "[pools.web.backends.b1]",
    "x = {",
    "port = 0",
    "[pools.web.check]",
    "[vips.www.announce]",
    "kind = \"http\"",
    "status = [\"200-299\"]",
    "low = \"30%\"",
    "mark = 0x57650000",
];

#[derive(Debug, Clone)]
enum Mutation {
    Insert(prop::sample::Index, &'static str),
    DropLine(prop::sample::Index),
    RepeatLine(prop::sample::Index, prop::sample::Index),
    Cut(prop::sample::Index),
    Byte(prop::sample::Index, u8),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<prop::sample::Index>(), prop::sample::select(WORDS))
            .prop_map(|(at, word)| Mutation::Insert(at, word)),
        any::<prop::sample::Index>().prop_map(Mutation::DropLine),
        (any::<prop::sample::Index>(), any::<prop::sample::Index>())
            .prop_map(|(a, b)| Mutation::RepeatLine(a, b)),
        any::<prop::sample::Index>().prop_map(Mutation::Cut),
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Byte(at, byte)),
    ]
}

fn mutate(text: &str, mutation: &Mutation) -> String {
    let mut lines: Vec<&str> = text.split('\n').collect();
    let mut bytes = text.as_bytes().to_vec();
    match mutation {
        Mutation::Insert(at, word) => {
            let at = at.index(bytes.len() + 1);
            bytes.splice(at..at, word.bytes());
        }
        Mutation::DropLine(at) => {
            lines.remove(at.index(lines.len()));
            return lines.join("\n");
        }
        Mutation::RepeatLine(from, to) => {
            lines.insert(to.index(lines.len()), lines[from.index(lines.len())]);
            return lines.join("\n");
        }
        Mutation::Cut(at) => bytes.truncate(at.index(bytes.len() + 1)),
        Mutation::Byte(at, byte) if !bytes.is_empty() => {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        Mutation::Byte(..) => {}
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The example without its comments, so that mutations hit what is read.
fn bare_example() -> String {
    EXAMPLE
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim_end())
        .filter(|l| !l.is_empty())
        .fold(String::new(), |mut text, line| {
            text.push_str(line);
            text.push('\n');
            text
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        assert_answers(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_words_are_answered(words in prop::collection::vec(prop::sample::select(WORDS), 0..60)) {
        assert_answers(&words.concat());
    }

    #[test]
    fn a_changed_example_is_answered(mutations in prop::collection::vec(mutation(), 1..6)) {
        let text = mutations.iter().fold(bare_example(), |text, mutation| mutate(&text, mutation));
        assert_answers(&text);
    }

    #[test]
    fn time_spans_survive_being_written(ms in 0_u64..100_000_000) {
        let span = std::time::Duration::from_millis(ms);
        prop_assert_eq!(value::parse_duration(&value::duration_text(span)), Some(span));
    }
}
