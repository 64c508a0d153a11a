// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A command that failed, in three lines: what, why, what to do; the slug at the end is what one searches for.
//!
//! ```text
//! weir: cannot drain `web/b9`
//!   why: pool `web` has no backend `b9`
//!   do: `weir show backends` lists what there is [not-found]
//! ```

use std::fmt;

use serde::Deserialize;

use super::Exit;
use super::output::plain;
use super::table::broken;

/// Single errors of a refused request that are listed.
const ERRORS_SHOWN_MAX: usize = 100;

/// Why a command ended without its effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// What did not happen.
    pub(super) what: String,
    /// Why, one line a cause.
    pub(super) why: Vec<String>,
    /// What the operator can do.
    pub(super) remedy: String,
    /// The word to search for.
    pub(super) slug: String,
    /// How the command ends.
    pub(super) exit: Exit,
    /// The API's answer, which is the output when JSON was asked for.
    pub(super) body: Option<Box<[u8]>>,
}

impl Failure {
    /// Whether the same question may well be answered a moment later: nobody is there, or the daemon starts, stops or is busy.
    pub(super) fn is_passing(&self) -> bool {
        const PASSING: [&str; 4] = ["starting", "stopped", "timeout", "too-many-requests"];
        self.exit == Exit::Unreachable || PASSING.contains(&self.slug.as_str())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "weir: {}", plain(&self.what))?;
        for why in &self.why {
            writeln!(f, "  why: {}", plain(why))?;
        }
        write!(f, "  do: {} [{}]", broken(&self.remedy, None).join(" "), plain(&self.slug))
    }
}

impl std::error::Error for Failure {}

/// The parts of problem details (RFC 9457) that the command line reads. Whatever is missing is empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ProblemBody {
    #[serde(rename = "type")]
    kind: String,
    title: String,
    detail: String,
    /// The single errors of a refused document or value.
    pub(super) errors: Vec<ErrorBody>,
}

/// One error of a refused document or value.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ErrorBody {
    /// Where in the document's tree.
    pub(super) path: String,
    /// The file it is in.
    pub(super) file: Option<String>,
    /// Line, from 1.
    pub(super) line: Option<usize>,
    /// Column, from 1.
    pub(super) column: Option<usize>,
    /// What was found and what is allowed.
    pub(super) message: String,
    /// What to do.
    pub(super) hint: Option<String>,
}

impl ProblemBody {
    /// Reads an answer; one that is not problem details gives an empty one.
    pub(super) fn read(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }

    /// The last part of the problem's type.
    pub(super) fn slug(&self) -> &str {
        self.kind.strip_prefix("urn:weir:problem:").unwrap_or_default()
    }
}

/// What the API's answer `status` with `body` to the wish `what` means.
pub(super) fn refused(what: &str, status: u16, body: Vec<u8>) -> Failure {
    let problem = ProblemBody::read(&body);
    let slug = match problem.slug() {
        "" => format!("http-{status}"),
        slug => slug.to_owned(),
    };
    let mut why = vec![match (problem.detail.is_empty(), problem.title.is_empty()) {
        (false, _) => problem.detail.clone(),
        (true, false) => problem.title.clone(),
        (true, true) => format!("the daemon answered {status} without words"),
    }];
    for error in problem.errors.iter().take(ERRORS_SHOWN_MAX) {
        let line = match error.path.as_str() {
            "" => error.message.clone(),
            path => format!("{path}: {}", error.message),
        };
        // A single error is the detail already.
        if !why.contains(&line) {
            why.push(line);
        }
    }
    let hint = problem.errors.iter().find_map(|error| error.hint.clone());
    Failure {
        what: what.to_owned(),
        why,
        remedy: remedy(&slug, status, hint),
        exit: exit(&slug, status),
        slug,
        body: Some(body.into()),
    }
}

fn exit(slug: &str, status: u16) -> Exit {
    match (slug, status) {
        (slug, _) if slug.starts_with("would-") => Exit::WouldDisrupt,
        (_, 404) => Exit::NotFound,
        (_, 409 | 412 | 428) => Exit::Conflict,
        _ => Exit::Failed,
    }
}

fn remedy(slug: &str, status: u16, hint: Option<String>) -> String {
    if let Some(hint) = hint {
        return hint;
    }
    match (slug, status) {
        ("needs-restart", _) => "restart the daemon (`systemctl restart weir`); flows go on meanwhile",
        ("forbidden", _) => "change things over the unix socket: --server unix:/run/weir/api.sock",
        ("body-too-large", _) => "send less: names and reasons have limits",
        ("method-not-allowed" | "unsupported-media-type" | "not-acceptable", _) => {
            "use the `weir` of the daemon's version: `weir show appliance` names it"
        }
        (slug, _) if slug.starts_with("would-") => "run it again with --yes if that is wanted",
        (_, 404) => "`weir status` and `weir show` list what there is",
        (_, 409 | 412 | 428) => "look at it again with `weir show`, then repeat",
        (_, 503) => "try again in a moment; `weir status` and the daemon's log say more",
        (_, 500..) => "this is a bug: the daemon's log has the request",
        (_, _) => "mend what is named and run it again",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(status: u16, body: &str) -> Failure {
        refused("cannot drain `web/b9`", status, body.as_bytes().to_vec())
    }

    #[test]
    fn a_problem_is_three_lines_with_its_slug() {
        let failure = failure(
            404,
            r#"{"type":"urn:weir:problem:not-found","title":"no such resource","status":404,
                "detail":"pool `web` has no backend `b9`","instance":"x"}"#,
        );
        assert_eq!(failure.exit, Exit::NotFound);
        assert_eq!(
            failure.to_string(),
            "weir: cannot drain `web/b9`\n  why: pool `web` has no backend `b9`\n  \
             do: `weir status` and `weir show` list what there is [not-found]"
        );
    }

    #[test]
    fn single_errors_are_named_with_their_path_and_hint() {
        let failure = failure(
            422,
            r#"{"type":"urn:weir:problem:invalid-field","detail":"bad value",
                "errors":[{"path":"until","message":"found `x`","hint":"write it like `2026-03-01T12:00:00Z`"}]}"#,
        );
        assert_eq!(failure.exit, Exit::Failed);
        assert_eq!(failure.why, ["bad value", "until: found `x`"]);
        assert_eq!(failure.remedy, "write it like `2026-03-01T12:00:00Z`");
    }

    #[test]
    fn a_single_error_is_said_once() {
        let failure = failure(
            422,
            r#"{"type":"urn:weir:problem:invalid-field","detail":"until: it has passed",
                "errors":[{"path":"until","message":"it has passed"}]}"#,
        );
        assert_eq!(failure.why, ["until: it has passed"]);
    }

    #[test]
    fn every_status_has_its_exit_code() {
        for (status, slug, exit) in [
            (404, "not-found", Exit::NotFound),
            (409, "needs-restart", Exit::Conflict),
            (412, "stale-etag", Exit::Conflict),
            (428, "etag-required", Exit::Conflict),
            (409, "would-withdraw-last", Exit::WouldDisrupt),
            (422, "invalid-field", Exit::Failed),
            (403, "forbidden", Exit::Failed),
            (503, "starting", Exit::Failed),
            (503, "stopped", Exit::Failed),
            (503, "timeout", Exit::Failed),
            (503, "too-many-requests", Exit::Failed),
        ] {
            let body = format!(r#"{{"type":"urn:weir:problem:{slug}","detail":"d"}}"#);
            assert_eq!(failure(status, &body).exit, exit, "{status} {slug}");
            assert_eq!(failure(status, &body).slug, slug);
            assert_eq!(failure(status, &body).is_passing(), status == 503, "{status} {slug}");
        }
    }

    #[test]
    fn an_answer_without_problem_details_is_still_named() {
        let failure = failure(502, "<html>bad gateway</html>");
        assert_eq!(failure.slug, "http-502");
        assert_eq!(failure.why, ["the daemon answered 502 without words"]);
    }
}
