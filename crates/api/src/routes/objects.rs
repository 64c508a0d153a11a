// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Routes of objects: lists by name, and one of each.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::{Names, Shared, json};
use crate::control::{ControlPlane, View};
use crate::error::Problem;
use crate::objects as object;
use crate::v1::{
    Appliance, Backend, BackendList, Peer, PeerList, Pool, PoolList, ProblemDetails, Service, ServiceList,
    Vip, VipList,
};

/// This appliance: process, program, host, packet path.
#[utoipa::path(get, path = "/v1/appliance", tag = "objects", responses(
    (status = 200, description = "The appliance.", body = Appliance),
    (status = 503, description = "No state can be given now.", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn appliance<C: ControlPlane>(
    State(shared): State<Arc<Shared<C>>>,
) -> Result<Response, Problem> {
    json(&object::appliance(&shared.control.view().await?))
}

/// All VIPs.
#[utoipa::path(get, path = "/v1/vips", tag = "objects", responses(
    (status = 200, description = "All VIPs, by name.", body = VipList),
    (status = 503, description = "No state can be given now.", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn vips<C: ControlPlane>(State(shared): State<Arc<Shared<C>>>) -> Result<Response, Problem> {
    let view = shared.control.view().await?;
    json(&VipList { items: all(&view, &view.status.vips, object::vip)? })
}

/// One VIP, and why it is not announced.
#[utoipa::path(get, path = "/v1/vips/{vip}", tag = "objects",
    params(("vip" = String, Path, description = "Name of the VIP.")),
    responses(
        (status = 200, description = "The VIP.", body = Vip),
        (status = 404, description = "No VIP has this name.", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "No state can be given now.", body = ProblemDetails, content_type = "application/problem+json"),
    ))]
pub(crate) async fn vip<C: ControlPlane>(
    State(shared): State<Arc<Shared<C>>>,
    Names(name): Names<String>,
) -> Result<Response, Problem> {
    json(&object::vip(&shared.control.view().await?, &name)?)
}

/// All services.
#[utoipa::path(get, path = "/v1/services", tag = "objects", responses(
    (status = 200, description = "All services, by name.", body = ServiceList),
    (status = 503, description = "No state can be given now.", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn services<C: ControlPlane>(
    State(shared): State<Arc<Shared<C>>>,
) -> Result<Response, Problem> {
    let view = shared.control.view().await?;
    json(&ServiceList { items: all(&view, &view.status.services, object::service)? })
}

/// One service.
#[utoipa::path(get, path = "/v1/services/{service}", tag = "objects",
    params(("service" = String, Path, description = "Name of the service.")),
    responses(
        (status = 200, description = "The service.", body = Service),
        (status = 404, description = "No service has this name.", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "No state can be given now.", body = ProblemDetails, content_type = "application/problem+json"),
    ))]
pub(crate) async fn service<C: ControlPlane>(
    State(shared): State<Arc<Shared<C>>>,
    Names(name): Names<String>,
) -> Result<Response, Problem> {
    json(&object::service(&shared.control.view().await?, &name)?)
}

/// All pools.
#[utoipa::path(get, path = "/v1/pools", tag = "objects", responses(
    (status = 200, description = "All pools, by name.", body = PoolList),
    (status = 503, description = "No state can be given now.", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn pools<C: ControlPlane>(
    State(shared): State<Arc<Shared<C>>>,
) -> Result<Response, Problem> {
    let view = shared.control.view().await?;
    json(&PoolList { items: all(&view, &view.status.pools, object::pool)? })
}

/// One pool.
#[utoipa::path(get, path = "/v1/pools/{pool}", tag = "objects",
    params(("pool" = String, Path, description = "Name of the pool.")),
    responses(
        (status = 200, description = "The pool.", body = Pool),
        (status = 404, description = "No pool has this name.", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "No state can be given now.", body = ProblemDetails, content_type = "application/problem+json"),
    ))]
pub(crate) async fn pool<C: ControlPlane>(
    State(shared): State<Arc<Shared<C>>>,
    Names(name): Names<String>,
) -> Result<Response, Problem> {
    json(&object::pool(&shared.control.view().await?, &name)?)
}

/// All backends of a pool, with the last results of their checks.
#[utoipa::path(get, path = "/v1/pools/{pool}/backends", tag = "objects",
    params(("pool" = String, Path, description = "Name of the pool.")),
    responses(
        (status = 200, description = "All backends of the pool, by name.", body = BackendList),
        (status = 404, description = "No pool has this name.", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "No state can be given now.", body = ProblemDetails, content_type = "application/problem+json"),
    ))]
pub(crate) async fn backends<C: ControlPlane>(
    State(shared): State<Arc<Shared<C>>>,
    Names(pool): Names<String>,
) -> Result<Response, Problem> {
    let view = shared.control.view().await?;
    let of_pool = object::pool(&view, &pool)?.status.backends;
    let checks = shared.control.checks(&pool).await?;
    let items = all(&view, &of_pool, |view, name| object::backend(view, &pool, name, &checks))?;
    json(&BackendList { items })
}

/// One backend, with the last results of its checks.
#[utoipa::path(get, path = "/v1/pools/{pool}/backends/{backend}", tag = "objects",
    params(
        ("pool" = String, Path, description = "Name of the pool."),
        ("backend" = String, Path, description = "Name of the backend in the pool."),
    ),
    responses(
        (status = 200, description = "The backend.", body = Backend),
        (status = 404, description = "No pool, or no backend of it, has this name.", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "No state can be given now.", body = ProblemDetails, content_type = "application/problem+json"),
    ))]
pub(crate) async fn backend<C: ControlPlane>(
    State(shared): State<Arc<Shared<C>>>,
    Names((pool, name)): Names<(String, String)>,
) -> Result<Response, Problem> {
    let view = shared.control.view().await?;
    let checks = shared.control.checks(&pool).await?;
    json(&object::backend(&view, &pool, &name, &checks)?)
}

/// All BGP peers.
#[utoipa::path(get, path = "/v1/peers", tag = "objects", responses(
    (status = 200, description = "All peers, by name.", body = PeerList),
    (status = 503, description = "No state can be given now.", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn peers<C: ControlPlane>(
    State(shared): State<Arc<Shared<C>>>,
) -> Result<Response, Problem> {
    let view = shared.control.view().await?;
    json(&PeerList { items: all(&view, &view.status.peers, object::peer)? })
}

/// One BGP peer and its session.
#[utoipa::path(get, path = "/v1/peers/{peer}", tag = "objects",
    params(("peer" = String, Path, description = "Name of the peer.")),
    responses(
        (status = 200, description = "The peer.", body = Peer),
        (status = 404, description = "No peer has this name.", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "No state can be given now.", body = ProblemDetails, content_type = "application/problem+json"),
    ))]
pub(crate) async fn peer<C: ControlPlane>(
    State(shared): State<Arc<Shared<C>>>,
    Names(name): Names<String>,
) -> Result<Response, Problem> {
    json(&object::peer(&shared.control.view().await?, &name)?)
}

/// Every object of a map, in the order of names.
fn all<S, T>(
    view: &View,
    of: &BTreeMap<String, S>,
    one: impl Fn(&View, &str) -> Result<T, Problem>,
) -> Result<Vec<T>, Problem> {
    of.keys().map(|name| one(view, name)).collect()
}
