//! A span filter made ready: patterns compiled, literals on the right, and for each part the table it is decided in.

use model::Intrinsic;
use storage::source::Projection;
use traceql::{
    ArithmeticOp, BinaryOp, CompareOp, Conditions, Field, FieldExpr, LogicOp, Pattern, Static, UnaryOp, anchored_regex,
};

use super::fields::{FieldUse, Home, home};
use crate::error::Error;

/// A compiled span filter. It keeps the spans for which its expression is true.
#[derive(Debug)]
pub(crate) struct Filter {
    pub(super) root: Node,
    pub(super) node_count: usize,
    field_use: FieldUse,
    conditions: Conditions,
}

/// A part of a filter.
#[derive(Debug)]
pub(super) struct Node {
    /// Numbers the nodes of a filter.
    pub id: usize,
    /// Where it can be decided.
    pub home: Home,
    /// Whether it can fail (division by zero), so that it may be computed only where it matters.
    pub fallible: bool,
    /// Whether it may be true where its fields are missing, because something in it is turned round.
    pub true_if_missing: bool,
    pub kind: NodeKind,
}

#[derive(Debug)]
pub(super) enum NodeKind {
    Literal(Static),
    Field(Field),
    Not(Box<Node>),
    Negate(Box<Node>),
    Arithmetic {
        op: ArithmeticOp,
        left: Box<Node>,
        right: Box<Node>,
    },
    Compare {
        op: CompareOp,
        left: Box<Node>,
        right: Box<Node>,
    },
    CompareLiteral {
        op: CompareOp,
        left: Box<Node>,
        literal: Static,
    },
    Pattern {
        negated: bool,
        text: Box<Node>,
        pattern: Pattern,
    },
    /// A pattern may ask for the id with or without its leading zeros.
    TraceIdPattern {
        negated: bool,
        id: Box<Node>,
        pattern: Pattern,
    },
    /// `= nil`, or `!= nil` if `present`.
    Nil {
        of: Box<Node>,
        present: bool,
    },
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
}

impl Filter {
    /// # Errors
    /// [`Error::Query`] for what the checker of the language refuses.
    pub fn compile(expr: &FieldExpr) -> Result<Self, Error> {
        let mut compiler = Compiler { node_count: 0 };
        let root = compiler.node(expr)?;
        let field_use = FieldUse::of(expr.fields());
        // a filter that can fail fails wherever the spans lie, so none of them may be left out
        let conditions = if root.fallible { Conditions::default() } else { Conditions::of(expr) };
        Ok(Self { root, node_count: compiler.node_count, field_use, conditions })
    }

    /// What every span satisfies that passes: what a source may use to leave spans out.
    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// The fields it looks at.
    pub fn field_use(&self) -> &FieldUse {
        &self.field_use
    }

    /// The columns that [`select`](Self::select) reads.
    pub fn projection(&self) -> Projection {
        self.field_use.projection()
    }

    /// True if no span can pass.
    pub fn is_never(&self) -> bool {
        matches!(self.root.kind, NodeKind::Literal(Static::Bool(false)))
    }

    /// True if every span of a trace passes or none does, so that no span needs to be looked at.
    pub fn decides_whole_traces(&self) -> bool {
        matches!(self.root.home, Home::Constant | Home::Traces)
    }

    /// True if every span passes.
    pub fn is_always(&self) -> bool {
        matches!(self.root.kind, NodeKind::Literal(Static::Bool(true)))
    }

    /// Whether it can fail (division by zero).
    pub fn is_fallible(&self) -> bool {
        self.root.fallible
    }

    /// Whether events (links) take part.
    pub fn looks_at(&self, items: Home) -> bool {
        self.field_use.homes().any(|home| home == items)
    }
}

impl Node {
    /// True if it is either true or false at every row, never missing.
    pub fn is_condition(&self) -> bool {
        match &self.kind {
            NodeKind::Literal(value) => matches!(value, Static::Bool(_)),
            NodeKind::Not(inner) => inner.is_condition(),
            NodeKind::Compare { .. }
            | NodeKind::CompareLiteral { .. }
            | NodeKind::Pattern { .. }
            | NodeKind::TraceIdPattern { .. }
            | NodeKind::Nil { .. }
            | NodeKind::And(..)
            | NodeKind::Or(..) => true,
            NodeKind::Field(_) | NodeKind::Negate(_) | NodeKind::Arithmetic { .. } => false,
        }
    }

    fn is_plain(&self) -> bool {
        matches!(self.kind, NodeKind::Field(_) | NodeKind::Literal(_))
    }

    fn bool_literal(&self) -> Option<bool> {
        match self.kind {
            NodeKind::Literal(Static::Bool(value)) => Some(value),
            _ => None,
        }
    }
}

struct Compiler {
    node_count: usize,
}

/// A node that lacks its kind.
struct Draft {
    id: usize,
    home: Home,
    fallible: bool,
    true_if_missing: bool,
}

impl Draft {
    fn kind(self, kind: NodeKind) -> Node {
        let Self { id, home, fallible, true_if_missing } = self;
        Node { id, home, fallible, true_if_missing, kind }
    }
}

impl Compiler {
    fn node(&mut self, expr: &FieldExpr) -> Result<Node, Error> {
        match expr {
            FieldExpr::Literal(value) => Ok(self.leaf(Home::Constant, NodeKind::Literal(value.clone()))),
            FieldExpr::Field(field) => {
                let home = home(field).ok_or(traceql::Error::ParentScope)?;
                Ok(self.leaf(home, NodeKind::Field(field.clone())))
            }
            FieldExpr::Unary { op, expr } => {
                let inner = Box::new(self.node(expr)?);
                let mut node = self.draft(&[&inner]);
                Ok(match op {
                    UnaryOp::Neg => node.kind(NodeKind::Negate(inner)),
                    UnaryOp::Not => {
                        node.true_if_missing = true;
                        node.kind(NodeKind::Not(inner))
                    }
                })
            }
            FieldExpr::Binary { op, left, right } => self.binary(*op, left, right),
        }
    }

    fn binary(&mut self, op: BinaryOp, left: &FieldExpr, right: &FieldExpr) -> Result<Node, Error> {
        match op {
            BinaryOp::Compare(op) => self.comparison(op, left, right),
            BinaryOp::Arithmetic(op) => {
                let (left, right) = (Box::new(self.node(left)?), Box::new(self.node(right)?));
                let mut node = self.draft(&[&left, &right]);
                if matches!(op, ArithmeticOp::Div | ArithmeticOp::Mod | ArithmeticOp::Pow) {
                    node.fallible = true;
                    node.home = node.home.join(Home::Spans);
                }
                Ok(node.kind(NodeKind::Arithmetic { op, left, right }))
            }
            BinaryOp::Logic(op) => {
                let (left, right) = (self.node(left)?, self.node(right)?);
                Ok(self.logic(op, left, right))
            }
        }
    }

    /// `true && x` is `x`, and so on.
    fn logic(&mut self, op: LogicOp, left: Node, right: Node) -> Node {
        let absorbing = op == LogicOp::Or;
        match (left.bool_literal(), right.bool_literal()) {
            (Some(value), _) if value == absorbing => left,
            (Some(_), _) if right.is_condition() => right,
            (_, Some(value)) if value == absorbing && !left.fallible => right,
            (_, Some(value)) if value != absorbing && left.is_condition() => left,
            _ => {
                let (left, right) = (Box::new(left), Box::new(right));
                let node = self.draft(&[&left, &right]);
                node.kind(match op {
                    LogicOp::And => NodeKind::And(left, right),
                    LogicOp::Or => NodeKind::Or(left, right),
                })
            }
        }
    }

    fn comparison(&mut self, op: CompareOp, left: &FieldExpr, right: &FieldExpr) -> Result<Node, Error> {
        if let (FieldExpr::Literal(_), Some(mirrored)) = (left, op.mirrored())
            && !matches!(right, FieldExpr::Literal(_))
        {
            return self.comparison(mirrored, right, left);
        }
        let intrinsic = match left {
            FieldExpr::Field(Field::Intrinsic(intrinsic)) => Some(*intrinsic),
            _ => None,
        };
        let left = Box::new(self.node(left)?);
        let FieldExpr::Literal(literal) = right else {
            let right = Box::new(self.node(right)?);
            let mut node = self.draft(&[&left, &right]);
            node.true_if_missing |= !left.is_plain() || !right.is_plain();
            return Ok(node.kind(NodeKind::Compare { op, left, right }));
        };
        let mut node = self.draft(&[&left]);
        // arithmetic with a missing operand is `false`, and so is a comparison
        node.true_if_missing |=
            !left.is_plain() && (left.is_condition() || matches!(literal, Static::Bool(_) | Static::Nil));
        Ok(node.kind(match (op, literal) {
            (CompareOp::Eq, Static::Nil) => NodeKind::Nil { of: left, present: false },
            (CompareOp::Ne, Static::Nil) => NodeKind::Nil { of: left, present: true },
            (CompareOp::Match | CompareOp::NotMatch, Static::String(pattern)) => {
                let negated = op == CompareOp::NotMatch;
                let pattern = anchored_regex(pattern)?;
                match intrinsic {
                    Some(Intrinsic::TraceId) => NodeKind::TraceIdPattern { negated, id: left, pattern },
                    _ => NodeKind::Pattern { negated, text: left, pattern },
                }
            }
            // roots have the parent id 0, and yet `!= ""` asks for spans that have a parent
            (CompareOp::Ne, Static::String(id)) if intrinsic == Some(Intrinsic::ParentId) && id.is_empty() => {
                NodeKind::CompareLiteral { op, left, literal: Static::String("0".repeat(16)) }
            }
            _ => NodeKind::CompareLiteral { op, left, literal: literal.clone() },
        }))
    }

    fn leaf(&mut self, home: Home, kind: NodeKind) -> Node {
        Draft { id: self.next_id(), home, fallible: false, true_if_missing: false }.kind(kind)
    }

    /// What a node has from its children.
    fn draft(&mut self, children: &[&Node]) -> Draft {
        let home = children.iter().fold(Home::Constant, |home, child| home.join(child.home));
        Draft {
            id: self.next_id(),
            home,
            fallible: children.iter().any(|child| child.fallible),
            // a constant is what it is whatever is missing beside it
            true_if_missing: home == Home::Constant || children.iter().any(|child| child.true_if_missing),
        }
    }

    fn next_id(&mut self) -> usize {
        self.node_count += 1;
        self.node_count - 1
    }
}
