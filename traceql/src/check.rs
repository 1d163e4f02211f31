//! What a query may say: static types, and forms that are read but not supported. The first fault found is the answer;
//! operands are looked at before the operation, left before right.

mod types;

use model::{Intrinsic, Scope};

use self::types::Type;
use crate::ast::*;
use crate::error::Error;
use crate::pattern::anchored_regex;
use crate::value::Static;

/// The most fields that results can be grouped by; functions that need a label of their own or two values take one
/// less.
const MAX_GROUP_BY: usize = 5;

/// Checks a folded query.
pub fn query(query: &Query) -> Result<(), Error> {
    pipeline(&query.pipeline)?;
    query.metrics.as_ref().map_or(Ok(()), metrics)
}

/// Checks an expression whose queries are folded.
pub fn metrics_expression(expr: &MetricsExpr) -> Result<(), Error> {
    if let MetricsExpr::Query(query) = expr {
        return self::query(query);
    }
    for query in expr.queries() {
        self::query(query)?;
        if matches!(query.require_metrics()?.function, MetricsFunction::Compare { .. }) {
            return Err(Error::CompareSecondStage);
        }
    }
    match expr {
        MetricsExpr::Staged { stages, .. } => second_stages(stages),
        _ => Ok(()),
    }
}

/// Checks one operation, not its operands.
pub fn operation(expr: &FieldExpr) -> Result<(), Error> {
    match expr {
        FieldExpr::Literal(_) | FieldExpr::Field(_) => Ok(()),
        FieldExpr::Unary { op, expr: operand } => {
            let operand = Type::of(operand);
            let suits = match op {
                UnaryOp::Neg => operand.is_numeric() || operand == Type::Attribute,
                UnaryOp::Not => matches!(operand, Type::Bool | Type::Attribute),
            };
            if suits { Ok(()) } else { Err(Error::IllegalUnary(expr.to_string())) }
        }
        FieldExpr::Binary { op, left, right } => binary(expr, *op, left, right),
    }
}

/// Checks that a field is supported.
pub fn field(field: &Field) -> Result<(), Error> {
    match field {
        Field::Parent(_) => Err(Error::ParentScope),
        Field::Intrinsic(intrinsic @ Intrinsic::Parent) => Err(Error::UnsupportedIntrinsic(intrinsic.to_string())),
        Field::Intrinsic(_) | Field::Attribute { .. } => Ok(()),
    }
}

fn binary(expr: &FieldExpr, op: BinaryOp, left: &FieldExpr, right: &FieldExpr) -> Result<(), Error> {
    let (left_type, right_type) = (Type::of(left), Type::of(right));
    if !left_type.agrees_with(right_type) {
        return Err(Error::MixedTypes(expr.to_string()));
    }
    if !left_type.allows(op) || !right_type.allows(op) {
        return Err(Error::IllegalBinary(expr.to_string()));
    }
    let BinaryOp::Compare(op) = op else { return Ok(()) };
    if op.is_pattern() {
        return pattern(right);
    }
    if op.is_ordering() && (is_id(left) || is_id(right)) {
        return Err(Error::IdOperator(op.to_string()));
    }
    match (left, right) {
        (FieldExpr::Field(field), FieldExpr::Literal(Static::Nil))
        | (FieldExpr::Literal(Static::Nil), FieldExpr::Field(field))
            if op == CompareOp::Eq =>
        {
            can_be_nil(field)
        }
        _ => Ok(()),
    }
}

fn pattern(expr: &FieldExpr) -> Result<(), Error> {
    match expr {
        FieldExpr::Literal(Static::String(pattern)) => anchored_regex(pattern).map(drop),
        _ => Err(Error::PatternNotLiteral(expr.to_string())),
    }
}

fn is_id(expr: &FieldExpr) -> bool {
    matches!(expr, FieldExpr::Field(Field::Intrinsic(Intrinsic::TraceId | Intrinsic::SpanId | Intrinsic::ParentId)))
}

/// Whether it makes sense to ask that a field is missing.
fn can_be_nil(field: &Field) -> Result<(), Error> {
    match field {
        Field::Intrinsic(_) => Err(Error::IntrinsicNil(field.to_string())),
        Field::Attribute { scope: Some(Scope::Resource), name } if name == "service.name" => {
            Err(Error::AttributeNil(field.to_string()))
        }
        Field::Attribute { .. } | Field::Parent(_) => Ok(()),
    }
}

fn pipeline(pipeline: &Pipeline) -> Result<(), Error> {
    pipeline.stages.iter().try_for_each(|stage| match stage {
        Stage::Spans(expr) => spanset(expr),
        Stage::Scalar(filter) => scalar_filter(filter),
        Stage::By(expr) => grouping(stage, expr),
        Stage::Coalesce => Ok(()),
        Stage::Select(fields) => fields.iter().try_for_each(field),
    })
}

fn spanset(expr: &SpansetExpr) -> Result<(), Error> {
    match expr {
        SpansetExpr::Filter(expr) => filter(expr),
        SpansetExpr::Op { left, right, .. } => {
            spanset(left)?;
            spanset(right)
        }
        SpansetExpr::Pipeline(inner) => pipeline(inner),
    }
}

/// Checks a folded expression as the content of a span filter.
pub fn filter(expr: &FieldExpr) -> Result<(), Error> {
    expression(expr)?;
    match Type::of(expr) {
        Type::Bool | Type::Attribute => Ok(()),
        _ => Err(Error::FilterNotBoolean(format!("{{ {expr} }}"))),
    }
}

fn grouping(stage: &Stage, expr: &FieldExpr) -> Result<(), Error> {
    expression(expr)?;
    if expr.fields().next().is_none() {
        return Err(Error::GroupingConstant(stage.to_string()));
    }
    Ok(())
}

fn scalar_filter(filter: &ScalarFilter) -> Result<(), Error> {
    scalar(&filter.left)?;
    scalar(&filter.right)?;
    if !matches!(filter.left, ScalarExpr::Aggregate(_)) {
        return Err(Error::ScalarLeft);
    }
    if !matches!(filter.right, ScalarExpr::Literal(_)) {
        return Err(Error::ScalarRight);
    }
    Ok(())
}

fn scalar(expr: &ScalarExpr) -> Result<(), Error> {
    match expr {
        ScalarExpr::Aggregate(inner) => aggregate(inner),
        ScalarExpr::Literal(_) => Ok(()),
        ScalarExpr::Binary { left, right, .. } => {
            scalar(left)?;
            scalar(right)
        }
        ScalarExpr::Pipeline { pipeline: source, aggregate: result } => {
            pipeline(source)?;
            aggregate(result)
        }
    }
}

fn aggregate(aggregate: &Aggregate) -> Result<(), Error> {
    let Some(argument) = aggregate.argument() else { return Ok(()) };
    expression(argument)?;
    let argument_type = Type::of(argument);
    if argument_type != Type::Attribute && !argument_type.is_numeric() {
        return Err(Error::AggregateNotNumber(aggregate.to_string()));
    }
    if argument.fields().next().is_none() {
        return Err(Error::AggregateConstant(aggregate.to_string()));
    }
    Ok(())
}

fn expression(expr: &FieldExpr) -> Result<(), Error> {
    match expr {
        FieldExpr::Literal(_) => Ok(()),
        FieldExpr::Field(leaf) => field(leaf),
        FieldExpr::Unary { expr: operand, .. } => {
            expression(operand)?;
            operation(expr)
        }
        FieldExpr::Binary { left, right, .. } => {
            expression(left)?;
            expression(right)?;
            operation(expr)
        }
    }
}

fn metrics(metrics: &Metrics) -> Result<(), Error> {
    match &metrics.function {
        MetricsFunction::Rate | MetricsFunction::CountOverTime => {}
        MetricsFunction::MinOverTime(argument)
        | MetricsFunction::MaxOverTime(argument)
        | MetricsFunction::AvgOverTime(argument)
        | MetricsFunction::SumOverTime(argument)
        | MetricsFunction::HistogramOverTime(argument) => field(argument)?,
        MetricsFunction::QuantileOverTime { field: argument, quantiles } => {
            field(argument)?;
            if let Some(bad) = quantiles.iter().find(|quantile| !(0.0..=1.0).contains(*quantile)) {
                return Err(Error::Quantile(bad.to_string()));
            }
        }
        MetricsFunction::Compare { selection, top, window } => {
            comparison(selection, *top, *window)?;
            if !metrics.second_stages.is_empty() {
                return Err(Error::CompareSecondStage);
            }
        }
    }
    metrics.by.iter().try_for_each(field)?;
    if metrics.by.len() > max_group_by(&metrics.function) {
        return Err(Error::TooManyGroupBy(metrics.by.len()));
    }
    second_stages(&metrics.second_stages)
}

fn second_stages(stages: &[SecondStage]) -> Result<(), Error> {
    stages.iter().try_for_each(|stage| match stage {
        SecondStage::TopK(limit) | SecondStage::BottomK(limit) if *limit <= 0 => Err(Error::ZeroLimit),
        _ => Ok(()),
    })
}

fn comparison(selection: &FieldExpr, top: i64, window: Option<(i64, i64)>) -> Result<(), Error> {
    filter(selection)?;
    if top <= 0 {
        return Err(Error::CompareTop);
    }
    match window {
        Some((start, end)) if start <= 0 || end <= 0 => Err(Error::CompareTimestamps),
        Some((start, end)) if end <= start => Err(Error::CompareWindow),
        _ => Ok(()),
    }
}

fn max_group_by(function: &MetricsFunction) -> usize {
    match function {
        MetricsFunction::AvgOverTime(_)
        | MetricsFunction::QuantileOverTime { .. }
        | MetricsFunction::HistogramOverTime(_) => MAX_GROUP_BY - 1,
        _ => MAX_GROUP_BY,
    }
}
