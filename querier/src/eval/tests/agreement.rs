//! The columnar evaluator agrees with a slow and obvious one, span by span, on generated spans and filters.

use model::{Intrinsic, Scope};
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, any_value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span, span};
use proptest::collection::{hash_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use spans::{Promotion, SpanTable};
use storage::index::Limits;
use storage::source::Source;
use traceql::{ArithmeticOp, BinaryOp, CompareOp, Field, FieldExpr, Kind, LogicOp, Static, Status, UnaryOp};

use crate::eval::Filter;
use crate::testing::{START, array, attributes, bool, float, indexed_block, int, resource, span, status, table, text};

const KEYS: [&str; 3] = ["a", "b", "c"];
const TEXTS: [&str; 4] = ["", "x", "xy", "7"];

// ---------------------------------------------------------------- the slow evaluator

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Missing,
    Opaque,
    One(Static),
    Many(Vec<Static>),
}

/// A span with one of its events and one of its links.
#[derive(Clone, Copy)]
struct Row<'a> {
    resource: &'a ResourceSpans,
    span: &'a Span,
    event: Option<&'a span::Event>,
    link: Option<&'a span::Link>,
}

fn value_of(value: &AnyValue) -> Value {
    use any_value::Value::*;
    match value.value.as_ref() {
        None => Value::Missing,
        Some(StringValue(text)) => Value::One(Static::String(text.clone())),
        Some(IntValue(number)) => Value::One(Static::Int(*number)),
        Some(DoubleValue(number)) => Value::One(Static::Float(*number)),
        Some(BoolValue(value)) => Value::One(Static::Bool(*value)),
        Some(ArrayValue(array)) => {
            let elements: Vec<Value> = array.values.iter().map(value_of).collect();
            let kinds = elements.iter().map(|element| match element {
                Value::One(value) => Some(std::mem::discriminant(value)),
                _ => None,
            });
            let kinds: Vec<_> = kinds.collect();
            if elements.is_empty() || kinds[0].is_none() || kinds.iter().any(|kind| *kind != kinds[0]) {
                return Value::Opaque;
            }
            let mut elements: Vec<Static> = elements
                .into_iter()
                .filter_map(|element| match element {
                    Value::One(value) => Some(value),
                    _ => None,
                })
                .collect();
            if elements.len() == 1 { Value::One(elements.remove(0)) } else { Value::Many(elements) }
        }
        Some(_) => Value::Opaque,
    }
}

fn attribute(pairs: &[opentelemetry_proto::tonic::common::v1::KeyValue], key: &str) -> Value {
    let values = pairs.iter().filter(|pair| pair.key == key).filter_map(|pair| pair.value.as_ref());
    values.map(value_of).find(|value| *value != Value::Missing).unwrap_or(Value::Missing)
}

fn field(row: Row<'_>, field: &Field) -> Value {
    let span = row.span;
    let scope = row.resource.scope_spans[0].scope.clone().unwrap_or_default();
    let resource = |key: &str| attribute(&row.resource.resource.as_ref().unwrap().attributes, key);
    match field {
        Field::Attribute { scope: Some(Scope::Span), name } => attribute(&span.attributes, name),
        Field::Attribute { scope: Some(Scope::Resource), name } => resource(name),
        Field::Attribute { scope: Some(Scope::Instrumentation), name } => attribute(&scope.attributes, name),
        Field::Attribute { scope: Some(Scope::Event), name } => {
            row.event.map_or(Value::Missing, |event| attribute(&event.attributes, name))
        }
        Field::Attribute { scope: Some(Scope::Link), name } => {
            row.link.map_or(Value::Missing, |link| attribute(&link.attributes, name))
        }
        Field::Attribute { scope: None, name } => match attribute(&span.attributes, name) {
            Value::Missing => resource(name),
            value => value,
        },
        Field::Intrinsic(intrinsic) => Value::One(match intrinsic {
            Intrinsic::Name => Static::String(span.name.clone()),
            Intrinsic::Duration => Static::Duration((span.end_time_unix_nano - span.start_time_unix_nano) as i64),
            Intrinsic::Kind => Static::Kind(Kind::from_otlp(span.kind).unwrap()),
            Intrinsic::Status => {
                Static::Status(Status::from_otlp(span.status.as_ref().map_or(0, |status| status.code)).unwrap())
            }
            Intrinsic::InstrumentationName => Static::String(scope.name),
            Intrinsic::EventName => match row.event {
                Some(event) => Static::String(event.name.clone()),
                None => return Value::Missing,
            },
            other => panic!("{other} is not generated"),
        }),
        Field::Parent(_) => panic!("not generated"),
    }
}

/// The value of an expression; `Err` for a division by zero.
fn evaluate(row: Row<'_>, expr: &FieldExpr) -> Result<Value, ()> {
    let truth = |value: bool| Ok(Value::One(Static::Bool(value)));
    match expr {
        FieldExpr::Literal(value) => Ok(Value::One(value.clone())),
        FieldExpr::Field(name) => Ok(field(row, name)),
        FieldExpr::Unary { op: UnaryOp::Not, expr } => Ok(match evaluate(row, expr)? {
            Value::One(Static::Bool(value)) => Value::One(Static::Bool(!value)),
            _ => Value::Missing,
        }),
        FieldExpr::Unary { op: UnaryOp::Neg, expr } => Ok(match evaluate(row, expr)? {
            Value::One(value) => value.negate().map_or(Value::Missing, Value::One),
            _ => Value::Missing,
        }),
        FieldExpr::Binary { op: BinaryOp::Logic(op), left, right } => {
            let left = is_true(row, left)?;
            match op {
                LogicOp::And if !left => truth(false),
                LogicOp::Or if left => truth(true),
                _ => truth(is_true(row, right)?),
            }
        }
        FieldExpr::Binary { op: BinaryOp::Arithmetic(op), left, right } => {
            match (evaluate(row, left)?, evaluate(row, right)?) {
                (Value::One(left), Value::One(right)) => left.compute(*op, &right).map(Value::One).map_err(|_| ()),
                _ => truth(false),
            }
        }
        FieldExpr::Binary { op: BinaryOp::Compare(op), left, right } => {
            if let FieldExpr::Literal(Static::Nil) = &**right {
                let is_missing = evaluate(row, left)? == Value::Missing;
                return truth(if *op == CompareOp::Ne { !is_missing } else { is_missing && has_item(row, left) });
            }
            truth(compare(&evaluate(row, left)?, *op, &evaluate(row, right)?))
        }
    }
}

fn has_item(row: Row<'_>, expr: &FieldExpr) -> bool {
    match expr {
        FieldExpr::Field(
            Field::Attribute { scope: Some(Scope::Event), .. } | Field::Intrinsic(Intrinsic::EventName),
        ) => row.event.is_some(),
        FieldExpr::Field(Field::Attribute { scope: Some(Scope::Link), .. }) => row.link.is_some(),
        _ => true,
    }
}

fn is_true(row: Row<'_>, expr: &FieldExpr) -> Result<bool, ()> {
    Ok(evaluate(row, expr)? == Value::One(Static::Bool(true)))
}

fn compare(left: &Value, op: CompareOp, right: &Value) -> bool {
    let one = |left: &Static, right: &Static| match (op, left, right) {
        (CompareOp::Match | CompareOp::NotMatch, Static::String(text), Static::String(pattern)) => {
            traceql::anchored_regex(pattern).unwrap().is_match(text) == (op == CompareOp::Match)
        }
        _ => left.compare(op, right),
    };
    let must_all = matches!(op, CompareOp::Ne | CompareOp::NotMatch);
    let many = |results: Vec<bool>| if must_all { results.iter().all(|it| *it) } else { results.iter().any(|it| *it) };
    match (left, right) {
        (Value::One(left), Value::One(right)) => one(left, right),
        (Value::Many(lefts), Value::One(right)) => many(lefts.iter().map(|left| one(left, right)).collect()),
        (Value::One(left), Value::Many(rights)) => many(rights.iter().map(|right| one(left, right)).collect()),
        _ => false,
    }
}

/// The ids of the spans that the filter keeps, in order.
fn slowly(traces: &[ResourceSpans], expr: &FieldExpr) -> Result<Vec<u8>, ()> {
    let mut kept = Vec::new();
    for resource in traces {
        for span in &resource.scope_spans[0].spans {
            let events: Vec<_> =
                if span.events.is_empty() { vec![None] } else { span.events.iter().map(Some).collect() };
            let links: Vec<_> = if span.links.is_empty() { vec![None] } else { span.links.iter().map(Some).collect() };
            let mut is_kept = false;
            for event in &events {
                for link in &links {
                    is_kept |= is_true(Row { resource, span, event: *event, link: *link }, expr)?;
                }
            }
            if is_kept {
                kept.push(span.span_id[7]);
            }
        }
    }
    kept.sort_unstable();
    Ok(kept)
}

// ---------------------------------------------------------------- generators

fn any_attribute() -> impl Strategy<Value = AnyValue> {
    let scalar = prop_oneof![
        select(&TEXTS[..]).prop_map(text),
        (-2_i64..8).prop_map(int),
        (-2_i32..8).prop_map(|number| float(f64::from(number) / 2.0)),
        any::<std::primitive::bool>().prop_map(bool),
    ];
    prop_oneof![
        6 => scalar.clone(),
        1 => vec(select(&TEXTS[..]).prop_map(text), 0..3).prop_map(array),
        1 => vec((0_i64..4).prop_map(int), 0..4).prop_map(array),
        1 => vec(scalar, 0..3).prop_map(array),
        1 => Just(AnyValue::default()),
    ]
}

/// Each key at most once: a block may change which value of a repeated key comes first.
fn any_attributes() -> impl Strategy<Value = Vec<(&'static str, AnyValue)>> {
    hash_map(select(&KEYS[..]), any_attribute(), 0..=KEYS.len()).prop_map(|pairs| pairs.into_iter().collect())
}

prop_compose! {
    fn any_span()(
        name in select(&TEXTS[..]), kind in 0..6_i32, code in 0..3_i32, duration in 0..4_u64, trace in 1..4_u8,
        pairs in any_attributes(), events in vec((select(&TEXTS[..]), any_attributes()), 0..3),
        links in vec(any_attributes(), 0..2),
    ) -> Span {
        let event = |(name, pairs): (&str, Vec<_>)| crate::testing::event(name, START, &pairs);
        let link = |pairs: Vec<_>| span::Link { attributes: attributes(&pairs), ..Default::default() };
        Span {
            kind,
            status: status(code, ""),
            attributes: attributes(&pairs),
            events: events.into_iter().map(event).collect(),
            links: links.into_iter().map(link).collect(),
            ..span(trace, 0, 0, name, 0, duration)
        }
    }
}

prop_compose! {
    fn any_traces()(
        resources in vec((any_attributes(), any_attributes(), select(&TEXTS[..]), vec(any_span(), 1..8)), 1..4),
    ) -> Vec<ResourceSpans> {
        let mut id = 0;
        resources.into_iter().map(|(of_resource, of_scope, scope, mut spans)| {
            for span in &mut spans {
                id += 1;
                span.span_id = vec![0, 0, 0, 0, 0, 0, 0, id];
            }
            let mut resource = resource(&of_resource, "", spans);
            let attributes = attributes(&of_scope);
            resource.scope_spans[0].scope =
                Some(InstrumentationScope { name: scope.to_owned(), attributes, ..Default::default() });
            resource
        }).collect()
    }
}

fn any_field() -> impl Strategy<Value = Field> {
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
        Intrinsic::InstrumentationName,
        Intrinsic::EventName,
    ];
    prop_oneof![
        4 => (select(scopes.to_vec()), select(&KEYS[..]))
            .prop_map(|(scope, name)| Field::Attribute { scope, name: name.to_owned() }),
        1 => select(intrinsics.to_vec()).prop_map(Field::Intrinsic),
    ]
}

fn any_literal() -> impl Strategy<Value = Static> {
    prop_oneof![
        select(&TEXTS[..]).prop_map(|text| Static::String(text.to_owned())),
        (-2_i64..8).prop_map(Static::Int),
        (-2_i32..8).prop_map(|number| Static::Float(f64::from(number) / 2.0)),
        any::<std::primitive::bool>().prop_map(Static::Bool),
        (0_i64..4).prop_map(|millis| Static::Duration(millis * 1_000_000)),
        select(Status::ALL.to_vec()).prop_map(Static::Status),
        select(Kind::ALL.to_vec()).prop_map(Static::Kind),
    ]
}

fn binary(op: BinaryOp, left: FieldExpr, right: FieldExpr) -> FieldExpr {
    FieldExpr::Binary { op, left: Box::new(left), right: Box::new(right) }
}

fn any_expr() -> impl Strategy<Value = FieldExpr> {
    use ArithmeticOp::{Add, Div, Mod, Mul, Pow, Sub};
    use CompareOp::{Eq, Ge, Gt, Le, Lt, Match, Ne, NotMatch};
    let ops = || select(vec![Eq, Ne, Lt, Le, Gt, Ge]);
    let field = || any_field().prop_map(FieldExpr::Field);
    let literal = || any_literal().prop_map(FieldExpr::Literal);
    let pattern =
        select(vec!["", "x.*", "[0-9]", "y|x"]).prop_map(|text| FieldExpr::Literal(Static::String(text.to_owned())));
    let leaf = prop_oneof![
        8 => (ops(), field(), literal()).prop_map(|(op, left, right)| binary(BinaryOp::Compare(op), left, right)),
        2 => (ops(), literal(), field()).prop_map(|(op, left, right)| binary(BinaryOp::Compare(op), left, right)),
        3 => (ops(), field(), field()).prop_map(|(op, left, right)| binary(BinaryOp::Compare(op), left, right)),
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
}

// ---------------------------------------------------------------- the property

/// The table as a block holds it: attributes in columns of their own.
fn promoted(table: &SpanTable) -> SpanTable {
    let promote = |batch, scope| Promotion::plan(batch, scope).unwrap().apply(batch).unwrap();
    SpanTable {
        spans: promote(&table.spans, Scope::Span),
        resources: promote(&table.resources, Scope::Resource),
        ..table.clone()
    }
}

fn quickly(table: &SpanTable, filter: &Filter) -> Result<Vec<u8>, ()> {
    let masks = filter.on_dimensions(table).map_err(|_| ())?;
    let selected = filter.select(table, &masks).map_err(|_| ())?.spans;
    let ids = arrow::array::AsArray::as_fixed_size_binary(spans::column(&table.spans, "span_id").unwrap());
    let mut kept: Vec<u8> = selected.set_indices().map(|row| ids.value(row)[7]).collect();
    assert!(!masks.is_never || kept.is_empty());
    if let Some(traces) = &masks.traces {
        let of_span = spans::column(&table.spans, "trace").unwrap();
        let of_span = arrow::array::AsArray::as_primitive::<arrow::datatypes::UInt32Type>(of_span);
        assert!(selected.set_indices().all(|row| traces.value(of_span.value(row) as usize)));
    }
    kept.sort_unstable();
    Ok(kept)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn columns_agree_with_rows(traces in any_traces(), expr in any_expr()) {
        let expected = slowly(&traces, &expr);
        let filter = Filter::compile(&expr).unwrap();
        let table = table(traces);
        prop_assert_eq!(&quickly(&table, &filter), &expected, "{}", expr);
        prop_assert_eq!(&quickly(&promoted(&table), &filter), &expected, "promoted: {}", expr);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    #[test]
    fn an_index_leaves_out_no_trace_of_a_kept_span(traces in any_traces(), expr in any_expr(), kind in 0..3) {
        let filter = Filter::compile(&expr).unwrap();
        let table = table(traces);
        let Ok(kept) = kept_traces(&table, &filter) else { return Ok(()) };
        let limits = match kind {
            0 => Limits::default(),
            1 => SMALL_PAGES,
            _ => Limits { most_hashes: 3, ..SMALL_PAGES },
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let possible = runtime.block_on(async {
            indexed_block(&table, limits).await.may_match(&[filter.conditions().clone()]).await.unwrap()
        });
        if let Some(ranges) = &possible[0] {
            for trace in kept {
                prop_assert!(ranges.iter().any(|range| range.contains(&trace)), "{}: {} not in {:?}", expr, trace, ranges);
            }
        }
    }
}

/// So that even a few spans make several pages, with hashes and buckets.
const SMALL_PAGES: Limits = Limits {
    page_spans: 1,
    least_hashed_texts: 2,
    most_listed_texts: 4,
    most_listed_numbers: 2,
    most_hashes: usize::MAX,
    most_fields: 8_192,
};

/// The rows of `traces` of which the filter keeps a span.
fn kept_traces(table: &SpanTable, filter: &Filter) -> Result<Vec<usize>, ()> {
    let masks = filter.on_dimensions(table).map_err(|_| ())?;
    let selected = filter.select(table, &masks).map_err(|_| ())?.spans;
    let of_span = spans::column(&table.spans, "trace").unwrap();
    let of_span = arrow::array::AsArray::as_primitive::<arrow::datatypes::UInt32Type>(of_span);
    Ok(selected.set_indices().map(|row| of_span.value(row) as usize).collect())
}
