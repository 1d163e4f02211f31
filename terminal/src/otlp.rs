//! Spans → an OTLP endpoint: over HTTP or gRPC, again and again while it is busy or away.

pub(crate) mod json;
pub(crate) mod split;
mod tls;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use prost::Message;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{StatusCode, Url};
use rustls::ClientConfig;
use tokio::time::Instant;
use tonic::Code;
use tonic::metadata::{Ascii, MetadataKey, MetadataValue};
use tonic::transport::Channel;

use crate::args::Identity;
use crate::client::{CONNECT_TIMEOUT, http_client, root_cause};
use crate::error::{Error, deepest_cause};

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// An endpoint that names a longer time is asked again after this.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(30);
/// How long an endpoint may be busy or away before sending ends.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long it may take to answer one request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Where spans are sent.
#[derive(Debug, Clone, Args)]
pub(crate) struct EndpointArguments {
    /// Address of the OTLP endpoint.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", default_value = "http://127.0.0.1:4318", value_name = "URL")]
    pub endpoint: String,
    /// [default: grpc where the port is 4317, else http]
    #[arg(long, value_enum)]
    pub protocol: Option<Protocol>,
    #[command(flatten)]
    pub identity: Identity,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    Grpc,
    /// Protobuf over HTTP.
    #[value(alias = "http/protobuf")]
    Http,
}

/// What became of a request that was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Spans that the endpoint did not want, and why.
    pub rejected_spans: u64,
    pub message: String,
}

pub(crate) struct Sender {
    endpoint: String,
    transport: Transport,
    /// Whether it has ever answered: one that never did is named wrongly, one that did may come back.
    has_answered: AtomicBool,
}

enum Transport {
    Http { client: reqwest::Client, url: Url },
    Grpc { client: TraceServiceClient<Channel>, metadata: Vec<(MetadataKey<Ascii>, MetadataValue<Ascii>)> },
}

/// Why a request was not taken.
enum Failure {
    /// Try again, after so long if it said so.
    Later {
        reason: String,
        after: Option<Duration>,
        is_away: bool,
    },
    Never {
        status: u16,
        text: String,
    },
}

impl Sender {
    pub(crate) fn new(arguments: &EndpointArguments) -> Result<Self, Error> {
        let endpoint = arguments.endpoint.trim_end_matches('/').to_owned();
        let unusable =
            |reason: &str| Error::Usage(format!("--endpoint {endpoint}: {reason}; write it as http://HOST:4318"));
        let url = Url::parse(&endpoint).map_err(|error| unusable(&error.to_string()))?;
        let default = if url.port() == Some(4317) { Protocol::Grpc } else { Protocol::Http };
        let transport = match arguments.protocol.unwrap_or(default) {
            Protocol::Http => Transport::Http { client: http_client(&arguments.identity)?, url: traces_url(url) },
            Protocol::Grpc => {
                let tls = if url.scheme() == "https" { Some(tls::config(&arguments.identity)?) } else { None };
                Transport::grpc(&endpoint, tls, &arguments.identity).map_err(|reason| unusable(&reason))?
            }
        };
        Ok(Self { endpoint, transport, has_answered: AtomicBool::new(false) })
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Sends until the request is taken, or refused for good.
    ///
    /// # Errors
    /// When it is refused for good, the endpoint never answered, or has not for [`PATIENCE`].
    pub(crate) async fn send(&self, request: ExportTraceServiceRequest) -> Result<Taken, Error> {
        let (deadline, mut backoff) = (Instant::now() + PATIENCE, FIRST_BACKOFF);
        loop {
            let (reason, after) = match self.transport.send(&request).await {
                Ok(taken) => {
                    self.has_answered.store(true, Ordering::Relaxed);
                    return Ok(taken);
                }
                Err(Failure::Never { status, text }) => {
                    return Err(Error::Refused { url: self.endpoint.clone(), status, text });
                }
                Err(Failure::Later { reason, is_away: true, .. }) if !self.has_answered.load(Ordering::Relaxed) => {
                    return Err(self.away(reason, "start one with `mosso`, or name another with --endpoint"));
                }
                Err(Failure::Later { reason, after, .. }) => (reason, after),
            };
            if Instant::now() >= deadline {
                return Err(self.away(reason, "try again when it is back"));
            }
            tokio::time::sleep(after.unwrap_or(backoff).min(LONGEST_RETRY_AFTER)).await;
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
    }

    fn away(&self, reason: String, mend: &str) -> Error {
        Error::Unreachable { url: self.endpoint.clone(), reason, mend: mend.to_owned() }
    }
}

/// The path that OTLP has for traces, unless it is there.
fn traces_url(mut url: Url) -> Url {
    if !url.path().ends_with("/v1/traces") {
        let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
        url.set_path(&path);
    }
    url
}

impl Transport {
    fn grpc(endpoint: &str, tls: Option<ClientConfig>, identity: &Identity) -> Result<Self, String> {
        let channel = Channel::from_shared(endpoint.to_owned()).map_err(|error| error.to_string())?;
        let channel = channel.timeout(ANSWER_TIMEOUT).connect_timeout(CONNECT_TIMEOUT);
        let channel = match tls {
            Some(config) => channel.connect_with_connector_lazy(tls::connector(config)),
            None => channel.connect_lazy(),
        };
        let entry = |(name, value): (String, String)| {
            let unusable = || format!("the header {name} is not one that gRPC can carry");
            let key = name.parse::<MetadataKey<Ascii>>().map_err(|_| unusable())?;
            Ok::<_, String>((key, value.parse::<MetadataValue<Ascii>>().map_err(|_| unusable())?))
        };
        let metadata = identity.headers().map(entry).collect::<Result<_, _>>()?;
        Ok(Self::Grpc { client: TraceServiceClient::new(channel), metadata })
    }

    async fn send(&self, request: &ExportTraceServiceRequest) -> Result<Taken, Failure> {
        match self {
            Self::Http { client, url } => over_http(client, url, request).await,
            Self::Grpc { client, metadata } => {
                let mut message = tonic::Request::new(request.clone());
                for (key, value) in metadata {
                    message.metadata_mut().insert(key.clone(), value.clone());
                }
                let answer = client.clone().export(message).await;
                answer.map(|answer| Taken::of(answer.into_inner())).map_err(|status| Failure::of_grpc(&status))
            }
        }
    }
}

async fn over_http(client: &reqwest::Client, url: &Url, request: &ExportTraceServiceRequest) -> Result<Taken, Failure> {
    let post = client.post(url.clone()).timeout(ANSWER_TIMEOUT).header(CONTENT_TYPE, "application/x-protobuf");
    let away = |error: &reqwest::Error| Failure::Later {
        reason: root_cause(error),
        after: None,
        is_away: error.is_connect() || error.is_request(),
    };
    let response = post.body(request.encode_to_vec()).send().await.map_err(|error| away(&error))?;
    let status = response.status();
    let after = response.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
    let body = response.bytes().await.map_err(|error| away(&error))?;
    match status {
        StatusCode::OK => Ok(Taken::of(ExportTraceServiceResponse::decode(body).unwrap_or_default())),
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => {
            let reason = format!("it is busy ({})", status.as_u16());
            Err(Failure::Later { reason, after: after.map(Duration::from_secs), is_away: false })
        }
        _ => Err(Failure::Never { status: status.as_u16(), text: refusal(&body) }),
    }
}

/// `google.rpc.Status`, which OTLP answers refusals with.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(string, tag = "2")]
    message: String,
}

fn refusal(body: &Bytes) -> String {
    let status = RpcStatus::decode(body.clone()).ok().filter(|status| !status.message.is_empty());
    status.map_or_else(|| String::from_utf8_lossy(body).trim().to_owned(), |status| status.message)
}

impl Taken {
    fn of(response: ExportTraceServiceResponse) -> Self {
        let partial = response.partial_success.unwrap_or_default();
        let rejected_spans = u64::try_from(partial.rejected_spans).unwrap_or_default();
        Self { rejected_spans, message: partial.error_message }
    }
}

impl Failure {
    fn of_grpc(status: &tonic::Status) -> Self {
        let reason = status.message().to_owned();
        match status.code() {
            // a channel that cannot connect says so with a source, a server that is busy without
            Code::Unavailable => match std::error::Error::source(status) {
                Some(source) => Self::Later { reason: deepest_cause(source).to_string(), after: None, is_away: true },
                None => Self::Later { reason, after: None, is_away: false },
            },
            Code::ResourceExhausted | Code::DeadlineExceeded | Code::Aborted | Code::Cancelled => {
                Self::Later { reason, after: None, is_away: false }
            }
            code => Self::Never { status: u16::try_from(code as i32).unwrap_or_default(), text: reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_traces_is_added_once() {
        for (endpoint, url) in [
            ("http://a:4318", "http://a:4318/v1/traces"),
            ("https://a/otlp", "https://a/otlp/v1/traces"),
            ("http://a:4318/v1/traces", "http://a:4318/v1/traces"),
        ] {
            assert_eq!(traces_url(Url::parse(endpoint).unwrap()).as_str(), url);
        }
    }

    #[tokio::test]
    async fn an_endpoint_that_was_never_there_is_named_with_the_mend() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        for protocol in [Protocol::Http, Protocol::Grpc] {
            let identity = Identity::default();
            let arguments = EndpointArguments { endpoint: endpoint.clone(), protocol: Some(protocol), identity };
            let error = Sender::new(&arguments).unwrap().send(ExportTraceServiceRequest::default()).await.unwrap_err();
            let text = error.to_string();
            assert!(
                text.starts_with(&format!("nothing answers at {endpoint}: ")) && text.contains("--endpoint"),
                "{text}"
            );
        }
    }
}
