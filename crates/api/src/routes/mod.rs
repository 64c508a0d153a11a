// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which path answers what.

pub(crate) mod bgp;
pub(crate) mod document;
pub(crate) mod events;
pub(crate) mod objects;
pub(crate) mod overrides;
pub(crate) mod service;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Method, Uri, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::control::ControlPlane;
use crate::error::{Problem, Slug};
use crate::request::outer;
use crate::stats::Stats;

/// What all requests share.
pub(crate) struct Shared<C> {
    pub(crate) control: Arc<C>,
    pub(crate) stats: Arc<Stats>,
    /// Becomes true when the server stops.
    pub(crate) stopping: watch::Receiver<bool>,
    /// Tells request ids of this process from those of another.
    boot: String,
    requests: AtomicU64,
}

impl<C> Shared<C> {
    pub(crate) fn new(control: Arc<C>, stopping: watch::Receiver<bool>) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let boot = format!("{:x}", since.as_micros());
        Self { control, stats: Arc::default(), stopping, boot, requests: AtomicU64::new(0) }
    }

    /// An id that no other request to this process gets.
    pub(crate) fn next_request_id(&self) -> String {
        format!("{}-{}", self.boot, self.requests.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// All routes over one control plane.
pub(crate) fn router<C: ControlPlane>(shared: Arc<Shared<C>>) -> Router {
    let override_of_appliance = get(overrides::of_appliance::<C>)
        .put(overrides::put_appliance::<C>)
        .delete(overrides::delete_appliance::<C>);
    let override_of_vip =
        get(overrides::of_vip::<C>).put(overrides::put_vip::<C>).delete(overrides::delete_vip::<C>);
    let override_of_pool =
        get(overrides::of_pool::<C>).put(overrides::put_pool::<C>).delete(overrides::delete_pool::<C>);
    let override_of_backend = get(overrides::of_backend::<C>)
        .put(overrides::put_backend::<C>)
        .delete(overrides::delete_backend::<C>);
    Router::new()
        .route("/v1/status", get(service::status::<C>))
        .route("/v1/appliance", get(objects::appliance::<C>))
        .route("/v1/appliance/override", override_of_appliance)
        .route("/v1/document", get(document::document::<C>))
        .route("/v1/document/reload", post(document::reload::<C>))
        .route("/v1/vips", get(objects::vips::<C>))
        .route("/v1/vips/{vip}", get(objects::vip::<C>))
        .route("/v1/vips/{vip}/override", override_of_vip)
        .route("/v1/services", get(objects::services::<C>))
        .route("/v1/services/{service}", get(objects::service::<C>))
        .route("/v1/pools", get(objects::pools::<C>))
        .route("/v1/pools/{pool}", get(objects::pool::<C>))
        .route("/v1/pools/{pool}/override", override_of_pool)
        .route("/v1/pools/{pool}/backends", get(objects::backends::<C>))
        .route("/v1/pools/{pool}/backends/{backend}", get(objects::backend::<C>))
        .route("/v1/pools/{pool}/backends/{backend}/override", override_of_backend)
        .route("/v1/peers", get(objects::peers::<C>))
        .route("/v1/peers/{peer}", get(objects::peer::<C>))
        .route("/v1/peers/{peer}/adj-rib-out", get(bgp::adj_rib_out::<C>))
        .route("/v1/peers/{peer}/adj-rib-in", get(bgp::adj_rib_in::<C>))
        .route("/v1/bgp", get(bgp::bgp::<C>))
        .route("/v1/overrides", get(overrides::list::<C>))
        .route("/v1/events", get(events::events::<C>))
        .route("/metrics", get(service::metrics_text::<C>))
        .route("/livez", get(service::livez::<C>))
        .route("/readyz", get(service::readyz::<C>))
        .route("/openapi.json", get(service::openapi))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), outer::<C>))
        .with_state(shared)
}

/// `value` as an answer.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<Response, Problem> {
    let body = serde_json::to_vec(value).map_err(|error| Problem::new(Slug::Internal, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// Names in the path; axum's own extractor would answer in plain text.
pub(crate) struct Names<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Names<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let names = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        names.map(|names| Self(names.0)).map_err(|error| Problem::new(Slug::BadRequest, error.body_text()))
    }
}

async fn not_found(uri: Uri) -> Problem {
    Problem::new(Slug::NotFound, format!("nothing at {}", uri.path()))
}

async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::new(Slug::MethodNotAllowed, format!("{method} is not allowed on {}", uri.path()))
}
