//! What a block holds, by value: which pages may have a span that satisfies a condition, which keys there are, and which
//! values a key has. Built when a block is written; one object, `index.bundle`.
//!
//! ```text
//! build                                                     ask
//! SpanTable ─▶ build    values of each page                 Conditions ─▶ lookup   terms ─▶ pages
//!              values   each distinct value, its pages                     read     what a look-up lacks is fetched
//!              term     a value as bytes that sort           bundle ◀──────┘
//!              bundle   one object of checked sheets
//! ```
//!
//! A page is a run of whole traces of about a thousand spans: few documents, so a term that most pages have costs bits.
//! Terms stand in a dictionary of tantivy's, with the pages of each beside it. It prunes, the columns decide: an answer
//! may name too many pages and never too few. What the index cannot tell it leaves out of the question.
//!
//! Where nearly every value is different (request ids), a value is two bytes of a hash instead of a term: see
//! `fingerprint`. Those fields answer `=`, and are not listed.
//!
//! The tables of resources and scopes are small, and kept in memory once a block is open. Their values are indexed by
//! page all the same, so that a block which cannot match is not opened at all.

mod build;
mod bundle;
mod columns;
mod directory;
mod figures;
mod fingerprint;
mod lookup;
mod postings;
mod read;
mod term;
mod values;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use spans::SpanTable;
use tantivy::postings::TermInfo;
use tantivy::termdict::TermDictionaryBuilder;

use self::build::Collected;
use self::bundle::Parts;
use self::directory::{Directory, FieldInfo, Flags};
use self::postings::Pages;
use self::term::{Scalar, Tag};
use self::values::{FieldValues, Finished};
use crate::error::Error;

pub use self::figures::{FieldFigures, Figures};
pub use self::lookup::{FieldValue, ValueCount};
pub(crate) use self::read::{BlockIndex, IndexCache, figures};
pub(crate) use self::term::hash_bytes;

/// What an index keeps how. Any limits give right answers; these weigh bytes against what answers are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A page ends with the first trace that reaches so many spans.
    pub page_spans: usize,
    /// A field with at least so many distinct texts stops listing them when they are more than two in five of its values …
    pub least_hashed_texts: usize,
    /// … or so many.
    pub most_listed_texts: usize,
    /// A field with more distinct numbers keeps them in buckets.
    pub most_listed_numbers: usize,
    /// With more hashes none are kept, and the fields that have them are only known to have values in a page: so much
    /// memory may they take while an index is built, eight bytes each.
    pub most_hashes: usize,
    /// Fields beyond so many are left out, so that nothing can be said of them.
    pub most_fields: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            page_spans: 1_000,
            least_hashed_texts: 4_096,
            most_listed_texts: 65_536,
            most_listed_numbers: 1_024,
            most_hashes: 16 << 20,
            most_fields: 8_192,
        }
    }
}

/// The index of a table, or of the tables that make up a block.
pub struct IndexBuilder {
    collected: Collected,
}

impl Default for IndexBuilder {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl IndexBuilder {
    pub fn new(limits: Limits) -> Self {
        Self { collected: Collected::new(limits) }
    }

    /// Adds the spans of some whole traces, in the order of the block's rows.
    ///
    /// # Errors
    /// [`Error::Spans`] when the table has another shape than [`spans::schema`], or its resources or scopes have attribute
    /// columns.
    pub fn add(&mut self, table: &SpanTable) -> Result<(), Error> {
        self.collected.add(table)
    }

    /// The object.
    ///
    /// # Errors
    /// [`Error::Index`] when the dictionary cannot be written.
    pub fn finish(self) -> Result<Bytes, Error> {
        let Collected { page_traces, mut fields, is_incomplete, hashes, .. } = self.collected;
        fields.sort_by(|(left, _), (right, _)| left.cmp(right));
        let mut terms = Terms {
            dictionary: TermDictionaryBuilder::create(Vec::new()).map_err(Error::Index)?,
            postings: Vec::new(),
            page_count: page_traces.len(),
        };
        let mut infos = Vec::with_capacity(fields.len());
        for (number, (field, values)) in fields.into_iter().enumerate() {
            let rows = values.rows;
            let flags = terms.add_field(number as u16, values)?;
            infos.push(FieldInfo { field, rows, flags });
        }
        let parts = Parts {
            fingerprints: hashes.encode(page_traces.len()),
            postings: terms.postings,
            terms: terms.dictionary.finish().map_err(Error::Index)?,
            directory: Directory::new(&page_traces, !is_incomplete, infos).encode(),
        };
        Ok(parts.encode())
    }
}

/// The index of a table that is a whole block.
///
/// # Errors
/// As [`IndexBuilder`].
pub fn encode(table: &SpanTable) -> Result<Bytes, Error> {
    let mut builder = IndexBuilder::default();
    builder.add(table)?;
    builder.finish()
}

/// The dictionary and the postings, while they are written.
struct Terms {
    dictionary: TermDictionaryBuilder<Vec<u8>>,
    postings: Vec<u8>,
    page_count: usize,
}

impl Terms {
    fn add_field(&mut self, field: u16, values: FieldValues) -> Result<Flags, Error> {
        let Finished { texts, numbers, buckets, hashed_numbers, few, present } = values.finish();
        let mut terms: Vec<(Tag, Vec<u8>, Pages)> = Vec::new();
        let mut add = |scalar: Scalar<'_>, pages| {
            let mut value = Vec::new();
            scalar.put(&mut value);
            terms.push((scalar.tag(), value, pages));
        };
        few.into_iter().for_each(|(scalar, pages)| add(scalar, pages));
        numbers.into_iter().for_each(|(number, pages)| add(number.scalar(), pages));
        let flags = Flags {
            hashed_texts: texts.is_none(),
            bucketed_numbers: buckets.is_some(),
            hashed_numbers,
            long_texts: texts.iter().flatten().any(|(text, _)| Scalar::Text(text).tag() == Tag::LongText),
        };
        texts.into_iter().flatten().for_each(|(text, pages)| add(Scalar::Text(&text), pages));
        terms.extend(
            buckets.into_iter().flatten().map(|(bucket, pages)| (Tag::Bucket, bucket.to_be_bytes().to_vec(), pages)),
        );
        if present.count() > 0 {
            terms.push((Tag::Present, Vec::new(), present));
        }
        terms.sort_unstable_by(|(left_tag, left, _), (right_tag, right, _)| (left_tag, left).cmp(&(right_tag, right)));
        terms.dedup_by(|(tag, value, pages), (kept_tag, kept_value, kept)| {
            let is_same = tag == kept_tag && value == kept_value; // two long texts with one hash
            if is_same {
                *kept = Pages::union(&[std::mem::take(kept), std::mem::take(pages)]);
            }
            is_same
        });
        let mut term = Vec::new();
        for (tag, value, pages) in &terms {
            term.clear();
            term.extend(term::prefix(field, *tag));
            term.extend_from_slice(value);
            let start = self.postings.len();
            pages.encode(self.page_count, &mut self.postings);
            let info =
                TermInfo { doc_freq: pages.count(), postings_range: start..self.postings.len(), positions_range: 0..0 };
            self.dictionary.insert(&term, &info).map_err(Error::Index)?;
        }
        Ok(flags)
    }
}
