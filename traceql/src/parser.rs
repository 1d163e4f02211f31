//! Tokens to tree, by recursive descent; operators by precedence climbing. Checks syntax only.
//!
//! - `expressions.rs`: what stands in `{ }`, `by()` and aggregates, and fields.
//! - `pipeline.rs`: span sets, stages, and what parentheses around them can mean.
//! - `scalar.rs`: aggregate filters.
//! - `metrics.rs`: metrics functions and second stages; `arithmetic.rs`: what is computed from their results.
//! - `limits.rs`: how much of everything there may be.
//!
//! Binding strength of operators, weakest first, the same inside and outside of braces. All bind to the left but `^`.
//!
//! | level | operators |
//! |---|---|
//! | 2 | `&&` and `\|\|` |
//! | 3 | comparisons and structural operators |
//! | 4 | `+ -`, and the unary `-` |
//! | 5 | `!` |
//! | 6 | `* / %` |
//! | 7 | `^` |

mod arithmetic;
mod expressions;
mod limits;
mod metrics;
mod pipeline;
mod scalar;

use self::arithmetic::is_arithmetic;
pub use self::limits::MAX_FIELDS;
use self::limits::{Counted, Limits, MAX_NESTING};
use crate::ast;
use crate::ast::{ArithmeticOp, CompareOp, Field, FieldExpr, MetricsExpr, Pipeline, Query};
use crate::error::Error;
use crate::lexer::{Token, tokens};
use crate::limits::MAX_QUERY_BYTES;
use crate::position::Position;
use crate::value::{Kind, Static, Status};

/// Reads a whole query. The tree is neither folded nor checked.
pub fn query(text: &str) -> Result<Query, Error> {
    if text.len() > MAX_QUERY_BYTES {
        return Err(Error::TooLong);
    }
    query_of(tokens(text))
}

/// Reads what is asked of metrics. The tree is neither folded nor checked.
pub fn metrics_expression(text: &str) -> Result<MetricsExpr, Error> {
    if text.len() > MAX_QUERY_BYTES {
        return Err(Error::TooLong);
    }
    let tokens = tokens(text);
    match is_arithmetic(&tokens) {
        true => Parser::new(tokens).metrics_expression(),
        false => query_of(tokens).map(MetricsExpr::from),
    }
}

fn query_of(tokens: Vec<(Token, Position)>) -> Result<Query, Error> {
    let mut parser = Parser::new(tokens);
    let (pipeline, metrics) = parser.root()?;
    let hints = parser.all_hints()?;
    match parser.token() {
        Token::End => Ok(Query { pipeline, metrics, hints }),
        _ => Err(parser.unexpected(&["with"])),
    }
}

/// Reads tokens as one expression, as in `{ expr }`; `None` if they are not exactly that. How many fields it may have is
/// for the caller to say.
pub fn expression(tokens: Vec<(Token, Position)>) -> Option<FieldExpr> {
    let mut parser = Parser { limits: Limits::with_max_fields(usize::MAX), ..Parser::new(tokens) };
    let expr = parser.field_expr().ok()?;
    matches!(parser.token(), Token::End).then_some(expr)
}

struct Parser {
    /// Ends with [`Token::End`] or [`Token::Bad`], which are never taken.
    tokens: Vec<(Token, Position)>,
    at: usize,
    /// How many parentheses and prefix operators are open.
    nesting: usize,
    limits: Limits,
}

impl Parser {
    fn new(tokens: Vec<(Token, Position)>) -> Self {
        Self { tokens, at: 0, nesting: 0, limits: Limits::with_max_fields(MAX_FIELDS) }
    }

    fn root(&mut self) -> Result<(Pipeline, Option<ast::Metrics>), Error> {
        let pipeline = self.root_pipeline()?;
        let metrics = if self.at("|") { Some(self.metrics()?) } else { None };
        Ok((pipeline, metrics))
    }

    /// The last of the groups of hints that end a query.
    fn all_hints(&mut self) -> Result<Vec<(String, Static)>, Error> {
        let mut hints = Vec::new();
        while self.take("with") {
            hints = self.hints()?;
        }
        Ok(hints)
    }

    /// `(name=value, ...)` after `with`.
    fn hints(&mut self) -> Result<Vec<(String, Static)>, Error> {
        self.expect("(", &[])?;
        let mut hints = Vec::new();
        loop {
            let Token::Identifier(name) = self.token() else { return Err(self.unexpected(&["IDENTIFIER"])) };
            let name = name.clone();
            self.advance();
            self.expect("=", &[])?;
            match self.literal()? {
                Some(value) => hints.push((name, value)),
                None => return Err(self.unexpected(&[])),
            }
            if self.take(")") {
                return Ok(hints);
            }
            self.expect(",", &[")", ","])?;
        }
    }

    /// A literal other than nil, without a sign; `None` if the token is none. A word that names nothing is an error.
    fn literal(&mut self) -> Result<Option<Static>, Error> {
        let value = match self.token() {
            Token::String(text) => Static::String(text.clone()),
            Token::Integer(number) => Static::Int(*number),
            Token::Float(number) => Static::Float(*number),
            Token::Duration(nanos) => Static::Duration(*nanos),
            Token::Symbol(word) => match literal_word(word) {
                Some(value) => value,
                None => return Ok(None),
            },
            Token::Identifier(word) => match word.as_str() {
                "minInt" => Static::Int(i64::MIN),
                "maxInt" => Static::Int(i64::MAX),
                _ => return Err(self.error(format!("unknown identifier: {word}"))),
            },
            _ => return Ok(None),
        };
        self.advance();
        Ok(Some(value))
    }

    /// A number with an optional minus sign; `None`, with nothing read, if there is none.
    fn signed_number(&mut self) -> Option<Static> {
        let negative = self.at("-");
        let number = match &self.tokens.get(self.at + usize::from(negative))?.0 {
            Token::Integer(number) => Static::Int(*number),
            Token::Float(number) => Static::Float(*number),
            Token::Duration(nanos) => Static::Duration(*nanos),
            _ => return None,
        };
        self.at += 1 + usize::from(negative);
        if negative { number.negate() } else { Some(number) }
    }

    fn token(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn advance(&mut self) {
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
    }

    /// Whether the token is this symbol.
    fn at(&self, symbol: &str) -> bool {
        self.symbol() == Some(symbol)
    }

    fn symbol(&self) -> Option<&'static str> {
        match self.token() {
            Token::Symbol(symbol) => Some(symbol),
            _ => None,
        }
    }

    fn symbol_after(&self) -> Option<&'static str> {
        match self.tokens.get(self.at + 1) {
            Some((Token::Symbol(symbol), _)) => Some(symbol),
            _ => None,
        }
    }

    /// Takes the symbol if it is there.
    fn take(&mut self, symbol: &str) -> bool {
        let found = self.at(symbol);
        if found {
            self.advance();
        }
        found
    }

    /// Takes the symbol, or fails with the candidates that the reference lists there (by default the symbol alone).
    fn expect(&mut self, symbol: &'static str, candidates: &[&str]) -> Result<(), Error> {
        if self.take(symbol) {
            return Ok(());
        }
        Err(self.unexpected(if candidates.is_empty() { std::slice::from_ref(&symbol) } else { candidates }))
    }

    /// Takes the symbol, or fails where the reference knows too many candidates to list them.
    fn expect_unlisted(&mut self, symbol: &str) -> Result<(), Error> {
        if self.take(symbol) { Ok(()) } else { Err(self.unexpected(&[])) }
    }

    /// The syntax error that the current token cannot stand here; what the lexer found wrong with it comes first.
    fn unexpected(&self, expected: &[&str]) -> Error {
        match self.token() {
            Token::Bad(message) => self.error(message.clone()),
            token => Error::unexpected(self.position(), token.describe(), expected),
        }
    }

    fn error(&self, message: String) -> Error {
        Error::syntax(self.position(), message)
    }

    fn position(&self) -> Position {
        self.tokens[self.at].1
    }

    /// Reads something inside one more parenthesis or after one more prefix operator.
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.nesting == MAX_NESTING {
            return Err(self.too_deep(MAX_NESTING));
        }
        self.nesting += 1;
        let result = read(self);
        self.nesting -= 1;
        result
    }

    /// Counts a part of the query that was read.
    fn count(&mut self, part: Counted) -> Result<(), Error> {
        self.limits.count(part).map_err(|message| self.error(message))
    }

    /// Notes a field that was read.
    fn count_field(&mut self, field: &Field) -> Result<(), Error> {
        self.limits.count_field(field).map_err(|message| self.error(message))
    }

    fn too_deep(&self, limit: usize) -> Error {
        self.error(format!("expression is nested too deeply (limit: {limit})"))
    }
}

fn literal_word(word: &str) -> Option<Static> {
    match word {
        "true" => Some(Static::Bool(true)),
        "false" => Some(Static::Bool(false)),
        _ => {
            let status = Status::ALL.into_iter().find(|status| status.name() == word).map(Static::Status);
            status.or_else(|| Kind::ALL.into_iter().find(|kind| kind.name() == word).map(Static::Kind))
        }
    }
}

/// A comparison that both expressions and aggregate filters know.
fn comparison(symbol: &str) -> Option<CompareOp> {
    Some(match symbol {
        "=" => CompareOp::Eq,
        "!=" => CompareOp::Ne,
        "<" => CompareOp::Lt,
        "<=" => CompareOp::Le,
        ">" => CompareOp::Gt,
        ">=" => CompareOp::Ge,
        _ => return None,
    })
}

/// An arithmetic operator with its binding strength.
fn arithmetic(symbol: &str) -> Option<(ArithmeticOp, u8)> {
    Some(match symbol {
        "+" => (ArithmeticOp::Add, 4),
        "-" => (ArithmeticOp::Sub, 4),
        "*" => (ArithmeticOp::Mul, 6),
        "/" => (ArithmeticOp::Div, 6),
        "%" => (ArithmeticOp::Mod, 6),
        "^" => (ArithmeticOp::Pow, 7),
        _ => return None,
    })
}

/// The weakest binding that the right operand of an operator may have: `^` binds to the right, the others to the left.
fn right_level(level: u8) -> u8 {
    if level == 7 { 7 } else { level + 1 }
}

#[cfg(test)]
mod tests;
