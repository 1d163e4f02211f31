//! Exemplars of a comparison: a few spans of either side with all their attributes. Each stands for the spans that have an
//! attribute in common with it, so it goes to the totals of its attributes.

use std::collections::BTreeMap;

use arrow::datatypes::UInt32Type;
use hashbrown::HashMap;
use model::Scope;
use spans::SpanTable;
use spans::schema::column;
use storage::coded::CodedColumn;
use traceql::Field;

use super::super::exemplars::{Candidate, Exemplars, Lowest};
use super::super::timeline::{Timeline, primitive};
use super::counted::Counted;
use super::partial::Side;
use super::{INTRINSICS, attributes, coded};
use crate::answer::{Exemplar, Value};
use crate::error::Error;
use crate::eval::{Cell, Column, Evaluation, Home, home};
use crate::metrics::limits::Limits;

/// Most attributes that an exemplar shows.
const MOST_LABELS: usize = 128;

type Labels = Vec<(String, Value)>;

/// The exemplars among the spans of a batch that are counted, without their labels; a series is a side.
pub(super) fn of_batch(timeline: &Timeline<'_>, counted: &[Counted], limits: &Limits) -> Result<Exemplars, Error> {
    let mut exemplars = Exemplars::new(limits.max_exemplars);
    if limits.max_exemplars == 0 {
        return Ok(exemplars);
    }
    limits.cancellation.count_work(1)?;
    let mut lowest = vec![Lowest::default(); Side::slots(&timeline.intervals).len()];
    let (mut trace, mut drawn) = (None, 0);
    for Counted { row, slot, .. } in counted {
        let of_row = timeline.trace(*row as usize);
        if trace.replace(of_row) != Some(of_row) {
            drawn = timeline.trace_id(*row as usize).draw();
        }
        lowest[*slot as usize].offer(drawn, *row, limits.max_exemplars);
    }
    for (slot, lowest) in (0..).zip(lowest) {
        let interval = (timeline.intervals.start + slot / 2) as u32;
        let candidate = |(drawn, row): (u64, u32)| {
            let trace_id = timeline.trace_id(row as usize);
            let start_nanos = timeline.start_nanos(row as usize).unwrap_or_default();
            let labels = Labels::new();
            Candidate { trace_id, drawn, start_nanos, interval, value: f64::NAN, row, labels, unread: None }
        };
        exemplars.add(slot as u32 % 2, lowest.rows().map(candidate).collect(), Side::BOTH.len());
    }
    Ok(exemplars)
}

/// The intrinsics and attributes of some spans, by name; of more than [`MOST_LABELS`] those that come first.
pub(super) fn labels_of(
    evaluation: &Evaluation<'_>,
    table: &SpanTable,
    besides: &[CodedColumn],
    rows: &mut dyn Iterator<Item = usize>,
    limits: &Limits,
) -> Result<Vec<Labels>, Error> {
    let rows: Vec<u32> = rows.map(|row| row as u32).collect();
    let mut labels: Vec<FirstLabels> = vec![FirstLabels::default(); rows.len()];
    let mut add = |field: &Field, column: &Column, counted: &[Counted]| {
        let name = field.to_string();
        for Counted { row, slot, .. } in counted {
            labels[*slot as usize].add(&name, || match column.cell(*row as usize) {
                Cell::One(value) => Some(value.into()),
                _ => None,
            });
        }
    };
    let numbered = |(slot, row)| Counted { row, slot, spans: 1.0 };
    let of_spans: Vec<Counted> = (0..).zip(rows.iter().copied()).map(numbered).collect();
    let by_dimension = |name: &str| -> Result<Vec<Counted>, Error> {
        let referred = primitive::<UInt32Type>(&table.spans, name)?.values();
        Ok((0..).zip(rows.iter().map(|&row| referred[row as usize])).map(numbered).collect())
    };
    let (of_traces, of_resources) = (by_dimension(column::TRACE)?, by_dimension(column::RESOURCE)?);
    let of_scopes = by_dimension(column::SCOPE)?;
    for field in INTRINSICS.map(Field::Intrinsic) {
        let counted = match home(&field) {
            Some(Home::Traces) => &of_traces,
            Some(Home::Scopes) => &of_scopes,
            _ => &of_spans,
        };
        add(&field, &*evaluation.field(&field)?, counted);
    }
    for (scope, batch, counted) in [
        (Scope::Span, &table.spans, &of_spans),
        (Scope::Resource, &table.resources, &of_resources),
        (Scope::Instrumentation, &table.scopes, &of_scopes),
    ] {
        let besides = if scope == Scope::Span { besides } else { &[] };
        attributes::for_each((batch, besides), scope, counted, &limits.cancellation, |key, column, _, counted| {
            add(&Field::attribute(scope, key), column, counted);
            Ok(())
        })?;
    }
    let mut ascending: Vec<usize> = (0..rows.len()).collect();
    ascending.sort_unstable_by_key(|&number| rows[number]);
    let ascending_rows: Vec<u32> = ascending.iter().map(|&number| rows[number]).collect();
    for column in besides {
        let name = Field::attribute(column.attribute.scope, &column.attribute.key).to_string();
        let (found, values) = column.values_of(&ascending_rows)?;
        for (at, code) in found.into_iter().zip(values.codes) {
            let value = || coded::key(&values.by_code, code as usize).map(|key| key.value().into());
            labels[ascending[at]].add(&name, value);
        }
    }
    Ok(labels.into_iter().map(|of_span| of_span.0.into_iter().collect()).collect())
}

/// Labels of a span, those that come first.
#[derive(Clone, Default)]
struct FirstLabels(BTreeMap<String, Value>);

impl FirstLabels {
    fn add(&mut self, name: &str, value: impl FnOnce() -> Option<Value>) {
        let is_full = self.0.len() == MOST_LABELS;
        if is_full && self.0.last_key_value().is_some_and(|(last, _)| last.as_str() <= name) {
            return;
        }
        if let Some(value) = value() {
            self.0.insert(name.to_owned(), value);
            if is_full {
                self.0.pop_last();
            }
        }
    }
}

/// Exemplars to be handed out to the totals of one side.
pub(super) struct Handout {
    all: Vec<Candidate>,
    /// Those that have an attribute, by its name.
    by_label: HashMap<String, Vec<usize>>,
}

impl Handout {
    /// Of both sides.
    pub fn of(exemplars: Exemplars) -> [Self; 2] {
        let mut by_side = exemplars.into_series(Side::BOTH.len()).into_iter();
        Side::BOTH.map(|_| {
            let all = by_side.next().unwrap_or_default();
            let mut by_label: HashMap<String, Vec<usize>> = HashMap::new();
            for (number, candidate) in all.iter().enumerate() {
                candidate.labels.iter().for_each(|(name, _)| by_label.entry_ref(name).or_default().push(number));
            }
            Self { all, by_label }
        })
    }

    /// Up to `most` of those that have the attribute, spread over their time.
    pub fn with(&self, label: &str, most: usize) -> Vec<Exemplar> {
        let numbers = self.by_label.get(label).map_or(&[][..], Vec::as_slice);
        let step = numbers.len().div_ceil(most.max(1)).max(1);
        let some = numbers.iter().step_by(step).take(most);
        some.map(|&number| self.all[number].clone().into_exemplar(|_| 0)).collect()
    }
}
