// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The commands over the API, by running the binary against a made-up daemon on a real unix socket: exit codes, errors,
//! what is sent, waiting, streams, pipes and terminals. The pages themselves are tested in the library.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "cli/fake.rs"]
mod fake;
#[path = "cli/objects.rs"]
mod objects;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fake::{Fake, Reply, Request};
use serde_json::{Value, json};

const WEIR: &str = env!("CARGO_BIN_EXE_weir");

/// The sample daemon: reads from the sample state, takes overrides, has nothing to reload.
fn sample(request: &Request) -> Reply {
    let path = request.path.as_str();
    match request.method.as_str() {
        "GET" => Reply::json(objects::get(path), path),
        "PUT" => {
            let target = path.trim_start_matches("/v1/").trim_end_matches("/override");
            let target = target.replace("pools/web/backends/", "backend/web/").replace("vips/", "vip/");
            let target = target
                .replace("pools/", "pool/")
                .replace("/backends/", "/")
                .replace("pool/dns/", "backend/dns/");
            if target.contains("none") {
                return Reply::Problem(404, "not-found", format!("no {target}; did you mean `web`?"));
            }
            let set = json!({ "id": target, "target": target, "state": request.body["state"],
                "author": request.body["author"], "reason": request.body["reason"],
                "created": "2026-03-01T12:00:00.000Z", "until": null, "persisted": target != "pool/dns" });
            Reply::Whole(200, set.to_string())
        }
        "DELETE" if path == "/v1/vips/api/override" => Reply::Whole(204, String::new()),
        "DELETE" => Reply::Problem(404, "not-found", "there is no such override".to_owned()),
        "POST" => Reply::Whole(200, r#"{"generation":4,"changed":false}"#.to_owned()),
        _ => Reply::Problem(405, "method-not-allowed", "no".to_owned()),
    }
}

fn sample_daemon() -> Fake {
    Fake::new(|request, _| sample(request))
}

/// A command against `fake`, not run yet.
fn command(fake: &Fake, args: &[&str]) -> Command {
    let mut command = Command::new(WEIR);
    command
        .args(args)
        .env_clear()
        .env("USER", "ana")
        .env("WEIR_SERVER", format!("unix:{}", fake.socket().display()));
    command
}

fn weir(fake: &Fake, args: &[&str]) -> Output {
    command(fake, args).output().expect("the binary runs")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("no signal")
}

fn transcript(fake: &Fake, output: &Output) -> String {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let text = format!("exit {}\n--- stdout\n{stdout}--- stderr\n{stderr}", code(output));
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    text.replace(fake.socket().to_str().unwrap(), "SOCKET").replace(&format!("@{}", host.trim()), "@HOST")
}

/// Compares with a file in `tests/cli`, or writes it when asked.
fn expect(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli").join(name).with_extension("expected");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, actual).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(actual, expected, "{name} differs from its file");
}

const REFUSED: &str = r#"{"type":"urn:weir:problem:invalid-document","title":"the document is not valid","status":422,
    "detail":"the document has 2 errors","instance":"r1","errors":[
    {"path":"pools.web.backends.b1.address","file":"/etc/weir/weir.toml","line":31,"column":11,
     "message":"found `\"10.1.0\"`, expected an IPv4 or IPv6 address","hint":"write it like `192.0.2.10`"},
    {"path":"","message":"the hash seed file is missing"}]}"#;

#[test]
fn json_is_exactly_the_body_of_the_api() {
    let fake = sample_daemon();
    for (args, path) in [
        (&["status"][..], "/v1/status"),
        (&["show", "vips"], "/v1/vips"),
        (&["show", "vip", "www"], "/v1/vips/www"),
        (&["show", "services", "dns-udp"], "/v1/services/dns-udp"),
        (&["show", "pools"], "/v1/pools"),
        (&["show", "backends"], "/v1/pools"),
        (&["show", "backends", "web"], "/v1/pools/web/backends"),
        (&["show", "backend", "web/b1"], "/v1/pools/web/backends/b1"),
        (&["show", "peers", "tor1"], "/v1/peers/tor1"),
        (&["show", "bgp"], "/v1/bgp"),
        (&["show", "bgp", "tor1"], "/v1/peers/tor1"),
        (&["show", "bgp", "tor1", "advertised"], "/v1/peers/tor1/adj-rib-out"),
        (&["show", "bgp", "tor1", "received"], "/v1/peers/tor1/adj-rib-in"),
        (&["show", "overrides"], "/v1/overrides"),
        (&["show", "document"], "/v1/document"),
        (&["show", "appliance"], "/v1/appliance"),
    ] {
        let output = weir(&fake, &[args, &["--output", "json"]].concat());
        let stdout = String::from_utf8(output.stdout.clone()).unwrap();
        assert_eq!(code(&output), 0, "{args:?}: {}", transcript(&fake, &output));
        assert_eq!(stdout, format!("{}\n", objects::get(path).unwrap()), "{args:?}");
        let request = fake.requests().pop().unwrap();
        assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", path));
        assert!(request.head.contains(&"accept: application/json".to_owned()), "{:?}", request.head);
    }
    let missing = weir(&fake, &["show", "vips", "none", "--output", "json"]);
    let body: Value = serde_json::from_slice(&missing.stdout).unwrap();
    assert_eq!((code(&missing), body["status"].as_u64()), (4, Some(404)), "a problem is a body too");
}

#[test]
fn every_view_is_a_table_without_colours_in_a_pipe() {
    let fake = sample_daemon();
    for args in [
        &["status"][..],
        &["show", "vips"],
        &["show", "vips", "dns"],
        &["show", "services"],
        &["show", "services", "www-http"],
        &["show", "pools"],
        &["show", "pools", "web"],
        &["show", "backends"],
        &["show", "backends", "web"],
        &["show", "backends", "web/b3"],
        &["show", "peers"],
        &["show", "peers", "tor2"],
        &["show", "bgp"],
        &["show", "bgp", "edge"],
        &["show", "bgp", "tor1", "advertised"],
        &["show", "bgp", "tor1", "received"],
        &["show", "overrides"],
        &["show", "document"],
        &["show", "appliance"],
    ] {
        let output = weir(&fake, args);
        let stdout = String::from_utf8(output.stdout.clone()).unwrap();
        assert_eq!(code(&output), 0, "{args:?}: {}", transcript(&fake, &output));
        assert!(stdout.ends_with('\n') && !stdout.contains('\u{1b}'), "{args:?}: {stdout}");
        assert!(output.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn a_table_of_prefixes_has_every_page() {
    let fake = Fake::new(|request, _| {
        let cursor = request.path.split_once("cursor=").map(|(_, cursor)| cursor.replace("%2F", "/"));
        let page: u8 = cursor.as_deref().map_or(0, |cursor| cursor[8..cursor.len() - 3].parse().unwrap());
        let item = |last: u8| {
            json!({ "prefix": format!("192.0.2.{last}/32"), "next_hop": "10.0.0.2", "as_path": "65010", "med": null,
                "communities": [], "large_communities": [], "link_bandwidth": null })
        };
        let next = (page < 4).then(|| format!("192.0.2.{}/32", page + 2));
        let items = [item(page + 1), item(page + 2)];
        Reply::Whole(200, json!({ "items": items, "total": 6, "next": next }).to_string())
    });
    let output = weir(&fake, &["show", "bgp", "tor1", "advertised"]);
    let stdout = String::from_utf8(output.stdout).unwrap();
    let shown: Vec<&str> = stdout.lines().skip(1).filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(shown, (1..=6).map(|last| format!("192.0.2.{last}/32")).collect::<Vec<_>>());
    assert_eq!(fake.requests().len(), 3);

    let output =
        weir(&fake, &["show", "bgp", "tor1", "advertised", "--limit", "2", "--cursor", "192.0.2.2/32"]);
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(stdout.lines().count(), 5, "{stdout}");
    assert!(stdout.ends_with("\nMore: go on with --cursor 192.0.2.4/32\n"), "{stdout}");
    let path = "/v1/peers/tor1/adj-rib-out?limit=2&cursor=192.0.2.2%2F32";
    assert_eq!(fake.requests().pop().unwrap().path, path);
}

#[test]
fn errors_are_three_lines_with_a_slug() {
    let fake = Fake::new(|request, _| match (request.method.as_str(), request.path.as_str()) {
        ("POST", _) => Reply::Whole(422, REFUSED.to_owned()),
        ("PUT", "/v1/pools/web/backends/b1/override") => Reply::Problem(
            409,
            "too-many-overrides",
            "there are 4096 overrides already, clear some first".to_owned(),
        ),
        ("PUT", "/v1/pools/web/backends/b2/override") => {
            Reply::Problem(403, "forbidden", "changes are taken on the unix socket only".to_owned())
        }
        ("GET", "/v1/services") => Reply::Problem(503, "starting", "the appliance is starting".to_owned()),
        ("GET", "/v1/peers") => Reply::Whole(200, "{\"items\":[{}]}".to_owned()),
        ("GET", "/v1/overrides") => Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{\"items\""),
        ("GET", "/v1/document") => Reply::Raw(b"220 mail.example.net ESMTP\r\n"),
        ("GET", "/v1/appliance") => Reply::Raw(b""),
        _ => sample(request),
    });
    let mut text = String::new();
    for (args, exit) in [
        (&["show", "vips", "none"][..], 4),
        (&["show", "backends", "web/none"], 4),
        (&["show", "bgp", "none"], 4),
        (&["show", "bgp", "none", "advertised"], 4),
        (&["drain", "none/b1", "--yes"], 4),
        (&["undrain", "web/b1"], 4),
        (&["drain", "web/b1"], 5),
        (&["drain", "web/b2"], 1),
        (&["drain", "web"], 6),
        (&["disable", "web/b1"], 6),
        (&["disable", "vip/www"], 1),
        (&["reload"], 1),
        (&["show", "services"], 1),
        (&["show", "peers"], 1),
        (&["show", "overrides"], 3),
        (&["show", "document"], 3),
        (&["show", "appliance"], 3),
        (&["status", "--server", "unix:/nonexistent/api.sock"], 3),
        (&["status", "--server", "http://127.0.0.1:1"], 3),
        (&["--server", "http://[::1]:1", "drain", "web/b1"], 3),
    ] {
        let output = weir(&fake, args);
        assert_eq!(code(&output), exit, "{args:?}: {}", transcript(&fake, &output));
        assert!(output.stdout.is_empty(), "{args:?}");
        text.push_str(&format!("$ weir {}\n{}\n", args.join(" "), transcript(&fake, &output)));
    }
    expect("errors", &text);
}

#[test]
fn a_bad_command_line_is_a_usage_error() {
    let fake = sample_daemon();
    for args in [
        &["drain"][..],
        &["drain", "a/b/c"],
        &["drain", "web/"],
        &["drain", "web/b1", "--for", "2"],
        &["drain", "web/b1", "--until", "tomorrow"],
        &["drain", "web/b1", "--for", "2h", "--until", "2026-03-01T12:00:00Z"],
        &["drain", "web/b1", "--timeout", "5m"],
        &["show"],
        &["show", "nonsense"],
        &["show", "bgp", "tor1", "forgotten"],
        &["show", "bgp", "tor1", "--limit", "10"],
        &["show", "bgp", "tor1", "advertised", "--limit", "0"],
        &["show", "events", "--kinds", "resync"],
        &["status", "extra"],
        &["status", "--server", "/run/weir/api.sock"],
        &["status", "--output", "yaml"],
        &["completions", "tcsh"],
    ] {
        assert_eq!(code(&weir(&fake, args)), 2, "{args:?}");
    }
    assert!(fake.requests().is_empty(), "nothing was sent");
}

#[test]
fn a_needed_restart_is_a_refusal_with_its_remedy() {
    let fake = Fake::new(|_, _| {
        Reply::Problem(409, "needs-restart", "a change of `bgp` needs a restart".to_owned())
    });
    let output = weir(&fake, &["reload"]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(code(&output), 1, "{stderr}");
    assert!(
        stderr.contains("a change of `bgp` needs a restart") && stderr.contains("systemctl restart"),
        "{stderr}"
    );
    assert!(stderr.trim_end().ends_with("[needs-restart]"), "{stderr}");
}

#[test]
fn a_reload_says_what_came_of_it() {
    let fake = sample_daemon();
    let output = weir(&fake, &["reload"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "no change, generation 4 stays\n");
    let fake = Fake::new(|_, _| Reply::Whole(200, r#"{"generation":5,"changed":true}"#.to_owned()));
    let output = weir(&fake, &["reload"]);
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("accepted as generation 5"), "{output:?}");
    let request = fake.requests().pop().unwrap();
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/v1/document/reload"));
}

#[test]
fn a_reload_can_be_waited_for() {
    let looks = std::sync::atomic::AtomicU64::new(0);
    let fake = Fake::new(move |request, _| match request.method.as_str() {
        "POST" => Reply::Whole(200, r#"{"generation":5,"changed":true}"#.to_owned()),
        _ => {
            let mut status = objects::status();
            let look = looks.fetch_add(1, Ordering::Relaxed);
            status["document"]["applied_generation"] = json!(if look < 3 { 4 } else { 5 });
            Reply::Whole(200, status.to_string())
        }
    });
    let output = weir(&fake, &["reload", "--wait"]);
    assert_eq!(code(&output), 0, "{}", transcript(&fake, &output));
    let words = "accepted as generation 5\ngeneration 5 is in force\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), words);
    let fake = Fake::new(|request, _| match request.method.as_str() {
        "POST" => Reply::Whole(200, r#"{"generation":5,"changed":true}"#.to_owned()),
        _ => sample(request),
    });
    let output = weir(&fake, &["reload", "--wait", "--timeout", "1s"]);
    assert_eq!(code(&output), 1, "{}", transcript(&fake, &output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("[not-in-force]"), "{output:?}");
}

#[test]
fn a_drain_sends_who_why_and_for_how_long() {
    let fake = sample_daemon();
    let output = weir(&fake, &["drain", "web/b1", "--reason", "new kernel", "--for", "2h"]);
    assert_eq!(code(&output), 0, "{}", transcript(&fake, &output));
    expect("drain", &transcript(&fake, &output));
    let put = fake.requests().pop().unwrap();
    assert_eq!((put.method.as_str(), put.path.as_str()), ("PUT", "/v1/pools/web/backends/b1/override"));
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let author = format!("ana@{}", host.trim());
    assert_eq!(
        put.body,
        json!({ "state": "drain", "reason": "new kernel", "author": author, "for": "7200s" })
    );

    let mut sudo = command(&fake, &["drain", "vip/www", "--until", "2030-03-01T12:00:00+01:00"]);
    assert!(sudo.env("SUDO_USER", "bob").output().unwrap().status.success());
    let put = fake.requests().pop().unwrap();
    assert_eq!(put.path, "/v1/vips/www/override");
    assert_eq!(put.body["author"], format!("bob@{}", host.trim()));
    assert_eq!(
        (&put.body["state"], &put.body["until"]),
        (&json!("withhold"), &json!("2030-03-01T11:00:00.000Z"))
    );

    for (args, path, state) in [
        (&["drain", "appliance"][..], "/v1/appliance/override", "withhold"),
        (&["drain", "dns"], "/v1/pools/dns/override", "drain"),
        (&["disable", "dns", "--yes", "--author", "cron"], "/v1/pools/dns/override", "disable"),
        (&["drain", "web", "-y"], "/v1/pools/web/override", "drain"),
    ] {
        let output = weir(&fake, args);
        assert_eq!(code(&output), 0, "{args:?}: {}", transcript(&fake, &output));
        let put = fake.requests().pop().unwrap();
        assert_eq!((put.path.as_str(), put.body["state"].as_str()), (path, Some(state)), "{args:?}");
    }
    let kept = weir(&fake, &["drain", "dns"]);
    assert!(String::from_utf8_lossy(&kept.stdout).contains("does not survive a restart"), "{kept:?}");
}

#[test]
fn undrain_clears_the_override() {
    let fake = sample_daemon();
    let output = weir(&fake, &["undrain", "vip/api"]);
    assert_eq!(code(&output), 0);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "vip/api: the override is cleared\n");
    let quiet = weir(&fake, &["undrain", "vip/api", "--output", "json"]);
    assert!(quiet.stdout.is_empty(), "204 has no body");
    let request = fake.requests().pop().unwrap();
    assert_eq!((request.method.as_str(), request.path.as_str()), ("DELETE", "/v1/vips/api/override"));

    let fake = Fake::new(|request, _| match (request.method.as_str(), request.path.as_str()) {
        ("DELETE", _) => Reply::Whole(204, String::new()),
        ("GET", "/v1/overrides") => {
            let set = json!({ "id": "pool/web", "target": "pool/web", "state": "drain", "author": "bob@lb1",
                "reason": "", "created": "2026-03-01T12:00:00Z", "until": null });
            Reply::Whole(200, json!({ "items": [set] }).to_string())
        }
        _ => sample(request),
    });
    let output = weir(&fake, &["undrain", "web/b1"]);
    let words =
        "web/b1: the override is cleared\n`web` has one still (drain, by bob@lb1): `weir undrain web`\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), words);
    let output = weir(&fake, &["undrain", "dns/d1"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "dns/d1: the override is cleared\n");
}

/// The sample daemon with `flows` on web/b3 for each look at it, the last one from then on.
fn draining<const N: usize>(flows: [Value; N]) -> Fake {
    let looks = std::sync::atomic::AtomicUsize::new(0);
    Fake::new(move |request, _| {
        if request.method != "GET" || request.path != "/v1/pools/web/backends/b3" {
            return sample(request);
        }
        let look = looks.fetch_add(1, Ordering::Relaxed);
        let mut backend = objects::get(&request.path).unwrap();
        backend["status"]["flows"] = flows[look.min(N - 1)].clone();
        Reply::Whole(200, backend.to_string())
    })
}

#[test]
fn a_wait_ends_when_no_flow_is_left_and_a_sweep_has_seen_it() {
    let fake = draining([json!(null), json!(7), json!(1), json!(0)]);
    let began = Instant::now();
    let output = weir(&fake, &["drain", "web/b3", "--wait"]);
    assert_eq!(code(&output), 0, "{}", transcript(&fake, &output));
    assert!(began.elapsed() >= Duration::from_secs(6), "zero was believed before a sweep");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = stdout.lines().skip(2).collect();
    assert_eq!(
        lines,
        [
            "web/b3: flows not counted yet",
            "web/b3: 7 flows left",
            "web/b3: 1 flow left",
            "web/b3: no flow seen, counting once more",
            "web/b3: no flows left"
        ]
    );
}

#[test]
fn a_wait_that_takes_too_long_ends_with_6() {
    let fake = draining([json!(7)]);
    let output = weir(&fake, &["drain", "web/b3", "--wait", "--timeout", "1s", "--output", "json"]);
    assert_eq!(code(&output), 6);
    let body: Value = serde_json::from_slice(&output.stdout).expect("standard output is the answer alone");
    assert_eq!(body["target"], "backend/web/b3");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("web/b3: 7 flows left") && stderr.trim_end().ends_with("[flows-remain]"),
        "{stderr}"
    );
}

#[test]
fn a_drain_that_somebody_takes_back_ends_the_wait_with_5() {
    let is_cleared = AtomicBool::new(false);
    let fake = Fake::new(move |request, _| {
        if request.path != "/v1/pools/web/backends/b3" {
            return sample(request);
        }
        let mut backend = objects::get(&request.path).unwrap();
        if is_cleared.swap(true, Ordering::Relaxed) {
            backend["overrides"] = json!([]);
        }
        Reply::Whole(200, backend.to_string())
    });
    let output = weir(&fake, &["drain", "web/b3", "--wait"]);
    assert_eq!(code(&output), 5, "{}", transcript(&fake, &output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("[override-gone]"));
}

#[test]
fn a_wait_outlives_a_restart_of_the_daemon() {
    let fake = Fake::new(|request, before| match (request.path.as_str(), before) {
        // The first look finds a daemon that goes away.
        ("/v1/pools/web/backends/b3", 0..=3) => Reply::Raw(b""),
        _ => sample(request),
    });
    let mut child = command(&fake, &["drain", "web/b3", "--wait"]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = read_until(&mut child, "7 flows left");
    assert!(lines.iter().any(|line| line.ends_with("the daemon does not answer")), "{lines:?}");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Lines of the child's output up to one with `words`.
fn read_until(child: &mut Child, words: &str) -> Vec<String> {
    let stdout = child.stdout.take().expect("piped");
    let mut lines = Vec::new();
    for line in BufReader::new(stdout).lines() {
        lines.push(line.unwrap());
        if lines.last().is_some_and(|line| line.contains(words)) {
            return lines;
        }
    }
    panic!("the command ended without {words:?}: {lines:?}");
}

#[test]
fn an_interrupted_wait_says_that_the_drain_stays() {
    let fake = draining([json!(7)]);
    let mut child = command(&fake, &["drain", "web/b3", "--wait"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    read_until(&mut child, "7 flows left");
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(stderr.contains("stays in force until `weir undrain web/b3`"), "{stderr}");
    assert!(fake.requests().iter().all(|request| request.method != "DELETE"));
}

#[test]
fn a_withheld_vip_is_waited_for_until_its_packets_cease() {
    let looks = std::sync::atomic::AtomicU64::new(0);
    let fake = Fake::new(move |request, _| match request.path.as_str() {
        "/v1/status" => {
            let look = looks.fetch_add(1, Ordering::Relaxed);
            let mut status = objects::status();
            status["vips"]["www"]["announced"] = json!(look < 1);
            // 1,000 packets a second, then none; other VIPs go on.
            status["services"]["www-https"]["packets_total"] = json!(1_000 * look.min(2));
            status["services"]["dns-udp"]["packets_total"] = json!(5_000 * look);
            Reply::Whole(200, status.to_string())
        }
        "/v1/overrides" => {
            let set = json!({ "id": "vip/www", "target": "vip/www", "state": "withhold", "author": "a", "reason": "",
                "created": "2026-03-01T12:00:00Z", "until": null });
            Reply::Whole(200, json!({ "items": [set] }).to_string())
        }
        _ => sample(request),
    });
    let output = weir(&fake, &["drain", "vip/www", "--wait"]);
    assert_eq!(code(&output), 0, "{}", transcript(&fake, &output));
    let stdout = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = stdout.lines().skip(2).collect();
    assert_eq!(
        lines,
        [
            "vip/www: 1 VIP still announced",
            "vip/www: withdrawn, 1000 packets/s still come",
            "vip/www: withdrawn, packets have ceased"
        ]
    );
}

const EVENTS: &str = "retry: 2000\n\nid: 1a-1\nevent: backend\ndata: {\"at\":\"2026-03-01T12:00:00.000001Z\",\
    \"kind\":\"backend\",\"object\":\"backend/web/b1\",\"from\":\"usable\",\"to\":\"failed\",\"code\":\"refused\",\
    \"message\":\"connection refused\"}\n\n: keep-alive\n\n";

#[test]
fn events_that_are_kept_are_shown_and_then_it_ends() {
    let fake = Fake::new(|_, _| Reply::Stream(EVENTS.to_owned()));
    let output = weir(&fake, &["show", "events", "--kinds", "backend,vip"]);
    assert_eq!(code(&output), 0);
    let line = "1a-1  2026-03-01 12:00:00Z  backend  backend/web/b1  usable -> failed  refused: connection refused\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), line);
    assert_eq!(fake.requests().pop().unwrap().path, "/v1/events?since=oldest&kinds=backend,vip");
    let json = weir(&fake, &["show", "events", "--output", "json", "--since", "1a-0"]);
    let event: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(event["object"], "backend/web/b1");
    assert_eq!(fake.requests().pop().unwrap().path, "/v1/events?since=1a-0");
}

#[test]
fn followed_events_go_on_where_a_broken_stream_ended() {
    let fake = Fake::new(|request, before| match before {
        0 => Reply::Whole(200, EVENTS.to_owned()),
        _ => {
            assert_eq!(request.path, "/v1/events?since=1a-1", "from the last event on");
            Reply::Stream(EVENTS.replace("1a-1", "1a-2"))
        }
    });
    let mut child = command(&fake, &["show", "events", "--follow"]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = read_until(&mut child, "1a-2");
    assert_eq!(lines.len(), 2, "{lines:?}");
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let fake = sample_daemon();
    let mut child =
        command(&fake, &["show", "document"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_terminal_gets_colours_unless_they_are_unwanted() {
    let fake = sample_daemon();
    let on_terminal = |name: &str, value: &str| {
        let line = format!("{WEIR} status");
        let server = format!("unix:{}", fake.socket().display());
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).env("WEIR_SERVER", server).env("TERM", "xterm");
        let output = script.env(name, value).stdin(Stdio::null()).output().expect("util-linux is there");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(on_terminal("X", "").contains("\u{1b}[31mProblems"));
    assert!(on_terminal("NO_COLOR", "").contains("\u{1b}[31mProblems"), "empty means unset");
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let page = on_terminal(name, value);
        assert!(page.contains("Problems") && !page.contains('\u{1b}'), "{name}: {page}");
    }
}

#[test]
fn man_pages_and_completions_are_made_and_sound() {
    let out = tempfile::tempdir().unwrap();
    let made = Command::new(WEIR).arg("generate").arg(out.path()).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let names = |folder: &str| {
        let entries = fs::read_dir(out.path().join(folder)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names("completions"), ["_weir", "weir.bash", "weir.fish"]);
    let bash = out.path().join("completions/weir.bash");
    assert!(Command::new("bash").arg("-n").arg(&bash).status().unwrap().success());
    let completions = Command::new(WEIR).args(["completions", "bash"]).output().unwrap();
    assert_eq!(completions.stdout, fs::read(&bash).unwrap());
    let pages = names("man");
    assert!(pages.len() >= 18 && pages.contains(&"weir-drain.8".to_owned()), "{pages:?}");
    assert!(pages.contains(&"weir.toml.5".to_owned()), "{pages:?}");
    for page in pages {
        let path = out.path().join("man").join(&page);
        assert!(fs::read_to_string(&path).unwrap().contains(".TH "), "{page}");
        // As Debian's checker renders it. A machine without `man` has nobody to read the page.
        let mut man = Command::new("man");
        man.args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"]).arg(&path);
        man.env("LC_ALL", "C.UTF-8").env("MANROFFSEQ", "").env("MANWIDTH", "80");
        if let Ok(rendered) = man.output() {
            assert!(rendered.status.success() && rendered.stderr.is_empty(), "{page}: {rendered:?}");
        }
    }
}
