// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What every request meets, whatever its route: an id, who asks, what is allowed on its listener, a time limit, an audit
//! line for writes, and problems written down.
//!
//! Writes are taken over the unix socket only: the mode of its file says who may, and the kernel says who it was. The
//! loopback port has no authentication, so everybody on the host could write there, and so could a web page in a browser
//! on the host. For the same reason that port answers only to loopback names (DNS rebinding).

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::body::BODY_BYTES_MAX;
use crate::control::ControlPlane;
use crate::error::{PROBLEM_TYPE, Problem, Slug};
use crate::routes::Shared;

/// Longest time from the head of a request to the head of its answer. Beyond it the answer is 503 `timeout`.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(5);
/// The same for a reload, which may wait for the next hops of new backends.
const RELOAD_TIME_MAX: Duration = Duration::from_secs(20);
/// Longest request id that is taken over.
const REQUEST_ID_MAX: usize = 64;
/// The header of request ids, both ways.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A process, as the kernel knows it.
    Unix {
        /// Its user.
        uid: u32,
        /// Its group.
        gid: u32,
        /// Its id, where the kernel tells it.
        pid: Option<i32>,
    },
    /// Somebody on this host.
    Tcp,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { uid, gid, pid: Some(pid) } => write!(f, "uid {uid} gid {gid} pid {pid}"),
            Self::Unix { uid, gid, pid: None } => write!(f, "uid {uid} gid {gid}"),
            Self::Tcp => f.write_str("tcp"),
        }
    }
}

/// The outermost layer.
pub(crate) async fn outer<C: ControlPlane>(
    State(shared): State<Arc<Shared<C>>>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let id = request_id(&request).unwrap_or_else(|| shared.next_request_id());
    let origin = request.extensions().get::<Origin>().copied().unwrap_or(Origin::Tcp);
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();

    let mut response = match refuse(&request, origin) {
        Some(problem) => problem.into_response(),
        None => limit_time(route.as_deref(), request, next).await,
    };
    let problem = response.extensions_mut().remove::<Problem>().or_else(|| foreign(&response));
    let slug = problem.as_ref().map(|problem| problem.slug.name());
    if let Some(problem) = problem {
        problem.write(&id, &mut response);
    }
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    let status = response.status();
    shared.stats.count(route.as_deref(), &method, status, started.elapsed());
    if !is_read(&method) {
        let (status, result) = (status.as_u16(), slug.unwrap_or("ok"));
        tracing::info!(target: "weir::audit", who = %origin, request_id = id, %method, path, status, result, "api write");
    }
    response
}

/// What is refused before any route is asked.
fn refuse(request: &Request, origin: Origin) -> Option<Problem> {
    if origin == Origin::Tcp {
        let host = request.headers().get(header::HOST).map(HeaderValue::as_bytes);
        if !host.is_none_or(is_loopback_name) || !request.uri().host().is_none_or(is_loopback_host) {
            let words = "this port answers only requests for localhost or a loopback address";
            return Some(Problem::new(Slug::Forbidden, words));
        }
        if !is_read(request.method()) {
            let words = "nothing can be changed over TCP: use the unix socket";
            return Some(Problem::new(Slug::Forbidden, words));
        }
    }
    let length = request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse::<u64>().ok()?;
    (length > BODY_BYTES_MAX as u64).then(Problem::body_too_large)
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// A `Host` header: a name or an address, with or without a port.
fn is_loopback_name(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(address, _port)| address),
        None => host.split_once(':').map_or(host, |(name, _port)| name),
    };
    is_loopback_host(name)
}

fn is_loopback_host(name: &str) -> bool {
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// The caller's id, if it can stand in a log line and in a header.
fn request_id(request: &Request) -> Option<String> {
    let id = request.headers().get(REQUEST_ID)?.to_str().ok()?;
    let is_printable = id.bytes().all(|byte| byte.is_ascii_graphic());
    (is_printable && !id.is_empty() && id.len() <= REQUEST_ID_MAX).then(|| id.to_owned())
}

async fn limit_time(route: Option<&str>, request: Request, next: Next) -> Response {
    let limit = if route == Some("/v1/document/reload") { RELOAD_TIME_MAX } else { REQUEST_TIME_MAX };
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_elapsed) => {
            Problem::new(Slug::Timeout, format!("no answer within {} s", limit.as_secs())).into_response()
        }
    }
}

/// An error that the routing library answered by itself.
fn foreign(response: &Response) -> Option<Problem> {
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    // The probes answer 503 in plain words, which is what those who ask them read.
    if !is_error || kind == Some(PROBLEM_TYPE) || response.extensions().get::<PlainWords>().is_some() {
        return None;
    }
    let slug = match response.status() {
        StatusCode::NOT_FOUND => Slug::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => Slug::MethodNotAllowed,
        StatusCode::PAYLOAD_TOO_LARGE => Slug::BodyTooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Slug::UnsupportedMediaType,
        status if status.is_client_error() => Slug::BadRequest,
        _ => Slug::Internal,
    };
    Some(Problem::new(slug, slug.title()))
}

/// Marks an answer that is in plain words whatever its status.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlainWords;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_loopback_names() {
        for good in ["localhost", "LOCALHOST:9180", "127.0.0.1", "127.1.2.3:80", "[::1]", "[::1]:9180"] {
            assert!(is_loopback_name(good.as_bytes()), "{good}");
        }
        for bad in
            ["", "example.org", "localhost.example.org", "10.0.0.1:9180", "[2001:db8::1]:80", "[", "::1"]
        {
            assert!(!is_loopback_name(bad.as_bytes()), "{bad}");
        }
    }
}
