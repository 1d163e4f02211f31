//! Blocks that chose their attribute columns each for itself → the same columns for all, so that their rows can be put
//! together column by column.
//!
//! Which columns that are follows from what the blocks know of theirs: how many values each has. A value in a list is
//! not counted; its key was rare in that block, and so is a small part of the whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};

use crate::columns_to_list::chosen_columns_to_list;
use crate::error::Error;
use crate::promote::{MAX_COLUMNS, PromotedColumn, Promotion, ROWS_PER_VALUE};
use crate::schema::{AttributeColumn, AttributeType};

/// What several tables know of one attribute column.
#[derive(Default)]
struct Column {
    values: u64,
    plain_text_values: u64,
    several_types: bool,
}

impl Promotion {
    /// The columns of tables with `row_count` rows together, decided from their attribute columns and how many values
    /// each of those has.
    pub fn merge<'a>(columns: impl IntoIterator<Item = (&'a FieldRef, u64)>, row_count: u64) -> Self {
        let mut known: BTreeMap<AttributeColumn, Column> = BTreeMap::new();
        let mut types: BTreeMap<String, BTreeSet<AttributeType>> = BTreeMap::new();
        for (field, values) in columns {
            let Some(of) = AttributeColumn::of(field) else { continue };
            let has_suffix = of.field(field.data_type().clone(), false).name() != field.name();
            types.entry(of.key.clone()).or_default().insert(of.kind);
            let column = known.entry(of).or_default();
            column.values += values;
            column.plain_text_values += if field.data_type() == &DataType::Utf8 { values } else { 0 };
            column.several_types |= has_suffix;
        }
        let least = (row_count / ROWS_PER_VALUE as u64).max(1);
        let mut frequent: Vec<(AttributeColumn, Column)> =
            known.into_iter().filter(|(_, column)| column.values >= least).collect();
        frequent.sort_by(|(a, left), (b, right)| right.values.cmp(&left.values).then_with(|| a.cmp(b)));
        frequent.truncate(MAX_COLUMNS);
        frequent.sort_by(|(a, _), (b, _)| a.cmp(b));
        let promoted = |(attribute, column): (AttributeColumn, Column)| PromotedColumn {
            several_types: column.several_types || types[&attribute.key].len() > 1,
            plain_text: column.plain_text_values * 2 > column.values,
            attribute,
        };
        Self { columns: frequent.into_iter().map(promoted).collect() }
    }

    /// The keys of which columns come or go when a batch with these columns is [aligned](Self::align_schema). Which of
    /// several values of a key is the first depends on all columns of the key: it changes as a whole. The columns of
    /// other keys, and the list if there are none, stay as they are but for how a text is kept.
    pub fn changed_keys(&self, there: &Schema) -> BTreeSet<String> {
        let there: Vec<AttributeColumn> =
            there.fields().iter().filter_map(|field| AttributeColumn::of(field)).collect();
        let kinds_of = |columns: &mut dyn Iterator<Item = &AttributeColumn>| {
            let mut kinds: BTreeMap<String, BTreeSet<AttributeType>> = BTreeMap::new();
            columns.for_each(|of| _ = kinds.entry(of.key.clone()).or_default().insert(of.kind));
            kinds
        };
        let (before, after) =
            (kinds_of(&mut there.iter()), kinds_of(&mut self.columns.iter().map(|column| &column.attribute)));
        before.keys().chain(after.keys()).filter(|key| before.get(*key) != after.get(*key)).cloned().collect()
    }

    /// The batch with these attribute columns and no others, after all its other columns.
    ///
    /// Values of columns that are not among these go back into the list, and values of the list come out of it.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the batch lacks the list, or has columns of another type.
    pub fn align_schema(&self, batch: &RecordBatch) -> Result<RecordBatch, Error> {
        let changed = self.changed_keys(batch.schema_ref());
        let batch = chosen_columns_to_list(batch, |of| changed.contains(&of.key))?;
        let new = self.columns.iter().filter(|column| changed.contains(&column.attribute.key));
        let new = new.cloned().collect::<Vec<_>>();
        let batch = if new.is_empty() { batch } else { Self { columns: new }.apply(&batch)? };
        self.in_order(&batch)
    }

    /// The columns of a batch that has them all, with names and types as they must be.
    fn in_order(&self, batch: &RecordBatch) -> Result<RecordBatch, Error> {
        let mut fields: Vec<FieldRef> = Vec::new();
        let mut columns: Vec<ArrayRef> = Vec::new();
        let mut attributes: BTreeMap<AttributeColumn, &ArrayRef> = BTreeMap::new();
        for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            match AttributeColumn::of(field) {
                Some(of) => _ = attributes.insert(of, array),
                None => {
                    fields.push(field.clone());
                    columns.push(array.clone());
                }
            }
        }
        for column in &self.columns {
            let field: Field = column.field();
            let array =
                attributes.get(&column.attribute).ok_or_else(|| Error::damaged("an attribute column is gone"))?;
            columns.push(if array.data_type() == field.data_type() {
                (*array).clone()
            } else {
                cast(array, field.data_type())?
            });
            fields.push(Arc::new(field));
        }
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }
}
