// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What may be in the way of a listener.

use std::os::unix::fs::PermissionsExt;

use crate::server::{BindError, Server, ServerConfig};

fn config(folder: &tempfile::TempDir) -> ServerConfig {
    ServerConfig { socket: folder.path().join("run/api.sock"), tcp: None }
}

#[tokio::test]
async fn the_socket_is_for_its_user_and_group() {
    let folder = tempfile::tempdir().expect("a folder");
    let _server = Server::bind(config(&folder)).await.expect("the path is free");
    let mode = std::fs::metadata(folder.path().join("run/api.sock")).expect("it exists").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let files: Vec<_> = std::fs::read_dir(folder.path().join("run")).expect("a folder").collect();
    assert_eq!(files.len(), 1, "nothing else is left: {files:?}");
}

#[tokio::test]
async fn a_stale_socket_is_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("run")).expect("made");
    drop(std::os::unix::net::UnixListener::bind(folder.path().join("run/api.sock")).expect("bound"));
    Server::bind(config(&folder)).await.expect("nobody answers on it");
}

#[tokio::test]
async fn a_live_socket_is_an_error_and_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = Server::bind(config(&folder)).await.expect("the path is free");
    let second = Server::bind(config(&folder)).await;
    assert!(matches!(second, Err(BindError::InUse { .. })), "{second:?}");
    assert!(folder.path().join("run/api.sock").exists());
    drop(first);
    assert!(!folder.path().join("run/api.sock").exists());
}

#[tokio::test]
async fn a_plain_file_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("run")).expect("made");
    std::fs::write(folder.path().join("run/api.sock"), "mine").expect("written");
    let refused = Server::bind(config(&folder)).await;
    assert!(matches!(refused, Err(BindError::NotASocket { .. })), "{refused:?}");
    assert_eq!(std::fs::read_to_string(folder.path().join("run/api.sock")).expect("still there"), "mine");
}

#[tokio::test]
async fn only_loopback_is_served_in_the_clear() {
    let folder = tempfile::tempdir().expect("a folder");
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:9180"] {
        let tcp = Some(address.parse().expect("an address"));
        let refused = Server::bind(ServerConfig { tcp, ..config(&folder) }).await;
        assert!(matches!(refused, Err(BindError::NotLoopback { .. })), "{refused:?}");
    }
    let tcp = Some("127.0.0.1:0".parse().expect("an address"));
    let server = Server::bind(ServerConfig { tcp, ..config(&folder) }).await.expect("a free port");
    assert_ne!(server.tcp_address().expect("TCP was asked for").port(), 0);
}
