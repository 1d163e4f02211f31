//! Requests that wait for a target, on disk: one file each, written whole and synced, sent in order, deleted when sent.
//!
//! `<number>-<samples>-<tenant>`, with the number in 20 digits. A file holds `MRW1`, the checksum of what follows as four
//! bytes, and the compressed body. `<number>.sent` stands for the newest request when that was sent: no number is used twice,
//! so numbers tell which requests have been pushed.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::TenantId;
use storage::durable;
use tokio::sync::Notify;

use super::Request;
use crate::error::Error;
use crate::telemetry::TargetTelemetry;

const MAGIC: &[u8; 4] = b"MRW1";

/// A request on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Queued {
    number: u64,
    pub samples: u64,
    pub tenant: TenantId,
    bytes: u64,
}

pub(super) struct Queue {
    folder: PathBuf,
    max_bytes: u64,
    telemetry: TargetTelemetry,
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Queued>,
    bytes: u64,
    next_number: u64,
    /// The number of the file that stands for a request that was sent.
    last_sent: Option<u64>,
}

impl Queued {
    fn file_name(&self) -> String {
        format!("{:020}-{}-{}", self.number, self.samples, self.tenant)
    }

    fn parse(name: &str, bytes: u64) -> Option<Self> {
        let mut parts = name.splitn(3, '-');
        let (number, samples) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { number, samples, tenant: TenantId::parse(parts.next()?).ok()?, bytes })
    }
}

impl Queue {
    /// Opens a queue with what waits in it.
    pub(super) fn open(folder: &Path, max_bytes: u64, telemetry: TargetTelemetry) -> Result<Self, Error> {
        durable::create_dir(folder).map_err(Error::io("create", folder))?;
        let (mut waiting, mut sent) = (Vec::new(), Vec::new());
        for entry in std::fs::read_dir(folder).map_err(Error::io("read", folder))? {
            let entry = entry.map_err(Error::io("read", folder))?;
            let bytes = entry.metadata().map_err(Error::io("read", &entry.path()))?.len();
            // what was being written when the process died is left to be overwritten
            let name = entry.file_name();
            waiting.extend(name.to_str().and_then(|name| Queued::parse(name, bytes)));
            sent.extend(name.to_str().and_then(parse_sent));
        }
        waiting.sort_by_key(|queued| queued.number);
        let last_sent = sent.into_iter().max();
        let state = State {
            bytes: waiting.iter().map(|queued| queued.bytes).sum(),
            next_number: waiting.last().map(|newest| newest.number).max(last_sent).map_or(0, |newest| newest + 1),
            waiting: waiting.into(),
            last_sent,
        };
        let queue =
            Self { folder: folder.to_owned(), max_bytes, telemetry, state: Mutex::new(state), arrived: Notify::new() };
        queue.show();
        Ok(queue)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self) {
        let state = self.state();
        self.telemetry.waiting(state.waiting.len(), state.bytes);
    }

    fn path(&self, queued: &Queued) -> PathBuf {
        self.folder.join(queued.file_name())
    }

    /// The number of the next request.
    pub(super) fn next_number(&self) -> u64 {
        self.state().next_number
    }

    /// Stores requests; what has no room on the disk, or in the queue, is counted as lost.
    pub(super) fn push(&self, requests: &[&Request]) {
        for request in requests {
            let mut state = self.state();
            let queued = Queued {
                number: state.next_number,
                samples: request.samples,
                tenant: request.tenant.clone(),
                bytes: (request.body.len() + 8) as u64,
            };
            state.next_number += 1;
            drop(state);
            let contents = [MAGIC, crc32fast::hash(&request.body).to_le_bytes().as_slice(), &request.body].concat();
            match durable::write_file(&self.path(&queued), &contents) {
                Ok(()) => self.appended(queued),
                Err(error) => {
                    tracing::error!(%error, "series could not be stored until they are sent, they are lost");
                    self.telemetry.dropped("disk", queued.samples);
                }
            }
        }
        self.show();
        self.arrived.notify_one();
    }

    fn appended(&self, queued: Queued) {
        let mut state = self.state();
        state.bytes += queued.bytes;
        state.waiting.push_back(queued);
        let mut crowded_out = Vec::new();
        while state.bytes > self.max_bytes
            && let Some(oldest) = state.waiting.pop_front()
        {
            state.bytes -= oldest.bytes;
            crowded_out.push(oldest);
        }
        drop(state);
        for oldest in crowded_out {
            self.telemetry.dropped("queue_full", oldest.samples);
            self.delete(&oldest);
        }
    }

    /// The oldest request, once there is one.
    pub(super) async fn oldest(&self) -> Queued {
        loop {
            let arrived = self.arrived.notified();
            if let Some(oldest) = self.state().waiting.front() {
                return oldest.clone();
            }
            arrived.await;
        }
    }

    /// The compressed body of a request; `None` when it is gone or damaged.
    pub(super) fn read(&self, queued: &Queued) -> Option<Vec<u8>> {
        let contents = std::fs::read(self.path(queued)).ok()?;
        let (head, body) = contents.split_at_checked(8)?;
        let is_whole = head[..4] == *MAGIC && head[4..] == crc32fast::hash(body).to_le_bytes();
        is_whole.then(|| body.to_vec())
    }

    /// A request was sent, or never will be.
    pub(super) fn done(&self, queued: &Queued) {
        let mut state = self.state();
        if state.waiting.front() == Some(queued) {
            state.waiting.pop_front();
            state.bytes -= queued.bytes;
        }
        let is_newest = queued.number + 1 == state.next_number;
        let sent_before = if is_newest { state.last_sent.replace(queued.number) } else { None };
        drop(state);
        if is_newest {
            // without the file the number might be used again, and nothing else
            _ = std::fs::rename(self.path(queued), self.sent_path(queued.number));
        } else {
            self.delete(queued);
        }
        if let Some(number) = sent_before {
            _ = std::fs::remove_file(self.sent_path(number));
        }
        self.show();
    }

    fn sent_path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:020}.sent"))
    }

    fn delete(&self, queued: &Queued) {
        if let Err(error) = std::fs::remove_file(self.path(queued))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "a request that was sent could not be deleted, it is sent again after a restart");
        }
    }
}

/// The number of a request that was sent, by the name of the file that stands for it.
fn parse_sent(name: &str) -> Option<u64> {
    name.strip_suffix(".sent")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote_write::{Form, Protocol};
    use crate::telemetry::RemoteWriteTelemetry;

    fn open(folder: &Path, max_bytes: u64) -> (Queue, prometheus_client::registry::Registry) {
        let mut registry = Default::default();
        let telemetry = RemoteWriteTelemetry::register(&mut registry).of("one");
        (Queue::open(folder, max_bytes, telemetry).unwrap(), registry)
    }

    fn request(body: &[u8]) -> Request {
        let form = Form { protocol: Protocol::V1, has_exemplars: false, has_native_histograms: true };
        Request { tenant: TenantId::single(), form, samples: 3, body: body.to_vec() }
    }

    #[tokio::test]
    async fn what_waits_is_sent_in_order_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let (queue, _) = open(folder.path(), 1000);
        queue.push(&[&request(b"one"), &request(b"two")]);
        drop(queue);
        let (queue, _) = open(folder.path(), 1000);
        queue.push(&[&request(b"three")]);
        for body in ["one", "two", "three"] {
            let oldest = queue.oldest().await;
            assert_eq!((queue.read(&oldest).as_deref(), oldest.samples), (Some(body.as_bytes()), 3));
            queue.done(&oldest);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the last number is remembered");
        assert_eq!(open(folder.path(), 1000).0.next_number(), 3);
    }

    #[tokio::test]
    async fn a_full_queue_loses_its_oldest_requests_and_counts_their_samples() {
        let folder = tempfile::tempdir().unwrap();
        let (queue, registry) = open(folder.path(), 25);
        queue.push(&[&request(b"one"), &request(b"two"), &request(b"three")]);
        let oldest = queue.oldest().await;
        assert_eq!(queue.read(&oldest).as_deref(), Some(b"two".as_slice()));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains(r#"samples_dropped_total{target="one",reason="queue_full"} 3"#), "{text}");
    }

    #[tokio::test]
    async fn a_damaged_request_is_not_sent() {
        let folder = tempfile::tempdir().unwrap();
        let (queue, _) = open(folder.path(), 1000);
        queue.push(&[&request(b"one")]);
        let oldest = queue.oldest().await;
        let path = queue.path(&oldest);
        let mut contents = std::fs::read(&path).unwrap();
        contents[9] ^= 1;
        std::fs::write(&path, contents).unwrap();
        assert_eq!(queue.read(&oldest), None);
    }
}
