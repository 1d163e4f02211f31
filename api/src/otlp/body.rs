//! Bodies of requests as they arrive: bounded in size, in time, in how slowly they may come, and in how much memory all of
//! them take together. A request takes its turn when its body is here, so that one who sends nothing holds up nobody.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};
use tonic::Code;

use crate::Edge;
use crate::otlp::refusal::Refusal;

/// So much memory is taken at once for a body because its headers state its length; more when it has come.
const TRUSTED_BYTES: usize = 1 << 20;

/// A body that is too large is read on to this many times the limit, because many clients read the answer only when
/// they have sent everything.
const DRAIN_FACTOR: usize = 4;

/// What a body must bring in each second, on average over [`crate::Config::body_stall_timeout_seconds`]: a phone on a bad
/// line does.
const LEAST_BYTES_PER_SECOND: u64 = 1024;

/// Memory for bodies is counted in pieces of this size.
const PIECE_BYTES: usize = 4096;

/// The permits of so much memory.
pub(crate) fn room(bytes: usize) -> Semaphore {
    Semaphore::new(bytes.div_ceil(PIECE_BYTES).min(Semaphore::MAX_PERMITS))
}

/// Room for so many bytes that are here already; `None` if there is none.
pub(crate) fn try_take_room(edge: &Edge, bytes: usize) -> Option<OwnedSemaphorePermit> {
    let pieces = u32::try_from(bytes.div_ceil(PIECE_BYTES)).ok()?;
    edge.bodies.clone().try_acquire_many_owned(pieces).ok()
}

/// As [`try_take_room`]; waits until there is room, which there never is for what is larger than all of it.
pub(crate) async fn wait_for_room(edge: &Edge, bytes: usize) -> Option<OwnedSemaphorePermit> {
    if bytes > edge.config.max_bytes_of_bodies {
        return None;
    }
    let pieces = u32::try_from(bytes.div_ceil(PIECE_BYTES)).ok()?;
    edge.bodies.clone().acquire_many_owned(pieces).await.ok()
}

/// A whole body, and the memory that it takes until it is dropped.
pub(super) struct Received<'e> {
    pub(super) bytes: Bytes,
    pub(super) room: Option<SemaphorePermit<'e>>,
}

/// Why there is no body.
pub(super) enum ReadError {
    TooLarge,
    Refused(Refusal),
}

/// The whole body, unless it is larger than `max_bytes`.
pub(super) async fn read(edge: &Edge, mut body: Body, max_bytes: usize) -> Result<Received<'_>, ReadError> {
    let stated_bytes = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut buffer = BytesMut::with_capacity(stated_bytes.min(max_bytes).min(TRUSTED_BYTES));
    let mut room: Option<SemaphorePermit<'_>> = None;
    let mut seen_bytes = 0_usize;
    let mut pace = Pace::begin(edge);
    while let Some(frame) = pace.next(&mut body, seen_bytes).await.map_err(ReadError::Refused)? {
        let frame =
            frame.map_err(|error| ReadError::Refused(Refusal::invalid(format!("read the request body: {error}"))))?;
        let Ok(data) = frame.into_data() else { continue };
        seen_bytes = seen_bytes.saturating_add(data.len());
        if seen_bytes <= max_bytes {
            take_room(edge, &mut room, seen_bytes).map_err(ReadError::Refused)?;
            buffer.extend_from_slice(&data);
        } else if seen_bytes > max_bytes.saturating_mul(DRAIN_FACTOR) {
            break;
        } else {
            (buffer, room) = (BytesMut::new(), None);
        }
    }
    if seen_bytes > max_bytes { Err(ReadError::TooLarge) } else { Ok(Received { bytes: buffer.freeze(), room }) }
}

/// Takes what is missing to hold `bytes`.
fn take_room<'e>(edge: &'e Edge, room: &mut Option<SemaphorePermit<'e>>, bytes: usize) -> Result<(), Refusal> {
    let taken = room.as_ref().map_or(0, SemaphorePermit::num_permits);
    let missing = u32::try_from(bytes.div_ceil(PIECE_BYTES).saturating_sub(taken)).unwrap_or(u32::MAX);
    if missing == 0 {
        return Ok(());
    }
    let more = edge.bodies.try_acquire_many(missing).map_err(|_| {
        let limit = edge.config.max_bytes_of_bodies;
        Refusal::new(Code::ResourceExhausted, format!("requests on their way take more than {limit} bytes, try again"))
    })?;
    match room {
        Some(room) => room.merge(more),
        None => *room = Some(more),
    }
    Ok(())
}

/// Whether a body comes fast enough.
struct Pace {
    /// When the whole body must be here.
    deadline: Instant,
    window: Duration,
    window_end: Instant,
    bytes_before: usize,
}

type Frame = Result<hyper::body::Frame<Bytes>, axum::Error>;

impl Pace {
    fn begin(edge: &Edge) -> Self {
        let now = Instant::now();
        let window = edge.config.body_stall_timeout();
        Self { deadline: now + edge.config.body_read_timeout(), window, window_end: now + window, bytes_before: 0 }
    }

    /// The next piece of a body of which `seen_bytes` have come.
    async fn next(&mut self, body: &mut Body, seen_bytes: usize) -> Result<Option<Frame>, Refusal> {
        loop {
            if let Ok(frame) = timeout_at(self.window_end.min(self.deadline), body.frame()).await {
                return Ok(frame);
            }
            if Instant::now() >= self.deadline {
                return Err(Refusal::new(Code::DeadlineExceeded, "the request body took too long to arrive"));
            }
            let bytes = u64::try_from(seen_bytes - self.bytes_before).unwrap_or(u64::MAX);
            if bytes < LEAST_BYTES_PER_SECOND.saturating_mul(self.window.as_secs()) {
                let text = format!("the request body arrives slower than {LEAST_BYTES_PER_SECOND} bytes a second");
                return Err(Refusal::new(Code::DeadlineExceeded, text));
            }
            (self.window_end, self.bytes_before) = (Instant::now() + self.window, seen_bytes);
        }
    }
}
