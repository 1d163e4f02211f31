//! Which spans of a batch count.

use std::ops::Range;

use arrow::buffer::BooleanBuffer;

use crate::mask;

/// The spans of a batch that are aggregated.
#[derive(Debug, Clone)]
pub(crate) enum SelectedSpans {
    All,
    Mask(BooleanBuffer),
    /// Rows, ascending. A row that is there twice counts twice.
    Rows(Vec<u32>),
}

impl SelectedSpans {
    /// The same spans, as a mask where no row is there twice: masks are the faster form.
    pub fn simplified(&self, span_count: usize) -> Self {
        match self {
            Self::Rows(rows) if rows.is_sorted_by(|row, next| row < next) => Self::Mask(self.mask(span_count)),
            other => other.clone(),
        }
    }

    pub fn mask(&self, span_count: usize) -> BooleanBuffer {
        match self {
            Self::All => BooleanBuffer::new_set(span_count),
            Self::Mask(mask) => mask.clone(),
            Self::Rows(rows) => mask::of_rows(span_count, rows.iter().map(|&row| row as usize)),
        }
    }

    /// Those that are in `mask` too.
    pub fn and(self, mask: &BooleanBuffer) -> Self {
        match self {
            Self::All => Self::Mask(mask.clone()),
            Self::Mask(own) => Self::Mask(&own & mask),
            Self::Rows(mut rows) => {
                rows.retain(|&row| mask.value(row as usize));
                Self::Rows(rows)
            }
        }
    }

    /// How many rows of a range count.
    pub fn count(&self, range: Range<usize>) -> usize {
        match self {
            Self::All => range.len(),
            Self::Mask(mask) => mask.slice(range.start, range.len()).count_set_bits(),
            Self::Rows(rows) => within(rows, range).len(),
        }
    }

    /// Takes each row of a range that counts, ascending.
    #[inline]
    pub fn for_each(&self, range: Range<usize>, mut take: impl FnMut(usize)) {
        match self {
            Self::All => range.for_each(take),
            Self::Mask(mask) => {
                let start = range.start;
                mask.slice(start, range.len()).set_indices().for_each(|at| take(start + at));
            }
            Self::Rows(rows) => within(rows, range).iter().for_each(|&row| take(row as usize)),
        }
    }
}

fn within(rows: &[u32], range: Range<usize>) -> &[u32] {
    let start = rows.partition_point(|&row| (row as usize) < range.start);
    let end = rows.partition_point(|&row| (row as usize) < range.end);
    &rows[start..end.max(start)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(selected: &SelectedSpans, range: Range<usize>) -> Vec<usize> {
        let mut rows = Vec::new();
        selected.for_each(range.clone(), |row| rows.push(row));
        assert_eq!(selected.count(range), rows.len());
        rows
    }

    #[test]
    fn every_form_gives_its_rows_of_a_range() {
        let mask = mask::of_rows(10, [1, 4, 5, 9]);
        for (selected, expected) in [
            (SelectedSpans::All, vec![3, 4, 5]),
            (SelectedSpans::Mask(mask.clone()), vec![4, 5]),
            (SelectedSpans::Rows(vec![1, 4, 4, 5, 9]), vec![4, 4, 5]),
        ] {
            assert_eq!(taken(&selected, 3..6), expected);
            assert_eq!(taken(&selected, 6..9).len(), if matches!(selected, SelectedSpans::All) { 3 } else { 0 });
            let of_mask = taken(&selected.and(&mask), 3..6);
            assert_eq!(of_mask, expected.into_iter().filter(|&row| mask.value(row)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn rows_become_a_mask_where_none_is_there_twice() {
        let once = SelectedSpans::Rows(vec![1, 4, 9]).simplified(10);
        assert!(matches!(&once, SelectedSpans::Mask(_)));
        assert_eq!(taken(&once, 0..10), [1, 4, 9]);
        assert_eq!(taken(&SelectedSpans::Rows(vec![1, 1]).simplified(10), 0..10), [1, 1]);
    }
}
