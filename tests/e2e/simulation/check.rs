//! Questions for every span, in each way that spans can be found, and whether an answer fits what the senders know.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use model::{TenantId, TimeRange, TraceId};
use querier::answer::{SearchAnswer, Value};
use querier::request::{MetricsRequest, SearchFilter, SearchRequest};
use querier::{Error, Intervals, Querier};

use super::model::{Bounds, Expected};
use super::plan::Trace;
use super::spans::{NUMBER, trace_id};

/// More than a run has, of traces and of spans in one.
const NO_LIMIT: usize = 10_000;

#[derive(Debug, Clone, Copy)]
pub enum Question {
    ById(Trace),
    /// All spans, by search.
    Search,
    /// One span, by search for its number: the way through the index.
    Attribute(u64),
    Metrics,
}

/// Who asks, about whom.
pub struct Asking<'a> {
    pub querier: &'a Querier,
    pub tenant: TenantId,
    /// Where all spans lie.
    pub range: TimeRange,
}

/// What an answer held.
pub struct Answered {
    /// How often each span was found, by number.
    found: BTreeMap<u64, usize>,
    /// False when the answer says that something is missing.
    pub is_whole: bool,
    /// What contradicts itself in the answer.
    contradiction: Option<&'static str>,
}

impl Question {
    pub fn all(expected: &Expected) -> Vec<Self> {
        let by_id = expected.traces().into_iter().map(Self::ById);
        by_id.chain([Self::Search, Self::Metrics]).chain(expected.newest().map(Self::Attribute)).collect()
    }

    /// What the answer may hold.
    pub fn of(self, expected: &Expected) -> Expected {
        expected.only(|number, of| match self {
            Self::ById(trace) => of == trace,
            Self::Attribute(wanted) => number == wanted,
            Self::Search | Self::Metrics => true,
        })
    }
}

impl Asking<'_> {
    pub async fn ask(&self, question: Question) -> Result<Answered, Error> {
        match question {
            Question::ById(trace) => self.by_id(trace).await,
            Question::Search => self.search("{ }".to_owned()).await,
            Question::Attribute(number) => self.search(format!("{{ span.{NUMBER} = {number} }}")).await,
            Question::Metrics => self.metrics().await,
        }
    }

    async fn by_id(&self, trace: Trace) -> Result<Answered, Error> {
        let answer = self.querier.trace_by_id(&self.tenant, TraceId(trace_id(trace)), None).await?;
        let scopes = answer.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        let ids = scopes.flat_map(|scope| &scope.spans).map(|span| span.span_id.as_slice().try_into());
        let numbers = ids.map(|id| u64::from_be_bytes(id.unwrap_or_default()));
        Ok(Answered { found: count(numbers), is_whole: answer.partial.is_none(), contradiction: None })
    }

    async fn search(&self, query: String) -> Result<Answered, Error> {
        let (filter, range) = (SearchFilter::TraceQl(query), self.range);
        let request = SearchRequest { filter, range, limit: NO_LIMIT, spans_per_span_set: NO_LIMIT, after: None };
        let SearchAnswer { traces, metrics, .. } = self.querier.search(&self.tenant, request, None).await?;
        let ids: BTreeSet<[u8; 16]> = traces.iter().map(|trace| trace.trace_id.0).collect();
        let sets = || traces.iter().flat_map(|trace| &trace.span_sets);
        let contradiction = if ids.len() < traces.len() {
            Some("a trace is listed twice")
        } else if sets().any(|set| set.matched as usize != set.spans.len()) {
            Some("a set has not as many spans as it says")
        } else {
            None
        };
        let found = count(sets().flat_map(|set| &set.spans).map(|span| u64::from_be_bytes(span.span_id.0)));
        Ok(Answered { found, is_whole: metrics.completed_jobs == metrics.total_jobs, contradiction })
    }

    async fn metrics(&self) -> Result<Answered, Error> {
        let query = format!("{{ }} | count_over_time() by (span.{NUMBER})");
        let query = traceql::parse_metrics(&query).expect("the query is TraceQL");
        let intervals = Intervals::whole(self.range);
        let request = MetricsRequest { query, intervals, max_exemplars: 0, max_series: None };
        let answer = self.querier.metrics(&self.tenant, request).await?;
        let (mut found, mut contradiction) = (BTreeMap::new(), None);
        for series in &answer.series {
            let counted: f64 = series.values.iter().filter(|value| !value.is_nan()).sum();
            match series.labels.as_slice() {
                [(_, Value::Int(number))] => _ = found.insert(number.cast_unsigned(), counted as usize),
                _ => contradiction = Some("a series without a number"),
            }
        }
        Ok(Answered { found, is_whole: answer.partial.is_none(), contradiction })
    }
}

fn count(numbers: impl Iterator<Item = u64>) -> BTreeMap<u64, usize> {
    let mut found = BTreeMap::new();
    numbers.for_each(|number| *found.entry(number).or_default() += 1);
    found
}

impl Answered {
    /// The spans that were found, if they are those that must and may be.
    pub fn judge(self, expected: &Expected) -> Result<BTreeSet<u64>> {
        if let Some(contradiction) = self.contradiction {
            anyhow::bail!(contradiction);
        }
        for (number, (trace, Bounds { least, most })) in &expected.spans {
            let found = self.found.get(number).copied().unwrap_or_default();
            let least = if self.is_whole { *least } else { 0 };
            ensure!(
                (least..=*most).contains(&found),
                "span {number} of {trace:?} was found {found} times, not {least} to {most} times"
            );
        }
        let numbers: BTreeSet<u64> = self.found.into_keys().collect();
        let stranger = numbers.iter().find(|number| !expected.spans.contains_key(number));
        ensure!(stranger.is_none(), "span {stranger:?} does not belong in the answer");
        Ok(numbers)
    }
}
