// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What an HTTP check asks and what it wants to hear.

use std::ops::RangeInclusive;

use crate::error::CheckSpecError;

/// Method of an HTTP check: those that change nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// `GET`.
    #[default]
    Get,
    /// `HEAD`; the answer has no body.
    Head,
    /// `OPTIONS`.
    Options,
}

impl Method {
    /// As it is sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
        }
    }
}

/// A set of HTTP statuses, 100 to 599.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusSet {
    /// Sorted, neither touching nor overlapping.
    ranges: Vec<(u16, u16)>,
}

impl StatusSet {
    /// A set from ranges, which may overlap; refused if there is none, or if one is empty or leaves 100 to 599.
    pub fn new(ranges: impl IntoIterator<Item = RangeInclusive<u16>>) -> Result<Self, CheckSpecError> {
        let mut sorted = Vec::new();
        for range in ranges {
            if range.is_empty() || *range.start() < 100 || *range.end() > 599 {
                return Err(CheckSpecError::BadStatusSet);
            }
            sorted.push((*range.start(), *range.end()));
        }
        sorted.sort_unstable();
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for (start, end) in sorted {
            match ranges.last_mut() {
                Some(last) if start <= last.1 + 1 => last.1 = last.1.max(end),
                Some(_) | None => ranges.push((start, end)),
            }
        }
        if ranges.is_empty() { Err(CheckSpecError::BadStatusSet) } else { Ok(Self { ranges }) }
    }

    /// Whether a status is in the set.
    pub fn contains(&self, status: u16) -> bool {
        self.ranges.iter().any(|&(start, end)| (start..=end).contains(&status))
    }
}

impl Default for StatusSet {
    /// 200 to 299. A redirect is not followed, and is no success.
    fn default() -> Self {
        Self { ranges: vec![(200, 299)] }
    }
}

/// One HTTP request and what its answer must be; valid by construction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    request: Vec<u8>,
    expected: StatusSet,
    body: Option<Vec<u8>>,
}

impl HttpCheck {
    /// Longest path with its query.
    pub const PATH_MAX: usize = 2_048;
    /// Longest host.
    pub const HOST_MAX: usize = 255;
    /// Longest text to look for in the body.
    pub const BODY_TEXT_MAX: usize = 256;

    /// A check; `body`, where given, must occur in the first 64 KiB of the decoded body.
    pub fn new(
        method: Method,
        path: &str,
        host: &str,
        expected: StatusSet,
        body: Option<Vec<u8>>,
    ) -> Result<Self, CheckSpecError> {
        // Visible ASCII only: nothing can end the line early or add a header.
        let is_visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if !path.starts_with('/') || path.len() > Self::PATH_MAX || !is_visible(path) {
            return Err(CheckSpecError::BadPath { max: Self::PATH_MAX });
        }
        if host.is_empty() || host.len() > Self::HOST_MAX || !is_visible(host) {
            return Err(CheckSpecError::BadHost { max: Self::HOST_MAX });
        }
        if let Some(text) = &body {
            if text.is_empty() || text.len() > Self::BODY_TEXT_MAX {
                return Err(CheckSpecError::BadBody { max: Self::BODY_TEXT_MAX });
            }
            if method == Method::Head {
                return Err(CheckSpecError::BodyOfHead);
            }
        }
        let method = method.as_str();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: weir-health\r\nAccept: */*\r\n\
             Accept-Encoding: identity\r\nConnection: close\r\n\r\n"
        );
        Ok(Self { request: request.into_bytes(), expected, body })
    }

    /// The whole request as it is sent.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Statuses that are a success.
    pub const fn expected(&self) -> &StatusSet {
        &self.expected
    }

    /// Text that the body must hold.
    pub fn body(&self) -> Option<&[u8]> {
        self.body.as_deref()
    }
}
