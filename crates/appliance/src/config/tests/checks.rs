// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Checks and announce policies: what is written reaches the model, what is left out fits, and whatever the document
//! accepts, the checker accepts too.

use std::collections::BTreeSet;
use std::time::Duration;

use weir_health::{CheckSpec, StatusSet, Timing};

use super::good;
use crate::config::limits;
use crate::config::value::duration_text;
use crate::model::{
    AnnouncePolicy, Attributes, CheckKind, CheckPath, High, HttpMethod, Mark, OnAllDown, PoolCheck, Require,
};

const LEAST: &str = include_str!("../../../tests/check/good/least.toml");
const FULL: &str = include_str!("../../../tests/check/good/check_and_announce.toml");

fn check_of(keys: &str) -> PoolCheck {
    let text = LEAST
        .replace("[pools.web.backends.b1]", &format!("[pools.web.check]\n{keys}\n[pools.web.backends.b1]"));
    good(&text).pools["web"].check.clone().expect("the pool has a check")
}

/// What the checker makes of a check.
fn spec(check: &PoolCheck) -> CheckSpec {
    let kind = match &check.kind {
        CheckKind::Tcp => weir_health::CheckKind::Tcp,
        CheckKind::Http(http) => {
            let method = match http.method {
                HttpMethod::Get => weir_health::Method::Get,
                HttpMethod::Head => weir_health::Method::Head,
                HttpMethod::Options => weir_health::Method::Options,
            };
            let host = http.host.as_deref().unwrap_or("192.0.2.1");
            let status = StatusSet::new(http.status.iter().map(|&(start, end)| start..=end)).unwrap();
            let body = http.body.clone().map(String::into_bytes);
            weir_health::CheckKind::Http(
                weir_health::HttpCheck::new(method, &http.path, host, status, body).unwrap(),
            )
        }
    };
    let timing = Timing {
        interval: check.interval,
        timeout: check.timeout,
        fast_interval: check.fast_interval,
        down_interval: check.down_interval,
        down_interval_max: Timing::default().down_interval_max.max(check.down_interval),
        rise: check.rise,
        fall: check.fall,
        ..Timing::default()
    };
    CheckSpec::new(kind, timing).unwrap_or_else(|error| panic!("{error}: {check:?}"))
}

#[test]
fn everything_written_reaches_the_model() {
    let document = good(FULL);
    let path = CheckPath { interface: "hc1".to_owned(), mark: 0x5766_0000, table: 5766, priority: 5766 };
    assert_eq!(document.bootstrap.checks, path);
    let check = document.pools["web"].check.as_ref().unwrap();
    let CheckKind::Http(http) = &check.kind else { panic!("{check:?}") };
    assert_eq!((http.method, http.path.as_str()), (HttpMethod::Options, "/healthz?deep=1"));
    assert_eq!((http.host.as_deref(), http.body.as_deref()), (Some("www.example.org"), Some("ok\r\n")));
    assert_eq!(http.status, [(200, 204), (300, 399)]);
    assert_eq!((check.port, check.rise, check.fall), (Some(8080), 3, 2));
    let times = [check.interval, check.timeout, check.fast_interval, check.down_interval];
    assert_eq!(times, [1000, 500, 250, 10_000].map(Duration::from_millis));
    let announce = AnnouncePolicy {
        low: Mark::Percent(20),
        high: High::Mark(Mark::Backends(2)),
        up_hold: Duration::ZERO,
        down_hold: Duration::from_millis(500),
        on_all_down: OnAllDown::Deprioritise,
        require: Require::Services(BTreeSet::from(["www-https".to_owned()])),
        attributes: Attributes::default(),
    };
    assert_eq!(document.vips["www"].announce, announce);
}

#[test]
fn what_is_left_out_is_the_default() {
    let document = good(LEAST);
    assert_eq!(document.bootstrap.checks, CheckPath::default());
    assert_eq!(document.vips["www"].announce, AnnouncePolicy::default());
    assert_eq!(document.pools["web"].check, None);
    let check = check_of("kind = \"http\"");
    assert_eq!(*spec(&check).timing(), Timing::default());
    let CheckKind::Http(http) = check.kind else { panic!() };
    assert_eq!((http.method, http.path.as_str(), http.host, http.body), (HttpMethod::Get, "/", None, None));
    assert_eq!(http.status, [(200, 299)]);
}

#[test]
fn times_left_out_fit_the_interval() {
    for interval in ["100ms", "1s", "2s", "7s", "1h"] {
        let check = check_of(&format!("kind = \"tcp\"\ninterval = \"{interval}\""));
        let fitted = Timing::with_interval(check.interval);
        assert_eq!(*spec(&check).timing(), fitted, "{interval}");
    }
}

#[test]
fn whatever_the_document_accepts_the_checker_accepts() {
    let text = |span: &Duration| duration_text(*span);
    let (interval, timeout) = (limits::CHECK_INTERVAL, limits::CHECK_TIMEOUT);
    let (fast, down) = (limits::CHECK_FAST_INTERVAL, limits::CHECK_DOWN_INTERVAL);
    let count = Timing::COUNT_MAX;
    let shortest = format!(
        "interval = \"{}\"\ntimeout = \"{}\"\nfast_interval = \"{}\"\ndown_interval = \"{}\"\nrise = 1\nfall = 1",
        text(interval.start()),
        text(timeout.start()),
        text(fast.start()),
        text(down.start()),
    );
    let longest = format!(
        "interval = \"{}\"\ntimeout = \"{}\"\nfast_interval = \"{}\"\ndown_interval = \"{}\"\n\
         rise = {count}\nfall = {count}",
        text(interval.end()),
        text(&(*timeout.end() - Duration::from_millis(1))),
        text(fast.end()),
        text(down.end()),
    );
    let status: Vec<String> = (0..limits::CHECK_STATUSES_MAX).map(|i| (100 + 2 * i).to_string()).collect();
    let http = format!(
        "path = \"/{}\"\nhost = \"{}\"\nbody = \"{}\"\nstatus = [{}]",
        "p".repeat(limits::CHECK_PATH_BYTES_MAX - 1),
        "h".repeat(limits::CHECK_HOST_BYTES_MAX),
        "b".repeat(limits::CHECK_BODY_BYTES_MAX),
        status.join(", "),
    );
    for times in [&shortest, &longest] {
        spec(&check_of(&format!("kind = \"tcp\"\n{times}")));
        spec(&check_of(&format!("kind = \"http\"\n{times}\n{http}")));
        spec(&check_of(&format!("kind = \"http\"\n{times}\nmethod = \"HEAD\"\nstatus = [\"100-599\"]")));
    }
}

#[test]
fn the_canonical_form_of_checks_and_policies_is_a_document() {
    for text in [FULL, include_str!("../../../tests/check/good/announce_marks_of_two_kinds.toml")] {
        let document = good(text);
        let canonical = toml::to_string(&crate::config::to_json(&document)).unwrap();
        assert_eq!(good(&canonical), document);
    }
    // One meaning, one hash.
    let other = FULL.replace("[200, \"300-399\", 201, \"202-204\"]", "[\"300-399\", \"200-204\", 203]");
    assert_ne!(other, FULL);
    assert_eq!(good(&other).hash, good(FULL).hash);
    assert_ne!(good(&FULL.replace("rise = 3", "rise = 4")).hash, good(FULL).hash);
    assert_ne!(good(&FULL.replace("up_hold = \"0s\"", "up_hold = \"1s\"")).hash, good(FULL).hash);
}

#[test]
fn targets_are_the_vips_of_a_pool_with_its_ports() {
    let service = |name: &str, vip: &str, protocol: &str, port: u16| {
        format!(
            "[services.{name}]\nvip = \"{vip}\"\nprotocol = \"{protocol}\"\nport = {port}\npool = \"web\"\n"
        )
    };
    let text = LEAST
        .replace("[pools.web.backends.b1]", "[pools.web.check]\nkind = \"tcp\"\n[pools.web.backends.b1]")
        + "[vips.api]\naddress = \"198.51.100.11\"\n[pools.idle]\nmode = \"ipip\"\n[pools.idle.check]\nkind = \"tcp\"\nport = 1\n"
        + &service("www-http", "www", "tcp", 80)
        + &service("www-quic", "www", "udp", 443)
        + &service("api-dns", "api", "udp", 53);
    let targets = |text: &str, pool: &str| {
        let targets = good(text).check_targets(pool);
        targets.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(targets(&text, "web"), ["198.51.100.10:80", "198.51.100.10:443"]);
    let with_port = text.replacen("kind = \"tcp\"", "kind = \"tcp\"\nport = 8080", 1);
    assert_eq!(targets(&with_port, "web"), ["198.51.100.10:8080", "198.51.100.11:8080"]);
    assert!(targets(&text, "idle").is_empty(), "no service uses it");
    assert!(targets(LEAST, "web").is_empty(), "it has no check");
    assert!(targets(&text, "none").is_empty());
    assert_eq!(good(&text).all_check_targets().keys().copied().collect::<Vec<_>>(), ["web"]);
}

#[test]
fn many_pools_and_services_are_checked_in_good_time() {
    let mut text = LEAST.replace("[appliance]", "[bootstrap.capacity]\nrows = 134217728\n[appliance]");
    for i in 0..12_000_u32 {
        let port = i % 60_000 + 1_000;
        text.push_str(&format!(
            "[services.n{i}]\nvip = \"www\"\nprotocol = \"tcp\"\nport = {port}\npool = \"n{i}\"\n\
             [pools.n{i}]\nmode = \"ipip\"\nmax_backends = 8\n[pools.n{i}.check]\nkind = \"tcp\"\n\
             [pools.n{i}.backends.b]\naddress = \"10.2.{}.{}\"\n",
            i / 250,
            i % 250 + 1
        ));
    }
    let start = std::time::Instant::now();
    let document = good(&text);
    assert_eq!(document.all_check_targets().len(), 12_000);
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}
