//! Pipelines, their stages, and span sets.
//!
//! An opening parenthesis may begin a span set `({ a } && { b }) > { c }`, a pipeline as an operand
//! `({ a } | by(x)) && ({ b })`, or a number `({ a } | count()) > 2`. A [`Group`] is what it turned out to be.
//! An operator joins span sets or pipelines, never one of each; a span set in parentheses counts as either.

use super::limits::{Counted, MAX_GROUP_NESTING};
use super::{Parser, comparison};
use crate::ast::{FieldExpr, Form, Pipeline, Relation, ScalarExpr, ScalarFilter, SpansetExpr, SpansetOp, Stage};
use crate::error::Error;

/// What parentheses enclose.
enum Group {
    Spans(Spans),
    Scalar(ScalarExpr),
}

/// A span set expression, and what an operator may join it with.
struct Spans {
    expr: SpansetExpr,
    shape: Shape,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Contains a `{ }` outside of parentheses: joins span sets only.
    Bare,
    /// A span set in parentheses, or several: joins both.
    Wrapped,
    /// A pipeline in parentheses: joins pipelines only.
    Pipeline,
}

/// Which operands and which groups may stand at a place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Allowed {
    Any,
    /// Span sets only.
    Bare,
    /// Pipelines in parentheses only.
    Pipelines,
}

/// The first element of a pipeline.
enum First {
    Stage(Stage),
    /// Pipelines joined by operators: no stage may follow.
    Joined(SpansetExpr),
    /// A number that is not compared: only a group may hold it.
    Scalar(ScalarExpr),
}

impl Parser {
    /// The pipeline of a query, up to its metrics part.
    pub(super) fn root_pipeline(&mut self) -> Result<Pipeline, Error> {
        let mut stages = match self.first(Allowed::Any)? {
            First::Stage(stage) => vec![stage],
            First::Joined(expr) => {
                return match self.symbol() {
                    Some("|") => Err(self.unexpected(&["with"])),
                    _ => Ok(Pipeline { stages: vec![Stage::Spans(expr)] }),
                };
            }
            First::Scalar(_) => return Err(self.unexpected(&[])),
        };
        while self.at("|") && !self.symbol_after().is_some_and(super::metrics::is_function) {
            self.advance();
            self.count(Counted::Stage)?;
            match self.later_stage()? {
                First::Stage(stage) => stages.push(stage),
                First::Joined(_) | First::Scalar(_) => return Err(self.unexpected(&[])),
            }
        }
        Ok(Pipeline { stages })
    }

    fn first(&mut self, allowed: Allowed) -> Result<First, Error> {
        match self.symbol() {
            Some("by") if allowed == Allowed::Any => self.by().map(First::Stage),
            Some("select") if allowed == Allowed::Any => self.select().map(First::Stage),
            _ => self.spans_or_scalar(allowed),
        }
    }

    fn later_stage(&mut self) -> Result<First, Error> {
        match self.symbol() {
            Some("by") => self.by().map(First::Stage),
            Some("select") => self.select().map(First::Stage),
            Some("coalesce") => {
                self.advance();
                self.expect("(", &[])?;
                self.expect(")", &[])?;
                Ok(First::Stage(Stage::Coalesce))
            }
            _ => self.spans_or_scalar(Allowed::Bare),
        }
    }

    fn by(&mut self) -> Result<Stage, Error> {
        self.advance();
        self.expect("(", &[])?;
        let expr = self.field_expr()?;
        self.expect_unlisted(")")?;
        Ok(Stage::By(expr))
    }

    fn select(&mut self) -> Result<Stage, Error> {
        self.advance();
        self.expect("(", &[])?;
        self.field_list().map(Stage::Select)
    }

    /// What begins with a brace, a parenthesis or a number.
    fn spans_or_scalar(&mut self, allowed: Allowed) -> Result<First, Error> {
        let group = match self.symbol() {
            Some("(") => self.group(allowed)?,
            Some("{") => Group::Spans(self.filter_operand()?),
            _ if self.at_scalar() => Group::Scalar(self.scalar_expr()?),
            _ => return Err(self.unexpected(&[])),
        };
        match group {
            Group::Spans(left) => {
                let spans = self.spans_after(left, 0, allowed)?;
                Ok(match spans.shape {
                    Shape::Pipeline => First::Joined(spans.expr),
                    Shape::Bare | Shape::Wrapped => First::Stage(Stage::Spans(spans.expr)),
                })
            }
            Group::Scalar(left) => {
                let left = self.scalar_after(left, 0)?;
                let Some(op) = self.symbol().and_then(comparison) else { return Ok(First::Scalar(left)) };
                self.advance();
                let right = self.scalar_expr()?;
                Ok(First::Stage(Stage::Scalar(ScalarFilter { left, op, right })))
            }
        }
    }

    /// A number in parentheses.
    pub(super) fn scalar_group(&mut self) -> Result<ScalarExpr, Error> {
        match self.group(Allowed::Any)? {
            Group::Scalar(scalar) => Ok(scalar),
            Group::Spans(_) => {
                self.at -= 1; // the closing parenthesis came too early
                Err(self.unexpected(&[]))
            }
        }
    }

    fn group(&mut self, allowed: Allowed) -> Result<Group, Error> {
        if self.nesting >= MAX_GROUP_NESTING {
            return Err(self.too_deep(MAX_GROUP_NESTING));
        }
        self.nested(|parser| {
            parser.advance();
            let group = parser.group_content(allowed)?;
            parser.expect_unlisted(")")?;
            Ok(group)
        })
    }

    fn group_content(&mut self, allowed: Allowed) -> Result<Group, Error> {
        let inner = if allowed == Allowed::Bare { Allowed::Bare } else { Allowed::Any };
        let mut stages = match self.first(inner)? {
            First::Scalar(scalar) => return Ok(Group::Scalar(scalar)),
            First::Joined(expr) => return Ok(Group::Spans(Spans { expr, shape: Shape::Pipeline })),
            First::Stage(Stage::Spans(expr)) if !self.at("|") || inner == Allowed::Bare => {
                return Ok(Group::Spans(Spans { expr, shape: Shape::Wrapped }));
            }
            // A comparison of numbers is a stage of a pipeline, and no pipeline may stand here.
            First::Stage(_) if inner == Allowed::Bare => return Err(self.unexpected(&[])),
            First::Stage(stage) => vec![stage],
        };
        while self.take("|") {
            self.count(Counted::Stage)?;
            match self.later_stage()? {
                First::Stage(stage) => stages.push(stage),
                First::Scalar(ScalarExpr::Aggregate(aggregate)) => {
                    let pipeline = Box::new(Pipeline { stages });
                    return Ok(Group::Scalar(ScalarExpr::Pipeline { pipeline, aggregate }));
                }
                First::Scalar(_) | First::Joined(_) => return Err(self.unexpected(&[])),
            }
        }
        let expr = SpansetExpr::Pipeline(Box::new(Pipeline { stages }));
        Ok(Group::Spans(Spans { expr, shape: Shape::Pipeline }))
    }

    /// The rest of an expression that begins with `left`, of operators that bind at least as strongly as `weakest`.
    fn spans_after(&mut self, mut left: Spans, weakest: u8, allowed: Allowed) -> Result<Spans, Error> {
        while let Some((op, level)) = self.symbol().and_then(spanset_operator).filter(|(_, level)| *level >= weakest) {
            self.count(Counted::Operator)?;
            self.advance();
            let right_allowed = match left.shape {
                Shape::Bare => Allowed::Bare,
                Shape::Wrapped => allowed,
                Shape::Pipeline => Allowed::Pipelines,
            };
            let operand = self.spans_operand(right_allowed)?;
            let right = self.spans_after(operand, level + 1, right_allowed)?;
            left = join(op, left, right);
        }
        Ok(left)
    }

    fn spans_operand(&mut self, allowed: Allowed) -> Result<Spans, Error> {
        match self.symbol() {
            Some("(") => match self.group(allowed)? {
                Group::Spans(spans) => Ok(spans),
                Group::Scalar(_) => {
                    self.at -= 1; // the closing parenthesis came too early
                    Err(self.unexpected(&[]))
                }
            },
            Some("{") if allowed != Allowed::Pipelines => self.filter_operand(),
            _ if allowed == Allowed::Pipelines => Err(self.unexpected(&["("])),
            _ => Err(self.unexpected(&["{", "("])),
        }
    }

    fn filter_operand(&mut self) -> Result<Spans, Error> {
        Ok(Spans { expr: SpansetExpr::Filter(self.filter()?), shape: Shape::Bare })
    }

    /// `{ }` or `{ expr }`.
    pub(super) fn filter(&mut self) -> Result<FieldExpr, Error> {
        self.expect("{", &[])?;
        if self.take("}") {
            return Ok(FieldExpr::TRUE);
        }
        let expr = self.field_expr()?;
        self.expect_unlisted("}")?;
        Ok(expr)
    }
}

/// Joins operands that may be joined; a span set in parentheses next to a pipeline becomes a pipeline.
fn join(op: SpansetOp, left: Spans, right: Spans) -> Spans {
    let shape = match (left.shape, right.shape) {
        (Shape::Pipeline, _) | (_, Shape::Pipeline) => Shape::Pipeline,
        (Shape::Wrapped, Shape::Wrapped) => Shape::Wrapped,
        _ => Shape::Bare,
    };
    let operand = |spans: Spans| match (shape, spans.shape) {
        (Shape::Pipeline, Shape::Wrapped) => {
            Box::new(SpansetExpr::Pipeline(Box::new(Pipeline { stages: vec![Stage::Spans(spans.expr)] })))
        }
        _ => Box::new(spans.expr),
    };
    let (left, right) = (operand(left), operand(right));
    Spans { expr: SpansetExpr::Op { op, left, right }, shape }
}

/// An operator between span sets with its binding strength.
fn spanset_operator(symbol: &str) -> Option<(SpansetOp, u8)> {
    match symbol {
        "&&" => return Some((SpansetOp::And, 2)),
        "||" => return Some((SpansetOp::Or, 2)),
        _ => {}
    }
    let (form, relation) = match symbol.as_bytes().first()? {
        b'!' => (Form::Negated, &symbol[1..]),
        b'&' => (Form::Union, &symbol[1..]),
        _ => (Form::Plain, symbol),
    };
    let relation = Relation::ALL.into_iter().find(|known| known.symbol() == relation)?;
    Some((SpansetOp::Structural(relation, form), 3))
}
