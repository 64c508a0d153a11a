// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Routes of the speaker: all of it, and the prefixes of one peer a page at a time.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::{Names, Shared, json};
use crate::control::{ControlPlane, Page};
use crate::error::Problem;
use crate::objects as object;
use crate::v1::{AdvertisedRouteList, Bgp, ProblemDetails, ReceivedRouteList};

/// Prefixes on a page when the request does not say.
const LIMIT_DEFAULT: usize = 1_000;
/// Most prefixes on a page: about 2 MB.
const LIMIT_MAX: usize = 10_000;

/// The BGP speaker and all its sessions.
#[utoipa::path(get, path = "/v1/bgp", tag = "objects", responses(
    (status = 200, description = "The speaker.", body = Bgp),
    (status = 503, description = "No state can be given now.", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn bgp<C: ControlPlane>(State(shared): State<Arc<Shared<C>>>) -> Result<Response, Problem> {
    json(&object::bgp(&shared.control.view().await?))
}

/// What a peer was told, a page at a time (Adj-RIB-Out).
#[utoipa::path(get, path = "/v1/peers/{peer}/adj-rib-out", tag = "objects",
    params(
        ("peer" = String, Path, description = "Name of the peer."),
        ("limit" = Option<usize>, Query, description = "Most prefixes on the page, 1 to 10000. Left out: 1000."),
        ("cursor" = Option<String>, Query, description = "Where the page begins: `next` of the page before. Left out: at the beginning."),
    ),
    responses(
        (status = 200, description = "The page.", body = AdvertisedRouteList),
        (status = 404, description = "No peer has this name.", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 422, description = "The limit or the cursor is not allowed.", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "No state can be given now.", body = ProblemDetails, content_type = "application/problem+json"),
    ))]
pub(crate) async fn adj_rib_out<C: ControlPlane>(
    State(shared): State<Arc<Shared<C>>>,
    Names(name): Names<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let page = page(query.as_deref().unwrap_or_default())?;
    match shared.control.advertised(&name, page) {
        Some(list) => json(&list),
        None => Err(object::unknown_peer(&shared.control.view().await?, &name)),
    }
}

/// What a peer told us, a page at a time (Adj-RIB-In).
#[utoipa::path(get, path = "/v1/peers/{peer}/adj-rib-in", tag = "objects",
    params(
        ("peer" = String, Path, description = "Name of the peer."),
        ("limit" = Option<usize>, Query, description = "Most prefixes on the page, 1 to 10000. Left out: 1000."),
        ("cursor" = Option<String>, Query, description = "Where the page begins: `next` of the page before. Left out: at the beginning."),
    ),
    responses(
        (status = 200, description = "The page.", body = ReceivedRouteList),
        (status = 404, description = "No peer has this name.", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 422, description = "The limit or the cursor is not allowed.", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "No state can be given now.", body = ProblemDetails, content_type = "application/problem+json"),
    ))]
pub(crate) async fn adj_rib_in<C: ControlPlane>(
    State(shared): State<Arc<Shared<C>>>,
    Names(name): Names<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let page = page(query.as_deref().unwrap_or_default())?;
    match shared.control.received(&name, page) {
        Some(list) => json(&list),
        None => Err(object::unknown_peer(&shared.control.view().await?, &name)),
    }
}

/// `limit=…&cursor=ADDRESS/LENGTH`. The slash and the colons of a prefix may come escaped.
fn page(query: &str) -> Result<Page, Problem> {
    let mut page = Page { after: None, limit: LIMIT_DEFAULT };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        match key {
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
                page.limit = limit.ok_or_else(|| {
                    let words = format!("found `{}`, expected 1 to {LIMIT_MAX}", value.escape_debug());
                    Problem::invalid_field("limit", words)
                })?;
            }
            "cursor" => page.after = cursor(value)?,
            _ => {
                let words =
                    format!("unknown parameter `{}`, expected `limit` or `cursor`", key.escape_debug());
                return Err(Problem::invalid_field(&key.escape_debug().to_string(), words));
            }
        }
    }
    Ok(page)
}

/// An empty cursor is the beginning.
fn cursor(text: &str) -> Result<Option<(IpAddr, u8)>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let plain = text.replace("%2F", "/").replace("%2f", "/").replace("%3A", ":").replace("%3a", ":");
    let parsed = plain.split_once('/').and_then(|(address, length)| {
        let address: IpAddr = address.parse().ok()?;
        let length: u8 = length.parse().ok()?;
        (length <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, length))
    });
    parsed.map(Some).ok_or_else(|| {
        let words = format!("found `{}`, expected `next` of the page before", text.escape_debug());
        Problem::invalid_field("cursor", words)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Slug;

    #[test]
    fn pages_have_a_limit_and_a_place() {
        let after = |text: &str| page(text).expect(text).after;
        assert_eq!(page("").expect("all"), Page { after: None, limit: 1_000 });
        assert_eq!(page("limit=10&cursor=").expect("ten"), Page { after: None, limit: 10 });
        assert_eq!(after("cursor=192.0.2.1/32"), Some(("192.0.2.1".parse().expect("one"), 32)));
        assert_eq!(after("cursor=2001%3Adb8%3A%3A%2f32"), Some(("2001:db8::".parse().expect("one"), 32)));
        for (bad, path) in [
            ("limit=0", "limit"),
            ("limit=10001", "limit"),
            ("limit=-1", "limit"),
            ("limit", "limit"),
            ("cursor=192.0.2.1", "cursor"),
            ("cursor=192.0.2.1/33", "cursor"),
            ("cursor=::/129", "cursor"),
            ("cursor=x/1", "cursor"),
            ("offset=7", "offset"),
        ] {
            let problem = page(bad).expect_err(bad);
            assert_eq!((problem.slug, problem.errors[0].path.as_str()), (Slug::InvalidField, path), "{bad}");
        }
    }
}
