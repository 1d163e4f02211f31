//! The text of a file → a tree of its keys and values, each with its place → the types of the configuration.
//!
//! The tree stands between the two because the types decide what a value means: a key without a value is left to its
//! default, an unknown key is answered with the nearest one that the section has, and keys that are read over are listed.
//! Anchors, merge keys and duplicate keys are the YAML parser's matter.

mod deserialize;
mod nearest;
mod node;

use std::cell::RefCell;
use std::fmt;
use std::path::Path;

use anyhow::anyhow;
use serde::de::DeserializeOwned;

use self::deserialize::Reader;
use super::tempo_keys;

pub(super) use self::node::Node;

/// What a text says.
#[derive(Debug)]
pub(super) struct Parsed<T> {
    pub value: T,
    /// Keys that are present and were read over, in the order of the file: `usage_report`.
    pub ignored: Vec<String>,
    root: Node,
}

/// What is wrong in a text, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Error {
    /// `None` for a text that is wrong as a whole.
    pub place: Option<Place>,
    pub reason: String,
}

/// A place in a text, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub line: u64,
    pub column: u64,
}

impl Place {
    /// Of what a flag says.
    pub(super) const COMMAND_LINE: Self = Self { line: 0, column: 0 };
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::COMMAND_LINE {
            return f.write_str("command line");
        }
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl Error {
    pub(super) fn in_file(&self, path: &Path) -> anyhow::Error {
        if self.place == Some(Place::COMMAND_LINE) {
            return anyhow!("{self}");
        }
        let separator = if self.place.is_some() { ":" } else { ": " };
        anyhow!("{}{separator}{self}", path.display())
    }
}

/// `3:5: unknown key`
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some(place) => write!(f, "{place}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// Reads a tree as a type. Keys that only Tempo knows are read over.
pub(super) fn read<T: DeserializeOwned>(root: Node, known: &'static tempo_keys::Key) -> Result<Parsed<T>, Error> {
    let ignored = RefCell::default();
    let value = T::deserialize(Reader::of(&root, known, &ignored))?;
    Ok(Parsed { value, ignored: ignored.into_inner(), root })
}

impl<T> Parsed<T> {
    /// An error at a key: `server.log_level`. Where the file does not have the key, it has a section around it.
    pub(super) fn error_at(&self, key: &str, reason: String) -> Error {
        Error { place: self.root.place_of(key), reason }
    }
}

#[cfg(test)]
mod tests;
