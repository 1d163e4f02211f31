//! The value of an expression at a span.

use model::{Intrinsic, Scope};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::span;
use traceql::{BinaryOp, CompareOp, Field, FieldExpr, Kind, LogicOp, Static, Status, UnaryOp};

use super::Trace;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Missing,
    /// There is a value, but none that can be compared.
    Opaque,
    One(Static),
    Many(Vec<Static>),
}

/// Ints were divided by zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DivisionByZero;

/// A span with one of its events and one of its links, if it has any.
#[derive(Clone, Copy)]
struct Row<'a> {
    trace: &'a Trace,
    number: usize,
    event: Option<&'a span::Event>,
    link: Option<&'a span::Link>,
}

/// Whether a filter keeps a span: whether it is true of one of its events and one of its links.
pub(crate) fn keeps(trace: &Trace, number: usize, expr: &FieldExpr) -> Result<bool, DivisionByZero> {
    let mut is_kept = false;
    for row in rows(trace, number) {
        is_kept |= is_true(row, expr)?;
    }
    Ok(is_kept)
}

/// The value at a span; of its events and links the first that has one.
pub(crate) fn value(trace: &Trace, number: usize, expr: &FieldExpr) -> Result<Value, DivisionByZero> {
    let mut found = Value::Missing;
    for row in rows(trace, number) {
        let value = evaluate(row, expr)?;
        if found == Value::Missing {
            found = value;
        }
    }
    Ok(found)
}

fn rows<'a>(trace: &'a Trace, number: usize) -> Vec<Row<'a>> {
    let span = &trace.spans[number].span;
    let events: Vec<_> = if span.events.is_empty() { vec![None] } else { span.events.iter().map(Some).collect() };
    let links: Vec<_> = if span.links.is_empty() { vec![None] } else { span.links.iter().map(Some).collect() };
    let with_links = |event| links.iter().map(move |&link| Row { trace, number, event, link });
    events.into_iter().flat_map(with_links).collect()
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

pub(super) fn attribute(pairs: &[KeyValue], key: &str) -> Value {
    let values = pairs.iter().filter(|pair| pair.key == key).filter_map(|pair| pair.value.as_ref());
    values.map(value_of).find(|value| *value != Value::Missing).unwrap_or(Value::Missing)
}

fn field(row: Row<'_>, field: &Field) -> Value {
    let sent = &row.trace.spans[row.number];
    let resource = |key: &str| attribute(&sent.resource.attributes, key);
    match field {
        Field::Attribute { scope: Some(Scope::Span), name } => attribute(&sent.span.attributes, name),
        Field::Attribute { scope: Some(Scope::Resource), name } => resource(name),
        Field::Attribute { scope: Some(Scope::Instrumentation), name } => attribute(&sent.scope.attributes, name),
        Field::Attribute { scope: Some(Scope::Event), name } => {
            row.event.map_or(Value::Missing, |event| attribute(&event.attributes, name))
        }
        Field::Attribute { scope: Some(Scope::Link), name } => {
            row.link.map_or(Value::Missing, |link| attribute(&link.attributes, name))
        }
        Field::Attribute { scope: None, name } => match attribute(&sent.span.attributes, name) {
            Value::Missing => resource(name),
            value => value,
        },
        Field::Intrinsic(name) => intrinsic(row, *name).map_or(Value::Missing, Value::One),
        Field::Parent(_) => panic!("not generated"),
    }
}

fn intrinsic(row: Row<'_>, intrinsic: Intrinsic) -> Option<Static> {
    let (trace, sent) = (row.trace, &row.trace.spans[row.number]);
    let (span, tree) = (&sent.span, &trace.tree);
    let nanos = |from: u64, to: u64| Static::Duration(to.wrapping_sub(from) as i64);
    let numbers = || tree.numbers()[row.number];
    Some(match intrinsic {
        Intrinsic::Name => Static::String(span.name.clone()),
        Intrinsic::Duration => nanos(span.start_time_unix_nano, span.end_time_unix_nano),
        Intrinsic::Kind => Static::Kind(Kind::from_otlp(span.kind).unwrap()),
        Intrinsic::Status => {
            Static::Status(Status::from_otlp(span.status.as_ref().map_or(0, |status| status.code)).unwrap())
        }
        Intrinsic::StatusMessage => {
            Static::String(span.status.as_ref().map_or(String::new(), |status| status.message.clone()))
        }
        Intrinsic::SpanId => Static::String(hex(&span.span_id)),
        Intrinsic::ParentId if span.parent_span_id.is_empty() => Static::String("0".repeat(16)),
        Intrinsic::ParentId => Static::String(hex(&span.parent_span_id)),
        Intrinsic::ChildCount => Static::Int(tree.children(row.number).count() as i64),
        Intrinsic::NestedSetLeft => Static::Int(numbers().left),
        Intrinsic::NestedSetRight => Static::Int(numbers().right),
        Intrinsic::NestedSetParent => Static::Int(numbers().parent),
        Intrinsic::TraceDuration => nanos(trace.time_range().start_nanos, trace.time_range().end_nanos),
        Intrinsic::RootName => Static::String(trace.root().map_or(String::new(), |root| root.span.name.clone())),
        Intrinsic::RootServiceName => Static::String(trace.root().and_then(super::Sent::service).unwrap_or_default()),
        Intrinsic::InstrumentationName => Static::String(sent.scope.name.clone()),
        Intrinsic::InstrumentationVersion => Static::String(sent.scope.version.clone()),
        Intrinsic::EventName => Static::String(row.event?.name.clone()),
        Intrinsic::EventTimeSinceStart => nanos(span.start_time_unix_nano, row.event?.time_unix_nano),
        Intrinsic::LinkSpanId => Static::String(hex(&row.link?.span_id)),
        other => panic!("{other} is not generated"),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn evaluate(row: Row<'_>, expr: &FieldExpr) -> Result<Value, DivisionByZero> {
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
                (Value::One(left), Value::One(right)) => {
                    left.compute(*op, &right).map(Value::One).map_err(|_| DivisionByZero)
                }
                _ => truth(false),
            }
        }
        FieldExpr::Binary { op: BinaryOp::Compare(op), left, right } => {
            if let FieldExpr::Literal(Static::Nil) = &**right {
                let is_missing = evaluate(row, left)? == Value::Missing;
                return truth(if *op == CompareOp::Ne { !is_missing } else { is_missing && has_item(row, left) });
            }
            if *op == CompareOp::Ne && asks_for_parent(left, right) {
                return truth(!row.trace.tree.is_root(row.number));
            }
            truth(compare(&evaluate(row, left)?, *op, &evaluate(row, right)?))
        }
    }
}

/// `span:parentID != ""` asks for spans that have a parent, though that of a root is all zeros.
fn asks_for_parent(left: &FieldExpr, right: &FieldExpr) -> bool {
    let is_parent_id = |expr: &FieldExpr| *expr == FieldExpr::Field(Field::Intrinsic(Intrinsic::ParentId));
    let is_empty = |expr: &FieldExpr| *expr == FieldExpr::Literal(Static::String(String::new()));
    is_parent_id(left) && is_empty(right) || is_empty(left) && is_parent_id(right)
}

fn has_item(row: Row<'_>, expr: &FieldExpr) -> bool {
    use Intrinsic::{EventName, EventTimeSinceStart, LinkSpanId};
    match expr {
        FieldExpr::Field(
            Field::Attribute { scope: Some(Scope::Event), .. } | Field::Intrinsic(EventName | EventTimeSinceStart),
        ) => row.event.is_some(),
        FieldExpr::Field(Field::Attribute { scope: Some(Scope::Link), .. } | Field::Intrinsic(LinkSpanId)) => {
            row.link.is_some()
        }
        _ => true,
    }
}

fn is_true(row: Row<'_>, expr: &FieldExpr) -> Result<bool, DivisionByZero> {
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
