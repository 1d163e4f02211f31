//! `compare({ selection })`: how the values of every field are spread over the spans of the selection, and over the
//! others, the baseline.
//!
//! Spans are counted once for each resource, scope and trace that they belong to; the fields of those are then looked at
//! row by row of the small tables. Here is what is compared and how counts become series; the counting is in `compare/`.

mod attributes;
mod coded;
mod codes;
mod counted;
mod exemplars;
mod partial;
mod unneeded;

use arrow::buffer::BooleanBuffer;
use arrow::datatypes::UInt32Type;
use model::{Intrinsic, Scope};
use spans::SpanTable;
use spans::schema::column;
use storage::source::Projection;
use traceql::{Field, FieldExpr};

use self::coded::SlotsOfRows;
use self::counted::Counted;
use self::exemplars::Handout;
pub(crate) use self::partial::PartialComparison;
use self::partial::{PartialField, Side, SlotCounts};
use self::unneeded::Unneeded;
use super::measured::MeasuredRows;
use super::timeline::{TIME_COLUMNS, Timeline, primitive};
use super::weights;
use crate::answer::{Series, Value};
use crate::cancellation::is_waited_for;
use crate::engine::selection::SelectedSpans;
use crate::error::Error;
use crate::eval::{Column, DimensionMasks, Evaluation, Filter, Home, Key, home};
use crate::intervals::Intervals;
use crate::metrics::limits::Limits;

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
pub(crate) struct ComparisonAggregator {
    selection: Filter,
    /// Most values of a field that are listed.
    top: usize,
    /// The selection's spans start after the first and up to the second, in unix nanoseconds.
    window: Option<(u64, u64)>,
    /// Whether spans count for those that were not sampled.
    is_extrapolated: bool,
    /// What the spans that were measured say of those that are measured next.
    unneeded: Unneeded,
}

impl ComparisonAggregator {
    pub fn compile(
        selection: &FieldExpr,
        top: i64,
        window: Option<(i64, i64)>,
        is_extrapolated: bool,
    ) -> Result<Self, Error> {
        let nanos = |nanos: i64| u64::try_from(nanos).unwrap_or_default();
        Ok(Self {
            selection: Filter::compile(selection)?,
            top: usize::try_from(top).unwrap_or(usize::MAX),
            window: window.map(|(start, end)| (nanos(start), nanos(end))),
            is_extrapolated,
            unneeded: Unneeded::default(),
        })
    }

    /// The columns by which a span is of the selection.
    pub fn selection_projection(&self) -> Projection {
        self.selection.projection()
    }

    /// Takes note of the fields that have too many values.
    pub fn note(&self, measured: &PartialComparison) {
        measured.fields_with_too_many_values().for_each(|field| self.unneeded.note_values_of(field));
    }

    /// Whether parts may be merged in any order and give the same to the last digit.
    pub fn is_order_free(&self) -> bool {
        !self.is_extrapolated
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
        if self.is_extrapolated {
            projection.columns.insert(column::TRACE_STATE);
        }
        projection
    }

    pub fn measure(
        &self,
        rows: &MeasuredRows<'_>,
        intervals: &Intervals,
        limits: &Limits,
    ) -> Result<PartialComparison, Error> {
        let MeasuredRows { table, coded, selected: spans, .. } = *rows;
        let timeline = Timeline::of(table, &rows.start_offsets, intervals)?;
        let nothing = DimensionMasks::NONE;
        let evaluation = Evaluation::new(table, &nothing)?;
        let of_spans = self.counted(&evaluation, table, &timeline, spans)?;
        let slots = Side::slots(&timeline.intervals);
        let by_dimension = |name: &str| -> Result<Vec<Counted>, Error> {
            let rows = primitive::<UInt32Type>(&table.spans, name)?.values();
            Ok(counted::by_row(&of_spans, slots.len(), rows))
        };
        let (of_traces, of_resources) = (by_dimension(column::TRACE)?, by_dimension(column::RESOURCE)?);
        let of_scopes = by_dimension(column::SCOPE)?;
        let mut partial = PartialComparison::new(intervals, limits);
        partial.exemplars = exemplars::of_batch(&timeline, &of_spans, limits)?;
        self.unneeded.leave_needed(&mut partial.exemplars);
        partial.exemplars.label(|rows| exemplars::labels_of(&evaluation, table, coded, rows, limits))?;
        for field in INTRINSICS.map(Field::Intrinsic) {
            let counted = match home(&field) {
                Some(Home::Traces) => &of_traces,
                Some(Home::Scopes) => &of_scopes,
                _ => &of_spans,
            };
            limits.cancellation.count_work(counted.len())?;
            let column = evaluation.field(&field)?;
            let found = PartialField::of(&column, || counted::mask(counted, column.rows), counted, &slots);
            partial.add(field, found)?;
        }
        for (scope, batch, counted) in [
            (Scope::Span, &table.spans, &of_spans),
            (Scope::Resource, &table.resources, &of_resources),
            (Scope::Instrumentation, &table.scopes, &of_scopes),
        ] {
            let take = |key: &str, column: &Column, rows: &BooleanBuffer, counted: &[Counted]| {
                partial.add(Field::attribute(scope, key), PartialField::of(column, || rows.clone(), counted, &slots))
            };
            let besides = if scope == Scope::Span { coded } else { &[] };
            attributes::for_each((batch, besides), scope, counted, &limits.cancellation, take)?;
        }
        let slots_of_rows = SlotsOfRows::of(&of_spans, table.span_count(), slots);
        for column in coded {
            limits.cancellation.count_work(column.rows().len())?;
            let field = Field::attribute(column.attribute.scope, &column.attribute.key);
            let found = slots_of_rows.count(column, !self.unneeded.are_values_of(&field))?;
            if found.values.is_none() {
                self.unneeded.note_values_of(&field);
            }
            partial.add(field, found)?;
        }
        Ok(partial)
    }

    /// The spans that count, with their interval and whether they are of the selection.
    fn counted(
        &self,
        evaluation: &Evaluation<'_>,
        table: &SpanTable,
        timeline: &Timeline<'_>,
        spans: &SelectedSpans,
    ) -> Result<Vec<Counted>, Error> {
        let in_time = &spans.mask(table.span_count()) & &timeline.mask();
        let selection = evaluation.select_among(&self.selection, &in_time)?;
        let weights = if self.is_extrapolated { weights::of_rows(table)? } else { Vec::new() };
        let mut counted = Vec::with_capacity(in_time.count_set_bits());
        for run in timeline.runs() {
            spans.for_each(run.rows.clone(), |row| {
                let is_selected = selection.value(row)
                    && self.window.is_none_or(|(start, end)| {
                        timeline.start_nanos(row).is_some_and(|nanos| start < nanos && nanos <= end)
                    });
                let side = if is_selected { Side::Selection } else { Side::Baseline };
                let spans = weights.get(row).copied().unwrap_or(1.0);
                counted.push(Counted { row: row as u32, slot: side.slot(run.interval), spans });
            });
        }
        Ok(counted)
    }

    /// For each field the most frequent values of either side, and how many spans of that side have the field.
    pub fn finish(&self, partial: PartialComparison) -> Vec<Series> {
        let mut all = Vec::new();
        let intervals = partial.intervals();
        let (fields, exemplars) = partial.into_parts();
        let mut exemplars_left = exemplars.limit();
        let exemplars_of_total = exemplars_left / (2 * fields.len()).max(1);
        let handouts = Handout::of(exemplars);
        for (field, of_field) in fields {
            if !is_waited_for() {
                break;
            }
            let label = field.to_string();
            for (side, handout) in Side::BOTH.into_iter().zip(&handouts) {
                let [values_name, totals_name] = side.names();
                let series = |meta: &str, value: Value, counts: &SlotCounts| Series {
                    labels: vec![("__meta_type".to_owned(), Value::String(meta.to_owned())), (label.clone(), value)],
                    values: counts.numbers(side, intervals),
                    exemplars: Vec::new(),
                };
                if of_field.totals.total(side) == 0.0 {
                    continue;
                }
                for (value, counts) in most_frequent(&of_field, side, self.top) {
                    all.push(series(values_name, value.value().into(), counts));
                }
                let mut total = series(totals_name, Value::String("nil".to_owned()), &of_field.totals);
                total.exemplars = handout.with(&label, exemplars_of_total.max(1).min(exemplars_left));
                exemplars_left -= total.exemplars.len();
                all.push(total);
            }
        }
        all
    }
}

/// The values that most spans of a side have; of equally frequent ones those whose texts come first.
fn most_frequent(field: &PartialField, side: Side, most: usize) -> Vec<(&Key, &SlotCounts)> {
    let values = field.values.iter().flatten().map(|(key, counts)| (counts.total(side), key, counts));
    let mut values: Vec<_> = values.filter(|(total, ..)| *total > 0.0).collect();
    if most == 0 {
        return Vec::new();
    }
    if most < values.len() {
        // texts are only made of values that may be among them
        values.select_nth_unstable_by(most - 1, |(total, ..), (other, ..)| other.total_cmp(total));
        let least = values[most - 1].0;
        values.retain(|(total, ..)| *total >= least);
    }
    values.sort_by_cached_key(|(_, key, _)| format!("{key:?}"));
    values.sort_by(|(total, ..), (other, ..)| other.total_cmp(total));
    values.into_iter().take(most).map(|(_, key, counts)| (key, counts)).collect()
}

#[cfg(test)]
mod tests;
