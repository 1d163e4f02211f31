//! The query language. Pure: text in, a checked tree out; it knows nothing of Arrow, Parquet or HTTP.
//!
//! ```text
//!          text                    `{ .a = 1 + 1 } | count() > 2`
//!           │  lexer.rs            tokens with positions
//!           ▼
//!         tokens
//!           │  parser.rs           precedence, "syntax error: unexpected X, expecting Y"
//!           ▼
//!     tree (ast.rs) ◄─► print.rs   the canonical text: group keys, metric labels, error messages
//!           │  fold.rs             constants are computed, trace ids trimmed
//!           │  check.rs            types, unsupported forms
//!           ▼
//!      checked tree
//!           ├─ prune.rs            conditions that every matching span satisfies: what a source may skip
//!           └─ parts.rs            what a query is made of: what an evaluator must know
//! ```
//!
//! [`parse`] runs the whole path, and so does [`parse_metrics`] for arithmetic over metrics queries. [`parse_field`],
//! [`parse_tag_filter`] and [`parse_trace_filter`] are the other readings of TraceQL text that the API needs: a tag name in a
//! path, the half-typed query of an editor that asks for suggestions, and the filter that picks spans out of one trace.
//!
//! [`Static`] (`value.rs`) is a literal and a value at run time; it owns how two values compare and compute.
//! [`anchored_regex`] (`pattern.rs`) compiles the patterns of `=~`, and `duration.rs` reads and prints Go durations.
//!
//! Evaluation over spans is not here. The tree that [`parse`] returns has no parts that an evaluator cannot give a
//! meaning to: what the reference refuses (`parent`, arithmetic on aggregates) is refused by the checker.

mod lexer;
mod parser;

pub mod ast;
mod print;

mod check;
mod fold;

pub mod parts;
pub mod prune;

mod advice;
mod duration;
mod error;
mod field;
mod limits;
mod operator;
mod pattern;
mod position;
mod tag_filter;
mod trace_filter;
mod value;

pub use ast::{
    Aggregate, ArithmeticOp, BinaryOp, CompareOp, Field, FieldExpr, Form, LogicOp, Metrics, MetricsExpr,
    MetricsFunction, Pipeline, Query, Relation, ScalarExpr, ScalarFilter, SecondStage, SpansetExpr, SpansetOp, Stage,
    UnaryOp,
};
pub use duration::{ParseDurationError, format_go_duration, parse_go_duration};
pub use error::Error;
pub use field::parse_field;
pub use limits::MAX_QUERY_BYTES;
pub use parts::{QueryPart, SpanFilter};
pub use pattern::{Pattern, anchored_regex};
pub use position::Position;
pub use prune::{Condition, Conditions};
pub use tag_filter::{TagFilter, parse_tag_filter};
pub use trace_filter::{TraceFilterError, parse_trace_filter};
pub use value::{Kind, Static, Status};

/// Reads, folds and checks a query. The tree it returns can be evaluated and prints to a text that parses to the same
/// tree.
pub fn parse(text: &str) -> Result<Query, Error> {
    let query = fold::query(parser::query(text).map_err(|error| advice::with_advice(error, text))?);
    check::query(&query)?;
    Ok(query)
}

/// As [`parse`], of what metrics endpoints are asked: a query, or arithmetic over the results of several.
pub fn parse_metrics(text: &str) -> Result<MetricsExpr, Error> {
    let mut expr = parser::metrics_expression(text).map_err(|error| advice::with_advice(error, text))?;
    expr.each_query(&mut fold::in_place);
    check::metrics_expression(&expr)?;
    Ok(expr)
}
