//! What stands in filters, `by()` and aggregates.

use model::{Intrinsic, Scope};
use proptest::prelude::*;
use proptest::sample::select;
use traceql::{ArithmeticOp, BinaryOp, CompareOp, Field, FieldExpr, Kind, LogicOp, Static, Status, UnaryOp};

use super::{KEYS, SERVICES, TEXTS};

pub(super) fn any_field() -> BoxedStrategy<Field> {
    let scopes = [
        None,
        Some(Scope::Span),
        Some(Scope::Span),
        Some(Scope::Resource),
        Some(Scope::Instrumentation),
        Some(Scope::Event),
        Some(Scope::Link),
    ];
    let intrinsics = [
        Intrinsic::Name,
        Intrinsic::Duration,
        Intrinsic::Kind,
        Intrinsic::Status,
        Intrinsic::StatusMessage,
        Intrinsic::SpanId,
        Intrinsic::ParentId,
        Intrinsic::ChildCount,
        Intrinsic::TraceDuration,
        Intrinsic::RootName,
        Intrinsic::RootServiceName,
        Intrinsic::EventName,
        Intrinsic::EventTimeSinceStart,
        Intrinsic::LinkSpanId,
        Intrinsic::InstrumentationName,
        Intrinsic::InstrumentationVersion,
        Intrinsic::NestedSetLeft,
        Intrinsic::NestedSetRight,
        Intrinsic::NestedSetParent,
    ];
    prop_oneof![
        4 => (select(scopes.to_vec()), select(&KEYS[..]))
            .prop_map(|(scope, name)| Field::Attribute { scope, name: name.to_owned() }),
        2 => select(intrinsics.to_vec()).prop_map(Field::Intrinsic),
    ]
    .boxed()
}

fn any_literal() -> impl Strategy<Value = Static> {
    prop_oneof![
        select(&TEXTS[..]).prop_map(|text| Static::String(text.to_owned())),
        (-2_i64..8).prop_map(Static::Int),
        (-2_i32..8).prop_map(|number| Static::Float(f64::from(number) / 2.0)),
        any::<std::primitive::bool>().prop_map(Static::Bool),
        select(vec![0, 1, 2, 3, 10_000]).prop_map(|millis| Static::Duration(millis * 1_000_000)),
        select(Status::ALL.to_vec()).prop_map(Static::Status),
        select(Kind::ALL.to_vec()).prop_map(Static::Kind),
    ]
}

fn binary(op: BinaryOp, left: FieldExpr, right: FieldExpr) -> FieldExpr {
    FieldExpr::Binary { op, left: Box::new(left), right: Box::new(right) }
}

pub(super) fn orders() -> impl Strategy<Value = CompareOp> {
    use CompareOp::{Eq, Ge, Gt, Le, Lt, Ne};
    select(vec![Eq, Ne, Lt, Le, Gt, Ge])
}

/// Any expression, also such as the checker of the language refuses.
pub(crate) fn any_expr() -> BoxedStrategy<FieldExpr> {
    use ArithmeticOp::{Add, Div, Mod, Mul, Pow, Sub};
    use CompareOp::{Eq, Lt, Match, Ne, NotMatch};
    let field = || any_field().prop_map(FieldExpr::Field);
    let literal = || any_literal().prop_map(FieldExpr::Literal);
    let pattern =
        select(vec!["", "x.*", "[0-9]", "y|x"]).prop_map(|text| FieldExpr::Literal(Static::String(text.to_owned())));
    let leaf = prop_oneof![
        8 => (orders(), field(), literal()).prop_map(|(op, left, right)| binary(BinaryOp::Compare(op), left, right)),
        2 => (orders(), literal(), field()).prop_map(|(op, left, right)| binary(BinaryOp::Compare(op), left, right)),
        3 => (orders(), field(), field()).prop_map(|(op, left, right)| binary(BinaryOp::Compare(op), left, right)),
        2 => (select(vec![Match, NotMatch]), field(), pattern)
            .prop_map(|(op, left, right)| binary(BinaryOp::Compare(op), left, right)),
        2 => (select(vec![Eq, Ne]), field())
            .prop_map(|(op, left)| binary(BinaryOp::Compare(op), left, FieldExpr::Literal(Static::Nil))),
        1 => field(),
        1 => any::<std::primitive::bool>().prop_map(|value| FieldExpr::Literal(Static::Bool(value))),
        2 => (select(vec![Add, Sub, Mul, Div, Mod, Pow]), field(), literal())
            .prop_map(|(op, left, right)| binary(BinaryOp::Arithmetic(op), left, right)),
    ];
    leaf.prop_recursive(4, 24, 2, move |inner| {
        prop_oneof![
            4 => (select(vec![LogicOp::And, LogicOp::Or]), inner.clone(), inner.clone())
                .prop_map(|(op, left, right)| binary(BinaryOp::Logic(op), left, right)),
            1 => inner.clone().prop_map(|expr| FieldExpr::Unary { op: UnaryOp::Not, expr: Box::new(expr) }),
            1 => inner.clone().prop_map(|expr| FieldExpr::Unary { op: UnaryOp::Neg, expr: Box::new(expr) }),
            1 => (select(vec![Eq, Ne, Lt]), inner.clone(), inner)
                .prop_map(|(op, left, right)| binary(BinaryOp::Compare(op), left, right)),
        ]
    })
    .boxed()
}

/// A filter that the language takes, often one that several spans pass.
pub(super) fn any_filter() -> BoxedStrategy<FieldExpr> {
    let attribute = Field::attribute;
    let equal = |field: Field, literal: Static| {
        binary(BinaryOp::Compare(CompareOp::Eq), FieldExpr::Field(field), FieldExpr::Literal(literal))
    };
    let intrinsic = Field::Intrinsic;
    let likely = prop_oneof![
        1 => Just(FieldExpr::TRUE),
        2 => select(&TEXTS[..]).prop_map(move |name| equal(intrinsic(Intrinsic::Name), Static::String(name.into()))),
        1 => select(Status::ALL.to_vec())
            .prop_map(move |status| equal(intrinsic(Intrinsic::Status), Static::Status(status))),
        1 => select(&SERVICES[..]).prop_map(move |name| {
            equal(attribute(Scope::Resource, "service.name"), Static::String(name.into()))
        }),
        1 => Just(equal(intrinsic(Intrinsic::NestedSetParent), Static::Int(-1))),
        1 => (orders(), 0..4_i64).prop_map(move |(op, millis)| {
            let duration = FieldExpr::Literal(Static::Duration(millis * 1_000_000));
            binary(BinaryOp::Compare(op), FieldExpr::Field(intrinsic(Intrinsic::Duration)), duration)
        }),
    ];
    let is_taken = |expr: &FieldExpr| {
        let text = format!("{{ {expr} }}");
        traceql::parse(&text).is_ok() && ![" / ", " % ", " ^ "].iter().any(|op| text.contains(op))
    };
    prop_oneof![
        3 => likely.clone(),
        1 => (select(vec![LogicOp::And, LogicOp::Or]), likely.clone(), likely)
            .prop_map(|(op, left, right)| binary(BinaryOp::Logic(op), left, right)),
        2 => any_expr().prop_filter("the language refuses it, or it may fail", is_taken),
    ]
    .boxed()
}

/// What `by()` and aggregates take.
pub(super) fn any_value() -> BoxedStrategy<FieldExpr> {
    use ArithmeticOp::{Add, Div, Mul, Sub};
    let arithmetic = |op: ArithmeticOp| move |(left, right)| binary(BinaryOp::Arithmetic(op), left, right);
    let field = || any_field().prop_map(FieldExpr::Field);
    let span_field = || select(&KEYS[..]).prop_map(|name| FieldExpr::Field(Field::attribute(Scope::Span, name)));
    let literal = |number: i64| FieldExpr::Literal(Static::Int(number));
    prop_oneof![
        3 => field(),
        2 => Just(FieldExpr::Field(Field::Intrinsic(Intrinsic::Duration))),
        2 => span_field(),
        1 => (orders(), field(), any_literal().prop_map(FieldExpr::Literal))
            .prop_map(|(op, left, right)| binary(BinaryOp::Compare(op), left, right)),
        1 => (span_field(), span_field()).prop_map(arithmetic(Sub)),
        1 => (field(), (0..3_i64).prop_map(literal)).prop_map(arithmetic(Add)),
        1 => (field(), (2..4_i64).prop_map(literal)).prop_map(arithmetic(Mul)),
        1 => (field(), Just(literal(2))).prop_map(arithmetic(Div)),
    ]
    .boxed()
}

pub(super) fn any_number() -> impl Strategy<Value = Static> {
    prop_oneof![
        (-2_i64..8).prop_map(Static::Int),
        (-2_i32..8).prop_map(|number| Static::Float(f64::from(number) / 2.0)),
        (0..4_i64).prop_map(|millis| Static::Duration(millis * 1_000_000)),
    ]
}
