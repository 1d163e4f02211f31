//! Static types: what is known of a value before any span is seen.

use model::Intrinsic;

use crate::ast::{BinaryOp, CompareOp, Field, FieldExpr, UnaryOp};
use crate::value::Static;

/// The type of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Nil,
    Int,
    Float,
    String,
    Bool,
    Duration,
    Status,
    Kind,
    /// Known only at run time.
    Attribute,
}

impl Type {
    pub fn of(expr: &FieldExpr) -> Self {
        match expr {
            FieldExpr::Literal(value) => Self::of_static(value),
            FieldExpr::Field(Field::Intrinsic(intrinsic)) => Self::of_intrinsic(*intrinsic),
            FieldExpr::Field(_) => Self::Attribute,
            FieldExpr::Unary { op: UnaryOp::Not, .. } => Self::Bool,
            FieldExpr::Unary { op: UnaryOp::Neg, expr } => Self::of(expr),
            FieldExpr::Binary { op: BinaryOp::Compare(_) | BinaryOp::Logic(_), .. } => Self::Bool,
            FieldExpr::Binary { op: BinaryOp::Arithmetic(_), left, right } => match Self::of(left) {
                Self::Attribute => Self::of(right),
                known => known,
            },
        }
    }

    fn of_static(value: &Static) -> Self {
        match value {
            Static::Nil => Self::Nil,
            Static::Int(_) => Self::Int,
            Static::Float(_) => Self::Float,
            Static::String(_) => Self::String,
            Static::Bool(_) => Self::Bool,
            Static::Duration(_) => Self::Duration,
            Static::Status(_) => Self::Status,
            Static::Kind(_) => Self::Kind,
        }
    }

    fn of_intrinsic(intrinsic: Intrinsic) -> Self {
        match intrinsic {
            Intrinsic::Duration | Intrinsic::TraceDuration | Intrinsic::EventTimeSinceStart => Self::Duration,
            Intrinsic::Status => Self::Status,
            Intrinsic::Kind => Self::Kind,
            Intrinsic::ChildCount
            | Intrinsic::NestedSetLeft
            | Intrinsic::NestedSetRight
            | Intrinsic::NestedSetParent => Self::Int,
            Intrinsic::Name
            | Intrinsic::StatusMessage
            | Intrinsic::SpanId
            | Intrinsic::ParentId
            | Intrinsic::TraceId
            | Intrinsic::RootName
            | Intrinsic::RootServiceName
            | Intrinsic::EventName
            | Intrinsic::LinkTraceId
            | Intrinsic::LinkSpanId => Self::String,
            Intrinsic::InstrumentationName | Intrinsic::InstrumentationVersion => Self::Attribute,
            Intrinsic::Parent => Self::Nil,
        }
    }

    pub fn is_numeric(self) -> bool {
        matches!(self, Self::Int | Self::Float | Self::Duration)
    }

    /// Whether an operator may join the two.
    pub fn agrees_with(self, other: Self) -> bool {
        let is_open = |side| matches!(side, Self::Attribute | Self::Nil);
        self == other || is_open(self) || is_open(other) || (self.is_numeric() && other.is_numeric())
    }

    /// Whether a value of the type may stand on either side of the operator.
    pub fn allows(self, op: BinaryOp) -> bool {
        let is_equality = matches!(op, BinaryOp::Compare(CompareOp::Eq | CompareOp::Ne));
        match self {
            Self::Attribute => true,
            Self::Nil | Self::Status | Self::Kind => is_equality,
            Self::Bool => is_equality || matches!(op, BinaryOp::Logic(_)),
            Self::String => matches!(op, BinaryOp::Compare(_)),
            Self::Int | Self::Float | Self::Duration => match op {
                BinaryOp::Arithmetic(_) => true,
                BinaryOp::Compare(op) => !op.is_pattern(),
                BinaryOp::Logic(_) => false,
            },
        }
    }
}
