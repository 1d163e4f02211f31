//! The tree of a text.

use std::fmt;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::{Location, Spanned};

use super::{Error, Place};

/// A value and where it stands.
#[derive(Debug)]
pub(in crate::config) struct Node {
    pub(super) content: Content,
    pub(super) place: Option<Place>,
}

#[derive(Debug)]
pub(super) enum Content {
    /// A key without a value, `null` or `~`.
    Empty,
    /// As it is written, without quotes: whether it is a number is for the type that is read to say.
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Debug)]
pub(super) struct Key {
    pub name: String,
    pub place: Option<Place>,
}

impl Node {
    pub(in crate::config) fn parse(text: &str) -> Result<Self, Error> {
        let has_content = text.lines().map(str::trim).any(|line| !matches!(line.as_bytes(), [] | [b'#', ..]));
        if !has_content {
            return Ok(Self { content: Content::Empty, place: None });
        }
        let options = serde_saphyr::options! { with_snippet: false };
        let parsed: Spanned<Raw> = serde_saphyr::from_str_with_options(text, options).map_err(syntax_error)?;
        Ok(into_node(parsed, text))
    }

    /// Whether anything is said here but what says nothing: an empty text, `false`, or sections of those.
    pub(super) fn says_something(&self) -> bool {
        match &self.content {
            Content::Empty => false,
            Content::Text(text) => !matches!(text.as_str(), "" | "false"),
            Content::List(nodes) => nodes.iter().any(Self::says_something),
            Content::Map(entries) => entries.iter().any(|(_, node)| node.says_something()),
        }
    }

    /// The names of the keys in a section, in the order of the file.
    pub(in crate::config) fn names(&self) -> Vec<String> {
        let Content::Map(entries) = &self.content else { return Vec::new() };
        entries.iter().map(|(key, _)| key.name.clone()).collect()
    }

    /// The names in the section at a path.
    pub(in crate::config) fn names_in(&self, path: &str) -> Vec<String> {
        let section = path.split('.').try_fold(self, |node, name| node.entry(name).map(|(_, value)| value));
        section.map(Self::names).unwrap_or_default()
    }

    pub(in crate::config) fn section_mut(&mut self, name: &str) -> Option<&mut Self> {
        let Content::Map(entries) = &mut self.content else { return None };
        entries.iter_mut().find(|(key, _)| key.name == name).map(|(_, value)| value)
    }

    pub(in crate::config) fn sections_mut(&mut self) -> impl Iterator<Item = &mut Self> {
        let entries = if let Content::Map(entries) = &mut self.content { entries.as_mut_slice() } else { &mut [] };
        entries.iter_mut().map(|(_, value)| value)
    }

    /// Puts a text from the command line at a path, in place of what stands there.
    pub(in crate::config) fn set_text(&mut self, path: &str, text: &str) {
        let (section, name) = self.make_section(path);
        section.retain(|(key, _)| key.name != name);
        let value = Self { content: Content::Text(text.to_owned()), place: Some(Place::COMMAND_LINE) };
        section.push((Key { name: name.to_owned(), place: Some(Place::COMMAND_LINE) }, value));
    }

    /// Puts a list of texts from the command line at a path, in place of what stands there.
    pub(in crate::config) fn set_list<'t>(&mut self, path: &str, texts: impl Iterator<Item = &'t str>) {
        let place = Some(Place::COMMAND_LINE);
        let items = texts.map(|text| Self { content: Content::Text(text.to_owned()), place }).collect();
        let (section, name) = self.make_section(path);
        section.retain(|(key, _)| key.name != name);
        section.push((Key { name: name.to_owned(), place }, Self { content: Content::List(items), place }));
    }

    /// Moves the value at a path to another path where there is none yet, with its place in the file. Sections that are
    /// empty then go away.
    pub(in crate::config) fn move_value(&mut self, from: &str, to: &str) -> bool {
        let at = |path: &str| path.split('.').try_fold(&*self, |node, name| node.entry(name).map(|(_, value)| value));
        let is_set = |node: &Self| !matches!(node.content, Content::Empty);
        if !at(from).is_some_and(is_set) || at(to).is_some_and(is_set) {
            return false;
        }
        let Some((key, value)) = self.take(from) else { return false };
        let (section, name) = self.make_section(to);
        section.retain(|(key, _)| key.name != name);
        section.push((Key { name: name.to_owned(), place: key.place }, value));
        true
    }

    fn entry(&self, name: &str) -> Option<&(Key, Self)> {
        let Content::Map(entries) = &self.content else { return None };
        entries.iter().find(|(key, _)| key.name == name)
    }

    fn take(&mut self, path: &str) -> Option<(Key, Self)> {
        let Content::Map(entries) = &mut self.content else { return None };
        let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        let index = entries.iter().position(|(key, _)| key.name == name)?;
        let Some(rest) = rest else { return Some(entries.remove(index)) };
        let taken = entries.get_mut(index)?.1.take(rest);
        if matches!(&entries.get(index)?.1.content, Content::Map(left) if left.is_empty()) {
            entries.remove(index);
        }
        taken
    }

    /// The entries of the section that a path ends in, made where they are missing, and the last name of the path.
    fn make_section<'p>(&mut self, path: &'p str) -> (&mut Vec<(Key, Self)>, &'p str) {
        if !matches!(self.content, Content::Map(_)) {
            self.content = Content::Map(Vec::new());
        }
        let Content::Map(entries) = &mut self.content else { unreachable!("it was made a map") };
        let Some((name, rest)) = path.split_once('.') else { return (entries, path) };
        let index = entries.iter().position(|(key, _)| key.name == name).unwrap_or_else(|| {
            let section = Self { content: Content::Map(Vec::new()), place: None };
            entries.push((Key { name: name.to_owned(), place: None }, section));
            entries.len() - 1
        });
        entries[index].1.make_section(rest)
    }

    /// Where `a.b.c` stands, or the innermost section around it that is there.
    pub(super) fn place_of(&self, key: &str) -> Option<Place> {
        let mut node = self;
        let mut place = None;
        for name in key.split('.') {
            let Some((key, value)) = node.entry(name) else { break };
            (node, place) = (value, key.place);
        }
        place
    }
}

fn syntax_error(error: serde_saphyr::Error) -> Error {
    let place = error.location().and_then(place);
    let text = error.without_snippet().to_string().replace('\n', " ");
    // the place is said before the reason, not behind it
    let reason = match place {
        Some(Place { line, column }) => text.replace(&format!(" at line {line}, column {column}"), ""),
        None => text,
    };
    Error { place, reason }
}

fn place(location: Location) -> Option<Place> {
    (location != Location::UNKNOWN).then(|| Place { line: location.line(), column: location.column() })
}

/// A value as the YAML parser gives it. Plain scalars that look like numbers or booleans come as such, without their text.
enum Raw {
    Empty,
    Typed,
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

fn into_node(raw: Spanned<Raw>, text: &str) -> Node {
    let content = match raw.value {
        Raw::Empty => Content::Empty,
        Raw::Typed => Content::Text(source(raw.defined, text).to_owned()),
        Raw::Text(text) => Content::Text(text),
        Raw::List(items) => Content::List(items.into_iter().map(|item| into_node(item, text)).collect()),
        Raw::Map(entries) => Content::Map(
            entries.into_iter().map(|(key, value)| (into_key(key, text), into_node(value, text))).collect(),
        ),
    };
    Node { content, place: place(raw.referenced).or_else(|| place(raw.defined)) }
}

fn into_key(raw: Spanned<Raw>, text: &str) -> Key {
    let Node { content, place } = into_node(raw, text);
    let name = if let Content::Text(name) = content { name } else { String::new() };
    Key { name, place }
}

/// What is written at a place.
fn source(location: Location, text: &str) -> &str {
    let span = location.span();
    let range = span.byte_offset().zip(span.byte_len()).and_then(|(start, length)| {
        let start = usize::try_from(start).ok()?;
        Some(start..start.checked_add(usize::try_from(length).ok()?)?)
    });
    range.and_then(|range| text.get(range)).unwrap_or_default().trim()
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Empty)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Empty)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some((key, value)) = entries.next_entry::<Spanned<Raw>, Spanned<Raw>>()? {
            if matches!(key.value, Raw::Empty | Raw::List(_) | Raw::Map(_)) {
                return Err(A::Error::custom("a key must be a name"));
            }
            map.push((key, value));
        }
        Ok(Raw::Map(map))
    }
}
