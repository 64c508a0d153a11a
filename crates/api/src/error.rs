// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Errors on the wire: RFC 9457 problem details with a closed list of slugs.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::control::Unavailable;

/// What went wrong, as a caller can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slug {
    /// No such resource.
    NotFound,
    /// The resource exists, the method does not.
    MethodNotAllowed,
    /// The answer took longer than a request may take.
    Timeout,
    /// Too many requests wait.
    TooManyRequests,
    /// The part that answers is not up yet.
    Starting,
    /// The appliance is going down, or a part of it has ended.
    Stopped,
    /// The answer could not be written down; a bug.
    Internal,
}

impl Slug {
    /// The last part of the problem's `type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::Timeout => "timeout",
            Self::TooManyRequests => "too-many-requests",
            Self::Starting => "starting",
            Self::Stopped => "stopped",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status that goes with it.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Timeout | Self::TooManyRequests | Self::Starting | Self::Stopped => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::NotFound => "no such resource",
            Self::MethodNotAllowed => "method not allowed on this resource",
            Self::Timeout => "the request took too long",
            Self::TooManyRequests => "too many requests are waiting",
            Self::Starting => "the appliance is starting",
            Self::Stopped => "the appliance is stopping",
            Self::Internal => "internal error",
        }
    }
}

/// One problem, answered as `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which one.
    pub slug: Slug,
    /// What happened this time.
    pub detail: String,
}

impl Problem {
    /// A problem of kind `slug` with the words of this occurrence.
    pub fn new(slug: Slug, detail: impl Into<String>) -> Self {
        Self { slug, detail: detail.into() }
    }
}

impl From<Unavailable> for Problem {
    fn from(error: Unavailable) -> Self {
        let slug = match error {
            Unavailable::Busy => Slug::TooManyRequests,
            Unavailable::Stopped => Slug::Stopped,
            Unavailable::Starting => Slug::Starting,
        };
        Self::new(slug, error.to_string())
    }
}

#[derive(Serialize)]
struct Body {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: String,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.slug.status();
        let body = Body {
            kind: format!("urn:weir:problem:{}", self.slug.name()),
            title: self.slug.title(),
            status: status.as_u16(),
            detail: self.detail,
        };
        let mut response = (status, Json(body)).into_response();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}
