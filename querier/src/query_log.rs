//! A question from when it is asked to when it ends: counted, and told in one line of the log.
//!
//! The line is written however the question ends: answered, failed, or given up because nobody waits any more.

use std::sync::Arc;
use std::time::Instant;

use model::{Tenants, TimeRange, TraceId};
use tracing::{Span, info, info_span};

use crate::answer::Answer;
use crate::engine::budget::Budget;
use crate::error::Error;
use crate::objectives::{Ending, Objective};
use crate::request::{
    MetricsRequest, SearchFilter, SearchRequest, SpanSubset, SummaryRequest, Tag, TagNamesRequest, TagScope,
    TagValuesRequest,
};
use crate::telemetry::{Operation, Telemetry};

/// Bytes of a query's text in the log. Queries that people write are shorter; the longest that are read would fill it.
const MAX_LOGGED_BYTES: usize = 1024;

/// What is asked, in words for the log.
#[derive(Debug)]
pub(crate) struct QueryLog {
    operation: Operation,
    tenants: Tenants,
    text: String,
    range: TimeRange,
}

impl QueryLog {
    pub fn trace(tenants: &Tenants, id: TraceId, range: Option<TimeRange>, subset: Option<&SpanSubset>) -> Self {
        let text = match subset {
            Some(subset) => format!("{id} where {{ {} }}", subset.filter),
            None => id.to_string(),
        };
        Self::new(Operation::Traces, tenants, text, range.unwrap_or(TimeRange::ALL))
    }

    pub fn search(tenants: &Tenants, request: &SearchRequest) -> Self {
        let text = match &request.filter {
            SearchFilter::TraceQl(text) => text.clone(),
            SearchFilter::Tags { tags, min_duration, max_duration } => {
                let mut words: Vec<String> = tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
                words.extend(min_duration.map(|least| format!("minDuration={least:?}")));
                words.extend(max_duration.map(|most| format!("maxDuration={most:?}")));
                words.join(" ")
            }
        };
        Self::new(Operation::Search, tenants, text, request.range)
    }

    pub fn metrics(tenants: &Tenants, request: &MetricsRequest) -> Self {
        Self::new(Operation::Metrics, tenants, request.query.to_string(), request.intervals.time_range())
    }

    pub fn summary(tenants: &Tenants, request: &SummaryRequest) -> Self {
        Self::new(Operation::ServiceGraph, tenants, request.query.clone(), request.range)
    }

    pub fn tag_names(tenants: &Tenants, request: &TagNamesRequest) -> Self {
        let scope = match request.scope {
            TagScope::All => "all",
            TagScope::Intrinsic => "intrinsic",
            TagScope::One(scope) => scope.name(),
        };
        Self::metadata(tenants, format!("names of scope {scope}"), request.query.as_deref(), request.range)
    }

    pub fn tag_values(tenants: &Tenants, request: &TagValuesRequest) -> Self {
        let text = match &request.tag {
            Tag::Field(field) => format!("values of {field}"),
            Tag::Bare(name) => format!("values of {name}"),
        };
        Self::metadata(tenants, text, request.query.as_deref(), request.range)
    }

    fn metadata(tenants: &Tenants, text: String, query: Option<&str>, range: TimeRange) -> Self {
        let text = query.map_or_else(|| text.clone(), |query| format!("{text} where {query}"));
        Self::new(Operation::Metadata, tenants, text, range)
    }

    /// Of the question in mosso's own traces.
    pub fn span(&self) -> Span {
        info_span!("query", otel.name = self.operation.name(), tenant = %self.tenants, query = self.text.as_str())
    }

    pub fn operation(&self) -> Operation {
        self.operation
    }

    pub fn tenants(&self) -> &Tenants {
        &self.tenants
    }

    fn new(operation: Operation, tenants: &Tenants, mut text: String, range: TimeRange) -> Self {
        cut(&mut text);
        Self { operation, tenants: tenants.clone(), text, range }
    }
}

/// Cuts a text to what the log may hold, between two characters.
fn cut(text: &mut String) {
    if text.len() > MAX_LOGGED_BYTES {
        text.truncate(text.floor_char_boundary(MAX_LOGGED_BYTES));
        text.push('…');
    }
}

/// A question that is being answered. Dropping it ends it, as canceled unless [`QueryGuard::ended`] was called.
pub(crate) struct QueryGuard {
    question: QueryLog,
    budget: Arc<Budget>,
    objective: Objective,
    telemetry: Telemetry,
    started: Instant,
    ending: Ending,
    outcome: &'static str,
    results: usize,
    error: Option<String>,
}

impl QueryGuard {
    pub fn start(question: QueryLog, budget: Arc<Budget>, objective: Objective, telemetry: Telemetry) -> Self {
        Self {
            question,
            budget,
            objective,
            telemetry,
            started: Instant::now(),
            ending: Ending::Canceled,
            outcome: "canceled",
            results: 0,
            error: None,
        }
    }

    /// Notes how it ended.
    pub fn ended(mut self, answer: &Result<impl Answer, Error>) {
        self.ending = Ending::of(answer);
        match answer {
            Ok(answer) => (self.outcome, self.results) = ("completed", answer.results()),
            Err(error) => {
                let mut text = error.to_string();
                cut(&mut text);
                (self.outcome, self.error) = (error.kind().name(), Some(text));
            }
        }
    }
}

impl Drop for QueryGuard {
    fn drop(&mut self) {
        let spent = self.budget.spent();
        let QueryLog { operation, tenants, text, range } = &self.question;
        let took = self.started.elapsed();
        let is_within = self.objective.is_met(self.ending, took, spent.inspected_bytes);
        self.telemetry.count(*operation, tenants, self.outcome, is_within, &spent);
        info!(
            operation = operation.name(),
            tenant = %tenants,
            query = text.as_str(),
            start_nanos = range.start_nanos,
            end_nanos = range.end_nanos,
            bytes = spent.inspected_bytes,
            blocks = spent.total_blocks,
            spans = spent.inspected_spans,
            traces = spent.inspected_traces,
            results = self.results,
            milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            outcome = self.outcome,
            error = self.error.as_deref(),
            "query ended"
        );
    }
}

#[cfg(test)]
mod tests;
