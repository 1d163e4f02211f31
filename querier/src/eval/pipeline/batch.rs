//! A pipeline at work on a batch of spans.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::UInt32Type;
use spans::schema::column;
use spans::{NestedSet, SpanTable};
use traceql::{SpansetOp, Static};

use super::super::aggregate::aggregate;
use super::super::column::{Cell, Column};
use super::super::evaluate::{DimensionMasks, Evaluation};
use super::super::fields::nested_sets_of;
use super::super::group::Groups;
use super::super::structural;
use super::{Operand, Pipeline, PipelineMasks, Stage, possible_stages};
use crate::error::Error;
use crate::{cancellation, mask};

/// Spans of one trace, with what the stages found out about them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SpanRows {
    /// Number of the run.
    pub run: usize,
    /// Rows of the batch, ascending; at least one.
    pub rows: Vec<u32>,
    /// Values of `by()` and aggregates under their texts.
    pub attributes: Vec<(Arc<str>, Cell)>,
}

/// A pipeline with the spans that it is evaluated on.
pub(crate) struct Batch<'a> {
    pipeline: &'a Pipeline,
    table: &'a SpanTable,
    masks: &'a PipelineMasks,
    /// Of the filters that cannot fail.
    of_filters: Vec<OnceCell<BooleanBuffer>>,
    numbers: OnceCell<Vec<NestedSet>>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(pipeline: &'a Pipeline, table: &'a SpanTable, masks: &'a PipelineMasks) -> Self {
        let of_filters = pipeline.filters.iter().map(|_| OnceCell::new()).collect();
        Self { pipeline, table, masks, of_filters, numbers: OnceCell::new() }
    }

    /// The runs that may match, by number. Needs the columns of [`Pipeline::filter_projection`].
    pub fn candidates(&self, runs: &[Range<usize>]) -> Result<Vec<usize>, Error> {
        let filters = self.pipeline.filters.iter().enumerate();
        let mut of_filters = Vec::new();
        for (number, filter) in filters {
            let is_known = !filter.is_always() && !filter.is_fallible();
            of_filters.push(if is_known {
                let mask = self.mask(number)?;
                let finds = |run: usize| mask.slice(runs[run].start, runs[run].len()).set_indices().next().is_some();
                Some(BooleanBuffer::collect_bool(runs.len(), finds))
            } else {
                None
            });
        }
        let possible = possible_stages(&self.pipeline.stages, &|number| of_filters[number].clone());
        Ok(match possible {
            Some(possible) => possible.set_indices().collect(),
            None => (0..runs.len()).collect(),
        })
    }

    /// The span sets that are left at the end, in the order of their runs. A run is all rows of a trace.
    ///
    /// # Errors
    /// [`Error::Query`] for a division of ints by zero, [`Error::SeveralSpanSets`] for groups under a structural operator.
    pub fn evaluate(&self, runs: &[Range<usize>]) -> Result<Vec<SpanRows>, Error> {
        let whole = |run: usize| {
            let rows = runs[run].clone().map(|row| row as u32).collect();
            SpanRows { run, rows, attributes: Vec::new() }
        };
        self.stages(&self.pipeline.stages, self.candidates(runs)?.into_iter().map(whole).collect())
    }

    fn stages(&self, stages: &[Stage], mut sets: Vec<SpanRows>) -> Result<Vec<SpanRows>, Error> {
        sets.retain(|set| !set.rows.is_empty());
        for stage in stages {
            if sets.is_empty() {
                break;
            }
            sets = match stage {
                Stage::Spans(operand) => self.spans(operand, sets)?,
                Stage::By { key, value, if_missing } => self.by(key, *value, if_missing.as_ref(), sets)?,
                Stage::ByResource => self.by_resource(sets)?,
                Stage::Coalesce => coalesce(sets),
                Stage::Aggregate { key, aggregation, value, op, literal } => {
                    let values = value.map(|value| self.values(value, &sets)).transpose()?;
                    let mut kept = Vec::new();
                    for mut set in sets {
                        cancellation::check()?;
                        let Some(value) = aggregate(*aggregation, values.as_deref(), &set.rows) else { continue };
                        if value.compare(*op, literal) {
                            set.put(key, Cell::One(value));
                            kept.push(set);
                        }
                    }
                    kept
                }
            };
        }
        Ok(sets)
    }

    /// What an operand keeps of each span set. Each keeps its attributes.
    fn spans(&self, operand: &Operand, sets: Vec<SpanRows>) -> Result<Vec<SpanRows>, Error> {
        let found = self.operand(operand, &sets)?;
        let mut kept = Vec::new();
        for (set, found) in sets.into_iter().zip(found) {
            for found in found {
                let mut attributes = set.attributes.clone();
                attributes.extend(found.attributes);
                kept.push(SpanRows { run: set.run, rows: found.rows, attributes });
            }
        }
        Ok(kept)
    }

    /// For each span set what an operand finds in it: more than one span set only for a pipeline that makes groups.
    fn operand(&self, operand: &Operand, sets: &[SpanRows]) -> Result<Vec<Vec<SpanRows>>, Error> {
        match operand {
            Operand::Filter(number) => {
                let mask = self.filter(*number, sets)?;
                let kept = |set: &SpanRows| set.rows.iter().copied().filter(|&row| mask.value(row as usize)).collect();
                Ok(sets.iter().enumerate().map(|(number, set)| one(number, kept(set))).collect())
            }
            Operand::Pipeline(stages) => {
                let inputs = sets.iter().enumerate().flat_map(|(number, set)| one(number, set.rows.clone()));
                let mut found: Vec<Vec<SpanRows>> = vec![Vec::new(); sets.len()];
                for set in self.stages(stages, inputs.collect())? {
                    found[set.run].push(set);
                }
                Ok(found)
            }
            Operand::Op { op, left, right } => {
                let (left, right) = (self.operand(left, sets)?, self.operand(right, sets)?);
                let sides = left.iter().zip(&right).enumerate();
                sides.map(|(number, (left, right))| Ok(one(number, self.combine(*op, left, right)?))).collect()
            }
        }
    }

    fn combine(&self, op: SpansetOp, left: &[SpanRows], right: &[SpanRows]) -> Result<Vec<u32>, Error> {
        cancellation::check()?;
        match op {
            SpansetOp::And if left.is_empty() || right.is_empty() => Ok(Vec::new()),
            SpansetOp::And | SpansetOp::Or => {
                Ok(ascending(left.iter().chain(right).flat_map(|set| &set.rows).copied().collect()))
            }
            SpansetOp::Structural(relation, form) => match (left, right) {
                (_, []) => Ok(Vec::new()),
                ([], [right]) => Ok(structural::keep(relation, form, &[], &right.rows, self.numbers()?)),
                ([left], [right]) => Ok(structural::keep(relation, form, &left.rows, &right.rows, self.numbers()?)),
                _ => Err(Error::SeveralSpanSets),
            },
        }
    }

    fn by(
        &self,
        key: &Arc<str>,
        value: usize,
        if_missing: Option<&Static>,
        sets: Vec<SpanRows>,
    ) -> Result<Vec<SpanRows>, Error> {
        let mut values = self.values(value, &sets)?;
        if let Some(value) = if_missing {
            values = Rc::new(values.as_ref().clone().or_else(&Column::constant(values.rows, value))?);
        }
        let groups = Groups::of(&values, &self.rows_of(&sets));
        let mut split = Vec::new();
        for set in sets {
            cancellation::check()?;
            for (number, rows) in groups.split(set.rows) {
                let mut group = SpanRows { run: set.run, rows, attributes: set.attributes.clone() };
                group.put(key, groups.values[number as usize].clone());
                split.push(group);
            }
        }
        Ok(split)
    }

    fn by_resource(&self, sets: Vec<SpanRows>) -> Result<Vec<SpanRows>, Error> {
        let damaged = || Error::damaged(column::RESOURCE);
        let resources = spans::column(&self.table.spans, column::RESOURCE)?;
        let resources = resources.as_primitive_opt::<UInt32Type>().ok_or_else(damaged)?.values();
        let mut split = Vec::new();
        for SpanRows { run, rows, attributes } in sets {
            let mut of_resources: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
            rows.into_iter().for_each(|row| of_resources.entry(resources[row as usize]).or_default().push(row));
            let groups = of_resources.into_values();
            split.extend(groups.map(|rows| SpanRows { run, rows, attributes: attributes.clone() }));
        }
        Ok(split)
    }

    /// The spans that a filter keeps, at least among those of `sets`.
    fn filter(&self, number: usize, sets: &[SpanRows]) -> Result<BooleanBuffer, Error> {
        let filter = &self.pipeline.filters[number];
        if !filter.is_fallible() {
            return Ok(self.mask(number)?.clone());
        }
        let evaluation = Evaluation::new(self.table, &self.masks.of_filters[number])?;
        evaluation.select_among(filter, &self.rows_of(sets))
    }

    /// The spans that a filter keeps of all.
    fn mask(&self, number: usize) -> Result<&BooleanBuffer, Error> {
        get_or_try(&self.of_filters[number], || {
            let evaluation = Evaluation::new(self.table, &self.masks.of_filters[number])?;
            Ok(evaluation.select(&self.pipeline.filters[number])?.spans)
        })
    }

    fn values(&self, value: usize, sets: &[SpanRows]) -> Result<Rc<Column>, Error> {
        let nothing = DimensionMasks::NONE;
        let evaluation = Evaluation::new(self.table, &nothing)?;
        evaluation.values(&self.pipeline.values[value], &self.rows_of(sets))
    }

    fn numbers(&self) -> Result<&[NestedSet], Error> {
        Ok(get_or_try(&self.numbers, || nested_sets_of(&self.table.spans))?)
    }

    fn rows_of(&self, sets: &[SpanRows]) -> BooleanBuffer {
        mask::of_rows(self.table.span_count(), sets.iter().flat_map(|set| &set.rows).map(|&row| row as usize))
    }
}

impl SpanRows {
    /// A later value under the same text replaces the earlier one.
    fn put(&mut self, key: &Arc<str>, value: Cell) {
        match self.attributes.iter_mut().find(|(known, _)| known == key) {
            Some((_, known)) => *known = value,
            None => self.attributes.push((key.clone(), value)),
        }
    }
}

/// The span set with these rows, if there are any.
fn one(run: usize, rows: Vec<u32>) -> Vec<SpanRows> {
    if rows.is_empty() { Vec::new() } else { vec![SpanRows { run, rows, attributes: Vec::new() }] }
}

/// One span set for each run, without attributes. Those of a run stand together.
fn coalesce(sets: Vec<SpanRows>) -> Vec<SpanRows> {
    let mut merged: Vec<SpanRows> = Vec::new();
    for set in sets {
        match merged.last_mut().filter(|last| last.run == set.run) {
            Some(last) => last.rows.extend(set.rows),
            None => merged.push(SpanRows { attributes: Vec::new(), ..set }),
        }
    }
    merged.into_iter().map(|set| SpanRows { rows: ascending(set.rows), ..set }).collect()
}

/// Each row once. Nearly free for rows that are in order already.
fn ascending(mut rows: Vec<u32>) -> Vec<u32> {
    rows.sort();
    rows.dedup();
    rows
}

fn get_or_try<T>(cell: &OnceCell<T>, make: impl FnOnce() -> Result<T, Error>) -> Result<&T, Error> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = make()?;
    Ok(cell.get_or_init(|| value))
}
