//! `compare({ selection })`: how the values of every field are spread over the spans of the selection, and over the
//! others, the baseline.
//!
//! Spans are counted once for each resource, scope and trace that they belong to; the fields of those are then looked at
//! row by row of the small tables.

use std::cmp::Reverse;

use arrow::array::RecordBatch;
use arrow::datatypes::UInt32Type;
use hashbrown::HashMap;
use model::{Intrinsic, Scope};
use spans::SpanTable;
use spans::schema::column;
use storage::source::Projection;
use traceql::{Field, FieldExpr};

use super::intervals::Intervals;
use super::measured::{Measured, TIME_COLUMNS, primitive};
use super::query::Limits;
use crate::answer::{Series, Value};
use crate::error::Error;
use crate::eval::{Cell, DimensionMasks, Evaluation, Filter, Groups, Home, Key, home};
use crate::mask;

/// Distinct values of a field that are counted. A field with more tells nothing by its values: only its spans are counted.
const MAX_VALUES: usize = 10_000;

/// The intrinsics that are compared (Tempo's list, without the number of children).
const INTRINSICS: [Intrinsic; 8] = [
    Intrinsic::Name,
    Intrinsic::Status,
    Intrinsic::StatusMessage,
    Intrinsic::Kind,
    Intrinsic::RootName,
    Intrinsic::RootServiceName,
    Intrinsic::InstrumentationName,
    Intrinsic::InstrumentationVersion,
];

/// What is compared with what.
#[derive(Debug)]
pub(crate) struct CompareMeter {
    selection: Filter,
    /// Most values of a field that are listed.
    top: usize,
    /// The selection's spans start after the first and up to the second, in unix nanoseconds.
    window: Option<(u64, u64)>,
}

/// Counts by field and value.
#[derive(Debug)]
pub(crate) struct CompareTally {
    intervals: usize,
    max_samples: usize,
    samples: usize,
    fields: HashMap<Field, FieldTally>,
}

#[derive(Debug, Default)]
struct FieldTally {
    /// Spans that have the field.
    totals: HashMap<Slot, u64>,
    /// `None` once there are too many.
    values: Option<HashMap<Key, HashMap<Slot, u64>>>,
}

/// Memory of a sample with its share of the value that it belongs to.
const SAMPLE_BYTES: usize = 64;

/// An interval and a side.
type Slot = (u32, Side);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Side {
    Baseline,
    Selection,
}

impl Side {
    const BOTH: [Self; 2] = [Self::Baseline, Self::Selection];

    /// The `__meta_type` of values, and of totals.
    fn names(self) -> [&'static str; 2] {
        match self {
            Self::Baseline => ["baseline", "baseline_total"],
            Self::Selection => ["selection", "selection_total"],
        }
    }
}

/// Spans of one slot that belong to one row of a table.
struct Counted {
    row: u32,
    slot: Slot,
    spans: u64,
}

impl CompareMeter {
    pub fn compile(selection: &FieldExpr, top: i64, window: Option<(i64, i64)>) -> Result<Self, Error> {
        let nanos = |nanos: i64| u64::try_from(nanos).unwrap_or_default();
        Ok(Self {
            selection: Filter::compile(selection)?,
            top: usize::try_from(top).unwrap_or(usize::MAX),
            window: window.map(|(start, end)| (nanos(start), nanos(end))),
        })
    }

    pub fn needs_whole_runs(&self) -> bool {
        self.selection.field_use().needs_whole_runs()
    }

    /// Every attribute of spans is read.
    pub fn projection(&self) -> Projection {
        let mut projection = self.selection.projection();
        projection.columns.extend(TIME_COLUMNS);
        projection.columns.extend([column::RESOURCE, column::SCOPE, column::ATTRIBUTES]);
        projection.columns.extend([column::NAME, column::STATUS_CODE, column::STATUS_MESSAGE, column::KIND]);
        projection
    }

    pub fn measure(
        &self,
        table: &SpanTable,
        rows: &[u32],
        intervals: &Intervals,
        limits: &Limits,
    ) -> Result<CompareTally, Error> {
        let mut tally = CompareTally::new(intervals, limits);
        let spans = Measured::of(table, rows, intervals)?;
        let nothing = DimensionMasks::NONE;
        let evaluation = Evaluation::new(table, &nothing)?;
        let slots = self.slots(&evaluation, table, &spans)?;
        let of_spans: Vec<Counted> =
            spans.rows.iter().zip(&slots).map(|(&row, &slot)| Counted { row, slot, spans: 1 }).collect();
        let of_traces = by_dimension(&table.spans, column::TRACE, &of_spans)?;
        let of_resources = by_dimension(&table.spans, column::RESOURCE, &of_spans)?;
        let of_scopes = by_dimension(&table.spans, column::SCOPE, &of_spans)?;
        for field in fields(table)? {
            let counted = match home(&field) {
                Some(Home::Traces) => &of_traces,
                Some(Home::Resources) => &of_resources,
                Some(Home::Scopes) => &of_scopes,
                _ => &of_spans,
            };
            let found = FieldTally::of(&evaluation, &field, counted)?;
            tally.add(field, found)?;
        }
        Ok(tally)
    }

    /// The interval of each span, and whether it is of the selection.
    fn slots(&self, evaluation: &Evaluation<'_>, table: &SpanTable, spans: &Measured) -> Result<Vec<Slot>, Error> {
        let selected = evaluation.select_among(&self.selection, &spans.mask(table.span_count()))?;
        let slot = |(at, &row): (usize, &u32)| {
            let start_nanos = spans.start_nanos[at];
            let in_window = self.window.is_none_or(|(start, end)| start < start_nanos && start_nanos <= end);
            let is_selected = in_window && selected.value(row as usize);
            (spans.intervals[at], if is_selected { Side::Selection } else { Side::Baseline })
        };
        Ok(spans.rows.iter().enumerate().map(slot).collect())
    }

    /// For each field the most frequent values of either side, and how many spans of that side have the field.
    pub fn finish(&self, tally: CompareTally) -> Vec<Series> {
        let mut all = Vec::new();
        for (field, of_field) in tally.fields {
            let label = field.to_string();
            for side in Side::BOTH {
                let [values_name, totals_name] = side.names();
                let series = |meta: &str, value: Value, counts: &HashMap<Slot, u64>| Series {
                    labels: vec![("__meta_type".to_owned(), Value::String(meta.to_owned())), (label.clone(), value)],
                    values: numbers(counts, side, tally.intervals),
                    exemplars: Vec::new(),
                };
                if total(&of_field.totals, side) == 0 {
                    continue;
                }
                for (value, counts) in of_field.most_frequent(side, self.top) {
                    all.push(series(values_name, value.value().into(), counts));
                }
                all.push(series(totals_name, Value::String("nil".to_owned()), &of_field.totals));
            }
        }
        all
    }
}

/// Every field that spans of the table have.
fn fields(table: &SpanTable) -> Result<Vec<Field>, Error> {
    let mut fields: Vec<Field> = INTRINSICS.map(Field::Intrinsic).into();
    for (scope, batch) in
        [(Scope::Span, &table.spans), (Scope::Resource, &table.resources), (Scope::Instrumentation, &table.scopes)]
    {
        fields.extend(spans::batch_keys(batch, scope)?.into_iter().map(|(scope, key)| Field::attribute(scope, key)));
    }
    Ok(fields)
}

/// Spans counted by the row of a small table that they refer to.
fn by_dimension(spans: &RecordBatch, name: &str, of_spans: &[Counted]) -> Result<Vec<Counted>, Error> {
    let rows = primitive::<UInt32Type>(spans, name)?;
    let mut counts: HashMap<(u32, Slot), u64> = HashMap::new();
    for counted in of_spans {
        *counts.entry((rows.value(counted.row as usize), counted.slot)).or_default() += counted.spans;
    }
    Ok(counts.into_iter().map(|((row, slot), spans)| Counted { row, slot, spans }).collect())
}

impl FieldTally {
    /// `counted` are rows of the table that has the field.
    fn of(evaluation: &Evaluation<'_>, field: &Field, counted: &[Counted]) -> Result<Self, Error> {
        let column = evaluation.field(field)?;
        let groups =
            Groups::of(&column, &mask::of_rows(column.rows, counted.iter().map(|counted| counted.row as usize)));
        let mut counts: HashMap<(u32, Slot), u64> = HashMap::new();
        for counted in counted {
            *counts.entry((groups.numbers[counted.row as usize], counted.slot)).or_default() += counted.spans;
        }
        let mut tally = Self { totals: HashMap::new(), values: Some(HashMap::new()) };
        for ((number, slot), spans) in counts {
            let Cell::One(value) = &groups.values[number as usize] else { continue };
            let Some(key) = Key::of(value) else { continue };
            *tally.totals.entry(slot).or_default() += spans;
            tally.add_value(key, [(slot, spans)]);
        }
        Ok(tally)
    }

    /// Returns how many numbers are held more than before.
    fn add_value(&mut self, key: Key, counts: impl IntoIterator<Item = (Slot, u64)>) -> usize {
        let Some(values) = &mut self.values else { return 0 };
        let of_value = values.entry(key).or_default();
        let before = of_value.len();
        counts.into_iter().for_each(|(slot, spans)| *of_value.entry(slot).or_default() += spans);
        let added = of_value.len() - before;
        if values.len() > MAX_VALUES {
            self.values = None;
        }
        added
    }

    fn merge(&mut self, other: Self) -> usize {
        other.totals.into_iter().for_each(|(slot, spans)| *self.totals.entry(slot).or_default() += spans);
        match other.values {
            None => {
                self.values = None;
                0
            }
            Some(values) => values.into_iter().map(|(key, counts)| self.add_value(key, counts)).sum(),
        }
    }

    fn most_frequent(&self, side: Side, most: usize) -> Vec<(&Key, &HashMap<Slot, u64>)> {
        let values = self.values.iter().flatten().map(|(key, counts)| (total(counts, side), key, counts));
        let mut values: Vec<_> = values.filter(|(total, ..)| *total > 0).collect();
        values.sort_by_cached_key(|(total, key, _)| (Reverse(*total), format!("{key:?}")));
        values.into_iter().take(most).map(|(_, key, counts)| (key, counts)).collect()
    }
}

impl CompareTally {
    pub fn new(intervals: &Intervals, limits: &Limits) -> Self {
        Self { intervals: intervals.count(), max_samples: limits.max_samples, samples: 0, fields: HashMap::new() }
    }

    fn add(&mut self, field: Field, found: FieldTally) -> Result<(), Error> {
        let new = || FieldTally { totals: HashMap::new(), values: Some(HashMap::new()) };
        self.samples += self.fields.entry(field).or_insert_with(new).merge(found);
        if self.samples > self.max_samples {
            return Err(Error::TooManySamples { max: self.max_samples });
        }
        Ok(())
    }

    /// About how much memory it takes.
    pub fn memory_bytes(&self) -> usize {
        self.samples * SAMPLE_BYTES
    }

    pub fn merge(&mut self, other: Self) -> Result<(), Error> {
        other.fields.into_iter().try_for_each(|(field, found)| self.add(field, found))
    }
}

fn total(counts: &HashMap<Slot, u64>, side: Side) -> u64 {
    counts.iter().filter(|((_, of), _)| *of == side).map(|(_, spans)| spans).sum()
}

fn numbers(counts: &HashMap<Slot, u64>, side: Side, intervals: usize) -> Vec<f64> {
    let of = |interval: usize| counts.get(&(interval as u32, side)).copied().unwrap_or_default() as f64;
    (0..intervals).map(of).collect()
}
