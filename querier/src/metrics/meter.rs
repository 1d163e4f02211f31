//! The functions that make one number of the spans of an interval: `rate()`, `max_over_time(x) by (y)`, ...
//!
//! ```text
//! rows ─▶ interval of each ─▶ value or bucket of each ─▶ series of each ─▶ [series][interval]
//! ```
//!
//! All of it works on columns; a series is a number until the answer is made.

use arrow::array::Array;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::UInt32Type;
use hashbrown::HashMap;
use model::{Intrinsic, Scope, TraceId};
use spans::schema::column;
use spans::{SpanTable, Traces};
use storage::source::Projection;
use traceql::{Field, FieldExpr, Static};

use super::exemplars::{Candidate, Exemplars, Lowest, draw};
use super::finish;
use super::intervals::Intervals;
use super::measured::{Measured, TIME_COLUMNS, primitive};
use super::quantile::bucket;
use super::query::Limits;
use crate::answer::Series;
use crate::error::Error;
use crate::eval::column::Part;
use crate::eval::{Cell, Column, DimensionMasks, Evaluation, FieldUse, Filter, Groups, Key};
use crate::series::{Fold, SeriesKey, SeriesSet};

/// One of the functions, compiled.
#[derive(Debug)]
pub(crate) struct SeriesMeter {
    fold: Fold,
    value: Option<MeteredField>,
    by: Vec<MeteredField>,
    finish: Finish,
    field_use: FieldUse,
}

/// How numbers become the series of the answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Finish {
    /// Divided by the seconds of an interval.
    Rate,
    /// As they are; ungrouped series have the function's name as their label.
    Named(&'static str),
    /// Counts by bucket.
    Histogram,
    /// From counts by bucket.
    Quantiles(Vec<f64>),
}

/// A field with its text.
#[derive(Debug)]
pub(crate) struct MeteredField {
    pub label: String,
    field: Field,
    expr: Filter,
}

/// Numbers of series, and spans that stand for others.
#[derive(Debug, Clone)]
pub(crate) struct SeriesTally {
    pub set: SeriesSet,
    pub exemplars: Exemplars,
}

impl SeriesMeter {
    pub fn compile(fold: Fold, value: Option<&Field>, by: &[Field], finish: Finish) -> Result<Self, Error> {
        let field_use = FieldUse::of(by.iter().chain(value));
        let value = value.map(MeteredField::compile).transpose()?;
        let by = by.iter().map(MeteredField::compile).collect::<Result<_, Error>>()?;
        Ok(Self { fold, value, by, finish, field_use })
    }

    pub fn field_use(&self) -> &FieldUse {
        &self.field_use
    }

    pub fn projection(&self) -> Projection {
        let mut projection = self.field_use.projection();
        projection.columns.extend(TIME_COLUMNS);
        projection
    }

    pub fn nothing(&self, intervals: &Intervals, limits: &Limits) -> SeriesTally {
        SeriesTally {
            set: SeriesSet::new(self.fold, intervals.count(), limits.max_samples),
            exemplars: Exemplars::new(limits.max_exemplars),
        }
    }

    pub fn measure(
        &self,
        table: &SpanTable,
        rows: &[u32],
        intervals: &Intervals,
        limits: &Limits,
    ) -> Result<SeriesTally, Error> {
        let mut tally = self.nothing(intervals, limits);
        let mut spans = Measured::of(table, rows, intervals)?;
        let nothing = DimensionMasks::NONE;
        let evaluation = Evaluation::new(table, &nothing)?;
        let column_of =
            |field: &MeteredField, spans: &Measured| evaluation.values(&field.expr, &spans.mask(table.span_count()));
        let values = self.value.as_ref().map(|value| column_of(value, &spans)).transpose()?;
        let values = values.map(|column| self.values_of(&column, &mut spans));
        if spans.rows.is_empty() {
            return Ok(tally);
        }
        let mask = spans.mask(table.span_count());
        let groups = self.by.iter().map(|field| Ok(field.groups(&*column_of(field, &spans)?, &mask)));
        let groups = groups.collect::<Result<Vec<Groups>, Error>>()?;
        let buckets = values.as_ref().and_then(|values| values.buckets.as_deref());
        let series = number_series(&mut tally.set, &spans.rows, &groups, buckets)?;
        let numbers = values.as_ref().map_or(&[][..], |values| &values.numbers);
        tally.set.add(&series, &spans.intervals, if self.fold == Fold::Count { &[] } else { numbers });
        if limits.max_exemplars > 0 {
            add_exemplars(&mut tally, table, &spans, &series, values.as_ref())?;
        }
        Ok(tally)
    }

    /// The values of the spans; spans without one are taken out.
    fn values_of(&self, column: &Column, spans: &mut Measured) -> Values {
        let in_seconds = matches!(&self.value, Some(value) if value.field == Field::Intrinsic(Intrinsic::Duration));
        let numbers = numbers(column, in_seconds || self.is_in_buckets());
        if !self.is_in_buckets() {
            spans.retain(|row| !numbers[row as usize].is_nan());
            return Values { numbers: at_rows(&numbers, &spans.rows), buckets: None, column: column.clone() };
        }
        let buckets = buckets(column);
        spans.retain(|row| buckets[row as usize] != NO_BUCKET);
        Values {
            numbers: at_rows(&numbers, &spans.rows),
            buckets: Some(at_rows(&buckets, &spans.rows)),
            column: column.clone(),
        }
    }

    fn is_in_buckets(&self) -> bool {
        matches!(self.finish, Finish::Histogram | Finish::Quantiles(_))
    }

    /// Whether buckets end at durations.
    pub fn is_of_durations(&self) -> bool {
        use Intrinsic::{Duration, EventTimeSinceStart, TraceDuration};
        let of = self.value.as_ref().map(|value| &value.field);
        matches!(of, Some(Field::Intrinsic(Duration | TraceDuration | EventTimeSinceStart)))
    }

    pub fn finish(&self, tally: SeriesTally, intervals: &Intervals) -> Vec<Series> {
        let value_label = self.value.as_ref().map(|value| value.label.as_str());
        let by: Vec<&str> = self.by.iter().map(|field| field.label.as_str()).collect();
        let bucket_unit = if self.is_of_durations() { 1e9 } else { 1.0 };
        let is_count = self.fold == Fold::Count && !self.is_in_buckets();
        finish::Labels { by: &by, value: value_label, bucket_unit }.series(tally, &self.finish, is_count, intervals)
    }
}

impl MeteredField {
    fn compile(field: &Field) -> Result<Self, Error> {
        let expr = Filter::compile(&FieldExpr::Field(field.clone()))?;
        Ok(Self { label: field.to_string(), field: field.clone(), expr })
    }

    /// A resource without a service name has the empty one: the language knows no nil there.
    fn groups(&self, column: &Column, rows: &BooleanBuffer) -> Groups {
        let mut groups = Groups::of(column, rows);
        if self.field == Field::attribute(Scope::Resource, "service.name") {
            let missing = groups.values.iter_mut().filter(|value| **value == Cell::Missing);
            missing.for_each(|value| *value = Cell::One(Static::String(String::new())));
        }
        groups
    }
}

impl SeriesTally {
    /// Adds another part, whose first interval is that of this number here.
    pub fn merge(&mut self, other: Self, first_interval: usize) -> Result<(), Error> {
        let numbers = self.set.merge(other.set, first_interval)?;
        self.exemplars.merge(other.exemplars, &numbers, first_interval, self.set.len());
        Ok(())
    }

    pub fn memory_bytes(&self) -> usize {
        self.set.memory_bytes() + self.exemplars.memory_bytes()
    }
}

/// What was measured, for each span that is counted.
struct Values {
    /// In the unit of the answer.
    numbers: Vec<f64>,
    buckets: Option<Vec<u8>>,
    /// Over all rows of the batch.
    column: Column,
}

fn at_rows<T: Copy>(values: &[T], rows: &[u32]) -> Vec<T> {
    rows.iter().map(|&row| values[row as usize]).collect()
}

/// The numbers of a column; NaN where there is none. Durations are in nanoseconds unless `in_seconds`.
fn numbers(column: &Column, in_seconds: bool) -> Vec<f64> {
    let mut numbers = vec![f64::NAN; column.rows];
    let unit = if in_seconds { 1e9 } else { 1.0 };
    for part in &column.parts {
        match part {
            Part::Int(array) => fill(&mut numbers, array.nulls(), |row| array.value(row) as f64),
            Part::Duration(array) => fill(&mut numbers, array.nulls(), |row| array.value(row) as f64 / unit),
            Part::Float(array) => fill(&mut numbers, array.nulls(), |row| array.value(row)),
            _ => {}
        }
    }
    numbers
}

/// Stands for a value without a bucket.
const NO_BUCKET: u8 = 0;

fn buckets(column: &Column) -> Vec<u8> {
    let mut buckets = vec![NO_BUCKET; column.rows];
    for part in &column.parts {
        if let Part::Int(array) | Part::Duration(array) = part {
            fill(&mut buckets, array.nulls(), |row| bucket(array.value(row)).unwrap_or(NO_BUCKET));
        }
    }
    buckets
}

fn fill<T>(values: &mut [T], nulls: Option<&arrow::buffer::NullBuffer>, value: impl Fn(usize) -> T) {
    match nulls {
        Some(nulls) => nulls.valid_indices().for_each(|row| values[row] = value(row)),
        None => values.iter_mut().enumerate().for_each(|(row, slot)| *slot = value(row)),
    }
}

/// The series of each span, by its groups and its bucket.
fn number_series(
    set: &mut SeriesSet,
    rows: &[u32],
    groups: &[Groups],
    buckets: Option<&[u8]>,
) -> Result<Vec<u32>, Error> {
    if groups.is_empty() && buckets.is_none() {
        let series = set.series(SeriesKey::default())?;
        return Ok(vec![series; rows.len()]);
    }
    let mut known: HashMap<u128, u32> = HashMap::new();
    let mut last = None;
    let mut series = Vec::with_capacity(rows.len());
    for (at, &row) in rows.iter().enumerate() {
        let bucket = buckets.map(|buckets| buckets[at]);
        let code = groups.iter().fold(u128::from(bucket.unwrap_or_default()), |code, groups| {
            code * groups.values.len() as u128 + u128::from(groups.numbers[row as usize])
        });
        let number = match last {
            Some((last_code, number)) if last_code == code => number,
            _ => match known.get(&code) {
                Some(&number) => number,
                None => {
                    let labels =
                        groups.iter().map(|groups| label(&groups.values[groups.numbers[row as usize] as usize]));
                    let number = set.series(SeriesKey { labels: labels.collect(), bucket })?;
                    known.insert(code, number);
                    number
                }
            },
        };
        last = Some((code, number));
        series.push(number);
    }
    Ok(series)
}

/// Arrays and what cannot be compared have no label.
fn label(cell: &Cell) -> Option<Key> {
    match cell {
        Cell::One(value) => Key::of(value),
        _ => None,
    }
}

fn add_exemplars(
    tally: &mut SeriesTally,
    table: &SpanTable,
    spans: &Measured,
    series: &[u32],
    values: Option<&Values>,
) -> Result<(), Error> {
    let (traces, trace_rows) = (Traces::of(&table.traces)?, primitive::<UInt32Type>(&table.spans, column::TRACE)?);
    let share = tally.exemplars.share(tally.set.len());
    let mut lowest: Vec<Lowest> = (0..tally.set.len()).map(|_| Lowest::default()).collect();
    let (mut last_trace, mut drawn) = (None, 0);
    for (at, (&row, &series)) in spans.rows.iter().zip(series).enumerate() {
        let trace = trace_rows.value(row as usize);
        if last_trace != Some(trace) {
            (last_trace, drawn) = (Some(trace), draw(&traces.id(trace as usize)));
        }
        lowest[series as usize].offer(drawn, at as u32, share);
    }
    let candidate = |at: u32| {
        let at = at as usize;
        let row = spans.rows[at] as usize;
        let trace_id: TraceId = traces.id(trace_rows.value(row) as usize);
        Candidate {
            trace_id,
            start_nanos: spans.start_nanos[at],
            interval: spans.intervals[at],
            value: values.map_or(f64::NAN, |values| values.numbers[at]),
            measured: values.and_then(|values| measured(values.column.cell(row))),
        }
    };
    for (series, lowest) in lowest.iter().enumerate() {
        tally.exemplars.add(series as u32, lowest.places().map(candidate).collect(), tally.set.len());
    }
    Ok(())
}

fn measured(cell: Cell) -> Option<Static> {
    match cell {
        Cell::One(value) => Some(value),
        _ => None,
    }
}
