//! From a builder's columns to a sorted table: find each trace's rows, order them as a tree, gather every column.

use std::cmp::Reverse;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, FixedSizeBinaryBuilder, Float64Array, Int32Array,
    Int64Array, ListArray, RecordBatch, StructArray, UInt32Array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::Fields;

use super::columns::{Attributes, Lists, Tag};
use super::{Mark, NO_TEXT, Spans, TableBuilder};
use crate::copies::{CopyFilter, SpanIdentity};
use crate::error::Error;
use crate::parent_link::says_child;
use crate::schema;
use crate::strings::{SharedTexts, dictionary_column};
use crate::table::SpanTable;
use crate::traces::{SpanForTrace, TracesBuilder};
use crate::tree::{self, Node};

/// A span's row in the builder and the distance to its parent in the sorted table.
struct Row {
    at: usize,
    parent_offset: Option<u32>,
    /// Start of the trace.
    trace_start_nanos: u64,
    trace: u32,
}

impl Spans {
    fn identity(&self, row: usize) -> SpanIdentity {
        SpanIdentity { span_id: self.span_id[row], kind: self.kind[row], start_nanos: self.start_nanos[row] }
    }

    fn node(&self, row: usize) -> Node {
        Node { span_id: self.span_id[row], parent_id: self.parent_span_id[row], kind: self.kind[row] }
    }
}

/// The table of the rows before `mark`, without copies.
pub(super) fn finish(builder: &TableBuilder, mark: &Mark) -> Result<SpanTable, Error> {
    let values = builder.string_values();
    let (rows, traces) = sort(builder, mark, &values)?;
    Ok(SpanTable {
        spans: spans(builder, &values, &rows)?,
        traces,
        resources: resources(builder, mark, &values)?,
        scopes: scopes(builder, mark, &values)?,
    })
}

/// Puts rows in table order, without copies, and sums up each trace.
fn sort(builder: &TableBuilder, mark: &Mark, values: &SharedTexts) -> Result<(Vec<Row>, RecordBatch), Error> {
    let columns = &builder.spans;
    let ids = columns.trace_id[..mark.spans].iter();
    let mut by_trace: Vec<(u128, u32)> =
        ids.enumerate().map(|(row, id)| (u128::from_be_bytes(*id), row as u32)).collect();
    by_trace.sort_unstable();
    let start_of =
        |run: &[(u128, u32)]| run.iter().map(|&(_, row)| columns.start_nanos[row as usize]).min().unwrap_or_default();
    let runs = by_trace.chunk_by(|a, b| a.0 == b.0);
    let mut newest_first: Vec<_> = runs.map(|run| (Reverse(start_of(run)), run)).collect();
    newest_first.sort_by_key(|(start, _)| *start);
    let services = service_names(builder, mark);
    let mut rows = Vec::with_capacity(by_trace.len());
    let mut traces = TracesBuilder::default();
    let (mut spans, mut nodes, mut placed, mut copies) = (Vec::new(), Vec::new(), Vec::new(), CopyFilter::default());
    for (Reverse(trace_start_nanos), run) in newest_first {
        spans.clear();
        spans.extend(run.iter().map(|&(_, row)| row as usize));
        copies.drop_copies(&mut spans, |&row| columns.identity(row));
        nodes.clear();
        nodes.extend(spans.iter().map(|&row| columns.node(row)));
        tree::order(&nodes, &mut placed);
        for place in &placed {
            let at = spans[place.node];
            rows.push(Row { at, parent_offset: place.parent_offset, trace_start_nanos, trace: traces.len() as u32 });
            traces.span(&SpanForTrace {
                start_nanos: columns.start_nanos[at],
                end_nanos: columns.end_nanos[at],
                name: columns.name[at],
                service: services[columns.resource[at] as usize],
                is_root: columns.parent_span_id[at].is_none() && !is_child_by_link(builder, at),
                is_error: columns.status_code[at] == 2,
            });
        }
        traces.close(run[0].0.to_be_bytes());
    }
    Ok((rows, traces.finish(values)?))
}

fn is_child_by_link(builder: &TableBuilder, row: usize) -> bool {
    let (links, text) = (&builder.links, |id: i32| builder.strings.get(id));
    let of_trace = |link: &usize| builder.others.get(links.trace_id[*link]) == builder.spans.trace_id[row];
    links.lists.items(row).filter(of_trace).any(|link| {
        let mut attributes = links.attribute_lists.items(link).filter(|&at| links.attributes.tag[at] == Tag::String);
        attributes.any(|at| says_child(text(links.attributes.key[at]), text(links.attributes.bits[at] as i32)))
    })
}

/// The service of each resource, as a text number.
fn service_names(builder: &TableBuilder, mark: &Mark) -> Vec<Option<i32>> {
    let resources = &builder.resources;
    let attributes = &resources.attributes;
    let is_service =
        |&at: &usize| attributes.tag[at] == Tag::String && builder.strings.get(attributes.key[at]) == b"service.name";
    (0..mark.resources)
        .map(|row| resources.attribute_lists.items(row).find(is_service).map(|at| attributes.bits[at] as i32))
        .collect()
}

fn spans(builder: &TableBuilder, values: &SharedTexts, rows: &[Row]) -> Result<RecordBatch, Error> {
    let columns = &builder.spans;
    let order = || rows.iter().map(|row| row.at);
    let start = |row: &Row| columns.start_nanos[row.at];
    let parent_ids = rows.iter().map(|row| columns.parent_span_id[row.at].filter(|_| row.parent_offset.is_none()));
    let u32s = |column: &[u32]| -> ArrayRef { Arc::new(UInt32Array::from_iter_values(order().map(|at| column[at]))) };
    let i32s = |column: &[i32]| -> ArrayRef { Arc::new(Int32Array::from_iter_values(order().map(|at| column[at]))) };
    let offsets = rows.iter().map(|row| start(row).wrapping_sub(row.trace_start_nanos) as i64);
    let durations = order().map(|at| columns.end_nanos[at].wrapping_sub(columns.start_nanos[at]) as i64);
    Ok(RecordBatch::try_new(
        schema::spans(),
        vec![
            Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.trace))),
            Arc::new(
                FixedSizeBinaryArray::try_from_iter(order().map(|at| columns.span_id[at])).or_else(|_| empty_ids())?,
            ),
            Arc::new(UInt32Array::from_iter(rows.iter().map(|row| row.parent_offset))),
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(parent_ids, 8)?),
            Arc::new(Int64Array::from_iter_values(offsets)),
            Arc::new(Int64Array::from_iter_values(durations)),
            texts(order().map(|at| columns.name[at]), values)?,
            i32s(&columns.kind),
            i32s(&columns.status_code),
            texts(order().map(|at| columns.status_message[at]), values)?,
            texts(order().map(|at| columns.trace_state[at]), values)?,
            u32s(&columns.flags),
            u32s(&columns.dropped_attributes_count),
            u32s(&columns.dropped_events_count),
            u32s(&columns.dropped_links_count),
            u32s(&columns.resource),
            u32s(&columns.scope),
            attribute_lists(builder, values, &builder.attributes, &builder.attribute_lists, order())?,
            events(builder, values, rows)?,
            links(builder, values, rows)?,
        ],
    )?)
}

fn empty_ids() -> Result<FixedSizeBinaryArray, arrow::error::ArrowError> {
    Ok(FixedSizeBinaryBuilder::new(8).finish())
}

fn events(builder: &TableBuilder, values: &SharedTexts, rows: &[Row]) -> Result<ArrayRef, Error> {
    let events = &builder.events;
    let items: Vec<(usize, u64)> = rows
        .iter()
        .flat_map(|row| events.lists.items(row.at).map(|item| (item, builder.spans.start_nanos[row.at])))
        .collect();
    let order = || items.iter().map(|&(item, _)| item);
    let times = items.iter().map(|&(item, start)| events.time_nanos[item].wrapping_sub(start) as i64);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(times)),
        texts(order().map(|at| events.name[at]), values)?,
        Arc::new(UInt32Array::from_iter_values(order().map(|at| events.dropped_attributes_count[at]))),
        attribute_lists(builder, values, &events.attributes, &events.attribute_lists, order())?,
    ];
    list(schema::event_fields(), columns, rows.iter().map(|row| events.lists.items(row.at).len()))
}

fn links(builder: &TableBuilder, values: &SharedTexts, rows: &[Row]) -> Result<ArrayRef, Error> {
    let links = &builder.links;
    let items: Vec<usize> = rows.iter().flat_map(|row| links.lists.items(row.at)).collect();
    let order = || items.iter().copied();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(BinaryArray::from_iter_values(order().map(|at| builder.others.get(links.trace_id[at])))),
        Arc::new(BinaryArray::from_iter_values(order().map(|at| builder.others.get(links.span_id[at])))),
        texts(order().map(|at| links.trace_state[at]), values)?,
        Arc::new(UInt32Array::from_iter_values(order().map(|at| links.flags[at]))),
        Arc::new(UInt32Array::from_iter_values(order().map(|at| links.dropped_attributes_count[at]))),
        attribute_lists(builder, values, &links.attributes, &links.attribute_lists, order())?,
    ];
    list(schema::link_fields(), columns, rows.iter().map(|row| links.lists.items(row.at).len()))
}

fn resources(builder: &TableBuilder, mark: &Mark, values: &SharedTexts) -> Result<RecordBatch, Error> {
    let (resources, all) = (&builder.resources, 0..mark.resources);
    let entity_refs = resources.entity_refs[all.clone()].iter();
    let entity_refs = entity_refs.map(|&id| (id != NO_TEXT).then(|| builder.others.get(id)));
    let dropped = resources.dropped_attributes_count[all.clone()].iter().copied();
    let schema_url = texts(resources.schema_url[all.clone()].iter().copied(), values)?;
    Ok(RecordBatch::try_new(
        schema::resources(),
        vec![
            attribute_lists(builder, values, &resources.attributes, &resources.attribute_lists, all)?,
            Arc::new(UInt32Array::from_iter_values(dropped)),
            schema_url,
            Arc::new(BinaryArray::from_iter(entity_refs)),
        ],
    )?)
}

fn scopes(builder: &TableBuilder, mark: &Mark, values: &SharedTexts) -> Result<RecordBatch, Error> {
    let (scopes, all) = (&builder.scopes, 0..mark.scopes);
    let dropped = scopes.dropped_attributes_count[all.clone()].iter().copied();
    let text = |ids: &[i32]| texts(ids[all.clone()].iter().copied(), values);
    Ok(RecordBatch::try_new(
        schema::scopes(),
        vec![
            text(&scopes.name)?,
            text(&scopes.version)?,
            attribute_lists(builder, values, &scopes.attributes, &scopes.attribute_lists, all.clone())?,
            Arc::new(UInt32Array::from_iter_values(dropped)),
            text(&scopes.schema_url)?,
        ],
    )?)
}

/// A dictionary column from text numbers; [`NO_TEXT`] becomes null.
fn texts(ids: impl Iterator<Item = i32>, values: &SharedTexts) -> Result<ArrayRef, Error> {
    let mut keys: Vec<i32> = ids.collect();
    let has_nulls = keys.contains(&NO_TEXT);
    let nulls = has_nulls.then(|| NullBuffer::new(BooleanBuffer::collect_bool(keys.len(), |at| keys[at] != NO_TEXT)));
    if has_nulls {
        keys.iter_mut().for_each(|key| *key = (*key).max(0));
    }
    dictionary_column(Int32Array::new(keys.into(), nulls), values)
}

/// A list column of structs, from its items' columns and the length of each list.
fn list(fields: Fields, columns: Vec<ArrayRef>, lengths: impl Iterator<Item = usize>) -> Result<ArrayRef, Error> {
    let item = schema::item_field(fields.clone());
    let items = StructArray::try_new(fields, columns, None)?;
    Ok(Arc::new(ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), Arc::new(items), None)?))
}

/// The attribute lists of `order`'s things.
fn attribute_lists(
    builder: &TableBuilder,
    values: &SharedTexts,
    attributes: &Attributes,
    lists: &Lists,
    order: impl Iterator<Item = usize> + Clone,
) -> Result<ArrayRef, Error> {
    let mut items = Vec::with_capacity(attributes.len());
    items.extend(order.clone().flat_map(|thing| lists.items(thing)));
    let tags: Vec<Tag> = items.iter().map(|&at| attributes.tag[at]).collect();
    // the bits of items with this tag, 0 for the others
    let bits_of = |tag: Tag| {
        let bits = move |(&at, &other): (&usize, &Tag)| if other == tag { attributes.bits[at] } else { 0 };
        items.iter().zip(&tags).map(bits)
    };
    let nulls_but = |tag: Tag| Some(NullBuffer::new(BooleanBuffer::collect_bool(tags.len(), |item| tags[item] == tag)));
    let others = items
        .iter()
        .map(|&at| (attributes.tag[at] == Tag::Other).then(|| builder.others.get(attributes.bits[at] as i32)));
    let keys = Int32Array::from_iter_values(items.iter().map(|&at| attributes.key[at]));
    let strings = bits_of(Tag::String).map(|bits| bits as i32).collect();
    let columns: Vec<ArrayRef> = vec![
        dictionary_column(keys, values)?,
        dictionary_column(Int32Array::new(strings, nulls_but(Tag::String)), values)?,
        Arc::new(Int64Array::new(bits_of(Tag::Int).map(|bits| bits as i64).collect(), nulls_but(Tag::Int))),
        Arc::new(Float64Array::new(bits_of(Tag::Double).map(f64::from_bits).collect(), nulls_but(Tag::Double))),
        Arc::new(BooleanArray::new(
            BooleanBuffer::collect_bool(tags.len(), |item| {
                tags[item] == Tag::Bool && attributes.bits[items[item]] != 0
            }),
            nulls_but(Tag::Bool),
        )),
        Arc::new(BinaryArray::from_iter(others)),
    ];
    list(schema::attribute_fields(), columns, order.map(|thing| lists.items(thing).len()))
}
