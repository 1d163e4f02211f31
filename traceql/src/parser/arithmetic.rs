//! Arithmetic over the results of metrics queries: `({ a } | rate()) / ({ } | rate()) * 100 > 5`.
//!
//! Each query stands in parentheses. Numbers are computed among themselves while they are read, so that of an operator at
//! least one side is a query.

use super::limits::Counted;
use super::metrics::is_function;
use super::{Parser, arithmetic};
use crate::ast::{ArithmeticOp, MetricsExpr, Query};
use crate::error::Error;
use crate::lexer::Token;
use crate::position::Position;
use crate::value::Static;

/// What stands on a side of an operator.
enum Operand {
    Number(Static, Position),
    Series(MetricsExpr),
}

/// Whether a metrics query stands in parentheses, which it may only as an operand.
pub(super) fn is_arithmetic(tokens: &[(Token, Position)]) -> bool {
    let mut depth = 0_usize;
    tokens.iter().enumerate().any(|(at, (token, _))| {
        depth = depth_after(depth, token);
        depth > 0 && begins_metrics(tokens, at)
    })
}

fn depth_after(depth: usize, token: &Token) -> usize {
    match token {
        Token::Symbol("(") => depth + 1,
        Token::Symbol(")") => depth.saturating_sub(1),
        _ => depth,
    }
}

/// Whether the metrics part of a query begins there.
fn begins_metrics(tokens: &[(Token, Position)], at: usize) -> bool {
    let is_word = |token: &Token| matches!(token, Token::Symbol(word) if is_function(word));
    matches!(tokens[at].0, Token::Symbol("|")) && tokens.get(at + 1).is_some_and(|(next, _)| is_word(next))
}

impl Parser {
    /// A whole expression with its second stages and hints, which are those of each query.
    pub(super) fn metrics_expression(&mut self) -> Result<MetricsExpr, Error> {
        let Operand::Series(mut expr) = self.operation(0)? else { return Err(self.unexpected(&[])) };
        let stages = self.second_stages()?;
        let hints = self.all_hints()?;
        if !matches!(self.token(), Token::End) {
            return Err(self.unexpected(&["with"]));
        }
        expr.each_query(&mut |query| query.hints.clone_from(&hints));
        Ok(if stages.is_empty() { expr } else { MetricsExpr::Staged { series: Box::new(expr), stages } })
    }

    /// Numbers computed among themselves.
    pub(super) fn computed_number(&mut self) -> Result<Static, Error> {
        let position = self.position();
        match self.operation(0)? {
            Operand::Number(number, _) => Ok(number),
            Operand::Series(_) => Err(Error::syntax(position, "a metrics query cannot be compared with another")),
        }
    }

    /// Operands and operators that bind at least as strongly as `weakest`.
    fn operation(&mut self, weakest: u8) -> Result<Operand, Error> {
        let mut left = self.series_operand()?;
        while let Some((op, level)) = self.symbol().and_then(between_series).filter(|(_, level)| *level >= weakest) {
            self.count(Counted::Operator)?;
            self.advance();
            let right = self.operation(level + 1)?;
            left = self.combined(op, left, right)?;
        }
        Ok(left)
    }

    fn series_operand(&mut self) -> Result<Operand, Error> {
        let position = self.position();
        match self.token() {
            Token::Integer(number) => Ok(Operand::Number(Static::Int(*number), position)),
            Token::Float(number) => Ok(Operand::Number(Static::Float(*number), position)),
            Token::Duration(nanos) => Ok(Operand::Number(Static::Duration(*nanos), position)),
            Token::Symbol("-") => return self.nested(Self::negated),
            Token::Symbol("(") if self.query_is_next() => return self.query_in_parentheses(),
            Token::Symbol("(") => return self.nested(Self::operation_in_parentheses),
            _ => Err(self.unexpected(&[])),
        }
        .inspect(|_| self.advance())
    }

    /// A number behind its minus sign.
    fn negated(&mut self) -> Result<Operand, Error> {
        self.advance();
        let position = self.position();
        match self.series_operand()? {
            Operand::Number(number, at) => match number.negate() {
                Some(number) => Ok(Operand::Number(number, at)),
                None => Err(Error::syntax(position, "only numbers can be negated")),
            },
            Operand::Series(_) => Err(Error::syntax(position, "a metrics query cannot be negated; write 0 - (...)")),
        }
    }

    fn operation_in_parentheses(&mut self) -> Result<Operand, Error> {
        self.advance();
        let operand = self.operation(0)?;
        self.expect_unlisted(")")?;
        Ok(operand)
    }

    /// Whether what the next parenthesis holds is one metrics query, and not an operation.
    fn query_is_next(&self) -> bool {
        let mut depth = 0;
        for at in self.at..self.tokens.len() {
            depth = depth_after(depth, &self.tokens[at].0);
            match depth {
                0 => return false,
                1 if begins_metrics(&self.tokens, at) => return true,
                _ => {}
            }
        }
        false
    }

    fn query_in_parentheses(&mut self) -> Result<Operand, Error> {
        self.advance();
        let pipeline = self.root_pipeline()?;
        let metrics = Some(self.metrics()?);
        self.expect_unlisted(")")?;
        Ok(Operand::Series(Query { pipeline, metrics, hints: Vec::new() }.into()))
    }

    fn combined(&self, op: ArithmeticOp, left: Operand, right: Operand) -> Result<Operand, Error> {
        Ok(Operand::Series(match (left, right) {
            (Operand::Number(left, position), Operand::Number(right, _)) => {
                return computed(op, &left, &right, position);
            }
            (Operand::Series(left), Operand::Series(right)) => {
                MetricsExpr::Series { op, left: Box::new(left), right: Box::new(right) }
            }
            (Operand::Series(series), Operand::Number(number, position)) => {
                let scalar = scalar(&number, position)?;
                MetricsExpr::Scalar { op, series: Box::new(series), scalar, is_left: false }
            }
            (Operand::Number(number, position), Operand::Series(series)) => {
                let scalar = scalar(&number, position)?;
                MetricsExpr::Scalar { op, series: Box::new(series), scalar, is_left: true }
            }
        }))
    }
}

fn between_series(symbol: &str) -> Option<(ArithmeticOp, u8)> {
    arithmetic(symbol).filter(|(op, _)| !matches!(op, ArithmeticOp::Mod | ArithmeticOp::Pow))
}

/// Numbers among themselves: ints stay ints.
fn computed(op: ArithmeticOp, left: &Static, right: &Static, position: Position) -> Result<Operand, Error> {
    if matches!((left, right), (Static::Duration(_), _) | (_, Static::Duration(_))) {
        return Err(Error::syntax(position, "duration cannot be used in scalar arithmetic"));
    }
    let number = left.compute(op, right).map_err(|error| Error::syntax(position, error.to_string()))?;
    Ok(Operand::Number(number, position))
}

fn scalar(number: &Static, position: Position) -> Result<f64, Error> {
    match number {
        Static::Int(number) => Ok(*number as f64),
        Static::Float(number) => Ok(*number),
        _ => Err(Error::syntax(position, "duration cannot be used as a scalar operand in metric arithmetic")),
    }
}

#[cfg(test)]
mod tests {
    /// The text that a query prints to.
    fn printed(text: &str) -> String {
        let printed = crate::parse_metrics(text).map_or_else(|error| error.to_string(), |expr| expr.to_string());
        if !printed.contains("error") {
            assert_eq!(crate::parse_metrics(&printed).unwrap().to_string(), printed, "{text}");
        }
        printed
    }

    #[test]
    fn operators_bind_as_everywhere() {
        for (text, expected) in [
            ("({ }|rate()) + ({ }|rate())*2", "({ true } | rate()) + (({ true } | rate()) * 2)"),
            ("100 * ({ }|rate()) / ({ }|rate())", "(100 * ({ true } | rate())) / ({ true } | rate())"),
            ("({ }|rate()) - ({ }|rate()) - 1", "(({ true } | rate()) - ({ true } | rate())) - 1"),
            ("({ }|rate()) * (1/2)", "({ true } | rate()) * 0"),
            ("({ }|rate()) * (1.0/2 - -(1))", "({ true } | rate()) * 1.5"),
            ("(((({ }|rate())))) * (-2)", "({ true } | rate()) * -2"),
            ("2 - (({ } && { })|rate() by(name)|topk(3))", "2 - ({ true } && { true } | rate() by (name) | topk(3))"),
            (
                "({ }|rate()) / 2 > 5 | topk(2) with (exemplars=false)",
                "(({ true } | rate()) / 2) > 5 | topk(2) with (exemplars=false)",
            ),
            ("{ } | rate() with (exemplars=1)", "{ true } | rate() with (exemplars=1)"),
            ("{ } | rate() > 0.5 + 1 * 2 | topk(2)", "{ true } | rate() > 2.5 | topk(2)"),
            ("({ } | rate()) * 2 > -(1 - 3) < 9", "(({ true } | rate()) * 2) > 2 < 9"),
            ("({ } | rate())", "{ true } | rate()"),
        ] {
            assert_eq!(printed(text), expected, "{text}");
        }
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        for (text, problem) in [
            (
                "{ } | rate() + { } | rate()",
                "parse error at line 1, col 14: syntax error: unexpected +, expecting with; each metrics query of an \
                 operation stands in parentheses, as in ({ } | rate()) / ({ } | rate())",
            ),
            (
                "({ } | rate()) * 10s",
                "parse error at line 0, col 18: duration cannot be used as a scalar operand in metric arithmetic",
            ),
            (
                "({ } | rate()) * (10s + 1)",
                "parse error at line 0, col 19: duration cannot be used in scalar arithmetic",
            ),
            ("({ } | rate()) * (1 / 0)", "parse error at line 1, col 19: division by zero"),
            ("({ } | rate()) / ({ } | compare({ }))", "`compare()` cannot be used with second stage functions"),
            ("({ } | rate()) * 2 | topk(0)", "limit must be greater than 0"),
            ("{ } | rate() > 1s + 1s", "parse error at line 0, col 16: duration cannot be used in scalar arithmetic"),
            (
                "({ } | rate()) > ({ } | rate())",
                "parse error at line 1, col 18: a metrics query cannot be compared with another",
            ),
            ("({ } | rate()) ^ 2", "parse error at line 1, col 16: syntax error: unexpected ^, expecting with"),
            ("({ } | rate()) +", "parse error at line 1, col 17: syntax error: unexpected $end"),
            ("-({ } | rate())", "parse error at line 1, col 2: a metrics query cannot be negated; write 0 - (...)"),
            ("(({ } | rate()) * 2 | topk(1)) + 1", "parse error at line 1, col 21: syntax error: unexpected |"),
        ] {
            assert_eq!(crate::parse_metrics(text).unwrap_err().to_string(), problem, "{text}");
        }
        let many = vec!["({ } | rate())"; 66].join(" + ");
        let problem = crate::parse_metrics(&many).unwrap_err().to_string();
        assert!(problem.contains("too many operators"), "{problem}");
        let deep = format!("{}({{ }} | rate()){}", "(".repeat(5000), ")".repeat(5000));
        let problem = crate::parse_metrics(&deep).unwrap_err().to_string();
        assert!(problem.contains("nested too deeply"), "{problem}");
    }
}
