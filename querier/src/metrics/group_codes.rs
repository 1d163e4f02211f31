//! Which combination of values each row of a batch has, as one dense number: the code.
//!
//! Each field of `by()` numbers its own values. While the product of their numbers is small, a code is the place in the
//! product; where it is large, only combinations that occur are numbered.

use hashbrown::HashMap;

use super::timeline::IntervalRun;
use crate::engine::selection::SelectedSpans;

/// Products up to this size are not hashed: accumulators of so many codes stay in the caches of a core.
const MAX_PRODUCT: usize = 1 << 14;

/// A code for each row.
#[derive(Debug, Default)]
pub(super) struct GroupCodes {
    /// By row; `None` while there is only the code 0.
    codes: Option<Vec<u32>>,
    /// How codes were made, first step first.
    steps: Vec<Step>,
    count: usize,
}

#[derive(Debug)]
enum Step {
    /// The code before, times this, plus the number.
    Product(usize),
    /// The code before and the number, by code.
    Pairs(Vec<(u32, u32)>),
    /// The code before, by code.
    Renumbered(Vec<u32>),
}

impl GroupCodes {
    /// One code for all rows.
    pub fn one() -> Self {
        Self { codes: None, steps: Vec::new(), count: 1 }
    }

    /// Codes are below this.
    pub fn count(&self) -> usize {
        self.count
    }

    /// By row; `None` when all rows have the code 0.
    pub fn codes(&self) -> Option<&[u32]> {
        self.codes.as_deref()
    }

    pub fn code(&self, row: usize) -> u32 {
        self.codes.as_ref().map_or(0, |codes| codes[row])
    }

    /// Tells rows apart by another number each, which is below `number_count`.
    pub fn add(&mut self, numbers: Vec<u32>, number_count: usize) {
        let product = self.count.saturating_mul(number_count);
        let Some(codes) = &mut self.codes else {
            *self = Self { codes: Some(numbers), steps: vec![Step::Product(number_count)], count: number_count };
            return;
        };
        if product <= MAX_PRODUCT {
            let combine = |(code, number): (&mut u32, u32)| *code = *code * number_count as u32 + number;
            codes.iter_mut().zip(numbers).for_each(combine);
            self.steps.push(Step::Product(number_count));
            self.count = product;
        } else {
            let pairs = number_pairs(codes, &numbers);
            self.count = pairs.len();
            self.steps.push(Step::Pairs(pairs));
        }
    }

    /// Renumbers codes so that each has a row that counts. The order of codes is lost.
    pub fn keep_occurring(&mut self, runs: &[IntervalRun], selected: &SelectedSpans) {
        const UNKNOWN: u32 = u32::MAX;
        let Some(codes) = &mut self.codes else { return };
        let (mut new_codes, mut old_codes) = (vec![UNKNOWN; self.count], Vec::new());
        for run in runs {
            selected.for_each(run.rows.clone(), |row| {
                let new = &mut new_codes[codes[row] as usize];
                if *new == UNKNOWN {
                    *new = old_codes.len() as u32;
                    old_codes.push(codes[row]);
                }
            });
        }
        // rows that do not count may have any code
        let renumber =
            |code: &mut u32| *code = Some(new_codes[*code as usize]).filter(|new| *new != UNKNOWN).unwrap_or(0);
        codes.iter_mut().for_each(renumber);
        self.count = old_codes.len();
        self.steps.push(Step::Renumbered(old_codes));
    }

    /// The numbers that were combined to a code, in the order in which they were added.
    pub fn numbers(&self, code: u32) -> Vec<u32> {
        let (mut code, mut numbers) = (code, Vec::with_capacity(self.steps.len()));
        for step in self.steps.iter().rev() {
            match step {
                Step::Product(number_count) => {
                    numbers.push(code % *number_count as u32);
                    code /= *number_count as u32;
                }
                Step::Pairs(pairs) => {
                    let (before, number) = pairs[code as usize];
                    numbers.push(number);
                    code = before;
                }
                Step::Renumbered(old_codes) => code = old_codes[code as usize],
            }
        }
        numbers.reverse();
        numbers
    }
}

/// Replaces each code by the number of its pair, and returns the pairs.
fn number_pairs(codes: &mut [u32], numbers: &[u32]) -> Vec<(u32, u32)> {
    let mut known: HashMap<u64, u32> = HashMap::new();
    let mut pairs = Vec::new();
    for (code, &number) in codes.iter_mut().zip(numbers) {
        let pair = u64::from(*code) << 32 | u64::from(number);
        *code = *known.entry(pair).or_insert_with(|| {
            pairs.push((*code, number));
            pairs.len() as u32 - 1
        });
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn combined(of_fields: &[(Vec<u32>, usize)]) -> GroupCodes {
        let mut codes = GroupCodes::one();
        of_fields.iter().for_each(|(numbers, count)| codes.add(numbers.clone(), *count));
        codes
    }

    fn assert_rows(codes: &GroupCodes, of_fields: &[(Vec<u32>, usize)], rows: impl Iterator<Item = usize>) {
        for row in rows {
            let expected: Vec<u32> = of_fields.iter().map(|(numbers, _)| numbers[row]).collect();
            assert_eq!(codes.numbers(codes.code(row)), expected, "row {row}");
            assert!((codes.code(row) as usize) < codes.count());
        }
    }

    #[test]
    fn a_code_tells_what_it_was_made_of() {
        let small = [(vec![0, 1, 2, 1], 3), (vec![1, 0, 1, 0], 2)];
        let large = [(vec![0, 70_000, 2, 70_000], 70_001), (vec![1, 0, 1, 0], 2), (vec![5, 6, 7, 8], 9)];
        for of_fields in [&small[..], &large] {
            assert_rows(&combined(of_fields), of_fields, 0..4);
        }
        assert_eq!((combined(&small).count(), combined(&large).count()), (6, 27));
        assert_eq!(GroupCodes::one().numbers(0), [0; 0]);
    }

    #[test]
    fn codes_without_rows_can_be_left_out() {
        let of_fields = [(vec![0, 9, 2, 9], 10), (vec![1, 0, 1, 0], 2)];
        let mut codes = combined(&of_fields);
        let runs = [IntervalRun { rows: 0..1, interval: 0 }, IntervalRun { rows: 2..4, interval: 0 }];
        codes.keep_occurring(&runs, &SelectedSpans::Rows(vec![1, 2, 3]));
        assert_eq!(codes.count(), 2);
        assert_rows(&codes, &of_fields, 2..4);
    }
}
