//! Heads, numbers and bytes in thrift's two encodings.

use super::{Encoding, Field, Input, Kind};
use crate::error::Error;

/// How a call begins in the binary encoding, in its strict form; the type of the call stands in the last byte.
const BINARY_VERSION: u32 = 0x8001_0000;
const BINARY_VERSION_MASK: u32 = 0xffff_0000;
/// How a call begins in the compact encoding.
const COMPACT_PROTOCOL: u8 = 0x82;
const COMPACT_VERSION: u8 = 1;
const COMPACT_VERSION_MASK: u8 = 0x1f;

/// Kinds of the binary encoding.
fn binary_kind(kind: u8) -> Result<Kind, Error> {
    Ok(match kind {
        2 => Kind::Bool,
        3 => Kind::I8,
        4 => Kind::Double,
        6 => Kind::I16,
        8 => Kind::I32,
        10 => Kind::I64,
        11 => Kind::Bytes,
        12 => Kind::Struct,
        13 => Kind::Map,
        14 => Kind::Set,
        15 => Kind::List,
        _ => return Err(unknown_kind(kind)),
    })
}

/// Kinds of the compact encoding.
fn compact_kind(kind: u8) -> Result<Kind, Error> {
    Ok(match kind {
        1 | 2 => Kind::Bool,
        3 => Kind::I8,
        4 => Kind::I16,
        5 => Kind::I32,
        6 => Kind::I64,
        7 => Kind::Double,
        8 => Kind::Bytes,
        9 => Kind::List,
        10 => Kind::Set,
        11 => Kind::Map,
        12 => Kind::Struct,
        _ => return Err(unknown_kind(kind)),
    })
}

fn unknown_kind(kind: u8) -> Error {
    Error::new(format!("{kind} is no kind of value in thrift"))
}

fn ends_early() -> Error {
    Error::new("the data ends early")
}

impl<'b> Input<'b> {
    pub(super) fn binary_call(&mut self) -> Result<String, Error> {
        let first = u32::from_be_bytes(self.array()?);
        if first & BINARY_VERSION_MASK == BINARY_VERSION {
            let name = self.text()?;
            self.i32()?; // number of the call
            return Ok(name);
        }
        // the older form begins with the length of the name
        let length = usize::try_from(first).ok().filter(|length| *length <= self.rest.len());
        let length = length.ok_or_else(|| Error::new("not a call in thrift's binary encoding"))?;
        let name = String::from_utf8_lossy(self.slice(length)?).into_owned();
        self.byte()?; // type of the call
        self.i32()?;
        Ok(name)
    }

    pub(super) fn compact_call(&mut self) -> Result<String, Error> {
        let [protocol, version] = self.array()?;
        if protocol != COMPACT_PROTOCOL || version & COMPACT_VERSION_MASK != COMPACT_VERSION {
            return Err(Error::new("not a call in thrift's compact encoding"));
        }
        self.varint()?; // number of the call
        self.text()
    }

    /// The head of the next field; `None` at the end of the struct. `last` is the field before it.
    pub(super) fn field(&mut self, last: i16) -> Result<Option<Field>, Error> {
        let head = self.byte()?;
        if head == 0 {
            return Ok(None);
        }
        Ok(Some(match self.encoding {
            Encoding::Binary => {
                let kind = binary_kind(head)?;
                Field { id: self.i16()?, kind, bool: None }
            }
            Encoding::Compact => {
                let (difference, kind) = (head >> 4, head & 0x0f);
                let id = if difference == 0 { self.i16()? } else { last.wrapping_add(i16::from(difference)) };
                let bool = matches!(kind, 1 | 2).then_some(kind == 1);
                Field { id, kind: compact_kind(kind)?, bool }
            }
        }))
    }

    /// Of a list or a set.
    pub(super) fn list_head(&mut self) -> Result<(Kind, usize), Error> {
        let head = self.byte()?;
        let (kind, count) = match self.encoding {
            Encoding::Binary => (head, i64::from(self.i32()?)),
            Encoding::Compact if head >> 4 == 15 => (head & 0x0f, self.long_count()?),
            Encoding::Compact => (head & 0x0f, i64::from(head >> 4)),
        };
        // an empty list may be one of nothing
        if count == 0 {
            return Ok((Kind::Struct, 0));
        }
        let kind = match self.encoding {
            Encoding::Binary => binary_kind(kind)?,
            Encoding::Compact => compact_kind(kind)?,
        };
        Ok((kind, self.count(count)?))
    }

    pub(super) fn map_head(&mut self) -> Result<(Kind, Kind, usize), Error> {
        match self.encoding {
            Encoding::Binary => {
                let [key, value] = self.array()?;
                match self.i32()? {
                    0 => Ok((Kind::I8, Kind::I8, 0)),
                    count => Ok((binary_kind(key)?, binary_kind(value)?, self.count(count.into())?)),
                }
            }
            Encoding::Compact => match self.long_count()? {
                0 => Ok((Kind::I8, Kind::I8, 0)),
                count => {
                    let kinds = self.byte()?;
                    Ok((compact_kind(kinds >> 4)?, compact_kind(kinds & 0x0f)?, self.count(count)?))
                }
            },
        }
    }

    pub(crate) fn i16(&mut self) -> Result<i16, Error> {
        match self.encoding {
            Encoding::Binary => self.array().map(i16::from_be_bytes),
            Encoding::Compact => self.zigzag().map(|number| number as i16),
        }
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Error> {
        match self.encoding {
            Encoding::Binary => self.array().map(i32::from_be_bytes),
            Encoding::Compact => self.zigzag().map(|number| number as i32),
        }
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Error> {
        match self.encoding {
            Encoding::Binary => self.array().map(i64::from_be_bytes),
            Encoding::Compact => self.zigzag(),
        }
    }

    pub(crate) fn double(&mut self) -> Result<f64, Error> {
        let bytes = self.array()?;
        Ok(match self.encoding {
            Encoding::Binary => f64::from_be_bytes(bytes),
            Encoding::Compact => f64::from_le_bytes(bytes),
        })
    }

    pub(crate) fn bytes(&mut self) -> Result<&'b [u8], Error> {
        let length = match self.encoding {
            Encoding::Binary => i64::from(self.i32()?),
            Encoding::Compact => self.long_count()?,
        };
        let length = usize::try_from(length).map_err(|_| Error::new(format!("a text of {length} bytes cannot be")))?;
        self.slice(length)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Error> {
        self.array().map(|[byte]| byte)
    }

    fn long_count(&mut self) -> Result<i64, Error> {
        let count = self.varint()?;
        i64::try_from(count).map_err(|_| ends_early())
    }

    fn zigzag(&mut self) -> Result<i64, Error> {
        let number = self.varint()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// Seven bits a byte, the lowest first.
    fn varint(&mut self) -> Result<u64, Error> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Error::new("a number of more than 64 bits"))
    }

    fn slice(&mut self, length: usize) -> Result<&'b [u8], Error> {
        let (slice, rest) = self.rest.split_at_checked(length).ok_or_else(ends_early)?;
        self.rest = rest;
        Ok(slice)
    }

    fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], Error> {
        let (array, rest) = self.rest.split_first_chunk().ok_or_else(ends_early)?;
        self.rest = rest;
        Ok(*array)
    }
}
