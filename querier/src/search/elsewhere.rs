//! What of a search other processes look for, and what this one looks for them.
//!
//! A job gives its newest matches with what is shown of them, each as if its block had all of the trace. Whoever asks finds
//! the other parts of those that it keeps, and shows what has any as a whole, as it does with its own.

use std::cmp::Reverse;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use hashbrown::{HashMap, HashSet};
use model::{TimeRange, TraceId};
use storage::source::{Source, TraceAt};
use tokio::sync::OnceCell;

use super::collect::{Hit, Hits, place_of};
use super::query::SearchQuery;
use super::{FIRST_ASKED, Search};
use crate::answer::FoundTrace;
use crate::engine::Engine;
use crate::engine::budget::Budget;
use crate::engine::concurrent::try_all;
use crate::engine::parts::NumberedPart;
use crate::engine::sources::QuerySources;
use crate::engine::spread::{JobSources, Part};
use crate::error::Error;
use crate::jobs::message::{Found, Job, JobAnswer, Place, SearchJob, TagFilter, TagFilters};
use crate::jobs::{ids, ids_of, trace_id, unreadable};
use crate::lock::locked;
use crate::request::{PageToken, SearchFilter};

impl Search<'_> {
    /// Adds the matches of some sources, each looked at where that is best.
    pub(super) async fn find_anywhere(
        &self,
        sources: &[(usize, &Arc<dyn Source>)],
        split: &HashSet<TraceId>,
        hits: &Mutex<Hits>,
    ) -> Result<(), Error> {
        let (left, needless): (Vec<_>, Vec<_>) =
            sources.iter().copied().partition(|(_, source)| self.may_add(source.as_ref(), hits));
        let dealt = self.sources.engine.spread.deal(left, usize::MAX).await;
        let here: Vec<_> = needless.into_iter().chain(dealt.iter().flat_map(|run| run.here.iter().copied())).collect();
        let here = self.find_in_sources(&here, split, hits).boxed();
        let parts = dealt.iter().flat_map(|run| &run.parts);
        let elsewhere = parts.map(|part| self.find_elsewhere(part, split, hits).boxed());
        let work: Vec<_> = std::iter::once(here).chain(elsewhere).collect();
        try_all(work.len(), work).await?;
        Ok(())
    }

    /// Adds the matches of some sources, looked at here.
    async fn find_in_sources(
        &self,
        sources: &[(usize, &Arc<dyn Source>)],
        split: &HashSet<TraceId>,
        hits: &Mutex<Hits>,
    ) -> Result<(), Error> {
        let mut groups = self.row_groups(sources, split, hits).await?;
        while groups.find_next().await? {}
        Ok(())
    }

    async fn find_elsewhere(&self, part: &Part<'_>, split: &HashSet<TraceId>, hits: &Mutex<Hits>) -> Result<(), Error> {
        let by_source = self.split_by_source(split);
        let without = |number: usize, _: &Arc<dyn Source>| ids(by_source.get(&number).into_iter().flatten().copied());
        let job = Job { search: Some(self.question(hits)), ..part.job(without) };
        let read = |answer: &JobAnswer| answer.found.iter().map(|found| hit_of(part, found)).collect();
        let (budget, telemetry) = (&self.sources.budget, &self.sources.engine.telemetry);
        let found: Option<Vec<Hit>> = part.run(&job, budget, telemetry, read).await?;
        let Some(found) = found else { return self.find_in_sources(&part.sources, split, hits).await };
        let mut hits = locked(hits);
        found.into_iter().try_for_each(|hit| hits.add(hit))?;
        part.sources.iter().for_each(|(number, _)| hits.done_with(*number));
        Ok(())
    }

    /// Of traces that are looked at as a whole, those that each source has a part of.
    fn split_by_source<'p>(&'p self, split: &HashSet<TraceId>) -> HashMap<usize, Vec<&'p TraceId>> {
        let mut by_source: HashMap<usize, Vec<&TraceId>> = HashMap::new();
        let parts = self.split_parts.get().map(|parts| &parts.by_trace);
        for (id, parts) in parts.into_iter().flatten().filter(|(id, _)| split.contains(*id)) {
            parts.iter().for_each(|part| by_source.entry(part.source).or_default().push(id));
        }
        by_source
    }

    fn question(&self, hits: &Mutex<Hits>) -> SearchJob {
        let (keep, not_before_nanos) = locked(hits).needed();
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let (query, tags) = match self.filter {
            SearchFilter::TraceQl(text) => (text.clone(), None),
            SearchFilter::Tags { tags, min_duration, max_duration } => {
                let tag = |(key, value): &(String, String)| TagFilter { key: key.clone(), value: value.clone() };
                let filters = TagFilters {
                    tags: tags.iter().map(tag).collect(),
                    min_duration_nanos: min_duration.map(nanos),
                    max_duration_nanos: max_duration.map(nanos),
                };
                (String::new(), Some(filters))
            }
        };
        let TimeRange { start_nanos, end_nanos } = self.sources.range;
        let after = self.after.map(|(Reverse(start_nanos), id)| Place { start_nanos, trace_id: id.0.to_vec() });
        let spans_per_span_set = self.spans_per_span_set as u64;
        SearchJob {
            query,
            tags,
            start_nanos,
            end_nanos,
            keep: keep as u64,
            not_before_nanos,
            spans_per_span_set,
            after,
        }
    }

    /// The entries of matches, each by itself.
    async fn entries(&self, hits: Vec<Hit>, sources: &JobSources) -> Result<Vec<Found>, Error> {
        let found = |(part, entry): (NumberedPart, FoundTrace)| {
            let block = sources.position(&self.sources.all[part.source])?;
            let row = |row: usize| u32::try_from(row).map_err(|_| unreadable());
            Ok(Found { block, group: row(part.at.group)?, trace: row(part.at.trace)?, entry: Some(entry.into()) })
        };
        self.show_whole(hits).await?.into_iter().map(found).collect()
    }
}

fn hit_of(part: &Part<'_>, found: &Found) -> Result<Hit, Error> {
    let (number, _) = part.sources.get(found.block as usize).ok_or_else(unreadable)?;
    let entry = found.entry.clone().ok_or_else(unreadable)?.entry()?;
    let at = TraceAt { group: found.group as usize, trace: found.trace as usize };
    let (start_nanos, trace_id) = (entry.start_nanos, entry.trace_id);
    let time_range = TimeRange::new(start_nanos, start_nanos.saturating_add(entry.duration_nanos));
    let span_count = entry.services.values().map(|service| service.span_count as usize).sum();
    let part = NumberedPart { source: *number, at, time_range, span_count };
    Ok(Hit { start_nanos, trace_id, part, sets: Vec::new(), shown: Some(entry.into()) })
}

fn filter_of(asked: &SearchJob) -> SearchFilter {
    match &asked.tags {
        None => SearchFilter::TraceQl(asked.query.clone()),
        Some(TagFilters { tags, min_duration_nanos, max_duration_nanos }) => SearchFilter::Tags {
            tags: tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect(),
            min_duration: min_duration_nanos.map(Duration::from_nanos),
            max_duration: max_duration_nanos.map(Duration::from_nanos),
        },
    }
}

/// Finds the newest matches in the blocks of a job.
pub(crate) async fn do_job(
    engine: &Engine,
    budget: Arc<Budget>,
    sources: &JobSources,
    job: &Job,
    asked: &SearchJob,
) -> Result<JobAnswer, Error> {
    let number = |number: u64| usize::try_from(number).map_err(|_| unreadable());
    let filter = filter_of(asked);
    let after = asked.after.as_ref().map(|place| {
        let trace_id = trace_id(&place.trace_id)?;
        Ok::<_, Error>(place_of(PageToken { start_nanos: place.start_nanos, trace_id }))
    });
    let range = TimeRange::new(asked.start_nanos, asked.end_nanos);
    let search = Search {
        sources: QuerySources::new(engine, budget.clone(), sources.0.clone(), range),
        query: Arc::new(SearchQuery::of(&filter)?),
        filter: &filter,
        limit: number(asked.keep)?,
        after: after.transpose()?,
        spans_per_span_set: number(asked.spans_per_span_set)?,
        certain: None,
        shown: Mutex::new(budget.hold(0)?),
        split_parts: OnceCell::new(),
        earlier_parts: OnceCell::new(),
    };
    let mut split: HashSet<TraceId> = HashSet::new();
    for block in &job.blocks {
        split.extend(ids_of(&block.without)?);
    }
    let ends = search.sources.in_range().map(|(number, source)| (number, source.time_range().end_nanos));
    let hits = Hits::new(search.limit, ends, budget.hold(0)?).not_before(asked.not_before_nanos);
    let hits = Mutex::new(hits);
    let all: Vec<_> = search.sources.in_range().collect();
    for together in all.chunks(FIRST_ASKED) {
        search.find_in_sources(together, &split, &hits).await?;
    }
    let (hits, _held) = hits.into_inner().unwrap_or_else(PoisonError::into_inner).into_hits();
    let found = search.entries(hits.collect(), sources).await?;
    Ok(JobAnswer { found, ..sources.answer(&budget)? })
}
