// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Conditions of the appliance as a whole: what is wrong though it works, each with a code, a sentence and since when.
//!
//! Raised and cleared by whoever sees the cause, read by the API. A condition is a state, not an event: raising it again
//! changes its words, not its time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;

/// The document file, as last read, is not valid; an accepted document is in force instead.
pub const DOCUMENT_FILE_BAD: &str = "document-file-bad";
/// A file of the state directory was torn or foreign; it was moved aside.
pub const STATE_FILE_BAD: &str = "state-file-bad";
/// Something could not be written to the state directory; it would not survive a restart.
pub const STATE_NOT_KEPT: &str = "state-not-kept";

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// To be looked at.
    Warning,
    /// What was asked for is not what is.
    Error,
}

/// One condition; its code is its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong, for an operator.
    pub message: String,
    /// When it was raised.
    pub since: SystemTime,
}

impl Severity {
    /// The word in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// The set of conditions, shared by all clones. Codes are constants of the program, so it is bounded by their number.
#[derive(Debug, Clone)]
pub struct Conditions {
    raised: Arc<watch::Sender<Arc<BTreeMap<&'static str, Condition>>>>,
}

impl Conditions {
    /// None raised.
    pub fn new() -> Self {
        Self { raised: Arc::new(watch::Sender::new(Arc::default())) }
    }

    /// Raises a condition, or changes its words. Logged when it is new or reads differently.
    pub fn raise(&self, code: &'static str, severity: Severity, message: impl Into<String>) {
        let message = message.into();
        self.raised.send_if_modified(|raised| {
            let before = raised.get(code);
            if before.is_some_and(|before| before.severity == severity && before.message == message) {
                return false;
            }
            match severity {
                Severity::Warning => tracing::warn!(code, why = message, "condition raised"),
                Severity::Error => tracing::error!(code, why = message, "condition raised"),
            }
            let since = before.map_or_else(SystemTime::now, |before| before.since);
            Arc::make_mut(raised).insert(code, Condition { severity, message, since });
            true
        });
    }

    /// Clears a condition, if it is raised.
    pub fn clear(&self, code: &'static str) {
        self.raised.send_if_modified(|raised| {
            let was_raised = raised.contains_key(code);
            if was_raised {
                Arc::make_mut(raised).remove(code);
                tracing::info!(code, "condition cleared");
            }
            was_raised
        });
    }

    /// What is raised now.
    pub fn raised(&self) -> Arc<BTreeMap<&'static str, Condition>> {
        Arc::clone(&self.raised.borrow())
    }

    /// What is raised, and a wake-up at each change.
    pub fn subscribe(&self) -> watch::Receiver<Arc<BTreeMap<&'static str, Condition>>> {
        self.raised.subscribe()
    }
}

impl Default for Conditions {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raising_again_changes_the_words_and_keeps_the_time() {
        let conditions = Conditions::new();
        let mut seen = conditions.subscribe();
        conditions.raise(STATE_NOT_KEPT, Severity::Error, "disk full");
        let since = conditions.raised()[STATE_NOT_KEPT].since;
        assert!(seen.has_changed().unwrap());
        seen.mark_unchanged();
        conditions.raise(STATE_NOT_KEPT, Severity::Error, "disk full");
        assert!(!seen.has_changed().unwrap(), "nothing new was said");
        conditions.raise(STATE_NOT_KEPT, Severity::Error, "read-only");
        let now = conditions.raised();
        assert_eq!((now[STATE_NOT_KEPT].since, now[STATE_NOT_KEPT].message.as_str()), (since, "read-only"));
    }

    #[test]
    fn clearing_takes_only_that_one() {
        let conditions = Conditions::new();
        conditions.clear(STATE_NOT_KEPT);
        conditions.raise(STATE_NOT_KEPT, Severity::Error, "a");
        conditions.clone().raise(STATE_FILE_BAD, Severity::Warning, "b");
        conditions.clear(STATE_NOT_KEPT);
        assert_eq!(conditions.raised().keys().copied().collect::<Vec<_>>(), [STATE_FILE_BAD]);
    }
}
