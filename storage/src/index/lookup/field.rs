//! Comparisons of one field with a literal → pages.

use std::io;

use tantivy::postings::TermInfo;
use traceql::{CompareOp, Pattern, Static, anchored_regex};

use super::super::bundle::damaged;
use super::super::directory::Flags;
use super::super::term::{self, Scalar, Tag};
use super::super::{fingerprint, postings};
use super::{Lookup, Possible, both, no_postings};

/// A condition that more terms satisfy is answered with the pages that have the field at all.
const MAX_TERMS: usize = 512;

/// One field of an index.
pub(super) struct OfField<'a> {
    pub lookup: &'a Lookup<'a>,
    pub number: u16,
    pub seed: u64,
    pub flags: Flags,
}

impl OfField<'_> {
    /// Pages where the field has a value of any kind; cannot be said of fields that every row has.
    pub fn present(&self) -> io::Result<Possible> {
        let term = term::prefix(self.number, Tag::Present);
        match self.lookup.terms.get(term)? {
            Some(info) => self.union(&[info]),
            None => Ok(None),
        }
    }

    pub fn texts(&self, op: CompareOp, text: &str) -> io::Result<Possible> {
        if self.flags.hashed_texts {
            return if op == CompareOp::Eq { self.hashed(&[Scalar::Text(text)]) } else { self.present() };
        }
        match op {
            CompareOp::Eq => self.exact(&Scalar::Text(text)),
            CompareOp::Match | CompareOp::NotMatch => {
                let Ok(pattern) = anchored_regex(text) else { return Ok(None) };
                let begin = if op == CompareOp::Match { literal_start(text) } else { "" };
                self.matching(&[Tag::Text, Tag::LongText], begin.as_bytes(), |scalar| matches(scalar, op, &pattern))
            }
            _ => {
                let literal = Static::String(text.to_owned());
                self.matching(&[Tag::Text, Tag::LongText], &[], |scalar| compare(scalar, op, &literal))
            }
        }
    }

    pub fn codes(&self, op: CompareOp, wanted: i32) -> io::Result<Possible> {
        self.matching(&[Tag::Code], &[], |scalar| match (scalar, op) {
            (Some(Scalar::Code(code)), CompareOp::Eq) => code == wanted,
            (Some(Scalar::Code(code)), CompareOp::Ne) => code != wanted,
            _ => false,
        })
    }

    pub fn numbers(&self, op: CompareOp, literal: &Static) -> io::Result<Possible> {
        if !self.flags.bucketed_numbers {
            return self.matching(&[Tag::Int, Tag::Float], &[], |scalar| compare(scalar, op, literal));
        }
        let Some(bucket) = literal.as_f64().map(term::bucket) else { return Ok(None) };
        let in_buckets = self.terms(Tag::Bucket, &[], |value, _| {
            let value = value.try_into().map(u16::from_be_bytes).unwrap_or(bucket);
            match op {
                CompareOp::Eq => value == bucket,
                CompareOp::Lt | CompareOp::Le => value <= bucket,
                CompareOp::Gt | CompareOp::Ge => value >= bucket,
                CompareOp::Ne => true,
                CompareOp::Match | CompareOp::NotMatch => false,
            }
        });
        let in_buckets = match in_buckets? {
            Some(infos) => self.union(&infos)?,
            None => self.present()?,
        };
        match same_numbers(literal) {
            Some(numbers) if op == CompareOp::Eq && self.flags.hashed_numbers => {
                Ok(both(in_buckets, self.hashed(&numbers)?))
            }
            _ => Ok(in_buckets),
        }
    }

    /// Pages with terms of which `test` holds. It is given `None` for a term that does not hold the whole value.
    pub fn matching(
        &self,
        tags: &[Tag],
        begin: &[u8],
        test: impl Fn(Option<Scalar<'_>>) -> bool,
    ) -> io::Result<Possible> {
        let mut infos = Vec::new();
        for &tag in tags {
            // long texts keep their beginning
            let begin =
                if tag == Tag::LongText { &begin[..begin.len().min(term::LONG_TEXT_PREFIX_BYTES)] } else { begin };
            match self.terms(tag, begin, |value, tag| test(term::value(tag, value)))? {
                Some(found) => infos.extend(found),
                None => return self.present(),
            }
        }
        self.union(&infos)
    }

    /// The terms of which `test` holds; `None` when there are too many.
    fn terms(&self, tag: Tag, begin: &[u8], test: impl Fn(&[u8], Tag) -> bool) -> io::Result<Option<Vec<TermInfo>>> {
        let mut infos = Vec::new();
        self.lookup.each_term(self.number, tag, begin, |value, info| {
            if infos.len() <= MAX_TERMS && test(value, tag) {
                infos.push(info.clone());
            }
            Ok(())
        })?;
        Ok((infos.len() <= MAX_TERMS).then_some(infos))
    }

    /// Pages with this value.
    fn exact(&self, value: &Scalar<'_>) -> io::Result<Possible> {
        let info = self.lookup.terms.get(value.term(self.number))?;
        self.union(info.as_slice())
    }

    fn union(&self, infos: &[TermInfo]) -> io::Result<Possible> {
        let mut pages = vec![false; self.lookup.directory.page_count()];
        let all: Vec<io::Result<Vec<u8>>> =
            infos.iter().map(|info| self.lookup.postings(&info.postings_range)).collect();
        for (info, postings) in infos.iter().zip(all) {
            postings::mark(&postings?, info.doc_freq as usize, &mut pages).ok_or_else(no_postings)?;
        }
        Ok(Some(pages))
    }

    /// Pages that seem to have one of these values, by their fingerprints.
    fn hashed(&self, values: &[Scalar<'_>]) -> io::Result<Possible> {
        let (lookup, place) = (self.lookup, &self.lookup.places.fingerprints);
        if place.is_empty() {
            return self.present(); // there were too many
        }
        let mut pages = vec![false; lookup.directory.page_count()];
        let stride = fingerprint::stride(pages.len());
        let damaged = || damaged("its fingerprints cannot be read");
        let groups = fingerprint::u32_at(&lookup.part(place, &fingerprint::GROUPS)?, 0).ok_or_else(damaged)?;
        if groups == 0 {
            return Ok(Some(pages));
        }
        for value in values {
            let hash = value.hash(self.seed);
            let offsets = lookup.part(place, &fingerprint::offsets_of(hash, groups))?;
            let group = fingerprint::group_of(&offsets, groups).ok_or_else(damaged)?;
            let group = lookup.part(place, &group)?;
            for number in fingerprint::strides(&group, hash, groups).ok_or_else(damaged)? {
                let last = (number + 1).saturating_mul(stride).min(pages.len());
                pages.get_mut(number * stride..last).ok_or_else(damaged)?.fill(true);
            }
        }
        Ok(Some(pages))
    }
}

/// `None` stands for a value of which not all is known.
pub(super) fn compare(scalar: Option<Scalar<'_>>, op: CompareOp, literal: &Static) -> bool {
    match scalar {
        None => true,
        Some(Scalar::Bool(value)) => Static::Bool(value).compare(op, literal),
        Some(Scalar::Int(number)) => Static::Int(number).compare(op, literal),
        Some(Scalar::Float(number)) => Static::Float(number).compare(op, literal),
        Some(Scalar::Text(text)) => Static::String(text.to_owned()).compare(op, literal),
        Some(Scalar::Code(_)) => false,
    }
}

fn matches(scalar: Option<Scalar<'_>>, op: CompareOp, pattern: &Pattern) -> bool {
    match scalar {
        None => true,
        Some(Scalar::Text(text)) => pattern.is_match(text) == (op == CompareOp::Match),
        Some(_) => false,
    }
}

/// The stored numbers that equal a literal; `None` when there may be others, far from zero.
fn same_numbers(literal: &Static) -> Option<Vec<Scalar<'static>>> {
    const EXACT: f64 = (1_i64 << 53) as f64;
    let number = literal.as_f64().filter(|number| number.abs() < EXACT)?;
    let mut same = vec![Scalar::Float(number)];
    if number.fract() == 0.0 {
        same.push(Scalar::Int(number as i64));
    }
    Some(same)
}

/// What every text begins with that matches the pattern.
fn literal_start(pattern: &str) -> &str {
    if pattern.contains('|') {
        return "";
    }
    let is_meta = |character: char| r"\.+*?()[]{}^$".contains(character);
    let end = pattern.find(is_meta).unwrap_or(pattern.len());
    let literal = &pattern[..end];
    // what a repetition follows need not be there
    let repeated = pattern[end..].starts_with(['*', '?', '{']);
    match literal.char_indices().next_back() {
        Some((last, _)) if repeated => &literal[..last],
        _ => literal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_begins_with_what_all_its_texts_begin_with() {
        for (pattern, expected) in [
            ("abc", "abc"),
            ("abc.*", "abc"),
            ("abc*", "ab"),
            ("abc?d", "ab"),
            ("ключ{2}", "клю"),
            ("/users/{id}", "/users"),
            ("a|b", ""),
            ("(?i)abc", ""),
            (r"a\.b", "a"),
            ("", ""),
        ] {
            assert_eq!(literal_start(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn numbers_that_equal_a_literal_are_known_near_zero() {
        assert_eq!(same_numbers(&Static::Int(5)), Some(vec![Scalar::Float(5.0), Scalar::Int(5)]));
        assert_eq!(same_numbers(&Static::Float(0.5)), Some(vec![Scalar::Float(0.5)]));
        assert_eq!(same_numbers(&Static::Int(i64::MAX)), None);
        assert_eq!(same_numbers(&Static::Float(f64::NAN)), None);
    }
}
