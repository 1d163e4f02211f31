//! How matches are found: one filter, or a pipeline. The two are asked alike, but a single filter takes the short way.

use std::sync::Arc;

use arrow::buffer::BooleanBuffer;
use spans::SpanTable;
use storage::source::Projection;
use traceql::{Conditions, FieldExpr, Query, Static};

use crate::engine::scan::Run;
use crate::engine::selection::SelectedSpans;
use crate::error::Error;
use crate::eval::{Cell, DimensionMasks, Filter, Pipeline, PipelineMasks};
use crate::legacy::TagSearch;
use crate::mask;

/// What decides which spans match.
#[derive(Debug)]
pub(crate) enum Matcher {
    Filter(Filter),
    Pipeline(Pipeline),
}

/// What was decided on the small tables of a row group.
#[derive(Debug)]
pub(crate) enum DecidedMasks {
    Filter(DimensionMasks),
    Pipeline(PipelineMasks),
}

/// Spans of a trace that match together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HitSet {
    pub matched: u32,
    /// The first rows of the row group that match.
    pub rows: Vec<usize>,
    /// Results of the pipeline.
    pub attributes: Vec<(Arc<str>, Cell)>,
}

impl Matcher {
    /// Compiles the pipeline of a query.
    ///
    /// # Errors
    /// [`Error::Query`] for what the checker of the language refuses.
    pub fn of(query: &Query) -> Result<Self, Error> {
        if query.never_matches() {
            return Ok(Self::Filter(Filter::compile(&FieldExpr::Literal(Static::Bool(false)))?));
        }
        Ok(match query.span_filter() {
            Some(simple) => Self::Filter(Filter::compile(simple.filter)?),
            None => Self::Pipeline(Pipeline::compile(&query.pipeline)?),
        })
    }

    /// Compiles a search by tags.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn of_tags(search: &TagSearch) -> Result<Self, Error> {
        Ok(match search.single() {
            Some(simple) => Self::Filter(Filter::compile(simple)?),
            None => Self::Pipeline(Pipeline::of_tags(&search.anywhere, &search.of_one_resource)?),
        })
    }

    /// True if no span can match.
    pub fn is_never(&self) -> bool {
        matches!(self, Self::Filter(filter) if filter.is_never())
    }

    /// Whether a trace must be put together before it is evaluated.
    pub fn needs_whole_traces(&self) -> bool {
        match self {
            Self::Filter(filter) => filter.field_use().needs_whole_traces(),
            Self::Pipeline(pipeline) => pipeline.needs_whole_traces(),
        }
    }

    /// True if every span of a trace matches or none does, so that no span needs to be looked at.
    pub fn decides_whole_traces(&self) -> bool {
        matches!(self, Self::Filter(filter) if filter.decides_whole_traces())
    }

    /// What every span satisfies that a filter keeps, for each of its filters.
    pub fn conditions(&self) -> Vec<Conditions> {
        match self {
            Self::Filter(filter) => vec![filter.conditions().clone()],
            Self::Pipeline(pipeline) => pipeline.conditions(),
        }
    }

    /// Whether something may be found where no trace has more than so many spans. `false` is certain.
    pub fn may_find_in_traces_of(&self, most_spans: usize) -> bool {
        match self {
            Self::Filter(_) => true,
            Self::Pipeline(pipeline) => pipeline.may_find_in_traces_of(most_spans),
        }
    }

    /// Where something may be found, if `of_filter` says so for its filters. `None` stands for everywhere.
    pub fn possible(&self, of_filter: &dyn Fn(usize) -> Option<BooleanBuffer>) -> Option<BooleanBuffer> {
        match self {
            Self::Filter(_) => of_filter(0),
            Self::Pipeline(pipeline) => pipeline.possible(of_filter),
        }
    }

    /// The columns of `spans` that [`find`](Self::find) reads.
    pub fn projection(&self) -> Projection {
        match self {
            Self::Filter(filter) => filter.projection(),
            Self::Pipeline(pipeline) => pipeline.projection(),
        }
    }

    /// The columns that [`narrow`](Self::narrow) reads, where it is worth to read them before the others.
    pub fn first_projection(&self) -> Option<Projection> {
        let Self::Pipeline(pipeline) = self else { return None };
        let first = pipeline.filter_projection();
        (pipeline.can_narrow() && first != pipeline.projection()).then_some(first)
    }

    /// Decides on the small tables what can be decided there.
    pub fn on_dimensions(&self, table: &SpanTable) -> Result<DecidedMasks, Error> {
        Ok(match self {
            Self::Filter(filter) => DecidedMasks::Filter(filter.on_dimensions(table)?),
            Self::Pipeline(pipeline) => DecidedMasks::Pipeline(pipeline.on_dimensions(table)?),
        })
    }

    /// The runs that may match, by number.
    pub fn narrow(&self, table: &SpanTable, runs: &[Run], decided: &DecidedMasks) -> Result<Vec<usize>, Error> {
        match (self, decided) {
            (Self::Pipeline(pipeline), DecidedMasks::Pipeline(masks)) => {
                pipeline.on(table, masks).candidates(&rows_of(runs))
            }
            _ => Ok((0..runs.len()).collect()),
        }
    }

    /// The span sets of each run that matches, with up to `most_rows` rows each; runs by number, ascending.
    pub fn find(
        &self,
        table: &SpanTable,
        runs: &[Run],
        decided: &DecidedMasks,
        most_rows: usize,
    ) -> Result<Vec<(usize, Vec<HitSet>)>, Error> {
        match (self, decided) {
            (Self::Filter(filter), DecidedMasks::Filter(masks)) => {
                Ok(of_mask(&filter.select(table, masks)?.spans, runs, most_rows))
            }
            (Self::Pipeline(pipeline), DecidedMasks::Pipeline(masks)) => {
                let mut found: Vec<(usize, Vec<HitSet>)> = Vec::new();
                for set in pipeline.on(table, masks).evaluate(&rows_of(runs))? {
                    let run = &runs[set.run];
                    let rows = set.rows.iter().take(most_rows).map(|&row| run.in_group(row as usize));
                    let (matched, rows) = (set.rows.len() as u32, rows.collect());
                    let hit_set = HitSet { matched, rows, attributes: set.attributes };
                    match found.last_mut().filter(|(last, _)| *last == set.run) {
                        Some((_, sets)) => sets.push(hit_set),
                        None => found.push((set.run, vec![hit_set])),
                    }
                }
                Ok(found)
            }
            _ => unreachable!("what is decided comes from the matcher that asks for it"),
        }
    }

    /// The rows of the row group in all span sets of the runs; a row that is in two sets is there twice.
    pub fn find_rows(&self, table: &SpanTable, runs: &[Run], decided: &DecidedMasks) -> Result<Vec<usize>, Error> {
        match (self, decided) {
            (Self::Filter(filter), DecidedMasks::Filter(masks)) => {
                let selected = filter.select(table, masks)?.spans;
                let of_run = |run: &Run| {
                    let (first_row, mask) = (run.first_row, selected.slice(run.rows.start, run.rows.len()));
                    mask.set_indices().map(|row| first_row + row).collect::<Vec<_>>()
                };
                Ok(runs.iter().flat_map(of_run).collect())
            }
            (Self::Pipeline(pipeline), DecidedMasks::Pipeline(masks)) => {
                let sets = pipeline.on(table, masks).evaluate(&rows_of(runs))?;
                Ok(sets
                    .iter()
                    .flat_map(|set| set.rows.iter().map(|&row| runs[set.run].in_group(row as usize)))
                    .collect())
            }
            _ => unreachable!("what is decided comes from the matcher that asks for it"),
        }
    }

    /// The rows of a table in all span sets of some runs, which are all that count; a row that is in two sets is there twice.
    pub fn select(&self, table: &SpanTable, runs: &[Run], decided: &DecidedMasks) -> Result<SelectedSpans, Error> {
        match (self, decided) {
            (Self::Filter(filter), DecidedMasks::Filter(masks)) => {
                if filter.decides_whole_traces() {
                    let passes = |trace: usize| masks.traces.as_ref().is_none_or(|traces| traces.value(trace));
                    return Ok(of_runs(
                        table.span_count(),
                        runs.iter().filter(|run| !masks.is_never && passes(run.trace)),
                    ));
                }
                Ok(of_runs(table.span_count(), runs.iter()).and(&filter.select(table, masks)?.spans))
            }
            (Self::Pipeline(pipeline), DecidedMasks::Pipeline(masks)) => {
                let sets = pipeline.on(table, masks).evaluate(&rows_of(runs))?;
                let mut rows: Vec<u32> = sets.into_iter().flat_map(|set| set.rows).collect();
                rows.sort_unstable();
                Ok(SelectedSpans::Rows(rows))
            }
            _ => unreachable!("what is decided comes from the matcher that asks for it"),
        }
    }
}

impl DecidedMasks {
    /// Traces that may match; `None` for all.
    pub fn traces(&self) -> Option<&BooleanBuffer> {
        match self {
            Self::Filter(masks) => masks.traces.as_ref(),
            Self::Pipeline(masks) => masks.traces.as_ref(),
        }
    }

    /// True if no span of the source can match.
    pub fn is_never(&self) -> bool {
        matches!(self, Self::Filter(masks) if masks.is_never)
    }
}

/// The rows of some runs.
fn of_runs<'a>(row_count: usize, runs: impl Iterator<Item = &'a Run> + Clone) -> SelectedSpans {
    match runs.clone().map(|run| run.rows.len()).sum::<usize>() == row_count {
        true => SelectedSpans::All,
        false => SelectedSpans::Mask(mask::of_ranges(row_count, runs.map(|run| run.rows.clone()))),
    }
}

/// The sets of the runs in which rows are selected, by their number. The runs ascend, as do the rows.
fn of_mask(selected: &BooleanBuffer, runs: &[Run], most_rows: usize) -> Vec<(usize, Vec<HitSet>)> {
    let mut found = Vec::new();
    let mut rows = selected.set_indices().peekable();
    for (number, run) in runs.iter().enumerate() {
        while rows.next_if(|&row| row < run.rows.start).is_some() {}
        let mut set = HitSet { matched: 0, rows: Vec::new(), attributes: Vec::new() };
        while let Some(row) = rows.next_if(|&row| row < run.rows.end) {
            set.matched += 1;
            if set.rows.len() < most_rows {
                set.rows.push(run.in_group(row));
            }
        }
        if set.matched > 0 {
            found.push((number, vec![set]));
        }
        if rows.peek().is_none() {
            break;
        }
    }
    found
}

fn rows_of(runs: &[Run]) -> Vec<std::ops::Range<usize>> {
    runs.iter().map(|run| run.rows.clone()).collect()
}
