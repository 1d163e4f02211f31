//! Pipelines over the spans of a trace: lists of span sets in, lists of span sets out.

use traceql::{Aggregate, FieldExpr, Pipeline, ScalarFilter, SpansetExpr, SpansetOp, Stage, Static};

use super::Trace;
use super::rows::{self, DivisionByZero, Value};

/// Spans of a trace, by their numbers, ascending.
#[derive(Debug, Clone)]
pub(crate) struct Set {
    pub spans: Vec<usize>,
    /// Values of `by()` and aggregates under their texts.
    pub attributes: Vec<(String, Value)>,
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    DivisionByZero,
    /// A structural operator was given several span sets.
    SeveralSpanSets,
}

impl From<DivisionByZero> for Refused {
    fn from(DivisionByZero: DivisionByZero) -> Self {
        Self::DivisionByZero
    }
}

/// The span sets that a pipeline leaves.
pub(crate) fn evaluate(trace: &Trace, pipeline: &Pipeline) -> Result<Vec<Set>, Refused> {
    let all = Set { spans: (0..trace.spans.len()).collect(), attributes: Vec::new() };
    stages(trace, pipeline, vec![all])
}

fn stages(trace: &Trace, pipeline: &Pipeline, mut sets: Vec<Set>) -> Result<Vec<Set>, Refused> {
    for stage in &pipeline.stages {
        let mut next = Vec::new();
        for set in &sets {
            match stage {
                Stage::Spans(expr) => next.extend(spans(trace, expr, set)?),
                Stage::Scalar(filter) => next.extend(scalar(trace, filter, set)?),
                Stage::By(expr) => next.extend(by(trace, expr, set)?),
                Stage::Coalesce | Stage::Select(_) => next.push(set.clone()),
            }
        }
        if *stage == Stage::Coalesce && !next.is_empty() {
            next = vec![Set { spans: union(&next), attributes: Vec::new() }];
        }
        next.retain(|set| !set.spans.is_empty());
        sets = next;
    }
    Ok(sets)
}

/// Each span set keeps its attributes; those made inside the operands of an operator are lost.
fn spans(trace: &Trace, expr: &SpansetExpr, set: &Set) -> Result<Vec<Set>, Refused> {
    let with_attributes = |found: Set| {
        let attributes = set.attributes.iter().cloned().chain(found.attributes).collect();
        Set { spans: found.spans, attributes }
    };
    Ok(operand(trace, expr, &set.spans)?.into_iter().map(with_attributes).collect())
}

fn operand(trace: &Trace, expr: &SpansetExpr, among: &[usize]) -> Result<Vec<Set>, Refused> {
    let one = |spans: Vec<usize>| {
        if spans.is_empty() { Vec::new() } else { vec![Set { spans, attributes: Vec::new() }] }
    };
    match expr {
        SpansetExpr::Filter(expr) => {
            let mut kept = Vec::new();
            for &span in among {
                if rows::keeps(trace, span, expr)? {
                    kept.push(span);
                }
            }
            Ok(one(kept))
        }
        SpansetExpr::Pipeline(pipeline) => stages(trace, pipeline, one(among.to_vec())),
        SpansetExpr::Op { op, left, right } => {
            let (left, right) = (operand(trace, left, among)?, operand(trace, right, among)?);
            Ok(one(match op {
                SpansetOp::And if left.is_empty() || right.is_empty() => Vec::new(),
                SpansetOp::And | SpansetOp::Or => union(&[left, right].concat()),
                // nothing on the right: what is on the left does not matter
                SpansetOp::Structural(..) if right.is_empty() => Vec::new(),
                SpansetOp::Structural(..) if left.len() > 1 || right.len() > 1 => return Err(Refused::SeveralSpanSets),
                SpansetOp::Structural(relation, form) => {
                    trace.tree.keep(*relation, *form, &union(&left), &union(&right))
                }
            }))
        }
    }
}

fn union(sets: &[Set]) -> Vec<usize> {
    let mut spans: Vec<usize> = sets.iter().flat_map(|set| set.spans.iter().copied()).collect();
    spans.sort_unstable();
    spans.dedup();
    spans
}

/// What cannot be compared is in the group of the missing values.
fn by(trace: &Trace, expr: &FieldExpr, set: &Set) -> Result<Vec<Set>, Refused> {
    let mut groups: Vec<(Value, Vec<usize>)> = Vec::new();
    for &span in &set.spans {
        let value = match rows::value(trace, span, expr)? {
            Value::Missing if expr.to_string() == "resource.service.name" => Value::One(Static::String(String::new())),
            Value::Opaque => Value::Missing,
            value => value,
        };
        match groups.iter_mut().find(|(known, _)| *known == value) {
            Some((_, spans)) => spans.push(span),
            None => groups.push((value, vec![span])),
        }
    }
    Ok(groups.into_iter().map(|(value, spans)| with(set, spans, format!("by({expr})"), value)).collect())
}

fn scalar(trace: &Trace, filter: &ScalarFilter, set: &Set) -> Result<Option<Set>, Refused> {
    let (aggregate, op, literal) = filter.parts().unwrap();
    let value = match aggregate.argument() {
        None => Some(Static::Int(set.spans.len() as i64)),
        Some(expr) => {
            let values: Result<Vec<Value>, _> = set.spans.iter().map(|&span| rows::value(trace, span, expr)).collect();
            aggregated(aggregate, values?)
        }
    };
    let kept = value.filter(|value| value.compare(op, literal));
    Ok(kept.map(|value| with(set, set.spans.clone(), aggregate.to_string(), Value::One(value))))
}

/// Missing values are passed over, and so is what arithmetic gives for them; texts and arrays spoil the aggregate.
fn aggregated(aggregate: &Aggregate, values: Vec<Value>) -> Option<Static> {
    let mut numbers: Vec<Static> = Vec::new();
    for value in values {
        match value {
            Value::Missing | Value::Opaque | Value::One(Static::Bool(_)) => {}
            Value::One(number) if number.as_f64().is_some() => numbers.push(number),
            Value::One(_) | Value::Many(_) => return None,
        }
    }
    let sum: f64 = numbers.iter().filter_map(Static::as_f64).sum();
    let is = |test: fn(&Static) -> bool| numbers.iter().all(test);
    let as_durations = |nanos: f64| Static::Duration(nanos.trunc() as i64);
    let least_first = |left: &Static, right: &Static| left.order(right).unwrap();
    let is_of_durations = is(|number| matches!(number, Static::Duration(_)));
    match aggregate {
        _ if numbers.is_empty() => None,
        Aggregate::Count => unreachable!("a count has no values"),
        Aggregate::Min(_) => numbers.into_iter().min_by(least_first),
        Aggregate::Max(_) => numbers.into_iter().max_by(least_first),
        Aggregate::Sum(_) if is_of_durations => Some(as_durations(sum)),
        Aggregate::Sum(_) if is(|number| matches!(number, Static::Int(_))) => Some(Static::Int(sum as i64)),
        Aggregate::Sum(_) => Some(Static::Float(sum)),
        Aggregate::Avg(_) if is_of_durations => Some(as_durations(sum / numbers.len() as f64)),
        Aggregate::Avg(_) => Some(Static::Float(sum / numbers.len() as f64)),
    }
}

/// A later value under the same text replaces the earlier one.
fn with(set: &Set, spans: Vec<usize>, key: String, value: Value) -> Set {
    let mut attributes: Vec<_> = set.attributes.iter().filter(|(known, _)| *known != key).cloned().collect();
    attributes.push((key, value));
    Set { spans, attributes }
}
