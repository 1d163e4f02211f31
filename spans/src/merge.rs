//! Several tables → one: parts of a trace come together, dictionaries and dimensions are shared again.
//!
//! Attribute columns stay columns when all tables have the same ones; otherwise they go back into the lists.

use std::cmp::Reverse;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, Int32Array, Int64Array, ListArray, RecordBatch, StructArray,
    UInt32Array,
};
use arrow::compute::{concat, take_record_batch};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, SchemaRef, UInt32Type};
use arrow::row::{RowConverter, SortField};
use hashbrown::HashMap;

mod gather;
mod texts;

use crate::columns_to_list::{batch_columns_to_list, columns_to_list, dimension_columns_to_list};
use crate::copies::{CopyFilter, SpanIdentity};
use crate::error::Error;
use crate::parent_link::ParentLinks;
use crate::schema::{self, column};
use crate::strings::{SharedTexts, dictionary_column};
use crate::table::{self, SpanTable, Traces, wrong_type};
use crate::traces::{SpanForTrace, TracesBuilder};
use crate::tree::{self, Node};
use gather::{Gather, Runs};
use texts::{NewNumbers, Texts, dictionary};

/// Which copies of spans are left out. What a copy is, [`crate::copies`] says; the first of them stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copies {
    /// None.
    Keep,
    /// All.
    DropAll,
}

/// Several tables put together.
#[derive(Debug, Clone)]
pub struct MergedTable {
    pub table: SpanTable,
    /// Spans that were left out because they are copies.
    pub dropped_spans: usize,
    /// Traces of which several tables had a part.
    pub joined_traces: usize,
}

/// One table with the spans of all, without `copies`, and without spans to which no trace refers; parts of a trace become
/// one run. Where siblings tie, spans of an earlier table come first.
///
/// # Errors
/// [`Error::Damaged`] when a table lacks a column of [`crate::schema`].
pub fn merge_tables(tables: &[SpanTable], copies: Copies) -> Result<MergedTable, Error> {
    merge_tables_while(tables, copies, &|| true)
}

/// The same, for as long as somebody waits for it: that is asked between two columns and two traces, and a few times for each
/// trace. A piece of work between takes milliseconds for a hundred thousand spans.
///
/// # Errors
/// [`Error::GivenUp`] when nobody does.
pub fn merge_tables_while(
    tables: &[SpanTable],
    copies: Copies,
    is_waited_for: &dyn Fn() -> bool,
) -> Result<MergedTable, Error> {
    let check = || if is_waited_for() { Ok(()) } else { Err(Error::GivenUp) };
    let tables = with_same_columns(tables)?;
    let mut texts = Texts::default();
    let resources = merge_dimension(tables.iter().map(|table| &table.resources), schema::resources(), &mut texts)?;
    let scopes = merge_dimension(tables.iter().map(|table| &table.scopes), schema::scopes(), &mut texts)?;
    for column in tables.iter().flat_map(|table| table.spans.columns()) {
        check()?;
        texts.learn(column)?;
    }
    let services = service_names(&resources.plain, &texts)?;
    let parts = tables
        .iter()
        .zip(resources.new_rows.iter().zip(&scopes.new_rows))
        .map(|(table, (resource_rows, scope_rows))| TablePart::of(table, &texts, resource_rows, scope_rows))
        .collect::<Result<Vec<_>, Error>>()?;
    let order = sort(&parts, &services, copies, &check)?;
    let values = texts.interner.values();
    let schema = tables.first().map_or_else(schema::spans, |table| table.spans.schema());
    let table = SpanTable {
        spans: gather(&parts, &order, schema, &Gather { texts: &texts, values: &values, check: &check })?,
        traces: order.traces.finish(&values)?,
        resources: wrap_batch(&resources.plain, &schema::resources(), &values)?,
        scopes: wrap_batch(&scopes.plain, &schema::scopes(), &values)?,
    };
    Ok(MergedTable { table, dropped_spans: order.dropped_spans, joined_traces: order.joined_traces })
}

/// The tables, of which all `spans` have the same schema: that of [`schema::spans`], and maybe attribute columns behind.
fn with_same_columns(tables: &[SpanTable]) -> Result<Vec<SpanTable>, Error> {
    let base = schema::spans();
    let is_base_first = |table: &SpanTable| {
        let fields = table.spans.schema_ref().fields();
        base.fields().iter().zip(fields).filter(|(known, field)| known == field).count() == base.fields().len()
    };
    let same = tables.windows(2).all(|pair| pair[0].spans.schema_ref() == pair[1].spans.schema_ref());
    if !same || !tables.iter().all(is_base_first) {
        return tables.iter().map(columns_to_list).collect();
    }
    tables
        .iter()
        .map(|table| Ok(SpanTable { spans: table.spans.clone(), ..dimension_columns_to_list(table)? }))
        .collect()
}

/// Puts texts back in place of their numbers, wherever `data_type` says so.
fn wrap(array: &ArrayRef, data_type: &DataType, values: &SharedTexts) -> Result<ArrayRef, Error> {
    Ok(match data_type {
        DataType::Dictionary(_, _) => dictionary_column(array.as_primitive::<Int32Type>().clone(), values)?,
        DataType::Struct(fields) => {
            let parts = array.as_struct();
            let columns =
                parts.columns().iter().zip(fields).map(|(column, field)| wrap(column, field.data_type(), values));
            Arc::new(StructArray::try_new(
                fields.clone(),
                columns.collect::<Result<Vec<_>, Error>>()?,
                parts.nulls().cloned(),
            )?)
        }
        DataType::List(item) => {
            let lists = array.as_list::<i32>();
            let items = wrap(lists.values(), item.data_type(), values)?;
            Arc::new(ListArray::try_new(item.clone(), lists.offsets().clone(), items, lists.nulls().cloned())?)
        }
        _ => array.clone(),
    })
}

fn wrap_batch(columns: &[ArrayRef], schema: &SchemaRef, values: &SharedTexts) -> Result<RecordBatch, Error> {
    let wrapped = columns.iter().zip(schema.fields()).map(|(column, field)| wrap(column, field.data_type(), values));
    Ok(RecordBatch::try_new(schema.clone(), wrapped.collect::<Result<Vec<_>, Error>>()?)?)
}

/// Distinct rows of a dimension, and for each table where its rows went.
struct MergedDimension {
    plain: Vec<ArrayRef>,
    new_rows: Vec<Vec<u32>>,
}

fn merge_dimension<'a>(
    batches: impl Iterator<Item = &'a RecordBatch>,
    schema: SchemaRef,
    texts: &mut Texts,
) -> Result<MergedDimension, Error> {
    let batches: Vec<&RecordBatch> = batches.collect();
    if let [first, others @ ..] = batches.as_slice()
        && others.iter().all(|batch| is_same(batch, first))
    {
        let in_order = schema.fields().iter().map(|field| texts.plain(table::column(first, field.name())?));
        let rows: Vec<u32> = (0..first.num_rows() as u32).collect();
        return Ok(MergedDimension { plain: in_order.collect::<Result<_, _>>()?, new_rows: vec![rows; batches.len()] });
    }
    let mut plain: Vec<Vec<ArrayRef>> = Vec::new();
    let mut row_counts = Vec::new();
    for batch in batches {
        let in_order = schema.fields().iter().map(|field| texts.plain(table::column(batch, field.name())?));
        plain.push(in_order.collect::<Result<Vec<_>, Error>>()?);
        row_counts.push(batch.num_rows());
    }
    let all = (0..schema.fields().len())
        .map(|at| Ok(concat(&plain.iter().map(|columns| columns[at].as_ref()).collect::<Vec<_>>())?))
        .collect::<Result<Vec<ArrayRef>, Error>>()?;
    let converter = RowConverter::new(all.iter().map(|column| SortField::new(column.data_type().clone())).collect())?;
    let rows = converter.convert_columns(&all)?;
    let (mut distinct, mut kept, mut new_rows) = (HashMap::new(), Vec::new(), Vec::new());
    let mut all_rows = rows.iter().enumerate();
    for row_count in row_counts {
        let numbers = all_rows.by_ref().take(row_count).map(|(at, row)| {
            *distinct.entry(row).or_insert_with(|| {
                kept.push(at as u32);
                kept.len() as u32 - 1
            })
        });
        new_rows.push(numbers.collect());
    }
    let fields: Vec<Field> = all.iter().map(|column| Field::new("", column.data_type().clone(), true)).collect();
    let batch = RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), all.clone())?;
    Ok(MergedDimension { plain: take_record_batch(&batch, &UInt32Array::from(kept))?.columns().to_vec(), new_rows })
}

/// Resources and scopes of several tables as one pair that they can share, and for each table its new row numbers.
#[derive(Debug, Clone)]
pub struct SharedDimensions {
    pub resources: RecordBatch,
    pub scopes: RecordBatch,
    pub resource_rows: Vec<Vec<u32>>,
    pub scope_rows: Vec<Vec<u32>>,
}

impl SharedDimensions {
    /// Spans of a table, known by its place among those that were merged, with the new row numbers.
    ///
    /// # Errors
    /// [`Error::Damaged`] when they refer to rows that do not exist.
    pub fn renumber(&self, table: usize, spans: &RecordBatch) -> Result<RecordBatch, Error> {
        let resources = renumbered(spans, column::RESOURCE, &self.resource_rows[table])?;
        let spans = table::replace(spans, column::RESOURCE, resources)?;
        let scopes = renumbered(&spans, column::SCOPE, &self.scope_rows[table])?;
        table::replace(&spans, column::SCOPE, scopes)
    }
}

/// A column of row numbers with the new ones.
fn renumbered(spans: &RecordBatch, name: &str, new_rows: &[u32]) -> Result<Vec<u32>, Error> {
    let damaged = |row: u32| Error::damaged(format!("{name} {row} does not exist"));
    let rows = table::u32s(spans, name)?.iter();
    rows.map(|&row| new_rows.get(row as usize).copied().ok_or_else(|| damaged(row))).collect()
}

/// Merges the small tables of several tables, given as (`resources`, `scopes`).
///
/// # Errors
/// [`Error::Damaged`] when a column is missing or has another type.
pub fn merge_dimensions(tables: &[(&RecordBatch, &RecordBatch)]) -> Result<SharedDimensions, Error> {
    let mut texts = Texts::default();
    let demoted = tables
        .iter()
        .map(|(resources, scopes)| {
            Ok((
                batch_columns_to_list(resources, schema::resources())?,
                batch_columns_to_list(scopes, schema::scopes())?,
            ))
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let resources = merge_dimension(demoted.iter().map(|pair| &pair.0), schema::resources(), &mut texts)?;
    let scopes = merge_dimension(demoted.iter().map(|pair| &pair.1), schema::scopes(), &mut texts)?;
    let values = texts.interner.values();
    Ok(SharedDimensions {
        resources: wrap_batch(&resources.plain, &schema::resources(), &values)?,
        scopes: wrap_batch(&scopes.plain, &schema::scopes(), &values)?,
        resource_rows: resources.new_rows,
        scope_rows: scopes.new_rows,
    })
}

/// True for clones of one batch, whose rows are distinct and need no merging.
fn is_same(batch: &RecordBatch, other: &RecordBatch) -> bool {
    let pairs = batch.columns().iter().zip(other.columns());
    batch.num_columns() == other.num_columns() && pairs.into_iter().all(|(one, two)| Arc::ptr_eq(one, two))
}

/// The service name of each resource, as a text number.
fn service_names(resources: &[ArrayRef], texts: &Texts) -> Result<Vec<Option<i32>>, Error> {
    let at = schema::resources().index_of(column::ATTRIBUTES)?;
    let lists = resources[at].as_list::<i32>();
    let items = lists.values().as_struct();
    let (keys, strings) = (items.column(0).as_primitive::<Int32Type>(), items.column(1).as_primitive::<Int32Type>());
    let is_service = |&item: &usize| texts.interner.get(keys.value(item)) == b"service.name" && strings.is_valid(item);
    Ok((0..lists.len())
        .map(|row| {
            let items = lists.offsets()[row] as usize..lists.offsets()[row + 1] as usize;
            items.into_iter().find(is_service).map(|item| strings.value(item))
        })
        .collect())
}

/// The columns of one table that decide where its spans go.
struct TablePart<'a> {
    spans: &'a RecordBatch,
    traces: Traces<'a>,
    span_id: &'a FixedSizeBinaryArray,
    parent_offset: &'a UInt32Array,
    parent_span_id: &'a FixedSizeBinaryArray,
    start_offset_nanos: &'a Int64Array,
    duration_nanos: &'a Int64Array,
    kind: &'a Int32Array,
    status_code: &'a Int32Array,
    /// Keys of the table's own dictionary.
    name: &'a Int32Array,
    numbers: NewNumbers<'a>,
    links: Option<ParentLinks<'a>>,
    resource: Vec<u32>,
    scope: Vec<u32>,
}

impl<'a> TablePart<'a> {
    fn of(table: &'a SpanTable, texts: &'a Texts, resource_rows: &[u32], scope_rows: &[u32]) -> Result<Self, Error> {
        let spans = &table.spans;
        let names = dictionary(table::column(spans, column::NAME)?)?;
        let ids = |name: &str| table::column(spans, name)?.as_fixed_size_binary_opt().ok_or_else(|| wrong_type(name));
        let i64s =
            |name: &str| table::column(spans, name)?.as_primitive_opt::<Int64Type>().ok_or_else(|| wrong_type(name));
        let i32s =
            |name: &str| table::column(spans, name)?.as_primitive_opt::<Int32Type>().ok_or_else(|| wrong_type(name));
        Ok(Self {
            spans,
            traces: table.traces()?,
            span_id: ids(column::SPAN_ID)?,
            parent_offset: table::column(spans, column::PARENT_OFFSET)?
                .as_primitive_opt::<UInt32Type>()
                .ok_or_else(|| wrong_type(column::PARENT_OFFSET))?,
            parent_span_id: ids(column::PARENT_SPAN_ID)?,
            start_offset_nanos: i64s(column::START_OFFSET_NANOS)?,
            duration_nanos: i64s(column::DURATION_NANOS)?,
            kind: i32s(column::KIND)?,
            status_code: i32s(column::STATUS_CODE)?,
            name: names.keys(),
            numbers: texts.numbers(names)?,
            links: ParentLinks::of(spans)?,
            resource: renumbered(spans, column::RESOURCE, resource_rows)?,
            scope: renumbered(spans, column::SCOPE, scope_rows)?,
        })
    }

    fn parent_id(&self, row: usize) -> Option<[u8; 8]> {
        let (array, at) = if self.parent_offset.is_valid(row) {
            (self.span_id, row.checked_sub(self.parent_offset.value(row) as usize)?)
        } else {
            (self.parent_span_id, row)
        };
        // blocks of before hold ids of zeros, which are none
        array.is_valid(at).then(|| array.value(at).try_into().ok()).flatten().filter(|id| *id != [0; 8])
    }

    fn is_child_by_link(&self, trace: usize, row: usize) -> bool {
        self.links.as_ref().is_some_and(|links| links.is_child(row, &self.traces.id(trace).0))
    }

    fn id(&self, row: usize) -> [u8; 8] {
        self.span_id.value(row).try_into().unwrap_or_default()
    }

    fn node(&self, row: usize) -> Node {
        Node { span_id: self.id(row), parent_id: self.parent_id(row), kind: self.kind.value(row) }
    }

    fn identity(&self, trace: usize, row: usize) -> SpanIdentity {
        let (kind, start_nanos) = (self.kind.value(row), self.start_nanos(trace, row));
        SpanIdentity { span_id: self.id(row), kind, start_nanos }
    }

    fn start_nanos(&self, trace: usize, row: usize) -> u64 {
        self.traces.start_nanos(trace).wrapping_add(self.start_offset_nanos.value(row) as u64)
    }
}

/// Where the rows of the new table come from, and the columns that change.
#[derive(Default)]
struct Order {
    rows: Vec<(usize, usize)>,
    trace: Vec<u32>,
    parent_offset: Vec<Option<u32>>,
    parent_span_id: Vec<Option<[u8; 8]>>,
    start_offset_nanos: Vec<i64>,
    traces: TracesBuilder,
    dropped_spans: usize,
    joined_traces: usize,
}

fn sort(
    parts: &[TablePart<'_>],
    services: &[Option<i32>],
    copies: Copies,
    check: &dyn Fn() -> Result<(), Error>,
) -> Result<Order, Error> {
    let mut runs: Vec<(u128, usize, usize)> = Vec::new();
    for (part_at, part) in parts.iter().enumerate() {
        runs.extend((0..part.traces.len()).map(|trace| (u128::from_be_bytes(part.traces.id(trace).0), part_at, trace)));
    }
    runs.sort_unstable();
    let start_of = |runs: &[(u128, usize, usize)]| {
        runs.iter().map(|&(_, part, trace)| parts[part].traces.start_nanos(trace)).min().unwrap_or_default()
    };
    let mut newest_first: Vec<_> = runs.chunk_by(|a, b| a.0 == b.0).collect();
    newest_first.sort_by_cached_key(|runs| Reverse(start_of(runs)));
    let (mut order, mut filter) = (Order::default(), CopyFilter::default());
    let (mut nodes, mut sources, mut placed) = (Vec::new(), Vec::new(), Vec::new());
    for runs in newest_first {
        check()?;
        nodes.clear();
        sources.clear();
        for &(_, part, trace) in runs {
            sources.extend(parts[part].traces.span_rows(trace).map(|row| (part, trace, row)));
        }
        let dropped = match copies {
            Copies::Keep => 0,
            Copies::DropAll => filter.drop_copies(&mut sources, |&(part, trace, row)| parts[part].identity(trace, row)),
        };
        check()?;
        order.dropped_spans += dropped;
        order.joined_traces += usize::from(runs.len() > 1);
        nodes.extend(sources.iter().map(|&(part, _, row)| parts[part].node(row)));
        if runs.len() == 1 && dropped == 0 {
            // already in order
            placed.clear();
            placed.extend(sources.iter().enumerate().map(|(node, &(part, _, row))| {
                let parent = &parts[part].parent_offset;
                tree::Placed { node, parent_offset: parent.is_valid(row).then(|| parent.value(row)) }
            }));
        } else {
            tree::order(&nodes, &mut placed);
        }
        check()?;
        let start =
            sources.iter().map(|&(part, trace, row)| parts[part].start_nanos(trace, row)).min().unwrap_or_default();
        for place in &placed {
            let (part_at, trace, row) = sources[place.node];
            let (part, parent_id) = (&parts[part_at], nodes[place.node].parent_id);
            let start_nanos = part.start_nanos(trace, row);
            order.rows.push((part_at, row));
            order.trace.push(order.traces.len() as u32);
            order.parent_offset.push(place.parent_offset);
            order.parent_span_id.push(parent_id.filter(|_| place.parent_offset.is_none()));
            order.start_offset_nanos.push(start_nanos.wrapping_sub(start) as i64);
            order.traces.span(&SpanForTrace {
                start_nanos,
                end_nanos: start_nanos.wrapping_add(part.duration_nanos.value(row) as u64),
                name: part.numbers.of(part.name.value(row)),
                service: services[part.resource[row] as usize],
                is_root: parent_id.is_none() && !part.is_child_by_link(trace, row),
                is_error: part.status_code.value(row) == 2,
            });
        }
        order.traces.close(runs[0].0.to_be_bytes());
    }
    Ok(order)
}

/// Every column of the new `spans`.
fn gather(
    parts: &[TablePart<'_>],
    order: &Order,
    schema: SchemaRef,
    gather: &Gather<'_>,
) -> Result<RecordBatch, Error> {
    let runs = Runs::of(&order.rows);
    let dimension = |rows: for<'p> fn(&'p TablePart<'_>) -> &'p [u32]| -> ArrayRef {
        Arc::new(UInt32Array::from_iter_values(order.rows.iter().map(|&(part, row)| rows(&parts[part])[row])))
    };
    let columns = schema.fields().iter().enumerate().map(|(at, field)| -> Result<ArrayRef, Error> {
        Ok(match field.name().as_str() {
            column::TRACE => Arc::new(UInt32Array::from(order.trace.clone())),
            column::PARENT_OFFSET => Arc::new(UInt32Array::from(order.parent_offset.clone())),
            column::PARENT_SPAN_ID => {
                Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(order.parent_span_id.iter().copied(), 8)?)
            }
            column::START_OFFSET_NANOS => Arc::new(Int64Array::from(order.start_offset_nanos.clone())),
            column::RESOURCE => dimension(|part| &part.resource),
            column::SCOPE => dimension(|part| &part.scope),
            _ => {
                let sources: Vec<&ArrayRef> = parts.iter().map(|part| part.spans.column(at)).collect();
                gather.column(&sources, &runs, field.data_type())?
            }
        })
    });
    let columns = columns.collect::<Result<Vec<_>, Error>>()?;
    Ok(RecordBatch::try_new(schema, columns)?)
}
