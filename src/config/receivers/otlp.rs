//! `distributor.receivers.otlp`. A protocol that is named listens, with or without settings.

use std::fmt;

use api::{ListenAddress, ListenHost};
use schemars::JsonSchema;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::config::access::Cors;
use crate::config::tls::ReceiverTls;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Otlp {
    pub protocols: OtlpProtocols,
}

/// A protocol that is named listens, with or without settings; without this section both do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OtlpProtocols {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcReceiver>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpReceiver>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum OtlpProtocol {
    Grpc,
    Http,
}

/// Read as a map, in which a key counts that has no value: `grpc:` alone means that OTLP comes over gRPC.
impl<'de> Deserialize<'de> for OtlpProtocols {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OtlpProtocolsVisitor)
    }
}

struct OtlpProtocolsVisitor;

impl<'de> Visitor<'de> for OtlpProtocolsVisitor {
    type Value = OtlpProtocols;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("grpc and http")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<OtlpProtocols, A::Error> {
        let mut protocols = OtlpProtocols { grpc: None, http: None };
        while let Some(protocol) = entries.next_key()? {
            match protocol {
                OtlpProtocol::Grpc => protocols.grpc = Some(entries.next_value()?),
                OtlpProtocol::Http => protocols.http = Some(entries.next_value()?),
            }
        }
        Ok(protocols)
    }
}

impl Default for OtlpProtocols {
    fn default() -> Self {
        Self { grpc: Some(GrpcReceiver::default()), http: Some(HttpReceiver::default()) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GrpcReceiver {
    /// Where OTLP over gRPC is received: `host:port`.
    pub endpoint: ListenAddress,
    /// Largest request, in MiB, after decompression (Tempo's default).
    pub max_recv_msg_size_mib: usize,
    pub tls: ReceiverTls,
}

impl Default for GrpcReceiver {
    fn default() -> Self {
        Self {
            endpoint: ListenAddress::new(ListenHost::loopback(), 4317),
            max_recv_msg_size_mib: 4,
            tls: ReceiverTls::default(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HttpReceiver {
    /// Where OTLP over HTTP is received: `host:port`.
    pub endpoint: ListenAddress,
    /// Largest body, in bytes, after decompression (Tempo's default).
    pub max_request_body_size: usize,
    pub tls: ReceiverTls,
    /// Pages of other origins that may send.
    pub cors: Cors,
}

impl Default for HttpReceiver {
    fn default() -> Self {
        Self {
            endpoint: ListenAddress::new(ListenHost::loopback(), 4318),
            max_request_body_size: 20 << 20,
            tls: ReceiverTls::default(),
            cors: Cors::default(),
        }
    }
}
