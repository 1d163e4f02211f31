//! Pipelines and metrics.

use model::{Intrinsic, Scope};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use traceql::{
    Aggregate, Field, Form, Metrics, MetricsFunction, Pipeline, Query, Relation, ScalarExpr, ScalarFilter, SecondStage,
    SpansetExpr, SpansetOp, Stage,
};

use super::KEYS;
use super::expressions::{any_field, any_filter, any_number, any_value, orders};

/// A search that the language takes, with its text. None divides ints by a value, which fails where it is computed: how far
/// that is, is open.
pub(crate) fn any_search() -> impl Strategy<Value = (String, Query)> {
    let pipeline = prop_oneof![3 => any_pipeline(), 1 => any_operands()];
    taken(pipeline.prop_map(|pipeline| Query { pipeline, metrics: None, hints: Vec::new() }))
}

/// A metrics query that the language takes, with its text.
pub(crate) fn any_metrics() -> impl Strategy<Value = (String, Query)> {
    let by = vec(any_field(), 0..3).prop_map(|mut by| {
        by.dedup();
        by
    });
    let second_stages =
        vec((orders(), any_number()).prop_map(|(op, threshold)| SecondStage::Compare { op, threshold }), 0..2);
    let metrics = (any_function(), by, prop_oneof![3 => Just(Vec::new()).boxed(), 1 => second_stages.boxed()])
        .prop_map(|(function, by, second_stages)| Metrics { function, by, second_stages });
    let pipeline = prop_oneof![
        any_filter().prop_map(|expr| Pipeline { stages: vec![Stage::Spans(SpansetExpr::Filter(expr))] }).boxed(),
        any_pipeline(),
    ];
    taken((pipeline, metrics).prop_map(|(pipeline, metrics)| Query {
        pipeline,
        metrics: Some(metrics),
        hints: Vec::new(),
    }))
}

fn taken(queries: impl Strategy<Value = Query>) -> impl Strategy<Value = (String, Query)> {
    let with_text = queries.prop_map(|query| (query.to_string(), query));
    with_text.prop_filter("the language refuses it", |(text, _)| traceql::parse(text).is_ok())
}

fn any_function() -> BoxedStrategy<MetricsFunction> {
    let measured = || {
        prop_oneof![
            2 => select(vec![Scope::Span, Scope::Span, Scope::Event]).prop_flat_map(|scope| {
                select(&KEYS[..]).prop_map(move |name| Field::attribute(scope, name))
            }),
            2 => Just(Field::Intrinsic(Intrinsic::Duration)),
            1 => any_field(),
        ]
    };
    let quantiles = || {
        vec(select(vec![0.0, 0.3, 0.5, 0.9, 1.0]), 1..3).prop_map(|mut quantiles| {
            quantiles.dedup();
            quantiles
        })
    };
    prop_oneof![
        Just(MetricsFunction::Rate),
        Just(MetricsFunction::CountOverTime),
        measured().prop_map(MetricsFunction::MinOverTime),
        measured().prop_map(MetricsFunction::MaxOverTime),
        measured().prop_map(MetricsFunction::AvgOverTime),
        measured().prop_map(MetricsFunction::SumOverTime),
        measured().prop_map(MetricsFunction::HistogramOverTime),
        (measured(), quantiles()).prop_map(|(field, quantiles)| MetricsFunction::QuantileOverTime { field, quantiles }),
    ]
    .boxed()
}

/// Stages of every kind.
fn any_pipeline() -> BoxedStrategy<Pipeline> {
    let first = prop_oneof![
        6 => any_spanset().prop_map(Stage::Spans),
        1 => any_scalar().prop_map(Stage::Scalar),
        1 => any_value().prop_map(Stage::By),
        1 => vec(any_field(), 1..3).prop_map(Stage::Select),
    ];
    let later = prop_oneof![
        3 => any_spanset().prop_map(Stage::Spans),
        3 => any_scalar().prop_map(Stage::Scalar),
        3 => any_value().prop_map(Stage::By),
        1 => Just(Stage::Coalesce),
        2 => vec(any_field(), 1..3).prop_map(Stage::Select),
    ];
    (first, vec(later, 0..4)).prop_map(|(first, later)| Pipeline { stages: [vec![first], later].concat() }).boxed()
}

/// Pipelines combined by operators. Most end in one span set, as structural operators want it.
fn any_operands() -> BoxedStrategy<Pipeline> {
    let operand = (any_pipeline(), prop::bool::weighted(0.4)).prop_map(|(mut pipeline, coalesced)| {
        pipeline.stages.extend(coalesced.then_some(Stage::Coalesce));
        SpansetExpr::Pipeline(Box::new(pipeline))
    });
    combined(operand).prop_map(|expr| Pipeline { stages: vec![Stage::Spans(expr)] }).boxed()
}

fn any_spanset() -> BoxedStrategy<SpansetExpr> {
    combined(any_filter().prop_map(SpansetExpr::Filter)).boxed()
}

fn combined(operand: impl Strategy<Value = SpansetExpr> + 'static) -> BoxedStrategy<SpansetExpr> {
    use Relation::{Ancestor, Child, Descendant, Parent, Sibling};
    let structural = (
        select(vec![Child, Descendant, Parent, Ancestor, Sibling]),
        select(vec![Form::Plain, Form::Negated, Form::Union]),
    )
        .prop_map(|(relation, form)| SpansetOp::Structural(relation, form));
    let op = prop_oneof![1 => Just(SpansetOp::And), 1 => Just(SpansetOp::Or), 4 => structural].boxed();
    operand
        .prop_recursive(2, 4, 2, move |inner| {
            (op.clone(), inner.clone(), inner).prop_map(|(op, left, right)| SpansetExpr::Op {
                op,
                left: Box::new(left),
                right: Box::new(right),
            })
        })
        .boxed()
}

fn any_scalar() -> BoxedStrategy<ScalarFilter> {
    let aggregate = prop_oneof![
        2 => Just(Aggregate::Count),
        1 => any_value().prop_map(Aggregate::Min),
        1 => any_value().prop_map(Aggregate::Max),
        1 => any_value().prop_map(Aggregate::Avg),
        1 => any_value().prop_map(Aggregate::Sum),
    ];
    (aggregate, orders(), any_number())
        .prop_map(|(aggregate, op, number)| ScalarFilter {
            left: ScalarExpr::Aggregate(aggregate),
            op,
            right: ScalarExpr::Literal(number),
        })
        .boxed()
}

/// Children of spans in a cycle are not counted alike: a cycle is cut somewhere to have rows in order.
pub(crate) fn asks_for_children(query: &str) -> std::primitive::bool {
    query.contains(Intrinsic::ChildCount.canonical())
}
