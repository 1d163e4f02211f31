//! Accumulators of metrics: numbers by [series][interval], merged in any order.

mod encoded;

use std::hash::BuildHasher;
use std::ops::Range;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::error::Error;
use crate::eval::Key;

/// How the values of an interval become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fold {
    /// How many there are; 0 where there are none.
    Count,
    Sum,
    Min,
    Max,
    Average,
}

impl Fold {
    /// The number of an interval without values.
    pub fn nothing(self) -> f64 {
        if matches!(self, Self::Count | Self::Average) { 0.0 } else { f64::NAN }
    }
}

/// What the spans of a series have in common, and no spans of other series.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct SeriesKey {
    /// One for each field of `by()`; `None` where there is no value.
    pub labels: Vec<Option<Key>>,
    /// In a histogram: the values are at most two to this power.
    pub bucket: Option<u8>,
}

/// Series with a number for each interval.
#[derive(Debug, Clone)]
pub(crate) struct SeriesSet {
    fold: Fold,
    intervals: usize,
    /// The intervals of which numbers are held: a part of the data has few, and costs no more than these.
    held: Range<usize>,
    /// Most numbers that series may have in all intervals.
    max_cells: usize,
    keys: Vec<SeriesKey>,
    /// Places in `keys`; made when the first is looked up.
    by_key: Option<KeyIndex>,
    /// Numbers of the first series, then of the second, ...; of an average the sums.
    cells: Vec<f64>,
    /// Of an average: how many values each cell has, or for how many they stand.
    counts: Vec<f64>,
}

#[derive(Debug, Clone, Default)]
struct KeyIndex {
    hashes: DefaultHashBuilder,
    numbers: HashTable<u32>,
}

impl KeyIndex {
    fn find(&self, key: &SeriesKey, keys: &[SeriesKey]) -> Option<u32> {
        self.numbers.find(self.hashes.hash_one(key), |&number| keys[number as usize] == *key).copied()
    }

    fn insert(&mut self, number: u32, keys: &[SeriesKey]) {
        let hash = |&number: &u32| self.hashes.hash_one(&keys[number as usize]);
        self.numbers.insert_unique(hash(&number), number, hash);
    }
}

impl SeriesSet {
    pub fn new(fold: Fold, intervals: usize, max_cells: usize) -> Self {
        Self::within(fold, intervals, 0..intervals, max_cells)
    }

    /// Holds numbers of some of the intervals.
    pub fn within(fold: Fold, intervals: usize, held: Range<usize>, max_cells: usize) -> Self {
        let (keys, by_key, cells, counts) = Default::default();
        Self { fold, intervals, held, max_cells, keys, by_key, cells, counts }
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// By number.
    pub fn keys(&self) -> &[SeriesKey] {
        &self.keys
    }

    /// Whether so many series have more numbers than may be held.
    ///
    /// # Errors
    /// [`Error::TooManySamples`] then.
    pub fn check_room(&self, series: usize) -> Result<(), Error> {
        let has_room = series.saturating_mul(self.intervals) <= self.max_cells;
        if has_room { Ok(()) } else { Err(Error::TooManySamples { max: self.max_cells }) }
    }

    /// The number of a series, which is made if it is not there.
    ///
    /// # Errors
    /// [`Error::TooManySamples`] when there is no room for another series.
    pub fn series(&mut self, key: SeriesKey) -> Result<u32, Error> {
        let keys = &self.keys;
        let by_key = self.by_key.get_or_insert_with(|| {
            let mut index = KeyIndex::default();
            (0..keys.len() as u32).for_each(|number| index.insert(number, keys));
            index
        });
        if let Some(number) = by_key.find(&key, keys) {
            return Ok(number);
        }
        let number = self.push_key(key)?;
        self.cells.resize(self.keys.len() * self.held.len(), self.fold.nothing());
        if self.fold == Fold::Average {
            self.counts.resize(self.cells.len(), 0.0);
        }
        Ok(number)
    }

    /// Adds a series that is not there yet, with the number of each interval that is held and, of an average, the count.
    ///
    /// # Errors
    /// [`Error::TooManySamples`] when there is no room for another series.
    pub fn push(&mut self, key: SeriesKey, cells: impl Iterator<Item = (f64, f64)>) -> Result<u32, Error> {
        let number = self.push_key(key)?;
        for (cell, count) in cells {
            self.cells.push(cell);
            if self.fold == Fold::Average {
                self.counts.push(count);
            }
        }
        debug_assert_eq!(self.cells.len(), self.keys.len() * self.held.len());
        Ok(number)
    }

    fn push_key(&mut self, key: SeriesKey) -> Result<u32, Error> {
        self.check_room(self.keys.len() + 1)?;
        let number = self.keys.len() as u32;
        self.keys.push(key);
        if let Some(by_key) = &mut self.by_key {
            by_key.insert(number, &self.keys);
        }
        Ok(number)
    }

    /// Adds the series of another set of the same kind, whose first interval is that of this number here, and returns which
    /// number each series has here.
    pub fn merge(&mut self, other: Self, first_interval: usize) -> Result<Vec<u32>, Error> {
        let held = other.held.start + first_interval..other.held.end + first_interval;
        self.hold(&held);
        let (width, other_width) = (self.held.len(), held.len());
        let offset = held.start.saturating_sub(self.held.start);
        let mut numbers = Vec::with_capacity(other.keys.len());
        for (from, key) in other.keys.into_iter().enumerate() {
            let number = self.series(key)?;
            let (from, to) = (from * other_width, number as usize * width + offset);
            let cells = self.cells[to..to + other_width].iter_mut().zip(&other.cells[from..from + other_width]);
            cells.for_each(|(cell, &value)| join(self.fold, cell, value));
            if self.fold == Fold::Average {
                let counts = self.counts[to..to + other_width].iter_mut().zip(&other.counts[from..from + other_width]);
                counts.for_each(|(count, more)| *count += more);
            }
            numbers.push(number);
        }
        Ok(numbers)
    }

    /// Makes room for the numbers of other intervals.
    fn hold(&mut self, held: &Range<usize>) {
        if held.is_empty() || self.held.start <= held.start && held.end <= self.held.end {
            return;
        }
        let all = match self.held.is_empty() {
            true => held.clone(),
            false => self.held.start.min(held.start)..self.held.end.max(held.end),
        };
        self.cells = widened(&self.cells, self.keys.len(), &self.held, &all, self.fold.nothing());
        if self.fold == Fold::Average {
            self.counts = widened(&self.counts, self.keys.len(), &self.held, &all, 0.0);
        }
        self.held = all;
    }

    pub fn memory_bytes(&self) -> usize {
        let labels = self.keys.iter().flat_map(|key| &key.labels).flatten();
        let keys = labels.map(Key::memory_bytes).sum::<usize>() + self.keys.len() * size_of::<SeriesKey>();
        let index = self.by_key.as_ref().map_or(0, |index| index.numbers.allocation_size());
        keys + index + size_of_val(self.cells.as_slice()) + size_of_val(self.counts.as_slice())
    }

    /// Each series with its numbers; NaN where an interval has no value.
    pub fn into_series(mut self) -> impl Iterator<Item = (SeriesKey, Vec<f64>)> {
        if self.fold == Fold::Average {
            let counted = self.cells.iter_mut().zip(&self.counts);
            counted.for_each(|(sum, &count)| *sum = if count == 0.0 { f64::NAN } else { *sum / count });
        }
        let cells = widened(&self.cells, self.keys.len(), &self.held, &(0..self.intervals), self.nothing_at_end());
        let width = self.intervals;
        let numbers = move |(number, key): (usize, SeriesKey)| {
            let from = number * width;
            (key, cells[from..from + width].to_vec())
        };
        self.keys.into_iter().enumerate().map(numbers)
    }

    /// In the end an interval without values has a count and nothing else.
    fn nothing_at_end(&self) -> f64 {
        if self.fold == Fold::Average { f64::NAN } else { self.fold.nothing() }
    }
}

/// Rows of cells, one for each series, with places for more intervals.
fn widened<T: Copy>(cells: &[T], series: usize, held: &Range<usize>, wanted: &Range<usize>, nothing: T) -> Vec<T> {
    let mut widened = vec![nothing; series * wanted.len()];
    for number in 0..series {
        let (from, to) = (number * held.len(), number * wanted.len() + held.start.saturating_sub(wanted.start));
        widened[to..to + held.len()].copy_from_slice(&cells[from..from + held.len()]);
    }
    widened
}

/// Joins a number to another of the same cell; NaN stands for none.
#[inline]
pub(crate) fn join(fold: Fold, cell: &mut f64, value: f64) {
    match fold {
        Fold::Count | Fold::Average => *cell += value,
        _ if value.is_nan() => {}
        Fold::Sum => *cell = if cell.is_nan() { value } else { *cell + value },
        Fold::Min => *cell = cell.min(value),
        Fold::Max => *cell = cell.max(value),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FOLDS: [Fold; 5] = [Fold::Count, Fold::Sum, Fold::Min, Fold::Max, Fold::Average];
    const INTERVALS: usize = 3;

    fn key(number: i64) -> SeriesKey {
        SeriesKey { labels: vec![Some(Key::Int(number))], bucket: None }
    }

    fn set_of(fold: Fold, values: &[(i64, u32, i32)]) -> SeriesSet {
        let mut set = SeriesSet::new(fold, INTERVALS, 1000);
        for value in values {
            set.merge(set_of_one(fold, value), 0).unwrap();
        }
        set
    }

    /// Holds one interval only.
    fn set_of_one(fold: Fold, (series, interval, value): &(i64, u32, i32)) -> SeriesSet {
        let interval = *interval as usize;
        let mut set = SeriesSet::within(fold, INTERVALS, interval..interval + 1, 1000);
        let value = if fold == Fold::Count { 1.0 } else { f64::from(*value) };
        set.push(key(*series), [(value, 1.0)].into_iter()).unwrap();
        set
    }

    /// Sorted by key; numbers as bits, so that NaN is equal to itself.
    fn sorted(set: SeriesSet) -> Vec<(String, Vec<u64>)> {
        let bits = |numbers: Vec<f64>| numbers.into_iter().map(f64::to_bits).collect();
        let mut series: Vec<_> = set.into_series().map(|(key, numbers)| (format!("{key:?}"), bits(numbers))).collect();
        series.sort();
        series
    }

    proptest! {
        #[test]
        fn parts_merge_to_the_whole_in_any_order(
            values in proptest::collection::vec((0..6_i64, 0..INTERVALS as u32, -50..50_i32), 0..60),
            parts in proptest::collection::vec(0..4_usize, 60),
            reversed in any::<bool>(),
        ) {
            for fold in FOLDS {
                let whole = sorted(set_of(fold, &values));
                let mut of_part: Vec<Vec<_>> = vec![Vec::new(); 4];
                values.iter().zip(&parts).for_each(|(value, &part)| of_part[part].push(*value));
                if reversed {
                    of_part.reverse();
                }
                // what holds no interval yet makes room for those of its parts
                let mut merged = SeriesSet::within(fold, INTERVALS, 0..0, 1000);
                for part in of_part {
                    merged.merge(set_of(fold, &part), 0).unwrap();
                }
                prop_assert_eq!(sorted(merged), whole, "{:?}", fold);
            }
        }
    }

    #[test]
    fn an_interval_without_values_has_a_count_and_nothing_else() {
        let of = |fold| set_of(fold, &[(1, 1, 4), (1, 1, -2)]).into_series().next().unwrap().1;
        assert_eq!(of(Fold::Count), [0.0, 2.0, 0.0]);
        for (fold, value) in [(Fold::Sum, 2.0), (Fold::Min, -2.0), (Fold::Max, 4.0), (Fold::Average, 1.0)] {
            let numbers = of(fold);
            assert!(numbers[0].is_nan() && numbers[2].is_nan(), "{fold:?}");
            assert_eq!(numbers[1], value, "{fold:?}");
        }
    }

    #[test]
    fn there_is_room_for_so_many_numbers_only() {
        let mut set = SeriesSet::new(Fold::Count, INTERVALS, 2 * INTERVALS);
        assert_eq!((set.series(key(1)).unwrap(), set.series(key(2)).unwrap(), set.series(key(1)).unwrap()), (0, 1, 0));
        let error = set.series(key(3)).unwrap_err();
        assert_eq!(error.kind(), model::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("more than 6 samples"), "{error}");
    }
}
