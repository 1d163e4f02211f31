//! The distinct values of a column, by code.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray};
use arrow::buffer::{Buffer, OffsetBuffer};
use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::errors::ParquetError;
use spans::schema::AttributeType;

use super::runs::{take_codes, unpack};
use super::{too_short, unexpected};

/// First the values of the dictionary, then those of pages without one.
pub(super) enum DistinctValues {
    Texts {
        ends: Vec<i32>,
        bytes: Vec<u8>,
    },
    Ints(Vec<i64>),
    Doubles(Vec<f64>),
    /// Their own codes.
    Bools,
}

/// Values one after another, as they stand in a dictionary, or in a page without one.
#[derive(Debug, Clone)]
pub(super) struct PlainValues {
    pub bytes: Bytes,
    pub count: usize,
}

impl DistinctValues {
    pub fn new(kind: AttributeType) -> Self {
        match kind {
            AttributeType::String => Self::Texts { ends: vec![0], bytes: Vec::new() },
            AttributeType::Int => Self::Ints(Vec::new()),
            AttributeType::Double => Self::Doubles(Vec::new()),
            AttributeType::Bool => Self::Bools,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Texts { ends, .. } => ends.len() - 1,
            Self::Ints(values) => values.len(),
            Self::Doubles(values) => values.len(),
            Self::Bools => 2,
        }
    }

    pub fn append(&mut self, mut plain: &[u8], count: usize) -> Result<(), ParquetError> {
        match self {
            Self::Texts { ends, bytes } => {
                for _ in 0..count {
                    let (length, rest) = plain.split_first_chunk().ok_or_else(too_short)?;
                    let (text, rest) =
                        rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(too_short)?;
                    bytes.extend_from_slice(text);
                    ends.push(i32::try_from(bytes.len()).map_err(|_| unexpected("with too many texts"))?);
                    plain = rest;
                }
            }
            Self::Ints(values) => values.extend(numbers(plain, count)?.map(i64::from_le_bytes)),
            Self::Doubles(values) => values.extend(numbers(plain, count)?.map(f64::from_le_bytes)),
            Self::Bools => {}
        }
        Ok(())
    }

    /// Appends the codes of so many values of a page.
    pub fn take(
        &mut self,
        encoding: Encoding,
        content: &[u8],
        count: usize,
        codes: &mut Vec<u32>,
    ) -> Result<(), ParquetError> {
        match encoding {
            _ if count == 0 => Ok(()),
            Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY => {
                let (&width, packed) = content.split_first().ok_or_else(too_short)?;
                take_codes(packed, width, count, codes)
            }
            Encoding::PLAIN if matches!(self, Self::Bools) => unpack(content, 1, count, codes),
            Encoding::PLAIN => {
                let next = self.len() as u32;
                self.append(content, count)?;
                codes.extend(next..self.len() as u32);
                Ok(())
            }
            other => Err(unexpected(&format!("encoded as {other}"))),
        }
    }

    pub fn finish(self) -> Result<ArrayRef, ParquetError> {
        Ok(match self {
            Self::Texts { ends, bytes } => {
                Arc::new(StringArray::try_new(OffsetBuffer::new(ends.into()), Buffer::from_vec(bytes), None)?)
            }
            Self::Ints(values) => Arc::new(Int64Array::from(values)),
            Self::Doubles(values) => Arc::new(Float64Array::from(values)),
            Self::Bools => Arc::new(BooleanArray::from(vec![false, true])),
        })
    }
}

fn numbers(plain: &[u8], count: usize) -> Result<impl Iterator<Item = [u8; 8]>, ParquetError> {
    let (numbers, _) = plain.as_chunks();
    Ok(numbers.get(..count).ok_or_else(too_short)?.iter().copied())
}
