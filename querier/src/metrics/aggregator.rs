//! The functions that make one number of the spans of an interval: `rate()`, `max_over_time(x) by (y)`, ...
//!
//! ```text
//! rows ─▶ runs in one interval ─┐
//!      ─▶ value of each ────────┼─▶ accumulators [interval][code] ─▶ series
//!      ─▶ code of its group ────┘                                └─▶ candidates for exemplars
//! ```
//!
//! All of it works on columns; a series is a number until the answer is made.

use std::mem;

use arrow::buffer::BooleanBuffer;
use arrow::datatypes::UInt32Type;
use hashbrown::HashMap;
use model::Intrinsic;
use spans::SpanTable;
use spans::schema::column;
use storage::source::Projection;
use traceql::{Field, FieldExpr};

use super::accumulators::Accumulators;
use super::exemplars::{Candidate, Exemplars, Lowest, NO_SERIES, lowest_rows};
use super::finish::{self, Finish, UnreadSpan};
use super::group_codes::GroupCodes;
use super::measured::{MeasuredRows, Places};
use super::partial_series::PartialSeries;
use super::timeline::{TIME_COLUMNS, Timeline, primitive};
use super::values::{BUCKET_COUNT, Form, Values, with_bucket};
use super::weights;
use crate::answer::Series;
use crate::engine::selection::SelectedSpans;
use crate::error::Error;
use crate::eval::{
    Cell, Column, DimensionMasks, Evaluation, FieldUse, Filter, Groups, Home, Key, group_if_missing, home,
};
use crate::intervals::Intervals;
use crate::metrics::limits::Limits;
use crate::series::{Fold, SeriesKey, SeriesSet};
use crate::{cancellation, shown};

/// One of the functions, compiled.
#[derive(Debug)]
pub(crate) struct SeriesAggregator {
    fold: Fold,
    value: Option<AggregatedField>,
    by: Vec<AggregatedField>,
    finish: Finish,
    field_use: FieldUse,
    /// Whether spans count for those that were not sampled.
    is_extrapolated: bool,
}

/// A field with its text.
#[derive(Debug)]
pub(crate) struct AggregatedField {
    pub label: String,
    field: Field,
    expr: Filter,
}

impl SeriesAggregator {
    pub fn compile(
        fold: Fold,
        value: Option<&Field>,
        by: &[Field],
        finish: Finish,
        is_extrapolated: bool,
    ) -> Result<Self, Error> {
        let field_use = FieldUse::of(by.iter().chain(value));
        let value = value.map(AggregatedField::compile).transpose()?;
        let by = by.iter().map(AggregatedField::compile).collect::<Result<_, Error>>()?;
        Ok(Self { fold, value, by, finish, field_use, is_extrapolated })
    }

    pub fn field_use(&self) -> &FieldUse {
        &self.field_use
    }

    pub fn projection(&self) -> Projection {
        let mut projection = self.field_use.projection();
        projection.columns.extend(TIME_COLUMNS);
        if self.is_extrapolated {
            projection.columns.insert(column::TRACE_STATE);
        }
        projection
    }

    pub fn is_order_free(&self) -> bool {
        match self.fold {
            Fold::Min | Fold::Max => true,
            Fold::Count => !self.is_extrapolated,
            Fold::Sum | Fold::Average => false,
        }
    }

    pub fn fold(&self) -> Fold {
        self.fold
    }

    pub fn nothing(&self, intervals: &Intervals, limits: &Limits) -> PartialSeries {
        PartialSeries {
            set: SeriesSet::new(self.fold, intervals.count(), limits.max_samples),
            exemplars: Exemplars::new(limits.max_exemplars),
        }
    }

    /// Whether spans are counted by these fields, and by buckets of their durations at the most.
    pub fn counts_by(&self) -> Option<impl Iterator<Item = &Field>> {
        let is_count = self.fold == Fold::Count && !self.is_extrapolated;
        (is_count && (self.value.is_none() || self.counts_durations()))
            .then(|| self.by.iter().map(|field| &field.field))
    }

    /// Whether spans are counted by buckets of their durations.
    pub fn counts_durations(&self) -> bool {
        let is_duration = |value: &AggregatedField| value.field == Field::Intrinsic(Intrinsic::Duration);
        self.is_in_buckets() && self.value.as_ref().is_some_and(is_duration)
    }

    pub fn measure(
        &self,
        rows: &MeasuredRows<'_>,
        intervals: &Intervals,
        limits: &Limits,
    ) -> Result<PartialSeries, Error> {
        let MeasuredRows { table, selected, .. } = *rows;
        let timeline = Timeline::of(table, &rows.start_offsets, intervals)?;
        let mut batch = Batch { table, timeline, selected: selected.simplified(table.span_count()) };
        let mut partial = self.nothing(intervals, limits);
        if !batch.has_spans() {
            return Ok(partial);
        }
        let nothing = DimensionMasks::NONE;
        let evaluation = Evaluation::new(table, &nothing)?;
        let values = self.values_of(&evaluation, &mut batch)?;
        let buckets = values.as_ref().and_then(Values::buckets);
        if let Some(with_bucket) = buckets.as_deref().and_then(with_bucket) {
            batch.leave_only(&with_bucket);
        }
        if !batch.has_spans() {
            return Ok(partial);
        }
        let held = batch.timeline.intervals.clone();
        partial.set = SeriesSet::within(self.fold, intervals.count(), held.clone(), limits.max_samples);
        let mut groups = Grouping::of(&self.by, buckets, &evaluation, &batch)?;
        if groups.codes.count().saturating_mul(held.len()) > MAX_SPARSE_CELLS {
            groups.codes.keep_occurring(batch.timeline.runs(), &batch.selected);
            partial.set.check_room(groups.codes.count())?;
        }
        let numbers = values.as_ref().map_or(&[][..], |values| &values.numbers);
        let (timeline, selected, codes) = (&batch.timeline, &batch.selected, &groups.codes);
        let accumulators = match rows.spans_of_rows {
            Some(spans) => Accumulators::of_counts(timeline, selected, codes, spans),
            None if self.is_extrapolated => {
                let weights = weights::of_rows(table)?;
                Accumulators::of_weighted(self.fold, timeline, selected, codes, numbers, &weights)
            }
            None => Accumulators::of(self.fold, timeline, selected, codes, numbers),
        };
        let mut series_of_code = vec![NO_SERIES; groups.codes.count()];
        for code in accumulators.occurring() {
            limits.cancellation.count_work(1)?;
            series_of_code[code as usize] = partial.set.push(groups.key(code), accumulators.cells(code))?;
        }
        if limits.max_exemplars > 0 {
            partial.add_exemplars(rows, &batch, intervals, &groups.codes, &series_of_code, values.as_ref());
            partial.exemplars.label(|rows| shown::values_of(table, &limits.exemplar_labels, rows))?;
        }
        Ok(partial)
    }

    /// The values of the spans; spans without a number are taken out.
    fn values_of(&self, evaluation: &Evaluation<'_>, batch: &mut Batch<'_>) -> Result<Option<Values>, Error> {
        let Some(value) = &self.value else { return Ok(None) };
        let form = match value.field == Field::Intrinsic(Intrinsic::Duration) {
            _ if self.is_in_buckets() => Form::Buckets,
            true => Form::NumbersInSeconds,
            false => Form::Numbers,
        };
        let values = Values::of(evaluation.values(&value.expr, &batch.mask())?, form);
        if let Some(with_number) = values.with_number() {
            batch.leave_only(&with_number);
        }
        Ok(Some(values))
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

    /// Exemplars number what they have in `unread`.
    pub fn finish(&self, partial: PartialSeries, intervals: &Intervals, unread: &mut Vec<UnreadSpan>) -> Vec<Series> {
        let by: Vec<&str> = self.by.iter().map(|field| field.label.as_str()).collect();
        let bucket_unit = if self.is_of_durations() { 1e9 } else { 1.0 };
        let is_count = self.fold == Fold::Count && !self.is_in_buckets();
        finish::Labels { by: &by, bucket_unit }.series(partial, &self.finish, is_count, intervals, unread)
    }
}

impl AggregatedField {
    fn compile(field: &Field) -> Result<Self, Error> {
        let expr = Filter::compile(&FieldExpr::Field(field.clone()))?;
        Ok(Self { label: field.to_string(), field: field.clone(), expr })
    }

    /// The number of each span's group, and the label of each group.
    fn groups(&self, evaluation: &Evaluation<'_>, batch: &Batch<'_>) -> Result<(Vec<u32>, Labels), Error> {
        let (mut numbers, groups) = match home(&self.field).and_then(|home| Some((home, dimension_column(home)?))) {
            Some((home, name)) => {
                let dimension = evaluation.field(&self.field)?;
                let groups = Groups::of(&dimension, &referred_rows(evaluation, &dimension, home, batch)?);
                let rows = primitive::<UInt32Type>(&batch.table.spans, name)?.values();
                (rows.iter().map(|&row| groups.numbers[row as usize]).collect(), groups.values)
            }
            None => {
                let mask = batch.mask();
                let groups = Groups::of(&*evaluation.values(&self.expr, &mask)?, &mask);
                (groups.numbers, groups.values)
            }
        };
        let labels = groups.iter().map(|value| self.label(value)).collect();
        let labels = if groups.iter().all(|value| matches!(value, Cell::One(_))) {
            labels
        } else {
            joined(&mut numbers, labels)
        };
        Ok((numbers, labels))
    }

    /// Arrays and what cannot be compared have no label.
    fn label(&self, value: &Cell) -> Option<Key> {
        match value {
            Cell::One(value) => Key::of(value),
            Cell::Missing => group_if_missing(&self.field).as_ref().and_then(Key::of),
            _ => None,
        }
    }
}

impl PartialSeries {
    /// Keeps spans of each series that may become exemplars.
    fn add_exemplars(
        &mut self,
        rows: &MeasuredRows<'_>,
        batch: &Batch<'_>,
        intervals: &Intervals,
        codes: &GroupCodes,
        series_of_code: &[u32],
        values: Option<&Values>,
    ) {
        let (timeline, series_count) = (&batch.timeline, self.set.len());
        let most = self.exemplars.most_held(series_count);
        let candidate = |(drawn, row): (u64, u32)| {
            let (trace, start_nanos) = (timeline.trace(row as usize), timeline.start_nanos(row as usize));
            let unread = rows.places.filter(|_| start_nanos.is_none()).map(|places| places.of_trace(trace));
            // what is unread is of a trace whose spans all lie in one interval
            let start_nanos = start_nanos.unwrap_or_else(|| timeline.traces().start_nanos(trace));
            Candidate {
                trace_id: timeline.trace_id(row as usize),
                drawn,
                start_nanos,
                interval: intervals.of(start_nanos).unwrap_or_default() as u32,
                value: values.map_or(f64::NAN, |values| values.number(row as usize)),
                row,
                labels: Vec::new(),
                unread,
            }
        };
        let selected = match rows.places {
            Some(Places::OfTraces { with_span, .. }) => &batch.selected.clone().and(with_span),
            _ => &batch.selected,
        };
        let lowest = lowest_rows(timeline, selected, codes, series_of_code, series_count, most);
        for (series, lowest) in lowest.into_iter().enumerate().take_while(|_| cancellation::is_waited_for()) {
            self.exemplars.add(
                series as u32,
                lowest.into_iter().flat_map(Lowest::rows).map(candidate).collect(),
                series_count,
            );
        }
    }
}

/// The spans of a batch that count.
struct Batch<'a> {
    table: &'a SpanTable,
    timeline: Timeline<'a>,
    selected: SelectedSpans,
}

impl Batch<'_> {
    fn has_spans(&self) -> bool {
        self.timeline.runs().iter().any(|run| self.selected.count(run.rows.clone()) > 0)
    }

    /// Those of other intervals are among them.
    fn mask(&self) -> BooleanBuffer {
        self.selected.mask(self.table.span_count())
    }

    fn leave_only(&mut self, rows: &BooleanBuffer) {
        self.selected = mem::replace(&mut self.selected, SelectedSpans::All).and(rows);
    }
}

/// More accumulators than these are only made for codes that spans have.
const MAX_SPARSE_CELLS: usize = 1 << 18;

/// So many spans for each row of a small table are many.
const FEW_SPANS_OF_A_ROW: usize = 64;

/// Labels by number.
type Labels = Vec<Option<Key>>;

/// What spans are grouped by: the fields of `by()` and, last, the bucket.
struct Grouping {
    codes: GroupCodes,
    labels: Vec<Labels>,
    has_buckets: bool,
}

impl Grouping {
    fn of(
        by: &[AggregatedField],
        buckets: Option<Vec<u32>>,
        evaluation: &Evaluation<'_>,
        batch: &Batch<'_>,
    ) -> Result<Self, Error> {
        let mut grouping = Self { codes: GroupCodes::one(), labels: Vec::new(), has_buckets: buckets.is_some() };
        for field in by {
            cancellation::check()?;
            let (numbers, labels) = field.groups(evaluation, batch)?;
            grouping.codes.add(numbers, labels.len());
            grouping.labels.push(labels);
        }
        if let Some(buckets) = buckets {
            grouping.codes.add(buckets, BUCKET_COUNT);
        }
        Ok(grouping)
    }

    fn key(&self, code: u32) -> SeriesKey {
        let numbers = self.codes.numbers(code);
        let labels = self.labels.iter().zip(&numbers).map(|(labels, &number)| labels[number as usize].clone());
        let bucket = numbers.last().filter(|_| self.has_buckets).map(|&bucket| bucket as u8);
        SeriesKey { labels: labels.collect(), bucket }
    }
}

/// The column of spans that refers to a small table.
fn dimension_column(home: Home) -> Option<&'static str> {
    match home {
        Home::Resources => Some(column::RESOURCE),
        Home::Scopes => Some(column::SCOPE),
        Home::Traces => Some(column::TRACE),
        _ => None,
    }
}

/// The rows of a small table that spans refer to; all of them where that costs less than to find out.
fn referred_rows(
    evaluation: &Evaluation<'_>,
    dimension: &Column,
    home: Home,
    batch: &Batch<'_>,
) -> Result<BooleanBuffer, Error> {
    if dimension.rows <= batch.table.span_count() / FEW_SPANS_OF_A_ROW {
        return Ok(BooleanBuffer::new_set(dimension.rows));
    }
    evaluation.referred_rows(home, &batch.mask())
}

/// Gives groups with the same label one number.
fn joined(numbers: &mut [u32], labels: Labels) -> Labels {
    let (mut known, mut joined) = (HashMap::new(), Labels::new());
    let number_of_label = |label: Option<Key>| {
        *known.entry(label).or_insert_with_key(|label| {
            joined.push(label.clone());
            joined.len() as u32 - 1
        })
    };
    let new_numbers: Vec<u32> = labels.into_iter().map(number_of_label).collect();
    numbers.iter_mut().for_each(|number| *number = new_numbers[*number as usize]);
    joined
}
