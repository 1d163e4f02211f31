//! The `attributes` list → attribute columns: every (key, type) that is frequent enough in a table gets a column of its
//! own, named and typed. The rest stays in the list. No configuration; nothing is lost.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, BooleanBufferBuilder, Float64Array, Int32Array, Int64Array,
    ListArray, RecordBatch, StringArray, StructArray, UInt32Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, Float64Type, Int32Type, Int64Type, Schema};
use hashbrown::{HashMap, HashSet};
use model::Scope;

use crate::error::Error;
use crate::schema::{self, AttributeColumn, AttributeType, column};
use crate::strings::dictionary_column;
use crate::table::{self, wrong_type};

/// A key gets a column when at least one row in this many has it.
pub(crate) const ROWS_PER_VALUE: usize = 200;
/// Most attribute columns of a table: bounds the footer and the memory of writing; the most frequent win.
pub(crate) const MAX_COLUMNS: usize = 160;
/// A text column with more distinct values than this share of its values is stored without a dictionary.
const DISTINCT_SHARE: f64 = 0.4;

/// How many values of each type a key has.
type KindCounts = [u32; AttributeType::ALL.len()];

/// Which attributes of a table get columns. Decided once for a block, applied to each of its row groups.
#[derive(Debug, Clone)]
pub struct Promotion {
    pub(crate) columns: Vec<PromotedColumn>,
}

#[derive(Debug, Clone)]
pub(crate) struct PromotedColumn {
    pub(crate) attribute: AttributeColumn,
    /// The key has values of other types too.
    pub(crate) several_types: bool,
    /// Text with mostly distinct values.
    pub(crate) plain_text: bool,
}

impl Promotion {
    /// Decides for the `attributes` lists of a batch.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the batch has no such column, or one of another type.
    pub fn plan(batch: &RecordBatch, scope: Scope) -> Result<Self, Error> {
        Self::plan_together(std::iter::once(batch), scope)
    }

    /// Decides for the `attributes` lists of several batches as if they were one.
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub fn plan_together<'a>(batches: impl IntoIterator<Item = &'a RecordBatch>, scope: Scope) -> Result<Self, Error> {
        let items = batches.into_iter().map(Items::of).collect::<Result<Vec<_>, _>>()?;
        let counts = count_kinds(&items);
        let row_count: usize = items.iter().map(|items| items.lists.len()).sum();
        let least = (row_count / ROWS_PER_VALUE).max(1) as u32;
        let mut chosen: Vec<(&str, AttributeType, u32)> = Vec::new();
        for (&key, kinds) in &counts {
            let frequent = AttributeType::ALL.into_iter().zip(kinds).filter(|&(_, &count)| count >= least);
            chosen.extend(frequent.map(|(kind, &count)| (key, kind, count)));
        }
        chosen.sort_by_key(|&(key, kind, count)| (std::cmp::Reverse(count), key, kind));
        chosen.truncate(MAX_COLUMNS);
        let texts = chosen.iter().filter(|(_, kind, _)| *kind == AttributeType::String);
        let distinct = count_distinct_texts(&items, texts.map(|&(key, _, count)| (key, most_in_dictionary(count))))?;
        let mut columns: Vec<PromotedColumn> = chosen
            .iter()
            .map(|&(key, kind, count)| PromotedColumn {
                attribute: AttributeColumn { scope, key: key.to_owned(), kind },
                several_types: counts[key].iter().filter(|&&count| count > 0).count() > 1,
                plain_text: distinct.get(key).is_some_and(|&distinct| distinct > most_in_dictionary(count)),
            })
            .collect();
        columns.sort_by(|a, b| a.attribute.cmp(&b.attribute));
        Ok(Self { columns })
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
        let mut found: Vec<Found> = self.columns.iter().map(|_| Found::default()).collect();
        let (mut kept, mut kept_lengths) = (Vec::new(), Vec::with_capacity(batch.num_rows()));
        for (row, range) in items.ranges().enumerate() {
            let before = kept.len();
            for item in range {
                let of_key = slots.get(items.keys[item] as usize).map_or(&[][..], Vec::as_slice);
                let is_first = !of_key.iter().any(|&(_, column)| found[column].has(row));
                let slot = items.kind(item).and_then(|kind| of_key.iter().find(|&&(other, _)| other == kind));
                match slot {
                    Some(&(_, column)) if is_first => found[column].values.push((row, item)),
                    _ => {
                        kept.push(item as u32);
                        // a later value of the key must not come before this one
                        let columns = of_key.iter().map(|&(_, column)| column);
                        columns.filter(|_| is_first).for_each(|column| found[column].newest_in_list = Some(row));
                    }
                }
            }
            kept_lengths.push(kept.len() - before);
        }
        let attributes = items.rest(kept, kept_lengths)?;
        let at = batch.schema_ref().index_of(column::ATTRIBUTES)?;
        let mut columns = batch.columns().to_vec();
        columns[at] = attributes;
        for (promoted, found) in self.columns.iter().zip(found) {
            columns.push(promoted.gather(&items, &found.values, batch.num_rows())?);
        }
        Ok(RecordBatch::try_new(Arc::new(self.schema(batch.schema_ref())), columns)?)
    }

    /// The columns of each key, by its number in this batch.
    fn slots(&self, items: &Items<'_>) -> Vec<Vec<(AttributeType, usize)>> {
        let mut by_text: HashMap<&str, Vec<(AttributeType, usize)>> = HashMap::new();
        for (at, column) in self.columns.iter().enumerate() {
            by_text.entry(&column.attribute.key).or_default().push((column.attribute.kind, at));
        }
        let slots = (0..items.key_count()).map(|key| by_text.get(items.text(key as i32)).cloned().unwrap_or_default());
        slots.collect()
    }
}

/// What [`Promotion::apply`] has found for a column, going through the rows in order.
#[derive(Default)]
struct Found {
    /// Rows, and the items that hold their values.
    values: Vec<(usize, usize)>,
    /// The newest row whose first value of the key stands in the list.
    newest_in_list: Option<usize>,
}

impl Found {
    /// Whether the key has had a value in this row, the newest so far.
    fn has(&self, row: usize) -> bool {
        self.newest_in_list == Some(row) || self.values.last().is_some_and(|&(newest, _)| newest == row)
    }
}

impl PromotedColumn {
    pub(crate) fn field(&self) -> Field {
        let data_type = match self.attribute.kind {
            AttributeType::String if self.plain_text => DataType::Utf8,
            AttributeType::String => schema::dictionary(),
            AttributeType::Int => DataType::Int64,
            AttributeType::Double => DataType::Float64,
            AttributeType::Bool => DataType::Boolean,
        };
        self.attribute.field(data_type, self.several_types)
    }

    /// The values of the found (row, item) pairs; rows without one are null.
    fn gather(&self, items: &Items<'_>, found: &[(usize, usize)], row_count: usize) -> Result<ArrayRef, Error> {
        let mut valid = BooleanBufferBuilder::new(row_count);
        valid.append_n(row_count, false);
        found.iter().for_each(|&(row, _)| valid.set_bit(row, true));
        let nulls = Some(NullBuffer::new(valid.finish()));
        Ok(match self.attribute.kind {
            AttributeType::Int => {
                Arc::new(Int64Array::new(spread(found, row_count, |item| items.int.value(item)).into(), nulls))
            }
            AttributeType::Double => {
                Arc::new(Float64Array::new(spread(found, row_count, |item| items.double.value(item)).into(), nulls))
            }
            AttributeType::Bool => {
                Arc::new(BooleanArray::new(spread(found, row_count, |item| items.bool.value(item)).into(), nulls))
            }
            AttributeType::String => {
                let keys = spread(found, row_count, |item| items.string_keys.value(item));
                let column = dictionary_column(Int32Array::new(keys.into(), nulls), items.string_values)?;
                if self.plain_text { cast(&column, &DataType::Utf8)? } else { column }
            }
        })
    }
}

/// A value for each row that was found, the default for the others.
fn spread<T: Clone + Default>(found: &[(usize, usize)], row_count: usize, value: impl Fn(usize) -> T) -> Vec<T> {
    let mut values = vec![T::default(); row_count];
    for &(row, item) in found {
        values[row] = value(item);
    }
    values
}

/// Typed view of an `attributes` column.
pub(crate) struct Items<'a> {
    lists: &'a ListArray,
    parts: &'a StructArray,
    pub(crate) keys: &'a [i32],
    pub(crate) key_texts: &'a StringArray,
    pub(crate) string_keys: &'a Int32Array,
    string_values: &'a ArrayRef,
    pub(crate) int: &'a Int64Array,
    pub(crate) double: &'a Float64Array,
    pub(crate) bool: &'a BooleanArray,
}

impl<'a> Items<'a> {
    pub(crate) fn of(batch: &'a RecordBatch) -> Result<Self, Error> {
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

    pub(crate) fn string_texts(&self) -> Result<&'a StringArray, Error> {
        self.string_values.as_string_opt::<i32>().ok_or_else(|| wrong_type(column::ATTRIBUTES))
    }

    /// Values that get no column, serialized.
    pub(crate) fn others(&self) -> Result<&'a BinaryArray, Error> {
        let others = self.parts.column_by_name("other").and_then(|other| other.as_binary_opt::<i32>());
        others.ok_or_else(|| wrong_type(column::ATTRIBUTES))
    }

    /// One more than the greatest number of a key.
    fn key_count(&self) -> usize {
        self.keys.iter().max().map_or(0, |&key| key as usize + 1)
    }

    fn text(&self, key: i32) -> &'a str {
        self.key_texts.value(key as usize)
    }

    /// The items of each row.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
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

/// Most distinct texts that so many values may have in a dictionary.
fn most_in_dictionary(values: u32) -> usize {
    (f64::from(values) * DISTINCT_SHARE) as usize
}

/// How many values of each type each key has.
fn count_kinds<'a>(batches: &[Items<'a>]) -> BTreeMap<&'a str, KindCounts> {
    let mut all: BTreeMap<&str, KindCounts> = BTreeMap::new();
    for items in batches {
        let mut by_number = vec![KindCounts::default(); items.key_count()];
        for (item, &key) in items.keys.iter().enumerate() {
            if let Some(kind) = items.kind(item) {
                by_number[key as usize][kind as usize] += 1;
            }
        }
        let found = by_number.into_iter().enumerate().filter(|(_, counts)| *counts != KindCounts::default());
        for (key, counts) in found {
            let sums = all.entry(items.text(key as i32)).or_default();
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
    }
    all
}

/// How many different texts these keys have; counted no further than one beyond the limit of each.
fn count_distinct_texts<'a>(
    batches: &[Items<'_>],
    keys: impl Iterator<Item = (&'a str, usize)>,
) -> Result<HashMap<&'a str, usize>, Error> {
    let mut seen: HashMap<&str, DistinctTexts> = keys.map(|(key, most)| (key, DistinctTexts::up_to(most))).collect();
    for items in batches {
        let texts = items.string_texts()?;
        let mut by_number: Vec<Option<(&mut DistinctTexts, BooleanBufferBuilder)>> = Vec::new();
        by_number.resize_with(items.key_count(), || None);
        for (key, of_key) in &mut seen {
            if let Some(number) = (0..items.key_count()).find(|&number| items.text(number as i32) == *key) {
                let mut of_batch = BooleanBufferBuilder::new(texts.len());
                of_batch.append_n(texts.len(), false);
                by_number[number] = Some((of_key, of_batch));
            }
        }
        for (item, &key) in items.keys.iter().enumerate() {
            if items.string_keys.is_valid(item)
                && let Some((of_key, of_batch)) = &mut by_number[key as usize]
            {
                let text = items.string_keys.value(item) as usize;
                if !of_batch.get_bit(text) {
                    of_batch.set_bit(text, true);
                    of_key.add(texts.value(text));
                }
            }
        }
    }
    Ok(seen.into_iter().map(|(key, texts)| (key, texts.hashes.len())).collect())
}

/// Distinct texts of several batches, known by their hashes, until there are more than were asked for.
struct DistinctTexts {
    hashes: HashSet<u64>,
    most: usize,
}

impl DistinctTexts {
    fn up_to(most: usize) -> Self {
        Self { hashes: HashSet::default(), most }
    }

    fn add(&mut self, text: &str) {
        if self.hashes.len() <= self.most {
            let hash = self.hashes.hasher().hash_one(text);
            self.hashes.insert(hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::testing::{odd_request, shop_request};
    use crate::{Copies, SpanTable, TableBuilder, merge_tables};

    fn table_of(seed: u64) -> SpanTable {
        let mut builder = TableBuilder::default();
        builder.append(&odd_request(seed).encode_to_vec()).unwrap();
        builder.append(&shop_request(seed, 3, 1_000).encode_to_vec()).unwrap();
        builder.snapshot().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn columns_are_those_of_all_tables_together(seeds in prop::collection::vec(any::<u64>(), 1..5)) {
            let tables: Vec<SpanTable> = seeds.iter().map(|&seed| table_of(seed)).collect();
            let all = merge_tables(&tables, Copies::Keep).unwrap().table;
            let apart = Promotion::plan_together(tables.iter().map(|table| &table.spans), Scope::Span).unwrap();
            let together = Promotion::plan(&all.spans, Scope::Span).unwrap();
            let schema = |promotion: &Promotion| promotion.schema(&schema::spans());
            prop_assert_eq!(schema(&apart), schema(&together));
        }
    }
}
