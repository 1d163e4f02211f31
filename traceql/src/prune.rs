//! What a query lets a source skip: conditions that every span satisfies which a filter keeps.
//!
//! Sound, not complete: a span that fails a condition is not kept, but a span that satisfies all need not be. So a
//! source may use any part of the conditions with any approximation that errs toward keeping.
//!
//! ```text
//! { name = "a" && (.b > 1 || kind = server) && span.c + 1 = span.d && !(.e = 2) }
//!
//!     all   name = "a",  span.d != nil
//!     any   [ .b > 1, kind = server ]
//! ```
//!
//! A condition holds as the evaluator means it: numbers compare across int, float and duration; arrays by element; of
//! events and links some one satisfies it; a span without the field satisfies none but `= nil`.

use crate::ast::{BinaryOp, CompareOp, Field, FieldExpr, LogicOp, UnaryOp};
use crate::value::Static;

/// `field op value`; `op` with [`Static::Nil`] is `=` or `!=` and asks whether the field is missing or there.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    pub field: Field,
    pub op: CompareOp,
    pub value: Static,
}

/// Conditions that every kept span satisfies.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conditions {
    /// Each holds.
    pub all: Vec<Condition>,
    /// Of each group at least one holds. A group without a member says that no span is kept.
    pub any: Vec<Vec<Condition>>,
}

impl Conditions {
    /// What the filter `{ expr }` demands of a span.
    pub fn of(expr: &FieldExpr) -> Self {
        let mut conditions = Self::default();
        for mut clause in clauses(expr) {
            match clause.len() {
                1 => conditions.all.append(&mut clause),
                _ => conditions.any.push(clause),
            }
        }
        conditions
    }

    /// Whether no span can satisfy them.
    pub fn is_impossible(&self) -> bool {
        self.any.iter().any(Vec::is_empty)
    }

    /// Whether nothing is demanded.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && self.any.is_empty()
    }
}

/// Conditions of which at least one holds.
type Clause = Vec<Condition>;

/// The most clauses that are made of one `||`, and the most conditions in one clause. What goes beyond is not demanded.
const MAX_CLAUSES: usize = 16;
const MAX_ALTERNATIVES: usize = 1024;

/// Clauses that all hold where the expression is true.
fn clauses(expr: &FieldExpr) -> Vec<Clause> {
    match expr {
        FieldExpr::Literal(Static::Bool(false)) => vec![Clause::new()],
        FieldExpr::Literal(_) => Vec::new(),
        FieldExpr::Field(field) => one(field, CompareOp::Eq, &Static::Bool(true)),
        // The negation of a condition also holds where the field is missing.
        FieldExpr::Unary { .. } => Vec::new(),
        FieldExpr::Binary { op: BinaryOp::Logic(LogicOp::And), left, right } => {
            let mut both = clauses(left);
            both.append(&mut clauses(right));
            both
        }
        FieldExpr::Binary { op: BinaryOp::Logic(LogicOp::Or), left, right } => either(&clauses(left), &clauses(right)),
        FieldExpr::Binary { op: BinaryOp::Compare(op), left, right } => comparison(*op, left, right),
        FieldExpr::Binary { op: BinaryOp::Arithmetic(_), .. } => Vec::new(),
    }
}

/// All of `left` or all of `right` holds, so of every pair of clauses one holds.
fn either(left: &[Clause], right: &[Clause]) -> Vec<Clause> {
    let pairs = left.iter().flat_map(|left| right.iter().map(move |right| (left, right)));
    let short = pairs.filter(|(left, right)| left.len() + right.len() <= MAX_ALTERNATIVES);
    short.take(MAX_CLAUSES).map(|(left, right)| [left.as_slice(), right.as_slice()].concat()).collect()
}

fn comparison(op: CompareOp, left: &FieldExpr, right: &FieldExpr) -> Vec<Clause> {
    use FieldExpr::{Field, Literal};
    match (left, right) {
        (Field(field), Literal(value)) => one(field, op, value),
        (Literal(value), Field(field)) => op.mirrored().map_or(Vec::new(), |op| one(field, op, value)),
        _ => {
            let mut present = presence(left, right);
            present.append(&mut presence(right, left));
            present
        }
    }
}

/// Fields on one side of a comparison that must be there for it to hold, whatever the operator.
fn presence(side: &FieldExpr, other: &FieldExpr) -> Vec<Clause> {
    let there = |field| one(field, CompareOp::Ne, &Static::Nil);
    match (side, other) {
        (_, FieldExpr::Literal(Static::Nil)) => Vec::new(),
        (FieldExpr::Field(field), _) => there(field),
        // Arithmetic with a missing field gives `false`, which compares with bools and nothing else.
        (_, FieldExpr::Literal(value)) if !matches!(value, Static::Bool(_)) => {
            arithmetic_fields(side).into_iter().flat_map(there).collect()
        }
        _ => Vec::new(),
    }
}

/// Fields that arithmetic reaches without passing another kind of operation.
fn arithmetic_fields(expr: &FieldExpr) -> Vec<&Field> {
    match expr {
        FieldExpr::Field(field) => vec![field],
        FieldExpr::Unary { op: UnaryOp::Neg, expr } => arithmetic_fields(expr),
        FieldExpr::Binary { op: BinaryOp::Arithmetic(_), left, right } => {
            let mut fields = arithmetic_fields(left);
            fields.append(&mut arithmetic_fields(right));
            fields
        }
        _ => Vec::new(),
    }
}

fn one(field: &Field, op: CompareOp, value: &Static) -> Vec<Clause> {
    vec![vec![Condition { field: field.clone(), op, value: value.clone() }]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ast::{SpansetExpr, Stage};

    fn conditions(query: &str) -> Conditions {
        match crate::parse(query).unwrap().pipeline.stages.remove(0) {
            Stage::Spans(SpansetExpr::Filter(expr)) => Conditions::of(&expr),
            other => panic!("{other} is no filter"),
        }
    }

    /// The conditions as text: those that all hold, then the groups.
    fn text(query: &str) -> String {
        let show = |condition: &Condition| format!("{} {} {}", condition.field, condition.op, condition.value);
        let show_all = |list: &[Condition], join| list.iter().map(show).collect::<Vec<_>>().join(join);
        let Conditions { all, any } = conditions(query);
        let mut parts: Vec<String> = all.iter().map(show).collect();
        parts.extend(any.iter().map(|group| format!("[{}]", show_all(group, " | "))));
        parts.join(", ")
    }

    #[test]
    fn conditions_follow_from_the_filter() {
        for (query, expected) in [
            ("{ }", ""),
            ("{ false }", "[]"),
            ("{ name = `a` && duration > 1s }", "name = `a`, duration > 1s"),
            ("{ 5 < span.n && `a` != name }", "span.n > 5, name != `a`"),
            ("{ span.flag }", "span.flag = true"),
            ("{ span.a = nil && .b != nil }", "span.a = nil, .b != nil"),
            ("{ nil = span.a }", "span.a = nil"),
            ("{ name = `a` || name = `b` || kind = server }", "[name = `a` | name = `b` | kind = server]"),
            (
                "{ (.a = 1 && .b = 2) || (.c = 3 && .d = 4) }",
                "[.a = 1 | .c = 3], [.a = 1 | .d = 4], [.b = 2 | .c = 3], [.b = 2 | .d = 4]",
            ),
            ("{ .a = 1 || true }", ""),
            ("{ .a = 1 || !(.b = 2) }", ""),
            ("{ .a = 1 || false }", ".a = 1"),
            ("{ !(.a = 1) }", ""),
            ("{ .a = .b && .c =~ `x` }", ".a != nil, .b != nil, .c =~ `x`"),
            ("{ .a + 1 = -.b }", ""),
            ("{ .a * .b + 1 != 3 }", ".a != nil, .b != nil"),
            ("{ .a + .b = false }", ""),
            ("{ .a + 1 = nil }", ""),
            ("{ .a + 1 < .b }", ".b != nil"),
        ] {
            assert_eq!(text(query), expected, "{query}");
        }
    }

    #[test]
    fn an_impossible_filter_is_known() {
        assert!(conditions("{ .a = 1 && false }").is_impossible());
        assert!(!conditions("{ .a = 1 }").is_impossible());
        assert!(conditions("{ true }").is_empty());
    }

    #[test]
    fn long_filters_are_cut_not_multiplied() {
        let alternatives: Vec<String> = (0..2000).map(|n| format!("(.a = {n} && .b = {n})")).collect();
        let Conditions { any, .. } = conditions(&format!("{{ {} }}", alternatives.join("||")));
        assert!(any.len() <= MAX_CLAUSES && any.iter().all(|group| group.len() <= MAX_ALTERNATIVES));
    }
}
