//! Accumulators of metrics: numbers by [series][interval], merged in any order.

use hashbrown::HashMap;

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
    /// Most numbers that are held.
    max_cells: usize,
    by_key: HashMap<SeriesKey, u32>,
    keys: Vec<SeriesKey>,
    /// Numbers of the first series, then of the second, ...; of an average the sums.
    cells: Vec<f64>,
    /// Of an average: how many values each cell has.
    counts: Vec<u64>,
}

impl SeriesSet {
    pub fn new(fold: Fold, intervals: usize, max_cells: usize) -> Self {
        let (by_key, keys, cells, counts) = Default::default();
        Self { fold, intervals, max_cells, by_key, keys, cells, counts }
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The number of a series, which is made if it is not there.
    ///
    /// # Errors
    /// [`Error::TooManySamples`] when there is no room for another series.
    pub fn series(&mut self, key: SeriesKey) -> Result<u32, Error> {
        if let Some(&number) = self.by_key.get(&key) {
            return Ok(number);
        }
        if (self.keys.len() + 1).saturating_mul(self.intervals) > self.max_cells {
            return Err(Error::TooManySamples { max: self.max_cells });
        }
        let number = self.keys.len() as u32;
        self.by_key.insert(key.clone(), number);
        self.keys.push(key);
        let nothing = if matches!(self.fold, Fold::Count | Fold::Average) { 0.0 } else { f64::NAN };
        self.cells.resize(self.keys.len() * self.intervals, nothing);
        if self.fold == Fold::Average {
            self.counts.resize(self.cells.len(), 0);
        }
        Ok(number)
    }

    /// Adds values: each belongs to a series (by number) and an interval. A count needs no values.
    pub fn add(&mut self, series: &[u32], intervals: &[u32], values: &[f64]) {
        let width = self.intervals;
        let at = series.iter().zip(intervals).map(|(&series, &interval)| series as usize * width + interval as usize);
        match self.fold {
            Fold::Count => at.for_each(|at| self.cells[at] += 1.0),
            Fold::Average => at.zip(values).for_each(|(at, value)| {
                self.cells[at] += value;
                self.counts[at] += 1;
            }),
            fold => at.zip(values).for_each(|(at, value)| join(fold, &mut self.cells[at], *value)),
        }
    }

    /// Adds the series of another set of the same kind, whose first interval is that of this number here, and returns which
    /// number each series has here.
    pub fn merge(&mut self, other: Self, first_interval: usize) -> Result<Vec<u32>, Error> {
        let mut numbers = Vec::with_capacity(other.keys.len());
        for (from, key) in other.keys.into_iter().enumerate() {
            let number = self.series(key)?;
            let (from, to) = (from * other.intervals, number as usize * self.intervals + first_interval);
            for interval in 0..other.intervals {
                join(self.fold, &mut self.cells[to + interval], other.cells[from + interval]);
                if self.fold == Fold::Average {
                    self.counts[to + interval] += other.counts[from + interval];
                }
            }
            numbers.push(number);
        }
        Ok(numbers)
    }

    pub fn memory_bytes(&self) -> usize {
        let labels = self.keys.iter().flat_map(|key| &key.labels).flatten();
        let keys = labels.map(Key::memory_bytes).sum::<usize>() + self.keys.len() * size_of::<SeriesKey>();
        2 * keys + size_of_val(self.cells.as_slice()) + size_of_val(self.counts.as_slice())
    }

    /// Each series with its numbers; NaN where an interval has no value.
    pub fn into_series(mut self) -> impl Iterator<Item = (SeriesKey, Vec<f64>)> {
        if self.fold == Fold::Average {
            let counted = self.cells.iter_mut().zip(&self.counts);
            counted.for_each(|(sum, &count)| *sum = if count == 0 { f64::NAN } else { *sum / count as f64 });
        }
        let (width, cells) = (self.intervals, self.cells);
        let numbers = move |(number, key): (usize, SeriesKey)| {
            let from = number * width;
            (key, cells[from..from + width].to_vec())
        };
        self.keys.into_iter().enumerate().map(numbers)
    }
}

/// Joins a number to another of the same cell; NaN stands for none.
#[inline]
fn join(fold: Fold, cell: &mut f64, value: f64) {
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
        for (series, interval, value) in values {
            let number = set.series(key(*series)).unwrap();
            set.add(&[number], &[*interval], &[f64::from(*value)]);
        }
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
                let mut merged = SeriesSet::new(fold, INTERVALS, 1000);
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
