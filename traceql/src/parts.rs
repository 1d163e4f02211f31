//! What a query is made of, for an evaluator that knows some parts of the language and must refuse the others, and for
//! one that can answer simple queries in a simpler way.

use std::collections::BTreeSet;
use std::fmt;

use crate::ast::*;
use crate::value::Static;

/// A part of the language beyond a single span filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QueryPart {
    /// `{ } && { }`, `{ } || { }`
    SpansetLogic,
    /// `{ } > { }` and its kin.
    Structure,
    /// `({ } | by(x)) && ({ })`
    PipelineOperand,
    /// A span filter that is not the first stage.
    LaterFilter,
    /// `count() > 2`
    ScalarFilter,
    /// `by(x)`
    GroupBy,
    Coalesce,
    Select,
    /// `rate()` and its kin, but not `compare`.
    Metrics,
    /// `compare({ })`
    Compare,
    /// `topk(5)`, `> 5`
    SecondStage,
}

impl fmt::Display for QueryPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SpansetLogic => "logical operators between span sets",
            Self::Structure => "structural operators",
            Self::PipelineOperand => "pipelines as operands",
            Self::LaterFilter => "span filters after the first stage",
            Self::ScalarFilter => "aggregate filters",
            Self::GroupBy => "by()",
            Self::Coalesce => "coalesce()",
            Self::Select => "select()",
            Self::Metrics => "metrics functions",
            Self::Compare => "compare()",
            Self::SecondStage => "second stages of metrics",
        })
    }
}

/// A pipeline that is one span filter and the fields to add to the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanFilter<'q> {
    pub filter: &'q FieldExpr,
    pub select: Vec<&'q Field>,
}

impl Query {
    /// The pipeline, if it is just one span filter, perhaps with `select()` after it. The metrics part does not matter.
    pub fn span_filter(&self) -> Option<SpanFilter<'_>> {
        let (first, rest) = self.pipeline.stages.split_first()?;
        let Stage::Spans(SpansetExpr::Filter(filter)) = first else { return None };
        let mut select = Vec::new();
        for stage in rest {
            let Stage::Select(fields) = stage else { return None };
            select.extend(fields);
        }
        Some(SpanFilter { filter, select })
    }

    /// The parts of the language that the query uses beyond a single span filter.
    pub fn parts(&self) -> BTreeSet<QueryPart> {
        let mut parts = BTreeSet::new();
        pipeline_parts(&self.pipeline, &mut parts);
        if let Some(metrics) = &self.metrics {
            parts.insert(match metrics.function {
                MetricsFunction::Compare { .. } => QueryPart::Compare,
                _ => QueryPart::Metrics,
            });
            if !metrics.second_stages.is_empty() {
                parts.insert(QueryPart::SecondStage);
            }
        }
        parts
    }

    /// Whether the query is known to find nothing, because of a filter that is constant false.
    pub fn never_matches(&self) -> bool {
        pipeline_never_matches(&self.pipeline)
    }
}

fn pipeline_parts(pipeline: &Pipeline, parts: &mut BTreeSet<QueryPart>) {
    for (index, stage) in pipeline.stages.iter().enumerate() {
        match stage {
            Stage::Spans(expr) => {
                if index > 0 {
                    parts.insert(QueryPart::LaterFilter);
                }
                spanset_parts(expr, parts);
            }
            Stage::Scalar(_) => {
                parts.insert(QueryPart::ScalarFilter);
            }
            Stage::By(_) => {
                parts.insert(QueryPart::GroupBy);
            }
            Stage::Coalesce => {
                parts.insert(QueryPart::Coalesce);
            }
            Stage::Select(_) => {
                parts.insert(QueryPart::Select);
            }
        }
    }
}

fn spanset_parts(expr: &SpansetExpr, parts: &mut BTreeSet<QueryPart>) {
    match expr {
        SpansetExpr::Filter(_) => {}
        SpansetExpr::Op { op, left, right } => {
            parts.insert(match op {
                SpansetOp::And | SpansetOp::Or => QueryPart::SpansetLogic,
                SpansetOp::Structural(..) => QueryPart::Structure,
            });
            spanset_parts(left, parts);
            spanset_parts(right, parts);
        }
        SpansetExpr::Pipeline(pipeline) => {
            parts.insert(QueryPart::PipelineOperand);
            pipeline_parts(pipeline, parts);
        }
    }
}

/// A stage that keeps nothing ends the pipeline with nothing.
fn pipeline_never_matches(pipeline: &Pipeline) -> bool {
    pipeline.stages.iter().any(|stage| matches!(stage, Stage::Spans(expr) if spanset_never_matches(expr)))
}

fn spanset_never_matches(expr: &SpansetExpr) -> bool {
    match expr {
        SpansetExpr::Filter(filter) => *filter == FieldExpr::Literal(Static::Bool(false)),
        SpansetExpr::Pipeline(pipeline) => pipeline_never_matches(pipeline),
        SpansetExpr::Op { op, left, right } => match op {
            SpansetOp::Or => spanset_never_matches(left) && spanset_never_matches(right),
            SpansetOp::Structural(_, Form::Negated) => spanset_never_matches(right),
            SpansetOp::And | SpansetOp::Structural(_, Form::Plain | Form::Union) => {
                spanset_never_matches(left) || spanset_never_matches(right)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        crate::parse(text).unwrap()
    }

    #[test]
    fn a_single_filter_is_found_with_its_selection() {
        let simple = query("{ .a = 1 } | select(name) | select(.b) | rate()");
        let SpanFilter { filter, select } = simple.span_filter().unwrap();
        assert_eq!(filter.to_string(), ".a = 1");
        assert_eq!(select.iter().map(ToString::to_string).collect::<Vec<_>>(), ["name", ".b"]);
        for other in ["{ } > { }", "{ } | { }", "{ } | count() > 1", "by(name)", "({ } | by(name))"] {
            assert_eq!(query(other).span_filter(), None, "{other}");
        }
    }

    #[test]
    fn parts_are_those_used() {
        use QueryPart::*;
        for (text, expected) in [
            ("{ .a = 1 }", vec![]),
            ("{ } > { } && { }", vec![SpansetLogic, Structure]),
            ("{ } | by(name) | coalesce() | count() > 1 | { }", vec![LaterFilter, ScalarFilter, GroupBy, Coalesce]),
            ("({ } | by(name)) || ({ } | select(name))", vec![SpansetLogic, PipelineOperand, GroupBy, Select]),
            ("{ } | rate() | topk(1)", vec![Metrics, SecondStage]),
            ("{ } | compare({ .a = 1 })", vec![Compare]),
        ] {
            assert_eq!(query(text).parts().into_iter().collect::<Vec<_>>(), expected, "{text}");
        }
    }

    #[test]
    fn queries_that_find_nothing_are_known() {
        for (text, expected) in [
            ("{ false }", true),
            ("{ 1 = 2 } | rate()", true),
            ("{ } | { nil = nil }", true),
            ("{ } && { false }", true),
            ("{ } || { false }", false),
            ("{ false } > { }", true),
            ("{ false } !> { }", false),
            ("{ } !> { false }", true),
            ("({ false } | by(name)) || ({ } | by(name))", false),
            ("{ .a = 1 }", false),
        ] {
            assert_eq!(query(text).never_matches(), expected, "{text}");
        }
    }
}
