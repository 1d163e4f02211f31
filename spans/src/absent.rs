//! Columns that were not read, as empty ones: so that tables of a few columns can be put together like whole ones.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, Int32Array, ListArray, RecordBatch, StringArray, new_empty_array, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Int32Type, Schema};

use crate::error::Error;
use crate::schema::{self, AttributeColumn, column};

/// Columns that [`crate::join`] looks at; the others it only carries along.
pub const JOINED_COLUMNS: [&str; 12] = [
    column::TRACE,
    column::SPAN_ID,
    column::PARENT_OFFSET,
    column::PARENT_SPAN_ID,
    column::START_OFFSET_NANOS,
    column::DURATION_NANOS,
    column::NAME,
    column::KIND,
    column::STATUS_CODE,
    column::RESOURCE,
    column::SCOPE,
    column::LINKS,
];

/// The batch with all columns of [`schema::spans`], and its attribute columns behind: what it lacks is null, or zero, or
/// empty where there is no null.
///
/// # Errors
/// [`Error::Damaged`] when a column has another type than the schema says.
pub fn with_absent_columns(spans: &RecordBatch) -> Result<RecordBatch, Error> {
    let (mut fields, mut columns): (Vec<FieldRef>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    for field in schema::spans().fields() {
        fields.push(field.clone());
        columns.push(match spans.column_by_name(field.name()) {
            Some(array) => array.clone(),
            None => absent(field, spans.num_rows())?,
        });
    }
    for (field, array) in spans.schema_ref().fields().iter().zip(spans.columns()) {
        if AttributeColumn::of(field).is_some() {
            fields.push(field.clone());
            columns.push(array.clone());
        }
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn absent(field: &Field, rows: usize) -> Result<ArrayRef, Error> {
    Ok(match field.data_type() {
        data_type if field.is_nullable() => new_null_array(data_type, rows),
        DataType::List(item) => {
            let (offsets, items) = (OffsetBuffer::new_zeroed(rows), new_empty_array(item.data_type()));
            Arc::new(ListArray::try_new(item.clone(), offsets, items, None)?)
        }
        DataType::Dictionary(_, _) => {
            let keys = Int32Array::from(vec![0; rows]);
            Arc::new(DictionaryArray::<Int32Type>::try_new(keys, Arc::new(StringArray::from(vec![""])))?)
        }
        number => arrow::compute::cast(&Int32Array::from(vec![0; rows]), number)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::shop_request;
    use crate::{Copies, SpanTable, TableBuilder, merge_tables};
    use prost::Message;

    fn halves() -> [SpanTable; 2] {
        let mut requests = [shop_request(1, 20, 5), shop_request(1, 20, 5)];
        let rest = requests[0].resource_spans.split_off(2);
        requests[1].resource_spans = rest;
        requests.map(|request| {
            let mut builder = TableBuilder::default();
            builder.append(&request.encode_to_vec()).unwrap();
            builder.snapshot().unwrap()
        })
    }

    fn only(table: &SpanTable, names: &[&str]) -> SpanTable {
        let schema = table.spans.schema();
        let wanted = (0..schema.fields().len()).filter(|at| names.contains(&schema.field(*at).name().as_str()));
        let spans = table.spans.project(&wanted.collect::<Vec<_>>()).unwrap();
        SpanTable { spans: with_absent_columns(&spans).unwrap(), ..table.clone() }
    }

    #[test]
    fn tables_with_the_columns_that_joining_looks_at_are_joined_like_whole_ones() {
        let whole = merge_tables(&halves(), Copies::DropAll).unwrap().table;
        let few = halves().map(|table| only(&table, &JOINED_COLUMNS));
        let joined = merge_tables(&few, Copies::DropAll).unwrap().table;
        assert_eq!(joined.traces, whole.traces);
        assert!(joined.span_count() > 0);
        for name in JOINED_COLUMNS {
            assert_eq!(joined.spans.column_by_name(name), whole.spans.column_by_name(name), "{name}");
        }
    }
}
