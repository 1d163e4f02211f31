//! Counts by field, value, interval and side, merged in any order.

mod encoded;

use std::ops::Range;

use arrow::buffer::BooleanBuffer;
use hashbrown::HashMap;
use smallvec::SmallVec;
use traceql::Field;

use super::super::exemplars::Exemplars;
use super::codes::Codes;
use super::counted::{self, Counted, by_number};
use crate::error::Error;
use crate::eval::{Cell, Column, Groups, Key};
use crate::intervals::Intervals;
use crate::metrics::limits::Limits;

/// Distinct values of a field that are counted. A field with more tells nothing by its values: only its spans are counted.
pub(super) const MAX_VALUES: usize = 10_000;

/// What a span is compared as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Baseline,
    Selection,
}

impl Side {
    pub const BOTH: [Self; 2] = [Self::Baseline, Self::Selection];

    /// The slots of some intervals. A slot is an interval and a side.
    pub fn slots(intervals: &Range<usize>) -> Range<u32> {
        2 * intervals.start as u32..2 * intervals.end as u32
    }

    pub fn slot(self, interval: usize) -> u32 {
        2 * interval as u32 + self as u32
    }

    /// The `__meta_type` of values, and of totals.
    pub fn names(self) -> [&'static str; 2] {
        match self {
            Self::Baseline => ["baseline", "baseline_total"],
            Self::Selection => ["selection", "selection_total"],
        }
    }
}

/// Counts by field and value.
#[derive(Debug)]
pub(crate) struct PartialComparison {
    intervals: usize,
    max_samples: usize,
    samples: usize,
    fields: HashMap<Field, PartialField>,
    /// By side.
    pub(super) exemplars: Exemplars,
}

/// Memory of a sample: [`SlotCounts`] have up to twice the room that they need.
const SAMPLE_BYTES: usize = 2 * size_of::<(u32, f64)>();
/// Memory of a value without its samples: its place in a table that is half full, and what its text takes, which is short where few
/// values have most of the samples.
const VALUE_BYTES: usize = 2 * size_of::<(Key, SlotCounts)>() + 32;

/// Spans that have a field, and those that have each of its values.
#[derive(Debug)]
pub(super) struct PartialField {
    pub totals: SlotCounts,
    /// `None` once there are too many.
    pub values: Option<HashMap<Key, SlotCounts>>,
}

/// Spans by slot, the latest first: what is measured later is older, and goes behind. Most values of a row group have spans in
/// one or two.
#[derive(Debug, Clone, Default)]
pub(super) struct SlotCounts(SmallVec<[(u32, f64); 2]>);

impl SlotCounts {
    /// Of slots that are ascending.
    pub fn ascending(counts: impl DoubleEndedIterator<Item = (u32, f64)>) -> Self {
        Self(counts.rev().collect())
    }

    fn add(&mut self, slot: u32, spans: f64) {
        match self.0.binary_search_by(|(other, _)| slot.cmp(other)) {
            Ok(at) => self.0[at].1 += spans,
            Err(at) => self.0.insert(at, (slot, spans)),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn merge(&mut self, mut other: Self) {
        let ends = |counts: &Self| Some((counts.0.last()?.0, counts.0.first()?.0));
        let Some((other_first, other_last)) = ends(&other) else { return };
        match ends(self) {
            None => *self = other,
            Some((first, _)) if other_last < first => self.0.extend(other.0),
            Some((_, last)) if last < other_first => {
                other.0.append(&mut self.0);
                *self = other;
            }
            Some(_) => other.0.into_iter().for_each(|(slot, spans)| self.add(slot, spans)),
        }
    }

    fn of_side(&self, side: Side) -> impl Iterator<Item = (usize, f64)> {
        let of_side = self.0.iter().filter(move |(slot, _)| slot % 2 == side as u32);
        of_side.map(|(slot, spans)| (*slot as usize / 2, *spans))
    }

    pub fn total(&self, side: Side) -> f64 {
        self.of_side(side).map(|(_, spans)| spans).sum()
    }

    /// The spans of each interval.
    pub fn numbers(&self, side: Side, intervals: usize) -> Vec<f64> {
        let mut numbers = vec![0.0; intervals];
        self.of_side(side).for_each(|(interval, spans)| numbers[interval] = spans);
        numbers
    }
}

impl PartialField {
    fn new() -> Self {
        Self { totals: SlotCounts::default(), values: Some(HashMap::new()) }
    }

    /// `counted` are rows of the column, which `rows` marks; their slots, counted from 0, are these.
    pub fn of(column: &Column, rows: impl FnOnce() -> BooleanBuffer, counted: &[Counted], slots: &Range<u32>) -> Self {
        Self::of_codes(column, counted, slots).unwrap_or_else(|| Self::of_groups(column, &rows(), counted, slots))
    }

    /// Counts the values of a column by their numbers in a dictionary or in a small range, if all of them have such.
    fn of_codes(column: &Column, counted: &[Counted], slots: &Range<u32>) -> Option<Self> {
        let parts: Vec<Codes<'_>> = column.parts.iter().map(Codes::of).collect::<Option<_>>()?;
        let are_few = |codes: &Codes<'_>| counted::are_few(counted, slots.len(), codes.count());
        if column.opaque.is_some() || !parts.iter().all(are_few) {
            return None;
        }
        let mut partial = Self::new();
        for codes in &parts {
            let cells = codes.count_cells(counted, slots.len());
            for (code, of_code) in cells.chunks(slots.len().max(1)).enumerate() {
                let numbers = slots.clone().zip(of_code.iter().copied());
                let counts = SlotCounts::ascending(numbers.filter(|(_, spans)| *spans > 0.0));
                let Some(key) = (!counts.is_empty()).then(|| codes.key(code)).flatten() else { continue };
                counts.0.iter().for_each(|&(slot, spans)| partial.totals.add(slot, spans));
                if let Some(values) = &mut partial.values {
                    values.entry(key).or_default().merge(counts);
                    if values.len() > MAX_VALUES {
                        partial.values = None;
                    }
                }
            }
        }
        Some(partial)
    }

    fn of_groups(column: &Column, rows: &BooleanBuffer, counted: &[Counted], slots: &Range<u32>) -> Self {
        let groups = Groups::of_most(column, rows, MAX_VALUES);
        let group = |row: u32| groups.numbers[row as usize];
        let mut partial = Self::new();
        let mut value: Option<(u32, Key, SlotCounts)> = None;
        for Counted { row: number, slot, spans } in by_number(counted, slots.len(), groups.values.len(), group) {
            let Cell::One(of_group) = &groups.values[number as usize] else { continue };
            let slot = slot + slots.start;
            partial.totals.add(slot, spans);
            match &mut value {
                Some((last, _, counts)) if *last == number => counts.add(slot, spans),
                _ if groups.left_out.is_some() => {}
                _ => {
                    let Some(key) = Key::of(of_group) else { continue };
                    let next = (number, key, SlotCounts::ascending([(slot, spans)].into_iter()));
                    partial.add_value(value.replace(next));
                }
            }
        }
        partial.add_value(value);
        if groups.left_out.is_some() {
            partial.values = None;
        }
        partial
    }

    fn add_value(&mut self, value: Option<(u32, Key, SlotCounts)>) {
        if let (Some(values), Some((_, key, counts))) = (&mut self.values, value) {
            values.entry(key).or_default().merge(counts);
        }
    }

    /// Adds another, and returns how many numbers are held of values that were not held before.
    fn merge(&mut self, other: Self) -> usize {
        self.totals.merge(other.totals);
        let (Some(values), Some(more)) = (&mut self.values, other.values) else {
            self.values = None;
            return 0;
        };
        let mut added = 0;
        for (key, counts) in more {
            let of_value = values.entry(key).or_default();
            let before = of_value.0.len();
            of_value.merge(counts);
            added += of_value.0.len() - before;
        }
        if values.len() > MAX_VALUES {
            self.values = None;
        }
        added
    }
}

impl PartialComparison {
    /// About how much memory it takes.
    pub fn memory_bytes(&self) -> usize {
        let values: usize =
            self.fields.values().filter_map(|of_field| of_field.values.as_ref()).map(HashMap::len).sum();
        self.samples * SAMPLE_BYTES + values * VALUE_BYTES + self.exemplars.memory_bytes()
    }

    pub fn new(intervals: &Intervals, limits: &Limits) -> Self {
        Self {
            intervals: intervals.count(),
            max_samples: limits.max_samples,
            samples: 0,
            fields: HashMap::new(),
            exemplars: Exemplars::new(limits.max_exemplars),
        }
    }

    pub fn fields_with_too_many_values(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|(_, of_field)| of_field.values.is_none()).map(|(field, _)| field)
    }

    pub fn intervals(&self) -> usize {
        self.intervals
    }

    /// The fields, in the order of their texts, and the exemplars by side.
    pub(super) fn into_parts(self) -> (Vec<(Field, PartialField)>, Exemplars) {
        let mut fields: Vec<(Field, PartialField)> = self.fields.into_iter().collect();
        fields.sort_by_cached_key(|(field, _)| field.to_string());
        (fields, self.exemplars)
    }

    /// # Errors
    /// [`Error::TooManySamples`] when more numbers are held than may be.
    pub(super) fn add(&mut self, field: Field, found: PartialField) -> Result<(), Error> {
        self.samples += self.fields.entry(field).or_insert_with(PartialField::new).merge(found);
        if self.samples > self.max_samples {
            return Err(Error::TooManySamples { max: self.max_samples });
        }
        Ok(())
    }

    pub fn merge(&mut self, other: Self) -> Result<(), Error> {
        self.exemplars.merge(other.exemplars, &[0, 1], 0, Side::BOTH.len());
        other.fields.into_iter().try_for_each(|(field, found)| self.add(field, found))
    }
}
