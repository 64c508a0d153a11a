// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The exchange of an HTTP check on a connection that stands. The caller bounds its time.

use std::io;

use tokio::net::TcpStream;

use super::response::ResponseReader;
use super::tcp::of_connection;
use crate::check::HttpCheck;
use crate::failure::Failure;

/// Octets read at once.
const READ_SIZE: usize = 4_096;

/// Sends the request and reads as much of the answer as the verdict needs.
pub(super) async fn exchange(stream: &TcpStream, check: &HttpCheck) -> Result<(), Failure> {
    send(stream, check.request()).await?;
    let mut reader = ResponseReader::new(check.expected(), check.body());
    loop {
        stream.readable().await.map_err(|_error| Failure::Local)?;
        // Within one poll: thousands of attempts in flight do not each hold a buffer.
        let mut buffer = [0; READ_SIZE];
        match stream.try_read(&mut buffer) {
            Ok(0) => return reader.handle_end(),
            Ok(count) => {
                if let Some(outcome) = reader.handle_bytes(&buffer[..count]) {
                    return outcome;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(of_connection(error.kind())),
        }
    }
}

async fn send(stream: &TcpStream, mut request: &[u8]) -> Result<(), Failure> {
    while !request.is_empty() {
        stream.writable().await.map_err(|_error| Failure::Local)?;
        match stream.try_write(request) {
            Ok(count) => request = &request[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(of_connection(error.kind())),
        }
    }
    Ok(())
}
