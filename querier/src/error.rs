//! Why a question could not be answered.

use std::time::Duration;

use model::ErrorKind;

/// Why nothing can be made of a table: a reason to leave its source out.
pub type SummarizeError = Box<dyn std::error::Error + Send + Sync>;

/// The error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The query is not TraceQL, is refused, or computes something that has no value (division by zero).
    #[error(transparent)]
    Query(#[from] traceql::Error),
    /// The text is Tempo's.
    #[error("spanset operators are not supported for multiple spansets per trace. consider using coalesce()")]
    SeveralSpanSets,
    // Budgets of a query. Each names what was spent, the key of the configuration that sets it, and how to ask for less.
    #[error(
        "the query took longer than the {max:?} that a query may take (querier.search.query_timeout): ask for a shorter \
         time range, or add conditions on attributes that few traces have"
    )]
    TooMuchTime { max: Duration },
    #[error(
        "the query read {read} bytes of blocks, more than the {max} that a query may read (querier.max_bytes_per_query): \
         ask for a shorter time range, or add conditions on attributes that few traces have"
    )]
    TooManyBytes { read: u64, max: u64 },
    #[error(
        "the query needs {needed} bytes of memory, more than the {max} that a query may hold \
         (querier.max_memory_bytes_per_query): ask for fewer results (limit), fewer spans of each (spss), fewer fields in \
         select(), or a shorter time range"
    )]
    TooMuchMemory { needed: u64, max: u64 },
    #[error(
        "the query waited for memory until its {deadline:?} were over: it holds {own} bytes and needs more, and all queries \
         together hold {held} of the {max} bytes that they may (memory.budget_bytes): ask again when fewer queries run, or \
         for less at a time"
    )]
    NoMemoryFree { deadline: Duration, own: u64, held: u64, max: u64 },
    #[error(
        "the query looks at many spans, and waited in line behind other such queries until its {deadline:?} were over \
         (querier.max_concurrent_scans run at a time): ask again when fewer run, or for a shorter time range"
    )]
    NoPlaceFree { deadline: Duration },
    /// Never leaves the crate: the query begins again when a place is free.
    #[error("the query waits for the place of a scan")]
    MustWaitInLine,
    /// Never leaves the crate: the query begins again with a newer view.
    #[error(transparent)]
    MustBeginAgain(storage::Error),
    #[error(
        "the query makes more than {max} samples, series times intervals (querier.max_metrics_samples): take a longer \
         step, a shorter range, or fewer fields in by()"
    )]
    TooManySamples { max: usize },
    #[error("the search has more than {max} tags: look for fewer, or in TraceQL (q)")]
    TooManyTags { max: usize },
    /// Nobody waits for the answer any more.
    #[error("the query was given up")]
    Cancelled,
    #[error("a span has too many pairs of events and links to compare")]
    TooManyPairs,
    /// A table read from a source does not have the shape that [`spans::schema`] describes.
    #[error("span table is damaged: column {column}")]
    Damaged { column: String },
    /// Nothing can be made of a table that was read.
    #[error("sum up traces: {0}")]
    Summarize(SummarizeError),
    #[error(transparent)]
    Storage(storage::Error),
    #[error(transparent)]
    Spans(#[from] spans::Error),
    #[error("arrow: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
}

impl From<storage::Error> for Error {
    fn from(error: storage::Error) -> Self {
        match error {
            storage::Error::ViewOutOfDate { .. } => Self::MustBeginAgain(error),
            error => Self::Storage(error),
        }
    }
}

impl Error {
    pub(crate) fn damaged(column: &str) -> Self {
        Self::Damaged { column: column.to_owned() }
    }

    /// Whether the others can still answer when one source fails so: it is damaged, or it is gone.
    pub(crate) fn is_of_one_source(&self) -> bool {
        matches!(self.kind(), ErrorKind::Corrupt | ErrorKind::NotFound)
    }

    /// The error of the language, whose text endpoints put their own words before.
    pub fn as_query_error(&self) -> Option<&traceql::Error> {
        match self {
            Self::Query(error) => Some(error),
            _ => None,
        }
    }

    /// What the caller should do next.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Query(error) => error.kind(),
            Self::SeveralSpanSets
            | Self::TooManySamples { .. }
            | Self::TooManyTags { .. }
            | Self::TooManyBytes { .. }
            | Self::TooMuchMemory { .. } => ErrorKind::InvalidInput,
            Self::TooMuchTime { .. } | Self::Cancelled => ErrorKind::Timeout,
            Self::TooManyPairs => ErrorKind::LimitExceeded,
            Self::Damaged { .. } | Self::Summarize(_) => ErrorKind::Corrupt,
            Self::Storage(error) | Self::MustBeginAgain(error) => error.kind(),
            Self::Spans(error) => error.kind(),
            Self::Arrow(_) => ErrorKind::Internal,
            Self::NoMemoryFree { .. } | Self::NoPlaceFree { .. } | Self::MustWaitInLine => ErrorKind::LimitExceeded,
        }
    }
}
