//! The directory of an index: which traces make a page, and which fields there are.
//!
//! ```text
//! pages   count │ traces of each                                    numbers in base 128 throughout
//! fields  1 if all of them are here, else 0 │ count │ field … field
//! field   home u8 (0-4 the scope of an attribute, 5 an intrinsic) │ length, name │ rows │ flags u8
//! ```
//!
//! The number of a field in terms is its place here. Fields are sorted.

use std::ops::Range;

use model::{Intrinsic, Scope};

use super::term::hash_bytes;
use crate::varint::{put, put_bytes, take, take_bytes, take_usize};

/// A field that spans, or the rows that belong to them, have of their own. Unscoped names are two of these.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum IndexedField {
    Attribute(Scope, String),
    Intrinsic(Intrinsic),
}

impl IndexedField {
    /// Tells the hashes of a field's values from those of other fields.
    pub fn hash_seed(&self) -> u64 {
        match self {
            Self::Attribute(scope, name) => hash_bytes(format!("{scope}.{name}").as_bytes(), 0),
            Self::Intrinsic(intrinsic) => hash_bytes(intrinsic.canonical().as_bytes(), 1),
        }
    }
}

/// What is known of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldInfo {
    pub field: IndexedField,
    /// Spans, events, links or traces (wherever the field is at home) that have a value.
    pub rows: u64,
    pub flags: Flags,
}

/// How the values of a field are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Flags {
    /// Texts are fingerprints, not terms.
    pub hashed_texts: bool,
    /// Numbers are buckets, not terms.
    pub bucketed_numbers: bool,
    /// Numbers in buckets are fingerprints, too.
    pub hashed_numbers: bool,
    /// Some text is longer than a term.
    pub long_texts: bool,
}

impl Flags {
    /// Whether the terms are all values that there are.
    pub fn lists_all(self) -> bool {
        !self.hashed_texts && !self.bucketed_numbers && !self.long_texts
    }

    fn to_byte(self) -> u8 {
        let Self { hashed_texts, bucketed_numbers, hashed_numbers, long_texts } = self;
        [hashed_texts, bucketed_numbers, hashed_numbers, long_texts]
            .into_iter()
            .enumerate()
            .fold(0, |byte, (bit, flag)| byte | u8::from(flag) << bit)
    }

    fn from_byte(byte: u8) -> Self {
        let flag = |bit: u8| byte >> bit & 1 == 1;
        Self { hashed_texts: flag(0), bucketed_numbers: flag(1), hashed_numbers: flag(2), long_texts: flag(3) }
    }
}

/// See the [module](self).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Directory {
    /// First trace of each page, and the end of the last.
    bounds: Vec<usize>,
    pub is_complete: bool,
    /// Sorted by field.
    pub fields: Vec<FieldInfo>,
}

impl Directory {
    pub fn new(page_traces: &[usize], is_complete: bool, fields: Vec<FieldInfo>) -> Self {
        Self { bounds: bounds(page_traces.iter().copied()), is_complete, fields }
    }

    pub fn page_count(&self) -> usize {
        self.bounds.len().saturating_sub(1)
    }

    /// The traces of a page, as rows of `traces`.
    pub fn traces_of(&self, page: usize) -> Range<usize> {
        self.bounds[page]..self.bounds[page + 1]
    }

    /// The number of a field.
    pub fn find(&self, field: &IndexedField) -> Option<u16> {
        Some(self.fields.binary_search_by(|info| info.field.cmp(field)).ok()? as u16)
    }

    pub fn memory_bytes(&self) -> usize {
        size_of_val(self.bounds.as_slice()) + self.fields.len() * (size_of::<FieldInfo>() + 24)
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, self.page_count() as u64);
        self.bounds.windows(2).for_each(|bounds| put(&mut out, (bounds[1] - bounds[0]) as u64));
        out.push(u8::from(self.is_complete));
        put(&mut out, self.fields.len() as u64);
        for FieldInfo { field, rows, flags } in &self.fields {
            let (home, name) = match field {
                IndexedField::Attribute(scope, name) => (scope_number(*scope), name.as_str()),
                IndexedField::Intrinsic(intrinsic) => (INTRINSIC, intrinsic.canonical()),
            };
            out.push(home);
            put_bytes(&mut out, name.as_bytes());
            put(&mut out, *rows);
            out.push(flags.to_byte());
        }
        out
    }

    /// `None` for bytes that are no directory.
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let page_count = take_usize(bytes)?;
        let lengths = (0..page_count).map(|_| take_usize(bytes)).collect::<Option<Vec<_>>>()?;
        let is_complete = take_byte(bytes)? == 1;
        let field_count = take_usize(bytes)?;
        let fields = (0..field_count).map(|_| decode_field(bytes)).collect::<Option<Vec<_>>>()?;
        let in_order = fields.windows(2).all(|pair| pair[0].field < pair[1].field);
        (in_order && fields.len() <= usize::from(u16::MAX)).then(|| Self::new(&lengths, is_complete, fields))
    }
}

fn decode_field(bytes: &mut &[u8]) -> Option<FieldInfo> {
    let home = take_byte(bytes)?;
    let name = str::from_utf8(take_bytes(bytes)?).ok()?;
    let field = match home {
        INTRINSIC => IndexedField::Intrinsic(INTRINSICS.into_iter().find(|known| known.canonical() == name)?),
        _ => {
            IndexedField::Attribute(Scope::ALL.into_iter().find(|&scope| scope_number(scope) == home)?, name.to_owned())
        }
    };
    Some(FieldInfo { field, rows: take(bytes)?, flags: Flags::from_byte(take_byte(bytes)?) })
}

fn take_byte(bytes: &mut &[u8]) -> Option<u8> {
    let (&byte, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(byte)
}

/// Where runs of these lengths begin, and where the last ends.
fn bounds(lengths: impl Iterator<Item = usize>) -> Vec<usize> {
    let ends = lengths.scan(0usize, |end, length| {
        *end = end.saturating_add(length);
        Some(*end)
    });
    std::iter::once(0).chain(ends).collect()
}

const INTRINSIC: u8 = 5;

/// The intrinsics that are indexed. The others depend on other rows, or are ids.
pub(super) const INTRINSICS: [Intrinsic; 14] = [
    Intrinsic::Duration,
    Intrinsic::Name,
    Intrinsic::Status,
    Intrinsic::StatusMessage,
    Intrinsic::Kind,
    Intrinsic::TraceDuration,
    Intrinsic::RootName,
    Intrinsic::RootServiceName,
    Intrinsic::EventName,
    Intrinsic::EventTimeSinceStart,
    Intrinsic::LinkTraceId,
    Intrinsic::LinkSpanId,
    Intrinsic::InstrumentationName,
    Intrinsic::InstrumentationVersion,
];

fn scope_number(scope: Scope) -> u8 {
    match scope {
        Scope::Resource => 0,
        Scope::Span => 1,
        Scope::Event => 2,
        Scope::Link => 3,
        Scope::Instrumentation => 4,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_directory_comes_back(
            pages in prop::collection::vec(0usize..5000, 0..50),
            names in prop::collection::btree_set("\\PC{0,12}", 0..20),
            flags in 0u8..16,
        ) {
            let field = |name| FieldInfo {
                field: IndexedField::Attribute(Scope::Event, name), rows: u64::from(flags) << 40, flags: Flags::from_byte(flags),
            };
            let mut fields: Vec<FieldInfo> = names.into_iter().map(field).collect();
            fields.extend(INTRINSICS.map(|intrinsic| FieldInfo {
                field: IndexedField::Intrinsic(intrinsic), rows: 1, flags: Flags::default(),
            }));
            fields.sort_by(|a, b| a.field.cmp(&b.field));
            let directory = Directory::new(&pages, true, fields);
            prop_assert_eq!(Directory::decode(&directory.encode()), Some(directory));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            Directory::decode(&bytes);
        }
    }
}
