//! What an index is made of, for an operator.

use serde::Serialize;

use super::bundle::Places;
use super::directory::{Directory, IndexedField};

/// The parts of an index in numbers. Bytes are those of the payloads, without checksums.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Figures {
    pub pages: usize,
    pub traces: usize,
    /// Whether every field of the block is in the index.
    pub is_complete: bool,
    pub fingerprint_bytes: usize,
    pub posting_bytes: usize,
    pub term_bytes: usize,
    pub directory_bytes: usize,
    pub fields: Vec<FieldFigures>,
}

/// One field of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldFigures {
    pub name: String,
    /// Spans, events, links or traces, wherever the field is at home, that have a value; 0 for intrinsics, which are not
    /// counted.
    pub rows: u64,
    /// Whether the index has every value, so that tag values come from it.
    pub lists_values: bool,
}

impl Figures {
    pub(super) fn of(places: &Places, directory: &Directory) -> Self {
        let pages = directory.page_count();
        let fields = directory.fields.iter().map(|info| FieldFigures {
            name: match &info.field {
                IndexedField::Attribute(scope, key) => format!("{scope}.{key}"),
                IndexedField::Intrinsic(intrinsic) => intrinsic.canonical().to_owned(),
            },
            rows: info.rows,
            lists_values: info.flags.lists_all(),
        });
        Self {
            pages,
            traces: pages.checked_sub(1).map_or(0, |last| directory.traces_of(last).end),
            is_complete: directory.is_complete,
            fingerprint_bytes: places.fingerprints.len(),
            posting_bytes: places.postings.len(),
            term_bytes: places.terms.len(),
            directory_bytes: places.directory.len(),
            fields: fields.collect(),
        }
    }
}
