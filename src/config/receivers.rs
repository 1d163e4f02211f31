//! `distributor.receivers`. A receiver or protocol that is named listens, with or without settings.

mod otlp;

use std::fmt;
use std::ops::RangeInclusive;

use api::{
    JaegerConfig, KafkaConfig, ListenAddress, ListenHost, OtlpGrpcConfig, OtlpHttpConfig, UdpConfig, ZipkinConfig,
};
use schemars::JsonSchema;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

pub use self::otlp::Otlp;
use super::kafka::Kafka;
use super::tls::ReceiverTls;

/// What spans come by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Receivers {
    pub otlp: Otlp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jaeger: Option<Jaeger>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zipkin: Option<Zipkin>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kafka: Option<Kafka>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Receiver {
    Otlp,
    Jaeger,
    Zipkin,
    Kafka,
    OpenCensus,
}

/// Read as a map, in which a key counts that has no value: `zipkin:` alone means that Zipkin is received.
impl<'de> Deserialize<'de> for Receivers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ReceiversVisitor)
    }
}

struct ReceiversVisitor;

impl<'de> Visitor<'de> for ReceiversVisitor {
    type Value = Receivers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("otlp, jaeger, zipkin and kafka")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Receivers, A::Error> {
        let mut receivers = Receivers::default();
        while let Some(receiver) = entries.next_key()? {
            match receiver {
                Receiver::Otlp => receivers.otlp = entries.next_value()?,
                Receiver::Jaeger => receivers.jaeger = Some(entries.next_value()?),
                Receiver::Zipkin => receivers.zipkin = Some(entries.next_value()?),
                Receiver::Kafka => receivers.kafka = Some(entries.next_value()?),
                Receiver::OpenCensus => _ = entries.next_value::<IgnoredAny>()?,
            }
        }
        Ok(receivers)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Jaeger {
    pub protocols: JaegerProtocols,
}

/// A protocol that is named listens, with or without settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct JaegerProtocols {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<JaegerGrpc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thrift_http: Option<JaegerHttp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thrift_compact: Option<JaegerUdp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thrift_binary: Option<JaegerUdp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum JaegerProtocol {
    Grpc,
    ThriftHttp,
    ThriftCompact,
    ThriftBinary,
}

impl<'de> Deserialize<'de> for JaegerProtocols {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(JaegerProtocolsVisitor)
    }
}

struct JaegerProtocolsVisitor;

impl<'de> Visitor<'de> for JaegerProtocolsVisitor {
    type Value = JaegerProtocols;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("grpc, thrift_http, thrift_compact and thrift_binary")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<JaegerProtocols, A::Error> {
        let mut protocols = JaegerProtocols::default();
        while let Some(protocol) = entries.next_key()? {
            match protocol {
                JaegerProtocol::Grpc => protocols.grpc = Some(entries.next_value()?),
                JaegerProtocol::ThriftHttp => protocols.thrift_http = Some(entries.next_value()?),
                JaegerProtocol::ThriftCompact => protocols.thrift_compact = Some(entries.next_value()?),
                JaegerProtocol::ThriftBinary => protocols.thrift_binary = Some(entries.next_value()?),
            }
        }
        Ok(protocols)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JaegerGrpc {
    /// Where Jaeger's spans over gRPC are received: `host:port`. Closed unless the protocol is named, then
    /// `127.0.0.1:14250`.
    pub endpoint: ListenAddress,
    /// Largest request, in MiB, after decompression (Tempo's default, 4).
    pub max_recv_msg_size_mib: usize,
    pub tls: ReceiverTls,
}

impl Default for JaegerGrpc {
    fn default() -> Self {
        Self { endpoint: on_loopback(14250), max_recv_msg_size_mib: 4, tls: ReceiverTls::default() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JaegerHttp {
    /// Where Jaeger's thrift over HTTP is received: `host:port`. Closed unless the protocol is named, then
    /// `127.0.0.1:14268`.
    pub endpoint: ListenAddress,
    /// Largest body, in bytes, after decompression (Tempo's default, 20 MiB).
    pub max_request_body_size: usize,
    pub tls: ReceiverTls,
}

impl Default for JaegerHttp {
    fn default() -> Self {
        Self { endpoint: on_loopback(14268), max_request_body_size: 20 << 20, tls: ReceiverTls::default() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JaegerUdp {
    /// Where packets for a Jaeger agent are received: `host:port`. Closed unless the protocol is named, then
    /// `127.0.0.1:6831` in thrift's compact and `127.0.0.1:6832` in its binary encoding.
    pub endpoint: Option<ListenAddress>,
    /// Packets that wait to be stored (Tempo's default, 1,000); more are dropped and counted.
    pub queue_size: usize,
    /// Largest packet, in bytes (Tempo's default, 65,000); larger ones are dropped and counted.
    pub max_packet_size: usize,
    /// Packets that are being stored at a time (Tempo's default, 10).
    pub workers: usize,
    /// Bytes that the system keeps until they are read; 0 for its own default.
    pub socket_buffer_size: usize,
}

impl Default for JaegerUdp {
    fn default() -> Self {
        let UdpConfig { queue_size, max_packet_size, workers, socket_buffer_size, .. } = UdpConfig::at(on_loopback(0));
        Self { endpoint: None, queue_size, max_packet_size, workers, socket_buffer_size }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Zipkin {
    /// Where Zipkin's spans are received: `host:port`. Closed unless the receiver is named, then `127.0.0.1:9411`.
    pub endpoint: ListenAddress,
    /// Largest body, in bytes, after decompression (Tempo's default, 20 MiB).
    pub max_request_body_size: usize,
    /// Whether tags that look like numbers and booleans are such.
    pub parse_string_tags: bool,
    pub tls: ReceiverTls,
}

impl Default for Zipkin {
    fn default() -> Self {
        let tls = ReceiverTls::default();
        Self { endpoint: on_loopback(9411), max_request_body_size: 20 << 20, parse_string_tags: false, tls }
    }
}

fn on_loopback(port: u16) -> ListenAddress {
    ListenAddress::new(ListenHost::loopback(), port)
}

impl Jaeger {
    pub(super) fn names_a_protocol(&self) -> bool {
        self.protocols != JaegerProtocols::default()
    }

    /// The section of packets that has a setting which cannot be used, and why.
    pub(super) fn problem_of_packets(&self) -> Option<(&'static str, String)> {
        let sections = [
            ("distributor.receivers.jaeger.protocols.thrift_compact", &self.protocols.thrift_compact),
            ("distributor.receivers.jaeger.protocols.thrift_binary", &self.protocols.thrift_binary),
        ];
        sections.into_iter().find_map(|(key, udp)| Some((key, udp.as_ref()?.problem()?)))
    }

    fn has_packets(&self) -> bool {
        self.protocols.thrift_compact.is_some() || self.protocols.thrift_binary.is_some()
    }
}

/// What packets may take. A packet of UDP is no larger.
const QUEUE_SIZE: RangeInclusive<usize> = 1..=100_000;
const MAX_PACKET_SIZE: RangeInclusive<usize> = 1..=65_535;
const WORKERS: RangeInclusive<usize> = 1..=1_000;

impl JaegerUdp {
    /// Which setting cannot be used, and why.
    fn problem(&self) -> Option<String> {
        let settings = [
            ("queue_size", self.queue_size, QUEUE_SIZE),
            ("max_packet_size", self.max_packet_size, MAX_PACKET_SIZE),
            ("workers", self.workers, WORKERS),
        ];
        let wrong = settings.into_iter().find(|(_, value, range)| !range.contains(value));
        wrong.map(|(name, _, range)| format!("{name} must be between {} and {}", range.start(), range.end()))
    }

    fn api(&self, default_port: u16) -> UdpConfig {
        UdpConfig {
            endpoint: self.endpoint.clone().unwrap_or_else(|| on_loopback(default_port)),
            queue_size: self.queue_size,
            max_packet_size: self.max_packet_size,
            workers: self.workers,
            socket_buffer_size: self.socket_buffer_size,
        }
    }
}

/// A section that cannot be used, and why.
type Unusable = (&'static str, String);

impl Receivers {
    pub(super) fn jaeger(&self) -> Result<JaegerConfig, Unusable> {
        let JaegerProtocols { grpc, thrift_http, thrift_compact, thrift_binary } =
            self.jaeger.clone().unwrap_or_default().protocols;
        let grpc = grpc.map(|JaegerGrpc { endpoint, max_recv_msg_size_mib, tls }| {
            let tls = tls.to_api().map_err(|reason| ("distributor.receivers.jaeger.protocols.grpc.tls", reason))?;
            Ok(OtlpGrpcConfig { endpoint, max_recv_msg_size_mib, tls })
        });
        let thrift_http = thrift_http.map(|JaegerHttp { endpoint, max_request_body_size, tls }| {
            let key = "distributor.receivers.jaeger.protocols.thrift_http.tls";
            let tls = tls.to_api().map_err(|reason| (key, reason))?;
            Ok(OtlpHttpConfig { endpoint, max_request_body_size, tls, ..OtlpHttpConfig::default() })
        });
        Ok(JaegerConfig {
            grpc: grpc.transpose()?,
            thrift_http: thrift_http.transpose()?,
            thrift_compact: thrift_compact.map(|udp| udp.api(6831)),
            thrift_binary: thrift_binary.map(|udp| udp.api(6832)),
        })
    }

    pub(super) fn zipkin(&self) -> Result<Option<ZipkinConfig>, Unusable> {
        let zipkin = self.zipkin.clone().map(|Zipkin { endpoint, max_request_body_size, parse_string_tags, tls }| {
            let tls = tls.to_api().map_err(|reason| ("distributor.receivers.zipkin.tls", reason))?;
            Ok(ZipkinConfig { endpoint, max_request_body_size, parse_string_tags, tls })
        });
        zipkin.transpose()
    }

    pub(super) fn kafka(&self) -> Result<Option<KafkaConfig>, Unusable> {
        let kafka = self.kafka.as_ref().map(Kafka::to_api);
        kafka.transpose().map_err(|reason| ("distributor.receivers.kafka", reason))
    }

    /// Whether packets come, which have no header that names a tenant.
    pub(super) fn has_packets(&self) -> bool {
        self.jaeger.as_ref().is_some_and(Jaeger::has_packets)
    }
}
