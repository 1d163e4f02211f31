//! Every error of the language, and its text. The texts are Tempo's, because clients show and match them.

use std::fmt;

use model::ErrorKind;

use crate::limits::{MAX_COMPILED_BYTES, MAX_QUERY_BYTES, MAX_REPEATS};
use crate::position::Position;

/// Why a query is refused, or why a value cannot be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(
        "TraceQL expression exceeds the configured maximum size of {MAX_QUERY_BYTES} bytes, \
         reduce the query expression size or contact your system administrator"
    )]
    TooLong,
    /// The text is not TraceQL. `advice` says what to write instead, where that can be known.
    #[error("parse error {position}: {message}{}", Advice(advice))]
    Parse { position: Position, message: String, advice: Option<String> },

    // What the checker refuses. Each carries the offending part in canonical text.
    #[error("binary operations must operate on the same type: {0}")]
    MixedTypes(String),
    #[error("illegal operation for the given types: {0}")]
    IllegalBinary(String),
    #[error("illegal operation for the given type: {0}")]
    IllegalUnary(String),
    #[error("invalid type for =~ or !~: {0}")]
    PatternNotLiteral(String),
    #[error("invalid regex: {0}")]
    InvalidRegex(String),
    /// With its length.
    #[error(
        "invalid regex: its {0} bytes would take more than {MAX_COMPILED_BYTES} bytes compiled; \
         use fewer alternatives or smaller repetitions"
    )]
    RegexTooLarge(usize),
    #[error(
        "invalid regex: {0} repeats more than {MAX_REPEATS} times, nested repetitions multiplied; \
         repeat fewer times, or use `*`"
    )]
    RegexRepeats(String),
    #[error("operator not supported for IDs: {0}")]
    IdOperator(String),
    #[error("span filter field expressions must resolve to a boolean: {0}")]
    FilterNotBoolean(String),
    #[error("{0}=nil is not valid because intrinsics cannot be nil")]
    IntrinsicNil(String),
    #[error("{0}=nil is not valid because {0} cannot be nil")]
    AttributeNil(String),
    #[error("parent not yet supported")]
    ParentScope,
    #[error("intrinsic ({0}) not yet supported")]
    UnsupportedIntrinsic(String),
    #[error("grouping field expressions must reference the span: {0}")]
    GroupingConstant(String),
    #[error("aggregate field expressions must resolve to a number type: {0}")]
    AggregateNotNumber(String),
    #[error("aggregate field expressions must reference the span: {0}")]
    AggregateConstant(String),
    #[error("scalar filter lhs of type (%v) not yet supported")]
    ScalarLeft,
    #[error("scalar filter rhs of type (%v) not yet supported")]
    ScalarRight,
    #[error("metrics group by {0} values not yet supported")]
    TooManyGroupBy(usize),
    #[error("quantile must be between 0 and 1: {0}")]
    Quantile(String),
    #[error("limit must be greater than 0")]
    ZeroLimit,
    #[error("`compare()` cannot be used with second stage functions")]
    CompareSecondStage,
    #[error("compare() top number of values must be integer greater than 0")]
    CompareTop,
    #[error("compare() timestamps must be positive integer unix nanoseconds")]
    CompareTimestamps,
    #[error("compare() end timestamp must be greater than start timestamp")]
    CompareWindow,

    // Other readings of a query.
    #[error("not a metrics query")]
    NotMetrics,
    #[error("failed to parse identifier {name}: {reason}")]
    FieldName { name: String, reason: String },
    #[error("maximum condition groups reached (limit: {max}). Reduce the number of OR conditions in the query")]
    TooManyGroups { max: usize },

    // Values that cannot be computed.
    #[error("division by zero")]
    DivisionByZero,
    #[error("modulo by zero")]
    ModuloByZero,
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidInput
    }

    /// True when the text is not TraceQL at all, as opposed to TraceQL that is refused. Some endpoints word the two
    /// apart.
    pub fn is_parse_error(&self) -> bool {
        matches!(self, Self::Parse { .. })
    }

    /// `syntax error: unexpected X, expecting A or B`; nothing is listed when `expected` is empty.
    pub(crate) fn unexpected(position: Position, found: &str, expected: &[&str]) -> Self {
        let message = match expected {
            [] => format!("syntax error: unexpected {found}"),
            _ => format!("syntax error: unexpected {found}, expecting {}", expected.join(" or ")),
        };
        Self::syntax(position, message)
    }

    pub(crate) fn syntax(position: Position, message: impl Into<String>) -> Self {
        Self::Parse { position, message: message.into(), advice: None }
    }
}

struct Advice<'a>(&'a Option<String>);

impl fmt::Display for Advice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |advice| write!(f, "; {advice}"))
    }
}
