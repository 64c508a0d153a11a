// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reading a JSON body: bounded in bytes and time, and with the path of the field that is wrong.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;

use crate::error::{Problem, Slug};

/// Most bytes of a body. No request of this version needs a hundredth of it.
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024;
/// Longest time a client may take for a body.
const BODY_TIME_MAX: Duration = Duration::from_secs(3);

impl Problem {
    pub(crate) fn body_too_large() -> Self {
        Self::new(Slug::BodyTooLarge, format!("a body may hold {BODY_BYTES_MAX} bytes at most"))
    }
}

/// The body of a request as a `T`.
pub(crate) async fn json<T: DeserializeOwned>(request: Request) -> Result<T, Problem> {
    let (head, body) = request.into_parts();
    check_type(&head.headers)?;
    let bytes = bytes(body).await?;
    parse(&bytes)
}

/// JSON by its name, or no name at all.
fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let kind = kind.to_str().unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::new(Slug::UnsupportedMediaType, format!("found `{kind}`, expected `application/json`")))
}

async fn bytes(body: Body) -> Result<Vec<u8>, Problem> {
    let reading = Limited::new(body, BODY_BYTES_MAX).collect();
    match tokio::time::timeout(BODY_TIME_MAX, reading).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes().to_vec()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::body_too_large()),
        Ok(Err(error)) => Err(Problem::new(Slug::BadRequest, format!("the body was not read: {error}"))),
        Err(_elapsed) => {
            let words = format!("the body did not come within {} s", BODY_TIME_MAX.as_secs());
            Err(Problem::new(Slug::BodyTimeout, words))
        }
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // The library would take an array for the fields in their order, which nobody is promised.
    if bytes.trim_ascii_start().starts_with(b"[") {
        serde_json::from_slice::<IgnoredAny>(bytes)
            .map_err(|error| Problem::new(Slug::NotJson, error.to_string()))?;
        return Err(Problem::invalid_field("", "found an array, expected an object"));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let cause = error.into_inner();
        match cause.classify() {
            Category::Data => Problem::invalid_field(if path == "." { "" } else { &path }, words(&cause)),
            Category::Syntax | Category::Eof | Category::Io => Problem::new(Slug::NotJson, cause.to_string()),
        }
    })?;
    reader.end().map_err(|error| Problem::new(Slug::NotJson, error.to_string()))?;
    Ok(value)
}

/// The error without its place in the text, which says nothing to somebody who wrote a field.
fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(words, _place)| words.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::OverrideRequest;

    #[test]
    fn errors_name_the_field() {
        for (body, slug, path, words) in [
            (r#"{"state":"drain""#, Slug::NotJson, None, "EOF while parsing an object at line 1 column 16"),
            ("", Slug::NotJson, None, "EOF while parsing a value at line 1 column 0"),
            (r#"{"state":"drain"} x"#, Slug::NotJson, None, "trailing characters at line 1 column 19"),
            ("[]", Slug::InvalidField, Some(""), "found an array, expected an object"),
            (
                r#" ["drain","why","who",null,null]"#,
                Slug::InvalidField,
                Some(""),
                "found an array, expected an object",
            ),
            ("[", Slug::NotJson, None, "EOF while parsing a list at line 1 column 1"),
            ("{}", Slug::InvalidField, Some(""), "missing field `state`"),
            (
                r#"{"state":"off"}"#,
                Slug::InvalidField,
                Some("state"),
                "state: unknown variant `off`, expected one of `drain`, `disable`, `withhold`",
            ),
            (
                r#"{"state":"drain","who":1}"#,
                Slug::InvalidField,
                Some("who"),
                "who: unknown field `who`, expected one of `state`, `reason`, `author`, `until`, `for`",
            ),
            (
                r#"{"state":"drain","until":"soon"}"#,
                Slug::InvalidField,
                Some("until"),
                "until: expected a time like `2026-03-01T12:00:00Z` (RFC 3339)",
            ),
            (
                r#"{"state":"drain","reason":7}"#,
                Slug::InvalidField,
                Some("reason"),
                "reason: invalid type: integer `7`, expected a string",
            ),
        ] {
            let problem = parse::<OverrideRequest>(body.as_bytes()).expect_err(body);
            assert_eq!(problem.slug, slug, "{body}");
            assert_eq!(problem.errors.first().map(|error| error.path.as_str()), path, "{body}");
            assert_eq!(problem.detail, words, "{body}");
        }
        parse::<OverrideRequest>(br#" {"state":"drain"} "#).expect("good");
    }
}
