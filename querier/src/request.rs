//! What can be asked, in types that cannot be wrong in form. Whether a query makes sense is decided when it is answered.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use model::{TimeRange, TraceId};
use regex::Regex;
use traceql::{FieldExpr, MetricsExpr};

use crate::intervals::Intervals;

/// Which spans of a trace are wanted: those that a filter is true of, and some that stand above and below them.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanSubset {
    /// A checked span filter that needs single spans only, as `traceql::parse_trace_filter` gives it.
    pub filter: FieldExpr,
    /// How far up from a span that matches.
    pub ancestors: Hops,
    /// How far down from a span that matches.
    pub descendants: Hops,
}

/// Which spans of a trace are shown as one.
#[derive(Debug, Clone)]
pub struct SpanPruning {
    /// Whole keys of attributes.
    group_by: Vec<Regex>,
    /// Fewest leaves that become one.
    pub(crate) min_spans: usize,
    /// How many levels above leaves become one, too; `None` for any number.
    pub(crate) max_parent_depth: Option<usize>,
}

/// A rule for pruning that cannot be. The texts are those of the collector's processor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PruningError {
    #[error("min_spans_to_aggregate must be at least 2")]
    MinSpans,
    #[error("max_parent_depth must be -1 (unlimited) or >= 0")]
    MaxParentDepth,
    #[error("invalid glob pattern at group_by_attributes[{at}]: {pattern:?}")]
    Pattern { at: usize, pattern: String },
}

impl SpanPruning {
    /// `group_by` are patterns of attribute keys, in which `*`, `?`, `[a-z]` and `{a,b}` stand for other text.
    ///
    /// # Errors
    /// [`PruningError`] for numbers out of range and patterns that cannot be read.
    pub fn new<'a>(
        group_by: impl Iterator<Item = &'a str>,
        min_spans: i64,
        max_parent_depth: i64,
    ) -> Result<Self, PruningError> {
        let min_spans = usize::try_from(min_spans).ok().filter(|min| *min >= 2).ok_or(PruningError::MinSpans)?;
        let max_parent_depth = match (max_parent_depth, usize::try_from(max_parent_depth)) {
            (_, Ok(depth)) => Some(depth),
            (-1, _) => None,
            _ => return Err(PruningError::MaxParentDepth),
        };
        let pattern = |(at, pattern): (usize, &str)| {
            glob(pattern).ok_or_else(|| PruningError::Pattern { at, pattern: pattern.to_owned() })
        };
        let group_by = group_by.enumerate().map(pattern).collect::<Result<_, _>>()?;
        Ok(Self { group_by, min_spans, max_parent_depth })
    }

    pub(crate) fn is_grouped_by(&self, key: &str) -> bool {
        self.group_by.iter().any(|pattern| pattern.is_match(key))
    }
}

/// The regular expression that means the same as a glob.
fn glob(pattern: &str) -> Option<Regex> {
    let (mut expression, mut depth) = ("(?s)^".to_owned(), 0_usize);
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            '*' => expression.push_str(".*"),
            '?' => expression.push('.'),
            '[' => {
                let inside: String = characters.by_ref().take_while(|inside| *inside != ']').collect();
                let (not, inside) = inside.strip_prefix('!').map_or(("", inside.as_str()), |inside| ("^", inside));
                expression.push_str(&format!("[{not}{}]", inside.replace('\\', "\\\\").replace('[', "\\[")));
            }
            '{' => {
                depth += 1;
                expression.push_str("(?:");
            }
            '}' => {
                depth = depth.checked_sub(1)?;
                expression.push(')');
            }
            ',' if depth > 0 => expression.push('|'),
            '\\' => expression.push_str(&regex::escape(characters.next()?.encode_utf8(&mut [0; 4]))),
            other => expression.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    Regex::new(&(expression + "$")).ok()
}

/// How many steps from parent to child, or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hops {
    AtMost(u64),
    Any,
}

/// `/api/search`.
#[derive(Debug, Clone)]
pub struct SearchRequest {
    pub filter: SearchFilter,
    /// Traces that overlap this range are searched; their spans outside it count too.
    pub range: TimeRange,
    /// Most traces in the answer; the newest that match.
    pub limit: usize,
    /// Most spans listed in a span set.
    pub spans_per_span_set: usize,
    /// Where the page before this one ended; the answer goes on right after it.
    pub after: Option<PageToken>,
}

/// The place of a trace in the answer to a search: newest first, then by id.
///
/// A place, not a number: what arrives between two pages neither shifts nor repeats what follows. Only a trace that gets
/// an earlier span meanwhile moves, and may be met again where it then stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageToken {
    pub start_nanos: u64,
    pub trace_id: TraceId,
}

/// Digits of a cursor's text: 16 for the start, 32 for the id.
const CURSOR_DIGITS: usize = 48;

impl fmt::Display for PageToken {
    /// 48 lower-case hex digits; clients take them as they are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{}", self.start_nanos, self.trace_id)
    }
}

/// A text that is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not one that a page of results gave; leave it out to begin with the newest")]
pub struct ParseCursorError;

impl FromStr for PageToken {
    type Err = ParseCursorError;

    fn from_str(text: &str) -> Result<Self, ParseCursorError> {
        if text.len() != CURSOR_DIGITS || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ParseCursorError);
        }
        let (start, id) = text.split_at(16);
        let start_nanos = u64::from_str_radix(start, 16).map_err(|_| ParseCursorError)?;
        Ok(Self { start_nanos, trace_id: TraceId::parse(id).map_err(|_| ParseCursorError)? })
    }
}

/// Which traces are wanted.
#[derive(Debug, Clone)]
pub enum SearchFilter {
    TraceQl(String),
    /// The search before TraceQL: traces for which every tag is met by some span, of a duration between the bounds.
    Tags {
        tags: Vec<(String, String)>,
        min_duration: Option<Duration>,
        max_duration: Option<Duration>,
    },
}

/// `/api/metrics/query_range` and `/api/metrics/query`.
#[derive(Debug, Clone)]
pub struct MetricsRequest {
    /// Every query of it has a metrics part.
    pub query: MetricsExpr,
    pub intervals: Intervals,
    /// Most exemplars in the answer; the query may ask for fewer.
    pub max_exemplars: usize,
    /// Most series in the answer; what goes beyond is left out, and the answer says so.
    pub max_series: Option<usize>,
}

/// `/api/service-graph`, and what else is made of whole traces.
#[derive(Debug, Clone)]
pub struct SummaryRequest {
    /// TraceQL without a metrics part: which spans are wanted.
    pub query: String,
    pub range: TimeRange,
}

/// `/api/search/tags` and its v2.
#[derive(Debug, Clone)]
pub struct TagNamesRequest {
    pub scope: TagScope,
    pub range: TimeRange,
    /// A span filter that narrows the answer; what cannot be understood is ignored.
    pub query: Option<String>,
    /// Most names in a scope; `None` for all.
    pub limit: Option<usize>,
}

/// Which scopes to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagScope {
    /// All scopes and the intrinsics.
    All,
    Intrinsic,
    One(model::Scope),
}

/// `/api/search/tag/{tag}/values` and its v2.
#[derive(Debug, Clone)]
pub struct TagValuesRequest {
    pub tag: Tag,
    pub range: TimeRange,
    pub query: Option<String>,
    pub limit: Option<usize>,
    /// Sources after which the search ends if none of them, one after the other, had a value that is new; `None` for all.
    pub max_stale_sources: Option<usize>,
}

/// Which tag's values are wanted.
#[derive(Debug, Clone)]
pub enum Tag {
    /// A TraceQL field (v2).
    Field(traceql::Field),
    /// A bare name (v1): an attribute of that name in any of resource and span, or one of the old special names.
    Bare(String),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn cursors_come_back(start_nanos in any::<u64>(), id in any::<[u8; 16]>()) {
            let cursor = PageToken { start_nanos, trace_id: TraceId(id) };
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }

        #[test]
        fn no_text_panics(text in "\\PC*|[0-9a-f+é]{46,49}") {
            let _ = text.parse::<PageToken>();
        }
    }

    #[test]
    fn attributes_are_named_by_globs() {
        let is_grouped =
            |pattern: &str, key: &str| SpanPruning::new([pattern].into_iter(), 2, 0).unwrap().is_grouped_by(key);
        for (pattern, key, expected) in [
            ("db.*", "db.name", true),
            ("db.*", "db", false),
            ("db.*", "a.db.name", false),
            ("db.operation", "db.operation", true),
            ("db.operation", "dbxoperation", false),
            ("*", "any", true),
            ("a?c", "abc", true),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("{db,http}.name", "http.name", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
        ] {
            assert_eq!(is_grouped(pattern, key), expected, "{pattern} {key}");
        }
        for (pattern, min, depth, text) in [
            ("a", 1, 0, "min_spans_to_aggregate must be at least 2"),
            ("a", 2, -2, "max_parent_depth must be -1 (unlimited) or >= 0"),
            ("a[", 2, 0, "invalid glob pattern at group_by_attributes[0]: \"a[\""),
            ("{a", 2, 0, "invalid glob pattern at group_by_attributes[0]: \"{a\""),
            ("a}", 2, 0, "invalid glob pattern at group_by_attributes[0]: \"a}\""),
        ] {
            assert_eq!(SpanPruning::new([pattern].into_iter(), min, depth).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_no_cursors() {
        for text in ["", "0", &"+".repeat(48), &"g".repeat(48), &"0".repeat(47), &"é".repeat(24)] {
            assert_eq!(text.parse::<PageToken>(), Err(ParseCursorError), "{text}");
        }
    }
}
