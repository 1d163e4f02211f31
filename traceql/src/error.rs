//! Every error of the language, and its text. The texts are Tempo's, because clients show and match them.

use std::fmt;

use model::ErrorKind;

use crate::MAX_QUERY_BYTES;
use crate::advice;
use crate::pattern::MAX_COMPILED_BYTES;
use crate::tag_filter::MAX_GROUPS;

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
    #[error("maximum condition groups reached (limit: {MAX_GROUPS}). Reduce the number of OR conditions in the query")]
    TooManyGroups,

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

    /// The error with advice on how to mend the text.
    pub(crate) fn with_advice(self, text: &str) -> Self {
        match self {
            Self::Parse { position, message, .. } => {
                let advice = advice::of(text, position, &message);
                Self::Parse { position, message, advice }
            }
            other => other,
        }
    }
}

struct Advice<'a>(&'a Option<String>);

impl fmt::Display for Advice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |advice| write!(f, "; {advice}"))
    }
}

/// A place in the query text: line and column count from 1, columns in characters.
///
/// At some tokens line 0 is printed, as the reference does. The empty query has no position and prints as nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub line: usize,
    pub column: usize,
    /// Line 0 is printed.
    hides_line: bool,
}

impl Position {
    pub(crate) const NONE: Self = Self { line: 0, column: 0, hides_line: true };

    pub(crate) fn new(line: usize, column: usize) -> Self {
        Self { line, column, hides_line: false }
    }

    /// The same place, printed as the reference does at tokens that its scanner puts together from several.
    pub(crate) fn of_composed_token(self) -> Self {
        Self { hides_line: true, ..self }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NONE => Ok(()),
            Self { column, hides_line: true, .. } => write!(f, "at line 0, col {column}"),
            Self { line, column, .. } => write!(f, "at line {line}, col {column}"),
        }
    }
}
