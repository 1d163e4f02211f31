//! The lenient reading of a query that an editor sends while it is typed, to narrow the names and values it suggests.
//!
//! Only the first span filter counts. Half-typed matchers are dropped and open braces closed. What cannot be read,
//! joins several filters, or looks at unscoped attributes narrows nothing; it is never an error.

use std::collections::HashSet;

use crate::ast::{BinaryOp, CompareOp, Field, FieldExpr, LogicOp, UnaryOp};
use crate::error::Error;
use crate::lexer::{Token, tokens};
use crate::limits::MAX_QUERY_BYTES;
use crate::position::Position;
use crate::value::Static;
use crate::{check, fold, parser};

/// Deepest parentheses, and the most matchers in a row, that are repaired; what can be read as it is has the parser's
/// limits.
const MAX_REPAIR_DEPTH: usize = 8;
const MAX_REPAIRED_MATCHERS: usize = 64;

/// Which spans the names and values are taken from.
#[derive(Debug, Clone, PartialEq)]
pub enum TagFilter {
    All,
    /// Spans for which the expression is true.
    Spans(FieldExpr),
}

impl TagFilter {
    /// The literal that the filter demands the field to equal, if it does: then this is the field's only value.
    pub fn literal_of(&self, field: &Field) -> Option<&Static> {
        match self {
            Self::All => None,
            Self::Spans(expr) => literal_of(expr, field),
        }
    }
}

fn literal_of<'e>(expr: &'e FieldExpr, field: &Field) -> Option<&'e Static> {
    use FieldExpr::{Binary, Field, Literal};
    let Binary { op, left, right } = expr else { return None };
    match (op, &**left, &**right) {
        (BinaryOp::Logic(LogicOp::And), left, right) => literal_of(left, field).or_else(|| literal_of(right, field)),
        (BinaryOp::Compare(CompareOp::Eq), Field(found), Literal(value))
        | (BinaryOp::Compare(CompareOp::Eq), Literal(value), Field(found))
            if found == field && *value != Static::Nil =>
        {
            Some(value)
        }
        _ => None,
    }
}

/// Reads the `q` of a tag request. The only error is a filter that comes to more than `max_groups` alternative groups of
/// conditions when it is multiplied out.
pub fn parse_tag_filter(text: &str, max_groups: usize) -> Result<TagFilter, Error> {
    let Some(mut expr) = first_filter(text) else { return Ok(TagFilter::All) };
    fold::expression(&mut expr);
    if check::filter(&expr).is_err() {
        return Ok(TagFilter::All);
    }
    let Some(expr) = usable(&expr) else { return Ok(TagFilter::All) };
    if expr.fields().any(|field| matches!(field, Field::Attribute { scope: None, .. })) {
        return Ok(TagFilter::All);
    }
    if groups(&expr) > max_groups {
        return Err(Error::TooManyGroups { max: max_groups });
    }
    if expr.fields().collect::<HashSet<_>>().len() > parser::MAX_FIELDS {
        return Ok(TagFilter::All);
    }
    Ok(TagFilter::Spans(expr))
}

type Tokens<'t> = &'t [(Token, Position)];

/// The content of the first span filter, without its half-typed matchers; `None` if there is none that stands alone.
fn first_filter(text: &str) -> Option<FieldExpr> {
    if text.len() > MAX_QUERY_BYTES {
        return None;
    }
    let tokens = tokens(text);
    let (_end, tokens) = tokens.split_last()?;
    let (first, rest) = tokens.split_first()?;
    if first.0 != Token::Symbol("{") {
        return None;
    }
    let end = rest.iter().position(|(token, _)| matches!(token, Token::Symbol("}" | "|"))).unwrap_or(rest.len());
    let after = rest.get(end + 1).filter(|_| is_symbol(rest, end, "}")).map(|(token, _)| token);
    match after {
        None | Some(Token::Symbol("|" | "with")) => repair(&rest[..end], MAX_REPAIR_DEPTH),
        Some(_) => None,
    }
}

/// Reads an expression; if it cannot be read whole, matcher by matcher, with `true` for each that cannot be read.
/// `None` if that is too much to repair.
fn repair(tokens: Tokens<'_>, depth: usize) -> Option<FieldExpr> {
    if let Some(expr) = read(tokens) {
        return Some(expr);
    }
    let (mut end, mut next_op) = next_logic(tokens);
    let mut joined = repair_matcher(&tokens[..end], depth)?;
    let mut rest = tokens;
    for _ in 0..MAX_REPAIRED_MATCHERS {
        let Some(op) = next_op else { return Some(joined) };
        rest = &rest[end + 1..];
        (end, next_op) = next_logic(rest);
        joined = FieldExpr::binary(BinaryOp::Logic(op), joined, repair_matcher(&rest[..end], depth)?);
    }
    None
}

fn repair_matcher(tokens: Tokens<'_>, depth: usize) -> Option<FieldExpr> {
    if let Some(expr) = read(tokens) {
        return Some(expr);
    }
    if !is_symbol(tokens, 0, "(") {
        return Some(FieldExpr::TRUE);
    }
    let end = if is_symbol(tokens, tokens.len() - 1, ")") { tokens.len() - 1 } else { tokens.len() };
    repair(&tokens[1..end], depth.checked_sub(1)?)
}

fn read(tokens: Tokens<'_>) -> Option<FieldExpr> {
    let mut whole = tokens.to_vec();
    whole.push((Token::End, Position::NONE));
    parser::expression(whole)
}

/// Where the first `&&` or `||` outside of parentheses stands.
fn next_logic(tokens: Tokens<'_>) -> (usize, Option<LogicOp>) {
    let mut open = 0_usize;
    for (index, (token, _)) in tokens.iter().enumerate() {
        match token {
            Token::Symbol("(") => open += 1,
            Token::Symbol(")") => open = open.saturating_sub(1),
            Token::Symbol("&&") if open == 0 => return (index, Some(LogicOp::And)),
            Token::Symbol("||") if open == 0 => return (index, Some(LogicOp::Or)),
            _ => {}
        }
    }
    (tokens.len(), None)
}

fn is_symbol(tokens: Tokens<'_>, index: usize, symbol: &str) -> bool {
    matches!(tokens.get(index), Some((Token::Symbol(found), _)) if *found == symbol)
}

/// The part of the expression that narrows; `None` if nothing does. A bare attribute is a matcher half typed, and
/// arithmetic does not narrow either.
fn usable(expr: &FieldExpr) -> Option<FieldExpr> {
    match expr {
        FieldExpr::Literal(Static::Bool(false)) => Some(expr.clone()),
        FieldExpr::Literal(_) | FieldExpr::Field(_) => None,
        FieldExpr::Unary { op: UnaryOp::Not, expr: inner } => {
            usable(inner).filter(|kept| *kept == **inner).map(|_| expr.clone())
        }
        FieldExpr::Unary { op: UnaryOp::Neg, .. } => None,
        FieldExpr::Binary { op, left, right } => match op {
            BinaryOp::Logic(LogicOp::And) => match (usable(left), usable(right)) {
                (Some(left), Some(right)) => Some(FieldExpr::binary(*op, left, right)),
                (left, right) => left.or(right),
            },
            BinaryOp::Logic(LogicOp::Or) => Some(FieldExpr::binary(*op, usable(left)?, usable(right)?)),
            BinaryOp::Compare(_) if is_plain(left) && is_plain(right) => Some(expr.clone()),
            BinaryOp::Compare(_) | BinaryOp::Arithmetic(_) => None,
        },
    }
}

fn is_plain(expr: &FieldExpr) -> bool {
    matches!(expr, FieldExpr::Literal(_) | FieldExpr::Field(_))
}

/// How many groups of conditions the expression comes to when it is multiplied out.
fn groups(expr: &FieldExpr) -> usize {
    match expr {
        FieldExpr::Binary { op: BinaryOp::Logic(LogicOp::And), left, right } => {
            groups(left).saturating_mul(groups(right))
        }
        FieldExpr::Binary { op: BinaryOp::Logic(LogicOp::Or), left, right } => {
            groups(left).saturating_add(groups(right))
        }
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reading(text: &str) -> String {
        match parse_tag_filter(text, 100) {
            Ok(TagFilter::All) => "all".to_owned(),
            Ok(TagFilter::Spans(expr)) => expr.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn whole_and_half_typed_filters_narrow() {
        for (text, expected) in [
            (r#"{ span.a = "x" && name = "y" }"#, "(span.a = `x`) && (name = `y`)"),
            (r#"{ span.a = "x" && span.b = }"#, "span.a = `x`"),
            (r#"{ span.a = "x" && span.b = "#, "span.a = `x`"),
            (r#"{ span.a = "x" && span.b = "unclosed }"#, "span.a = `x`"),
            (r#"{ span.a = "x" && "#, "span.a = `x`"),
            (r#"{ span.a = "x" && span.b"#, "span.a = `x`"),
            (r#"{ span.a = "x" && resource."#, "span.a = `x`"),
            (r#"{ (span.a = "x" && span.b = ) && kind = server"#, "(span.a = `x`) && (kind = server)"),
            (r#"{ (span.a = "x" || span.b = 2"#, "(span.a = `x`) || (span.b = 2)"),
            (r#"{ resource.a = "x" } | count() > 100"#, "resource.a = `x`"),
            (r#"{ resource.a = "x" } | coun"#, "resource.a = `x`"),
            (r#"{ resource.a = "x" } with (most_recent=true)"#, "resource.a = `x`"),
            (
                "{ !(span.a = 1) && 2 < span.b && span.c != nil }",
                "((!(span.a = 1)) && (2 < span.b)) && (span.c != nil)",
            ),
            ("{ false }", "false"),
        ] {
            assert_eq!(reading(text), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_narrow_leaves_all() {
        for text in [
            "",
            "{}",
            "}{",
            "{ true }",
            "hello",
            r#"{ .a = "x" }"#,
            r#"{ span.a = "x" && .b = 1 }"#,
            r#"{ span.a = "x" } >> { }"#,
            r#"{ span.a = "x" } && { }"#,
            r#"({ span.a = "x" } | by(name)) && ({ })"#,
            "{ span.a }",
            "{ span.a = }",
            "{ span.a + 1 = 2 }",
            "{ span.a = 1 || span.b }",
            "{ span.a = 1 || span.b = }",
            "{ name = 5 }",
            "{ name =~ `[` }",
            "{ parent.a = 1 }",
        ] {
            assert_eq!(reading(text), "all", "{text}");
        }
    }

    #[test]
    fn too_many_alternatives_are_an_error() {
        let either = |count: usize| (0..count).map(|n| format!("span.a = {n}")).collect::<Vec<_>>().join(" || ");
        assert!(reading(&format!("{{ {} }}", either(100))).starts_with('('));
        let message = "maximum condition groups reached (limit: 100). Reduce the number of OR conditions in the query";
        assert_eq!(reading(&format!("{{ {} }}", either(101))), message);
        assert_eq!(reading(&format!("{{ ({}) && ({}) }}", either(11), either(10))), message);
    }

    #[test]
    fn hostile_nesting_is_refused_not_followed() {
        for text in ["{".to_owned() + &"(".repeat(50_000), "{ ".to_owned() + &"span.a = && ".repeat(10_000)] {
            assert_eq!(reading(&text), "all");
        }
    }

    #[test]
    fn a_demanded_literal_is_found() {
        let filter = parse_tag_filter(r#"{ kind = server && span.a = "x" && span.b != 1 }"#, 100).unwrap();
        let literal = |name: &str| filter.literal_of(&crate::parse_field(name).unwrap()).map(ToString::to_string);
        assert_eq!(literal("span.a").as_deref(), Some("`x`"));
        assert_eq!(literal("span.b"), None);
        assert_eq!(literal("resource.a"), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*|[{}()&|=!a-z.\" 0-9]{0,40}") {
            let _ = parse_tag_filter(&text, 100);
        }
    }
}
