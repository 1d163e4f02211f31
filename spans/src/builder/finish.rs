//! From a builder's columns to a sorted table: find each trace's rows, order them as a tree, gather every column.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BinaryBuilder, BooleanBuilder, FixedSizeBinaryArray, FixedSizeBinaryBuilder, Float64Builder,
    Int32Array, Int32Builder, Int64Array, Int64Builder, ListArray, RecordBatch, StructArray, UInt32Array,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::Fields;

use super::columns::{Attributes, Lists, Tag};
use super::{NO_TEXT, TableBuilder, Values, dictionary_column};
use crate::error::Error;
use crate::schema;
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

pub(super) fn finish(builder: &TableBuilder) -> Result<SpanTable, Error> {
    let values = builder.string_values();
    let (rows, traces) = sort(builder, &values)?;
    Ok(SpanTable {
        spans: spans(builder, &values, &rows)?,
        traces,
        resources: resources(builder, &values)?,
        scopes: scopes(builder, &values)?,
    })
}

/// Puts rows in table order and sums up each trace.
fn sort(builder: &TableBuilder, values: &Values) -> Result<(Vec<Row>, RecordBatch), Error> {
    let columns = &builder.spans;
    let mut by_trace: Vec<(u128, u32)> =
        columns.trace_id.iter().enumerate().map(|(row, id)| (u128::from_be_bytes(*id), row as u32)).collect();
    by_trace.sort_unstable();
    let services = service_names(builder);
    let mut rows = Vec::with_capacity(by_trace.len());
    let mut traces = TracesBuilder::default();
    let (mut nodes, mut placed) = (Vec::new(), Vec::new());
    for run in by_trace.chunk_by(|a, b| a.0 == b.0) {
        nodes.clear();
        nodes.extend(run.iter().map(|&(_, row)| Node {
            span_id: columns.span_id[row as usize],
            parent_id: columns.parent_span_id[row as usize],
            kind: columns.kind[row as usize],
        }));
        tree::order(&nodes, &mut placed);
        let trace_start_nanos = run.iter().map(|&(_, row)| columns.start_nanos[row as usize]).min().unwrap_or_default();
        for place in &placed {
            let at = run[place.node].1 as usize;
            rows.push(Row { at, parent_offset: place.parent_offset, trace_start_nanos, trace: traces.len() as u32 });
            traces.span(&SpanForTrace {
                start_nanos: columns.start_nanos[at],
                end_nanos: columns.end_nanos[at],
                name: columns.name[at],
                service: services[columns.resource[at] as usize],
                is_root: columns.parent_span_id[at].is_none_or(|id| id == [0; 8]),
                is_error: columns.status_code[at] == 2,
            });
        }
        traces.close(run[0].0.to_be_bytes());
    }
    Ok((rows, traces.finish(values)?))
}

/// The service of each resource, as a text number.
fn service_names(builder: &TableBuilder) -> Vec<Option<i32>> {
    let resources = &builder.resources;
    let attributes = &resources.attributes;
    let is_service =
        |&at: &usize| attributes.tag[at] == Tag::String && builder.strings.get(attributes.key[at]) == b"service.name";
    (0..resources.schema_url.len())
        .map(|row| resources.attribute_lists.items(row).find(is_service).map(|at| attributes.bits[at] as i32))
        .collect()
}

fn spans(builder: &TableBuilder, values: &Values, rows: &[Row]) -> Result<RecordBatch, Error> {
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

fn events(builder: &TableBuilder, values: &Values, rows: &[Row]) -> Result<ArrayRef, Error> {
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

fn links(builder: &TableBuilder, values: &Values, rows: &[Row]) -> Result<ArrayRef, Error> {
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

fn resources(builder: &TableBuilder, values: &Values) -> Result<RecordBatch, Error> {
    let resources = &builder.resources;
    let entity_refs = resources.entity_refs.iter().map(|&id| (id != NO_TEXT).then(|| builder.others.get(id)));
    let all = 0..resources.schema_url.len();
    Ok(RecordBatch::try_new(
        schema::resources(),
        vec![
            attribute_lists(builder, values, &resources.attributes, &resources.attribute_lists, all)?,
            Arc::new(UInt32Array::from_iter_values(resources.dropped_attributes_count.iter().copied())),
            texts(resources.schema_url.iter().copied(), values)?,
            Arc::new(BinaryArray::from_iter(entity_refs)),
        ],
    )?)
}

fn scopes(builder: &TableBuilder, values: &Values) -> Result<RecordBatch, Error> {
    let scopes = &builder.scopes;
    let all = 0..scopes.schema_url.len();
    Ok(RecordBatch::try_new(
        schema::scopes(),
        vec![
            texts(scopes.name.iter().copied(), values)?,
            texts(scopes.version.iter().copied(), values)?,
            attribute_lists(builder, values, &scopes.attributes, &scopes.attribute_lists, all)?,
            Arc::new(UInt32Array::from_iter_values(scopes.dropped_attributes_count.iter().copied())),
            texts(scopes.schema_url.iter().copied(), values)?,
        ],
    )?)
}

/// A dictionary column from text numbers; [`NO_TEXT`] becomes null.
fn texts(ids: impl Iterator<Item = i32>, values: &Values) -> Result<ArrayRef, Error> {
    dictionary_column(Int32Array::from_iter(ids.map(|id| (id != NO_TEXT).then_some(id))), values)
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
    values: &Values,
    attributes: &Attributes,
    lists: &Lists,
    order: impl Iterator<Item = usize>,
) -> Result<ArrayRef, Error> {
    let mut offsets = vec![0i32];
    let (mut keys, mut strings) = (Vec::with_capacity(attributes.len()), Int32Builder::with_capacity(attributes.len()));
    let (mut ints, mut doubles) =
        (Int64Builder::with_capacity(attributes.len()), Float64Builder::with_capacity(attributes.len()));
    let (mut bools, mut others) = (BooleanBuilder::with_capacity(attributes.len()), BinaryBuilder::new());
    for thing in order {
        for at in lists.items(thing) {
            let (tag, bits) = (attributes.tag[at], attributes.bits[at]);
            keys.push(attributes.key[at]);
            strings.append_option((tag == Tag::String).then_some(bits as i32));
            ints.append_option((tag == Tag::Int).then_some(bits as i64));
            doubles.append_option((tag == Tag::Double).then_some(f64::from_bits(bits)));
            bools.append_option((tag == Tag::Bool).then_some(bits != 0));
            others.append_option((tag == Tag::Other).then(|| builder.others.get(bits as i32)));
        }
        offsets.push(keys.len() as i32);
    }
    let keys = Int32Array::new(ScalarBuffer::from(keys), None);
    let columns: Vec<ArrayRef> = vec![
        dictionary_column(keys, values)?,
        dictionary_column(strings.finish(), values)?,
        Arc::new(ints.finish()),
        Arc::new(doubles.finish()),
        Arc::new(bools.finish()),
        Arc::new(others.finish()),
    ];
    let fields = schema::attribute_fields();
    let items = StructArray::try_new(fields.clone(), columns, None)?;
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    Ok(Arc::new(ListArray::try_new(schema::item_field(fields), offsets, Arc::new(items), None)?))
}
