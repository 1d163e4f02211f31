//! Reading protobuf without building objects: tags, varints and borrowed bytes. Knows no message.

use crate::error::Error;

/// The fields of one message, read from the front.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

/// The value of a field, by wire type.
#[derive(Clone, Copy)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

impl<'a> Reader<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// What was not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next field's number and value; `None` at the end of the message.
    ///
    /// Every field of every span comes through here twice; a call that is not inlined passes its result through memory.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, Error> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| Error::malformed("field number too large"))?;
        if number == 0 {
            return Err(Error::malformed("field number 0"));
        }
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(usize::try_from(length).map_err(|_| Error::malformed("length too large"))?)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(Error::malformed("unknown wire type")),
        };
        Ok(Some((number, value)))
    }

    #[inline(always)]
    fn varint(&mut self) -> Result<u64, Error> {
        if let Some((&byte, rest)) = self.rest.split_first()
            && byte < 0x80
        {
            self.rest = rest;
            return Ok(u64::from(byte));
        }
        self.long_varint()
    }

    #[inline(never)]
    fn long_varint(&mut self) -> Result<u64, Error> {
        let mut value = 0;
        for (index, &byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(Error::malformed("varint without an end"))
    }

    #[inline(always)]
    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(too_short)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or_else(too_short)?;
        self.rest = rest;
        Ok(*taken)
    }
}

#[cold]
fn too_short() -> Error {
    Error::malformed("unexpected end of message")
}

impl<'a> Value<'a> {
    /// The bytes of a string, bytes or message field.
    #[inline]
    pub(crate) fn bytes(self) -> Result<&'a [u8], Error> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(Error::malformed("wrong wire type, expected bytes")),
        }
    }

    #[inline]
    pub(crate) fn varint(self) -> Result<u64, Error> {
        match self {
            Self::Varint(value) => Ok(value),
            _ => Err(Error::malformed("wrong wire type, expected a varint")),
        }
    }

    #[inline]
    pub(crate) fn fixed64(self) -> Result<u64, Error> {
        match self {
            Self::Fixed64(value) => Ok(value),
            _ => Err(Error::malformed("wrong wire type, expected 64 bits")),
        }
    }

    #[inline]
    pub(crate) fn fixed32(self) -> Result<u32, Error> {
        match self {
            Self::Fixed32(value) => Ok(value),
            _ => Err(Error::malformed("wrong wire type, expected 32 bits")),
        }
    }
}
