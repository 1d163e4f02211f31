//! The tree of a query. Data only: texts are made in `print.rs`, rules are in `check.rs`.
//!
//! ```text
//! Query ─ pipeline ─ [Stage]        { a } > { b } | by(x) | count() > 2 | select(y)
//!   │                  ├─ Spans(SpansetExpr ─ FieldExpr)
//!   │                  ├─ Scalar(ScalarFilter ─ ScalarExpr ─ Aggregate ─ FieldExpr)
//!   │                  └─ By, Coalesce, Select
//!   ├─ metrics ─ function, by, [SecondStage]                | rate() by (x) | topk(5)
//!   └─ hints                                                with (most_recent=true)
//!
//! MetricsExpr ─ Query, Series, Scalar, Staged               ({ a } | rate()) / ({ b } | rate()) * 100
//! ```

use model::{Intrinsic, Scope};

use crate::error::Error;
use crate::value::Static;

pub use crate::operator::{ArithmeticOp, BinaryOp, CompareOp, LogicOp, UnaryOp};

/// A query: spans are found by the pipeline and, if there is a metrics part, counted by it.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    pub pipeline: Pipeline,
    pub metrics: Option<Metrics>,
    /// The last `with (...)` group, in the order written. Unknown names and odd values are kept; readers ignore them.
    pub hints: Vec<(String, Static)>,
}

/// What is asked of metrics: a query, or arithmetic over the results of several.
#[derive(Debug, Clone, PartialEq)]
pub enum MetricsExpr {
    /// In an operation it has a metrics part. All queries of an expression have the same hints.
    Query(Box<Query>),
    /// Between series that have the same labels: `+ - * /`.
    Series { op: ArithmeticOp, left: Box<MetricsExpr>, right: Box<MetricsExpr> },
    /// Between every value and a number: `+ - * /`.
    Scalar {
        op: ArithmeticOp,
        series: Box<MetricsExpr>,
        scalar: f64,
        /// Whether the number is the left side.
        is_left: bool,
    },
    /// `… > 5 | topk(3)`; never empty, and only as the whole expression.
    Staged { series: Box<MetricsExpr>, stages: Vec<SecondStage> },
}

/// Stages, each fed by the one before it. The first is fed one span set: all spans of the trace. Never empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    pub stages: Vec<Stage>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    /// Keeps spans: `{ ... }` and combinations.
    Spans(SpansetExpr),
    /// Keeps span sets: `count() > 2`.
    Scalar(ScalarFilter),
    /// Splits span sets by the value of an expression.
    By(FieldExpr),
    /// Merges the span sets of a trace into one.
    Coalesce,
    /// Adds fields to the answer.
    Select(Vec<Field>),
}

#[derive(Debug, Clone, PartialEq)]
pub enum SpansetExpr {
    /// `{ expr }`; `{ }` is `{ true }`.
    Filter(FieldExpr),
    Op {
        op: SpansetOp,
        left: Box<SpansetExpr>,
        right: Box<SpansetExpr>,
    },
    /// A whole pipeline as an operand: `({ a } | by(x)) && ({ b })`. Both operands of an operator are pipelines, or
    /// none is.
    Pipeline(Box<Pipeline>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpansetOp {
    /// `&&`: both sides are non-empty; the spans of both.
    And,
    /// `||`: the spans of whichever side is non-empty.
    Or,
    Structural(Relation, Form),
}

/// How a span of the right side stands to some span of the left side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// `>`
    Child,
    /// `>>`
    Descendant,
    /// `<`
    Parent,
    /// `<<`
    Ancestor,
    /// `~`
    Sibling,
}

/// Which spans a structural operator keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Spans of the right side that stand in the relation.
    Plain,
    /// `!>`: spans of the right side that do not.
    Negated,
    /// `&>`: the spans of both sides that take part.
    Union,
}

/// `left op right`. In a checked query the left side is an aggregate and the right side a literal: see
/// [`ScalarFilter::parts`].
#[derive(Debug, Clone, PartialEq)]
pub struct ScalarFilter {
    pub left: ScalarExpr,
    pub op: CompareOp,
    pub right: ScalarExpr,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ScalarExpr {
    Aggregate(Aggregate),
    Literal(Static),
    /// Parses, and is refused by the checker.
    Binary {
        op: ArithmeticOp,
        left: Box<ScalarExpr>,
        right: Box<ScalarExpr>,
    },
    /// `({ a } | count())`. Parses, and is refused by the checker.
    Pipeline {
        pipeline: Box<Pipeline>,
        aggregate: Aggregate,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub enum Aggregate {
    Count,
    Min(FieldExpr),
    Max(FieldExpr),
    Avg(FieldExpr),
    Sum(FieldExpr),
}

/// A value that a span has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Field {
    Intrinsic(Intrinsic),
    /// `scope: None` is the unscoped `.name`: the span's attribute, else the resource's.
    Attribute {
        scope: Option<Scope>,
        name: String,
    },
    /// `parent.name`, where the name may begin with a scope. Parses, and is refused by the checker.
    Parent(String),
}

/// What stands in `{ }`, `by()` and aggregates.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldExpr {
    Literal(Static),
    Field(Field),
    Unary { op: UnaryOp, expr: Box<FieldExpr> },
    Binary { op: BinaryOp, left: Box<FieldExpr>, right: Box<FieldExpr> },
}

/// What is counted over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Metrics {
    pub function: MetricsFunction,
    pub by: Vec<Field>,
    /// Applied to the merged result, left to right.
    pub second_stages: Vec<SecondStage>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum MetricsFunction {
    Rate,
    CountOverTime,
    MinOverTime(Field),
    MaxOverTime(Field),
    AvgOverTime(Field),
    SumOverTime(Field),
    HistogramOverTime(Field),
    QuantileOverTime {
        field: Field,
        quantiles: Vec<f64>,
    },
    /// `window` is `(start, end)` in unix nanoseconds, both positive in a checked query; `top` is above zero.
    Compare {
        selection: FieldExpr,
        top: i64,
        window: Option<(i64, i64)>,
    },
}

impl MetricsFunction {
    /// The field that is measured.
    pub fn field(&self) -> Option<&Field> {
        match self {
            Self::Rate | Self::CountOverTime | Self::Compare { .. } => None,
            Self::MinOverTime(field)
            | Self::MaxOverTime(field)
            | Self::AvgOverTime(field)
            | Self::SumOverTime(field)
            | Self::HistogramOverTime(field)
            | Self::QuantileOverTime { field, .. } => Some(field),
        }
    }
}

/// How many values `compare` lists per field when the query does not say.
pub const DEFAULT_COMPARE_TOP: i64 = 10;

#[derive(Debug, Clone, PartialEq)]
pub enum SecondStage {
    /// Above zero in a checked query.
    TopK(i64),
    /// Above zero in a checked query.
    BottomK(i64),
    /// `> 5`: never a pattern operator; the threshold is a number, see [`Static::in_seconds`].
    Compare { op: CompareOp, threshold: Static },
}

impl Query {
    /// The metrics part, or the error that metrics endpoints answer without one.
    pub fn require_metrics(&self) -> Result<&Metrics, Error> {
        self.metrics.as_ref().ok_or(Error::NotMetrics)
    }

    /// The value of a hint.
    pub fn hint(&self, name: &str) -> Option<&Static> {
        self.hints.iter().rev().find(|(hint, _)| hint == name).map(|(_, value)| value)
    }
}

impl From<Query> for MetricsExpr {
    fn from(query: Query) -> Self {
        Self::Query(Box::new(query))
    }
}

impl MetricsExpr {
    /// Its queries, left to right.
    pub fn queries(&self) -> Vec<&Query> {
        let (mut queries, mut pending) = (Vec::new(), vec![self]);
        while let Some(expr) = pending.pop() {
            match expr {
                Self::Query(query) => queries.push(&**query),
                Self::Series { left, right, .. } => pending.extend([&**right, &**left]),
                Self::Scalar { series, .. } | Self::Staged { series, .. } => pending.push(series),
            }
        }
        queries
    }

    pub(crate) fn each_query(&mut self, change: &mut impl FnMut(&mut Query)) {
        match self {
            Self::Query(query) => change(query),
            Self::Series { left, right, .. } => {
                left.each_query(change);
                right.each_query(change);
            }
            Self::Scalar { series, .. } | Self::Staged { series, .. } => series.each_query(change),
        }
    }

    /// Whether there is something to count, or the error that metrics endpoints answer without.
    pub fn require_metrics(&self) -> Result<(), Error> {
        self.queries().into_iter().try_for_each(|query| query.require_metrics().map(drop))
    }
}

impl ScalarFilter {
    /// The aggregate, the operator and the number; `None` only for a filter that the checker refuses.
    pub fn parts(&self) -> Option<(&Aggregate, CompareOp, &Static)> {
        match (&self.left, &self.right) {
            (ScalarExpr::Aggregate(aggregate), ScalarExpr::Literal(number)) => Some((aggregate, self.op, number)),
            _ => None,
        }
    }
}

impl Aggregate {
    /// What is aggregated; `count()` takes nothing.
    pub fn argument(&self) -> Option<&FieldExpr> {
        match self {
            Self::Count => None,
            Self::Min(expr) | Self::Max(expr) | Self::Avg(expr) | Self::Sum(expr) => Some(expr),
        }
    }
}

impl Field {
    pub fn attribute(scope: Scope, name: impl Into<String>) -> Self {
        Self::Attribute { scope: Some(scope), name: name.into() }
    }

    pub fn unscoped(name: impl Into<String>) -> Self {
        Self::Attribute { scope: None, name: name.into() }
    }
}

impl FieldExpr {
    /// `{ }`
    pub const TRUE: Self = Self::Literal(Static::Bool(true));

    pub(crate) fn binary(op: BinaryOp, left: Self, right: Self) -> Self {
        Self::Binary { op, left: Box::new(left), right: Box::new(right) }
    }

    pub(crate) fn unary(op: UnaryOp, expr: Self) -> Self {
        Self::Unary { op, expr: Box::new(expr) }
    }

    /// Every field the expression refers to, left to right, repeats included.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        let mut pending = vec![self];
        std::iter::from_fn(move || {
            while let Some(expr) = pending.pop() {
                match expr {
                    Self::Field(field) => return Some(field),
                    Self::Literal(_) => {}
                    Self::Unary { expr, .. } => pending.push(expr),
                    Self::Binary { left, right, .. } => pending.extend([&**right, &**left]),
                }
            }
            None
        })
    }
}
