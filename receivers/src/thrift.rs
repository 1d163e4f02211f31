//! Thrift, as far as Jaeger and Zipkin speak it: structs, lists, numbers and bytes, in both encodings, out of a slice.
//!
//! A field is read by who knows its number and its kind, and is skipped otherwise. Nothing is set aside for what a length
//! claims, so that a few bytes cannot ask for much memory.
//!
//! ```text
//! encoding  field                              integer           bytes              list
//! binary    kind u8, id i16                    fixed, big-endian length i32         kind u8, count i32
//! compact   id difference << 4 | kind, or id   zigzag varint     length varint      count << 4 | kind, or count varint
//! ```

mod primitives;

use crate::error::Error;

/// The two ways to write the same structs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Binary,
    Compact,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    I8,
    I16,
    I32,
    I64,
    Double,
    /// Text too.
    Bytes,
    Struct,
    Map,
    Set,
    List,
}

/// The head of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) id: i16,
    pub(crate) kind: Kind,
    /// The value of a boolean where the head has it.
    bool: Option<bool>,
}

/// Structs in structs are skipped to this depth.
const MAX_DEPTH: usize = 32;
/// Items of all lists of a request. A tag has thirty bytes, so this is more than 20 MiB of them; it keeps a request of empty
/// items, a byte each, from taking a hundred times its size.
const MAX_ITEMS: usize = 750_000;

/// What is left to read.
pub(crate) struct Input<'b> {
    rest: &'b [u8],
    encoding: Encoding,
    items_left: usize,
}

impl<'b> Input<'b> {
    pub(crate) fn new(bytes: &'b [u8], encoding: Encoding) -> Self {
        Self { rest: bytes, encoding, items_left: MAX_ITEMS }
    }

    /// Gives each field to `read`, which says whether it took it.
    pub(crate) fn structure(
        &mut self,
        mut read: impl FnMut(&mut Self, Field) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let mut id = 0;
        while let Some(field) = self.field(id)? {
            id = field.id;
            if !read(self, field)? {
                self.skip_field(field)?;
            }
        }
        Ok(())
    }

    /// A list of structs, each read by `read`.
    pub(crate) fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Result<T, Error>) -> Result<Vec<T>, Error> {
        let (kind, count) = self.list_head()?;
        if count > 0 && kind != Kind::Struct {
            return Err(Error::new(format!("expected a list of structs, found one of {kind:?}")));
        }
        (0..count).map(|index| read(self).map_err(|error| error.at(index))).collect()
    }

    /// A call that expects no answer: its name. The struct of its arguments comes next.
    pub(crate) fn call(&mut self) -> Result<String, Error> {
        match self.encoding {
            Encoding::Binary => self.binary_call(),
            Encoding::Compact => self.compact_call(),
        }
    }

    pub(crate) fn boolean(&mut self, field: Field) -> Result<bool, Error> {
        match field.bool {
            Some(value) => Ok(value),
            None => self.byte().map(|byte| byte == 1),
        }
    }

    /// Text; what is no UTF-8 in it becomes U+FFFD.
    pub(crate) fn text(&mut self) -> Result<String, Error> {
        self.bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    fn skip_field(&mut self, field: Field) -> Result<(), Error> {
        if field.bool.is_some() { Ok(()) } else { self.skip(field.kind, MAX_DEPTH) }
    }

    fn skip(&mut self, kind: Kind, depth: usize) -> Result<(), Error> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(Error::new(format!("more than {MAX_DEPTH} structs in each other")));
        };
        match kind {
            Kind::Bool | Kind::I8 => self.byte().map(drop),
            Kind::I16 => self.i16().map(drop),
            Kind::I32 => self.i32().map(drop),
            Kind::I64 => self.i64().map(drop),
            Kind::Double => self.double().map(drop),
            Kind::Bytes => self.bytes().map(drop),
            Kind::Struct => {
                let mut id = 0;
                while let Some(field) = self.field(id)? {
                    id = field.id;
                    if field.bool.is_none() {
                        self.skip(field.kind, depth)?;
                    }
                }
                Ok(())
            }
            Kind::List | Kind::Set => {
                let (kind, count) = self.list_head()?;
                (0..count).try_for_each(|_| self.skip(kind, depth))
            }
            Kind::Map => {
                let (key, value, count) = self.map_head()?;
                (0..count).try_for_each(|_| self.skip(key, depth).and_then(|()| self.skip(value, depth)))
            }
        }
    }

    /// A count of items that can be there: each takes a byte at least.
    fn count(&mut self, count: i64) -> Result<usize, Error> {
        let count = usize::try_from(count).map_err(|_| Error::new(format!("{count} items cannot be")))?;
        if count > self.rest.len() {
            return Err(Error::new(format!("{count} items cannot be in {} bytes", self.rest.len())));
        }
        let too_many = || Error::new(format!("more than {MAX_ITEMS} items in a request: send smaller batches"));
        self.items_left = self.items_left.checked_sub(count).ok_or_else(too_many)?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
