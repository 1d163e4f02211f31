//! `-health`, as Tempo's image has it: whether a running process is ready, for health checks of containers that have no other
//! program at hand.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long it all may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer that are looked at.
const MAX_ANSWER_BYTES: u64 = 4096;

/// Asks a running process whether it is ready, and says so.
///
/// # Errors
/// When there is no answer, or one that is not `200`.
pub fn run(url: &str) -> Result<ExitCode> {
    let (status, body) = ask(url).with_context(|| format!("health check of {url} failed"))?;
    if status == 200 {
        println!("mosso is healthy");
        return Ok(ExitCode::SUCCESS);
    }
    bail!("mosso is unhealthy: status {status}: {}", body.trim())
}

fn ask(url: &str) -> Result<(u16, String)> {
    let rest = url.strip_prefix("http://").context("write a URL that begins with http://")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
    let mut stream = connect(&address)?;
    write!(stream, "GET /{path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).context("the answer is not HTTP")?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Ok((status, body))
}

/// The first of a host's addresses that answers.
fn connect(address: &str) -> Result<TcpStream> {
    let deadline = Instant::now() + TIMEOUT;
    let mut failure = None;
    for address in address.to_socket_addrs().with_context(|| format!("look up {address}"))? {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                stream.set_read_timeout(Some(TIMEOUT))?;
                stream.set_write_timeout(Some(TIMEOUT))?;
                return Ok(stream);
            }
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.map_or_else(|| anyhow::anyhow!("it has no address"), Into::into))
}
