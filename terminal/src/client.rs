//! Tempo's HTTP API from the other side: questions → answers in types.

mod answers;

use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use prost::Message;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, RequestBuilder, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(crate) use self::answers::{
    Deleted, DeletedTrace, DeletionReport, FoundSpan, FoundTrace, MetricsAnswer, SearchAnswer, Series, TagNames,
    TagValues,
};
use crate::args::{Identity, Server, Times};
use crate::error::{Error, deepest_cause};

/// A server that accepts no connection within this time is not there.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for an answer: longer than what servers give a query.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(600);

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/protobuf";
/// Where mosso deletes traces.
const DELETIONS: &str = "/api/deletions";
/// Where mosso says how the next page is asked for.
const NEXT_CURSOR: &str = "x-mosso-next-cursor";

/// A server, and who asks it.
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
}

/// A search as it is asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Search {
    pub query: String,
    pub limit: usize,
    /// Most spans of a trace in the answer; `None` for the server's default.
    pub spans_per_trace: Option<usize>,
    /// Where the page before this one ended.
    pub cursor: Option<String>,
}

/// One page of traces.
pub(crate) struct Page {
    /// As the server wrote it.
    pub body: Bytes,
    pub answer: SearchAnswer,
    pub next_cursor: Option<String>,
}

/// A trace, or what is there of it.
pub(crate) struct FetchedTrace {
    pub resource_spans: Vec<ResourceSpans>,
    /// Why spans are missing.
    pub partial: Option<String>,
}

/// Tempo's `TraceByIDResponse`.
#[derive(Clone, PartialEq, Message)]
struct TraceByIdResponse {
    #[prost(message, optional, tag = "1")]
    trace: Option<TraceMessage>,
    #[prost(int32, tag = "3")]
    status: i32,
    #[prost(string, tag = "4")]
    message: String,
}

#[derive(Clone, PartialEq, Message)]
struct TraceMessage {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

/// `PartialStatus.PARTIAL`
const PARTIAL: i32 = 1;

impl Client {
    pub(crate) fn new(server: &Server) -> Result<Self, Error> {
        let url = server.url.trim_end_matches('/').to_owned();
        Url::parse(&url)
            .map_err(|error| Error::Usage(format!("--url {url}: {error}; write it as http://HOST:3200")))?;
        Ok(Self { http: http_client(&server.identity)?, url })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) async fn search(&self, search: &Search, times: Times) -> Result<Page, Error> {
        let mut params = vec![
            ("q", search.query.clone()),
            ("start", (times.start_nanos / SECOND).to_string()),
            ("end", times.end_nanos.div_ceil(SECOND).to_string()),
            ("limit", search.limit.to_string()),
        ];
        params.extend(search.spans_per_trace.map(|spans| ("spss", spans.to_string())));
        params.extend(search.cursor.clone().map(|cursor| ("cursor", cursor)));
        let Answer { headers, body } = self.ask("/api/search", &params, JSON, Some(&search.query)).await?;
        let next_cursor = headers.get(NEXT_CURSOR).and_then(|cursor| cursor.to_str().ok()).map(str::to_owned);
        Ok(Page { answer: self.read(&body)?, body, next_cursor })
    }

    /// Numbers over time, with a step that suits the range unless one is given.
    pub(crate) async fn metrics(
        &self,
        query: &str,
        times: Times,
        step: Option<Duration>,
    ) -> Result<(Bytes, MetricsAnswer), Error> {
        let mut params = metrics_params(query, times);
        params.extend(step.map(|step| ("step", format!("{}s", step.as_secs_f64()))));
        let body = self.ask("/api/metrics/query_range", &params, JSON, Some(query)).await?.body;
        Ok((body.clone(), self.read(&body)?))
    }

    /// One number for the whole range.
    pub(crate) async fn instant(&self, query: &str, times: Times) -> Result<(Bytes, MetricsAnswer), Error> {
        let body = self.ask("/api/metrics/query", &metrics_params(query, times), JSON, Some(query)).await?.body;
        Ok((body.clone(), self.read(&body)?))
    }

    /// A trace, or of it the spans that `filter` is true of with what stands above them.
    pub(crate) async fn trace(&self, id: &str, filter: Option<&str>) -> Result<FetchedTrace, Error> {
        let params: Vec<_> = filter.iter().map(|filter| ("q", (*filter).to_owned())).collect();
        let path = format!("/api/v2/traces/{}", encoded(id));
        let body = self.ask(&path, &params, PROTOBUF, filter).await?.body;
        let response = TraceByIdResponse::decode(body).map_err(|error| self.unreadable(&error.to_string()))?;
        let partial = (response.status == PARTIAL).then_some(response.message);
        Ok(FetchedTrace { resource_spans: response.trace.unwrap_or_default().resource_spans, partial })
    }

    pub(crate) async fn tag_names(&self, filter: Option<&str>, times: Times) -> Result<(Bytes, TagNames), Error> {
        let body = self.ask("/api/v2/search/tags", &tags_params(filter, times), JSON, filter).await?.body;
        Ok((body.clone(), self.read(&body)?))
    }

    pub(crate) async fn tag_values(
        &self,
        name: &str,
        filter: Option<&str>,
        times: Times,
    ) -> Result<(Bytes, TagValues), Error> {
        let path = format!("/api/v2/search/tag/{}/values", encoded(name));
        let body = self.ask(&path, &tags_params(filter, times), JSON, filter).await?.body;
        Ok((body.clone(), self.read(&body)?))
    }

    /// Deletes traces of a mosso, or asks which would be.
    pub(crate) async fn delete(&self, deletion: &Value, query: Option<&str>) -> Result<(Bytes, Deleted), Error> {
        let request = self.http.post(format!("{}{DELETIONS}", self.url)).header(CONTENT_TYPE, JSON);
        let body = self.send(request.body(deletion.to_string()), query).await?.body;
        Ok((body.clone(), self.read(&body)?))
    }

    /// What became of the traces that were deleted.
    pub(crate) async fn deletions(&self) -> Result<(Bytes, DeletionReport), Error> {
        let body = self.ask(DELETIONS, &[], JSON, None).await?.body;
        Ok((body.clone(), self.read(&body)?))
    }

    async fn ask(
        &self,
        path: &str,
        params: &[(&str, String)],
        accept: &'static str,
        query: Option<&str>,
    ) -> Result<Answer, Error> {
        let url = Url::parse_with_params(&format!("{}{path}", self.url), params)
            .map_err(|error| Error::Usage(format!("{}{path}: {error}", self.url)))?;
        self.send(self.http.get(url).header(ACCEPT, accept), query).await
    }

    async fn send(&self, request: RequestBuilder, query: Option<&str>) -> Result<Answer, Error> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        if status != StatusCode::OK {
            return Err(self.refused(status, &String::from_utf8_lossy(&body), query));
        }
        Ok(Answer { headers, body })
    }

    fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(body).map_err(|error| self.unreadable(&error.to_string()))
    }

    fn unreadable(&self, reason: &str) -> Error {
        Error::Answer { url: self.url.clone(), reason: reason.to_owned() }
    }

    fn unreachable(&self, error: &reqwest::Error) -> Error {
        let mend = "start one with `mosso`, or name another with --url or MOSSO_URL".to_owned();
        Error::Unreachable { url: self.url.clone(), reason: root_cause(error), mend }
    }

    fn refused(&self, status: StatusCode, text: &str, query: Option<&str>) -> Error {
        if status == StatusCode::BAD_REQUEST
            && let Some(refused) = query.and_then(|query| Error::of_query(query, text))
        {
            return refused;
        }
        let advice = match status {
            StatusCode::UNAUTHORIZED => "; --tenant, --token and --header say who asks",
            StatusCode::NOT_FOUND => "; is it a Tempo's HTTP API? --url names another, with its prefix",
            _ => "",
        };
        let text = format!("{}{advice}", text.trim());
        Error::Refused { url: self.url.clone(), status: status.as_u16(), text }
    }
}

struct Answer {
    headers: HeaderMap,
    body: Bytes,
}

const SECOND: u64 = 1_000_000_000;

fn metrics_params(query: &str, times: Times) -> Vec<(&'static str, String)> {
    let (start, end) = (times.start_nanos.to_string(), times.end_nanos.to_string());
    vec![("q", query.to_owned()), ("start", start), ("end", end)]
}

fn tags_params(filter: Option<&str>, times: Times) -> Vec<(&'static str, String)> {
    let (start, end) = ((times.start_nanos / SECOND).to_string(), times.end_nanos.div_ceil(SECOND).to_string());
    let filter = filter.map(|filter| ("q", filter.to_owned()));
    filter.into_iter().chain([("start", start), ("end", end)]).collect()
}

fn encoded(segment: &str) -> String {
    utf8_percent_encode(segment, NON_ALPHANUMERIC).to_string()
}

/// A client that says who it is with every request.
pub(crate) fn http_client(identity: &Identity) -> Result<reqwest::Client, Error> {
    // a second one is refused and changes nothing
    _ = rustls::crypto::ring::default_provider().install_default();
    let mut headers = HeaderMap::new();
    for (name, value) in identity.headers() {
        let unusable = || Error::Usage(format!("the header {name} is not one that HTTP can carry"));
        let header = HeaderName::try_from(&name).map_err(|_| unusable())?;
        headers.insert(header, HeaderValue::try_from(&value).map_err(|_| unusable())?);
    }
    let mut builder = reqwest::Client::builder()
        .default_headers(headers)
        .user_agent(concat!("mosso/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(ANSWER_TIMEOUT)
        .tls_danger_accept_invalid_certs(identity.insecure_skip_verify);
    if let Some(file) = &identity.ca_file {
        let pem = std::fs::read(file).map_err(|source| Error::File { path: file.clone(), source })?;
        let certificates = Certificate::from_pem_bundle(&pem)
            .map_err(|error| Error::Usage(format!("{}: {}", file.display(), root_cause(&error))))?;
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(|error| Error::Usage(format!("the HTTP client: {}", root_cause(&error))))
}

/// What people can act on: `connection refused`.
pub(crate) fn root_cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    deepest_cause(error).to_string()
}
