// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Log lines: text for people, JSON lines for machines, always to standard error.
//!
//! The level comes from `bootstrap.log.level`; the environment variable `WEIR_LOG` (a filter like
//! `info,weir_bgp=debug`) wins over it, so that one run can be looked into without touching the document.

use std::env;
use std::io::{self, IsTerminal};

use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::model::{Log, LogFormat, LogLevel};

/// Environment variable whose filter replaces the document's level.
pub const FILTER_VARIABLE: &str = "WEIR_LOG";

/// Why logging could not be set up.
#[derive(Debug, Error)]
pub enum LoggingError {
    /// The environment variable holds no filter.
    #[error("read the filter in {FILTER_VARIABLE}")]
    Filter(#[source] ParseError),
    /// Logging was set up before.
    #[error("install the log subscriber")]
    Install(#[source] TryInitError),
}

/// Sets up logging for the life of the process; once.
pub fn install(log: Log) -> Result<(), LoggingError> {
    let wanted = env::var(FILTER_VARIABLE).ok();
    let filter = filter(log.level, wanted.as_deref()).map_err(LoggingError::Filter)?;
    let is_terminal = io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let installed = if wants_json(log.format, is_terminal) {
        builder.json().flatten_event(true).with_current_span(false).finish().try_init()
    } else {
        builder.compact().with_ansi(is_terminal && env::var_os("NO_COLOR").is_none()).finish().try_init()
    };
    installed.map_err(LoggingError::Install)
}

fn filter(level: LogLevel, wanted: Option<&str>) -> Result<EnvFilter, ParseError> {
    let level = match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    match wanted {
        Some(text) if !text.trim().is_empty() => EnvFilter::try_new(text),
        // The netlink library warns at length of sockets that close while it waits, which they do at every stop.
        Some(_) | None => EnvFilter::try_new(format!("{level},netlink_proto=error")),
    }
}

fn wants_json(format: LogFormat, is_terminal: bool) -> bool {
    match format {
        LogFormat::Auto => !is_terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_wins_over_the_document() {
        assert_eq!(filter(LogLevel::Info, None).unwrap().to_string(), "netlink_proto=error,info");
        assert_eq!(filter(LogLevel::Info, Some(" ")).unwrap().to_string(), "netlink_proto=error,info");
        assert_eq!(filter(LogLevel::Info, Some("weir_bgp=trace")).unwrap().to_string(), "weir_bgp=trace");
        assert!(filter(LogLevel::Info, Some("weir_bgp=loud")).is_err());
    }

    #[test]
    fn machines_get_json_and_people_get_text() {
        assert!(wants_json(LogFormat::Auto, false));
        assert!(!wants_json(LogFormat::Auto, true));
        assert!(!wants_json(LogFormat::Text, false));
        assert!(wants_json(LogFormat::Json, true));
    }
}
