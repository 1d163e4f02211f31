//! What HTTP/1 clients send and see where hyper is stricter than Go's server: characters in a query that should have been
//! escaped, queries longer than 64 KiB (a variable of Grafana's with two thousand values), and refusals without a word.
//!
//! The first two concern request lines only. Where the next one begins is certain while no request has had a body; after one
//! that may have one, bytes pass as they are.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::tempo::LONG_QUERY;

/// Longer lines pass as they are, for hyper to refuse: it holds 400 KiB of a request's head.
const MAX_LINE_BYTES: usize = 384 << 10;

/// Of lines from this length on the query moves to the header [`LONG_QUERY`]: hyper takes targets up to 64 KiB.
const LONG_LINE_BYTES: usize = 60 << 10;

const READ_BYTES: usize = 8 << 10;

/// Headers of a request that may have a body, or is the last of its protocol.
const BODY_HEADERS: [&[u8]; 3] = [b"content-length:", b"transfer-encoding:", b"upgrade:"];

/// A stream of HTTP/1 or HTTP/2.
pub(super) struct Lenient<S> {
    stream: S,
    lines: Lines,
    /// Read and rewritten, not yet taken.
    read: Vec<u8>,
    taken_bytes: usize,
    /// A refusal with a text in place of one without, and how much of it is written.
    refusal: Option<Refusal>,
}

struct Refusal {
    answer: Vec<u8>,
    written_bytes: usize,
    /// Of what it stands for.
    replaced_bytes: usize,
}

/// Where in a request the next byte belongs.
enum Lines {
    Request(Vec<u8>),
    Header { start: Vec<u8>, has_body: bool },
    Beyond,
}

impl<S> Lenient<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, lines: Lines::Request(Vec::new()), read: Vec::new(), taken_bytes: 0, refusal: None }
    }
}

impl Lines {
    /// Passes on what may be passed on.
    fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) {
        for (index, &byte) in input.iter().enumerate() {
            match self {
                Self::Request(line) => {
                    line.push(byte);
                    if byte == b'\n' || line.len() > MAX_LINE_BYTES {
                        out.extend(shortened(escaped(line)));
                        *self = match line.as_slice() {
                            b"\n" | b"\r\n" => Self::Request(Vec::new()),
                            line if line.ends_with(b"\n") && !line.starts_with(b"PRI ") => Self::headers(false),
                            _ => Self::Beyond,
                        };
                    }
                }
                Self::Header { start, has_body } => {
                    out.push(byte);
                    if byte != b'\n' {
                        let longest = BODY_HEADERS.iter().map(|header| header.len()).max().unwrap_or_default();
                        if start.len() < longest {
                            start.push(byte.to_ascii_lowercase());
                        }
                        continue;
                    }
                    let has_body = *has_body || BODY_HEADERS.iter().any(|header| start.starts_with(header));
                    let is_end = matches!(start.as_slice(), b"" | b"\r");
                    *self = match (is_end, has_body) {
                        (false, _) => Self::headers(has_body),
                        (true, false) => Self::Request(Vec::new()),
                        (true, true) => Self::Beyond,
                    };
                }
                Self::Beyond => return out.extend_from_slice(&input[index..]),
            }
        }
    }

    fn headers(has_body: bool) -> Self {
        Self::Header { start: Vec::new(), has_body }
    }

    /// What is left when no more bytes come.
    fn end(&mut self, out: &mut Vec<u8>) {
        if let Self::Request(line) = std::mem::replace(self, Self::Beyond) {
            out.extend(line);
        }
    }
}

/// A request line without quotes and angle brackets, which Go's server takes and hyper does not.
fn escaped(line: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.len());
    for &byte in line {
        match byte {
            b'"' => out.extend(b"%22"),
            b'<' => out.extend(b"%3C"),
            b'>' => out.extend(b"%3E"),
            b'`' => out.extend(b"%60"),
            _ => out.push(byte),
        }
    }
    out
}

/// A long request line without its query, which stands in a header behind it.
fn shortened(line: Vec<u8>) -> Vec<u8> {
    let question = line.iter().position(|&byte| byte == b'?');
    let version = line.iter().rposition(|&byte| byte == b' ');
    match question.zip(version) {
        Some((question, version)) if line.len() >= LONG_LINE_BYTES && line.ends_with(b"\n") && question < version => {
            let (target, query, version) = (&line[..question], &line[question + 1..version], &line[version..]);
            [target, version, LONG_QUERY.as_str().as_bytes(), b": ".as_slice(), query, b"\r\n".as_slice()].concat()
        }
        _ => line,
    }
}

/// The answer with a text, if it is one that hyper makes by itself when it cannot read a request.
fn with_text(answer: &[u8]) -> Option<Vec<u8>> {
    let text = match answer.get(..12)? {
        b"HTTP/1.1 400" => "400 this is no HTTP request: escape what is no ASCII letter or digit in a URL with %\n",
        b"HTTP/1.1 414" => {
            "414 the URL is longer than 384 KiB, or its path than 64: shorten the query, or ask over gRPC\n"
        }
        b"HTTP/1.1 431" => "431 the headers are too large: send fewer or shorter ones\n",
        _ => return None,
    };
    let head = std::str::from_utf8(answer).ok()?.strip_suffix("\r\n\r\n")?;
    let (before, after) = head.split_once("\r\ncontent-length: 0")?;
    let headers = format!("content-type: text/plain; charset=utf-8\r\ncontent-length: {}", text.len());
    Some(format!("{before}\r\n{headers}{after}\r\n\r\n{text}").into_bytes())
}

impl<S: AsyncRead + Unpin> AsyncRead for Lenient<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.taken_bytes == this.read.len() {
            (this.read, this.taken_bytes) = (Vec::new(), 0);
            if matches!(this.lines, Lines::Beyond) {
                return Pin::new(&mut this.stream).poll_read(context, buffer);
            }
            let mut bytes = [0; READ_BYTES];
            let mut input = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut input))?;
            match input.filled() {
                [] => this.lines.end(&mut this.read),
                input => this.lines.feed(input, &mut this.read),
            }
        }
        let rest = &this.read[this.taken_bytes..];
        let bytes = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..bytes]);
        this.taken_bytes += bytes;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Lenient<S> {
    /// Writes the refusal under way; tells how much of hyper's it stood for.
    fn poll_refuse(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<usize>>> {
        let Some(refusal) = &mut self.refusal else { return Poll::Ready(None) };
        while refusal.written_bytes < refusal.answer.len() {
            let rest = &refusal.answer[refusal.written_bytes..];
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest)) {
                Ok(0) => return Poll::Ready(Some(Err(io::ErrorKind::WriteZero.into()))),
                Ok(bytes) => refusal.written_bytes += bytes,
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
        let replaced_bytes = refusal.replaced_bytes;
        self.refusal = None;
        Poll::Ready(Some(Ok(replaced_bytes)))
    }

    fn begin_refusal(&mut self, answer: &[u8]) {
        if self.refusal.is_none() {
            let refusal = |text| Refusal { answer: text, written_bytes: 0, replaced_bytes: answer.len() };
            self.refusal = with_text(answer).map(refusal);
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lenient<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.begin_refusal(bytes);
        match ready!(this.poll_refuse(context)) {
            Some(written) => Poll::Ready(written),
            None => Pin::new(&mut this.stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(first) = slices.iter().find(|slice| !slice.is_empty()) {
            this.begin_refusal(first);
        }
        match ready!(this.poll_refuse(context)) {
            Some(written) => Poll::Ready(written),
            None => Pin::new(&mut this.stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out, whatever pieces the bytes come in.
    fn passed(input: &str, piece_bytes: usize) -> String {
        let (mut lines, mut out) = (Lines::Request(Vec::new()), Vec::new());
        input.as_bytes().chunks(piece_bytes).for_each(|piece| lines.feed(piece, &mut out));
        lines.end(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn request_lines_are_escaped_and_nothing_else() {
        let get = "GET /a?q={\"<>`} HTTP/1.1\r\nx: \"<>\"\r\n\r\n";
        let get_escaped = "GET /a?q={%22%3C%3E%60} HTTP/1.1\r\nx: \"<>\"\r\n\r\n";
        let post = "POST /a HTTP/1.1\r\nContent-Length: 30\r\n\r\n{\"a\"}\r\nGET /\"> HTTP/1.1\r\n\r\n";
        let http2 = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\"\"\n\"";
        let unfinished = "GET /\"";
        for piece_bytes in [1, 7, 1000] {
            assert_eq!(passed(&[get, get].concat(), piece_bytes), [get_escaped, get_escaped].concat());
            assert_eq!(passed(&[get, post].concat(), piece_bytes), [get_escaped, post].concat());
            assert_eq!(passed(http2, piece_bytes), http2);
            assert_eq!(passed(unfinished, piece_bytes), unfinished);
        }
        let query = "x".repeat(LONG_LINE_BYTES);
        let moved = format!("GET /a HTTP/1.1\r\nx-mosso-query: q={query}\r\nhost: x\r\n\r\n");
        assert_eq!(passed(&format!("GET /a?q={query} HTTP/1.1\r\nhost: x\r\n\r\n"), 1000), moved);
        let endless = "\"".repeat(MAX_LINE_BYTES * 2);
        assert!(passed(&endless, 1000).len() > endless.len());
    }
}
