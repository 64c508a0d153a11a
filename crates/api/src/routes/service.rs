// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Routes for probes, for Prometheus, and for those who want everything at once.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::{Shared, json};
use crate::control::ControlPlane;
use crate::error::{Problem, Slug};
use crate::metrics::{self, Scrape};
use crate::openapi;
use crate::request::PlainWords;
use crate::v1::{ProblemDetails, Status};

/// Everything, by name.
///
/// Problems first: what an operator should look at, in words.
#[utoipa::path(get, path = "/v1/status", tag = "status", responses(
    (status = 200, description = "The whole state as of now.", body = Status),
    (status = 503, description = "No state can be given now.", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn status<C: ControlPlane>(
    State(shared): State<Arc<Shared<C>>>,
) -> Result<Response, Problem> {
    json(&shared.control.view().await?.status)
}

/// All metrics, in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "status", responses(
    (status = 200, description = "The metrics of the reference.", body = String, content_type = "text/plain"),
    (status = 503, description = "No state can be given now.", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn metrics_text<C: ControlPlane>(
    State(shared): State<Arc<Shared<C>>>,
) -> Result<Response, Problem> {
    let (status, telemetry) = shared.control.scrape().await?;
    let scrape = Scrape { status: &status, telemetry: &telemetry, api: &shared.stats.counts() };
    let text = metrics::render(&scrape).map_err(|error| Problem::new(Slug::Internal, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

/// Whether the process turns its loops.
#[utoipa::path(get, path = "/livez", tag = "probes", responses(
    (status = 200, description = "It does.", body = String, content_type = "text/plain"),
    (status = 503, description = "It does not: the parts that are stuck, one a line.", body = String, content_type = "text/plain"),
))]
pub(crate) async fn livez<C: ControlPlane>(State(shared): State<Arc<Shared<C>>>) -> Response {
    probe("alive", &shared.control.probes().stuck)
}

/// Whether the document is in force: dataplane attached, speaker running, not stopping.
#[utoipa::path(get, path = "/readyz", tag = "probes", responses(
    (status = 200, description = "It is.", body = String, content_type = "text/plain"),
    (status = 503, description = "It is not: the parts that are missing, one a line.", body = String, content_type = "text/plain"),
))]
pub(crate) async fn readyz<C: ControlPlane>(State(shared): State<Arc<Shared<C>>>) -> Response {
    probe("ready", &shared.control.probes().not_ready)
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "status", responses(
    (status = 200, description = "The description of this API, OpenAPI 3.1.", body = Object),
))]
pub(crate) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], openapi::text()).into_response()
}

/// 200 and the word when nothing is missing, else 503 and what is, one part a line.
fn probe(word: &str, missing: &[&str]) -> Response {
    if missing.is_empty() {
        return (StatusCode::OK, format!("{word}\n")).into_response();
    }
    let mut text = format!("not {word}\n");
    for part in missing {
        text.push_str(part);
        text.push('\n');
    }
    let mut response = (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    response.extensions_mut().insert(PlainWords);
    response
}
