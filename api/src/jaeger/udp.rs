//! Packets for a Jaeger agent.
//!
//! ```text
//! socket ─▶ queue: so many packets, and room for their bytes ─▶ workers: translate, push
//! ```
//!
//! Nobody is answered, so a packet that cannot be taken is dropped and counted by reason. The packets come from one task and
//! are stored by one: a packet is small, and what takes long is the wait for the log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use bytes::Bytes;
use futures::{StreamExt, stream};
use receivers::jaeger::Encoding;
use tokio::net::UdpSocket;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tracing::{debug, warn};

use super::encoded;
use crate::otlp::body::try_take_room;
use crate::otlp::refusal::Refusal;
use crate::otlp::{admit, push, turn};
use crate::telemetry::Receiver;
use crate::{Edge, UdpConfig};

/// How long receiving pauses after the socket had an error.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// A port that packets come to.
pub(crate) struct Agent {
    pub(crate) socket: UdpSocket,
    pub(crate) encoding: Encoding,
    pub(crate) config: UdpConfig,
    pub(crate) drain_timeout: Duration,
}

/// A packet, and the memory that it takes.
struct Packet {
    bytes: Bytes,
    from: SocketAddr,
    _room: OwnedSemaphorePermit,
}

/// Why a packet is not taken, as its counter has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    TooLarge,
    QueueFull,
    Malformed,
    NoTenant,
    /// Over a limit of the tenant or of the process.
    Limited,
    NotReady,
    Failed,
}

impl Reason {
    fn label(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::QueueFull => "queue_full",
            Self::Malformed => "malformed",
            Self::NoTenant => "no_tenant",
            Self::Limited => "limited",
            Self::NotReady => "not_ready",
            Self::Failed => "failed",
        }
    }

    fn of(refusal: &Refusal) -> Self {
        match refusal.code() {
            Code::InvalidArgument => Self::Malformed,
            Code::ResourceExhausted => Self::Limited,
            Code::Unavailable => Self::NotReady,
            _ => Self::Failed,
        }
    }
}

impl Agent {
    fn receiver(&self) -> Receiver {
        Receiver::jaeger(match self.encoding {
            Encoding::Compact => "udp_thrift_compact",
            Encoding::Binary => "udp_thrift_binary",
        })
    }

    /// Takes packets until `shutdown` is cancelled; those that wait then are stored within the drain timeout.
    pub(crate) async fn serve(self, edge: Arc<Edge>, shutdown: CancellationToken) {
        let (queue, packets) = mpsc::channel(self.config.queue_size.max(1));
        let waiting = stream::unfold(packets, |mut packets: mpsc::Receiver<Packet>| async {
            packets.recv().await.map(|packet| (packet, packets))
        });
        let stored = waiting.for_each_concurrent(self.config.workers.max(1), |packet| self.take(&edge, packet));
        let received = async {
            shutdown.run_until_cancelled(self.receive(&edge, &queue)).await;
            drop(queue);
        };
        let stored = async {
            tokio::select! {
                () = stored => {}
                () = after(&shutdown, self.drain_timeout) => warn!("dropping packets that were not stored in time"),
            }
        };
        tokio::join!(received, stored);
    }

    async fn receive(&self, edge: &Edge, queue: &mpsc::Sender<Packet>) {
        // one byte more than a packet may have tells that it has more
        let mut buffer = vec![0; self.config.max_packet_size.saturating_add(1)];
        loop {
            match self.socket.recv_from(&mut buffer).await {
                Ok((length, from)) => {
                    if let Err(reason) = self.enqueue(edge, queue, &buffer[..length], from) {
                        self.drop_packet(edge, from, reason, "it was not read");
                    }
                }
                Err(error) => {
                    warn!(%error, "receiving packets failed, pausing");
                    tokio::time::sleep(ERROR_PAUSE).await;
                }
            }
        }
    }

    fn enqueue(&self, edge: &Edge, queue: &mpsc::Sender<Packet>, bytes: &[u8], from: SocketAddr) -> Result<(), Reason> {
        if bytes.len() > self.config.max_packet_size {
            return Err(Reason::TooLarge);
        }
        let place = queue.try_reserve().map_err(|_full| Reason::QueueFull)?;
        let room = try_take_room(edge, bytes.len()).ok_or(Reason::QueueFull)?;
        place.send(Packet { bytes: Bytes::copy_from_slice(bytes), from, _room: room });
        Ok(())
    }

    async fn take(&self, edge: &Edge, packet: Packet) {
        let Packet { bytes, from, _room } = packet;
        let tenant = match admit(edge, &HeaderMap::new()) {
            Ok(tenant) => tenant,
            Err(refusal) if refusal.code() == Code::InvalidArgument => {
                return self.drop_packet(edge, from, Reason::NoTenant, "packets have no header that names one");
            }
            Err(refusal) => return self.drop_packet(edge, from, Reason::of(&refusal), refusal.message()),
        };
        let stored = async {
            let _turn = turn(edge).await?;
            let message = encoded(receivers::jaeger::packet(&bytes, self.encoding))?;
            push(edge, self.receiver(), &tenant, message).await
        };
        if let Err(refusal) = stored.await {
            self.drop_packet(edge, from, Reason::of(&refusal), refusal.message());
        }
    }

    fn drop_packet(&self, edge: &Edge, from: SocketAddr, reason: Reason, detail: &str) {
        let receiver = self.receiver();
        debug!(transport = receiver.transport, %from, reason = reason.label(), detail, "packet dropped");
        edge.telemetry.packet_dropped(receiver, reason.label());
    }
}

async fn after(shutdown: &CancellationToken, timeout: Duration) {
    shutdown.cancelled().await;
    tokio::time::sleep(timeout).await;
}
