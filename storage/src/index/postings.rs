//! The pages that have a value, as bytes.
//!
//! ```text
//! rows that have the value │ pages
//! pages   differences to the page before, base 128      when fewer than one page in eight has the value
//!         a bit for each page of the index              else
//! ```

use crate::varint::{put, take, take_usize};

/// The pages that have a value, while an index is built: about a byte for each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pages {
    rows: u64,
    count: u32,
    last: u32,
    /// Differences to the page before, base 128.
    differences: Vec<u8>,
}

impl Pages {
    /// Counts rows of a page, which is not before the last one. No rows are no page.
    #[inline]
    pub fn add(&mut self, page: u32, rows: u32) {
        if rows == 0 {
            return;
        }
        self.rows += u64::from(rows);
        if page != self.last || self.count == 0 {
            put(&mut self.differences, u64::from(page - self.last));
            self.last = page;
            self.count += 1;
        }
    }

    pub fn count(&self) -> u32 {
        self.count
    }

    /// Ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let mut differences = self.differences.as_slice();
        std::iter::from_fn(move || take(&mut differences)).scan(0, |page, difference| {
            *page += difference as u32;
            Some(*page)
        })
    }

    /// The pages that have any of some values.
    pub fn union(all: &[Self]) -> Self {
        let mut pages: Vec<u32> = all.iter().flat_map(Self::iter).collect();
        pages.sort_unstable();
        let mut union = Self::default();
        pages.into_iter().for_each(|page| union.add(page, 1));
        union.rows = all.iter().map(|pages| pages.rows).sum();
        union
    }

    /// Appends them as they are kept in an index of so many pages.
    pub fn encode(&self, page_count: usize, out: &mut Vec<u8>) {
        put(out, self.rows);
        if !is_dense(self.count as usize, page_count) {
            out.extend_from_slice(&self.differences);
            return;
        }
        let start = out.len();
        out.resize(start + page_count.div_ceil(8), 0);
        self.iter().for_each(|page| out[start + page as usize / 8] |= 1 << (page % 8));
    }
}

/// Whether a bit for each page is shorter.
fn is_dense(pages: usize, page_count: usize) -> bool {
    pages * 8 > page_count
}

/// How many rows have the value.
pub(super) fn rows(mut postings: &[u8]) -> Option<u64> {
    take(&mut postings)
}

/// Marks the pages of a value that `count` pages have; `None` for bytes that are no postings.
pub(super) fn mark(mut postings: &[u8], count: usize, pages: &mut [bool]) -> Option<()> {
    take(&mut postings)?;
    if is_dense(count, pages.len()) {
        for (page, is_marked) in pages.iter_mut().enumerate() {
            *is_marked |= postings.get(page / 8)? >> (page % 8) & 1 == 1;
        }
        return Some(());
    }
    let mut page = 0usize;
    for _ in 0..count {
        page = page.checked_add(take_usize(&mut postings)?)?;
        *pages.get_mut(page)? = true;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The marked pages, with three rows in each.
    fn of(marked: &[bool]) -> Pages {
        let mut pages = Pages::default();
        (0..marked.len()).filter(|&page| marked[page]).for_each(|page| {
            pages.add(page as u32, 1);
            pages.add(page as u32, 2);
        });
        pages
    }

    proptest! {
        #[test]
        fn pages_come_back(marked in prop::collection::vec(prop::bool::weighted(0.1), 1..300), dense: bool) {
            let marked: Vec<bool> = marked.into_iter().map(|bit| bit != dense).collect();
            let pages = of(&marked);
            let (mut bytes, mut found) = (Vec::new(), vec![false; marked.len()]);
            pages.encode(marked.len(), &mut bytes);
            prop_assert_eq!(rows(&bytes), Some(3 * u64::from(pages.count())));
            mark(&bytes, pages.count() as usize, &mut found).unwrap();
            prop_assert_eq!(found, marked);
        }

        #[test]
        fn a_union_has_the_pages_of_all(values in prop::collection::vec(prop::collection::vec(any::<bool>(), 50), 0..4)) {
            let pages: Vec<Pages> = values.iter().map(|marked| of(marked)).collect();
            let union = Pages::union(&pages);
            let expected: Vec<u32> = (0..50).filter(|&page| values.iter().any(|value| value[page as usize])).collect();
            prop_assert_eq!(union.iter().collect::<Vec<_>>(), expected);
            prop_assert_eq!(union.rows, pages.iter().map(|pages| pages.rows).sum::<u64>());
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..40), count in 0usize..100) {
            mark(&bytes, count, &mut [false; 64]);
        }
    }
}
