// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The route of events.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use super::Shared;
use crate::control::ControlPlane;
use crate::error::{Problem, Slug};
use crate::stream::{Progress, Seat, Start, WATCHERS_MAX, stream};
use crate::v1::{EventKind, ProblemDetails};

/// The header in which a reader that connects again names the last event it has.
const LAST_EVENT_ID: &str = "last-event-id";

/// What asks for all events that are kept, in place of an id.
const OLDEST: &str = "oldest";

/// What happens, as it happens: server-sent events, each with one JSON object of the schema `Event` as its data.
///
/// Ids are `<boot>-<number>`. With `since` or `Last-Event-ID` the stream goes on after that event; when it is not known here
/// (too old, or of another start of the process) the first event is `resync`, and the reader has to read the state anew. A
/// reader that is too slow gets `overflow` and the stream ends. After 15 s without an event a comment is sent.
#[utoipa::path(get, path = "/v1/events", tag = "events",
    params(
        ("since" = Option<String>, Query, description = "Id of the last event that the reader has, or `oldest` for all that are kept."),
        ("kinds" = Option<String>, Query, description = "Kinds to tell, separated by commas: backend, vip, peer, document, override. Left out: all."),
        ("Last-Event-ID" = Option<String>, Header, description = "As `since`, which comes first."),
    ),
    responses(
        (status = 200, description = "The stream; it ends only when the reader is too slow or the appliance stops.", body = String, content_type = "text/event-stream"),
        (status = 422, description = "An unknown kind or parameter.", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Too many readers.", body = ProblemDetails, content_type = "application/problem+json"),
    ))]
pub(crate) async fn events<C: ControlPlane>(
    State(shared): State<Arc<Shared<C>>>,
    RawQuery(query): RawQuery,
    progress: Option<Extension<Progress>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Query { since, kinds } = Query::parse(query.as_deref().unwrap_or_default())?;
    let last = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()).map(str::to_owned);
    let log = Arc::clone(shared.control.events());
    let start = match since.or(last) {
        None => Start::After(*log.subscribe().borrow()),
        Some(id) if id == OLDEST => Start::After(log.oldest()),
        Some(id) => log.resume(&id).map_or(Start::Resync, Start::After),
    };
    let seat = Seat::take(&shared.stats).ok_or_else(|| {
        Problem::new(Slug::TooManyWatchers, format!("{WATCHERS_MAX} readers follow the events already"))
    })?;
    let progress = progress.map(|Extension(progress)| progress).unwrap_or_default();
    let frames = stream(log, start, kinds, shared.stopping.clone(), progress, seat);
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, Body::from_stream(frames)).into_response())
}

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Query {
    since: Option<String>,
    /// Empty for all.
    kinds: BTreeSet<EventKind>,
}

impl Query {
    /// `since=…&kinds=a,b`. Ids and kinds need no escapes, but commas may come as `%2C`.
    fn parse(text: &str) -> Result<Self, Problem> {
        let mut query = Self::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = value.replace("%2C", ",").replace("%2c", ",");
            match key {
                "since" if value.is_empty() => {}
                "since" => query.since = Some(value),
                "kinds" => {
                    for word in value.split(',').filter(|word| !word.is_empty()) {
                        query.kinds.insert(kind(word)?);
                    }
                }
                _ => {
                    let words =
                        format!("unknown parameter `{}`, expected `since` or `kinds`", key.escape_debug());
                    return Err(Problem::invalid_field(&key.escape_debug().to_string(), words));
                }
            }
        }
        Ok(query)
    }
}

fn kind(word: &str) -> Result<EventKind, Problem> {
    EventKind::ALL.into_iter().find(|kind| kind.name() == word).ok_or_else(|| {
        let known: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.name()).collect();
        let words = format!("unknown kind `{}`, expected {}", word.escape_debug(), known.join(", "));
        Problem::invalid_field("kinds", words)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_name_kinds_and_a_place() {
        assert_eq!(Query::parse("").expect("all"), Query::default());
        let query = Query::parse("since=5f-17&kinds=vip%2Cpeer,backend&").expect("good");
        assert_eq!(query.since.as_deref(), Some("5f-17"));
        assert_eq!(query.kinds, [EventKind::Backend, EventKind::Vip, EventKind::Peer].into());
        for (bad, path) in [("kinds=vip,vips", "kinds"), ("kinds=resync", "kinds"), ("sinse=1", "sinse")] {
            let problem = Query::parse(bad).expect_err(bad);
            assert_eq!((problem.slug, problem.errors[0].path.as_str()), (Slug::InvalidField, path));
        }
    }
}
