//! Aggregates, and expressions over them.

use super::limits::Counted;
use super::{Parser, arithmetic, right_level};
use crate::ast::{Aggregate, ScalarExpr};
use crate::error::Error;

impl Parser {
    /// Whether the token begins an aggregate or a number.
    pub(super) fn at_scalar(&self) -> bool {
        use crate::lexer::Token::{Duration, Float, Integer, Symbol};
        matches!(
            self.token(),
            Integer(_) | Float(_) | Duration(_) | Symbol("-" | "count" | "min" | "max" | "avg" | "sum")
        )
    }

    /// A whole expression.
    pub(super) fn scalar_expr(&mut self) -> Result<ScalarExpr, Error> {
        let first = self.scalar_operand()?;
        self.scalar_after(first, 0)
    }

    /// The rest of an expression that begins with `left`, of operators that bind at least as strongly as `weakest`.
    pub(super) fn scalar_after(&mut self, mut left: ScalarExpr, weakest: u8) -> Result<ScalarExpr, Error> {
        while let Some((op, level)) = self.symbol().and_then(arithmetic).filter(|(_, level)| *level >= weakest) {
            self.count(Counted::Operator)?;
            self.advance();
            let operand = self.scalar_operand()?;
            let right = self.scalar_after(operand, right_level(level))?;
            left = ScalarExpr::Binary { op, left: Box::new(left), right: Box::new(right) };
        }
        Ok(left)
    }

    fn scalar_operand(&mut self) -> Result<ScalarExpr, Error> {
        if let Some(number) = self.signed_number() {
            return Ok(ScalarExpr::Literal(number));
        }
        match self.symbol() {
            Some("(") => self.scalar_group(),
            Some("-") => {
                self.advance();
                Err(self.unexpected(&["INTEGER", "FLOAT", "DURATION"]))
            }
            _ => self.aggregate().map(ScalarExpr::Aggregate),
        }
    }

    fn aggregate(&mut self) -> Result<Aggregate, Error> {
        let make = match self.symbol() {
            Some("count") => {
                self.advance();
                self.expect("(", &[])?;
                self.expect(")", &[])?;
                return Ok(Aggregate::Count);
            }
            Some("min") => Aggregate::Min,
            Some("max") => Aggregate::Max,
            Some("avg") => Aggregate::Avg,
            Some("sum") => Aggregate::Sum,
            _ => return Err(self.unexpected(&[])),
        };
        self.advance();
        self.expect("(", &[])?;
        let argument = self.field_expr()?;
        self.expect_unlisted(")")?;
        Ok(make(argument))
    }
}
