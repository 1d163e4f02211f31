//! Spans that are written → the rows of their rollup.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, FixedSizeBinaryArray, FixedSizeBinaryBuilder, Int32Array,
    Int64Array, PrimitiveArray, RecordBatch, StringArray, StringDictionaryBuilder, UInt8Array, UInt32Array,
};
use arrow::datatypes::{ArrowPrimitiveType, Int32Type, Int64Type, UInt32Type};
use hashbrown::HashMap;
use model::TraceId;
use spans::schema::column::{DURATION_NANOS, PARENT_OFFSET, PARENT_SPAN_ID, START_OFFSET_NANOS};
use spans::{Error, Traces};

use super::{LEAST_SPANS, SPANS_OF_A_ROW, Slots, bucket, column, schema};
use crate::block::ROW_GROUP_ROWS;
use crate::varint;

/// A row group with more combinations is not rolled up, however many spans may still come.
const MOST_ROWS: usize = ROW_GROUP_ROWS / SPANS_OF_A_ROW;

/// Stands for a text that has no number yet.
const NO_NUMBER: u32 = u32::MAX;

/// Counts spans, a row group after the other.
pub(crate) struct RollupBuilder {
    /// The number of the service of each resource that spans may have; `None` when services cannot be told apart.
    services: Option<Vec<u32>>,
    /// By number of the service the first resource of it that spans had, numbered as in the block.
    resources: Vec<Option<u32>>,
    open: OpenGroup,
    groups: u32,
    rows: Rows,
}

/// What is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Kind {
    service: u32,
    name: u32,
    kind: i32,
    status_code: i32,
    is_root: bool,
    /// 0 for durations without one.
    bucket: u8,
}

/// The spans of a kind.
struct Counted {
    kind: Kind,
    spans: u32,
    /// The trace of one of them, and when its first one starts.
    trace: u32,
    drawn: u64,
    start_nanos: u64,
}

/// The row group whose spans are added.
#[derive(Default)]
struct OpenGroup {
    kinds: HashMap<Kind, u32>,
    /// By number of the kind.
    counted: Vec<Counted>,
    /// Of each span the number of its kind, and when it starts.
    starts: Vec<(u32, u64)>,
    names: HashMap<String, u32>,
    trace_ids: Vec<TraceId>,
    span_count: usize,
    last_start_nanos: u64,
}

/// The rows of row groups that are complete.
#[derive(Default)]
struct Rows {
    group: Vec<u32>,
    resource: Vec<u32>,
    name: StringDictionaryBuilder<Int32Type>,
    kind: Vec<i32>,
    status_code: Vec<i32>,
    is_root: Vec<bool>,
    bucket: Vec<u8>,
    spans: Vec<u32>,
    by_slot: BinaryBuilder,
    trace: Vec<u32>,
    trace_slot: Vec<u8>,
    trace_id: Vec<TraceId>,
}

impl RollupBuilder {
    /// `resources` are those of all spans to come, without attribute columns.
    pub fn new(resources: &RecordBatch) -> Result<Self, Error> {
        let mut numbers: HashMap<Option<&str>, u32> = HashMap::new();
        let services = spans::service_names(resources)?.map(|names| {
            let number = |name| {
                let next = numbers.len() as u32;
                *numbers.entry(name).or_insert(next)
            };
            names.into_iter().map(number).collect()
        });
        let resources = vec![None; numbers.len()];
        Ok(Self { services, resources, open: OpenGroup::default(), groups: 0, rows: Rows::default() })
    }

    /// Adds traces and their spans to the row group under way; rows are numbered from 0 in both, but `resources`, which has
    /// the resource of each span as the block numbers it.
    pub fn add(&mut self, spans: &RecordBatch, traces: &RecordBatch, resources: &[u32]) -> Result<(), Error> {
        let (columns, traces) = (Columns::of(spans)?, Traces::of(traces)?);
        self.open.span_count += spans.num_rows();
        let start_nanos = |(row, &trace): (usize, &u32)| match (trace as usize) < traces.len() {
            true => Ok(traces.start_nanos(trace as usize).wrapping_add(columns.start_offsets.value(row) as u64)),
            false => Err(Error::damaged(format!("trace {trace} does not exist"))),
        };
        let starts = columns.traces.iter().enumerate().map(start_nanos).collect::<Result<Vec<u64>, _>>()?;
        self.open.last_start_nanos = starts.iter().copied().fold(self.open.last_start_nanos, u64::max);
        let first_trace = self.open.trace_ids.len() as u32;
        self.open.trace_ids.extend((0..traces.len()).map(|trace| traces.id(trace)));
        if let Some(services) = &self.services {
            let draws: Vec<u64> = (0..traces.len()).map(|trace| traces.id(trace).draw()).collect();
            let mut numbers = vec![NO_NUMBER; columns.names.len()];
            for row in 0..spans.num_rows() {
                if self.open.kinds.len() > MOST_ROWS {
                    break;
                }
                let name = columns.name_keys.value(row) as usize;
                if numbers[name] == NO_NUMBER {
                    numbers[name] = self.open.number_of(columns.names.value(name));
                }
                let service = services[columns.resources[row] as usize];
                self.resources[service as usize].get_or_insert(resources[row]);
                let (trace, duration_nanos) = (columns.traces[row], columns.durations.value(row));
                let kind = Kind {
                    service,
                    name: numbers[name],
                    kind: columns.kinds.value(row),
                    status_code: columns.status_codes.value(row),
                    is_root: columns.is_root(row),
                    bucket: bucket(duration_nanos).unwrap_or(0),
                };
                self.open.count(kind, starts[row], first_trace + trace, draws[trace as usize]);
            }
        }
        Ok(())
    }

    /// Ends the row group under way, whose first span starts then. Returns when the last of its spans starts.
    pub fn end_row_group(&mut self, first_start_nanos: u64) -> u64 {
        let open = std::mem::take(&mut self.open);
        let group = self.groups;
        self.groups += 1;
        if open.span_count >= LEAST_SPANS && open.kinds.len().saturating_mul(SPANS_OF_A_ROW) <= open.span_count {
            let slots = Slots::of(first_start_nanos, open.last_start_nanos);
            let count = slots.count();
            let mut by_slot = vec![0; open.counted.len() * count];
            for &(kind, start_nanos) in &open.starts {
                by_slot[kind as usize * count + slots.number(start_nanos)] += 1;
            }
            let mut texts: Vec<(u32, String)> = open.names.into_iter().map(|(name, number)| (number, name)).collect();
            texts.sort_unstable();
            let mut kinds: Vec<(&Counted, &[u32])> = open.counted.iter().zip(by_slot.chunks(count)).collect();
            kinds.sort_unstable_by_key(|(counted, _)| counted.kind);
            for (counted, by_slot) in kinds {
                let Some(resource) = self.resources[counted.kind.service as usize] else { continue };
                let name = &texts[counted.kind.name as usize].1;
                self.rows.push((group, resource), name, counted, by_slot);
                self.rows.trace_slot.push(slots.number(counted.start_nanos) as u8);
                self.rows.trace_id.push(open.trace_ids[counted.trace as usize]);
            }
        }
        open.last_start_nanos
    }

    /// The rows of all row groups; `None` when there are none.
    pub fn finish(self) -> Result<Option<RecordBatch>, Error> {
        if self.rows.group.is_empty() { Ok(None) } else { self.rows.finish().map(Some) }
    }
}

impl OpenGroup {
    fn number_of(&mut self, name: &str) -> u32 {
        let next = self.names.len() as u32;
        *self.names.entry_ref(name).or_insert(next)
    }

    fn count(&mut self, kind: Kind, start_nanos: u64, trace: u32, drawn: u64) {
        let number = *self.kinds.entry(kind).or_insert_with(|| {
            self.counted.push(Counted { kind, spans: 0, trace, drawn, start_nanos });
            self.counted.len() as u32 - 1
        });
        self.starts.push((number, start_nanos));
        let counted = &mut self.counted[number as usize];
        counted.spans += 1;
        if (drawn, start_nanos) < (counted.drawn, counted.start_nanos) {
            (counted.trace, counted.drawn, counted.start_nanos) = (trace, drawn, start_nanos);
        }
    }
}

impl Rows {
    fn push(&mut self, (group, resource): (u32, u32), name: &str, counted: &Counted, by_slot: &[u32]) {
        let Counted { kind, spans, trace, .. } = *counted;
        self.group.push(group);
        self.resource.push(resource);
        self.name.append_value(name);
        self.kind.push(kind.kind);
        self.status_code.push(kind.status_code);
        self.is_root.push(kind.is_root);
        self.bucket.push(kind.bucket);
        self.spans.push(spans);
        self.by_slot.append_value(encoded(by_slot));
        self.trace.push(trace);
    }

    fn finish(mut self) -> Result<RecordBatch, Error> {
        let mut trace_ids = FixedSizeBinaryBuilder::with_capacity(self.trace_id.len(), size_of::<TraceId>() as i32);
        self.trace_id.iter().try_for_each(|id| trace_ids.append_value(id.0))?;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt32Array::from(self.group)),
            Arc::new(UInt32Array::from(self.resource)),
            Arc::new(self.name.finish()),
            Arc::new(Int32Array::from(self.kind)),
            Arc::new(Int32Array::from(self.status_code)),
            Arc::new(BooleanArray::from(self.is_root)),
            Arc::new(UInt8Array::from(self.bucket)),
            Arc::new(UInt32Array::from(self.spans)),
            Arc::new(self.by_slot.finish()),
            Arc::new(UInt32Array::from(self.trace)),
            Arc::new(UInt8Array::from(self.trace_slot)),
            Arc::new(trace_ids.finish()),
        ];
        Ok(RecordBatch::try_new(schema(), columns)?)
    }
}

/// Numbers of spans as [`column::BY_SLOT`] has them.
fn encoded(by_slot: &[u32]) -> Vec<u8> {
    let last = by_slot.iter().rposition(|spans| *spans > 0).filter(|_| by_slot.len() > 1);
    let mut numbers = Vec::new();
    by_slot[..last.map_or(0, |last| last + 1)].iter().for_each(|&spans| varint::put(&mut numbers, u64::from(spans)));
    numbers
}

/// The columns of spans that are looked at.
struct Columns<'a> {
    traces: &'a [u32],
    resources: &'a [u32],
    start_offsets: &'a Int64Array,
    durations: &'a Int64Array,
    kinds: &'a Int32Array,
    status_codes: &'a Int32Array,
    name_keys: &'a Int32Array,
    names: &'a StringArray,
    parent_offsets: &'a UInt32Array,
    far_parents: &'a FixedSizeBinaryArray,
}

impl<'a> Columns<'a> {
    fn of(spans: &'a RecordBatch) -> Result<Self, Error> {
        let names = spans::column(spans, column::NAME)?;
        let names = names.as_dictionary_opt::<Int32Type>().ok_or_else(|| wrong_type(column::NAME))?;
        let far_parents = spans::column(spans, PARENT_SPAN_ID)?.as_fixed_size_binary_opt();
        Ok(Self {
            traces: spans::u32s(spans, column::TRACE)?,
            resources: spans::u32s(spans, column::RESOURCE)?,
            start_offsets: numbers::<Int64Type>(spans, START_OFFSET_NANOS)?,
            durations: numbers::<Int64Type>(spans, DURATION_NANOS)?,
            kinds: numbers::<Int32Type>(spans, column::KIND)?,
            status_codes: numbers::<Int32Type>(spans, column::STATUS_CODE)?,
            name_keys: names.keys(),
            names: names.values().as_string_opt().ok_or_else(|| wrong_type(column::NAME))?,
            parent_offsets: numbers::<UInt32Type>(spans, PARENT_OFFSET)?,
            far_parents: far_parents.ok_or_else(|| wrong_type(PARENT_SPAN_ID))?,
        })
    }

    fn is_root(&self, row: usize) -> bool {
        self.parent_offsets.is_null(row) && (self.far_parents.is_null(row) || self.far_parents.value(row) == [0; 8])
    }
}

fn numbers<'a, T: ArrowPrimitiveType>(spans: &'a RecordBatch, name: &str) -> Result<&'a PrimitiveArray<T>, Error> {
    spans::column(spans, name)?.as_primitive_opt().ok_or_else(|| wrong_type(name))
}

fn wrong_type(name: &str) -> Error {
    Error::damaged(format!("column {name} has another type"))
}
