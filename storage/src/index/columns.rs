//! Typed views of the columns that are indexed. A column that is missing or of another type is an error.

use std::ops::Range;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BooleanArray, Float64Array, Int32Array, Int64Array,
    ListArray, PrimitiveArray, RecordBatch, StringArray, StructArray, UInt32Array,
};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, UInt32Type};
use model::Scope;
use spans::SpanTable;
use spans::schema::{AttributeColumn, column, dimension, trace_column};

use crate::error::Error;

/// All columns of a table that are indexed.
pub(super) struct Columns<'a> {
    pub traces: spans::Traces<'a>,
    pub root_names: Texts<'a>,
    pub root_services: Texts<'a>,
    pub names: Texts<'a>,
    pub status_messages: Texts<'a>,
    pub durations: &'a [i64],
    pub kinds: &'a [i32],
    pub statuses: &'a [i32],
    pub resource: &'a [u32],
    pub scope: &'a [u32],
    pub attributes: Lists<'a>,
    pub attribute_columns: Vec<AttributeValues<'a>>,
    pub resources: Lists<'a>,
    pub scopes: Lists<'a>,
    pub scope_names: Texts<'a>,
    pub scope_versions: Texts<'a>,
    pub events: Offsets<'a>,
    pub event_names: Texts<'a>,
    pub event_times: &'a Int64Array,
    pub event_attributes: Lists<'a>,
    pub links: Offsets<'a>,
    pub link_trace_ids: &'a BinaryArray,
    pub link_span_ids: &'a BinaryArray,
    pub link_attributes: Lists<'a>,
}

impl<'a> Columns<'a> {
    pub fn of(table: &'a SpanTable) -> Result<Self, Error> {
        let SpanTable { spans, traces, resources, scopes } = table;
        let i32s = |name| primitive::<Int32Type>(column_of(spans, name)?, name).map(|array| &array.values()[..]);
        let u32s = |name| -> Result<&[u32], Error> {
            let array: &UInt32Array = primitive::<UInt32Type>(column_of(spans, name)?, name)?;
            Ok(array.values())
        };
        let (events, event_items) = lists(spans, column::EVENTS)?;
        let (links, link_items) = lists(spans, column::LINKS)?;
        let attributes = Lists::of_array(column_of(spans, column::ATTRIBUTES)?)?;
        let binary = |name: &'static str| child(link_items, name)?.as_binary_opt::<i32>().ok_or_else(|| wrong(name));
        Ok(Self {
            traces: spans::Traces::of(traces)?,
            root_names: Texts::of(column_of(traces, trace_column::ROOT_NAME)?)?,
            root_services: Texts::of(column_of(traces, trace_column::ROOT_SERVICE)?)?,
            names: Texts::of(column_of(spans, column::NAME)?)?,
            status_messages: Texts::of(column_of(spans, column::STATUS_MESSAGE)?)?,
            durations: primitive::<Int64Type>(column_of(spans, column::DURATION_NANOS)?, column::DURATION_NANOS)?
                .values(),
            kinds: i32s(column::KIND)?,
            statuses: i32s(column::STATUS_CODE)?,
            resource: u32s(column::RESOURCE)?,
            scope: u32s(column::SCOPE)?,
            attribute_columns: attribute_columns(spans, &attributes.items.strings)?,
            attributes,
            resources: Lists::of(resources)?,
            scopes: Lists::of(scopes)?,
            scope_names: Texts::of(column_of(scopes, dimension::NAME)?)?,
            scope_versions: Texts::of(column_of(scopes, dimension::VERSION)?)?,
            events,
            event_names: Texts::of(child(event_items, "name")?)?,
            event_times: primitive::<Int64Type>(child(event_items, "time_offset_nanos")?, "time_offset_nanos")?,
            event_attributes: Lists::of_items(event_items)?,
            links,
            link_trace_ids: binary("trace_id")?,
            link_span_ids: binary("span_id")?,
            link_attributes: Lists::of_items(link_items)?,
        })
    }

    pub fn items(&self, scope: Scope) -> &Items<'a> {
        match scope {
            Scope::Span => &self.attributes.items,
            Scope::Resource => &self.resources.items,
            Scope::Instrumentation => &self.scopes.items,
            Scope::Event => &self.event_attributes.items,
            Scope::Link => &self.link_attributes.items,
        }
    }
}

/// Where the items of each row stand.
pub(super) struct Offsets<'a>(&'a [i32]);

impl Offsets<'_> {
    pub fn range(&self, rows: &Range<usize>) -> Range<usize> {
        self.0[rows.start] as usize..self.0[rows.end] as usize
    }
}

/// Lists of attributes.
pub(super) struct Lists<'a> {
    pub offsets: Offsets<'a>,
    pub items: Items<'a>,
}

impl<'a> Lists<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, Error> {
        if batch.schema_ref().fields().iter().any(|field| AttributeColumn::of(field).is_some()) {
            return Err(wrong("an attribute column where all should be in the list"));
        }
        Self::of_array(column_of(batch, column::ATTRIBUTES)?)
    }

    fn of_items(items: &'a StructArray) -> Result<Self, Error> {
        Self::of_array(child(items, column::ATTRIBUTES)?)
    }

    fn of_array(array: &'a ArrayRef) -> Result<Self, Error> {
        let lists: &ListArray = array.as_list_opt().ok_or_else(|| wrong(column::ATTRIBUTES))?;
        let items = lists.values().as_struct_opt().ok_or_else(|| wrong(column::ATTRIBUTES))?;
        Ok(Self { offsets: Offsets(lists.offsets()), items: Items::of(items)? })
    }

    pub fn len(&self) -> usize {
        self.offsets.0.len() - 1
    }

    pub fn range(&self, rows: &Range<usize>) -> Range<usize> {
        self.offsets.range(rows)
    }
}

/// Attributes.
pub(super) struct Items<'a> {
    pub keys: &'a [i32],
    pub key_texts: &'a StringArray,
    pub strings: Texts<'a>,
    pub ints: &'a Int64Array,
    pub doubles: &'a Float64Array,
    pub bools: &'a BooleanArray,
    pub others: &'a BinaryArray,
}

impl<'a> Items<'a> {
    fn of(items: &'a StructArray) -> Result<Self, Error> {
        let keys = child(items, "key")?.as_dictionary_opt::<Int32Type>().ok_or_else(|| wrong("key"))?;
        Ok(Self {
            keys: keys.keys().values(),
            key_texts: keys.values().as_string_opt().ok_or_else(|| wrong("key"))?,
            strings: Texts::of(child(items, "string")?)?,
            ints: primitive::<Int64Type>(child(items, "int")?, "int")?,
            doubles: primitive::<Float64Type>(child(items, "double")?, "double")?,
            bools: child(items, "bool")?.as_boolean_opt().ok_or_else(|| wrong("bool"))?,
            others: child(items, "other")?.as_binary_opt().ok_or_else(|| wrong("other"))?,
        })
    }
}

/// An attribute that has a column of its own.
pub(super) struct AttributeValues<'a> {
    pub of: AttributeColumn,
    pub values: Values<'a>,
}

/// The values of an attribute column.
pub(super) enum Values<'a> {
    Coded(Texts<'a>),
    Texts(&'a StringArray),
    Ints(&'a Int64Array),
    Doubles(&'a Float64Array),
    Bools(&'a BooleanArray),
}

fn attribute_columns<'a>(spans: &'a RecordBatch, of_lists: &Texts<'a>) -> Result<Vec<AttributeValues<'a>>, Error> {
    let columns = spans.schema_ref().fields().iter().zip(spans.columns());
    // a column without a value, as one row group of many may have, is no field
    let with_values = columns.filter(|(_, array)| array.null_count() < array.len());
    let attributes = with_values.filter_map(|(field, array)| AttributeColumn::of(field).map(|of| (of, array)));
    let mut next_number = of_lists.values.len() as u32;
    let values = attributes
        .map(|(of, array)| Ok(AttributeValues { of, values: Values::of(array, of_lists, &mut next_number)? }));
    values.collect()
}

impl<'a> Values<'a> {
    fn of(array: &'a ArrayRef, of_lists: &Texts<'a>, next_number: &mut u32) -> Result<Self, Error> {
        Ok(match array.data_type() {
            DataType::Dictionary(_, _) => {
                let mut texts = Texts::of(array)?;
                let is_shared = texts.values.value_offsets().as_ptr() == of_lists.values.value_offsets().as_ptr();
                if !is_shared {
                    texts.first_number = *next_number;
                    let after = next_number.checked_add(texts.values.len() as u32);
                    *next_number = after.ok_or_else(|| wrong("more texts than can be numbered"))?;
                }
                Self::Coded(texts)
            }
            DataType::Utf8 => Self::Texts(array.as_string()),
            DataType::Int64 => Self::Ints(array.as_primitive()),
            DataType::Float64 => Self::Doubles(array.as_primitive()),
            DataType::Boolean => Self::Bools(array.as_boolean()),
            _ => return Err(wrong("an attribute column")),
        })
    }
}

/// Texts with their numbers.
pub(super) struct Texts<'a> {
    pub keys: &'a Int32Array,
    values: &'a StringArray,
    /// Of the first text of the dictionary: a field may get texts from the list and from columns, each with a dictionary of
    /// its own.
    first_number: u32,
}

impl<'a> Texts<'a> {
    fn of(array: &'a ArrayRef) -> Result<Self, Error> {
        let dictionary = array.as_dictionary_opt::<Int32Type>().ok_or_else(|| wrong("a column of texts"))?;
        let values = dictionary.values().as_string_opt().ok_or_else(|| wrong("a column of texts"))?;
        Ok(Self { keys: dictionary.keys(), values, first_number: 0 })
    }

    #[inline]
    pub fn get(&self, row: usize) -> Option<(u32, &'a str)> {
        let number = self.keys.is_valid(row).then(|| self.keys.value(row))?;
        Some((self.first_number + number as u32, self.values.value(number as usize)))
    }
}

fn column_of<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, Error> {
    Ok(spans::column(batch, name)?)
}

fn child<'a>(items: &'a StructArray, name: &'static str) -> Result<&'a ArrayRef, Error> {
    items.column_by_name(name).ok_or_else(|| wrong(name))
}

fn lists<'a>(batch: &'a RecordBatch, name: &'static str) -> Result<(Offsets<'a>, &'a StructArray), Error> {
    let lists: &ListArray = column_of(batch, name)?.as_list_opt().ok_or_else(|| wrong(name))?;
    Ok((Offsets(lists.offsets()), lists.values().as_struct_opt().ok_or_else(|| wrong(name))?))
}

fn primitive<'a, T: ArrowPrimitiveType>(
    array: &'a ArrayRef,
    name: &'static str,
) -> Result<&'a PrimitiveArray<T>, Error> {
    array.as_primitive_opt::<T>().ok_or_else(|| wrong(name))
}

pub(super) fn wrong(what: &str) -> Error {
    Error::Spans(spans::Error::damaged(format!("cannot be indexed: {what}")))
}
