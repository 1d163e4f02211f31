//! The filter that picks spans out of one trace: a single `{ }` that asks nothing of the trace as a whole.

use model::Intrinsic;

use crate::ast::{Field, FieldExpr, Query, SpansetExpr, Stage};
use crate::error::Error;

/// Why a query cannot pick spans. The texts are Tempo's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TraceFilterError {
    #[error("failed to parse TraceQL spanset filter: {0}")]
    Query(#[from] Error),
    #[error("only a single TraceQL filter is supported: got a metrics query")]
    Metrics,
    #[error("only a single TraceQL filter is supported: got a structural or aggregate query")]
    Structural,
    #[error("only a single TraceQL filter is supported: got {0} pipeline elements")]
    Stages(usize),
    #[error("intrinsic is not supported by this filter: {:?}", .0.canonical())]
    Intrinsic(Intrinsic),
}

/// Reads a query that is one span filter.
///
/// # Errors
/// For every other query, and for a filter whose fields need the whole trace.
pub fn parse_trace_filter(text: &str) -> Result<FieldExpr, TraceFilterError> {
    let filter = only_filter(crate::parse(text)?)?;
    let refused = filter.fields().find_map(|field| match field {
        Field::Intrinsic(intrinsic) => Some(*intrinsic).filter(|intrinsic| needs_trace(*intrinsic)),
        Field::Attribute { .. } | Field::Parent(_) => None,
    });
    match refused {
        Some(intrinsic) => Err(TraceFilterError::Intrinsic(intrinsic)),
        None => Ok(filter),
    }
}

fn only_filter(query: Query) -> Result<FieldExpr, TraceFilterError> {
    if query.metrics.is_some() {
        return Err(TraceFilterError::Metrics);
    }
    let mut stages = query.pipeline.stages;
    if stages.iter().any(|stage| !is_of_single_spans(stage)) {
        return Err(TraceFilterError::Structural);
    }
    match (stages.len(), stages.pop()) {
        (1, Some(Stage::Spans(SpansetExpr::Filter(filter)))) => Ok(filter),
        (count, _) => Err(TraceFilterError::Stages(count)),
    }
}

fn is_of_single_spans(stage: &Stage) -> bool {
    matches!(stage, Stage::Spans(SpansetExpr::Filter(_)) | Stage::By(_) | Stage::Coalesce | Stage::Select(_))
}

fn needs_trace(intrinsic: Intrinsic) -> bool {
    use Intrinsic::{
        ChildCount, NestedSetLeft, NestedSetParent, NestedSetRight, Parent, RootName, RootServiceName, TraceDuration,
        TraceId,
    };
    matches!(
        intrinsic,
        TraceId
            | TraceDuration
            | RootName
            | RootServiceName
            | ChildCount
            | NestedSetLeft
            | NestedSetRight
            | NestedSetParent
            | Parent
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_filter_over_single_spans_is_taken() {
        for text in
            ["{ }", "{ status = error }", "{ .a = 1 && resource.b = nil || event:name = `x` }", "{ kind = client }"]
        {
            assert!(parse_trace_filter(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused_in_tempos_words() {
        let only = "only a single TraceQL filter is supported: got ";
        let structural = format!("{only}a structural or aggregate query");
        for (text, problem) in [
            ("{ } | rate()", format!("{only}a metrics query")),
            ("{ } >> { }", structural.clone()),
            ("{ } && { }", structural.clone()),
            ("{ } | count() > 1", structural),
            ("{ } | select(.a)", format!("{only}2 pipeline elements")),
            ("{ } | by(.a) | coalesce()", format!("{only}3 pipeline elements")),
            ("{ trace:duration > 1ms }", "intrinsic is not supported by this filter: \"traceDuration\"".to_owned()),
            (
                "{ name = }",
                "failed to parse TraceQL spanset filter: parse error at line 1, col 10: syntax error: unexpected }"
                    .to_owned(),
            ),
        ] {
            assert_eq!(parse_trace_filter(text).unwrap_err().to_string(), problem, "{text}");
        }
    }
}
