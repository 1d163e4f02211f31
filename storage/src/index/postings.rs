//! The pages that have a value, as bytes.
//!
//! ```text
//! rows that have the value │ pages
//! pages   differences to the page before, base 128      when fewer than one page in eight has the value
//!         a bit for each page of the index              else
//! ```

use super::varint::{put, take, take_usize};

/// Whether a bit for each page is shorter.
fn is_dense(pages: usize, page_count: usize) -> bool {
    pages * 8 > page_count
}

pub(super) fn encode(pages: &[(u32, u32)], page_count: usize, out: &mut Vec<u8>) {
    put(out, pages.iter().map(|&(_, rows)| u64::from(rows)).sum());
    if is_dense(pages.len(), page_count) {
        let start = out.len();
        out.resize(start + page_count.div_ceil(8), 0);
        pages.iter().for_each(|&(page, _)| out[start + page as usize / 8] |= 1 << (page % 8));
        return;
    }
    let mut last = 0;
    for &(page, _) in pages {
        put(out, u64::from(page - last));
        last = page;
    }
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

    proptest! {
        #[test]
        fn pages_come_back(marked in prop::collection::vec(prop::bool::weighted(0.1), 1..300), dense: bool) {
            let marked: Vec<bool> = marked.into_iter().map(|bit| bit != dense).collect();
            let pages: Vec<(u32, u32)> =
                (0..marked.len()).filter(|&page| marked[page]).map(|page| (page as u32, 3)).collect();
            let (mut bytes, mut found) = (Vec::new(), vec![false; marked.len()]);
            encode(&pages, marked.len(), &mut bytes);
            prop_assert_eq!(rows(&bytes), Some(3 * pages.len() as u64));
            mark(&bytes, pages.len(), &mut found).unwrap();
            prop_assert_eq!(found, marked);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..40), count in 0usize..100) {
            mark(&bytes, count, &mut [false; 64]);
        }
    }
}
