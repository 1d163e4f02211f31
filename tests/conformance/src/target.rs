//! The server under test: where it listens and what is sent with every request.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::grpc;
use crate::http::{self, Request, Response};

#[derive(Debug, Clone)]
pub struct Target {
    /// Root of the query API, such as `http://127.0.0.1:3200`.
    pub api: String,
    /// Root of OTLP over HTTP, such as `http://127.0.0.1:4318`.
    pub otlp: String,
    /// `host:port` of OTLP over gRPC; without it the cases that need it are left out.
    pub grpc: Option<String>,
    /// `host:port` of the streaming service, when it is not that of `api`.
    pub stream: Option<String>,
    /// Sent with every request, for instance a tenant.
    pub headers: Vec<(String, String)>,
    /// For one request.
    pub timeout: Duration,
}

impl Target {
    /// A target without gRPC and without headers of its own.
    pub fn new(api: impl Into<String>, otlp: impl Into<String>) -> Target {
        let (api, otlp) = (trimmed(api.into()), trimmed(otlp.into()));
        Target { api, otlp, grpc: None, stream: None, headers: Vec::new(), timeout: Duration::from_secs(60) }
    }

    /// Sends one request to `root`. A header of the request replaces one of the target.
    pub async fn http(
        &self,
        root: &str,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: Option<&[u8]>,
    ) -> Result<Response> {
        let given = |name: &str| headers.iter().any(|(n, _)| n == name);
        let mut all: Vec<_> = self.headers.iter().filter(|(name, _)| !given(name)).cloned().collect();
        all.extend_from_slice(headers);
        http::send(&Request { root, method, path, headers: all, body, timeout: self.timeout }).await
    }

    pub async fn get(&self, path: &str) -> Result<Response> {
        self.http(&self.api, "GET", path, &[], None).await
    }

    pub fn otlp_grpc(&self) -> Result<grpc::Client<'_>> {
        let address = self.grpc.as_deref().context("the target has no gRPC address")?;
        Ok(grpc::Client { address, headers: &self.headers, timeout: self.timeout })
    }

    pub fn streaming(&self) -> Result<grpc::Client<'_>> {
        let address = match &self.stream {
            Some(address) => address,
            None => http::split_root(&self.api)?.0,
        };
        Ok(grpc::Client { address, headers: &self.headers, timeout: self.timeout })
    }
}

fn trimmed(root: String) -> String {
    root.trim_end_matches('/').to_owned()
}
