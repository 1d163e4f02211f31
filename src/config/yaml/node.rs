//! The tree of a text.

use std::fmt;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::{Location, Spanned};

use super::{Error, Place};

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub content: Content,
    pub place: Option<Place>,
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
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let has_content = text.lines().map(str::trim).any(|line| !matches!(line.as_bytes(), [] | [b'#', ..]));
        if !has_content {
            return Ok(Self { content: Content::Empty, place: None });
        }
        let options = serde_saphyr::options! { with_snippet: false };
        let parsed: Spanned<Raw> = serde_saphyr::from_str_with_options(text, options).map_err(syntax_error)?;
        Ok(into_node(parsed, text))
    }

    /// Where `a.b.c` stands, or the innermost section around it that is there.
    pub(super) fn place_of(&self, key: &str) -> Option<Place> {
        let mut node = self;
        let mut place = None;
        for name in key.split('.') {
            let Content::Map(entries) = &node.content else { break };
            let Some((key, value)) = entries.iter().find(|(key, _)| key.name == name) else { break };
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
