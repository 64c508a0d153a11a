// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `[pools.*.check]`: how the backends of a pool are checked.
//!
//! Times that are left out fit themselves to the interval (`weir_health::Timing::with_interval`), so that a document
//! which names only an interval is good.

use std::time::Duration;

use toml::de::DeValue;
use weir_health::Timing;

use crate::config::limits;
use crate::config::report::Report;
use crate::config::section::Section;
use crate::config::shape::{Change, Key, Shape, Values, words};
use crate::config::value::{self, Wrong, found};
use crate::model::{CheckKind, HttpCheck, HttpMethod, PoolCheck};

pub(super) const CHECK: Shape = Shape {
    path: "pools.NAME.check",
    title: "how the backends of a pool are checked",
    about: "Each backend is tried at each VIP address and port of the services that use the pool, through the tunnel: route, \
            decapsulation, VIP and service are tested at once. A backend is up when all of its checks are up and down when one is \
            down. Without a check a backend counts as up while it has a next hop.",
    change: Change::Reload,
    keys: &[
        Key::required(
            "kind",
            Values::Words(|| words(KINDS)),
            "`tcp`: connect, then reset. `http`: one HTTP/1.1 request without TLS",
        ),
        Key::optional(
            "port",
            Values::Number(1..=65_535),
            "the port of each TCP service that uses the pool",
            "Port of the VIP to connect to; required if only UDP services use the pool",
        ),
        Key::or(
            "interval",
            Values::Span(limits::CHECK_INTERVAL),
            "\"2s\"",
            "Time between two attempts while nothing is wrong",
        ),
        Key::or(
            "timeout",
            Values::Span(limits::CHECK_TIMEOUT),
            "\"1s\"",
            "Longest time of one whole attempt, shorter than `interval`; the default is never more than half of it",
        ),
        Key::or(
            "fast_interval",
            Values::Span(limits::CHECK_FAST_INTERVAL),
            "\"500ms\"",
            "Wait between attempts while a change is being decided; at most `interval`, as is the default",
        ),
        Key::or(
            "down_interval",
            Values::Span(limits::CHECK_DOWN_INTERVAL),
            "\"5s\"",
            "Wait between attempts of a backend that is down; after 5 min it grows up to 30 s. At least `fast_interval`; the \
             default is at least `interval`",
        ),
        Key::or(
            "rise",
            Values::Number(1..=Timing::COUNT_MAX),
            "2",
            "Successes in a row that bring a backend up",
        ),
        Key::or(
            "fall",
            Values::Number(1..=Timing::COUNT_MAX),
            "3",
            "Failures in a row that take a backend down",
        ),
        Key::or(
            "method",
            Values::Words(|| words(METHODS)),
            "\"GET\"",
            "Method of the request; `http` only, as all below",
        ),
        Key::or(
            "path",
            Values::Text("path of visible ASCII characters, at most 2,048"),
            "\"/\"",
            "Path of the request, with its query",
        ),
        Key::optional(
            "host",
            Values::Text("visible ASCII characters, at most 255"),
            "the VIP's address",
            "`Host` of the request",
        ),
        Key::or(
            "status",
            Values::Text("list of at most 32 statuses and ranges, like `[200, \"300-399\"]`"),
            "[\"200-299\"]",
            "Statuses that are a success; redirects are not followed",
        ),
        Key::optional(
            "body",
            Values::Text("text, at most 256 bytes"),
            "not looked at",
            "Must occur within the first 64 KiB of the body; not with `HEAD`",
        ),
    ],
    later: &["via", "require", "send", "expect", "headers", "server_name", "brake", "panic_below"],
};

const KINDS: &[(&str, Kind)] = &[("tcp", Kind::Tcp), ("http", Kind::Http)];
/// Kinds that later versions will know.
const KINDS_LATER: &[&str] = &["tls", "https", "grpc", "dns", "udp", "icmp", "push", "agent"];
const METHODS: &[(&str, HttpMethod)] =
    &[("GET", HttpMethod::Get), ("HEAD", HttpMethod::Head), ("OPTIONS", HttpMethod::Options)];

/// The word of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Kind {
    Tcp,
    Http,
}

/// A pool's check as read. The inner `None` of a field: left out.
#[derive(Debug)]
pub(in crate::config) struct CheckDraft {
    pub(in crate::config) kind: Option<Kind>,
    pub(in crate::config) port: Option<Option<u16>>,
    pub(in crate::config) timing: TimingDraft,
    pub(in crate::config) http: HttpDraft,
}

/// Times and counts as read.
#[derive(Debug)]
pub(in crate::config) struct TimingDraft {
    pub(in crate::config) interval: Option<Duration>,
    timeout: Option<Option<Duration>>,
    fast_interval: Option<Option<Duration>>,
    down_interval: Option<Option<Duration>>,
    rise: Option<u32>,
    fall: Option<u32>,
}

/// What belongs to an HTTP check alone, as read.
#[derive(Debug)]
pub(in crate::config) struct HttpDraft {
    pub(in crate::config) method: Option<Option<HttpMethod>>,
    path: Option<Option<String>>,
    host: Option<Option<String>>,
    status: Option<Option<Vec<(u16, u16)>>>,
    pub(in crate::config) body: Option<Option<String>>,
}

/// Reads the check of a pool, if it has one.
pub(super) fn read(report: &mut Report, pool: &Section<'_>) -> Option<CheckDraft> {
    if !pool.has("check") {
        return None;
    }
    let section = pool.section_or_default(report, "check", CHECK);
    let timing = Timing::default();
    let count = || value::number(1..=Timing::COUNT_MAX);
    Some(CheckDraft {
        kind: section.required(report, "kind", value::choice(KINDS, KINDS_LATER)),
        port: section.optional(report, "port", value::port),
        timing: TimingDraft {
            interval: section.or(
                report,
                "interval",
                timing.interval,
                value::duration(limits::CHECK_INTERVAL),
            ),
            timeout: section.optional(report, "timeout", value::duration(limits::CHECK_TIMEOUT)),
            fast_interval: section.optional(
                report,
                "fast_interval",
                value::duration(limits::CHECK_FAST_INTERVAL),
            ),
            down_interval: section.optional(
                report,
                "down_interval",
                value::duration(limits::CHECK_DOWN_INTERVAL),
            ),
            rise: section.or(report, "rise", timing.rise, count()),
            fall: section.or(report, "fall", timing.fall, count()),
        },
        http: HttpDraft {
            method: section.optional(report, "method", value::choice(METHODS, &[])),
            path: section.optional(report, "path", path),
            host: section.optional(report, "host", host),
            status: section.optional(report, "status", status),
            body: section.optional(report, "body", body),
        },
    })
}

impl CheckDraft {
    pub(super) fn finish(self) -> Option<PoolCheck> {
        let timing = self.timing.fitted()?;
        Some(PoolCheck {
            kind: match self.kind? {
                Kind::Tcp => CheckKind::Tcp,
                Kind::Http => CheckKind::Http(self.http.finish()?),
            },
            port: self.port?,
            interval: timing.interval,
            timeout: timing.timeout,
            fast_interval: timing.fast_interval,
            down_interval: timing.down_interval,
            rise: timing.rise,
            fall: timing.fall,
        })
    }
}

impl TimingDraft {
    /// The timing with what is left out fitted to the interval; nothing is compared yet.
    pub(in crate::config) fn fitted(&self) -> Option<Timing> {
        let fitted = Timing::with_interval(self.interval?);
        Some(Timing {
            timeout: self.timeout?.unwrap_or(fitted.timeout),
            fast_interval: self.fast_interval?.unwrap_or(fitted.fast_interval),
            down_interval: self.down_interval?.unwrap_or(fitted.down_interval),
            rise: self.rise?,
            fall: self.fall?,
            ..fitted
        })
    }
}

impl HttpDraft {
    /// Keys that are written although only HTTP has them.
    pub(in crate::config) fn written(&self) -> Vec<&'static str> {
        let keys = [
            ("method", matches!(self.method, None | Some(Some(_)))),
            ("path", matches!(self.path, None | Some(Some(_)))),
            ("host", matches!(self.host, None | Some(Some(_)))),
            ("status", matches!(self.status, None | Some(Some(_)))),
            ("body", matches!(self.body, None | Some(Some(_)))),
        ];
        keys.into_iter().filter_map(|(key, is_written)| is_written.then_some(key)).collect()
    }

    fn finish(self) -> Option<HttpCheck> {
        Some(HttpCheck {
            method: self.method?.unwrap_or(HttpMethod::Get),
            path: self.path?.unwrap_or_else(|| limits::CHECK_PATH_DEFAULT.to_owned()),
            host: self.host?,
            status: self.status?.unwrap_or_else(|| vec![limits::CHECK_STATUS_DEFAULT]),
            body: self.body?,
        })
    }
}

/// What can stand in the first line of a request.
fn path(value: &DeValue<'_>) -> Result<String, Wrong> {
    let path = value::text(value)?;
    if path.len() > limits::CHECK_PATH_BYTES_MAX {
        return Err(too_long(path.len(), limits::CHECK_PATH_BYTES_MAX));
    }
    if path.starts_with('/') && is_visible(&path) {
        return Ok(path);
    }
    let message = format!("found {}, expected a path of visible ASCII characters from `/` on", found(value));
    Err(Wrong::new(message, "write it like `/healthz`; other characters as `%` and two hex digits"))
}

/// What can stand in the `Host` line of a request.
fn host(value: &DeValue<'_>) -> Result<String, Wrong> {
    let host = value::text(value)?;
    if host.len() > limits::CHECK_HOST_BYTES_MAX {
        return Err(too_long(host.len(), limits::CHECK_HOST_BYTES_MAX));
    }
    if !host.is_empty() && is_visible(&host) {
        return Ok(host);
    }
    let message = format!("found {}, expected a host of visible ASCII characters", found(value));
    Err(Wrong::new(message, "write it like `www.example.org`, or leave it out for the VIP's address"))
}

/// Text to look for in the answer.
fn body(value: &DeValue<'_>) -> Result<String, Wrong> {
    let body = value::text(value)?;
    match body.len() {
        0 => Err(Wrong::new("found an empty text", "write what the body must hold, or leave it out")),
        len if len > limits::CHECK_BODY_BYTES_MAX => Err(too_long(len, limits::CHECK_BODY_BYTES_MAX)),
        _ => Ok(body),
    }
}

/// A list of statuses and ranges of them: sorted, neither touching nor overlapping.
fn status(value: &DeValue<'_>) -> Result<Vec<(u16, u16)>, Wrong> {
    const HELP: &str = "write it like `[\"200-299\"]` or `[200, \"300-399\"]`";
    let DeValue::Array(items) = value else {
        let message = format!("found {}, expected a list of statuses", found(value));
        return Err(Wrong::new(message, HELP));
    };
    if items.is_empty() {
        return Err(Wrong::new("found an empty list, expected at least one status", HELP));
    }
    if items.len() > limits::CHECK_STATUSES_MAX {
        let max = limits::CHECK_STATUSES_MAX;
        return Err(Wrong::new(
            format!("found {} statuses, expected at most {max}", items.len()),
            "use ranges",
        ));
    }
    let mut ranges = Vec::new();
    for item in items {
        let item = item.get_ref();
        let range = status_range(item).filter(|(start, end)| {
            start <= end && limits::CHECK_STATUS.contains(start) && limits::CHECK_STATUS.contains(end)
        });
        let Some(range) = range else {
            let (min, max) = (limits::CHECK_STATUS.start(), limits::CHECK_STATUS.end());
            let message =
                format!("found {}, expected a status or a range within {min} to {max}", found(item));
            return Err(Wrong::new(message, HELP));
        };
        ranges.push(range);
    }
    Ok(merged(ranges))
}

/// `204` or `"200-299"`.
fn status_range(value: &DeValue<'_>) -> Option<(u16, u16)> {
    if let Some(status) = value::whole_number(value) {
        return Some((status, status));
    }
    let (start, end) = value.as_str()?.split_once('-')?;
    let number = |text: &str| (text.len() == 3).then(|| text.parse().ok()).flatten();
    Some((number(start)?, number(end)?))
}

/// The same statuses in their one shortest form.
fn merged(mut ranges: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u16, u16)> = Vec::new();
    for (start, end) in ranges {
        match merged.last_mut() {
            Some(last) if start <= last.1.saturating_add(1) => last.1 = last.1.max(end),
            Some(_) | None => merged.push((start, end)),
        }
    }
    merged
}

fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn too_long(len: usize, max: usize) -> Wrong {
    Wrong::new(format!("found {len} bytes, expected at most {max}"), "write a shorter one")
}
