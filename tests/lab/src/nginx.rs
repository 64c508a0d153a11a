// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A web server that says its own name: one nginx process in a backend's namespace.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::http::{BACKEND_HEADER, get};
use crate::netns::Netns;
use crate::process::Process;
use crate::wait::wait_until;

/// Bytes of `/big`.
pub const BIG_BYTES: usize = 1 << 20;

/// Bytes of `/slow`, sent in about four seconds.
pub const SLOW_BYTES: usize = 256 << 10;

/// Byte `at` of `/slow`: a letter, from a sequence that does not repeat, so that a lost, doubled or foreign piece shows.
pub(crate) fn slow_byte(at: usize) -> u8 {
    // Knuth's multiplicative hash; its high bits are the ones that mix.
    let [high, ..] = at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    b'a' + high % 26
}

/// A running server on port 80 of every address of its namespace.
///
/// `/` answers the name, `/healthz` that all is well; `/big` is a large file at once; `/slow` a file that takes about four
/// seconds. Every answer names the server in `X-Backend`. Ends when dropped.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
}

impl Nginx {
    /// Starts it, with its files and its log in the folder `lab`, and waits until it answers.
    pub fn start(netns: &Netns, lab: &Path, name: &str) -> Result<Nginx> {
        let dir = lab.join(format!("{name}-www"));
        std::fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
        std::fs::write(dir.join("big"), "x".repeat(BIG_BYTES))?;
        std::fs::write(dir.join("slow"), (0..SLOW_BYTES).map(slow_byte).collect::<Vec<u8>>())?;
        let config = dir.join("nginx.conf");
        std::fs::write(&config, configuration(&dir.display().to_string(), name))?;
        let mut command = netns.command("nginx");
        command.arg("-e").arg("stderr").arg("-p").arg(&dir).arg("-c").arg(&config);
        let log = lab.join(format!("{name}-nginx.log"));
        let mut process = Process::spawn(&format!("nginx of {name}"), &mut command, &log)?;
        wait_until("nginx to answer", Duration::from_secs(10), || {
            process.check_running()?;
            netns.enter(|| get(([127, 0, 0, 1], 80).into(), "/", Duration::from_secs(1)))?
        })?;
        Ok(Nginx { process })
    }

    /// Process number.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

fn configuration(dir: &str, name: &str) -> String {
    format!(
        "daemon off;\nmaster_process off;\nuser root;\npid {dir}/pid;\nerror_log stderr notice;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n\
           access_log off;\n\
           default_type text/plain;\n\
           keepalive_timeout 600s;\n\
           keepalive_requests 1000000;\n\
           add_header {BACKEND_HEADER} {name} always;\n\
           client_body_temp_path {dir}/t1;\n\
           proxy_temp_path {dir}/t2;\n\
           fastcgi_temp_path {dir}/t3;\n\
           uwsgi_temp_path {dir}/t4;\n\
           scgi_temp_path {dir}/t5;\n\
           server {{\n\
             listen 80 backlog=1024;\n\
             listen [::]:80 ipv6only=on backlog=1024;\n\
             location / {{ return 200 \"{name}\\n\"; }}\n\
             location = /healthz {{ return 200 \"ok\\n\"; }}\n\
             location = /big {{ root {dir}; }}\n\
             location = /slow {{ root {dir}; limit_rate 64k; }}\n\
           }}\n\
         }}\n"
    )
}
