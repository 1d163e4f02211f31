//! Why spans were not taken, or not stored.

use std::time::Duration;

use model::{ErrorKind, TenantId};
use storage::wal::MAX_PAYLOAD_BYTES;

/// The error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is not OTLP, or an id in it is wrong. Nothing of it was stored.
    #[error(transparent)]
    Request(spans::Error),
    #[error("the request has {bytes} bytes, at most {MAX_PAYLOAD_BYTES} are taken; send smaller batches")]
    TooLarge { bytes: usize },
    /// The process is replaying its log or stopping.
    #[error("{reason}, retry later")]
    NotReady { reason: String },
    /// The tenant's manifest could not be read at start, so nobody knows which of its logged spans are in blocks.
    #[error("tenant {tenant} is unavailable: {reason}; mend that object, then restart the process")]
    TenantUnavailable { tenant: TenantId, reason: String },
    /// The tenant brings more than it may; [`Error::retry_after`] says when there is room, unless the tenant is not to know.
    #[error("{message}")]
    RateLimited { message: String, retry_after: Option<Duration> },
    /// The request alone is larger than its tenant may ever bring at once.
    #[error("{message}")]
    LargerThanBurst { message: String },
    /// More is waiting to be stored than memory allows.
    #[error("the ingest queue is full, retry later")]
    QueueFull,
    /// The log could not be written (a full disk, for example). Nothing of the request counts as stored.
    #[error("the write-ahead log could not be written: {reason}")]
    Log { reason: String },
    #[error("{action}: {source}")]
    Storage { action: &'static str, source: Box<storage::Error> },
    /// Live spans could not be put in columns.
    #[error("build span columns: {0}")]
    Table(spans::Error),
    /// A task of the ingester ended before its time.
    #[error("the ingester has stopped")]
    Stopped,
}

impl Error {
    /// For `map_err`: what was tried.
    pub(crate) fn storage(action: &'static str) -> impl FnOnce(storage::Error) -> Self {
        move |source| Self::Storage { action, source: Box::new(source) }
    }

    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Request(error) => error.kind(),
            Self::TooLarge { .. } => ErrorKind::InvalidInput,
            Self::QueueFull | Self::RateLimited { .. } | Self::LargerThanBurst { .. } => ErrorKind::LimitExceeded,
            Self::NotReady { .. } | Self::TenantUnavailable { .. } | Self::Log { .. } | Self::Stopped => {
                ErrorKind::Unavailable
            }
            Self::Storage { source, .. } => source.kind(),
            Self::Table(_) => ErrorKind::Internal,
        }
    }

    /// When a client should try again; `None` when trying again is of no use.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } => return *retry_after,
            Self::LargerThanBurst { .. } => return None,
            _ => {}
        }
        match self.kind() {
            ErrorKind::Unavailable | ErrorKind::LimitExceeded => Some(Duration::from_secs(1)),
            _ => None,
        }
    }
}
