//! What can be asked, in types that cannot be wrong in form. Whether a query makes sense is decided when it is answered.

use std::time::Duration;

use model::TimeRange;
use traceql::Query;

use crate::metrics::Intervals;

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
    /// A query with a metrics part.
    pub query: Query,
    pub intervals: Intervals,
    /// Most exemplars in the answer; the query may ask for fewer.
    pub max_exemplars: usize,
    /// Most series in the answer; what goes beyond is left out, and the answer says so.
    pub max_series: Option<usize>,
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
}

/// Which tag's values are wanted.
#[derive(Debug, Clone)]
pub enum Tag {
    /// A TraceQL field (v2).
    Field(traceql::Field),
    /// A bare name (v1): an attribute of that name in any of resource and span, or one of the old special names.
    Bare(String),
}
