// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What an answer says when it is not the answer: RFC 9457.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Body of every answer that is an error, as `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProblemDetails {
    /// `urn:weir:problem:` and the slug of a closed list.
    #[serde(rename = "type")]
    pub kind: String,
    /// The slug in words.
    pub title: String,
    /// Status of the answer.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// Id of the request, as in the log and in the header `X-Request-Id`.
    #[serde(default)]
    pub instance: String,
    /// What is wrong with the document or with the fields of the request, one each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

impl ProblemDetails {
    /// The last part of the type.
    pub fn slug(&self) -> &str {
        self.kind.rsplit(':').next().unwrap_or(&self.kind)
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// Which field, `pools.web.backends.b3.address`; empty for the whole.
    pub path: String,
    /// The file, for an error in a document, as the appliance was told its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line in the document's text, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Character in the line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
    /// What was found and what is allowed.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}
