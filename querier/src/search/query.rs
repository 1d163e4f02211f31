//! A search request made ready: the filter compiled, and what to show of the spans that match.

use traceql::{Field, FieldExpr};

use super::render::Shown;
use crate::error::Error;
use crate::eval::Filter;
use crate::legacy;
use crate::request::SearchFilter;

/// What a search looks for and shows.
#[derive(Debug)]
pub(crate) struct SearchQuery {
    pub filter: Filter,
    /// `None` in a search by tags, which shows no spans.
    pub shown: Option<Shown>,
}

impl SearchQuery {
    pub fn of(filter: &SearchFilter) -> Result<Self, Error> {
        match filter {
            SearchFilter::Tags { tags, min_duration, max_duration } => {
                let expr = legacy::filter(tags, *min_duration, *max_duration);
                Ok(Self { filter: Filter::compile(&expr)?, shown: None })
            }
            SearchFilter::TraceQl(text) => {
                let query = traceql::parse(text)?;
                if query.never_matches() {
                    return Self::new(&FieldExpr::Literal(traceql::Static::Bool(false)), &[]);
                }
                let simple = query.span_filter().ok_or_else(|| Error::unsupported(&query))?;
                Self::new(simple.filter, &simple.select)
            }
        }
    }

    fn new(expr: &FieldExpr, select: &[&Field]) -> Result<Self, Error> {
        Ok(Self { filter: Filter::compile(expr)?, shown: Some(Shown::of(expr, select)?) })
    }
}
