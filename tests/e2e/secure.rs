//! What protects a process, asked of the real one: TLS on every listener, certificates of clients, credentials bound to
//! tenants, pages of other origins, and secrets that are shown nowhere.

mod authority;
mod client;

mod credentials;
mod hidden;
mod reload;
mod tls;

use std::path::Path;

use anyhow::Result;

use self::client::{Answer, Connection, Tls, Version, frame, request};
use crate::server::Server;
use crate::traffic::trace;

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const HEALTH: &str = "/grpc.health.v1.Health/Check";
const STREAM: &str = "/tempopb.StreamingQuerier/SearchTagsV2";

/// One listener of a server, and how it is spoken to.
struct Door<'s> {
    server: &'s Server,
    tls: Option<Tls>,
    version: Version,
}

impl<'s> Door<'s> {
    fn plain(server: &'s Server) -> Self {
        Self { server, tls: None, version: Version::Http1 }
    }

    async fn ask(
        &self,
        root: &str,
        request_line: (&str, &str),
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer> {
        let address = root.trim_start_matches("http://");
        let mut connection = Connection::open(address, self.tls.as_ref(), self.version).await?;
        let (method, path) = request_line;
        let mut all = vec![("host", "localhost")];
        all.extend_from_slice(headers);
        let all = if self.version == Version::Http1 { &all } else { headers };
        connection.send(request(method, self.tls.is_some(), path, all, body)?).await
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        self.ask(&self.server.api, ("GET", path), headers, Vec::new()).await
    }

    /// One trace over HTTP.
    async fn push(&self, id: u128, headers: &[(&str, &str)]) -> Result<Answer> {
        let all = [&[("content-type", "application/x-protobuf")], headers].concat();
        self.ask(&self.server.otlp, ("POST", "/v1/traces"), &all, trace(id)).await
    }

    /// A call over gRPC, which is HTTP/2 always; gives its status.
    async fn call(&self, root: &str, method: &str, headers: &[(&str, &str)], message: &[u8]) -> Result<Answer> {
        let all = [&[("content-type", "application/grpc"), ("te", "trailers")], headers].concat();
        let door = Self { server: self.server, tls: self.tls.clone(), version: Version::Http2 };
        door.ask(root, ("POST", method), &all, frame(message)?).await
    }

    async fn push_grpc(&self, id: u128, headers: &[(&str, &str)]) -> Result<Answer> {
        self.call(&self.server.grpc, EXPORT, headers, &trace(id)).await
    }
}

/// `cert_file: …, key_file: …`
fn pair_yaml(pair: &authority::Pair) -> String {
    format!("cert_file: '{}', key_file: '{}'", pair.certificate.display(), pair.key.display())
}

/// A file with a secret.
fn secret(dir: &Path, name: &str, text: &str) -> Result<String> {
    let path = dir.join(name);
    std::fs::write(&path, text)?;
    Ok(path.display().to_string())
}

/// `distributor` with both receivers on free ports, each with more settings.
fn receivers(grpc: &str, http: &str) -> String {
    format!(
        "distributor: {{receivers: {{otlp: {{protocols: {{grpc: {{endpoint: '127.0.0.1:0', {grpc}}}, http: {{endpoint: '127.0.0.1:0', {http}}}}}}}}}}}"
    )
}
