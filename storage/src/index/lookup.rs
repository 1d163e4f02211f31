//! Conditions → pages; fields → values. Pure, over what of the bundle has been fetched.
//!
//! A condition on a field holds in a page only if a value of the field in that page satisfies it by itself: of an array
//! some element does, whatever the operator. So pages are the union over the values that satisfy.

mod field;

use std::io;
use std::ops::Range;

use model::{Intrinsic, Scope};
use tantivy::postings::TermInfo;
use tantivy::termdict::TermDictionary;
use traceql::{CompareOp, Condition, Conditions, Field, Static};

use self::field::{OfField, compare};
use super::bundle::{Payloads, Places, damaged};
use super::directory::{Directory, INTRINSICS, IndexedField};
use super::postings;
use super::term::{self, Scalar, Tag};

/// A value of a field, and in how many rows it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueCount {
    pub value: FieldValue,
    /// Spans, events, links or traces, wherever the field is at home.
    pub rows: u64,
}

/// A value as it was sent.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldValue {
    String(String),
    Int(i64),
    Double(f64),
    Bool(bool),
}

/// An index of which some parts may not be there yet: then a question fails and notes what it lacks.
pub(super) struct Lookup<'a> {
    payloads: &'a Payloads,
    places: &'a Places,
    directory: &'a Directory,
    terms: TermDictionary,
}

/// Pages that may match; `None` when that cannot be said.
type Possible = Option<Vec<bool>>;

impl<'a> Lookup<'a> {
    pub fn open(payloads: &'a Payloads, places: &'a Places, directory: &'a Directory) -> io::Result<Self> {
        let terms = TermDictionary::open(payloads.file(places.terms.clone())?)?;
        Ok(Self { payloads, places, directory, terms })
    }

    /// The traces of the pages that may hold a span which satisfies the conditions: ranges, ascending and apart.
    pub fn traces(&self, conditions: &Conditions) -> io::Result<Option<Vec<Range<usize>>>> {
        Ok(self.pages(conditions)?.map(|pages| {
            let mut ranges: Vec<Range<usize>> = Vec::new();
            for (page, _) in pages.iter().enumerate().filter(|(_, is_possible)| **is_possible) {
                let traces = self.directory.traces_of(page);
                match ranges.last_mut().filter(|last| last.end == traces.start) {
                    Some(last) => last.end = traces.end,
                    None => ranges.push(traces),
                }
            }
            ranges
        }))
    }

    fn pages(&self, conditions: &Conditions) -> io::Result<Possible> {
        // every condition is asked, so that one round fetches what all of them lack
        let alone = conditions.all.iter().map(|condition| self.condition(condition));
        let groups = conditions.any.iter().map(|group| self.any(group));
        let all: Vec<io::Result<Possible>> = alone.chain(groups).collect();
        let mut result: Possible = None;
        for pages in all {
            result = both(result, pages?);
        }
        Ok(result)
    }

    fn any(&self, group: &[Condition]) -> io::Result<Possible> {
        let mut union = Some(vec![false; self.directory.page_count()]);
        let all: Vec<io::Result<Possible>> = group.iter().map(|condition| self.condition(condition)).collect();
        for pages in all {
            union = either(union, pages?);
        }
        Ok(union)
    }

    fn condition(&self, condition: &Condition) -> io::Result<Possible> {
        let Condition { field, op, value } = condition;
        if *value == Static::Nil && *op != CompareOp::Ne {
            return Ok(None);
        }
        let fields = match field {
            // a span's own value goes before its resource's; either may be the one
            Field::Attribute { scope: None, name } => {
                [Scope::Span, Scope::Resource].map(|scope| IndexedField::Attribute(scope, name.clone())).to_vec()
            }
            Field::Attribute { scope: Some(scope), name } => vec![IndexedField::Attribute(*scope, name.clone())],
            Field::Intrinsic(intrinsic) if INTRINSICS.contains(intrinsic) => vec![IndexedField::Intrinsic(*intrinsic)],
            Field::Intrinsic(_) | Field::Parent(_) => return Ok(None),
        };
        let mut union = Some(vec![false; self.directory.page_count()]);
        for field in fields {
            union = either(union, self.comparison(&field, *op, value)?);
        }
        Ok(union)
    }

    fn comparison(&self, field: &IndexedField, op: CompareOp, literal: &Static) -> io::Result<Possible> {
        let Some(number) = self.directory.find(field) else {
            let nowhere = vec![false; self.directory.page_count()];
            return Ok(self.directory.is_complete.then_some(nowhere));
        };
        let of = OfField {
            lookup: self,
            number,
            seed: field.hash_seed(),
            flags: self.directory.fields[usize::from(number)].flags,
        };
        match literal {
            Static::Nil => of.present(),
            Static::String(text) => of.texts(op, text),
            Static::Bool(value) => of.matching(&[Tag::Bool], &[], |scalar| compare(scalar, op, &Static::Bool(*value))),
            Static::Status(status) => of.codes(op, status.otlp()),
            Static::Kind(kind) => of.codes(op, kind.otlp()),
            Static::Int(_) | Static::Float(_) | Static::Duration(_) => of.numbers(op, literal),
        }
    }

    /// All values of a field, in no order; `None` when they are not all listed.
    pub fn values(&self, field: &IndexedField) -> io::Result<Option<Vec<ValueCount>>> {
        let Some(number) = self.directory.find(field) else {
            return Ok(self.directory.is_complete.then(Vec::new));
        };
        if !self.directory.fields[usize::from(number)].flags.lists_all() {
            return Ok(None);
        }
        let mut found = Vec::new();
        for tag in [Tag::Bool, Tag::Int, Tag::Float, Tag::Text] {
            self.each_term(number, tag, &[], |value, info| {
                let value = match term::value(tag, value).ok_or_else(no_value)? {
                    Scalar::Bool(value) => FieldValue::Bool(value),
                    Scalar::Int(number) => FieldValue::Int(number),
                    Scalar::Float(number) => FieldValue::Double(number),
                    Scalar::Text(text) => FieldValue::String(text.to_owned()),
                    Scalar::Code(_) => return Ok(()),
                };
                found.push((value, info.postings_range.clone()));
                Ok(())
            })?;
        }
        let (Some(first), Some(last)) = (found.first(), found.last()) else { return Ok(Some(Vec::new())) };
        let all = first.1.start..last.1.end;
        let all_postings = self.postings(&all)?;
        let counted = found.into_iter().map(|(value, range)| {
            let postings = all_postings.get(range.start - all.start..).ok_or_else(no_postings)?;
            Ok(ValueCount { value, rows: postings::rows(postings).ok_or_else(no_postings)? })
        });
        counted.collect::<io::Result<Vec<_>>>().map(Some)
    }

    /// Visits the terms of a field and a tag whose values begin with these bytes.
    fn each_term(
        &self,
        field: u16,
        tag: Tag,
        begin: &[u8],
        mut visit: impl FnMut(&[u8], &TermInfo) -> io::Result<()>,
    ) -> io::Result<()> {
        let prefix = term::prefix(field, tag);
        let start = [&prefix[..], begin].concat();
        let mut terms = self.terms.range().ge(&start).lt(after(&start, prefix)).into_stream()?;
        while terms.advance() {
            visit(terms.key().get(prefix.len()..).ok_or_else(no_value)?, terms.value())?;
        }
        Ok(())
    }

    fn postings(&self, range: &Range<usize>) -> io::Result<Vec<u8>> {
        self.part(&self.places.postings, range)
    }

    fn part(&self, place: &Range<usize>, range: &Range<usize>) -> io::Result<Vec<u8>> {
        let (start, end) = (place.start.checked_add(range.start), place.start.checked_add(range.end));
        match (start, end) {
            (Some(start), Some(end)) if end <= place.end => self.payloads.read(start..end),
            _ => Err(damaged("a part of it lies outside of it")),
        }
    }
}

/// The first bytes that are behind everything that begins with `start`, among those that begin with `prefix`.
fn after(start: &[u8], prefix: [u8; 3]) -> Vec<u8> {
    let mut end = start.to_vec();
    while end.len() > prefix.len() {
        match end.pop() {
            Some(last) if last < u8::MAX => {
                end.push(last + 1);
                return end;
            }
            _ => {}
        }
    }
    term::after(prefix).to_vec()
}

fn no_value() -> io::Error {
    damaged("a term has another form than its tag says")
}

fn no_postings() -> io::Error {
    damaged("the pages of a term cannot be read")
}

fn both(left: Possible, right: Possible) -> Possible {
    match (left, right) {
        (Some(left), Some(right)) => Some(left.into_iter().zip(right).map(|(left, right)| left & right).collect()),
        (left, right) => left.or(right),
    }
}

fn either(left: Possible, right: Possible) -> Possible {
    Some(left?.into_iter().zip(right?).map(|(left, right)| left | right).collect())
}

/// The field behind a name with a scope, if the index knows such fields.
pub(super) fn indexed(field: &Field) -> Option<IndexedField> {
    match field {
        Field::Attribute { scope: Some(scope), name } => Some(IndexedField::Attribute(*scope, name.clone())),
        Field::Intrinsic(
            intrinsic @ (Intrinsic::Name
            | Intrinsic::StatusMessage
            | Intrinsic::EventName
            | Intrinsic::InstrumentationName
            | Intrinsic::InstrumentationVersion
            | Intrinsic::RootName
            | Intrinsic::RootServiceName),
        ) => Some(IndexedField::Intrinsic(*intrinsic)),
        _ => None,
    }
}
