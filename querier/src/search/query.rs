//! A search request made ready: the query compiled, and what to show of the spans that match.

use std::sync::Arc;

use storage::source::Projection;

use crate::engine::matcher::Matcher;
use crate::error::Error;
use crate::legacy::TagSearch;
use crate::request::SearchFilter;
use crate::shown::Shown;

/// What a search looks for and shows.
#[derive(Debug)]
pub(crate) struct SearchQuery {
    pub matcher: Arc<Matcher>,
    /// `None` in a search by tags, which shows no spans.
    pub shown: Option<Shown>,
}

impl SearchQuery {
    pub fn of(filter: &SearchFilter) -> Result<Self, Error> {
        match filter {
            SearchFilter::Tags { tags, min_duration, max_duration } => {
                let search = TagSearch::of(tags, *min_duration, *max_duration)?;
                Ok(Self { matcher: Arc::new(Matcher::of_tags(&search)?), shown: None })
            }
            SearchFilter::TraceQl(text) => {
                let query = traceql::parse(text)?;
                Ok(Self { matcher: Arc::new(Matcher::of(&query)?), shown: Some(Shown::of(&query.pipeline)?) })
            }
        }
    }

    /// The columns of what is looked for and of what is shown.
    pub fn projection(&self) -> Projection {
        let mut columns = self.matcher.projection();
        if let Some(shown) = &self.shown {
            columns.merge(&shown.projection());
        }
        columns
    }
}
