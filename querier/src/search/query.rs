//! A search request made ready: the query compiled, and what to show of the spans that match.

use std::sync::Arc;

use storage::source::Projection;

use super::render::Shown;
use crate::error::Error;
use crate::finder::Finder;
use crate::legacy::TagSearch;
use crate::request::SearchFilter;

/// What a search looks for and shows.
#[derive(Debug)]
pub(crate) struct SearchQuery {
    pub finder: Arc<Finder>,
    /// `None` in a search by tags, which shows no spans.
    pub shown: Option<Shown>,
}

impl SearchQuery {
    pub fn of(filter: &SearchFilter) -> Result<Self, Error> {
        match filter {
            SearchFilter::Tags { tags, min_duration, max_duration } => {
                let search = TagSearch::of(tags, *min_duration, *max_duration)?;
                Ok(Self { finder: Arc::new(Finder::of_tags(&search)?), shown: None })
            }
            SearchFilter::TraceQl(text) => {
                let query = traceql::parse(text)?;
                Ok(Self { finder: Arc::new(Finder::of(&query)?), shown: Some(Shown::of(&query.pipeline)?) })
            }
        }
    }

    /// The columns of what is looked for and of what is shown.
    pub fn projection(&self) -> Projection {
        let mut columns = self.finder.projection();
        if let Some(shown) = &self.shown {
            columns.merge(&shown.projection());
        }
        columns
    }
}
