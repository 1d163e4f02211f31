//! Metrics functions and what is done with their result.

use super::limits::Counted;
use super::{Parser, comparison};
use crate::ast::{DEFAULT_COMPARE_TOP, Field, Metrics, MetricsFunction, SecondStage};
use crate::error::Error;
use crate::lexer::Token;
use crate::value::Static;

/// Whether a word begins the metrics part of a query.
pub(super) fn is_function(word: &str) -> bool {
    matches!(word, "rate" | "count_over_time" | "quantile_over_time" | "compare") || of_field(word).is_some()
}

/// A function of one field.
fn of_field(word: &str) -> Option<fn(Field) -> MetricsFunction> {
    Some(match word {
        "min_over_time" => MetricsFunction::MinOverTime,
        "max_over_time" => MetricsFunction::MaxOverTime,
        "avg_over_time" => MetricsFunction::AvgOverTime,
        "sum_over_time" => MetricsFunction::SumOverTime,
        "histogram_over_time" => MetricsFunction::HistogramOverTime,
        _ => return None,
    })
}

impl Parser {
    /// `| function(...) [by (...)]` and second stages. The caller saw the bar and the function.
    pub(super) fn metrics(&mut self) -> Result<Metrics, Error> {
        self.expect("|", &[])?;
        let function = self.function()?;
        let mut by = Vec::new();
        if !matches!(function, MetricsFunction::Compare { .. }) && self.take("by") {
            self.expect("(", &[])?;
            by = self.field_list()?;
        }
        Ok(Metrics { function, by, second_stages: self.second_stages()? })
    }

    pub(super) fn second_stages(&mut self) -> Result<Vec<SecondStage>, Error> {
        let mut stages = Vec::new();
        while let Some(stage) = self.second_stage()? {
            self.count(Counted::Stage)?;
            stages.push(stage);
        }
        Ok(stages)
    }

    fn function(&mut self) -> Result<MetricsFunction, Error> {
        let Some(word) = self.symbol() else { return Err(self.unexpected(&[])) };
        self.advance();
        self.expect("(", &[])?;
        let function = match word {
            "rate" => MetricsFunction::Rate,
            "count_over_time" => MetricsFunction::CountOverTime,
            "quantile_over_time" => return self.quantiles(),
            "compare" => return self.compare(),
            _ => match of_field(word) {
                Some(make) => make(self.field()?),
                None => return Err(self.unexpected(&[])),
            },
        };
        self.expect(")", &[])?;
        Ok(function)
    }

    /// `field, number, ...)`
    fn quantiles(&mut self) -> Result<MetricsFunction, Error> {
        let field = self.field()?;
        self.expect(",", &[])?;
        let mut quantiles = Vec::new();
        loop {
            quantiles.push(match self.token() {
                Token::Integer(number) => *number as f64,
                Token::Float(number) => *number,
                _ => return Err(self.unexpected(&["INTEGER", "FLOAT"])),
            });
            self.advance();
            if self.take(")") {
                return Ok(MetricsFunction::QuantileOverTime { field, quantiles });
            }
            self.expect(",", &[")", ","])?;
            self.count(Counted::Listed)?;
        }
    }

    /// `{ selection } [, top [, start, end]])`
    fn compare(&mut self) -> Result<MetricsFunction, Error> {
        let selection = self.filter()?;
        let (mut top, mut window) = (DEFAULT_COMPARE_TOP, None);
        if !self.at(")") {
            self.expect(",", &[")", ","])?;
            top = self.integer()?;
            if !self.at(")") {
                self.expect(",", &[")", ","])?;
                let start = self.integer()?;
                self.expect(",", &[])?;
                window = Some((start, self.integer()?));
            }
        }
        self.expect(")", &[])?;
        Ok(MetricsFunction::Compare { selection, top, window })
    }

    /// `| topk(5)` or `> 5`; `None` when the next token begins neither.
    fn second_stage(&mut self) -> Result<Option<SecondStage>, Error> {
        if self.take("|") {
            let make = match self.symbol() {
                Some("topk") => SecondStage::TopK,
                Some("bottomk") => SecondStage::BottomK,
                _ => return Err(self.unexpected(&["topk", "bottomk"])),
            };
            self.advance();
            self.expect("(", &[])?;
            let limit = self.integer()?;
            self.expect(")", &[])?;
            return Ok(Some(make(limit)));
        }
        let Some(op) = self.symbol().and_then(comparison) else { return Ok(None) };
        self.advance();
        let threshold = self.threshold()?;
        Ok(Some(SecondStage::Compare { op, threshold }))
    }

    /// A number, or numbers computed among themselves.
    fn threshold(&mut self) -> Result<Static, Error> {
        let is_signed = self.at("-");
        let first = self.tokens.get(self.at + usize::from(is_signed)).map(|(token, _)| token);
        if let Some(Token::Integer(_) | Token::Float(_) | Token::Duration(_) | Token::Symbol("(")) = first {
            return self.computed_number();
        }
        if self.take("-") {
            return Err(self.unexpected(&["INTEGER", "FLOAT", "DURATION"]));
        }
        Err(self.unexpected(&["INTEGER", "FLOAT", "DURATION", "-"]))
    }

    fn integer(&mut self) -> Result<i64, Error> {
        let Token::Integer(number) = self.token() else { return Err(self.unexpected(&["INTEGER"])) };
        let number = *number;
        self.advance();
        Ok(number)
    }
}
