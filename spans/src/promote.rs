//! The `attributes` list → attribute columns: every (key, type) that is frequent enough in a table gets a column of its
//! own, named and typed. The rest stays in the list. No configuration; nothing is lost.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
    StructArray, UInt32Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, Float64Type, Int32Type, Int64Type, Schema};
use hashbrown::{HashMap, HashSet};
use model::Scope;

use crate::builder::dictionary_column;
use crate::error::Error;
use crate::schema::{self, AttributeColumn, AttributeType, column};
use crate::table::{self, wrong_type};

/// A key gets a column when at least one row in this many has it.
const ROWS_PER_VALUE: usize = 200;
/// Most attribute columns of a table: bounds the footer and the memory of writing; the most frequent win.
const MAX_COLUMNS: usize = 160;
/// A text column with more distinct values than this share of its values is stored without a dictionary.
const DISTINCT_SHARE: f64 = 0.4;

/// Which attributes of a table get columns. Decided once for a block, applied to each of its row groups.
pub struct Promotion {
    scope: Scope,
    columns: Vec<PromotedColumn>,
}

struct PromotedColumn {
    attribute: AttributeColumn,
    /// The key has values of other types too.
    several_types: bool,
    /// Text with mostly distinct values.
    plain_text: bool,
}

impl Promotion {
    /// Decides for the `attributes` lists of a batch.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the batch has no such column, or one of another type.
    pub fn plan(batch: &RecordBatch, scope: Scope) -> Result<Self, Error> {
        let items = Items::of(batch)?;
        let mut counts: HashMap<(i32, AttributeType), usize> = HashMap::new();
        for item in 0..items.len() {
            if let Some(kind) = items.kind(item) {
                *counts.entry((items.keys[item], kind)).or_default() += 1;
            }
        }
        let least = (batch.num_rows() / ROWS_PER_VALUE).max(1);
        let mut chosen: Vec<((i32, AttributeType), usize)> =
            counts.iter().map(|(&of, &count)| (of, count)).filter(|&(_, count)| count >= least).collect();
        chosen.sort_by_key(|&(of, count)| (std::cmp::Reverse(count), of));
        chosen.truncate(MAX_COLUMNS);
        let distinct = items.count_distinct_texts(chosen.iter().map(|&(of, _)| of));
        let mut columns: Vec<PromotedColumn> = chosen
            .iter()
            .map(|&((key, kind), count)| PromotedColumn {
                attribute: AttributeColumn { scope, key: items.text(key).to_owned(), kind },
                several_types: AttributeType::ALL
                    .iter()
                    .any(|&other| other != kind && counts.contains_key(&(key, other))),
                plain_text: distinct.get(&key).is_some_and(|&distinct| distinct as f64 > count as f64 * DISTINCT_SHARE),
            })
            .collect();
        columns.sort_by(|a, b| a.attribute.cmp(&b.attribute));
        Ok(Self { scope, columns })
    }

    /// The scope whose attributes were planned.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// The schema that [`apply`](Self::apply) gives to a batch of this one.
    pub fn schema(&self, before: &Schema) -> Schema {
        let fields = before
            .fields()
            .iter()
            .map(|field| field.as_ref().clone())
            .chain(self.columns.iter().map(PromotedColumn::field));
        Schema::new(fields.collect::<Vec<_>>())
    }

    /// The batch with the planned columns added and their values taken out of the list.
    ///
    /// Where a row has a key twice, its first value goes to the column and the others stay in the list.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the batch has another shape than the one that was planned for.
    pub fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch, Error> {
        let items = Items::of(batch)?;
        let slots = self.slots(&items);
        // for each column, the item that holds the value of each row
        let mut found: Vec<Vec<Option<u32>>> = vec![vec![None; batch.num_rows()]; self.columns.len()];
        let (mut kept, mut kept_lengths) = (Vec::new(), Vec::with_capacity(batch.num_rows()));
        for (row, range) in items.ranges().enumerate() {
            let before = kept.len();
            for item in range {
                let of_key = slots.get(&items.keys[item]).map_or(&[][..], Vec::as_slice);
                let slot = items.kind(item).and_then(|kind| of_key.iter().find(|&&(other, _)| other == kind));
                match slot {
                    Some(&(_, column)) if of_key.iter().all(|&(_, column)| found[column][row].is_none()) => {
                        found[column][row] = Some(item as u32);
                    }
                    _ => kept.push(item as u32),
                }
            }
            kept_lengths.push(kept.len() - before);
        }
        let attributes = items.rest(kept, kept_lengths)?;
        let at = batch.schema_ref().index_of(column::ATTRIBUTES)?;
        let mut columns = batch.columns().to_vec();
        columns[at] = attributes;
        for (promoted, found) in self.columns.iter().zip(found) {
            columns.push(promoted.gather(&items, found)?);
        }
        Ok(RecordBatch::try_new(Arc::new(self.schema(batch.schema_ref())), columns)?)
    }

    /// Columns by the key's number in this batch.
    fn slots(&self, items: &Items<'_>) -> HashMap<i32, Vec<(AttributeType, usize)>> {
        let mut by_text: HashMap<&str, Vec<(AttributeType, usize)>> = HashMap::new();
        for (at, column) in self.columns.iter().enumerate() {
            by_text.entry(&column.attribute.key).or_default().push((column.attribute.kind, at));
        }
        let numbers: HashSet<i32> = items.keys.iter().copied().collect();
        numbers.into_iter().filter_map(|number| Some((number, by_text.get(items.text(number))?.clone()))).collect()
    }
}

impl PromotedColumn {
    fn field(&self) -> Field {
        let data_type = match self.attribute.kind {
            AttributeType::String if self.plain_text => DataType::Utf8,
            AttributeType::String => schema::dictionary(),
            AttributeType::Int => DataType::Int64,
            AttributeType::Double => DataType::Float64,
            AttributeType::Bool => DataType::Boolean,
        };
        self.attribute.field(data_type, self.several_types)
    }

    fn gather(&self, items: &Items<'_>, found: Vec<Option<u32>>) -> Result<ArrayRef, Error> {
        let source: &dyn Array = match self.attribute.kind {
            AttributeType::String => items.string_keys,
            AttributeType::Int => items.int,
            AttributeType::Double => items.double,
            AttributeType::Bool => items.bool,
        };
        let values = take(source, &UInt32Array::from(found), None)?;
        if self.attribute.kind != AttributeType::String {
            return Ok(values);
        }
        let column = dictionary_column(values.as_primitive::<Int32Type>().clone(), items.string_values)?;
        Ok(if self.plain_text { cast(&column, &DataType::Utf8)? } else { column })
    }
}

/// Typed view of an `attributes` column.
struct Items<'a> {
    lists: &'a ListArray,
    parts: &'a StructArray,
    keys: &'a [i32],
    key_texts: &'a StringArray,
    string_keys: &'a Int32Array,
    string_values: &'a ArrayRef,
    int: &'a Int64Array,
    double: &'a Float64Array,
    bool: &'a BooleanArray,
}

impl<'a> Items<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, Error> {
        let damaged = || wrong_type(column::ATTRIBUTES);
        let lists = table::column(batch, column::ATTRIBUTES)?.as_list_opt::<i32>().ok_or_else(damaged)?;
        let parts = lists.values().as_struct_opt().ok_or_else(damaged)?;
        let child = |name: &str| parts.column_by_name(name).ok_or_else(damaged);
        let keys = child("key")?.as_dictionary_opt::<Int32Type>().ok_or_else(damaged)?;
        let strings = child("string")?.as_dictionary_opt::<Int32Type>().ok_or_else(damaged)?;
        Ok(Self {
            lists,
            parts,
            keys: keys.keys().values(),
            key_texts: keys.values().as_string_opt::<i32>().ok_or_else(damaged)?,
            string_keys: strings.keys(),
            string_values: strings.values(),
            int: child("int")?.as_primitive_opt::<Int64Type>().ok_or_else(damaged)?,
            double: child("double")?.as_primitive_opt::<Float64Type>().ok_or_else(damaged)?,
            bool: child("bool")?.as_boolean_opt().ok_or_else(damaged)?,
        })
    }

    fn len(&self) -> usize {
        self.keys.len()
    }

    fn text(&self, key: i32) -> &'a str {
        self.key_texts.value(key as usize)
    }

    /// The items of each row.
    fn ranges(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        self.lists.offsets().windows(2).map(|ends| ends[0] as usize..ends[1] as usize)
    }

    /// `None` for values that get no column.
    fn kind(&self, item: usize) -> Option<AttributeType> {
        if self.string_keys.is_valid(item) {
            Some(AttributeType::String)
        } else if self.int.is_valid(item) {
            Some(AttributeType::Int)
        } else if self.double.is_valid(item) {
            Some(AttributeType::Double)
        } else if self.bool.is_valid(item) {
            Some(AttributeType::Bool)
        } else {
            None
        }
    }

    /// How many different texts the chosen string attributes have.
    fn count_distinct_texts(&self, chosen: impl Iterator<Item = (i32, AttributeType)>) -> HashMap<i32, usize> {
        let mut texts: HashMap<i32, HashSet<i32>> =
            chosen.filter(|&(_, kind)| kind == AttributeType::String).map(|(key, _)| (key, HashSet::new())).collect();
        for item in 0..self.len() {
            if self.string_keys.is_valid(item)
                && let Some(texts) = texts.get_mut(&self.keys[item])
            {
                texts.insert(self.string_keys.value(item));
            }
        }
        texts.into_iter().map(|(key, texts)| (key, texts.len())).collect()
    }

    /// The lists with only the items that are kept.
    fn rest(&self, kept: Vec<u32>, lengths: Vec<usize>) -> Result<ArrayRef, Error> {
        let kept = UInt32Array::from(kept);
        let columns =
            self.parts.columns().iter().map(|column| take(column, &kept, None)).collect::<Result<Vec<_>, _>>()?;
        let parts = StructArray::try_new(schema::attribute_fields(), columns, None)?;
        let item = schema::item_field(schema::attribute_fields());
        Ok(Arc::new(ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), Arc::new(parts), None)?))
    }
}
