//! Printing a tree and parsing the text gives the tree.

use model::{Intrinsic, Scope};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::parser;
use crate::value::{Kind, Status};

const INTRINSICS: [Intrinsic; 22] = [
    Intrinsic::Duration,
    Intrinsic::Name,
    Intrinsic::Status,
    Intrinsic::StatusMessage,
    Intrinsic::Kind,
    Intrinsic::SpanId,
    Intrinsic::ParentId,
    Intrinsic::ChildCount,
    Intrinsic::TraceId,
    Intrinsic::TraceDuration,
    Intrinsic::RootName,
    Intrinsic::RootServiceName,
    Intrinsic::EventName,
    Intrinsic::EventTimeSinceStart,
    Intrinsic::LinkTraceId,
    Intrinsic::LinkSpanId,
    Intrinsic::InstrumentationName,
    Intrinsic::InstrumentationVersion,
    Intrinsic::NestedSetLeft,
    Intrinsic::NestedSetRight,
    Intrinsic::NestedSetParent,
    Intrinsic::Parent,
];

fn field() -> BoxedStrategy<Field> {
    let name = prop_oneof!["[a-z][a-z.]{0,6}", "[0-9]{1,3}[a-z]?", "\\PC{0,6}", "[ \"\\\\\n{}=a.]{0,6}"];
    prop_oneof![
        select(&INTRINSICS).prop_map(Field::Intrinsic),
        (proptest::option::of(select(&Scope::ALL)), name.clone())
            .prop_map(|(scope, name)| Field::Attribute { scope, name }),
        name.prop_map(Field::Parent),
    ]
    .boxed()
}

fn number() -> BoxedStrategy<Static> {
    prop_oneof![
        (0..=i64::MAX).prop_map(Static::Int),
        (0.0..1e30).prop_map(Static::Float),
        (0_i64..1000).prop_map(|number| Static::Float(number as f64)),
        (0..1_i64 << 53).prop_map(Static::Duration),
    ]
    .boxed()
}

/// Literals that are one token: a sign is an operator.
fn literal() -> BoxedStrategy<Static> {
    prop_oneof![
        number(),
        Just(Static::Int(i64::MIN)),
        any::<String>().prop_map(Static::String),
        any::<bool>().prop_map(Static::Bool),
        select(&Status::ALL).prop_map(Static::Status),
        select(&Kind::ALL).prop_map(Static::Kind),
    ]
    .boxed()
}

fn signed_number() -> BoxedStrategy<Static> {
    prop_oneof![number(), number().prop_map(|number| number.negate().unwrap())].boxed()
}

const ARITHMETIC: [ArithmeticOp; 6] =
    [ArithmeticOp::Add, ArithmeticOp::Sub, ArithmeticOp::Mul, ArithmeticOp::Div, ArithmeticOp::Mod, ArithmeticOp::Pow];

const COMPARISONS: [CompareOp; 6] =
    [CompareOp::Eq, CompareOp::Ne, CompareOp::Lt, CompareOp::Le, CompareOp::Gt, CompareOp::Ge];

fn binary_op() -> BoxedStrategy<BinaryOp> {
    prop_oneof![
        select(&ARITHMETIC).prop_map(BinaryOp::Arithmetic),
        select(&COMPARISONS).prop_map(BinaryOp::Compare),
        select(&[CompareOp::Match, CompareOp::NotMatch]).prop_map(BinaryOp::Compare),
        select(&[LogicOp::And, LogicOp::Or]).prop_map(BinaryOp::Logic),
    ]
    .boxed()
}

fn expr() -> BoxedStrategy<FieldExpr> {
    let leaf = prop_oneof![field().prop_map(FieldExpr::Field), literal().prop_map(FieldExpr::Literal)];
    leaf.prop_recursive(4, 24, 2, |inner| {
        let nil = || FieldExpr::Literal(Static::Nil);
        let equality = select(&[CompareOp::Eq, CompareOp::Ne]).prop_map(BinaryOp::Compare);
        prop_oneof![
            1 => (select(&[UnaryOp::Neg, UnaryOp::Not]), inner.clone()).prop_map(|(op, expr)| FieldExpr::unary(op, expr)),
            4 => (binary_op(), inner.clone(), inner.clone())
                .prop_map(|(op, left, right)| FieldExpr::binary(op, left, right)),
            1 => (equality.clone(), inner.clone()).prop_map(move |(op, left)| FieldExpr::binary(op, left, nil())),
            1 => (equality, inner).prop_map(move |(op, right)| FieldExpr::binary(op, nil(), right)),
        ]
    })
    .boxed()
}

fn spanset_op() -> BoxedStrategy<SpansetOp> {
    let forms = select(&[Form::Plain, Form::Negated, Form::Union]);
    prop_oneof![
        1 => Just(SpansetOp::And),
        1 => Just(SpansetOp::Or),
        3 => (select(&Relation::ALL), forms).prop_map(|(relation, form)| SpansetOp::Structural(relation, form)),
    ]
    .boxed()
}

fn join(op: SpansetOp, left: SpansetExpr, right: SpansetExpr) -> SpansetExpr {
    SpansetExpr::Op { op, left: Box::new(left), right: Box::new(right) }
}

fn spans() -> BoxedStrategy<SpansetExpr> {
    expr()
        .prop_map(SpansetExpr::Filter)
        .prop_recursive(3, 8, 2, |inner| {
            (spanset_op(), inner.clone(), inner).prop_map(|(op, left, right)| join(op, left, right))
        })
        .boxed()
}

fn aggregate() -> BoxedStrategy<Aggregate> {
    prop_oneof![
        Just(Aggregate::Count),
        expr().prop_map(Aggregate::Min),
        expr().prop_map(Aggregate::Max),
        expr().prop_map(Aggregate::Avg),
        expr().prop_map(Aggregate::Sum),
    ]
    .boxed()
}

fn scalar() -> BoxedStrategy<ScalarExpr> {
    let leaf = prop_oneof![aggregate().prop_map(ScalarExpr::Aggregate), signed_number().prop_map(ScalarExpr::Literal)];
    leaf.prop_recursive(2, 6, 2, |inner| {
        (select(&ARITHMETIC), inner.clone(), inner).prop_map(|(op, left, right)| ScalarExpr::Binary {
            op,
            left: Box::new(left),
            right: Box::new(right),
        })
    })
    .boxed()
}

fn stage() -> BoxedStrategy<Stage> {
    prop_oneof![
        spans().prop_map(Stage::Spans),
        (scalar(), select(&COMPARISONS), scalar()).prop_map(|(left, op, right)| Stage::Scalar(ScalarFilter {
            left,
            op,
            right
        })),
        expr().prop_map(Stage::By),
        proptest::collection::vec(field(), 1..4).prop_map(Stage::Select),
    ]
    .boxed()
}

fn pipeline() -> BoxedStrategy<Pipeline> {
    let later = prop_oneof![4 => stage(), 1 => Just(Stage::Coalesce)];
    (stage(), proptest::collection::vec(later, 0..3))
        .prop_map(|(first, later)| Pipeline { stages: [vec![first], later].concat() })
        .boxed()
}

/// Pipelines as operands. The first has two stages, so that it is not read as a span set in parentheses.
fn joined_pipelines() -> BoxedStrategy<Pipeline> {
    let operand = |pipeline| SpansetExpr::Pipeline(Box::new(pipeline));
    let first = (spans(), stage())
        .prop_map(move |(spans, later)| operand(Pipeline { stages: vec![Stage::Spans(spans), later] }));
    (first, proptest::collection::vec((spanset_op(), pipeline()), 0..3))
        .prop_map(move |(first, rest)| {
            let joined = rest.into_iter().fold(first, |left, (op, right)| join(op, left, operand(right)));
            Pipeline { stages: vec![Stage::Spans(joined)] }
        })
        .boxed()
}

fn function() -> BoxedStrategy<MetricsFunction> {
    let quantiles = proptest::collection::vec(0.0..1.0, 1..3);
    let window = proptest::option::of((0..i64::MAX, 0..i64::MAX));
    prop_oneof![
        Just(MetricsFunction::Rate),
        Just(MetricsFunction::CountOverTime),
        field().prop_map(MetricsFunction::MinOverTime),
        field().prop_map(MetricsFunction::MaxOverTime),
        field().prop_map(MetricsFunction::AvgOverTime),
        field().prop_map(MetricsFunction::SumOverTime),
        field().prop_map(MetricsFunction::HistogramOverTime),
        (field(), quantiles).prop_map(|(field, quantiles)| MetricsFunction::QuantileOverTime { field, quantiles }),
        (expr(), 0_i64..100, window).prop_map(|(selection, top, window)| MetricsFunction::Compare {
            selection,
            top,
            window
        }),
    ]
    .boxed()
}

fn metrics() -> BoxedStrategy<Metrics> {
    let second_stage = prop_oneof![
        (0_i64..100).prop_map(SecondStage::TopK),
        (0_i64..100).prop_map(SecondStage::BottomK),
        (select(&COMPARISONS), signed_number()).prop_map(|(op, threshold)| SecondStage::Compare { op, threshold }),
    ];
    let by = proptest::collection::vec(field(), 0..3);
    (function(), by, proptest::collection::vec(second_stage, 0..3))
        .prop_map(|(function, by, second_stages)| {
            let by = if matches!(function, MetricsFunction::Compare { .. }) { Vec::new() } else { by };
            Metrics { function, by, second_stages }
        })
        .boxed()
}

fn query() -> BoxedStrategy<Query> {
    let hints = proptest::collection::vec(("x[a-z_]{0,6}", literal()), 0..3);
    let searched = prop_oneof![
        3 => (pipeline(), proptest::option::of(metrics())),
        1 => joined_pipelines().prop_map(|pipeline| (pipeline, None)),
    ];
    (searched, hints).prop_map(|((pipeline, metrics), hints)| Query { pipeline, metrics, hints }).boxed()
}

proptest! {
    #[test]
    fn any_tree_prints_and_parses_back(query in query()) {
        let text = query.to_string();
        prop_assert_eq!(parser::query(&text), Ok(query), "{}", text);
    }

    #[test]
    fn a_checked_query_prints_and_parses_back(filter in expr()) {
        if let Ok(query) = crate::parse(&format!("{{ {filter} = .x }}")) {
            let text = query.to_string();
            prop_assert_eq!(crate::parse(&text), Ok(query), "{}", text);
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC*") {
        let _ = crate::parse(&text);
    }

    #[test]
    fn no_row_of_tokens_panics(tokens in proptest::collection::vec(select(TOKENS), 0..24)) {
        if let Ok(query) = crate::parse(&tokens.join(" ")) {
            let text = query.to_string();
            prop_assert_eq!(crate::parse(&text), Ok(query), "{}", text);
        }
    }
}

#[rustfmt::skip]
const TOKENS: &[&str] = &[
    "{", "{", "{", "}", "}", "}", "(", "(", ")", ")", ",", "|", "|", "=", "!=", "=~", ">", "-", "*", "^", "&&", "||", "!",
    ">>", "!~", "&>", "nil", "true", "error", "name", "span:id", "span.a", ".b", "parent.c", "5", "1.5", "3ms", "`x`",
    "count()", "avg(", "by(", "coalesce()", "select(", "rate()", "compare({", "topk(2)", "with(", "x", "minInt",
];
