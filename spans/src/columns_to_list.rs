//! Attribute columns → the `attributes` list: the shape in which tables of any origin can be put together.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayBuilder, ArrayRef, AsArray, BinaryBuilder, BooleanArray, BooleanBuilder, Float64Array, Float64Builder,
    Int32Array, Int32Builder, Int64Array, Int64Builder, ListArray, RecordBatch, StringArray, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Float64Type, Int32Type, Int64Type, Schema, SchemaRef};

use crate::error::Error;
use crate::promote::Items;
use crate::schema::{self, AttributeColumn, column};
use crate::strings::{Interner, dictionary_column};
use crate::table::{self, SpanTable, wrong_type};

/// The same table without attribute columns, columns in the order of [`crate::schema`].
pub fn columns_to_list(table: &SpanTable) -> Result<SpanTable, Error> {
    Ok(SpanTable { spans: batch_columns_to_list(&table.spans, schema::spans())?, ..dimension_columns_to_list(table)? })
}

/// The same table, only its spans with attribute columns.
pub(crate) fn dimension_columns_to_list(table: &SpanTable) -> Result<SpanTable, Error> {
    Ok(SpanTable {
        spans: table.spans.clone(),
        traces: table.traces.clone(),
        resources: batch_columns_to_list(&table.resources, schema::resources())?,
        scopes: batch_columns_to_list(&table.scopes, schema::scopes())?,
    })
}

/// One of the tables without attribute columns, columns in the order of `schema`.
pub(crate) fn batch_columns_to_list(batch: &RecordBatch, schema: SchemaRef) -> Result<RecordBatch, Error> {
    let batch = chosen_columns_to_list(batch, |_| true)?;
    let columns = schema.fields().iter().map(|field| -> Result<ArrayRef, Error> {
        let array = table::column(&batch, field.name())?;
        Ok(if array.data_type() == field.data_type() {
            array.clone()
        } else {
            arrow::compute::cast(array, field.data_type())?
        })
    });
    Ok(RecordBatch::try_new(schema.clone(), columns.collect::<Result<Vec<_>, Error>>()?)?)
}

/// The batch without the attribute columns that `is_taken` names: their values stand in the list, before those that are
/// there already.
pub(crate) fn chosen_columns_to_list(
    batch: &RecordBatch,
    is_taken: impl Fn(&AttributeColumn) -> bool,
) -> Result<RecordBatch, Error> {
    let (mut taken, mut fields, mut columns) = (Vec::new(), Vec::new(), Vec::new());
    for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        match AttributeColumn::of(field).filter(&is_taken) {
            Some(of) => taken.push((of.key, array)),
            None => {
                fields.push(field.clone());
                columns.push(array.clone());
            }
        }
    }
    if taken.is_empty() {
        return Ok(batch.clone());
    }
    let schema = Schema::new(fields);
    let at = schema.index_of(column::ATTRIBUTES)?;
    columns[at] = lists(batch, &taken)?;
    let attributes = Field::new_list(column::ATTRIBUTES, schema::item_field(schema::attribute_fields()), false);
    let fields = schema.fields().iter().map(|field| match field.name().as_str() {
        column::ATTRIBUTES => Arc::new(attributes.clone()),
        _ => field.clone(),
    });
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns)?)
}

/// The attribute lists of a batch with the values of some of its columns in front.
fn lists(batch: &RecordBatch, taken: &[(String, &ArrayRef)]) -> Result<ArrayRef, Error> {
    let items = Items::of(batch)?;
    let mut list = List::default();
    let named = taken.iter().map(|(key, array)| Named::of(list.texts.intern(key.as_bytes()), array));
    let mut named = named.collect::<Result<Vec<_>, Error>>()?;
    let (mut key_numbers, mut string_numbers) = (Numbers::of(items.key_texts), Numbers::of(items.string_texts()?));
    let others = items.others()?;
    for (row, range) in items.ranges().enumerate() {
        let before = list.keys.len();
        named.iter_mut().for_each(|column| column.add_to(&mut list, row));
        for item in range {
            list.keys.append_value(key_numbers.of_key(items.keys[item], &mut list.texts));
            let string = items.string_keys.is_valid(item).then(|| items.string_keys.value(item));
            list.strings.append_option(string.map(|key| string_numbers.of_key(key, &mut list.texts)));
            list.ints.append_option(items.int.is_valid(item).then(|| items.int.value(item)));
            list.doubles.append_option(items.double.is_valid(item).then(|| items.double.value(item)));
            list.bools.append_option(items.bool.is_valid(item).then(|| items.bool.value(item)));
            list.others.append_option(others.is_valid(item).then(|| others.value(item)));
        }
        list.lengths.push(list.keys.len() - before);
    }
    list.finish()
}

/// Lists under construction.
#[derive(Default)]
struct List {
    texts: Interner,
    keys: Int32Builder,
    strings: Int32Builder,
    ints: Int64Builder,
    doubles: Float64Builder,
    bools: BooleanBuilder,
    others: BinaryBuilder,
    lengths: Vec<usize>,
}

impl List {
    fn add(&mut self, key: i32, string: Option<i32>, int: Option<i64>, double: Option<f64>, bool: Option<bool>) {
        self.keys.append_value(key);
        self.strings.append_option(string);
        self.ints.append_option(int);
        self.doubles.append_option(double);
        self.bools.append_option(bool);
        self.others.append_null();
    }

    fn finish(mut self) -> Result<ArrayRef, Error> {
        let (values, fields) = (self.texts.values(), schema::attribute_fields());
        let columns: Vec<ArrayRef> = vec![
            dictionary_column(self.keys.finish(), &values)?,
            dictionary_column(self.strings.finish(), &values)?,
            Arc::new(self.ints.finish()),
            Arc::new(self.doubles.finish()),
            Arc::new(self.bools.finish()),
            Arc::new(self.others.finish()),
        ];
        let items = StructArray::try_new(fields.clone(), columns, None)?;
        let offsets = OffsetBuffer::from_lengths(self.lengths);
        Ok(Arc::new(ListArray::try_new(schema::item_field(fields), offsets, Arc::new(items), None)?))
    }
}

/// New numbers of the texts of a dictionary, given as rows ask for them.
struct Numbers<'a> {
    texts: &'a StringArray,
    numbers: Vec<Option<i32>>,
}

impl<'a> Numbers<'a> {
    fn of(texts: &'a StringArray) -> Self {
        Self { texts, numbers: vec![None; texts.len()] }
    }

    fn of_key(&mut self, key: i32, interner: &mut Interner) -> i32 {
        let text = self.texts.value(key as usize);
        *self.numbers[key as usize].get_or_insert_with(|| interner.intern(text.as_bytes()))
    }
}

/// An attribute column, and the number of its key.
struct Named<'a> {
    key: i32,
    values: Values<'a>,
}

enum Values<'a> {
    Dictionary(&'a Int32Array, Numbers<'a>),
    Text(&'a StringArray),
    Int(&'a Int64Array),
    Double(&'a Float64Array),
    Bool(&'a BooleanArray),
}

impl<'a> Named<'a> {
    fn of(key: i32, array: &'a ArrayRef) -> Result<Self, Error> {
        let values = match array.data_type() {
            DataType::Dictionary(_, _) => {
                let dictionary = array.as_dictionary_opt::<Int32Type>().ok_or_else(|| wrong_type("dictionary"))?;
                let texts = dictionary.values().as_string_opt().ok_or_else(|| wrong_type("dictionary values"))?;
                Values::Dictionary(dictionary.keys(), Numbers::of(texts))
            }
            DataType::Utf8 => Values::Text(array.as_string()),
            DataType::Int64 => Values::Int(array.as_primitive::<Int64Type>()),
            DataType::Float64 => Values::Double(array.as_primitive::<Float64Type>()),
            DataType::Boolean => Values::Bool(array.as_boolean()),
            other => return Err(Error::damaged(format!("an attribute column has the unknown type {other}"))),
        };
        Ok(Self { key, values })
    }

    /// Adds the value of the row, if it has one.
    fn add_to(&mut self, list: &mut List, row: usize) {
        let key = self.key;
        match &mut self.values {
            Values::Dictionary(keys, numbers) if keys.is_valid(row) => {
                let number = numbers.of_key(keys.value(row), &mut list.texts);
                list.add(key, Some(number), None, None, None);
            }
            Values::Text(texts) if texts.is_valid(row) => {
                let number = list.texts.intern(texts.value(row).as_bytes());
                list.add(key, Some(number), None, None, None);
            }
            Values::Int(values) if values.is_valid(row) => list.add(key, None, Some(values.value(row)), None, None),
            Values::Double(values) if values.is_valid(row) => list.add(key, None, None, Some(values.value(row)), None),
            Values::Bool(values) if values.is_valid(row) => list.add(key, None, None, None, Some(values.value(row))),
            _ => {}
        }
    }
}
