//! What a caller can do about an error. Every crate's error maps to one of these; only `api` maps them to status codes.

/// The class of an error, chosen by what the caller should do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request is wrong and will be wrong again: change it.
    InvalidInput,
    /// The thing asked for does not exist.
    NotFound,
    /// A limit of the tenant or of the process is reached: the same request may pass later.
    LimitExceeded,
    /// The process cannot do it now (starting, stopping, disk full, store away): retry.
    Unavailable,
    /// The work took longer than it may.
    Timeout,
    /// Stored data is damaged; the rest can still be read.
    Corrupt,
    /// A fault of ours.
    Internal,
}

impl ErrorKind {
    /// The name for logs and labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalid_input",
            Self::NotFound => "not_found",
            Self::LimitExceeded => "limit_exceeded",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Corrupt => "corrupt",
            Self::Internal => "internal",
        }
    }
}
