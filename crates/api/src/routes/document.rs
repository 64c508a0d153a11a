// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Routes of the document.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::{Shared, json};
use crate::control::ControlPlane;
use crate::error::Problem;
use crate::v1::{ProblemDetails, Reloaded};

/// The accepted document.
///
/// Canonical form: the document's own shape as JSON, defaults filled in. The ETag is its hash.
#[utoipa::path(get, path = "/v1/document", tag = "document",
    params(("If-None-Match" = Option<String>, Header, description = "ETags that the caller has; 304 when one is current.")),
    responses(
        (status = 200, description = "The document.", body = Object,
            headers(("ETag" = String, description = "Hash of the document, in quotes."))),
        (status = 304, description = "The caller has it."),
    ))]
pub(crate) async fn document<C: ControlPlane>(
    State(shared): State<Arc<Shared<C>>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let document = shared.control.document();
    let tag = format!("\"{}\"", document.hash);
    let mut response =
        if has(&headers, &tag) { StatusCode::NOT_MODIFIED.into_response() } else { json(&document.json)? };
    // A hash is hex digits, which a header can hold.
    if let Ok(value) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// Reads the document's file again, all or nothing.
#[utoipa::path(post, path = "/v1/document/reload", tag = "document", responses(
    (status = 200, description = "It is accepted; `changed` says whether it differs.", body = Reloaded),
    (status = 403, description = "Not over TCP.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 409, description = "It changes what needs a restart; nothing has changed.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 422, description = "It is not valid; every error with its place. Nothing has changed.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "Nobody reloads now.", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn reload<C: ControlPlane>(
    State(shared): State<Arc<Shared<C>>>,
) -> Result<Response, Problem> {
    json(&shared.control.reload().await?)
}

/// Whether `If-None-Match` names this tag (RFC 9110 §13.1.2; the weak comparison).
fn has(headers: &HeaderMap, tag: &str) -> bool {
    let lists = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|list| list.to_str().ok());
    let mut tags = lists.flat_map(|list| list.split(',')).map(str::trim);
    tags.any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}
