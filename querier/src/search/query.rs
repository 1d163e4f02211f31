//! A search request made ready: the query compiled, and what to show of the spans that match.

use traceql::{FieldExpr, Query, Static};

use super::finder::Finder;
use super::render::Shown;
use crate::error::Error;
use crate::eval::{Filter, Pipeline};
use crate::legacy;
use crate::request::SearchFilter;

/// What a search looks for and shows.
#[derive(Debug)]
pub(crate) struct SearchQuery {
    pub finder: Finder,
    /// `None` in a search by tags, which shows no spans.
    pub shown: Option<Shown>,
}

impl SearchQuery {
    pub fn of(filter: &SearchFilter) -> Result<Self, Error> {
        match filter {
            SearchFilter::Tags { tags, min_duration, max_duration } => {
                let expr = legacy::filter(tags, *min_duration, *max_duration);
                Ok(Self { finder: Finder::Filter(Filter::compile(&expr)?), shown: None })
            }
            SearchFilter::TraceQl(text) => {
                let query = traceql::parse(text)?;
                Ok(Self { finder: finder(&query)?, shown: Some(Shown::of(&query.pipeline)?) })
            }
        }
    }
}

fn finder(query: &Query) -> Result<Finder, Error> {
    if query.never_matches() {
        return Ok(Finder::Filter(Filter::compile(&FieldExpr::Literal(Static::Bool(false)))?));
    }
    Ok(match query.span_filter() {
        Some(simple) => Finder::Filter(Filter::compile(simple.filter)?),
        None => Finder::Pipeline(Pipeline::compile(&query.pipeline)?),
    })
}
