//! Copying rows of several tables into new columns, a run at a time.
//!
//! The spans of a trace, and the attributes of a span, stand together in every table; so most of the work is copying
//! whole slices. Every buffer is allocated once, at its final size.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, BooleanBufferBuilder, FixedSizeBinaryArray,
    GenericByteArray, Int32Array, ListArray, PrimitiveArray, StructArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    BinaryType, ByteArrayType, DataType, FieldRef, Fields, Float64Type, Int32Type, Int64Type, UInt32Type, UInt64Type,
    Utf8Type,
};

use super::texts::{Texts, dictionary};
use crate::error::Error;
use crate::strings::{SharedTexts, dictionary_column};
use crate::table::wrong_type;

/// Rows of one table that stand together there and here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    part: usize,
    start: usize,
    end: usize,
}

impl Run {
    fn len(&self) -> usize {
        self.end - self.start
    }
}

/// Runs in the order of their rows; neighbours in a table are one run.
#[derive(Debug, Default)]
pub(super) struct Runs {
    runs: Vec<Run>,
    rows: usize,
}

impl Runs {
    pub(super) fn of(rows: &[(usize, usize)]) -> Self {
        let mut runs = Self::default();
        for &(part, row) in rows {
            runs.push(Run { part, start: row, end: row + 1 });
        }
        runs
    }

    fn push(&mut self, run: Run) {
        self.rows += run.len();
        match self.runs.last_mut() {
            Some(last) if last.part == run.part && last.end == run.start => last.end = run.end,
            _ => self.runs.push(run),
        }
    }
}

/// What the columns of a new table have in common.
pub(super) struct Gather<'a> {
    pub(super) texts: &'a Texts,
    pub(super) values: &'a SharedTexts,
    /// Asked before each column, those within others included.
    pub(super) check: &'a dyn Fn() -> Result<(), Error>,
}

impl Gather<'_> {
    /// One column from the same column of each part; `data_type` is one that occurs in [`crate::schema`].
    pub(super) fn column(&self, parts: &[&ArrayRef], runs: &Runs, data_type: &DataType) -> Result<ArrayRef, Error> {
        (self.check)()?;
        Ok(match data_type {
            DataType::Dictionary(_, _) => self.texts(parts, runs)?,
            DataType::Struct(fields) => Arc::new(self.structs(parts, runs, fields)?),
            DataType::List(item) => Arc::new(self.lists(parts, runs, item)?),
            DataType::Int32 => primitives::<Int32Type>(parts, runs)?,
            DataType::Int64 => primitives::<Int64Type>(parts, runs)?,
            DataType::UInt32 => primitives::<UInt32Type>(parts, runs)?,
            DataType::UInt64 => primitives::<UInt64Type>(parts, runs)?,
            DataType::Float64 => primitives::<Float64Type>(parts, runs)?,
            DataType::Boolean => Arc::new(booleans(parts, runs)?),
            DataType::FixedSizeBinary(size) => Arc::new(fixed_binaries(parts, runs, *size)?),
            DataType::Binary => byte_arrays::<BinaryType>(parts, runs)?,
            DataType::Utf8 => byte_arrays::<Utf8Type>(parts, runs)?,
            other => return Err(Error::damaged(format!("a column has the unknown type {other}"))),
        })
    }

    fn texts(&self, parts: &[&ArrayRef], runs: &Runs) -> Result<ArrayRef, Error> {
        let dictionaries = parts.iter().map(|part| dictionary(part)).collect::<Result<Vec<_>, Error>>()?;
        let numbers = dictionaries.iter().map(|part| self.texts.numbers(part)).collect::<Result<Vec<_>, Error>>()?;
        let mut keys = Vec::with_capacity(runs.rows);
        for run in &runs.runs {
            let numbers = numbers[run.part];
            keys.extend(dictionaries[run.part].keys().values()[run.start..run.end].iter().map(|&key| numbers.of(key)));
        }
        dictionary_column(Int32Array::new(keys.into(), nulls(parts, runs)), self.values)
    }

    fn structs(&self, parts: &[&ArrayRef], runs: &Runs, fields: &Fields) -> Result<StructArray, Error> {
        let structs = typed(parts, "struct", |part| part.as_struct_opt())?;
        let columns = fields.iter().enumerate().map(|(at, field)| {
            let columns: Option<Vec<&ArrayRef>> = structs.iter().map(|part| part.columns().get(at)).collect();
            self.column(&columns.ok_or_else(|| wrong_type(field.name()))?, runs, field.data_type())
        });
        Ok(StructArray::try_new(fields.clone(), columns.collect::<Result<Vec<_>, Error>>()?, nulls(parts, runs))?)
    }

    fn lists(&self, parts: &[&ArrayRef], runs: &Runs, item: &FieldRef) -> Result<ListArray, Error> {
        let lists = typed(parts, "list", |part| part.as_list_opt::<i32>())?;
        let items: Vec<&ArrayRef> = lists.iter().map(|part| part.values()).collect();
        let (mut item_runs, mut offsets) = (Runs::default(), Vec::with_capacity(runs.rows + 1));
        offsets.push(0);
        for run in &runs.runs {
            let ends = &lists[run.part].value_offsets()[run.start..=run.end];
            let (start, end) = (ends[0], ends[run.len()]);
            let before = new_offset(item_runs.rows)?;
            item_runs.push(Run { part: run.part, start: start as usize, end: end as usize });
            new_offset(item_runs.rows)?;
            offsets.extend(ends[1..].iter().map(|end| before + (end - start)));
        }
        let items = self.column(&items, &item_runs, item.data_type())?;
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Ok(ListArray::try_new(item.clone(), offsets, items, nulls(parts, runs))?)
    }
}

/// The parts as what they must be.
fn typed<'a, T>(
    parts: &[&'a ArrayRef],
    name: &str,
    cast: impl Fn(&'a ArrayRef) -> Option<&'a T>,
) -> Result<Vec<&'a T>, Error> {
    parts.iter().map(|part| cast(part)).collect::<Option<Vec<_>>>().ok_or_else(|| wrong_type(name))
}

fn primitives<T: ArrowPrimitiveType>(parts: &[&ArrayRef], runs: &Runs) -> Result<ArrayRef, Error> {
    let arrays = typed(parts, "number", |part| part.as_primitive_opt::<T>())?;
    let mut values: Vec<T::Native> = Vec::with_capacity(runs.rows);
    for run in &runs.runs {
        values.extend_from_slice(&arrays[run.part].values()[run.start..run.end]);
    }
    Ok(Arc::new(PrimitiveArray::<T>::try_new(values.into(), nulls(parts, runs))?))
}

fn booleans(parts: &[&ArrayRef], runs: &Runs) -> Result<BooleanArray, Error> {
    let arrays = typed(parts, "boolean", |part| part.as_boolean_opt())?;
    let mut values = BooleanBufferBuilder::new(runs.rows);
    for run in &runs.runs {
        append_bits(&mut values, arrays[run.part].values(), run);
    }
    Ok(BooleanArray::new(values.finish(), nulls(parts, runs)))
}

fn fixed_binaries(parts: &[&ArrayRef], runs: &Runs, size: i32) -> Result<FixedSizeBinaryArray, Error> {
    let arrays = typed(parts, "fixed-size binary", |part| part.as_fixed_size_binary_opt())?;
    if arrays.iter().any(|array| array.value_length() != size) {
        return Err(wrong_type("fixed-size binary"));
    }
    let bytes_of = size as usize;
    let mut values = Vec::with_capacity(runs.rows * bytes_of);
    for run in &runs.runs {
        values.extend_from_slice(&arrays[run.part].value_data()[run.start * bytes_of..run.end * bytes_of]);
    }
    Ok(FixedSizeBinaryArray::try_new(size, Buffer::from_vec(values), nulls(parts, runs))?)
}

fn byte_arrays<T: ByteArrayType<Offset = i32>>(parts: &[&ArrayRef], runs: &Runs) -> Result<ArrayRef, Error> {
    let arrays = typed(parts, T::PREFIX, |part| part.as_bytes_opt::<T>())?;
    let bytes = runs.runs.iter().map(|run| {
        let offsets = arrays[run.part].value_offsets();
        (offsets[run.end] - offsets[run.start]) as usize
    });
    let bytes: usize = bytes.sum();
    new_offset(bytes)?;
    let (mut values, mut offsets) = (Vec::with_capacity(bytes), Vec::with_capacity(runs.rows + 1));
    offsets.push(0);
    for run in &runs.runs {
        let ends = &arrays[run.part].value_offsets()[run.start..=run.end];
        let (start, end, before) = (ends[0], ends[run.len()], values.len() as i32);
        values.extend_from_slice(&arrays[run.part].value_data()[start as usize..end as usize]);
        offsets.extend(ends[1..].iter().map(|end| before + (end - start)));
    }
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    Ok(Arc::new(GenericByteArray::<T>::try_new(offsets, Buffer::from_vec(values), nulls(parts, runs))?))
}

/// Which of the new rows are null; `None` when none is.
fn nulls(parts: &[&ArrayRef], runs: &Runs) -> Option<NullBuffer> {
    if parts.iter().all(|part| part.null_count() == 0) {
        return None;
    }
    if parts.iter().all(|part| part.null_count() == part.len()) {
        return Some(NullBuffer::new_null(runs.rows));
    }
    let mut valid = BooleanBufferBuilder::new(runs.rows);
    for run in &runs.runs {
        match parts[run.part].nulls() {
            Some(nulls) => append_bits(&mut valid, nulls.inner(), run),
            None => valid.append_n(run.len(), true),
        }
    }
    Some(NullBuffer::new(valid.finish()))
}

fn append_bits(to: &mut BooleanBufferBuilder, bits: &BooleanBuffer, run: &Run) {
    to.append_packed_range(bits.offset() + run.start..bits.offset() + run.end, bits.values());
}

/// An offset of a list or binary column.
fn new_offset(at: usize) -> Result<i32, Error> {
    i32::try_from(at).map_err(|_| Error::damaged("a column would hold more than 2 GiB"))
}
