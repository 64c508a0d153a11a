// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Errors on the wire: RFC 9457 problem details with a closed list of slugs.
//!
//! A handler answers with a [`Problem`]; the outermost layer writes it down, since only that knows the request's id. So
//! no error leaves in another form, whoever made it.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::control::{OverrideRefused, ReloadRefused, Unavailable};
use crate::v1::{FieldError, ProblemDetails};

/// The media type of a problem.
pub const PROBLEM_TYPE: &str = "application/problem+json";

macro_rules! slugs {
    ($($variant:ident = $name:literal $status:ident $title:literal;)*) => {
        /// What went wrong, as a caller can act on it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Slug {
            $(#[doc = $title] $variant,)*
        }

        impl Slug {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The last part of the problem's `type`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The HTTP status that goes with it.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }

            /// The slug in words.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

slugs! {
    NotJson = "not-json" BAD_REQUEST "the body is not JSON";
    BadRequest = "bad-request" BAD_REQUEST "the request cannot be understood";
    Forbidden = "forbidden" FORBIDDEN "not allowed here";
    NotFound = "not-found" NOT_FOUND "no such resource";
    MethodNotAllowed = "method-not-allowed" METHOD_NOT_ALLOWED "method not allowed on this resource";
    BodyTimeout = "body-timeout" REQUEST_TIMEOUT "the body took too long";
    NeedsRestart = "needs-restart" CONFLICT "the change needs a restart";
    TooManyOverrides = "too-many-overrides" CONFLICT "no room for another override";
    BodyTooLarge = "body-too-large" PAYLOAD_TOO_LARGE "the body is too large";
    UnsupportedMediaType = "unsupported-media-type" UNSUPPORTED_MEDIA_TYPE "the body is of a type that is not read";
    InvalidField = "invalid-field" UNPROCESSABLE_ENTITY "a value is not allowed";
    InvalidDocument = "invalid-document" UNPROCESSABLE_ENTITY "the document is not valid";
    Timeout = "timeout" SERVICE_UNAVAILABLE "the request took too long";
    TooManyRequests = "too-many-requests" SERVICE_UNAVAILABLE "too many requests are waiting";
    TooManyWatchers = "too-many-watchers" SERVICE_UNAVAILABLE "too many readers follow the events";
    Starting = "starting" SERVICE_UNAVAILABLE "the appliance is starting";
    Stopped = "stopped" SERVICE_UNAVAILABLE "the appliance is stopping";
    Internal = "internal" INTERNAL_SERVER_ERROR "internal error";
}

/// One problem, answered as `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which one.
    pub slug: Slug,
    /// What happened this time.
    pub detail: String,
    /// What is wrong with fields of the request or with the document.
    pub errors: Vec<FieldError>,
}

impl Problem {
    /// A problem of kind `slug` with the words of this occurrence.
    pub fn new(slug: Slug, detail: impl Into<String>) -> Self {
        Self { slug, detail: detail.into(), errors: Vec::new() }
    }

    /// A value that is not allowed.
    pub fn invalid_field(path: &str, message: impl Into<String>) -> Self {
        FieldError {
            path: path.to_owned(),
            file: None,
            line: None,
            column: None,
            message: message.into(),
            hint: None,
        }
        .into()
    }

    /// The problem as the answer to the request with this id; headers of `response`, such as `Allow`, stay.
    pub(crate) fn write(self, instance: &str, response: &mut Response) {
        let status = self.slug.status();
        let details = ProblemDetails {
            kind: format!("urn:weir:problem:{}", self.slug.name()),
            title: self.slug.title().to_owned(),
            status: status.as_u16(),
            detail: self.detail,
            instance: instance.to_owned(),
            errors: self.errors,
        };
        // Strings and numbers in a struct can always be written as JSON.
        let body = serde_json::to_vec(&details).unwrap_or_default();
        *response.status_mut() = status;
        *response.body_mut() = body.into();
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_TYPE));
    }
}

impl From<FieldError> for Problem {
    fn from(error: FieldError) -> Self {
        let detail = if error.path.is_empty() {
            error.message.clone()
        } else {
            format!("{}: {}", error.path, error.message)
        };
        Self { errors: vec![error], ..Self::new(Slug::InvalidField, detail) }
    }
}

impl From<Unavailable> for Problem {
    fn from(error: Unavailable) -> Self {
        let slug = match error {
            Unavailable::Busy => Slug::TooManyRequests,
            Unavailable::Starting => Slug::Starting,
            Unavailable::Stopped => Slug::Stopped,
        };
        Self::new(slug, error.to_string())
    }
}

impl From<OverrideRefused> for Problem {
    fn from(refused: OverrideRefused) -> Self {
        let detail = refused.to_string();
        match refused {
            OverrideRefused::Invalid(error) => error.into(),
            OverrideRefused::TooMany { .. } => Self::new(Slug::TooManyOverrides, detail),
            OverrideRefused::Unavailable(error) => error.into(),
        }
    }
}

impl From<ReloadRefused> for Problem {
    fn from(refused: ReloadRefused) -> Self {
        let detail = refused.to_string();
        match refused {
            ReloadRefused::Invalid { errors } => Self { errors, ..Self::new(Slug::InvalidDocument, detail) },
            ReloadRefused::NeedsRestart { .. } => Self::new(Slug::NeedsRestart, detail),
            ReloadRefused::Unavailable(error) => error.into(),
        }
    }
}

impl IntoResponse for Problem {
    /// Only the status and the problem itself, for the outermost layer to write down.
    fn into_response(self) -> Response {
        let mut response = self.slug.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn slugs_are_distinct_and_errors() {
        let names: BTreeSet<_> = Slug::ALL.iter().map(|slug| slug.name()).collect();
        assert_eq!(names.len(), Slug::ALL.len());
        for slug in Slug::ALL {
            assert!(slug.status().is_client_error() || slug.status().is_server_error(), "{slug:?}");
            assert!(slug.name().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{slug:?}");
        }
    }
}
