//! The values of one attribute key: from columns of its own, from the list of attributes, or from both.
//!
//! Where a key was sent several times, the first value is the value of the row, and a column of its own goes before the
//! list. The others stand beside it, so that they are found.

mod by_key;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, BooleanBufferBuilder, Float64Array, Int32Array, Int64Array,
    ListArray, RecordBatch, StringArray, StructArray,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use model::Scope;
use opentelemetry_proto::tonic::common::v1::any_value;
use spans::schema::{AttributeColumn, AttributeType, column};

use super::column::{Column, Lists, Texts, TypedValues, sparse};
use crate::error::Error;
use crate::mask;

pub(crate) use self::by_key::ItemsByKey;

/// The values of `key` at each row of `batch`.
pub(crate) fn of_rows(batch: &RecordBatch, scope: Scope, key: &str) -> Result<Column, Error> {
    let mut values = Column::missing(batch.num_rows());
    for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
        let Some(of) = AttributeColumn::of(field) else { continue };
        if of.scope != scope || of.key != key {
            continue;
        }
        values.parts.push(own_part(&of, array)?);
    }
    match batch.column_by_name(column::ATTRIBUTES) {
        None => Ok(values),
        Some(lists) => {
            let lists = lists.as_list_opt::<i32>().ok_or_else(|| Error::damaged(column::ATTRIBUTES))?;
            let taken = (!values.parts.is_empty()).then(|| values.present());
            let in_list = of_lists_beside(lists, key, taken.as_ref())?;
            if taken.is_none() { Ok(in_list) } else { Ok(values.and(in_list)) }
        }
    }
}

/// The values in a column of its own.
pub(crate) fn own_part(of: &AttributeColumn, array: &ArrayRef) -> Result<TypedValues, Error> {
    let part = match of.kind {
        AttributeType::String => Texts::of(array).map(TypedValues::Text),
        AttributeType::Int => array.as_primitive_opt::<Int64Type>().cloned().map(TypedValues::Int),
        AttributeType::Double => array.as_primitive_opt::<Float64Type>().cloned().map(TypedValues::Float),
        AttributeType::Bool => array.as_boolean_opt().cloned().map(TypedValues::Bool),
    };
    part.ok_or_else(|| Error::damaged(&of.key))
}

/// The values of `key` in each list of attributes.
pub(crate) fn of_lists(lists: &ListArray, key: &str) -> Result<Column, Error> {
    of_lists_beside(lists, key, None)
}

/// The values of `key` in each list; at rows of `taken`, which have one elsewhere, all of them are beyond the first.
fn of_lists_beside(lists: &ListArray, key: &str, taken: Option<&BooleanBuffer>) -> Result<Column, Error> {
    let items = Items::of(lists.values())?;
    let (first, more) = find(lists, &items, key, taken);
    let mut values = items.values(lists.len(), &first);
    if !more.is_empty() {
        let mut offsets = vec![0; lists.len() + 1];
        more.iter().for_each(|&(row, _)| offsets[row as usize + 1] += 1);
        (0..lists.len()).for_each(|row| offsets[row + 1] += offsets[row]);
        let numbered: Vec<Found> = (0..).zip(&more).map(|(at, &(_, item))| (at, item)).collect();
        values.more.push(Lists { offsets, items: Box::new(items.values(more.len(), &numbered)) });
    }
    Ok(values)
}

/// Where a value stands: row of the list, and item.
type Found = (u32, u32);

/// The first item of each list that has this key and a value, and the others.
fn find(lists: &ListArray, items: &Items<'_>, key: &str, taken: Option<&BooleanBuffer>) -> (Vec<Found>, Vec<Found>) {
    let offsets = lists.offsets();
    let (first, last) = (offsets[0] as usize, offsets[lists.len()] as usize);
    let mut keys = KeyTest::new(&items.key_texts, key);
    let numbers = items.keys.values();
    let (mut found, mut more): (Vec<Found>, Vec<Found>) = (Vec::new(), Vec::new());
    let mut row = 0;
    for item in first..last {
        if !keys.is_wanted(numbers[item]) || !items.has_value(item) {
            continue;
        }
        while offsets[row + 1] as usize <= item {
            row += 1;
        }
        let is_taken = taken.is_some_and(|taken| taken.value(row));
        let is_first = !is_taken && found.last().is_none_or(|&(found_row, _)| found_row as usize != row);
        let found = if is_first { &mut found } else { &mut more };
        found.push((row as u32, item as u32));
    }
    (found, more)
}

/// Compares dictionary numbers with a text, each number's text only once.
struct KeyTest<'a> {
    texts: &'a StringArray,
    key: &'a str,
    known: Vec<u8>,
}

impl<'a> KeyTest<'a> {
    const OTHER: u8 = 1;
    const WANTED: u8 = 2;

    fn new(texts: &'a StringArray, key: &'a str) -> Self {
        Self { texts, key, known: vec![0; texts.len()] }
    }

    #[inline]
    fn is_wanted(&mut self, number: i32) -> bool {
        let number = number as usize;
        if self.known[number] == 0 {
            self.known[number] = if self.texts.value(number) == self.key { Self::WANTED } else { Self::OTHER };
        }
        self.known[number] == Self::WANTED
    }
}

/// The columns of a list of attributes.
pub(crate) struct Items<'a> {
    pub keys: Int32Array,
    pub key_texts: StringArray,
    strings: Int32Array,
    string_texts: StringArray,
    ints: &'a Int64Array,
    doubles: &'a Float64Array,
    bools: &'a BooleanArray,
    others: &'a BinaryArray,
}

impl<'a> Items<'a> {
    pub fn of(items: &'a dyn Array) -> Result<Self, Error> {
        let damaged = || Error::damaged(column::ATTRIBUTES);
        let parts: &StructArray = items.as_struct_opt().ok_or_else(damaged)?;
        let field = |name: &str| parts.column_by_name(name).ok_or_else(damaged);
        let (keys, key_texts) = texts(field("key")?).ok_or_else(damaged)?;
        let (strings, string_texts) = texts(field("string")?).ok_or_else(damaged)?;
        Ok(Self {
            keys,
            key_texts,
            strings,
            string_texts,
            ints: field("int")?.as_primitive_opt::<Int64Type>().ok_or_else(damaged)?,
            doubles: field("double")?.as_primitive_opt::<Float64Type>().ok_or_else(damaged)?,
            bools: field("bool")?.as_boolean_opt().ok_or_else(damaged)?,
            others: field("other")?.as_binary_opt::<i32>().ok_or_else(damaged)?,
        })
    }

    #[inline]
    pub(super) fn has_value(&self, item: usize) -> bool {
        self.strings.is_valid(item)
            || self.ints.is_valid(item)
            || self.doubles.is_valid(item)
            || self.bools.is_valid(item)
            || self.others.is_valid(item)
    }

    /// The values at `found`, at most one for each row.
    pub(super) fn values(&self, rows: usize, found: &[Found]) -> Column {
        let mut values = Column::missing(rows);
        let (texts, ints) = (valid(found, &self.strings), valid(found, self.ints));
        let (doubles, bools) = (valid(found, self.doubles), valid(found, self.bools));
        let others = valid(found, self.others);
        if !texts.is_empty() {
            let keys = sparse(rows, texts.iter().map(|&(row, item)| (row, self.strings.value(item as usize))));
            values.parts.push(TypedValues::Text(Texts::coded(keys, self.string_texts.clone())));
        }
        if !ints.is_empty() {
            let array = sparse(rows, ints.iter().map(|&(row, item)| (row, self.ints.value(item as usize))));
            values.parts.push(TypedValues::Int(array));
        }
        if !doubles.is_empty() {
            let array = sparse(rows, doubles.iter().map(|&(row, item)| (row, self.doubles.value(item as usize))));
            values.parts.push(TypedValues::Float(array));
        }
        if !bools.is_empty() {
            let array = sparse_bools(rows, bools.iter().map(|&(row, item)| (row, self.bools.value(item as usize))));
            values.parts.push(TypedValues::Bool(array));
        }
        if !others.is_empty() {
            let messages = others.iter().map(|&(row, item)| (row, self.others.value(item as usize)));
            Others::read(messages).add_to(&mut values);
        }
        values
    }
}

/// Numbers and the texts they mean.
fn texts(array: &ArrayRef) -> Option<(Int32Array, StringArray)> {
    if let Some(dictionary) = array.as_dictionary_opt::<Int32Type>() {
        return Some((dictionary.keys().clone(), dictionary.values().as_string_opt::<i32>()?.clone()));
    }
    let plain = array.as_string_opt::<i32>()?;
    let keys = (0..plain.len()).map(|at| plain.is_valid(at).then_some(at as i32));
    Some((Int32Array::from_iter(keys), plain.clone()))
}

fn valid(found: &[Found], array: &dyn Array) -> Vec<Found> {
    if array.null_count() == array.len() {
        return Vec::new();
    }
    found.iter().copied().filter(|&(_, item)| array.is_valid(item as usize)).collect()
}

fn sparse_bools(rows: usize, entries: impl Iterator<Item = (u32, bool)>) -> BooleanArray {
    let (mut values, mut valid) = (BooleanBufferBuilder::new(rows), BooleanBufferBuilder::new(rows));
    values.append_n(rows, false);
    valid.append_n(rows, false);
    for (row, value) in entries {
        values.set_bit(row as usize, value);
        valid.set_bit(row as usize, true);
    }
    BooleanArray::new(values.finish(), Some(NullBuffer::new(valid.finish())))
}

/// Values that came as serialized `AnyValue`s. An array of one element counts as that element.
#[derive(Default)]
struct Others {
    opaque: Vec<u32>,
    scalars: Vec<(u32, any_value::Value)>,
    arrays: Vec<(u32, Vec<any_value::Value>)>,
}

impl Others {
    fn read<'a>(messages: impl Iterator<Item = (u32, &'a [u8])>) -> Self {
        let mut others = Self::default();
        for (row, message) in messages {
            match spans::array_elements(message) {
                None => others.opaque.push(row),
                Some(mut elements) if elements.len() == 1 => {
                    others.scalars.extend(elements.pop().map(|one| (row, one)))
                }
                Some(elements) => others.arrays.push((row, elements)),
            }
        }
        others
    }

    fn add_to(self, values: &mut Column) {
        let rows = values.rows;
        if !self.opaque.is_empty() {
            values.opaque = Some(mask::of_rows(rows, self.opaque.iter().map(|&row| row as usize)));
        }
        values.parts.extend(of_scalars(rows, &self.scalars));
        if !self.arrays.is_empty() {
            let (mut offsets, mut items) = (vec![0; rows + 1], Vec::new());
            for (row, elements) in self.arrays {
                offsets[row as usize + 1] = elements.len() as u32;
                items.extend(elements);
            }
            (0..rows).for_each(|row| offsets[row + 1] += offsets[row]);
            let items: Vec<_> = items.into_iter().enumerate().map(|(at, value)| (at as u32, value)).collect();
            let items =
                Column { rows: items.len(), parts: of_scalars(items.len(), &items), opaque: None, more: Vec::new() };
            values.parts.push(TypedValues::Lists(Lists { offsets, items: Box::new(items) }));
        }
    }
}

fn of_scalars(rows: usize, values: &[(u32, any_value::Value)]) -> Vec<TypedValues> {
    use any_value::Value::{BoolValue, DoubleValue, IntValue, StringValue};
    let mut parts = Vec::new();
    let is = |test: fn(&any_value::Value) -> bool| values.iter().any(|(_, value)| test(value));
    if is(|value| matches!(value, StringValue(_))) {
        let mut texts: Vec<Option<&str>> = vec![None; rows];
        for (row, value) in values {
            if let StringValue(text) = value {
                texts[*row as usize] = Some(text);
            }
        }
        parts.push(TypedValues::Text(Texts::plain(StringArray::from(texts))));
    }
    if is(|value| matches!(value, IntValue(_))) {
        parts.push(TypedValues::Int(sparse(
            rows,
            values.iter().filter_map(|(row, value)| match value {
                IntValue(number) => Some((*row, *number)),
                _ => None,
            }),
        )));
    }
    if is(|value| matches!(value, DoubleValue(_))) {
        parts.push(TypedValues::Float(sparse(
            rows,
            values.iter().filter_map(|(row, value)| match value {
                DoubleValue(number) => Some((*row, *number)),
                _ => None,
            }),
        )));
    }
    if is(|value| matches!(value, BoolValue(_))) {
        parts.push(TypedValues::Bool(sparse_bools(
            rows,
            values.iter().filter_map(|(row, value)| match value {
                BoolValue(value) => Some((*row, *value)),
                _ => None,
            }),
        )));
    }
    parts
}
