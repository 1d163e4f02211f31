//! A tree as serde reads it. Errors carry the place of the value that is wrong.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt::Display;

use serde::Deserializer;
use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::Error;
use super::nearest::nearest;
use super::node::{Content, Key, Node};
use crate::config::{not_applied, tempo_keys};

/// So many known names are listed when none is near the unknown one; a longer list says nothing.
const MAX_LISTED_NAMES: usize = 12;

/// Reads one node. Numbers and booleans may stand in quotes.
#[derive(Clone)]
pub(super) struct Reader<'de> {
    node: &'de Node,
    /// The keys from the root to the node: `server.log_level`.
    path: String,
    /// What Tempo knows here.
    known: Option<&'static tempo_keys::Key>,
    /// The paths of nodes that no type wanted to see.
    ignored: &'de RefCell<Vec<String>>,
}

impl<'de> Reader<'de> {
    pub(super) fn of(root: &'de Node, known: &'static tempo_keys::Key, ignored: &'de RefCell<Vec<String>>) -> Self {
        Self { node: root, path: String::new(), known: Some(known), ignored }
    }

    fn child(&self, name: &str, node: &'de Node) -> Self {
        let separator = if self.path.is_empty() { "" } else { "." };
        let known = self.known.and_then(|known| known.child(name));
        Self { node, path: format!("{}{separator}{name}", self.path), known, ignored: self.ignored }
    }

    /// What is wrong with this node, by its path.
    fn error(&self, reason: impl Display) -> Error {
        let reason = if self.path.is_empty() { reason.to_string() } else { format!("{}: {reason}", self.path) };
        Error { place: self.node.place, reason }
    }

    fn unexpected(&self, expected: &str) -> Error {
        let found = match &self.node.content {
            Content::Empty => "nothing",
            Content::Text(text) => return self.error(format_args!("expected {expected}, found {text:?}")),
            Content::List(_) => "a list",
            Content::Map(_) => "a section with keys",
        };
        self.error(format_args!("expected {expected}, found {found}"))
    }

    fn text(&self, expected: &str) -> Result<&'de str, Error> {
        if let Content::Text(text) = &self.node.content { Ok(text) } else { Err(self.unexpected(expected)) }
    }

    /// `read` are the names that a type here reads; those that only Tempo has may be meant, too.
    fn unknown_key<'n>(&self, key: &Key, read: &[&'n str]) -> Error {
        let within = if self.path.is_empty() { String::new() } else { format!("{}: ", self.path) };
        let mut known: Vec<&'n str> = read.to_vec();
        for name in self.known.into_iter().flat_map(|known| known.names()) {
            if !read.contains(&name) {
                known.push(name);
            }
        }
        Error { place: key.place, reason: format!("{within}{}", unknown("key", &key.name, &known)) }
    }

    /// Reads over a node that only Tempo has a use for. What it has no use for either is an error.
    fn read_over(self) -> Result<(), Error> {
        self.check_known()?;
        if let Some(refusal) = not_applied::refusal(&self.path).filter(|_| self.node.says_something()) {
            return Err(self.error(refusal));
        }
        self.ignored.borrow_mut().push(self.path);
        Ok(())
    }

    fn check_known(&self) -> Result<(), Error> {
        let Content::Map(entries) = &self.node.content else { return Ok(()) };
        if self.known.is_some_and(tempo_keys::Key::is_open) {
            return Ok(());
        }
        entries.iter().try_for_each(|(key, value)| {
            let child = self.child(&key.name, value);
            if child.known.is_some() { child.check_known() } else { Err(self.unknown_key(key, &[])) }
        })
    }

    /// Puts the place and the path of this node on what a type says of its value.
    fn placed<T>(&self, read: Result<T, Error>) -> Result<T, Error> {
        read.map_err(|error| if error.place.is_some() { error } else { self.error(error.reason) })
    }

    /// Reads the node as a value, which may refuse what it was made of.
    fn read<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        let read = seed.deserialize(self.clone());
        self.placed(read)
    }
}

impl de::Error for Error {
    fn custom<T: Display>(reason: T) -> Self {
        Self { place: None, reason: reason.to_string() }
    }
}

/// Numbers with a sign of either kind, read as the widest of their kind.
macro_rules! numbers {
    ($($deserialize:ident => $type:ty, $visit:ident, $expected:literal $(, $most:expr)?;)*) => {
        $(fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let text = without_separators(self.text($expected)?);
            let number: $type = text.parse().ok().or_else(|| <$type>::of_float(&text)).ok_or_else(|| self.unexpected($expected))?;
            $(if number > <$type>::from($most) {
                return Err(self.unexpected($expected));
            })?
            self.placed(visitor.$visit(number))
        })*
    };
}

/// A number from a text that its own parser refuses.
trait OfFloat: Sized {
    fn of_float(text: &str) -> Option<Self>;
}

/// `1.5e+07`, as Helm writes large whole numbers, where it is exact.
fn whole(text: &str) -> Option<f64> {
    const MOST_EXACT: f64 = (1_u64 << 53) as f64;
    text.parse().ok().filter(|number: &f64| number.fract() == 0.0 && number.abs() <= MOST_EXACT)
}

impl OfFloat for u64 {
    fn of_float(text: &str) -> Option<Self> {
        whole(text).filter(|number| *number >= 0.0).map(|number| number as Self)
    }
}

impl OfFloat for i64 {
    fn of_float(text: &str) -> Option<Self> {
        whole(text).map(|number| number as Self)
    }
}

impl OfFloat for f64 {
    fn of_float(_: &str) -> Option<Self> {
        None
    }
}

/// `1_000_000`, as YAML 1.1 writes it, which Tempo reads.
fn without_separators(number: &str) -> Cow<'_, str> {
    let digits_around = |at: usize| {
        let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
        at > 0 && is_digit(number.as_bytes().get(at - 1)) && is_digit(number.as_bytes().get(at + 1))
    };
    let separators: Vec<usize> = number.match_indices('_').map(|(at, _)| at).collect();
    if separators.is_empty() || !separators.into_iter().all(digits_around) {
        return Cow::Borrowed(number);
    }
    Cow::Owned(number.replace('_', ""))
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.content {
            Content::Empty => self.placed(visitor.visit_unit()),
            Content::Text(text) => self.placed(visitor.visit_borrowed_str(text)),
            Content::List(_) => self.deserialize_seq(visitor),
            Content::Map(_) => self.deserialize_map(visitor),
        }
    }

    numbers! {
        deserialize_u8 => u64, visit_u64, "a whole number up to 255", u8::MAX;
        deserialize_u16 => u64, visit_u64, "a whole number up to 65535", u16::MAX;
        deserialize_u32 => u64, visit_u64, "a whole number up to 4294967295", u32::MAX;
        deserialize_u64 => u64, visit_u64, "a whole number";
        deserialize_i8 => i64, visit_i64, "a whole number";
        deserialize_i16 => i64, visit_i64, "a whole number";
        deserialize_i32 => i64, visit_i64, "a whole number";
        deserialize_i64 => i64, visit_i64, "a whole number";
        deserialize_f32 => f64, visit_f64, "a number";
        deserialize_f64 => f64, visit_f64, "a number";
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        const EXPECTED: &str = "true or false";
        // YAML 1.1, which Tempo reads, has all of these
        let value = match self.text(EXPECTED)?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => true,
            "false" | "no" | "off" | "n" => false,
            _ => return Err(self.unexpected(EXPECTED)),
        };
        self.placed(visitor.visit_bool(value))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let text = self.text("a text")?;
        self.placed(visitor.visit_borrowed_str(text))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if matches!(self.node.content, Content::Empty) { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let items: &[Node] = match &self.node.content {
            Content::Empty => &[],
            Content::List(items) => items,
            Content::Text(_) | Content::Map(_) => return Err(self.unexpected("a list")),
        };
        let read = visitor.visit_seq(Items { around: &self, items: items.iter().enumerate() });
        self.placed(read)
    }

    /// Every key counts, also one without a value: it is the name of something.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.entries(visitor, None)
    }

    /// A key without a value is one that is not there, but it has to be known.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.entries(visitor, Some(fields))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let text = self.text("a text")?;
        if !variants.contains(&text) {
            return Err(self.error(unknown("value", text, variants)));
        }
        self.placed(visitor.visit_enum(Variant(text)))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.ignored.borrow_mut().push(self.path);
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        char bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}

impl<'de> Reader<'de> {
    fn entries<V: Visitor<'de>>(self, visitor: V, fields: Option<&'static [&'static str]>) -> Result<V::Value, Error> {
        let entries: &[(Key, Node)] = match &self.node.content {
            Content::Empty => &[],
            Content::Map(entries) => entries,
            Content::Text(_) | Content::List(_) => return Err(self.unexpected("a section with keys")),
        };
        let read = visitor.visit_map(Entries { around: &self, fields, entries: entries.iter(), value: None });
        self.placed(read)
    }
}

/// `` unknown key `servr`; did you mean `server`? ``
fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    match nearest(name, known) {
        Some(meant) => format!("unknown {what} `{name}`; did you mean `{meant}`?"),
        None if known.len() <= MAX_LISTED_NAMES => {
            format!("unknown {what} `{name}`; known are {}", known.join(", "))
        }
        None => format!("unknown {what} `{name}`"),
    }
}

/// The keys and values of a map; with `fields`, of one that has no others.
struct Entries<'r, 'de> {
    around: &'r Reader<'de>,
    fields: Option<&'static [&'static str]>,
    entries: std::slice::Iter<'de, (Key, Node)>,
    value: Option<&'de (Key, Node)>,
}

impl<'de> MapAccess<'de> for Entries<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        for entry @ (key, value) in self.entries.by_ref() {
            if let Some(fields) = self.fields {
                let child = self.around.child(&key.name, value);
                let is_read = fields.contains(&key.name.as_str());
                if !is_read && child.known.is_none() {
                    return Err(self.around.unknown_key(key, fields));
                }
                if matches!(value.content, Content::Empty) {
                    continue;
                }
                if !is_read {
                    child.read_over()?;
                    continue;
                }
            }
            self.value = Some(entry);
            return seed.deserialize(KeyReader { section: self.around, key }).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (key, value) = self.value.take().ok_or_else(|| de::Error::custom("a value without a key"))?;
        self.around.child(&key.name, value).read(seed)
    }
}

/// A key as a text or as one of an enum's names.
struct KeyReader<'r, 'de> {
    section: &'r Reader<'de>,
    key: &'de Key,
}

impl<'de> Deserializer<'de> for KeyReader<'_, 'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str(&self.key.name)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let name = self.key.name.as_str();
        if !variants.contains(&name) {
            return Err(self.section.unknown_key(self.key, variants));
        }
        visitor.visit_enum(Variant(name))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct Items<'r, 'de> {
    around: &'r Reader<'de>,
    items: std::iter::Enumerate<std::slice::Iter<'de, Node>>,
}

impl<'de> SeqAccess<'de> for Items<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some((index, node)) = self.items.next() else { return Ok(None) };
        self.around.child(&index.to_string(), node).read(seed).map(Some)
    }
}

/// One of an enum's names; no enum of the configuration has more to it.
struct Variant<'de>(&'de str);

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        Ok((seed.deserialize(StrDeserializer::new(self.0))?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Error> {
        Err(de::Error::custom("expected a name"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Error> {
        Err(de::Error::custom("expected a name"))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Error> {
        Err(de::Error::custom("expected a name"))
    }
}
