//! What of a metrics query other processes measure, and what this one measures for them.
//!
//! A job gives one partial for all of its blocks where their order tells nothing, and else one for each, which are merged in
//! the order of the sources. So the numbers are the same to the last digit, wherever they were measured.

use std::sync::Arc;

use futures::FutureExt;
use model::TraceId;
use storage::source::Source;

use super::partial_series::PartialSeries;
use super::query::{Aggregator, PartialAggregate};
use super::split::Split;
use super::{MeasuredPart, MetricsRun, PartialCache, SOURCES_AT_ONCE};
use crate::engine::Engine;
use crate::engine::budget::Budget;
use crate::engine::concurrent::{try_all, try_in_order};
use crate::engine::spread::{Dealt, JobSources, Part};
use crate::error::Error;
use crate::intervals::Intervals;
use crate::jobs::message::{self, Job, JobAnswer, Measured, MetricsJob};
use crate::jobs::{ids, ids_of, unreadable};
use crate::metrics::compare::PartialComparison;
use crate::metrics::exemplars::Exemplars;
use crate::series::SeriesSet;

/// Sources whose partials are in memory together: enough that each of several nodes has a few jobs.
pub(super) const DEALT_TOGETHER: usize = 64;
/// While the slowest of some end, the next begin.
pub(super) const RUNS_AT_ONCE: usize = 2;

impl MetricsRun<'_> {
    /// Measures sources that were dealt out together, and gives them in their order.
    pub(super) async fn measure_run(&self, run: &Dealt<'_>, split: &Split) -> Result<Vec<MeasuredPart>, Error> {
        let here = self.measure_here(&run.here, split).boxed();
        let elsewhere = run.parts.iter().map(|part| self.measure_elsewhere(part, split).boxed());
        let work: Vec<_> = std::iter::once(here).chain(elsewhere).collect();
        let mut measured: Vec<MeasuredPart> = try_all(work.len(), work).await?.into_iter().flatten().collect();
        measured.sort_by_key(|part| part.number);
        Ok(measured)
    }

    async fn measure_here(
        &self,
        sources: &[(usize, &Arc<dyn Source>)],
        split: &Split,
    ) -> Result<Vec<MeasuredPart>, Error> {
        let measure = sources.iter().map(|source| self.measure_part(*source, split).boxed()).collect();
        try_all(SOURCES_AT_ONCE, measure).await
    }

    async fn measure_elsewhere(&self, part: &Part<'_>, split: &Split) -> Result<Vec<MeasuredPart>, Error> {
        let (first_end_nanos, step_nanos, intervals) = self.intervals.parts();
        let question = MetricsJob {
            query: self.text.to_string(),
            first_end_nanos,
            step_nanos,
            intervals,
            max_exemplars: self.limits.max_exemplars as u64,
        };
        let without = |_: usize, source: &Arc<dyn Source>| ids(split.of_source(source.block_id()).iter());
        let job = Job { metrics: Some(question), ..part.job(without) };
        let (budget, telemetry) = (&self.sources.budget, &self.sources.engine.telemetry);
        let read = |answer: &JobAnswer| self.measured(part, answer);
        match part.run(&job, budget, telemetry, read).await? {
            Some(measured) => Ok(measured),
            None => self.measure_here(&part.sources, split).await,
        }
    }

    /// What a source of a job has, with its place in the job.
    async fn measure_of_job(
        &self,
        (number, source): (usize, &Arc<dyn Source>),
        sources: &JobSources,
        without: &[Arc<[TraceId]>],
    ) -> Result<(u32, MeasuredPart), Error> {
        let position = sources.position(source)?;
        let without = without.get(position as usize).ok_or_else(unreadable)?.clone();
        let (partial, first_interval) = self.measure_source(source, without).await?;
        let (partial, held) = self.hold(partial)?;
        Ok((position, MeasuredPart { number, partial, first_interval, _held: held }))
    }

    /// Leaves of the exemplars of several parts those that are left when the parts are merged: the others are not sent, of which
    /// each part has as many as all parts have together.
    fn leave_best_exemplars(&self, parts: &mut [(u32, MeasuredPart)]) -> Result<(), Error> {
        let mut all = self.query.aggregator.nothing(&self.intervals, &self.limits);
        let mut numbers = Vec::with_capacity(parts.len());
        for (_, part) in &*parts {
            if let (PartialAggregate::Series(all), PartialAggregate::Series(series)) = (&mut all, &part.partial) {
                numbers.push(all.merge(series.clone(), part.first_interval)?);
            }
        }
        let (all, _held) = self.hold(all)?;
        for ((_, part), numbers) in parts.iter_mut().zip(&numbers) {
            if let (PartialAggregate::Series(all), PartialAggregate::Series(series)) = (&all, &mut part.partial) {
                series.exemplars.leave_only_those_of(&all.exemplars, numbers, part.first_interval);
            }
        }
        Ok(())
    }

    fn measured(&self, part: &Part<'_>, answer: &JobAnswer) -> Result<Vec<MeasuredPart>, Error> {
        let measured = |measured: &Measured| {
            let (number, _) = part.sources.get(measured.block as usize).ok_or_else(unreadable)?;
            let first_interval = usize::try_from(measured.first_interval).map_err(|_| unreadable())?;
            let (partial, held) = self.hold(self.decode(measured, first_interval)?)?;
            Ok(MeasuredPart { number: *number, partial, first_interval, _held: held })
        };
        answer.measured.iter().map(measured).collect()
    }

    fn decode(&self, measured: &Measured, first_interval: usize) -> Result<PartialAggregate, Error> {
        let most = self.intervals.count().checked_sub(first_interval).ok_or_else(unreadable)?;
        match (&self.query.aggregator, measured.series.clone(), measured.comparison.clone()) {
            (Aggregator::Series(aggregator), Some(mut series), None) => {
                let exemplars = std::mem::take(&mut series.exemplars);
                let set = SeriesSet::of_message(series, aggregator.fold(), most, self.limits.max_samples)?;
                let exemplars = Exemplars::of_message(exemplars, self.limits.max_exemplars, set.len(), most)?;
                Ok(PartialAggregate::Series(PartialSeries { set, exemplars }))
            }
            (Aggregator::Compare(_), None, Some(comparison)) if first_interval == 0 => {
                Ok(PartialAggregate::Compare(PartialComparison::of_message(comparison, &self.intervals, &self.limits)?))
            }
            _ => Err(unreadable()),
        }
    }
}

/// Measures the blocks of a job.
pub(crate) async fn do_job(
    engine: &Engine,
    partials: &PartialCache,
    budget: Arc<Budget>,
    sources: &JobSources,
    job: &Job,
    asked: &MetricsJob,
) -> Result<JobAnswer, Error> {
    let MetricsJob { first_end_nanos, step_nanos, intervals, .. } = *asked;
    let intervals = Intervals::of_parts(first_end_nanos, step_nanos, intervals).ok_or_else(unreadable)?;
    let max_exemplars = usize::try_from(asked.max_exemplars).map_err(|_| unreadable())?;
    let query = traceql::parse(&asked.query)?;
    let all = sources.0.clone();
    let run = MetricsRun::new(engine, partials, budget.clone(), all, &query, (intervals, max_exemplars))?;
    let mut without: Vec<Arc<[TraceId]>> = Vec::new();
    for block in &job.blocks {
        let mut ids: Vec<TraceId> = ids_of(&block.without)?.into_iter().collect();
        ids.sort_unstable();
        without.push(ids.into());
    }
    let measure = run.sources.in_range().map(|source| run.measure_of_job(source, sources, &without).boxed());
    let work = measure.collect();
    let mut measured = Vec::new();
    if run.query.aggregator.is_order_free() {
        let mut all = run.query.aggregator.nothing(&intervals, &run.limits);
        try_in_order(SOURCES_AT_ONCE, work, |(_, part)| run.merge(part, &mut all)).await?;
        measured.push(message_of(0, all, 0));
    } else {
        let mut each = try_all(SOURCES_AT_ONCE, work).await?;
        run.leave_best_exemplars(&mut each)?;
        let each = each.into_iter().map(|(block, part)| message_of(block, part.partial, part.first_interval));
        measured.extend(each);
    }
    Ok(JobAnswer { measured, ..sources.answer(&budget)? })
}

fn message_of(block: u32, partial: PartialAggregate, first_interval: usize) -> Measured {
    let (series, comparison) = match partial {
        PartialAggregate::Series(PartialSeries { set, exemplars }) => {
            let series = message::PartialSeries { exemplars: exemplars.into_message(), ..set.into_message() };
            (Some(series), None)
        }
        PartialAggregate::Compare(comparison) => (None, Some(comparison.into_message())),
    };
    Measured { block, first_interval: first_interval as u64, series, comparison }
}
