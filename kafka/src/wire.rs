//! Kafka's primitive types, in the encoding before flexible versions: numbers big-endian, texts and lists behind their
//! lengths, -1 for none.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// What is wrong with bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("it ends too early")]
    Short,
    #[error("a length is below nothing")]
    Length,
    #[error("a text is not UTF-8")]
    Text,
    #[error("a number takes too many bytes")]
    Varint,
}

type Result<T> = std::result::Result<T, Malformed>;

/// Reads from the front. What it gives shares the memory of what it reads.
pub(crate) struct Reader(Bytes);

impl Reader {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    pub(crate) fn remaining(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn rest(self) -> Bytes {
        self.0
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<Bytes> {
        if count > self.0.len() { Err(Malformed::Short) } else { Ok(self.0.split_to(count)) }
    }

    pub(crate) fn i8(&mut self) -> Result<i8> {
        self.0.try_get_i8().map_err(|_| Malformed::Short)
    }

    pub(crate) fn i16(&mut self) -> Result<i16> {
        self.0.try_get_i16().map_err(|_| Malformed::Short)
    }

    pub(crate) fn i32(&mut self) -> Result<i32> {
        self.0.try_get_i32().map_err(|_| Malformed::Short)
    }

    pub(crate) fn i64(&mut self) -> Result<i64> {
        self.0.try_get_i64().map_err(|_| Malformed::Short)
    }

    pub(crate) fn string(&mut self) -> Result<String> {
        self.nullable_string()?.ok_or(Malformed::Length)
    }

    pub(crate) fn nullable_string(&mut self) -> Result<Option<String>> {
        let Some(length) = length(self.i16()?.into())? else { return Ok(None) };
        let bytes = self.take(length)?;
        std::str::from_utf8(&bytes).map(|text| Some(text.to_owned())).map_err(|_| Malformed::Text)
    }

    /// Empty where there are none.
    pub(crate) fn bytes(&mut self) -> Result<Bytes> {
        let length = length(self.i32()?)?;
        self.take(length.unwrap_or(0))
    }

    /// A list; empty where there is none. Its length is believed only as far as there are bytes.
    pub(crate) fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let count = length(self.i32()?)?.unwrap_or(0);
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// A signed number in zigzag and groups of seven bits.
    pub(crate) fn varint(&mut self) -> Result<i64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.0.try_get_u8().map_err(|_| Malformed::Short)?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()));
            }
        }
        Err(Malformed::Varint)
    }

    /// Bytes behind a varint that says how many; `None` for -1.
    pub(crate) fn varint_bytes(&mut self) -> Result<Option<Bytes>> {
        match self.varint()? {
            -1 => Ok(None),
            count => usize::try_from(count).map_err(|_| Malformed::Length).and_then(|count| self.take(count)).map(Some),
        }
    }
}

fn length(length: i32) -> Result<Option<usize>> {
    match length {
        -1 => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| Malformed::Length),
    }
}

/// Writes to the end.
#[derive(Default)]
pub(crate) struct Writer(BytesMut);

impl Writer {
    pub(crate) fn into_bytes(self) -> Bytes {
        self.0.freeze()
    }

    pub(crate) fn i8(&mut self, value: i8) {
        self.0.put_i8(value);
    }

    pub(crate) fn i16(&mut self, value: i16) {
        self.0.put_i16(value);
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.0.put_i32(value);
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.0.put_i64(value);
    }

    /// Names are shorter than 32 KiB: brokers refuse longer ones, and so does whoever configures them.
    pub(crate) fn string(&mut self, text: &str) {
        let length = i16::try_from(text.len()).unwrap_or(i16::MAX);
        self.0.put_i16(length);
        self.0.put_slice(&text.as_bytes()[..usize::try_from(length).unwrap_or(0)]);
    }

    pub(crate) fn null_string(&mut self) {
        self.0.put_i16(-1);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.put_slice(bytes);
    }

    pub(crate) fn list<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Self, &T)) {
        self.count(items.len());
        items.iter().for_each(|each| item(self, each));
    }

    fn count(&mut self, count: usize) {
        self.0.put_i32(i32::try_from(count).unwrap_or(i32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut writer = Writer::default();
        writer.string("topic");
        writer.null_string();
        writer.bytes(b"abc");
        writer.list(&[1, 2], |writer, number| writer.i32(*number));
        let mut reader = Reader::new(writer.into_bytes());
        assert_eq!(reader.string(), Ok("topic".to_owned()));
        assert_eq!(reader.nullable_string(), Ok(None));
        assert_eq!(reader.bytes().unwrap(), "abc");
        assert_eq!(reader.list(Reader::i32), Ok(vec![1, 2]));
        assert_eq!((reader.remaining(), reader.i8()), (0, Err(Malformed::Short)));
    }

    #[test]
    fn varints_are_zigzag() {
        let read = |bytes: &'static [u8]| Reader::new(Bytes::from_static(bytes)).varint();
        assert_eq!([read(&[0]), read(&[1]), read(&[2]), read(&[0xd8, 0x04])], [Ok(0), Ok(-1), Ok(1), Ok(300)]);
        let least = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(read(least), Ok(i64::MIN));
        assert_eq!(read(&[0xff; 11]), Err(Malformed::Varint));
        assert_eq!(read(&[0x80]), Err(Malformed::Short));
    }

    #[test]
    fn a_claimed_length_sets_no_memory_aside() {
        let mut claims = Reader::new(Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff]));
        assert_eq!(claims.list(Reader::i64), Err(Malformed::Short));
        let mut claims = Reader::new(Bytes::from_static(&[0x80, 0, 0, 0]));
        assert_eq!(claims.bytes(), Err(Malformed::Length));
    }
}
