//! Rewrites that do not change what a query means: constants are computed, trace ids lose their leading zeros.
//!
//! What cannot be computed (`1 / 0`) or is not valid (`"a" + 1`) stays as it is, for the evaluator or the checker to
//! refuse.

use model::Intrinsic;

use crate::ast::*;
use crate::check;
use crate::pattern::anchored_regex;
use crate::value::Static;

/// Rewrites every expression of the query.
pub fn query(mut query: Query) -> Query {
    in_place(&mut query);
    query
}

/// As [`query`].
pub fn in_place(query: &mut Query) {
    query.pipeline.stages.iter_mut().for_each(stage);
    if let Some(Metrics { function: MetricsFunction::Compare { selection, .. }, .. }) = &mut query.metrics {
        expression(selection);
    }
}

fn stage(stage: &mut Stage) {
    match stage {
        Stage::Spans(expr) => spanset(expr),
        Stage::Scalar(filter) => {
            scalar(&mut filter.left);
            scalar(&mut filter.right);
        }
        Stage::By(expr) => expression(expr),
        Stage::Coalesce | Stage::Select(_) => {}
    }
}

fn spanset(expr: &mut SpansetExpr) {
    match expr {
        SpansetExpr::Filter(filter) => expression(filter),
        SpansetExpr::Op { left, right, .. } => {
            spanset(left);
            spanset(right);
        }
        SpansetExpr::Pipeline(pipeline) => pipeline.stages.iter_mut().for_each(stage),
    }
}

fn scalar(expr: &mut ScalarExpr) {
    match expr {
        ScalarExpr::Aggregate(aggregate) => self::aggregate(aggregate),
        ScalarExpr::Literal(_) => {}
        ScalarExpr::Binary { left, right, .. } => {
            scalar(left);
            scalar(right);
        }
        ScalarExpr::Pipeline { pipeline, aggregate } => {
            pipeline.stages.iter_mut().for_each(stage);
            self::aggregate(aggregate);
        }
    }
}

fn aggregate(aggregate: &mut Aggregate) {
    match aggregate {
        Aggregate::Count => {}
        Aggregate::Min(expr) | Aggregate::Max(expr) | Aggregate::Avg(expr) | Aggregate::Sum(expr) => expression(expr),
    }
}

/// Rewrites one expression, innermost parts first.
pub fn expression(expr: &mut FieldExpr) {
    match expr {
        FieldExpr::Literal(_) | FieldExpr::Field(_) => return,
        FieldExpr::Unary { expr, .. } => expression(expr),
        FieldExpr::Binary { op, left, right } => {
            expression(left);
            expression(right);
            if matches!(op, BinaryOp::Compare(CompareOp::Eq | CompareOp::Ne)) {
                trim_trace_id(left, right);
                trim_trace_id(right, left);
            }
        }
    }
    if let Some(value) = constant(expr) {
        *expr = FieldExpr::Literal(value);
    }
}

/// Trace ids are compared without leading zeros.
fn trim_trace_id(field: &FieldExpr, literal: &mut FieldExpr) {
    let FieldExpr::Field(Field::Intrinsic(Intrinsic::TraceId)) = field else { return };
    if let FieldExpr::Literal(Static::String(id)) = literal {
        let zeros = id.len() - id.trim_start_matches('0').len();
        id.drain(..zeros);
    }
}

/// The value of an operation on literals, if it is valid and has a value that can be written.
fn constant(expr: &FieldExpr) -> Option<Static> {
    let value = match expr {
        FieldExpr::Literal(_) | FieldExpr::Field(_) => return None,
        FieldExpr::Unary { op, expr: operand } => {
            let operand = literal(operand)?;
            check::operation(expr).ok()?;
            unary(*op, operand)?
        }
        FieldExpr::Binary { op, left, right } => {
            let (left, right) = (literal(left)?, literal(right)?);
            check::operation(expr).ok()?;
            binary(*op, left, right)?
        }
    };
    let writable = !matches!(value, Static::Float(number) if !number.is_finite());
    writable.then_some(value)
}

fn literal(expr: &FieldExpr) -> Option<&Static> {
    match expr {
        FieldExpr::Literal(value) => Some(value),
        _ => None,
    }
}

fn unary(op: UnaryOp, operand: &Static) -> Option<Static> {
    match (op, operand) {
        (UnaryOp::Neg, number) => number.negate(),
        (UnaryOp::Not, Static::Bool(value)) => Some(Static::Bool(!value)),
        (UnaryOp::Not, _) => None,
    }
}

fn binary(op: BinaryOp, left: &Static, right: &Static) -> Option<Static> {
    match op {
        BinaryOp::Arithmetic(op) => left.compute(op, right).ok(),
        BinaryOp::Logic(op) => match (left, right) {
            (Static::Bool(left), Static::Bool(right)) => Some(Static::Bool(match op {
                LogicOp::And => *left && *right,
                LogicOp::Or => *left || *right,
            })),
            _ => None,
        },
        BinaryOp::Compare(op) => compare(op, left, right).map(Static::Bool),
    }
}

fn compare(op: CompareOp, left: &Static, right: &Static) -> Option<bool> {
    match (op, left, right) {
        (CompareOp::Match | CompareOp::NotMatch, Static::String(text), Static::String(pattern)) => {
            let matches = anchored_regex(pattern).ok()?.is_match(text);
            Some(matches == (op == CompareOp::Match))
        }
        // `5 != nil` holds as it does for any value that is there; nil compared with nil never does.
        (CompareOp::Ne, Static::Nil, value) | (CompareOp::Ne, value, Static::Nil) => Some(*value != Static::Nil),
        _ => Some(left.compare(op, right)),
    }
}

#[cfg(test)]
mod tests {
    fn folded(text: &str) -> String {
        crate::parse(text).unwrap().to_string()
    }

    #[test]
    fn constants_are_computed() {
        for (text, expected) in [
            ("{ 2 + 2 = 4 }", "{ true }"),
            ("{ nil = nil }", "{ false }"),
            ("{ nil != nil }", "{ false }"),
            ("{ 5 != nil }", "{ true }"),
            ("{ !!true }", "{ true }"),
            ("{ -(-5) = 5 }", "{ true }"),
            (r#"{ "abc" =~ "a.*" && "abc" !~ "b" }"#, "{ true }"),
            ("{ span.n = 2 ^ 2 ^ 3 }", "{ span.n = 256 }"),
            ("{ span.n > -5 + 3 }", "{ span.n > -2 }"),
            ("{ duration > 5ms * 2 }", "{ duration > 1e+07 }"),
            ("{ span.n = minInt }", "{ span.n = minInt }"),
            ("{ true || span.a }", "{ true || span.a }"),
            ("{ span.n = (0 - 5) ^ span.m }", "{ span.n = ((-5) ^ span.m) }"),
        ] {
            assert_eq!(folded(text), expected, "{text}");
        }
    }

    #[test]
    fn what_has_no_value_stays() {
        for text in ["{ 1 / 0 = 1 }", "{ 1 % 0 = 1 }", "{ span.a = (1.0 / 0) }"] {
            let expected = text.replace("1 / 0 =", "(1 / 0) =").replace("1 % 0 =", "(1 % 0) =");
            assert_eq!(folded(text), expected, "{text}");
        }
    }

    #[test]
    fn trace_ids_lose_their_leading_zeros() {
        assert_eq!(
            folded(r#"{ trace:id = "00ab0" && "0" != trace:id }"#),
            "{ (trace:id = `ab0`) && (`` != trace:id) }"
        );
        assert_eq!(folded(r#"{ trace:id =~ "0.*" && span:id = "00" }"#), "{ (trace:id =~ `0.*`) && (span:id = `00`) }");
    }
}
