//! Typed views of the columns of a span table that metrics are made from.

use std::borrow::Cow;
use std::ops::Range;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, FixedSizeBinaryArray, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringArray, UInt32Array,
};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, UInt32Type};
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use prost::Message;
use spans::schema::column;
use spans::{SpanTable, Traces};

use crate::error::Error;

/// Text by row, kept once per distinct value.
pub(crate) struct Texts<'a> {
    ids: &'a Int32Array,
    values: &'a StringArray,
}

impl<'a> Texts<'a> {
    fn of(array: &'a ArrayRef, name: &'static str) -> Result<Self, Error> {
        let dictionary = array.as_dictionary_opt::<Int32Type>().ok_or(Error::Column { name })?;
        let values = dictionary.values().as_string_opt::<i32>().ok_or(Error::Column { name })?;
        Ok(Self { ids: dictionary.keys(), values })
    }

    /// The number of a row's text; -1 when it has none.
    pub(crate) fn id(&self, row: usize) -> i32 {
        if self.ids.is_valid(row) { self.ids.value(row) } else { -1 }
    }

    /// The text of a row, empty when it has none.
    pub(crate) fn get(&self, row: usize) -> &'a str {
        if self.ids.is_valid(row) { self.text(self.ids.value(row)) } else { "" }
    }

    fn text(&self, id: i32) -> &'a str {
        self.values.value(id as usize)
    }
}

/// A value of an attribute, of which texts are told apart by number: equal values of one table are equal here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Value {
    Empty,
    Text(i32),
    Int(i64),
    /// Bits of a double.
    Double(u64),
    Bool(bool),
    /// The item that holds an array, a list of pairs, or bytes.
    Other(usize),
}

/// The column `attributes` of a batch.
pub(crate) struct Attributes<'a> {
    ends: &'a [i32],
    keys: Texts<'a>,
    texts: Texts<'a>,
    ints: &'a Int64Array,
    doubles: &'a Float64Array,
    bools: &'a BooleanArray,
    others: &'a BinaryArray,
}

impl<'a> Attributes<'a> {
    pub(crate) fn of(batch: &'a RecordBatch) -> Result<Self, Error> {
        let wrong = Error::Column { name: column::ATTRIBUTES };
        let lists = spans::column(batch, column::ATTRIBUTES)?.as_list_opt::<i32>().ok_or(wrong)?;
        let items = lists.values().as_struct_opt().ok_or(Error::Column { name: column::ATTRIBUTES })?;
        let child = |name: &'static str| items.column_by_name(name).ok_or(Error::Column { name });
        Ok(Self {
            ends: lists.value_offsets(),
            keys: Texts::of(child("key")?, "key")?,
            texts: Texts::of(child("string")?, "string")?,
            ints: child("int")?.as_primitive_opt::<Int64Type>().ok_or(Error::Column { name: "int" })?,
            doubles: child("double")?.as_primitive_opt::<Float64Type>().ok_or(Error::Column { name: "double" })?,
            bools: child("bool")?.as_boolean_opt().ok_or(Error::Column { name: "bool" })?,
            others: child("other")?.as_binary_opt::<i32>().ok_or(Error::Column { name: "other" })?,
        })
    }

    /// The items of a row.
    pub(crate) fn items(&self, row: usize) -> Range<usize> {
        self.ends[row] as usize..self.ends[row + 1] as usize
    }

    pub(crate) fn key(&self, item: usize) -> &'a str {
        self.keys.get(item)
    }

    pub(crate) fn value(&self, item: usize) -> Value {
        if self.texts.ids.is_valid(item) {
            Value::Text(self.texts.ids.value(item))
        } else if self.ints.is_valid(item) {
            Value::Int(self.ints.value(item))
        } else if self.doubles.is_valid(item) {
            Value::Double(self.doubles.value(item).to_bits())
        } else if self.bools.is_valid(item) {
            Value::Bool(self.bools.value(item))
        } else if self.others.is_valid(item) {
            Value::Other(item)
        } else {
            Value::Empty
        }
    }

    /// A value as the text of a label, in Tempo's words.
    pub(crate) fn text(&self, value: Value) -> Cow<'a, str> {
        match value {
            Value::Empty => Cow::Borrowed(""),
            Value::Text(id) => Cow::Borrowed(self.texts.text(id)),
            Value::Int(value) => value.to_string().into(),
            Value::Double(bits) => f64::from_bits(bits).to_string().into(),
            Value::Bool(value) => value.to_string().into(),
            Value::Other(item) => {
                let nested = AnyValue::decode(self.others.value(item));
                nested.map(|value| nested_text(&value)).unwrap_or_default().into()
            }
        }
    }

    /// The attribute of a row as text.
    pub(crate) fn find(&self, row: usize, key: &str) -> Option<Cow<'a, str>> {
        let item = self.items(row).find(|&item| self.key(item) == key)?;
        Some(self.text(self.value(item)))
    }
}

fn nested_text(value: &AnyValue) -> String {
    match &value.value {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::BoolValue(value)) => value.to_string(),
        Some(any_value::Value::IntValue(value)) => value.to_string(),
        Some(any_value::Value::DoubleValue(value)) => value.to_string(),
        Some(any_value::Value::ArrayValue(array)) => {
            format!("[{}]", array.values.iter().map(nested_text).collect::<String>())
        }
        Some(any_value::Value::KvlistValue(list)) => {
            let pair = |pair: &opentelemetry_proto::tonic::common::v1::KeyValue| {
                format!("{}:{}", pair.key, pair.value.as_ref().map(nested_text).unwrap_or_default())
            };
            format!("{{{}}}", list.values.iter().map(pair).collect::<String>())
        }
        _ => String::new(),
    }
}

/// The place of a key among those that are wanted; it is put there if it is new.
pub(crate) fn place_of(keys: &mut Vec<String>, key: &str) -> usize {
    keys.iter().position(|known| known == key).unwrap_or_else(|| {
        keys.push(key.to_owned());
        keys.len() - 1
    })
}

/// Finds attributes by key, comparing each distinct key of a table once.
pub(crate) struct WantedKeys<'k> {
    /// Each once.
    keys: &'k [String],
    /// By number of a key's text: its place in `keys`, or one of the two below.
    places: Vec<u8>,
}

const NOT_COMPARED: u8 = u8::MAX;
const NOT_WANTED: u8 = u8::MAX - 1;
/// Most keys that can be wanted of a span: dimensions, peers, databases and filters together.
pub(crate) const MOST_WANTED_KEYS: usize = NOT_WANTED as usize;

impl<'k> WantedKeys<'k> {
    pub(crate) fn new(keys: &'k [String], attributes: &Attributes<'_>) -> Self {
        debug_assert!(keys.len() <= MOST_WANTED_KEYS, "checked when the configuration is read");
        Self { keys, places: vec![NOT_COMPARED; attributes.keys.values.len()] }
    }

    /// The values of a row by place of their key; of a key that is there twice, the first.
    pub(crate) fn find(&mut self, attributes: &Attributes<'_>, row: usize, found: &mut Vec<Option<Value>>) {
        found.clear();
        found.resize(self.keys.len(), None);
        if self.keys.is_empty() {
            return;
        }
        for item in attributes.items(row) {
            let place = self.place(attributes, item);
            if place < NOT_WANTED {
                found[place as usize].get_or_insert_with(|| attributes.value(item));
            }
        }
    }

    fn place(&mut self, attributes: &Attributes<'_>, item: usize) -> u8 {
        let id = attributes.keys.id(item);
        let Some(place) = self.places.get_mut(id as usize) else { return NOT_WANTED };
        if *place == NOT_COMPARED {
            let text = attributes.keys.text(id);
            let found = self.keys.iter().position(|key| key == text);
            *place = found.map_or(NOT_WANTED, |found| found as u8);
        }
        *place
    }
}

/// The columns of `spans` and `traces` that metrics are made from.
pub(crate) struct Spans<'a> {
    pub traces: Traces<'a>,
    pub service_names: Vec<Option<&'a str>>,
    pub span_ids: &'a FixedSizeBinaryArray,
    pub parent_offsets: &'a UInt32Array,
    pub parent_span_ids: &'a FixedSizeBinaryArray,
    pub start_offsets: &'a [i64],
    pub durations: &'a [i64],
    pub names: Texts<'a>,
    pub kinds: &'a [i32],
    pub status_codes: &'a [i32],
    pub status_messages: Texts<'a>,
    pub trace_states: Texts<'a>,
    pub resources: &'a [u32],
    pub attributes: Attributes<'a>,
    pub resource_attributes: Attributes<'a>,
}

impl<'a> Spans<'a> {
    /// The columns of a table that has no attribute columns of their own.
    pub(crate) fn of(table: &'a SpanTable) -> Result<Self, Error> {
        let batch = &table.spans;
        let texts = |name: &'static str| Texts::of(spans::column(batch, name)?, name);
        let ids =
            |name: &'static str| spans::column(batch, name)?.as_fixed_size_binary_opt().ok_or(Error::Column { name });
        let resource_attributes = Attributes::of(&table.resources)?;
        let resources = spans::u32s(batch, column::RESOURCE)?;
        if resources.iter().any(|&resource| resource as usize >= table.resources.num_rows()) {
            return Err(Error::Column { name: column::RESOURCE });
        }
        let offsets = spans::column(batch, column::PARENT_OFFSET)?.as_primitive_opt::<UInt32Type>();
        Ok(Self {
            traces: table.traces()?,
            service_names: service_names(table, &resource_attributes),
            span_ids: ids(column::SPAN_ID)?,
            parent_offsets: offsets.ok_or(Error::Column { name: column::PARENT_OFFSET })?,
            parent_span_ids: ids(column::PARENT_SPAN_ID)?,
            start_offsets: i64s(batch, column::START_OFFSET_NANOS)?,
            durations: i64s(batch, column::DURATION_NANOS)?,
            names: texts(column::NAME)?,
            kinds: i32s(batch, column::KIND)?,
            status_codes: i32s(batch, column::STATUS_CODE)?,
            status_messages: texts(column::STATUS_MESSAGE)?,
            trace_states: texts(column::TRACE_STATE)?,
            resources,
            attributes: Attributes::of(batch)?,
            resource_attributes,
        })
    }

    /// The rows of a trace, fewer where the table is damaged.
    pub(crate) fn rows(&self, trace: usize) -> Range<usize> {
        let rows = self.traces.span_rows(trace);
        rows.start.min(self.kinds.len())..rows.end.min(self.kinds.len())
    }

    pub(crate) fn span_id(&self, row: usize) -> u64 {
        id(self.span_ids.value(row))
    }

    /// The row of the parent, if it is in the table.
    pub(crate) fn parent_row(&self, row: usize) -> Option<usize> {
        self.parent_offsets.is_valid(row).then(|| row.checked_sub(self.parent_offsets.value(row) as usize)).flatten()
    }

    /// The id of the parent, wherever it is; `None` for a root.
    pub(crate) fn parent_id(&self, row: usize) -> Option<u64> {
        match self.parent_row(row) {
            Some(parent) => Some(self.span_id(parent)),
            None => self.parent_span_ids.is_valid(row).then(|| id(self.parent_span_ids.value(row))),
        }
    }

    pub(crate) fn start_nanos(&self, row: usize, trace: usize) -> u64 {
        self.traces.start_nanos(trace).wrapping_add_signed(self.start_offsets[row])
    }

    pub(crate) fn end_nanos(&self, row: usize, trace: usize) -> u64 {
        self.start_nanos(row, trace).wrapping_add_signed(self.durations[row])
    }

    /// Zero for a span that ends before it starts.
    pub(crate) fn seconds(&self, row: usize) -> f64 {
        self.durations[row].max(0) as f64 / 1e9
    }
}

fn id(bytes: &[u8]) -> u64 {
    bytes.try_into().map(u64::from_be_bytes).unwrap_or_default()
}

fn service_names<'a>(table: &SpanTable, attributes: &Attributes<'a>) -> Vec<Option<&'a str>> {
    let name = |row| {
        let item = attributes.items(row).find(|&item| attributes.key(item) == "service.name")?;
        match attributes.value(item) {
            Value::Text(id) => Some(attributes.texts.text(id)),
            _ => None,
        }
    };
    (0..table.resources.num_rows()).map(name).collect()
}

fn i64s<'a>(batch: &'a RecordBatch, name: &'static str) -> Result<&'a [i64], Error> {
    Ok(spans::column(batch, name)?.as_primitive_opt::<Int64Type>().ok_or(Error::Column { name })?.values())
}

fn i32s<'a>(batch: &'a RecordBatch, name: &'static str) -> Result<&'a [i32], Error> {
    Ok(spans::column(batch, name)?.as_primitive_opt::<Int32Type>().ok_or(Error::Column { name })?.values())
}
