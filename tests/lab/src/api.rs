// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Asking a daemon over its socket: HTTP and JSON on a unix socket, and counters read from the metrics text.

use std::io::{BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::http::{Reply, read_reply};

/// The daemon answers from memory; anything near this is a fault.
const TIMEOUT: Duration = Duration::from_secs(5);

/// One GET over a unix socket.
pub fn get_over_socket(socket: &Path, path: &str) -> Result<Reply> {
    Api::new(socket).call("GET", path, None)
}

/// The API of one daemon, over its unix socket; a connection for each request.
#[derive(Debug, Clone)]
pub struct Api {
    socket: PathBuf,
}

impl Api {
    /// The API behind a socket.
    pub fn new(socket: &Path) -> Api {
        Api { socket: socket.to_path_buf() }
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// One request, with a JSON body if one is given; the answer whatever its status.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Reply> {
        let mut stream = self.connect()?;
        let body = body.map(Value::to_string);
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n");
        if let Some(body) = &body {
            request += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        }
        request += "\r\n";
        request += body.as_deref().unwrap_or_default();
        stream.write_all(request.as_bytes())?;
        read_reply(&mut BufReader::new(stream)).with_context(|| format!("{method} {path}"))
    }

    /// One request that must succeed; its JSON, null when the answer has none.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let reply = self.call(method, path, body)?;
        if !(200..300).contains(&reply.status) {
            bail!("{method} {path}: {} {}", reply.status, reply.body);
        }
        if reply.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&reply.body).with_context(|| format!("read the answer to {method} {path}"))
    }

    /// What is at a path.
    pub fn get(&self, path: &str) -> Result<Value> {
        self.ask("GET", path, None)
    }

    /// Sets an override on `target`, such as `pools/web/backends/b1`: `drain`, `disable` or `withhold`.
    pub fn set_override(&self, target: &str, state: &str) -> Result<Value> {
        let body = serde_json::json!({"state": state, "reason": "the lab says so", "author": "lab"});
        self.ask("PUT", &format!("/v1/{target}/override"), Some(&body))
    }

    /// Takes the override of `target` away again.
    pub fn clear_override(&self, target: &str) -> Result<()> {
        self.ask("DELETE", &format!("/v1/{target}/override"), None).map(drop)
    }

    /// Tells the daemon to read its document again; the answer whatever its status.
    pub fn reload(&self) -> Result<Reply> {
        self.call("POST", "/v1/document/reload", None)
    }

    pub(crate) fn connect(&self) -> Result<UnixStream> {
        let stream = UnixStream::connect(&self.socket)
            .with_context(|| format!("connect to {}", self.socket.display()))?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(stream)
    }
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
