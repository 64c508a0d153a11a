// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Routes of overrides: one at most for each object, set, read and cleared at the object's own path.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::{Names, Shared, json};
use crate::body;
use crate::control::{ControlPlane, OverrideTarget, OverrideWish};
use crate::error::{Problem, Slug};
use crate::objects;
use crate::request::Origin;
use crate::v1::{Override, OverrideList, OverrideRequest, ProblemDetails, Timestamp};

/// Longest time after which an override may end by itself; one that shall last longer has no end.
const LASTING_MAX: Duration = Duration::from_secs(366 * 86_400);

/// All overrides in force.
#[utoipa::path(get, path = "/v1/overrides", tag = "overrides", responses(
    (status = 200, description = "All overrides: the appliance's, then VIPs, pools, backends, by name.", body = OverrideList),
))]
pub(crate) async fn list<C: ControlPlane>(State(shared): State<Arc<Shared<C>>>) -> Result<Response, Problem> {
    json(&OverrideList { items: shared.control.overrides() })
}

/// The override of this appliance.
#[utoipa::path(get, path = "/v1/appliance/override", tag = "overrides", responses(
    (status = 200, description = "The override.", body = Override),
    (status = 404, description = "No such object, or it has no override.", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn of_appliance<C: ControlPlane>(
    State(shared): State<Arc<Shared<C>>>,
) -> Result<Response, Problem> {
    read(&shared, &OverrideTarget::Appliance)
}

/// Withholds everything that this appliance announces.
///
/// Sets the override of this appliance, or replaces it. It is in force when the answer comes, survives reloads and restarts, and
/// ends when it is cleared or at its own end.
#[utoipa::path(put, path = "/v1/appliance/override", tag = "overrides", request_body(content = OverrideRequest, description = "What it asks for.", content_type = "application/json"), responses(
    (status = 200, description = "Replaced.", body = Override),
    (status = 201, description = "Set.", body = Override),
    (status = 400, description = "The body is not JSON.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "Not over TCP.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "No such object.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 409, description = "There are too many overrides.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 413, description = "The body is too large.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 415, description = "The body is of another type.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 422, description = "A value is not allowed; its path is in `errors`.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "No override can be set now.", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn put_appliance<C: ControlPlane>(
    State(shared): State<Arc<Shared<C>>>,
    request: Request,
) -> Result<Response, Problem> {
    put(&shared, OverrideTarget::Appliance, request).await
}

/// Clears the override of this appliance.
#[utoipa::path(delete, path = "/v1/appliance/override", tag = "overrides", responses(
    (status = 204, description = "Cleared."),
    (status = 403, description = "Not over TCP.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "No such object, or it has no override.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "No override can be cleared now.", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn delete_appliance<C: ControlPlane>(
    State(shared): State<Arc<Shared<C>>>,
) -> Result<Response, Problem> {
    clear(&shared, OverrideTarget::Appliance).await
}

/// The override of a VIP.
#[utoipa::path(get, path = "/v1/vips/{vip}/override", tag = "overrides",
    params(("vip" = String, Path, description = "Name of the VIP.")), responses(
    (status = 200, description = "The override.", body = Override),
    (status = 404, description = "No such object, or it has no override.", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn of_vip<C: ControlPlane>(
    State(shared): State<Arc<Shared<C>>>,
    Names(vip): Names<String>,
) -> Result<Response, Problem> {
    read(&shared, &OverrideTarget::Vip(vip))
}

/// Withholds a VIP.
///
/// Sets the override of a VIP, or replaces it. It is in force when the answer comes, survives reloads and restarts, and
/// ends when it is cleared or at its own end.
#[utoipa::path(put, path = "/v1/vips/{vip}/override", tag = "overrides",
    params(("vip" = String, Path, description = "Name of the VIP.")), request_body(content = OverrideRequest, description = "What it asks for.", content_type = "application/json"), responses(
    (status = 200, description = "Replaced.", body = Override),
    (status = 201, description = "Set.", body = Override),
    (status = 400, description = "The body is not JSON.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "Not over TCP.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "No such object.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 409, description = "There are too many overrides.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 413, description = "The body is too large.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 415, description = "The body is of another type.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 422, description = "A value is not allowed; its path is in `errors`.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "No override can be set now.", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn put_vip<C: ControlPlane>(
    State(shared): State<Arc<Shared<C>>>,
    Names(vip): Names<String>,
    request: Request,
) -> Result<Response, Problem> {
    put(&shared, OverrideTarget::Vip(vip), request).await
}

/// Clears the override of a VIP.
#[utoipa::path(delete, path = "/v1/vips/{vip}/override", tag = "overrides",
    params(("vip" = String, Path, description = "Name of the VIP.")), responses(
    (status = 204, description = "Cleared."),
    (status = 403, description = "Not over TCP.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "No such object, or it has no override.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "No override can be cleared now.", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn delete_vip<C: ControlPlane>(
    State(shared): State<Arc<Shared<C>>>,
    Names(vip): Names<String>,
) -> Result<Response, Problem> {
    clear(&shared, OverrideTarget::Vip(vip)).await
}

/// The override of a pool.
#[utoipa::path(get, path = "/v1/pools/{pool}/override", tag = "overrides",
    params(("pool" = String, Path, description = "Name of the pool.")), responses(
    (status = 200, description = "The override.", body = Override),
    (status = 404, description = "No such object, or it has no override.", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn of_pool<C: ControlPlane>(
    State(shared): State<Arc<Shared<C>>>,
    Names(pool): Names<String>,
) -> Result<Response, Problem> {
    read(&shared, &OverrideTarget::Pool(pool))
}

/// Drains or disables all backends of a pool.
///
/// Sets the override of a pool, or replaces it. It is in force when the answer comes, survives reloads and restarts, and
/// ends when it is cleared or at its own end.
#[utoipa::path(put, path = "/v1/pools/{pool}/override", tag = "overrides",
    params(("pool" = String, Path, description = "Name of the pool.")), request_body(content = OverrideRequest, description = "What it asks for.", content_type = "application/json"), responses(
    (status = 200, description = "Replaced.", body = Override),
    (status = 201, description = "Set.", body = Override),
    (status = 400, description = "The body is not JSON.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "Not over TCP.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "No such object.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 409, description = "There are too many overrides.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 413, description = "The body is too large.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 415, description = "The body is of another type.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 422, description = "A value is not allowed; its path is in `errors`.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "No override can be set now.", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn put_pool<C: ControlPlane>(
    State(shared): State<Arc<Shared<C>>>,
    Names(pool): Names<String>,
    request: Request,
) -> Result<Response, Problem> {
    put(&shared, OverrideTarget::Pool(pool), request).await
}

/// Clears the override of a pool.
#[utoipa::path(delete, path = "/v1/pools/{pool}/override", tag = "overrides",
    params(("pool" = String, Path, description = "Name of the pool.")), responses(
    (status = 204, description = "Cleared."),
    (status = 403, description = "Not over TCP.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "No such object, or it has no override.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "No override can be cleared now.", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn delete_pool<C: ControlPlane>(
    State(shared): State<Arc<Shared<C>>>,
    Names(pool): Names<String>,
) -> Result<Response, Problem> {
    clear(&shared, OverrideTarget::Pool(pool)).await
}

/// The override of a backend.
#[utoipa::path(get, path = "/v1/pools/{pool}/backends/{backend}/override", tag = "overrides",
    params(("pool" = String, Path, description = "Name of the pool."), ("backend" = String, Path, description = "Name of the backend in the pool.")), responses(
    (status = 200, description = "The override.", body = Override),
    (status = 404, description = "No such object, or it has no override.", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn of_backend<C: ControlPlane>(
    State(shared): State<Arc<Shared<C>>>,
    Names((pool, backend)): Names<(String, String)>,
) -> Result<Response, Problem> {
    read(&shared, &OverrideTarget::Backend { pool, backend })
}

/// Drains or disables a backend.
///
/// Sets the override of a backend, or replaces it. It is in force when the answer comes, survives reloads and restarts, and
/// ends when it is cleared or at its own end.
#[utoipa::path(put, path = "/v1/pools/{pool}/backends/{backend}/override", tag = "overrides",
    params(("pool" = String, Path, description = "Name of the pool."), ("backend" = String, Path, description = "Name of the backend in the pool.")), request_body(content = OverrideRequest, description = "What it asks for.", content_type = "application/json"), responses(
    (status = 200, description = "Replaced.", body = Override),
    (status = 201, description = "Set.", body = Override),
    (status = 400, description = "The body is not JSON.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "Not over TCP.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "No such object.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 409, description = "There are too many overrides.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 413, description = "The body is too large.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 415, description = "The body is of another type.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 422, description = "A value is not allowed; its path is in `errors`.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "No override can be set now.", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn put_backend<C: ControlPlane>(
    State(shared): State<Arc<Shared<C>>>,
    Names((pool, backend)): Names<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    put(&shared, OverrideTarget::Backend { pool, backend }, request).await
}

/// Clears the override of a backend.
#[utoipa::path(delete, path = "/v1/pools/{pool}/backends/{backend}/override", tag = "overrides",
    params(("pool" = String, Path, description = "Name of the pool."), ("backend" = String, Path, description = "Name of the backend in the pool.")), responses(
    (status = 204, description = "Cleared."),
    (status = 403, description = "Not over TCP.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "No such object, or it has no override.", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "No override can be cleared now.", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn delete_backend<C: ControlPlane>(
    State(shared): State<Arc<Shared<C>>>,
    Names((pool, backend)): Names<(String, String)>,
) -> Result<Response, Problem> {
    clear(&shared, OverrideTarget::Backend { pool, backend }).await
}

fn read<C: ControlPlane>(shared: &Shared<C>, target: &OverrideTarget) -> Result<Response, Problem> {
    let id = target.id();
    match shared.control.overrides().into_iter().find(|one| one.id == id) {
        Some(one) => json(&one),
        None => Err(missing(shared, target)),
    }
}

async fn put<C: ControlPlane>(
    shared: &Shared<C>,
    target: OverrideTarget,
    request: Request,
) -> Result<Response, Problem> {
    objects::known(&shared.control.document(), &target)?;
    let origin = request.extensions().get::<Origin>().copied();
    let wish = wish(body::json(request).await?, origin, SystemTime::now())?;
    let done = shared.control.set_override(target, wish).await?;
    let mut response = json(&done.set)?;
    *response.status_mut() = if done.is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(response)
}

async fn clear<C: ControlPlane>(shared: &Shared<C>, target: OverrideTarget) -> Result<Response, Problem> {
    // An override outlives its object, so what the document no longer knows can be cleared as well.
    if shared.control.clear_override(target.clone()).await? {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(missing(shared, &target))
    }
}

/// No such object, or an object without override.
fn missing<C: ControlPlane>(shared: &Shared<C>, target: &OverrideTarget) -> Problem {
    let id = target.id();
    objects::known(&shared.control.document(), target)
        .err()
        .unwrap_or_else(|| Problem::new(Slug::NotFound, format!("`{id}` has no override")))
}

/// What the request asks for, with its author and its end made out.
fn wish(request: OverrideRequest, origin: Option<Origin>, now: SystemTime) -> Result<OverrideWish, Problem> {
    let OverrideRequest { state, reason, author, until, lasting } = request;
    let until = match (until, lasting) {
        (Some(_), Some(_)) => return Err(Problem::invalid_field("for", "not together with `until`")),
        (until, None) => until.map(|Timestamp(at)| at),
        (None, Some(text)) => {
            Some(now + duration(&text).map_err(|words| Problem::invalid_field("for", words))?)
        }
    };
    let author = match (author, origin) {
        (Some(author), _) => author,
        (None, Some(Origin::Unix { uid, .. })) => format!("uid {uid}"),
        (None, Some(Origin::Tcp) | None) => "unknown".to_owned(),
    };
    Ok(OverrideWish { state, author, reason, until })
}

/// `90s`, `10m`, `2h`, `7d`: one second to [`LASTING_MAX`].
fn duration(text: &str) -> Result<Duration, String> {
    let expected = || {
        format!(
            "found `{}`, expected a time like `90s`, `10m`, `2h` or `7d`, at most 366 days",
            text.escape_debug()
        )
    };
    let unit = text.chars().last().ok_or_else(expected)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(expected()),
    };
    let digits = text.strip_suffix(unit).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let number =
        digits.and_then(|digits| digits.parse::<u64>().ok()).and_then(|number| number.checked_mul(seconds));
    let lasting = number.map(Duration::from_secs).ok_or_else(expected)?;
    if lasting.is_zero() || lasting > LASTING_MAX { Err(expected()) } else { Ok(lasting) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_one_number_and_one_unit() {
        for (text, seconds) in
            [("90s", 90), ("10m", 600), ("2h", 7_200), ("7d", 604_800), ("366d", 31_622_400)]
        {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in [
            "",
            "s",
            "0s",
            "10",
            "-1s",
            "1.5h",
            "1h30m",
            "367d",
            "99999999999999999999s",
            "18446744073709551615d",
            "1\u{e9}",
            "+1s",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
