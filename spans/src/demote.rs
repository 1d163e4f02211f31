//! Attribute columns → the `attributes` list: the shape in which tables of any origin can be put together.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryBuilder, BooleanBuilder, Float64Builder, Int32Builder, Int64Builder, ListArray, RecordBatch,
    StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::SchemaRef;
use opentelemetry_proto::tonic::common::v1::any_value::Value;

use crate::builder::dictionary_column;
use crate::encode::AttributeColumns;
use crate::error::Error;
use crate::schema::{self, AttributeColumn, column};
use crate::strings::Interner;
use crate::table::{self, SpanTable};

/// The same table without attribute columns, columns in the order of [`crate::schema`].
pub(crate) fn demote(table: &SpanTable) -> Result<SpanTable, Error> {
    Ok(SpanTable {
        spans: demote_batch(&table.spans, schema::spans())?,
        traces: table.traces.clone(),
        resources: demote_batch(&table.resources, schema::resources())?,
        scopes: demote_batch(&table.scopes, schema::scopes())?,
    })
}

fn demote_batch(batch: &RecordBatch, schema: SchemaRef) -> Result<RecordBatch, Error> {
    let has_columns = batch.schema_ref().fields().iter().any(|field| AttributeColumn::of(field).is_some());
    let columns = schema.fields().iter().map(|field| -> Result<ArrayRef, Error> {
        if has_columns && field.name() == column::ATTRIBUTES {
            return lists(batch);
        }
        let array = table::column(batch, field.name())?;
        Ok(if array.data_type() == field.data_type() {
            array.clone()
        } else {
            arrow::compute::cast(array, field.data_type())?
        })
    });
    Ok(RecordBatch::try_new(schema.clone(), columns.collect::<Result<Vec<_>, Error>>()?)?)
}

fn lists(batch: &RecordBatch) -> Result<ArrayRef, Error> {
    let attributes = AttributeColumns::of(batch)?;
    let mut texts = Interner::default();
    let (mut keys, mut strings, mut ints) = (Int32Builder::new(), Int32Builder::new(), Int64Builder::new());
    let (mut doubles, mut bools, mut others) = (Float64Builder::new(), BooleanBuilder::new(), BinaryBuilder::new());
    let mut lengths = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let list = attributes.get(row);
        lengths.push(list.len());
        for attribute in list {
            let value = attribute.value.unwrap_or_default();
            let other =
                matches!(value.value, Some(Value::ArrayValue(_) | Value::KvlistValue(_) | Value::BytesValue(_)));
            others.append_option(other.then(|| prost::Message::encode_to_vec(&value)));
            keys.append_value(texts.intern(attribute.key.as_bytes()));
            strings.append_option(match &value.value {
                Some(Value::StringValue(text)) => Some(texts.intern(text.as_bytes())),
                _ => None,
            });
            ints.append_option(if let Some(Value::IntValue(int)) = value.value { Some(int) } else { None });
            doubles.append_option(if let Some(Value::DoubleValue(double)) = value.value { Some(double) } else { None });
            bools.append_option(if let Some(Value::BoolValue(bool)) = value.value { Some(bool) } else { None });
        }
    }
    let values = texts.values();
    let fields = schema::attribute_fields();
    let columns: Vec<ArrayRef> = vec![
        dictionary_column(keys.finish(), &values)?,
        dictionary_column(strings.finish(), &values)?,
        Arc::new(ints.finish()),
        Arc::new(doubles.finish()),
        Arc::new(bools.finish()),
        Arc::new(others.finish()),
    ];
    let items = StructArray::try_new(fields.clone(), columns, None)?;
    Ok(Arc::new(ListArray::try_new(
        schema::item_field(fields),
        OffsetBuffer::from_lengths(lengths),
        Arc::new(items),
        None,
    )?))
}
