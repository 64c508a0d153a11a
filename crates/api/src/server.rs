// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Listeners and their limits: a unix socket, and a loopback TCP port when asked for.
//!
//! A unix socket left by a process that died is replaced; one that is answered is an error, as is a path that is not
//! a socket. The socket appears under its path only once it has its mode, by a rename.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Extension;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::control::ControlPlane;
use crate::request::Origin;
use crate::routes::{Shared, router};
use crate::stream::Progress;

/// Connections served at once on the unix socket. When all are in use, the next wait in the listen queue.
///
/// Four times the readers of events: those hold theirs.
const UNIX_CONNECTIONS_MAX: usize = 256;
/// The same on the TCP port. Counted apart: whoever fills that port, every user of the host may, does not keep those out who
/// may write.
const TCP_CONNECTIONS_MAX: usize = 128;
/// Most bytes of a request's head. A longer one is answered 431.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Most header lines of a request.
const HEADERS_MAX: usize = 64;
/// Longest time a client may take for a request's head.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// Age at which a connection is closed after the answer in progress; clients connect again. Streams of events are no
/// older than their last byte.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(300);
/// How often a connection's age and its stream are looked at.
const CONNECTION_LOOK: Duration = Duration::from_secs(5);
/// What an answer in progress gets, once its connection shall close, before it is cut.
const CLOSE_GRACE: Duration = Duration::from_secs(5);
/// Pause after a failed accept (out of file descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Mode of the unix socket: its user and group, nobody else.
const SOCKET_MODE: u32 = 0o660;

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Path of the unix socket; its folder is made when missing.
    pub socket: PathBuf,
    /// A loopback address and port, or none.
    pub tcp: Option<SocketAddr>,
}

/// Bound listeners, not yet answering.
#[derive(Debug)]
pub struct Server {
    unix: UnixListener,
    socket: OwnedSocket,
    tcp: Option<TcpListener>,
}

/// Why the API cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process answers on the socket.
    #[error("another process answers on {}", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// The path exists and is no socket; it is left alone.
    #[error("{} exists and is not a socket", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The address is not a loopback one, and there is no TLS.
    #[error("{address} is not a loopback address")]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// The unix socket could not be made.
    #[error("listen on {}", path.display())]
    Unix {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The TCP port could not be bound.
    #[error("listen on {address}")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

impl Server {
    /// Binds every listener, or none.
    pub async fn bind(config: ServerConfig) -> Result<Self, BindError> {
        let tcp = match config.tcp {
            Some(address) => Some(bind_tcp(address).await?),
            None => None,
        };
        let (unix, socket) = bind_unix(&config.socket).await?;
        Ok(Self { unix, socket, tcp })
    }

    /// The TCP address in use, with the port that was chosen when the configured one was 0.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Answers until `shutdown` resolves, then gives answers in progress a few seconds and removes the socket.
    pub async fn serve<C: ControlPlane>(self, control: Arc<C>, shutdown: impl Future<Output = ()>) {
        let Self { unix, socket, tcp } = self;
        let (stop, stopping) = watch::channel(false);
        let router = router(Arc::new(Shared::new(control, stopping.clone())));
        let [on_unix, on_tcp] =
            [UNIX_CONNECTIONS_MAX, TCP_CONNECTIONS_MAX].map(|most| Arc::new(Semaphore::new(most)));
        let accept_unix = async {
            while let Ok(permit) = Arc::clone(&on_unix).acquire_owned().await {
                match unix.accept().await {
                    Ok((stream, _peer)) => {
                        let origin = origin(&stream);
                        spawn(stream, router.clone(), origin, permit, stopping.clone());
                    }
                    Err(error) => refused("unix", &error).await,
                }
            }
        };
        let accept_tcp = async {
            let Some(tcp) = tcp else { return std::future::pending().await };
            while let Ok(permit) = Arc::clone(&on_tcp).acquire_owned().await {
                match tcp.accept().await {
                    Ok((stream, _peer)) => {
                        spawn(stream, router.clone(), Origin::Tcp, permit, stopping.clone());
                    }
                    Err(error) => refused("tcp", &error).await,
                }
            }
        };
        tokio::select! {
            // CANCEL: whoever was not accepted yet is refused when the listeners are closed. Neither of the two ends before.
            () = accept_unix => {}
            // CANCEL: as above.
            () = accept_tcp => {}
            // CANCEL: it is over then.
            () = shutdown => {}
        }
        drop(socket);
        stop.send_replace(true);
        let closed = async {
            // Every place is free once every connection is closed.
            for (places, most) in [(&on_unix, UNIX_CONNECTIONS_MAX), (&on_tcp, TCP_CONNECTIONS_MAX)] {
                places.acquire_many(u32::try_from(most).unwrap_or(u32::MAX)).await.ok();
            }
        };
        if tokio::time::timeout(CLOSE_GRACE, closed).await.is_err() {
            tracing::debug!("connections were still open at the end of their grace");
        }
    }
}

/// A socket file that is removed on drop, if it is still the one that was made.
#[derive(Debug)]
struct OwnedSocket {
    path: PathBuf,
    inode: u64,
}

impl Drop for OwnedSocket {
    fn drop(&mut self) {
        let still_ours = std::fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode);
        if still_ours && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "socket not removed");
        }
    }
}

async fn bind_tcp(address: SocketAddr) -> Result<TcpListener, BindError> {
    if !address.ip().is_loopback() {
        return Err(BindError::NotLoopback { address });
    }
    TcpListener::bind(address).await.map_err(|source| BindError::Tcp { address, source })
}

async fn bind_unix(path: &Path) -> Result<(UnixListener, OwnedSocket), BindError> {
    let failed = |source| BindError::Unix { path: path.to_path_buf(), source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NotASocket { path: path.to_path_buf() });
        }
        Ok(_) if UnixStream::connect(path).await.is_ok() => {
            return Err(BindError::InUse { path: path.to_path_buf() });
        }
        Ok(_) => tracing::info!(path = %path.display(), "replacing a socket that nobody answers"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let mut staged = path.as_os_str().to_owned();
    staged.push(format!(".{}", std::process::id()));
    let staged = PathBuf::from(staged);
    match std::fs::remove_file(&staged) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&staged).map_err(failed)?;
    std::fs::set_permissions(&staged, std::fs::Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
    let inode = std::fs::symlink_metadata(&staged).map_err(failed)?.ino();
    std::fs::rename(&staged, path).map_err(failed)?;
    Ok((listener, OwnedSocket { path: path.to_path_buf(), inode }))
}

async fn refused(listener: &str, error: &io::Error) {
    tracing::warn!(listener, %error, "accept failed");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// Who is at the other end, by the kernel's word.
fn origin(stream: &UnixStream) -> Origin {
    match stream.peer_cred() {
        Ok(peer) => Origin::Unix { uid: peer.uid(), gid: peer.gid(), pid: peer.pid() },
        Err(error) => {
            // It may read; what is not known to be on the socket may not write.
            tracing::warn!(%error, "peer of the socket is not known");
            Origin::Tcp
        }
    }
}

fn spawn<S>(
    stream: S,
    router: Router,
    origin: Origin,
    permit: OwnedSemaphorePermit,
    mut stopping: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let progress = Progress::default();
    let service = router.layer(Extension(origin)).layer(Extension(progress.clone()));
    tokio::spawn(async move {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        tokio::pin!(connection);
        let ended = tokio::select! {
            // CANCEL: polled again below.
            ended = connection.as_mut() => Some(ended),
            // CANCEL: only the wait is lost.
            () = outlived(&progress) => None,
            // CANCEL: only the wait is lost; a closed channel means stop as well.
            _ = stopping.wait_for(|stop| *stop) => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                // A stream of events hears of the stop by itself and ends in order.
                connection.as_mut().graceful_shutdown();
                match tokio::time::timeout(CLOSE_GRACE, connection.as_mut()).await {
                    Ok(ended) => ended,
                    Err(_elapsed) => Ok(()),
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "connection ended early");
        }
        drop(permit);
    });
}

/// Resolves when a connection shall close: at its age, but a stream may go on for as long as its reader reads.
async fn outlived(progress: &Progress) {
    let started = tokio::time::Instant::now();
    loop {
        tokio::time::sleep(CONNECTION_LOOK).await;
        let is_over = if progress.is_streaming() {
            progress.is_stalled(Instant::now())
        } else {
            started.elapsed() >= CONNECTION_AGE_MAX
        };
        if is_over {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_ends_at_its_age_and_a_stream_does_not() {
        let started = tokio::time::Instant::now();
        let progress = Progress::default();
        outlived(&progress).await;
        assert!(
            started.elapsed() >= CONNECTION_AGE_MAX
                && started.elapsed() <= CONNECTION_AGE_MAX + CONNECTION_LOOK
        );
        progress.set(Some(Instant::now()));
        let hour = tokio::time::timeout(Duration::from_secs(3_600), outlived(&progress)).await;
        assert!(hour.is_err(), "a stream whose reader reads goes on");
        let long_ago =
            Instant::now().checked_sub(Duration::from_secs(60)).expect("the host is up for a minute");
        progress.set(Some(long_ago));
        outlived(&progress).await;
    }
}
