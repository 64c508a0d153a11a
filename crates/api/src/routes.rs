// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which path answers what, and the time a request may take.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

use crate::control::ControlPlane;
use crate::error::{Problem, Slug};
use crate::metrics;
use crate::v1::Status;

/// Longest time from the head of a request to the head of its answer. Beyond it the answer is 503 `timeout`.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(5);

/// All routes over one control plane.
pub(crate) fn router<C: ControlPlane>(control: Arc<C>) -> Router {
    Router::new()
        .route("/v1/status", get(status::<C>))
        .route("/metrics", get(metrics_text::<C>))
        .route("/livez", get(livez::<C>))
        .route("/readyz", get(readyz::<C>))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn(limit_time))
        .with_state(control)
}

async fn status<C: ControlPlane>(State(control): State<Arc<C>>) -> Result<Json<Status>, Problem> {
    Ok(Json(control.view().await?.status))
}

async fn metrics_text<C: ControlPlane>(State(control): State<Arc<C>>) -> Result<Response, Problem> {
    let status = control.view().await?.status;
    let text = metrics::render(&status).map_err(|error| Problem::new(Slug::Internal, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

async fn livez<C: ControlPlane>(State(control): State<Arc<C>>) -> Response {
    probe("alive", &control.probes().stuck)
}

async fn readyz<C: ControlPlane>(State(control): State<Arc<C>>) -> Response {
    probe("ready", &control.probes().not_ready)
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
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

async fn not_found(uri: Uri) -> Problem {
    Problem::new(Slug::NotFound, format!("nothing at {}", uri.path()))
}

async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::new(Slug::MethodNotAllowed, format!("{method} is not allowed on {}", uri.path()))
}

async fn limit_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIME_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_elapsed) => {
            let words = format!("no answer within {} s", REQUEST_TIME_MAX.as_secs());
            Problem::new(Slug::Timeout, words).into_response()
        }
    }
}
