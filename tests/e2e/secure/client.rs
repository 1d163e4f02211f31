//! A client of HTTP/1.1, HTTP/2 and gRPC, over TLS or not, one connection at a time: it sees headers, trailers and the moment
//! in which a server refuses.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper::{HeaderMap, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::authority::Pair;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whom a client trusts, and what it shows.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Http1,
    Http2,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Those before the body, and those behind it.
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    /// A header, or nothing; of several, all.
    pub fn header(&self, name: &str) -> String {
        let values = self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.collect::<Vec<_>>().join("; ")
    }
}

/// An open connection.
pub enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Tls {
    pub fn trusting(authority: &Path, own: Option<&Pair>, version: Version) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority)?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = builder.with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let certificates = CertificateDer::pem_file_iter(&pair.certificate)?.collect::<Result<_, _>>()?;
                builder.with_client_auth_cert(certificates, PrivateKeyDer::from_pem_file(&pair.key)?)?
            }
        };
        config.alpn_protocols = vec![match version {
            Version::Http1 => b"http/1.1".to_vec(),
            Version::Http2 => b"h2".to_vec(),
        }];
        Ok(Self(Arc::new(config)))
    }
}

impl Connection {
    pub async fn open(address: &str, tls: Option<&Tls>, version: Version) -> Result<Self> {
        let opening = async {
            let stream = TcpStream::connect(address).await?;
            let Some(Tls(config)) = tls else { return Self::over(stream, version).await };
            let name = ServerName::try_from("localhost")?;
            let stream = TlsConnector::from(config.clone()).connect(name, stream).await?;
            if stream.get_ref().1.alpn_protocol().is_none() {
                bail!("the server has agreed on no protocol");
            }
            Self::over(stream, version).await
        };
        tokio::time::timeout(PATIENCE, opening).await?
    }

    async fn over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, version: Version) -> Result<Self> {
        let io = TokioIo::new(stream);
        Ok(match version {
            Version::Http1 => {
                let (sender, connection) = http1::handshake(io).await?;
                tokio::spawn(connection);
                Self::Http1(sender)
            }
            Version::Http2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
                tokio::spawn(connection);
                Self::Http2(sender)
            }
        })
    }

    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer> {
        let sending = async {
            let response = match self {
                Self::Http1(sender) => sender.send_request(request).await?,
                Self::Http2(sender) => sender.send_request(request).await?,
            };
            let (mut head, body) = response.into_parts();
            let body = body.collect().await?;
            head.headers.extend(body.trailers().cloned().unwrap_or_default());
            let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
            Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
        };
        tokio::time::timeout(PATIENCE, sending).await?
    }
}

/// A request with these headers. Over HTTP/2 it needs an address of its own.
pub fn request(
    method: &str,
    tls: bool,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Result<Request<Full<Bytes>>> {
    let scheme = if tls { "https" } else { "http" };
    let mut request = Request::builder().method(method).uri(format!("{scheme}://localhost{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(Bytes::from(body))).context("a request")
}

/// One gRPC message: a flag, a length, the bytes.
pub fn frame(message: &[u8]) -> Result<Vec<u8>> {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len())?);
    framed.put_slice(message);
    Ok(framed.to_vec())
}
