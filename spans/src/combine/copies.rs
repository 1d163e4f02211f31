//! Spans that are there several times: sent again by a client, or written to two blocks.

use hashbrown::HashMap;
use prost::Message;

use super::{Copies, Part};
use crate::encode::SpanRows;
use crate::error::Error;
use crate::table::SpanTable;

/// Where a span comes from: its table, the row of its trace there, its own row there.
pub(super) type Source = (usize, usize, usize);

/// Finds the copies among the spans of one trace after the other.
pub(super) struct CopyFilter<'a> {
    copies: Copies,
    rows: Rows<'a>,
    /// By id and kind: which of the kept spans have them.
    seen: HashMap<([u8; 8], i32), Vec<Source>>,
}

impl<'a> CopyFilter<'a> {
    pub(super) fn new(copies: Copies, tables: &'a [SpanTable]) -> Self {
        Self { copies, rows: Rows { tables, opened: HashMap::new() }, seen: HashMap::new() }
    }

    /// Takes the copies out of the spans of a trace, which are in the order of their tables; returns how many.
    pub(super) fn drop_copies(&mut self, parts: &[Part<'_>], sources: &mut Vec<Source>) -> Result<usize, Error> {
        let is_one_part = sources.first().map(|source| source.0) == sources.last().map(|source| source.0);
        if self.copies == Copies::Keep || sources.len() < 2 || self.copies == Copies::DropFromLater && is_one_part {
            return Ok(0);
        }
        self.seen.clear();
        let before = sources.len();
        let mut failure = None;
        sources.retain(|source| match self.is_copy(parts, source) {
            Ok(is_copy) => !is_copy,
            Err(error) => {
                failure = Some(error);
                true
            }
        });
        failure.map_or(Ok(before - sources.len()), Err)
    }

    fn is_copy(&mut self, parts: &[Part<'_>], source: &Source) -> Result<bool, Error> {
        let node = parts[source.0].node(source.2);
        let kept = self.seen.entry((node.span_id, node.kind)).or_default();
        for other in kept.iter() {
            let is_of_other_table = other.0 != source.0;
            if is_of_other_table || self.copies == Copies::DropAll && self.rows.are_equal(parts, source, other)? {
                return Ok(true);
            }
        }
        kept.push(*source);
        Ok(false)
    }
}

/// Single spans of the tables, where they are looked at.
struct Rows<'a> {
    tables: &'a [SpanTable],
    opened: HashMap<usize, SpanRows<'a>>,
}

impl Rows<'_> {
    /// Whether two spans of one table are equal in every field.
    fn are_equal(&mut self, parts: &[Part<'_>], one: &Source, two: &Source) -> Result<bool, Error> {
        let (part, tables) = (&parts[one.0], self.tables);
        let origin = |row: usize| (part.resource[row], part.scope[row]);
        if origin(one.2) != origin(two.2) {
            return Ok(false);
        }
        let rows = match self.opened.entry(one.0) {
            hashbrown::hash_map::Entry::Occupied(known) => known.into_mut(),
            hashbrown::hash_map::Entry::Vacant(new) => new.insert(SpanRows::of(&tables[one.0].spans)?),
        };
        let bytes = |span: &Source| rows.get(span.2, &part.traces, span.1).map(|span| span.encode_to_vec());
        Ok(bytes(one)? == bytes(two)?)
    }
}
