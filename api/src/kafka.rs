//! Spans from a topic of Kafka: at least once, since an offset is committed after the log has what stands before it.
//!
//! ```text
//! kafka::Consumer ─▶ records of one poll ─▶ translate, push: as OTLP is ─▶ all are in the synced log ─▶ commit ─▶ next poll
//!                                              └▶ cannot be taken now: again, and nothing more is fetched meanwhile
//! ```
//!
//! A record that will never be taken is left out, counted and named in the log: it must not hold up those behind it.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::kafka::{Consumer, Place, Polled, Record};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use futures::{StreamExt, stream};
use receivers::zipkin::{Form, Reading};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tracing::{info, warn};

use crate::Edge;
use crate::otlp::body::wait_for_room;
use crate::otlp::json;
use crate::otlp::refusal::Refusal;
use crate::otlp::{admit, off_thread, push, turn};
use crate::telemetry::Receiver;
use crate::tenant;

/// Records that are being stored at a time: what takes long is the wait for the log, which takes many at once.
const PUSHES_AT_ONCE: usize = 16;
/// Pauses before brokers are asked again, or a record is stored again: from the first to the longest, twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long records that were read may still be stored after the group has begun to share its partitions anew. Well below the
/// time that it waits for its members.
const REBALANCE_PATIENCE: Duration = Duration::from_secs(20);
/// How long records may still be stored when the process stops: it takes no more, so what has not begun will not.
const STOP_PATIENCE: Duration = Duration::from_secs(1);
/// How long leaving the group may take.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// Spans from Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    pub consumer: ::kafka::Config,
    pub encoding: KafkaEncoding,
}

/// What a record is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KafkaEncoding {
    /// `ExportTraceServiceRequest` in protobuf, or in JSON.
    #[default]
    OtlpProto,
    OtlpJson,
    /// One span of Jaeger's.
    JaegerProto,
    /// A list of Zipkin's spans.
    ZipkinJson,
    ZipkinProto,
    ZipkinThrift,
}

impl KafkaEncoding {
    pub const ALL: [Self; 6] =
        [Self::OtlpProto, Self::OtlpJson, Self::JaegerProto, Self::ZipkinJson, Self::ZipkinProto, Self::ZipkinThrift];

    /// As the collector's receiver names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::OtlpProto => "otlp_proto",
            Self::OtlpJson => "otlp_json",
            Self::JaegerProto => "jaeger_proto",
            Self::ZipkinJson => "zipkin_json",
            Self::ZipkinProto => "zipkin_proto",
            Self::ZipkinThrift => "zipkin_thrift",
        }
    }

    fn to_otlp(self, value: Bytes) -> Result<Bytes, Refusal> {
        let zipkin = |form| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let now_nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
            receivers::zipkin::spans(form, value.clone(), Reading { parses_tags: false, now_nanos })
        };
        let request = match self {
            Self::OtlpProto => return Ok(value),
            Self::OtlpJson => return json::to_protobuf(&value).map_err(|error| Refusal::invalid(error.to_string())),
            Self::JaegerProto => receivers::jaeger::span(value.clone()),
            Self::ZipkinJson => zipkin(Form::V2Json),
            Self::ZipkinProto => zipkin(Form::V2Protobuf),
            Self::ZipkinThrift => zipkin(Form::V1Thrift),
        };
        Ok(prost::Message::encode_to_vec(&request?).into())
    }
}

/// Why a record is left out, as its counter has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// Its batch cannot be read.
    Damaged,
    Malformed,
    /// Larger than a limit allows at all.
    TooLarge,
}

impl Reason {
    fn label(self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
        }
    }
}

/// A record that is left out for good.
struct LeftOut {
    place: Place,
    reason: Reason,
    detail: String,
}

/// What reads the topic.
pub(crate) struct Topic {
    pub(crate) consumer: Consumer,
    pub(crate) name: String,
    pub(crate) encoding: KafkaEncoding,
}

impl Topic {
    /// Reads until `shutdown` is cancelled; what is being stored then is given a moment.
    pub(crate) async fn serve(mut self, edge: Arc<Edge>, shutdown: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        while !shutdown.is_cancelled() {
            let polled = tokio::select! {
                () = shutdown.cancelled() => break,
                polled = self.consumer.poll() => polled,
            };
            let taken = match polled {
                Ok(polled) => self.take(&edge, polled, &shutdown).await,
                Err(error) => Err(error),
            };
            match taken {
                Ok(()) => pause = FIRST_PAUSE,
                Err(error) if error.is_rebalance() => {
                    info!(topic = self.name, "the group of Kafka shares the topic anew")
                }
                Err(error) => {
                    edge.telemetry.kafka_failed();
                    warn!(topic = self.name, %error, again_in = ?pause, "nothing is read from Kafka");
                    _ = timeout(pause, shutdown.cancelled()).await;
                    pause = longer(pause);
                }
            }
        }
        _ = timeout(LEAVE_TIMEOUT, self.consumer.close()).await;
    }

    /// Stores records and commits their offsets, unless the partitions are others' before that is done: then they read them
    /// again.
    async fn take(&mut self, edge: &Edge, polled: Polled, shutdown: &CancellationToken) -> Result<(), ::kafka::Error> {
        let Polled { records, damaged, ends } = polled;
        let stored = stream::iter(records).map(|record| self.store(edge, record)).buffered(PUSHES_AT_ONCE);
        let stored = stored.filter_map(std::future::ready).collect::<Vec<LeftOut>>();
        let given_up = async {
            tokio::select! {
                () = after(self.consumer.membership_ended(), REBALANCE_PATIENCE) => {}
                () = after(shutdown.cancelled(), STOP_PATIENCE) => {}
            }
        };
        let refused = tokio::select! {
            refused = stored => refused,
            () = given_up => {
                self.consumer.forget();
                return Ok(());
            }
        };
        let damaged = damaged.into_iter();
        let damaged = damaged.map(|of| LeftOut { place: of.place, reason: Reason::Damaged, detail: of.reason });
        self.tell(edge, damaged.chain(refused).collect());
        self.consumer.commit(&ends).await
    }

    /// Returns when the record is in the log, or was found to be one that is left out.
    async fn store(&self, edge: &Edge, record: Record) -> Option<LeftOut> {
        let place = record.place;
        let left_out = |reason, detail: &str| Some(LeftOut { place, reason, detail: detail.to_owned() });
        let Some(_room) = wait_for_room(edge, record.value.len()).await else {
            return left_out(Reason::TooLarge, "it is larger than all requests together may be");
        };
        let mut pause = FIRST_PAUSE;
        loop {
            match self.try_store(edge, &record).await {
                Ok(()) => return None,
                Err(refusal) if refusal.may_pass() => {
                    edge.telemetry.kafka_record(self.encoding.name(), "retried");
                    tokio::time::sleep(refusal.retry_after().unwrap_or(pause).min(LONGEST_PAUSE)).await;
                    pause = longer(pause);
                }
                Err(refusal) => {
                    let is_size = refusal.code() == Code::ResourceExhausted;
                    let reason = if is_size { Reason::TooLarge } else { Reason::Malformed };
                    return left_out(reason, refusal.message());
                }
            }
        }
    }

    async fn try_store(&self, edge: &Edge, record: &Record) -> Result<(), Refusal> {
        let tenant = admit(edge, &headers(record))?;
        let _turn = turn(edge).await?;
        let (encoding, value) = (self.encoding, record.value.clone());
        let message = off_thread(value.len(), move || encoding.to_otlp(value)).await?;
        push(edge, Receiver::kafka(encoding.name()), &tenant, message).await?;
        edge.telemetry.kafka_record(encoding.name(), "stored");
        Ok(())
    }

    /// Counts what was left out; names the first in the log, as a topic of something else would fill it.
    fn tell(&self, edge: &Edge, left_out: Vec<LeftOut>) {
        for of in &left_out {
            edge.telemetry.kafka_record(self.encoding.name(), of.reason.label());
        }
        if let Some(LeftOut { place: Place { partition, offset }, reason, detail }) = left_out.first() {
            let (count, reason) = (left_out.len(), reason.label());
            warn!(topic = self.name, partition, offset, reason, detail, count, "records from Kafka are left out");
        }
    }
}

/// A record names its tenant as a request does.
fn headers(record: &Record) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(tenant) = record.header(tenant::HEADER)
        && let Ok(value) = HeaderValue::from_bytes(tenant)
        && let Ok(name) = HeaderName::from_bytes(tenant::HEADER.as_bytes())
    {
        headers.insert(name, value);
    }
    headers
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).min(LONGEST_PAUSE)
}

async fn after(event: impl Future<Output = ()>, delay: Duration) {
    event.await;
    tokio::time::sleep_until(Instant::now() + delay).await;
}
