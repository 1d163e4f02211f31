//! The values of one field while an index is built: each distinct value once, with the pages that have it.
//!
//! A value is looked up by its number in the table's dictionary, so its bytes are hashed once for each table that is
//! added. Fields of which nearly every value is different stop listing them, and keep hashes instead; numbers of which
//! there are too many fall into buckets.

use std::hash::Hash;

use hashbrown::HashMap;

use super::Limits;
use super::fingerprint::Hashes;
use super::postings::Pages;
use super::term::{self, Scalar};

/// Distinct values with their pages.
pub(super) struct Listed<K> {
    slots: HashMap<K, u32>,
    /// Of each slot.
    pages: Vec<Pages>,
}

impl<K> Default for Listed<K> {
    fn default() -> Self {
        Self { slots: HashMap::default(), pages: Vec::new() }
    }
}

impl<K: Hash + Eq> Listed<K> {
    pub fn len(&self) -> usize {
        self.pages.len()
    }

    /// The value's slot, and whether it is new.
    fn slot(&mut self, key: K) -> (u32, bool) {
        let next = self.pages.len() as u32;
        let slot = *self.slots.entry(key).or_insert(next);
        if slot == next {
            self.pages.push(Pages::default());
        }
        (slot, slot == next)
    }

    /// As [`Pages::add`].
    #[inline]
    fn touch(&mut self, slot: u32, page: u32, rows: u32) {
        self.pages[slot as usize].add(page, rows);
    }

    pub fn add(&mut self, key: K, page: u32, rows: u32) {
        let (slot, _) = self.slot(key);
        self.touch(slot, page, rows);
    }

    /// The values with their pages, in no order.
    pub fn finish(mut self) -> impl Iterator<Item = (K, Pages)> {
        self.slots.into_iter().map(move |(key, slot)| (key, std::mem::take(&mut self.pages[slot as usize])))
    }
}

/// The texts of a field.
enum Texts {
    Listed {
        texts: Listed<Box<str>>,
        /// Slots by number in the dictionary of the table that is being added.
        by_number: HashMap<u32, u32>,
        last: Option<(u32, u32)>,
        occurrences: u64,
    },
    Hashed,
}

/// A number as it is told apart from others.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Number {
    Int(i64),
    /// The bits.
    Float(u64),
}

impl Number {
    pub fn scalar(self) -> Scalar<'static> {
        match self {
            Self::Int(number) => Scalar::Int(number),
            Self::Float(bits) => Scalar::Float(f64::from_bits(bits)),
        }
    }

    fn bucket(self) -> u16 {
        match self {
            Self::Int(number) => term::bucket(number as f64),
            Self::Float(bits) => term::bucket(f64::from_bits(bits)),
        }
    }
}

enum Numbers {
    Listed(Listed<Number>),
    Bucketed { buckets: Listed<u16>, hashed: bool },
}

/// All values of a field.
pub(super) struct FieldValues {
    pub rows: u64,
    limits: Limits,
    seed: u64,
    pub present: Listed<()>,
    texts: Texts,
    numbers: Numbers,
    /// Bools, statuses and kinds: few by nature.
    few: Vec<(Scalar<'static>, Listed<()>)>,
}

/// What is left of a field once all is added.
pub(super) struct Finished {
    pub texts: Option<Vec<(Box<str>, Pages)>>,
    pub numbers: Vec<(Number, Pages)>,
    pub buckets: Option<Vec<(u16, Pages)>>,
    pub hashed_numbers: bool,
    pub few: Vec<(Scalar<'static>, Pages)>,
    pub present: Pages,
}

impl FieldValues {
    /// `seed` tells the hashes of this field from those of others.
    pub fn new(seed: u64, limits: Limits) -> Self {
        let texts =
            Texts::Listed { texts: Listed::default(), by_number: HashMap::default(), last: None, occurrences: 0 };
        Self {
            rows: 0,
            limits,
            seed,
            present: Listed::default(),
            texts,
            numbers: Numbers::Listed(Listed::default()),
            few: Vec::new(),
        }
    }

    /// Numbers in buckets only: for what is nearly never asked for by an exact value.
    pub fn bucketed(seed: u64, limits: Limits) -> Self {
        Self { numbers: Numbers::Bucketed { buckets: Listed::default(), hashed: false }, ..Self::new(seed, limits) }
    }

    /// Numbers in the dictionaries have another meaning from here on.
    pub fn begin_table(&mut self) {
        if let Texts::Listed { by_number, last, .. } = &mut self.texts {
            by_number.clear();
            *last = None;
        }
    }

    /// Rows of a page have some value.
    #[inline]
    pub fn add_present(&mut self, page: u32, rows: u32) {
        self.rows += u64::from(rows);
        if self.present.len() == 0 {
            self.present.add((), page, rows);
        } else {
            self.present.touch(0, page, rows);
        }
    }

    /// `number` is the text's in a dictionary of the table.
    #[inline]
    pub fn add_coded_text(&mut self, number: u32, text: &str, page: u32, rows: u32, hashes: &mut Hashes) {
        if let Texts::Listed { texts, by_number, last, occurrences } = &mut self.texts {
            let known = match *last {
                Some((last_number, slot)) if last_number == number => Some(slot),
                _ => by_number.get(&number).copied(),
            };
            if let Some(slot) = known {
                *occurrences += u64::from(rows);
                *last = Some((number, slot));
                texts.touch(slot, page, rows);
                return;
            }
        }
        let slot = self.add_text(text, page, rows, hashes);
        if let (Texts::Listed { by_number, .. }, Some(slot)) = (&mut self.texts, slot) {
            by_number.insert(number, slot);
        }
    }

    /// The text's slot, if texts are listed.
    pub fn add_text(&mut self, text: &str, page: u32, rows: u32, hashes: &mut Hashes) -> Option<u32> {
        let Texts::Listed { texts, occurrences, .. } = &mut self.texts else {
            if rows > 0 {
                hashes.add(Scalar::Text(text).hash(self.seed), page);
            }
            return None;
        };
        *occurrences += u64::from(rows);
        let known = texts.slots.get(text).copied();
        let (slot, is_new) = known.map_or_else(|| texts.slot(text.into()), |slot| (slot, false));
        texts.touch(slot, page, rows);
        let count = texts.len();
        let is_checked = is_new && count >= self.limits.least_hashed_texts && count.is_power_of_two();
        if is_checked && (count as u64 * 5 > *occurrences * 2 || count >= self.limits.most_listed_texts) {
            self.hash_texts(hashes);
            return None;
        }
        Some(slot)
    }

    fn hash_texts(&mut self, hashes: &mut Hashes) {
        if let Texts::Listed { texts, .. } = std::mem::replace(&mut self.texts, Texts::Hashed) {
            for (text, pages) in texts.finish() {
                let hash = Scalar::Text(&text).hash(self.seed);
                pages.iter().for_each(|page| hashes.add(hash, page));
            }
        }
    }

    pub fn add_number(&mut self, number: Number, page: u32, rows: u32, hashes: &mut Hashes) {
        match &mut self.numbers {
            Numbers::Listed(numbers) => {
                numbers.add(number, page, rows);
                if numbers.len() > self.limits.most_listed_numbers {
                    self.bucket_numbers(hashes);
                }
            }
            Numbers::Bucketed { .. } if rows == 0 => {} // they are not listed
            Numbers::Bucketed { buckets, hashed } => {
                buckets.add(number.bucket(), page, rows);
                if *hashed {
                    hashes.add(number.scalar().hash(self.seed), page);
                }
            }
        }
    }

    fn bucket_numbers(&mut self, hashes: &mut Hashes) {
        let Numbers::Listed(numbers) = &mut self.numbers else { return };
        let mut of_bucket: HashMap<u16, Vec<Pages>> = HashMap::new();
        for (number, pages) in std::mem::take(numbers).finish() {
            let hash = number.scalar().hash(self.seed);
            pages.iter().for_each(|page| hashes.add(hash, page));
            of_bucket.entry(number.bucket()).or_default().push(pages);
        }
        let mut buckets = Listed::default();
        for (bucket, pages) in of_bucket {
            let (slot, _) = buckets.slot(bucket);
            buckets.pages[slot as usize] = Pages::union(&pages);
        }
        self.numbers = Numbers::Bucketed { buckets, hashed: true };
    }

    /// For bools, statuses and kinds.
    pub fn add_few(&mut self, scalar: Scalar<'static>, page: u32, rows: u32) {
        let place = self.few.iter().position(|(known, _)| *known == scalar).unwrap_or_else(|| {
            self.few.push((scalar, Listed::default()));
            self.few.len() - 1
        });
        self.few[place].1.add((), page, rows);
    }

    pub fn finish(self) -> Finished {
        let only = |listed: Listed<()>| listed.finish().next().map(|(_, pages)| pages).unwrap_or_default();
        let (numbers, buckets, hashed_numbers) = match self.numbers {
            Numbers::Listed(numbers) => (numbers.finish().collect(), None, false),
            Numbers::Bucketed { buckets, hashed } => (Vec::new(), Some(buckets.finish().collect()), hashed),
        };
        let texts = match self.texts {
            Texts::Listed { texts, .. } => Some(texts.finish().collect()),
            Texts::Hashed => None,
        };
        let few = self.few.into_iter().map(|(scalar, listed)| (scalar, only(listed))).collect();
        Finished { texts, numbers, buckets, hashed_numbers, few, present: only(self.present) }
    }
}
