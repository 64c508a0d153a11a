// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Asking a daemon over its socket: HTTP on a unix socket, and counters read from the metrics text.

use std::io::{BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::http::{Reply, read_reply};

/// The daemon answers from memory; anything near this is a fault.
const TIMEOUT: Duration = Duration::from_secs(5);

/// One GET over a unix socket.
pub fn get_over_socket(socket: &Path, path: &str) -> Result<Reply> {
    let mut stream =
        UnixStream::connect(socket).with_context(|| format!("connect to {}", socket.display()))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n")?;
    read_reply(&mut BufReader::new(stream))
}

/// Metrics text at one moment.
#[derive(Debug, Clone)]
pub struct Metrics(pub String);

impl Metrics {
    /// Sum over all series of `name` that carry every one of `labels` (each `key="value"`). `None` if there is no such series.
    pub fn sum(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let values: Vec<f64> = self.0.lines().filter_map(|line| value(line, name, labels)).collect();
        if values.is_empty() { None } else { Some(values.iter().sum()) }
    }

    /// Like `sum`, and zero without a series: counters that nobody counted yet may be absent.
    pub fn count(&self, name: &str, labels: &[&str]) -> f64 {
        self.sum(name, labels).unwrap_or(0.0)
    }
}

fn value(line: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let rest = line.strip_prefix(name)?;
    let (found, number) = match rest.strip_prefix('{') {
        Some(rest) => rest.rsplit_once('}')?,
        None => ("", rest.strip_prefix(' ')?),
    };
    // A label's end is a comma or the end, so that `peer="tor1"` is not found in `peer="tor10"`: the quote closes it.
    if !labels.iter().all(|label| found.starts_with(label) || found.contains(&format!(",{label}"))) {
        return None;
    }
    number.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_by_label() {
        let metrics = Metrics(
            "# HELP a_total x\na_total{verdict=\"tx\",uplink=\"eth0\"} 3\na_total{verdict=\"pass\",uplink=\"eth0\"} 4\n\
             a_total_more 9\nup 1\n"
                .into(),
        );
        assert_eq!(metrics.sum("a_total", &[]), Some(7.0));
        assert_eq!(metrics.sum("a_total", &["uplink=\"eth0\"", "verdict=\"pass\""]), Some(4.0));
        assert_eq!(metrics.sum("a_total", &["verdict=\"drop\""]), None);
        assert_eq!(metrics.count("a_total", &["verdict=\"drop\""]), 0.0);
        assert_eq!(metrics.sum("up", &[]), Some(1.0));
    }
}
