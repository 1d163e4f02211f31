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

use anyhow::{Context as _, anyhow};
use serde::de::DeserializeOwned;

use self::deserialize::Reader;
use self::node::Node;

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

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl Error {
    pub(super) fn in_file(&self, path: &Path) -> anyhow::Error {
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

/// Reads a file. An error begins with `file:line:column`, which editors jump to.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Parsed<T>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    parse(&text).map_err(|error| error.in_file(path))
}

/// Reads a text; one without content is the default.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<Parsed<T>, Error> {
    let root = Node::parse(text)?;
    let ignored = RefCell::default();
    let value = T::deserialize(Reader::of(&root, &ignored))?;
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
