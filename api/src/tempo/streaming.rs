//! gRPC `tempopb.StreamingQuerier`: searches, metrics and lists of tags, with the parameters, checks and answers of the paths under
//! `/api`. One message asks; the last message of the answer is whole.
//!
//! ```text
//! serve()  method → call() → task: answer() of tempo.rs → handler → last messages → status
//!                                                          └─ search: what is certain, while the search runs
//! ```
//!
//! Every call runs in a task that its stream owns: a client that reads slowly does not hold up the query, and one that
//! goes away ends it.

mod requests;

use std::sync::Arc;

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use model::Tenants;
use prost::Message;
use querier::answer::SearchAnswer;
use tokio::sync::{mpsc, watch};
use tonic::Status;
use tracing::Instrument;

use self::requests::{
    QueryInstantRequest, QueryRangeRequest, SearchRequest, SearchTagValuesRequest, SearchTagsRequest,
};
use super::metrics;
use super::packets::packets;
use super::reply::QueryError;
use super::search::{self, AnswerForm};
use super::{Asker, answer, now_nanos};
use crate::grpc::{Limits, outcome_label, serve_common, server_streaming};
use crate::{Edge, QueryConfig, request_span};

const SEARCH: &str = "/tempopb.StreamingQuerier/Search";
const SEARCH_TAGS: &str = "/tempopb.StreamingQuerier/SearchTags";
const SEARCH_TAGS_V2: &str = "/tempopb.StreamingQuerier/SearchTagsV2";
const SEARCH_TAG_VALUES: &str = "/tempopb.StreamingQuerier/SearchTagValues";
const SEARCH_TAG_VALUES_V2: &str = "/tempopb.StreamingQuerier/SearchTagValuesV2";

const METRICS_QUERY_RANGE: &str = "/tempopb.StreamingQuerier/MetricsQueryRange";
const METRICS_QUERY_INSTANT: &str = "/tempopb.StreamingQuerier/MetricsQueryInstant";

/// What a request may take besides its query: names, and the tags of a search without one.
const REQUEST_BYTES: usize = 64 << 10;

/// Every gRPC method of the HTTP port. A method is also its label in `tempo_request_duration_seconds`.
pub(crate) async fn serve(edge: Arc<Edge>, request: Request) -> Response {
    match request.uri().path() {
        SEARCH => call(edge, SEARCH, request, search).await,
        SEARCH_TAGS => call(edge, SEARCH_TAGS, request, tag_names_v1).await,
        SEARCH_TAGS_V2 => call(edge, SEARCH_TAGS_V2, request, tag_names_v2).await,
        SEARCH_TAG_VALUES => call(edge, SEARCH_TAG_VALUES, request, tag_values_v1).await,
        SEARCH_TAG_VALUES_V2 => call(edge, SEARCH_TAG_VALUES_V2, request, tag_values_v2).await,
        METRICS_QUERY_RANGE => call(edge, METRICS_QUERY_RANGE, request, metrics_range).await,
        METRICS_QUERY_INSTANT => call(edge, METRICS_QUERY_INSTANT, request, metrics_instant).await,
        _ => serve_common(edge, request).await,
    }
}

/// One call, ready to be answered.
struct Call<M> {
    edge: Arc<Edge>,
    tenants: Tenants,
    now_nanos: u64,
    message: M,
    /// Takes messages before the last.
    early: mpsc::Sender<Bytes>,
}

impl<M> Call<M> {
    fn asker(&self) -> Asker<'_> {
        Asker { edge: &self.edge, tenants: &self.tenants, now_nanos: self.now_nanos }
    }

    fn config(&self) -> QueryConfig {
        self.edge.query_config(&self.tenants)
    }
}

/// Answers one call; `handler` gives the messages of the whole answer.
async fn call<M, F>(
    edge: Arc<Edge>,
    route: &'static str,
    request: Request,
    handler: impl Fn(Call<M>) -> F + Copy + Send + Sync + 'static,
) -> Response
where
    M: Message + Default + 'static,
    F: Future<Output = Result<Vec<Bytes>, QueryError>> + Send + 'static,
{
    let headers = request.headers().clone();
    let limits = limits(&edge);
    server_streaming(request, limits, |bytes, sender| {
        let message = M::decode(bytes).map_err(|error| Status::invalid_argument(error.to_string()))?;
        Ok(work(edge.clone(), route, headers.clone(), message, sender, handler))
    })
    .await
}

fn limits(edge: &Edge) -> Limits {
    let QueryConfig { max_query_bytes, .. } = edge.config.query;
    Limits { bytes: max_query_bytes.saturating_add(REQUEST_BYTES), time: edge.config.body_read_timeout() }
}

async fn work<M, F>(
    edge: Arc<Edge>,
    route: &'static str,
    headers: HeaderMap,
    message: M,
    messages: mpsc::Sender<Bytes>,
    handler: impl Fn(Call<M>) -> F,
) -> Result<(), Status>
where
    F: Future<Output = Result<Vec<Bytes>, QueryError>>,
{
    let inflight = edge.telemetry.begin("gRPC", route);
    let early = messages.clone();
    let call = |tenants| handler(Call { edge: edge.clone(), tenants, now_nanos: now_nanos(), message, early });
    let answered = answer(&edge, &headers, call).instrument(request_span::of(route, &headers)).await;
    inflight.finish(outcome_label(answered.is_err()));
    for message in answered.map_err(QueryError::into_grpc)? {
        if messages.send(message).await.is_err() {
            break; // nobody reads any more
        }
    }
    Ok(())
}

async fn search(call: Call<SearchRequest>) -> Result<Vec<Bytes>, QueryError> {
    let config = call.config();
    let request = call.message.asked().check(&config, call.now_nanos)?;
    let form = AnswerForm::of(&request, &config);
    let (sender, certain) = watch::channel(SearchAnswer::default());
    let telling = async {
        tell(certain, form, &call.early).await;
        std::future::pending().await
    };
    tokio::select! {
        answered = search::answer(call.asker(), request, form, Some(&sender)) => Ok(packets(answered?)),
        never = telling => never,
    }
}

/// Sends what has become certain since the last message, and how far the search has come. Ends when nobody listens.
async fn tell(mut certain: watch::Receiver<SearchAnswer>, form: AnswerForm, messages: &mpsc::Sender<Bytes>) {
    let mut told = 0;
    while certain.changed().await.is_ok() {
        let news = {
            let known = certain.borrow_and_update();
            SearchAnswer {
                traces: known.traces.get(told..).unwrap_or_default().to_vec(),
                metrics: known.metrics,
                lack: None,
            }
        };
        told += news.traces.len();
        for message in packets(search::response(news, form)) {
            if messages.send(message).await.is_err() {
                return;
            }
        }
    }
}

async fn tag_names_v1(call: Call<SearchTagsRequest>) -> Result<Vec<Bytes>, QueryError> {
    Ok(packets(call.message.asked().v1(call.asker()).await?.0))
}

async fn tag_names_v2(call: Call<SearchTagsRequest>) -> Result<Vec<Bytes>, QueryError> {
    Ok(packets(call.message.asked().v2(call.asker()).await?.0))
}

async fn tag_values_v1(call: Call<SearchTagValuesRequest>) -> Result<Vec<Bytes>, QueryError> {
    Ok(packets(call.message.asked().v1(call.asker()).await?.0))
}

async fn tag_values_v2(call: Call<SearchTagValuesRequest>) -> Result<Vec<Bytes>, QueryError> {
    Ok(packets(call.message.asked().v2(call.asker()).await?.0))
}

async fn metrics_range(call: Call<QueryRangeRequest>) -> Result<Vec<Bytes>, QueryError> {
    let asked = call.message.asked(call.now_nanos);
    let request = asked.check_range(&call.config(), call.now_nanos);
    let request = request.map_err(QueryError::unknown_over_grpc)?;
    Ok(packets(metrics::answer_range(call.asker(), request).await?))
}

/// Unlike over HTTP the end is not cut off, as in Tempo.
async fn metrics_instant(call: Call<QueryInstantRequest>) -> Result<Vec<Bytes>, QueryError> {
    let request = call.message.asked(call.now_nanos).check_instant(&call.config());
    let request = request.map_err(QueryError::unknown_over_grpc)?;
    Ok(packets(metrics::answer_instant(call.asker(), request).await?))
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
