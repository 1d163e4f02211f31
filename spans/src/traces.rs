//! Building the `traces` dimension: one row sums up the spans of one trace.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeBinaryBuilder, Int32Array, ListArray, RecordBatch, StructArray, UInt32Array, UInt64Array,
};
use arrow::buffer::OffsetBuffer;

use hashbrown::HashMap;

use crate::error::Error;
use crate::schema;
use crate::strings::dictionary_column;

/// What a span says about its trace. `name` and `service` are numbers of texts.
pub(crate) struct SpanForTrace {
    pub start_nanos: u64,
    pub end_nanos: u64,
    pub name: i32,
    pub service: Option<i32>,
    pub is_root: bool,
    pub is_error: bool,
}

/// Takes spans in table order, and [`close`](Self::close) after the last span of each trace.
#[derive(Default)]
pub(crate) struct TracesBuilder {
    ids: Vec<[u8; 16]>,
    start_nanos: Vec<u64>,
    end_nanos: Vec<u64>,
    root_service: Vec<Option<i32>>,
    root_name: Vec<Option<i32>>,
    first_row: Vec<u32>,
    span_count: Vec<u32>,
    service_list_lengths: Vec<usize>,
    services: Vec<Service>,
    current: Current,
    rows: u32,
}

#[derive(Default)]
struct Current {
    start_nanos: Option<u64>,
    end_nanos: u64,
    /// Of the root that starts first.
    root: Option<(u64, Option<i32>, i32)>,
    services: Vec<Service>,
    /// Place of each service in `services`.
    place: HashMap<Option<i32>, usize>,
    span_count: u32,
}

struct Service {
    service: Option<i32>,
    span_count: u32,
    error_count: u32,
}

impl TracesBuilder {
    /// Traces closed so far.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn span(&mut self, span: &SpanForTrace) {
        let current = &mut self.current;
        current.start_nanos = Some(current.start_nanos.map_or(span.start_nanos, |start| start.min(span.start_nanos)));
        current.end_nanos = current.end_nanos.max(span.end_nanos).max(span.start_nanos);
        current.span_count += 1;
        if span.is_root && current.root.is_none_or(|(start, _, _)| span.start_nanos < start) {
            current.root = Some((span.start_nanos, span.service, span.name));
        }
        let place = *current.place.entry(span.service).or_insert_with(|| {
            current.services.push(Service { service: span.service, span_count: 0, error_count: 0 });
            current.services.len() - 1
        });
        current.services[place].span_count += 1;
        current.services[place].error_count += u32::from(span.is_error);
    }

    pub(crate) fn close(&mut self, id: [u8; 16]) {
        let current = std::mem::take(&mut self.current);
        self.ids.push(id);
        self.start_nanos.push(current.start_nanos.unwrap_or_default());
        self.end_nanos.push(current.end_nanos);
        self.root_service.push(current.root.and_then(|(_, service, _)| service));
        self.root_name.push(current.root.map(|(_, _, name)| name));
        self.first_row.push(self.rows);
        self.span_count.push(current.span_count);
        self.service_list_lengths.push(current.services.len());
        self.services.extend(current.services);
        self.rows += current.span_count;
    }

    /// The `traces` batch; `values` are the texts that the numbers mean.
    pub(crate) fn finish(self, values: &ArrayRef) -> Result<RecordBatch, Error> {
        let mut ids = FixedSizeBinaryBuilder::with_capacity(self.ids.len(), 16);
        for id in &self.ids {
            ids.append_value(id)?;
        }
        let texts = |ids: Int32Array| dictionary_column(ids, values);
        let fields = schema::service_fields();
        let columns: Vec<ArrayRef> = vec![
            texts(self.services.iter().map(|service| service.service).collect())?,
            Arc::new(UInt32Array::from_iter_values(self.services.iter().map(|service| service.span_count))),
            Arc::new(UInt32Array::from_iter_values(self.services.iter().map(|service| service.error_count))),
        ];
        let services = StructArray::try_new(fields.clone(), columns, None)?;
        let lists = OffsetBuffer::from_lengths(self.service_list_lengths);
        Ok(RecordBatch::try_new(
            schema::traces(),
            vec![
                Arc::new(ids.finish()),
                Arc::new(UInt64Array::from(self.start_nanos)),
                Arc::new(UInt64Array::from(self.end_nanos)),
                texts(Int32Array::from(self.root_service))?,
                texts(Int32Array::from(self.root_name))?,
                Arc::new(UInt32Array::from(self.first_row)),
                Arc::new(UInt32Array::from(self.span_count)),
                Arc::new(ListArray::try_new(schema::item_field(fields), lists, Arc::new(services), None)?),
            ],
        )?)
    }
}
