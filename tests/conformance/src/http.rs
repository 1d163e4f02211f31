//! HTTP/1.1 as a test needs it: the request goes out byte for byte as asked, with nothing tidied and no header of its own beyond
//! `Host`, `Accept-Encoding: identity` and `Content-Length`. One connection per request, no TLS, no redirects.

use std::io::Read;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Largest answer that is read.
const MAX_BODY_BYTES: usize = 256 << 20;

pub struct Request<'a> {
    /// `http://host:port`, or with a path that comes before `path`.
    pub root: &'a str,
    pub method: &'a str,
    /// Path and query as they go on the wire.
    pub path: &'a str,
    pub headers: Vec<(String, String)>,
    pub body: Option<&'a [u8]>,
    pub timeout: Duration,
}

pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Unpacked, if it came with gzip.
    pub body: Vec<u8>,
}

impl Response {
    /// The last header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().rfind(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn content_type(&self) -> &str {
        self.header("content-type").unwrap_or_default()
    }
}

/// `host:port` of a root and the path in it.
pub fn split_root(root: &str) -> Result<(&str, &str)> {
    let rest = root.strip_prefix("http://").with_context(|| format!("{root} does not start with http://"))?;
    Ok(rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash)))
}

pub async fn send(request: &Request<'_>) -> Result<Response> {
    let exchange = tokio::time::timeout(request.timeout, exchange(request));
    exchange.await.with_context(|| format!("no answer within {:?}", request.timeout))?
}

async fn exchange(request: &Request<'_>) -> Result<Response> {
    let (authority, prefix) = split_root(request.root)?;
    let head = head(request, authority, prefix);
    let address = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
    let mut stream = TcpStream::connect(&address).await.with_context(|| format!("connect to {address}"))?;
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.split();
    let writing = async {
        write.write_all(head.as_bytes()).await?;
        write.write_all(request.body.unwrap_or_default()).await?;
        write.flush().await
    };
    let reading = read_response(BufReader::new(read), request.method);
    tokio::pin!(writing, reading);
    // A server may refuse a large body and close before it has read all of it, so its answer counts more than a failed write.
    let mut writes = true;
    loop {
        tokio::select! {
            response = &mut reading => return response,
            _ = &mut writing, if writes => writes = false,
        }
    }
}

fn head(request: &Request<'_>, authority: &str, prefix: &str) -> String {
    let has = |name: &str| request.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    let mut out = format!("{} {prefix}{} HTTP/1.1\r\n", request.method, request.path);
    let mut add = |name: &str, value: &str| out.push_str(&format!("{name}: {value}\r\n"));
    if !has("host") {
        add("Host", authority);
    }
    if !has("accept-encoding") {
        add("Accept-Encoding", "identity");
    }
    let length = request.body.map(<[u8]>::len);
    let expects_body = matches!(request.method, "POST" | "PUT" | "PATCH");
    if let Some(length) = length.or(expects_body.then_some(0)) {
        add("Content-Length", &length.to_string());
    }
    for (name, value) in &request.headers {
        add(name, value);
    }
    out.push_str("\r\n");
    out
}

async fn read_response(mut from: impl AsyncBufRead + Unpin, method: &str) -> Result<Response> {
    let (status, headers) = loop {
        let (status, headers) = read_head(&mut from).await?;
        if status >= 200 {
            break (status, headers);
        }
    };
    let mut response = Response { status, headers, body: Vec::new() };
    if method == "HEAD" || matches!(status, 204 | 304) {
        return Ok(response);
    }
    response.body = read_body(&mut from, &response).await?;
    if response.header("content-encoding") == Some("gzip") {
        let packed = std::mem::take(&mut response.body);
        GzDecoder::new(&packed[..]).read_to_end(&mut response.body).context("unpack the answer")?;
    }
    Ok(response)
}

async fn read_head(from: &mut (impl AsyncBufRead + Unpin)) -> Result<(u16, Vec<(String, String)>)> {
    let line = read_line(from).await?;
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|code| code.parse().ok());
    let status = status.with_context(|| format!("not a status line: {line:?}"))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(from).await?;
        if line.is_empty() {
            return Ok((status, headers));
        }
        let (name, value) = line.split_once(':').with_context(|| format!("not a header: {line:?}"))?;
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
}

async fn read_body(from: &mut (impl AsyncBufRead + Unpin), response: &Response) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    if response.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
        loop {
            let line = read_line(from).await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).with_context(|| format!("not the size of a chunk: {line:?}"))?;
            if size == 0 {
                while !read_line(from).await?.is_empty() {}
                return Ok(body);
            }
            read_exactly(from, size, &mut body).await?;
            ensure!(read_line(from).await?.is_empty(), "a chunk is longer than announced");
        }
    }
    match response.header("content-length") {
        Some(length) => read_exactly(from, length.parse().context("read Content-Length")?, &mut body).await?,
        None => drop(from.read_to_end(&mut body).await?),
    }
    Ok(body)
}

async fn read_exactly(from: &mut (impl AsyncBufRead + Unpin), size: usize, body: &mut Vec<u8>) -> Result<()> {
    let start = body.len();
    ensure!(start.saturating_add(size) <= MAX_BODY_BYTES, "an answer of more than {MAX_BODY_BYTES} bytes");
    body.resize(start + size, 0);
    from.read_exact(&mut body[start..]).await.context("read the body")?;
    Ok(())
}

async fn read_line(from: &mut (impl AsyncBufRead + Unpin)) -> Result<String> {
    let mut line = Vec::new();
    from.read_until(b'\n', &mut line).await?;
    if line.pop() != Some(b'\n') {
        bail!("the server closed the connection");
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// What a server that answers `answer` received, and what was understood of the answer.
    async fn exchange_with(answer: &'static [u8], method: &str, body: Option<&[u8]>) -> (String, Result<Response>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let root = format!("http://{}/root", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut got = vec![0; 4096];
            let n = stream.read(&mut got).await.unwrap();
            stream.write_all(answer).await.unwrap();
            String::from_utf8_lossy(&got[..n]).into_owned()
        });
        let headers = vec![("X-A".to_owned(), "b".to_owned())];
        let request =
            Request { root: &root, method, path: "//values?a=%2F", headers, body, timeout: Duration::from_secs(5) };
        let response = send(&request).await;
        (server.await.unwrap(), response)
    }

    #[tokio::test]
    async fn sends_what_was_asked() {
        let (got, response) =
            exchange_with(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nA: 1\r\na: 2\r\n\r\nhi", "GET", None).await;
        let response = response.unwrap();
        let lines: Vec<_> = got.lines().filter(|l| !l.starts_with("Host: ")).collect();
        assert_eq!(lines, ["GET /root//values?a=%2F HTTP/1.1", "Accept-Encoding: identity", "X-A: b", ""]);
        assert_eq!((response.status, response.body.as_slice(), response.header("a")), (200, &b"hi"[..], Some("2")));
    }

    #[tokio::test]
    async fn reads_chunks_and_bodies_without_length() {
        let chunked = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n";
        let (got, response) = exchange_with(chunked, "POST", None).await;
        assert!(got.contains("Content-Length: 0\r\n"));
        assert_eq!(response.unwrap().body, b"abcde");
        let (_, response) = exchange_with(b"HTTP/1.0 200 OK\r\n\r\nuntil the end", "GET", None).await;
        assert_eq!(response.unwrap().body, b"until the end");
        let (_, response) = exchange_with(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "HEAD", None).await;
        assert!(response.unwrap().body.is_empty());
        let (_, response) = exchange_with(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "GET", None).await;
        assert!(response.is_err());
    }
}
