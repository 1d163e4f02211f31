//! Events and links: lists of things below a span, and pairs of a span with its events and links.

use arrow::array::{Array, AsArray, Int64Array, ListArray, RecordBatch, StringArray, StructArray, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::Int64Type;
use model::{Intrinsic, Scope};
use spans::schema::column;
use traceql::Field;

use super::attributes;
use super::column::{Column, Texts, TypedValues};
use super::fields::hex;
use crate::error::Error;
use crate::mask;

/// Most pairs that one batch is blown up to.
const MAX_PAIRS: usize = 1 << 26;

/// The events (or links) of the spans of a batch, one after another.
#[derive(Debug)]
pub(crate) struct Items {
    name: &'static str,
    /// The items of span `i` are `offsets[i]..offsets[i + 1]`.
    offsets: Vec<u32>,
    columns: StructArray,
}

impl Items {
    /// `name` is the list column.
    pub fn of(spans: &RecordBatch, name: &'static str) -> Result<Self, Error> {
        let lists: &ListArray = spans::column(spans, name)?.as_list_opt().ok_or_else(|| Error::damaged(name))?;
        let (first, last) = (lists.offsets()[0], lists.offsets()[lists.len()]);
        let offsets = lists.offsets().iter().map(|offset| (offset - first) as u32).collect();
        let columns = lists.values().slice(first as usize, (last - first) as usize);
        let columns = columns.as_struct_opt().ok_or_else(|| Error::damaged(name))?.clone();
        Ok(Self { name, offsets, columns })
    }

    pub fn len(&self) -> usize {
        self.columns.len()
    }

    pub fn range(&self, span: usize) -> std::ops::Range<usize> {
        self.offsets[span] as usize..self.offsets[span + 1] as usize
    }

    /// Spans of which any item is in `items`.
    pub fn any(&self, items: &BooleanBuffer) -> BooleanBuffer {
        BooleanBuffer::collect_bool(self.offsets.len() - 1, |span| self.range(span).any(|item| items.value(item)))
    }

    /// The items of the spans in `spans`.
    pub fn of_spans(&self, spans: &BooleanBuffer) -> BooleanBuffer {
        mask::of_ranges(self.len(), spans.set_indices().map(|span| self.range(span)))
    }

    /// The attributes of each item.
    pub fn attributes(&self) -> Result<&ListArray, Error> {
        let lists = self.columns.column_by_name(column::ATTRIBUTES).ok_or_else(|| Error::damaged(self.name))?;
        lists.as_list_opt().ok_or_else(|| Error::damaged(self.name))
    }

    /// The values of a field of these items.
    pub fn column(&self, field: &Field) -> Result<Column, Error> {
        let part = match field {
            Field::Attribute { scope: Some(Scope::Event | Scope::Link), name } => {
                return attributes::of_lists(self.attributes()?, name);
            }
            Field::Intrinsic(Intrinsic::EventName) => TypedValues::Text(self.texts("name")?),
            Field::Intrinsic(Intrinsic::EventTimeSinceStart) => TypedValues::Duration(self.nanos("time_offset_nanos")?),
            Field::Intrinsic(Intrinsic::LinkTraceId) => TypedValues::Text(self.hex("trace_id")?),
            Field::Intrinsic(Intrinsic::LinkSpanId) => TypedValues::Text(self.hex("span_id")?),
            _ => return Ok(Column::missing(self.len())),
        };
        Ok(Column::of(self.len(), part))
    }

    fn texts(&self, name: &str) -> Result<Texts, Error> {
        self.columns.column_by_name(name).and_then(Texts::of).ok_or_else(|| Error::damaged(self.name))
    }

    fn nanos(&self, name: &str) -> Result<Int64Array, Error> {
        let array = self.columns.column_by_name(name).ok_or_else(|| Error::damaged(self.name))?;
        Ok(array.as_primitive_opt::<Int64Type>().ok_or_else(|| Error::damaged(self.name))?.clone())
    }

    fn hex(&self, name: &str) -> Result<Texts, Error> {
        let array = self.columns.column_by_name(name).ok_or_else(|| Error::damaged(self.name))?;
        let ids = array.as_binary_opt::<i32>().ok_or_else(|| Error::damaged(self.name))?;
        Ok(Texts::plain(StringArray::from_iter_values((0..ids.len()).map(|row| hex(ids.value(row))))))
    }
}

/// Rows of a span with one of its events and one of its links. A span without any has one row where they are null.
#[derive(Debug)]
pub(crate) struct Pairs {
    pub spans: UInt32Array,
    pub events: UInt32Array,
    pub links: UInt32Array,
}

impl Pairs {
    /// Lists that are not given are not paired with.
    ///
    /// # Errors
    /// [`Error::TooManyPairs`] when spans have so many events and links that their pairs cannot be held.
    pub fn of(span_count: usize, events: Option<&Items>, links: Option<&Items>) -> Result<Self, Error> {
        let (mut spans, mut event_of, mut link_of) = (Vec::new(), Vec::new(), Vec::new());
        for span in 0..span_count {
            let (events, links) = (choices(events, span), choices(links, span));
            if spans.len() + events.len().saturating_mul(links.len()) > MAX_PAIRS {
                return Err(Error::TooManyPairs);
            }
            for event in events.clone() {
                for link in links.clone() {
                    spans.push(span as u32);
                    event_of.push(event);
                    link_of.push(link);
                }
            }
        }
        Ok(Self { spans: spans.into(), events: indices(event_of), links: indices(link_of) })
    }

    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// The rows of `indices` that are in some pair of `pairs`.
    pub fn any(pairs: &BooleanBuffer, indices: &UInt32Array, rows: usize) -> BooleanBuffer {
        let pairs = pairs.set_indices().filter(|&pair| indices.is_valid(pair));
        mask::of_rows(rows, pairs.map(|pair| indices.value(pair) as usize))
    }
}

/// Stands for "no item".
const NO_ITEM: u32 = u32::MAX;

fn choices(items: Option<&Items>, span: usize) -> std::ops::Range<u32> {
    match items.map(|items| items.range(span)) {
        Some(range) if !range.is_empty() => range.start as u32..range.end as u32,
        _ => NO_ITEM - 1..NO_ITEM,
    }
}

fn indices(items: Vec<u32>) -> UInt32Array {
    items.into_iter().map(|item| (item < NO_ITEM - 1).then_some(item)).collect()
}
