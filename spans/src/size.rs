//! How long spans are as OTLP, counted from their columns: the bytes of each `Span` message as a client sends it that
//! writes no default.

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, ListArray, StructArray};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, UInt32Type};

use crate::error::Error;
use crate::schema::column;
use crate::table::{self, SpanTable, u32s, wrong_type};

/// Bytes of every span of a table without attribute columns, in its order.
///
/// # Errors
/// [`Error::Damaged`] when a column of [`crate::schema`] is missing or has another type.
pub fn span_sizes(table: &SpanTable) -> Result<Vec<u32>, Error> {
    let batch = &table.spans;
    let get = |name| table::column(batch, name);
    let mut sizes = SpanSizes(vec![FIXED_BYTES; batch.num_rows()]);
    let (traces, offsets) = (table.traces()?, i64s(get(column::START_OFFSET_NANOS)?)?);
    let (trace_of, durations) = (u32s(batch, column::TRACE)?, i64s(get(column::DURATION_NANOS)?)?);
    if trace_of.iter().any(|&trace| trace as usize >= traces.len()) {
        return Err(Error::damaged("a span's trace does not exist"));
    }
    for (row, size) in sizes.0.iter_mut().enumerate() {
        let start = traces.start_nanos(trace_of[row] as usize).wrapping_add_signed(offsets[row]);
        let end = start.wrapping_add_signed(durations[row]);
        *size += 9 * u32::from(start != 0) + 9 * u32::from(end != 0);
    }
    let (near, far) = (get(column::PARENT_OFFSET)?, get(column::PARENT_SPAN_ID)?);
    sizes.add(|row| 10 * usize::from(near.is_valid(row) || far.is_valid(row)));
    let (names, states) = (Texts::of(get(column::NAME)?, field)?, Texts::of(get(column::TRACE_STATE)?, field)?);
    sizes.add(|row| names.get(row) + states.get(row));
    let (kinds, statuses) = (i32s(get(column::KIND)?)?, i32s(get(column::STATUS_CODE)?)?);
    let messages = Texts::of(get(column::STATUS_MESSAGE)?, field)?;
    sizes.add(|row| number(1, kinds[row] as i64 as u64));
    // a status without content is sent or left out as clients like; most leave it out
    sizes.add(|row| field(number(1, statuses[row] as i64 as u64) + messages.get(row)));
    let flags = u32s(batch, column::FLAGS)?;
    sizes.add(|row| if flags[row] == 0 { 0 } else { 2 + 4 });
    for name in [column::DROPPED_ATTRIBUTES_COUNT, column::DROPPED_EVENTS_COUNT, column::DROPPED_LINKS_COUNT] {
        let counts = u32s(batch, name)?;
        sizes.add(|row| number(1, u64::from(counts[row])));
    }
    let (attributes, events, links) =
        (lists(get(column::ATTRIBUTES)?)?, lists(get(column::EVENTS)?)?, lists(get(column::LINKS)?)?);
    let of_attributes = attribute_sizes(structs(attributes.values())?)?;
    sizes.add(list_sums(attributes, &of_attributes));
    if !events.values().is_empty() {
        let of_events = event_sizes(structs(events.values())?)?;
        sizes.add(list_sums(events, &|event| of_events[event]));
    }
    if !links.values().is_empty() {
        let of_links = link_sizes(structs(links.values())?)?;
        sizes.add(list_sums(links, &|link| of_links[link]));
    }
    Ok(sizes.0)
}

/// Trace id and span id with their tags and lengths.
const FIXED_BYTES: u32 = 18 + 10;

struct SpanSizes(Vec<u32>);

impl SpanSizes {
    fn add(&mut self, of_row: impl Fn(usize) -> usize) {
        for (row, size) in self.0.iter_mut().enumerate() {
            *size = size.saturating_add(of_row(row) as u32);
        }
    }
}

fn varint(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// A number with its tag; none for zero.
fn number(tag_bytes: usize, value: u64) -> usize {
    if value == 0 { 0 } else { tag_bytes + varint(value) }
}

/// Bytes with tag and length; none for nothing.
fn field(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { message(bytes) }
}

/// A message with tag and length, though it is empty.
fn message(bytes: usize) -> usize {
    1 + varint(bytes as u64) + bytes
}

/// The sum of a list's items, every one with tag and length.
fn list_sums(lists: &ListArray, of_item: &impl Fn(usize) -> usize) -> impl Fn(usize) -> usize {
    let ends = lists.value_offsets();
    move |row| (ends[row] as usize..ends[row + 1] as usize).map(|item| message(of_item(item))).sum()
}

/// The size of an attribute, by item.
fn attribute_sizes(items: &StructArray) -> Result<impl Fn(usize) -> usize + use<'_>, Error> {
    let child = |name| items.column_by_name(name).ok_or_else(|| wrong_type(name));
    // a value that is there is written, though it is a default
    let (keys, strings) = (Texts::of(child("key")?, field)?, Texts::of(child("string")?, message)?);
    let ints = child("int")?.as_primitive_opt::<Int64Type>().ok_or_else(|| wrong_type("int"))?;
    let doubles = child("double")?.as_primitive_opt::<Float64Type>().ok_or_else(|| wrong_type("double"))?;
    let bools = child("bool")?.as_boolean_opt().ok_or_else(|| wrong_type("bool"))?;
    let others = child("other")?.as_binary_opt::<i32>().ok_or_else(|| wrong_type("other"))?;
    let value = move |item: usize| match strings.get(item) {
        0 if ints.is_valid(item) => 1 + varint(ints.value(item) as u64),
        0 if doubles.is_valid(item) => 9,
        0 if bools.is_valid(item) => 2,
        0 if others.is_valid(item) => others.value_length(item) as usize,
        bytes => bytes,
    };
    Ok(move |item| keys.get(item) + message(value(item)))
}

fn event_sizes(items: &StructArray) -> Result<Vec<usize>, Error> {
    let child = |name| items.column_by_name(name).ok_or_else(|| wrong_type(name));
    let (names, attributes) = (Texts::of(child("name")?, field)?, lists(child(column::ATTRIBUTES)?)?);
    let of_attributes = attribute_sizes(structs(attributes.values())?)?;
    let attributes = list_sums(attributes, &of_attributes);
    let dropped = counts(child(column::DROPPED_ATTRIBUTES_COUNT)?)?;
    // the time of an event is one of the few that are never zero
    Ok((0..items.len())
        .map(|item| 9 + names.get(item) + attributes(item) + number(1, u64::from(dropped[item])))
        .collect())
}

fn link_sizes(items: &StructArray) -> Result<Vec<usize>, Error> {
    let child = |name| items.column_by_name(name).ok_or_else(|| wrong_type(name));
    let (states, attributes) = (Texts::of(child(column::TRACE_STATE)?, field)?, lists(child(column::ATTRIBUTES)?)?);
    let of_attributes = attribute_sizes(structs(attributes.values())?)?;
    let attributes = list_sums(attributes, &of_attributes);
    let id = |name| child(name)?.as_binary_opt::<i32>().ok_or_else(|| wrong_type(name));
    let (trace_ids, span_ids) = (id("trace_id")?, id(column::SPAN_ID)?);
    let (dropped, flags) = (counts(child(column::DROPPED_ATTRIBUTES_COUNT)?)?, counts(child(column::FLAGS)?)?);
    Ok((0..items.len())
        .map(|item| {
            field(trace_ids.value_length(item) as usize)
                + field(span_ids.value_length(item) as usize)
                + states.get(item)
                + attributes(item)
                + number(1, u64::from(dropped[item]))
                + if flags[item] == 0 { 0 } else { 5 }
        })
        .collect())
}

/// What the texts of a column take, computed once for each distinct one.
struct Texts<'a> {
    ids: &'a Int32Array,
    sizes: Vec<u32>,
}

impl<'a> Texts<'a> {
    fn of(array: &'a ArrayRef, size: impl Fn(usize) -> usize) -> Result<Self, Error> {
        let dictionary = array.as_dictionary_opt::<Int32Type>().ok_or_else(|| wrong_type("text"))?;
        let texts = dictionary.values().as_string_opt::<i32>().ok_or_else(|| wrong_type("text"))?;
        let lengths = texts.value_offsets().windows(2).map(|ends| (ends[1] - ends[0]) as usize);
        Ok(Self { ids: dictionary.keys(), sizes: lengths.map(|length| size(length) as u32).collect() })
    }

    /// Zero where there is no text.
    fn get(&self, row: usize) -> usize {
        if self.ids.is_valid(row) { self.sizes[self.ids.value(row) as usize] as usize } else { 0 }
    }
}

fn lists(array: &ArrayRef) -> Result<&ListArray, Error> {
    array.as_list_opt::<i32>().ok_or_else(|| wrong_type("list"))
}

fn structs(array: &ArrayRef) -> Result<&StructArray, Error> {
    array.as_struct_opt().ok_or_else(|| wrong_type("item"))
}

fn i64s(array: &ArrayRef) -> Result<&[i64], Error> {
    Ok(array.as_primitive_opt::<Int64Type>().ok_or_else(|| wrong_type("i64"))?.values())
}

fn i32s(array: &ArrayRef) -> Result<&[i32], Error> {
    Ok(array.as_primitive_opt::<Int32Type>().ok_or_else(|| wrong_type("i32"))?.values())
}

fn counts(array: &ArrayRef) -> Result<&[u32], Error> {
    Ok(array.as_primitive_opt::<UInt32Type>().ok_or_else(|| wrong_type("u32"))?.values())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use opentelemetry_proto::tonic::trace::v1::Span;
    use prost::Message;

    use super::*;
    use crate::TableBuilder;
    use crate::testing::{odd_request, shop_request};

    /// By trace and span id, as whoever sent them wrote them.
    fn sent_sizes(spans: impl Iterator<Item = Span>) -> BTreeMap<(Vec<u8>, Vec<u8>, i32, u64), usize> {
        spans
            .map(|span| {
                let size = span.encoded_len();
                ((span.trace_id, span.span_id, span.kind, span.start_time_unix_nano), size)
            })
            .collect()
    }

    #[test]
    fn sizes_are_those_of_the_messages_that_were_sent() {
        for seed in 0..40 {
            let mut request =
                if seed % 2 == 0 { odd_request(seed) } else { shop_request(seed, 5, 1_700_000_000 << 30) };
            let all = request.resource_spans.iter_mut().flat_map(|resource| &mut resource.scope_spans);
            for span in all.flat_map(|scope| &mut scope.spans) {
                span.status.take_if(|status| *status == Default::default());
            }
            let mut builder = TableBuilder::default();
            builder.append(&request.encode_to_vec()).unwrap();
            let table = builder.snapshot().unwrap();
            let sizes = span_sizes(&table).unwrap();
            // what a span is as OTLP again, one by one, in the order of the table
            let traces = table.traces().unwrap();
            let stored = crate::encode(&table).unwrap();
            let expected =
                sent_sizes(stored.into_iter().flat_map(|r| r.scope_spans).flat_map(|s| s.spans).map(|mut span| {
                    span.status.take_if(|status| *status == Default::default());
                    span
                }));
            let mut found = Vec::new();
            for trace in 0..traces.len() {
                found.extend(traces.span_rows(trace).map(|row| sizes[row] as usize));
            }
            found.sort_unstable();
            let mut expected: Vec<usize> = expected.into_values().collect();
            expected.sort_unstable();
            assert_eq!(found, expected, "seed {seed}");
        }
    }
}
