//! The sockets of receivers that are there only where the config names them.

use std::net::SocketAddr;

use ::kafka::Consumer;
use receivers::jaeger::Encoding;
use socket2::SockRef;
use tokio::net::{TcpListener, UdpSocket};

use super::{drain_timeout, listen, local_address};
use crate::config::{JaegerConfig, UdpConfig};
use crate::jaeger::udp::Agent;
use crate::kafka::Topic;
use crate::{Config, Error, KafkaConfig, ListenAddress};

/// Listening sockets.
pub(super) struct Receivers {
    pub(super) jaeger_grpc: Option<TcpListener>,
    pub(super) jaeger_http: Option<TcpListener>,
    /// Compact, then binary.
    jaeger_udp: [Option<UdpSocket>; 2],
    pub(super) zipkin: Option<TcpListener>,
    pub(super) kafka: Option<Topic>,
}

/// Where receivers listen besides those of OTLP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReceiverAddresses {
    pub jaeger_grpc: Option<SocketAddr>,
    pub jaeger_thrift_http: Option<SocketAddr>,
    pub jaeger_thrift_compact: Option<SocketAddr>,
    pub jaeger_thrift_binary: Option<SocketAddr>,
    pub zipkin: Option<SocketAddr>,
}

impl ReceiverAddresses {
    /// Those that listen, by name.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let all = [
            ("jaeger_grpc", self.jaeger_grpc),
            ("jaeger_thrift_http", self.jaeger_thrift_http),
            ("jaeger_thrift_compact", self.jaeger_thrift_compact),
            ("jaeger_thrift_binary", self.jaeger_thrift_binary),
            ("zipkin", self.zipkin),
        ];
        all.into_iter().filter_map(|(name, address)| Some((name, address?)))
    }
}

const COMPACT: &str = "jaeger thrift compact";
const BINARY: &str = "jaeger thrift binary";

impl Receivers {
    pub(super) async fn bind(config: &Config) -> Result<Self, Error> {
        let JaegerConfig { grpc, thrift_http, thrift_compact, thrift_binary } = &config.jaeger;
        Ok(Self {
            jaeger_grpc: optional("jaeger grpc", grpc.as_ref().map(|grpc| &grpc.endpoint)).await?,
            jaeger_http: optional("jaeger thrift http", thrift_http.as_ref().map(|http| &http.endpoint)).await?,
            jaeger_udp: [optional_udp(COMPACT, thrift_compact).await?, optional_udp(BINARY, thrift_binary).await?],
            zipkin: optional("zipkin", config.zipkin.as_ref().map(|zipkin| &zipkin.endpoint)).await?,
            kafka: config.kafka.as_ref().map(topic).transpose()?,
        })
    }

    pub(super) fn addresses(&self) -> Result<ReceiverAddresses, Error> {
        let tcp = |service, listener: &Option<TcpListener>| {
            listener.as_ref().map(|listener| local_address(service, listener)).transpose()
        };
        let udp = |service, socket: &Option<UdpSocket>| {
            let address = socket.as_ref().map(UdpSocket::local_addr).transpose();
            address.map_err(|source| Error::Listen { service, address: "its socket".to_owned(), source })
        };
        let [compact, binary] = &self.jaeger_udp;
        Ok(ReceiverAddresses {
            jaeger_grpc: tcp("jaeger grpc", &self.jaeger_grpc)?,
            jaeger_thrift_http: tcp("jaeger thrift http", &self.jaeger_http)?,
            jaeger_thrift_compact: udp(COMPACT, compact)?,
            jaeger_thrift_binary: udp(BINARY, binary)?,
            zipkin: tcp("zipkin", &self.zipkin)?,
        })
    }

    /// The ports that packets come to.
    pub(super) fn take_agents(&mut self, config: &Config) -> Vec<Agent> {
        let [compact, binary] = std::mem::take(&mut self.jaeger_udp);
        let of_config = [
            (compact, &config.jaeger.thrift_compact, Encoding::Compact),
            (binary, &config.jaeger.thrift_binary, Encoding::Binary),
        ];
        let agents = of_config.into_iter().filter_map(|(socket, udp, encoding)| {
            Some(Agent { socket: socket?, encoding, config: udp.clone()?, drain_timeout: drain_timeout(config) })
        });
        agents.collect()
    }
}

fn topic(KafkaConfig { consumer, encoding }: &KafkaConfig) -> Result<Topic, Error> {
    Ok(Topic { name: consumer.topic.clone(), consumer: Consumer::new(consumer.clone())?, encoding: *encoding })
}

async fn optional(service: &'static str, address: Option<&ListenAddress>) -> Result<Option<TcpListener>, Error> {
    match address {
        Some(address) => listen(service, address).await.map(Some),
        None => Ok(None),
    }
}

async fn optional_udp(service: &'static str, config: &Option<UdpConfig>) -> Result<Option<UdpSocket>, Error> {
    let Some(UdpConfig { endpoint, socket_buffer_size, .. }) = config else { return Ok(None) };
    let failed = |source| Error::Listen { service, address: endpoint.to_string(), source };
    let socket = endpoint.bind_udp().await.map_err(failed)?;
    if *socket_buffer_size > 0 {
        SockRef::from(&socket).set_recv_buffer_size(*socket_buffer_size).map_err(failed)?;
    }
    Ok(Some(socket))
}
