// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Constructors take what works and refuse what does not.

use super::*;

fn with(change: impl FnOnce(&mut Timing)) -> Result<CheckSpec, CheckSpecError> {
    let mut timing = Timing::default();
    change(&mut timing);
    CheckSpec::new(CheckKind::Tcp, timing)
}

fn field_of(error: CheckSpecError) -> &'static str {
    match error {
        CheckSpecError::DurationOutOfRange { field, .. } | CheckSpecError::CountOutOfRange { field, .. } => {
            field
        }
        other => panic!("not a range: {other}"),
    }
}

#[test]
fn defaults_are_valid_and_detect_as_promised() {
    let spec = CheckSpec::new(CheckKind::Tcp, Timing::default()).expect("valid");
    assert_eq!(spec.timing().detection_max(false), Duration::from_secs(3));
    assert_eq!(spec.timing().detection_max(true), Duration::from_secs(6));
}

#[test]
fn defaults_fit_every_interval_in_range() {
    for interval_ms in [100, 150, 500, 999, 2_000, 10_000, 60_000, 3_600_000] {
        let timing = Timing::with_interval(Duration::from_millis(interval_ms));
        CheckSpec::new(CheckKind::Tcp, timing).unwrap_or_else(|error| panic!("{interval_ms} ms: {error}"));
    }
}

#[test]
fn a_timeout_as_long_as_the_interval_is_refused() {
    let error = with(|timing| timing.timeout = timing.interval).expect_err("too long");
    assert_eq!(error.to_string(), "timeout 2s must be shorter than interval 2s");
}

#[test]
fn values_outside_their_range_name_their_field() {
    let ms = Duration::from_millis;
    let refused = |change: fn(&mut Timing)| field_of(with(change).expect_err("refused"));
    assert_eq!(refused(|timing| timing.interval = Duration::ZERO), "interval");
    assert_eq!(refused(|timing| timing.interval = Duration::MAX), "interval");
    assert_eq!(refused(|timing| timing.timeout = Duration::ZERO), "timeout");
    assert_eq!(refused(|timing| timing.fast_interval = Duration::ZERO), "fast_interval");
    assert_eq!(refused(|timing| timing.fast_interval = timing.interval * 2), "fast_interval");
    assert_eq!(refused(|timing| timing.down_interval = timing.fast_interval / 2), "down_interval");
    assert_eq!(refused(|timing| timing.down_interval_max = timing.down_interval / 2), "down_interval_max");
    assert_eq!(refused(|timing| timing.down_backoff_after = Duration::MAX), "down_backoff_after");
    assert_eq!(refused(|timing| timing.rise = 0), "rise");
    assert_eq!(refused(|timing| timing.fall = 0), "fall");
    assert_eq!(refused(|timing| timing.fall = Timing::COUNT_MAX + 1), "fall");
    assert!(with(|timing| timing.timeout = ms(1_999)).is_ok());
}

#[test]
fn a_request_cannot_be_split_by_its_own_parameters() {
    let make = |path: &str, host: &str| HttpCheck::new(Method::Get, path, host, StatusSet::default(), None);
    for path in ["", "healthz", "/a b", "/a\r\nX: y", "/\u{e9}", "/\u{7f}"] {
        assert_eq!(make(path, "www"), Err(CheckSpecError::BadPath { max: HttpCheck::PATH_MAX }), "{path:?}");
    }
    for host in ["", "www\r\nX: y", "w w"] {
        assert_eq!(make("/", host), Err(CheckSpecError::BadHost { max: HttpCheck::HOST_MAX }), "{host:?}");
    }
    assert!(make(&format!("/{}", "a".repeat(HttpCheck::PATH_MAX)), "www").is_err());
    let request = make("/healthz?full=1", "[2001:db8::1]:80").expect("valid");
    let text = std::str::from_utf8(request.request()).expect("text");
    assert!(text.starts_with("GET /healthz?full=1 HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n"), "{text}");
    assert!(text.ends_with("Connection: close\r\n\r\n"), "{text}");
}

#[test]
fn a_body_text_must_be_one_that_can_be_found() {
    let make =
        |method, body: &[u8]| HttpCheck::new(method, "/", "www", StatusSet::default(), Some(body.to_vec()));
    assert_eq!(make(Method::Get, b""), Err(CheckSpecError::BadBody { max: HttpCheck::BODY_TEXT_MAX }));
    assert!(make(Method::Get, &[b'a'; HttpCheck::BODY_TEXT_MAX + 1]).is_err());
    assert_eq!(make(Method::Head, b"ok"), Err(CheckSpecError::BodyOfHead));
    assert!(make(Method::Get, b"ok").is_ok());
}

#[test]
fn status_sets_join_ranges_and_refuse_nonsense() {
    let set = StatusSet::new([204..=204, 200..=203, 301..=302]).expect("valid");
    assert_eq!(set, StatusSet::new([200..=204, 301..=302]).expect("valid"));
    for (status, is_in) in [(199, false), (200, true), (204, true), (205, false), (301, true), (303, false)] {
        assert_eq!(set.contains(status), is_in, "{status}");
    }
    assert!(StatusSet::new([]).is_err());
    assert!(StatusSet::new([99..=200]).is_err());
    assert!(StatusSet::new([500..=600]).is_err());
    assert!(StatusSet::new([RangeInclusive::new(300, 200)]).is_err());
}
