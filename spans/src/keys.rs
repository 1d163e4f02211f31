//! Which attribute keys a table has.

use std::collections::BTreeSet;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::Int32Type;
use model::Scope;

use crate::error::Error;
use crate::schema::{AttributeColumn, column};
use crate::table::{self, SpanTable, wrong_type};

/// Every attribute key that occurs in the table, by scope; `spans` must hold the columns that can have attributes.
///
/// # Errors
/// [`Error::Damaged`] when a column is missing or has another type.
pub fn attribute_keys(table: &SpanTable) -> Result<BTreeSet<(Scope, String)>, Error> {
    let mut keys = span_keys(&table.spans)?;
    for (scope, batch) in [(Scope::Resource, &table.resources), (Scope::Instrumentation, &table.scopes)] {
        keys.extend(batch_keys(batch, scope)?);
    }
    Ok(keys)
}

/// Every attribute key that occurs in `spans`, in their events and in their links.
///
/// # Errors
/// [`Error::Damaged`] when a column is missing or has another type.
pub fn span_keys(spans: &RecordBatch) -> Result<BTreeSet<(Scope, String)>, Error> {
    let mut keys = batch_keys(spans, Scope::Span)?;
    for (scope, name) in [(Scope::Event, column::EVENTS), (Scope::Link, column::LINKS)] {
        let items = items(table::column(spans, name)?)?;
        let attributes = items.as_struct().column_by_name(column::ATTRIBUTES).ok_or_else(|| wrong_type(name))?;
        add_list_keys(attributes, scope, &mut keys)?;
    }
    Ok(keys)
}

/// The keys that have a value in the list `attributes` or in an attribute column of a batch.
///
/// # Errors
/// [`Error::Damaged`] when the list is missing or has another type.
pub fn batch_keys(batch: &RecordBatch, scope: Scope) -> Result<BTreeSet<(Scope, String)>, Error> {
    let mut keys = list_keys(batch, scope)?;
    let columns = batch.schema_ref().fields().iter().zip(batch.columns());
    let with_values = columns.filter(|(_, array)| array.null_count() < array.len());
    keys.extend(with_values.filter_map(|(field, _)| AttributeColumn::of(field)).map(|of| (of.scope, of.key)));
    Ok(keys)
}

/// The keys of which a value stands in the list `attributes` of a batch.
///
/// # Errors
/// [`Error::Damaged`] when the column is missing or has another type.
pub fn list_keys(batch: &RecordBatch, scope: Scope) -> Result<BTreeSet<(Scope, String)>, Error> {
    let mut keys = BTreeSet::new();
    add_list_keys(table::column(batch, column::ATTRIBUTES)?, scope, &mut keys)?;
    Ok(keys)
}

/// The items that the lists of a column refer to.
pub(crate) fn items(lists: &ArrayRef) -> Result<ArrayRef, Error> {
    let lists = lists.as_list_opt::<i32>().ok_or_else(|| Error::damaged("a list column has another type"))?;
    let (first, last) = (lists.offsets()[0], lists.offsets()[lists.len()]);
    Ok(lists.values().slice(first as usize, (last - first) as usize))
}

fn add_list_keys(lists: &ArrayRef, scope: Scope, keys: &mut BTreeSet<(Scope, String)>) -> Result<(), Error> {
    let items = items(lists)?;
    let dictionary = items.as_struct().column(0).as_dictionary_opt::<Int32Type>().ok_or_else(|| wrong_type("key"))?;
    let texts = dictionary.values().as_string_opt::<i32>().ok_or_else(|| wrong_type("key"))?;
    let mut seen = vec![false; texts.len()];
    for &id in dictionary.keys().values() {
        if !std::mem::replace(&mut seen[id as usize], true) {
            keys.insert((scope, texts.value(id as usize).to_owned()));
        }
    }
    Ok(())
}

/// Bytes of the buffers of a batch, each counted once however many columns share it.
pub fn batch_memory_bytes(batches: &[&RecordBatch]) -> usize {
    let mut seen = BTreeSet::new();
    batches.iter().flat_map(|batch| batch.columns()).map(|column| buffers(&column.to_data(), &mut seen)).sum()
}

fn buffers(data: &arrow::array::ArrayData, seen: &mut BTreeSet<usize>) -> usize {
    let nulls = data.nulls().map(|nulls| nulls.buffer());
    let own: usize = data
        .buffers()
        .iter()
        .chain(nulls)
        .filter(|buffer| seen.insert(buffer.data_ptr().as_ptr() as usize))
        .map(|buffer| buffer.capacity())
        .sum();
    own + data.child_data().iter().map(|child| buffers(child, seen)).sum::<usize>()
}
