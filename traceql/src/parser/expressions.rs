//! Expressions over the fields of a span, and fields.

use model::{Intrinsic, Scope};

use super::limits::{Counted, MAX_DEPTH};
use super::{Parser, arithmetic, comparison, right_level};
use crate::ast::{BinaryOp, CompareOp, Field, FieldExpr, LogicOp, UnaryOp};
use crate::error::Error;
use crate::lexer::Token;
use crate::value::Static;

/// The weakest binding of all: a whole expression.
const WHOLE: u8 = 0;
/// Binds more strongly than `&&` and `||`.
const COMPARISON: u8 = 3;
/// Binds more strongly than a comparison.
const ARITHMETIC: u8 = 4;

/// A chain of one logic operator grows to the left up to this many operands, as it is written; a longer chain is
/// balanced, which means the same, so that a list of a thousand alternatives is a tree of depth ten.
const MAX_CHAIN: usize = 32;

/// An expression and the depth of its tree.
struct Tree {
    expr: FieldExpr,
    depth: usize,
}

impl Tree {
    fn leaf(expr: FieldExpr) -> Self {
        Self { expr, depth: 1 }
    }

    fn unary(op: UnaryOp, operand: Self) -> Self {
        Self { expr: FieldExpr::unary(op, operand.expr), depth: operand.depth + 1 }
    }

    fn binary(op: BinaryOp, left: Self, right: Self) -> Self {
        Self { expr: FieldExpr::binary(op, left.expr, right.expr), depth: left.depth.max(right.depth) + 1 }
    }

    /// Joins operands of one operator, which may be regrouped.
    fn chain(op: LogicOp, mut operands: Vec<Self>) -> Self {
        let op = BinaryOp::Logic(op);
        let balanced = operands.len() > MAX_CHAIN;
        while balanced && operands.len() > 1 {
            operands = join_pairs(op, operands);
        }
        let joined = operands.into_iter().reduce(|left, right| Self::binary(op, left, right));
        joined.expect("a chain has operands")
    }
}

/// Joins each operand with its neighbour: half as many, one level deeper.
fn join_pairs(op: BinaryOp, operands: Vec<Tree>) -> Vec<Tree> {
    let mut joined = Vec::with_capacity(operands.len().div_ceil(2));
    let mut operands = operands.into_iter();
    while let Some(left) = operands.next() {
        joined.push(match operands.next() {
            Some(right) => Tree::binary(op, left, right),
            None => left,
        });
    }
    joined
}

impl Parser {
    /// A whole expression. Nesting is counted anew inside it.
    pub(super) fn field_expr(&mut self) -> Result<FieldExpr, Error> {
        let outer_nesting = std::mem::take(&mut self.nesting);
        let tree = self.binary(WHOLE);
        self.nesting = outer_nesting;
        Ok(tree?.expr)
    }

    /// An expression of operators that bind at least as strongly as `weakest`.
    fn binary(&mut self, weakest: u8) -> Result<Tree, Error> {
        let mut left = self.operand()?;
        while let Some((op, level)) = self.symbol().and_then(operator).filter(|(_, level)| *level >= weakest) {
            left = match op {
                BinaryOp::Logic(op) => self.chain(op, left)?,
                BinaryOp::Compare(CompareOp::Eq | CompareOp::Ne) if self.symbol_after() == Some("nil") => {
                    self.advance();
                    Tree::binary(op, left, self.nil()?)
                }
                _ => {
                    if matches!(op, BinaryOp::Compare(op) if op.is_pattern()) {
                        self.count(Counted::Pattern)?;
                    }
                    self.advance();
                    let right = if level == 7 {
                        self.nested(|parser| parser.binary(right_level(level)))?
                    } else {
                        self.binary(right_level(level))?
                    };
                    Tree::binary(op, left, right)
                }
            };
            left = self.bounded(left)?;
        }
        Ok(left)
    }

    /// The tree, unless it is too deep.
    fn bounded(&self, tree: Tree) -> Result<Tree, Error> {
        if tree.depth > MAX_DEPTH { Err(self.too_deep(MAX_DEPTH)) } else { Ok(tree) }
    }

    /// `left op x op y ...`, as long as the operator is the same.
    fn chain(&mut self, op: LogicOp, left: Tree) -> Result<Tree, Error> {
        let mut operands = vec![left];
        while self.symbol().and_then(operator).is_some_and(|(next, _)| next == BinaryOp::Logic(op)) {
            self.advance();
            operands.push(self.binary(COMPARISON)?);
        }
        Ok(Tree::chain(op, operands))
    }

    fn operand(&mut self) -> Result<Tree, Error> {
        match self.symbol() {
            Some("(") => self.nested(|parser| {
                parser.advance();
                let inner = parser.binary(WHOLE)?;
                parser.expect_unlisted(")")?;
                Ok(inner)
            }),
            Some("-") => self.unary(UnaryOp::Neg, 5),
            Some("!") => self.unary(UnaryOp::Not, 6),
            Some("nil") => self.nil(),
            _ => {
                if let Some(field) = self.optional_field()? {
                    return Ok(Tree::leaf(FieldExpr::Field(field)));
                }
                match self.literal()? {
                    Some(value) => Ok(Tree::leaf(FieldExpr::Literal(value))),
                    None => Err(self.unexpected(&[])),
                }
            }
        }
    }

    /// A prefix operator; its operand reaches over all operators that bind at least as strongly as `weakest`.
    fn unary(&mut self, op: UnaryOp, weakest: u8) -> Result<Tree, Error> {
        self.nested(|parser| {
            parser.advance();
            let operand = parser.binary(weakest)?;
            parser.bounded(Tree::unary(op, operand))
        })
    }

    /// `nil`, which belongs to the `=` or `!=` next to it: `nil = x`, or the nil of `x = nil`.
    fn nil(&mut self) -> Result<Tree, Error> {
        let is_right_operand = self.at > 0 && matches!(self.tokens[self.at - 1].0, Token::Symbol("=" | "!="));
        self.advance();
        let op = match self.symbol() {
            Some("=") => CompareOp::Eq,
            Some("!=") => CompareOp::Ne,
            _ if is_right_operand => return Ok(Tree::leaf(FieldExpr::Literal(Static::Nil))),
            _ => return Err(self.unexpected(&["=", "!="])),
        };
        self.advance();
        let right = if self.at("nil") { self.nested(|parser| parser.nil())? } else { self.binary(ARITHMETIC)? };
        Ok(Tree::binary(BinaryOp::Compare(op), Tree::leaf(FieldExpr::Literal(Static::Nil)), right))
    }

    /// A plain field, where nothing else may stand.
    pub(super) fn field(&mut self) -> Result<Field, Error> {
        self.optional_field()?.ok_or_else(|| self.unexpected(&[]))
    }

    /// `field, field, ...)` after the opening parenthesis.
    pub(super) fn field_list(&mut self) -> Result<Vec<Field>, Error> {
        let mut fields = vec![self.field()?];
        while !self.take(")") {
            self.expect(",", &[")", ","])?;
            self.count(Counted::Listed)?;
            fields.push(self.field()?);
        }
        Ok(fields)
    }

    /// A field; `None`, with nothing read, if the token begins none.
    fn optional_field(&mut self) -> Result<Option<Field>, Error> {
        let field = self.uncounted_field()?;
        field.as_ref().map_or(Ok(()), |field| self.count_field(field))?;
        Ok(field)
    }

    fn uncounted_field(&mut self) -> Result<Option<Field>, Error> {
        if let Token::Attribute { prefix, name } = self.token() {
            let field = match name {
                Ok(name) => attribute(prefix, name),
                Err(error) => {
                    return Err(Error::syntax(error.position, error.message));
                }
            };
            self.advance();
            return Ok(Some(field));
        }
        let Some(symbol) = self.symbol() else { return Ok(None) };
        if let Some(words) = scoped_intrinsics(symbol) {
            self.advance();
            return self.scoped_intrinsic(words).map(Some);
        }
        let field = intrinsic(symbol).map(Field::Intrinsic);
        if field.is_some() {
            self.advance();
        }
        Ok(field)
    }

    /// The word after a prefix such as `span:`.
    fn scoped_intrinsic(&mut self, words: &[(&str, Intrinsic)]) -> Result<Field, Error> {
        let found = words.iter().find(|(word, _)| self.at(word));
        if let Some((_, intrinsic)) = found {
            self.advance();
            return Ok(Field::Intrinsic(*intrinsic));
        }
        let candidates: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        Err(self.unexpected(if candidates.len() <= 4 { &candidates } else { &[] }))
    }
}

/// A binary operator with its binding strength.
fn operator(symbol: &str) -> Option<(BinaryOp, u8)> {
    let compare = |op| Some((BinaryOp::Compare(op), COMPARISON));
    match symbol {
        "&&" => Some((BinaryOp::Logic(LogicOp::And), 2)),
        "||" => Some((BinaryOp::Logic(LogicOp::Or), 2)),
        "=~" => compare(CompareOp::Match),
        "!~" => compare(CompareOp::NotMatch),
        _ => match comparison(symbol) {
            Some(op) => compare(op),
            None => arithmetic(symbol).map(|(op, level)| (BinaryOp::Arithmetic(op), level)),
        },
    }
}

fn attribute(prefix: &str, name: &str) -> Field {
    match prefix {
        "." => Field::unscoped(name),
        "parent." => Field::Parent(name.to_owned()),
        _ => Field::Attribute { scope: Scope::from_name(prefix.trim_end_matches('.')), name: name.to_owned() },
    }
}

fn intrinsic(word: &str) -> Option<Intrinsic> {
    Some(match word {
        "duration" => Intrinsic::Duration,
        "name" => Intrinsic::Name,
        "status" => Intrinsic::Status,
        "statusMessage" => Intrinsic::StatusMessage,
        "kind" => Intrinsic::Kind,
        "rootName" => Intrinsic::RootName,
        "rootServiceName" => Intrinsic::RootServiceName,
        "traceDuration" => Intrinsic::TraceDuration,
        "nestedSetLeft" => Intrinsic::NestedSetLeft,
        "nestedSetRight" => Intrinsic::NestedSetRight,
        "nestedSetParent" => Intrinsic::NestedSetParent,
        "parent" => Intrinsic::Parent,
        _ => return None,
    })
}

/// The words that may follow a prefix such as `span:`.
fn scoped_intrinsics(prefix: &str) -> Option<&'static [(&'static str, Intrinsic)]> {
    Some(match prefix {
        "span:" => &[
            ("duration", Intrinsic::Duration),
            ("name", Intrinsic::Name),
            ("status", Intrinsic::Status),
            ("statusMessage", Intrinsic::StatusMessage),
            ("kind", Intrinsic::Kind),
            ("id", Intrinsic::SpanId),
            ("parentID", Intrinsic::ParentId),
            ("childCount", Intrinsic::ChildCount),
        ],
        "trace:" => &[
            ("duration", Intrinsic::TraceDuration),
            ("rootName", Intrinsic::RootName),
            ("rootService", Intrinsic::RootServiceName),
            ("id", Intrinsic::TraceId),
        ],
        "event:" => &[("name", Intrinsic::EventName), ("timeSinceStart", Intrinsic::EventTimeSinceStart)],
        "link:" => &[("traceID", Intrinsic::LinkTraceId), ("spanID", Intrinsic::LinkSpanId)],
        "instrumentation:" => {
            &[("name", Intrinsic::InstrumentationName), ("version", Intrinsic::InstrumentationVersion)]
        }
        _ => return None,
    })
}
