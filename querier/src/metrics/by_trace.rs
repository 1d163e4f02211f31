//! Counting spans without reading them: each trace says how many spans every service contributed to it, and how many of
//! these failed. That answers queries which look at nothing else of a span, for traces that lie in one interval.
//!
//! What a trace says becomes rows in the shape of spans, each of which stands for several; they are found and measured as
//! spans are.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, ListArray, RecordBatch, UInt32Array};
use arrow::datatypes::Int32Type;
use hashbrown::HashMap;
use model::{Intrinsic, Scope};
use spans::schema::{column, trace_column};
use spans::{SpanTable, Traces};
use traceql::{BinaryOp, CompareOp, Field, FieldExpr, Query, Static, Status, UnaryOp};

use super::aggregator::SeriesAggregator;
use crate::engine::scan::Run;
use crate::error::Error;
use crate::eval::attributes;
use crate::eval::column::{Column, Texts, TypedValues};
use crate::eval::{Home, SERVICE_NAME, home, is_service_name};

const ERROR_CODE: i32 = 2;
const OTHER_CODE: i32 = 0;

/// What a query must know of the spans of a trace in order to count them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CountsByTrace {
    services: bool,
    errors: bool,
}

impl CountsByTrace {
    /// `None` for a query that looks at more than services, errors and what a trace has as a whole.
    pub fn of(query: &Query, aggregator: &SeriesAggregator) -> Option<Self> {
        let mut counts = Self { services: false, errors: false };
        let is_known = counts.looks_at(query.span_filter()?.filter)
            && !aggregator.counts_durations()
            && aggregator.counts_by()?.all(|field| counts.looks_at_field(field));
        is_known.then_some(counts)
    }

    /// Whether services need to be told apart.
    pub fn needs_services(&self) -> bool {
        self.services || self.errors
    }

    fn looks_at(&mut self, expr: &FieldExpr) -> bool {
        match expr {
            FieldExpr::Literal(_) => true,
            FieldExpr::Unary { op: UnaryOp::Not, expr } => self.looks_at(expr),
            FieldExpr::Binary { op: BinaryOp::Logic(_), left, right } => self.looks_at(left) && self.looks_at(right),
            FieldExpr::Binary { op: BinaryOp::Compare(op), left, right } => match (&**left, &**right) {
                (FieldExpr::Field(field), FieldExpr::Literal(literal))
                | (FieldExpr::Literal(literal), FieldExpr::Field(field)) => {
                    self.errors |= is_error(field, *op, literal);
                    is_error(field, *op, literal) || self.looks_at_field(field)
                }
                _ => false,
            },
            _ => false,
        }
    }

    fn looks_at_field(&mut self, field: &Field) -> bool {
        let is_service = is_service_name(field);
        self.services |= is_service;
        is_service || home(field) == Some(Home::Traces)
    }
}

/// Whether a comparison tells errors from all other spans.
fn is_error(field: &Field, op: CompareOp, literal: &Static) -> bool {
    *field == Field::Intrinsic(Intrinsic::Status)
        && matches!(op, CompareOp::Eq | CompareOp::Ne)
        && *literal == Static::Status(Status::Error)
}

/// For each name of a service one resource of a source that has it.
#[derive(Debug, Default)]
pub(super) struct ResourcesByService {
    named: HashMap<String, u32>,
    unnamed: Option<u32>,
}

impl ResourcesByService {
    /// `None` when a name may be something else than one text, which traces do not know of.
    pub fn of(resources: &RecordBatch) -> Result<Option<Self>, Error> {
        let names = attributes::of_rows(resources, Scope::Resource, SERVICE_NAME)?;
        let mut texts: Vec<&Texts> = Vec::new();
        for part in &names.parts {
            let TypedValues::Text(of_part) = part else { return Ok(None) };
            texts.push(of_part);
        }
        let Column { opaque: None, more, .. } = &names else { return Ok(None) };
        if !more.is_empty() {
            return Ok(None);
        }
        let mut by_service = Self::default();
        for row in 0..names.rows {
            match texts.iter().find_map(|texts| texts.get(row)) {
                Some(name) => _ = by_service.named.entry_ref(name).or_insert(row as u32),
                None => _ = by_service.unnamed.get_or_insert(row as u32),
            }
        }
        Ok(Some(by_service))
    }
}

/// What each service contributed to the traces of a row group.
struct Services<'a> {
    lists: &'a ListArray,
    names: &'a Int32Array,
    spans: &'a UInt32Array,
    errors: &'a UInt32Array,
    /// A resource of each name, by the name's number; the last is for those without a name.
    resources: Vec<Option<u32>>,
}

impl<'a> Services<'a> {
    fn of(traces: &'a RecordBatch, resources: &ResourcesByService) -> Result<Self, Error> {
        let damaged = || Error::damaged(trace_column::SERVICES);
        let lists = spans::column(traces, trace_column::SERVICES)?.as_list_opt::<i32>().ok_or_else(damaged)?;
        let items = lists.values().as_struct_opt().ok_or_else(damaged)?;
        let field = |name: &str| items.column_by_name(name).ok_or_else(damaged);
        let names = field("service")?.as_dictionary_opt::<Int32Type>().ok_or_else(damaged)?;
        let texts = names.values().as_string_opt::<i32>().ok_or_else(damaged)?;
        let of_text = |text: Option<&str>| text.and_then(|text| resources.named.get(text).copied());
        Ok(Self {
            lists,
            names: names.keys(),
            spans: field("span_count")?.as_primitive_opt().ok_or_else(damaged)?,
            errors: field("error_count")?.as_primitive_opt().ok_or_else(damaged)?,
            resources: texts.iter().map(of_text).chain([resources.unnamed]).collect(),
        })
    }

    fn items(&self, trace: usize) -> Range<usize> {
        let offsets = self.lists.value_offsets();
        offsets[trace] as usize..offsets[trace + 1] as usize
    }

    fn resource(&self, item: usize) -> Option<u32> {
        let without_name = self.resources.len() - 1;
        let number = if self.names.is_valid(item) { self.names.value(item) as usize } else { without_name };
        self.resources[number]
    }
}

/// Rows that stand for the spans of some traces.
pub(super) struct CountedRows {
    pub table: SpanTable,
    /// The rows of each trace.
    pub runs: Vec<Run>,
    /// How many spans each row stands for.
    pub spans: Vec<u32>,
}

#[derive(Default)]
struct Rows {
    traces: Vec<u32>,
    resources: Vec<u32>,
    status_codes: Vec<i32>,
    spans: Vec<u32>,
}

impl Rows {
    fn push(&mut self, trace: usize, resource: u32, status_code: i32, spans: u32) {
        if spans > 0 {
            self.traces.push(trace as u32);
            self.resources.push(resource);
            self.status_codes.push(status_code);
            self.spans.push(spans);
        }
    }
}

/// The rows for some traces of a row group, ascending. `small_tables` has its traces, with services where those are needed.
/// `None` when a trace names a service that no resource has.
pub(super) fn rows(
    counts: CountsByTrace,
    small_tables: SpanTable,
    resources: &ResourcesByService,
    wanted: &[usize],
) -> Result<Option<CountedRows>, Error> {
    let traces = Traces::of(&small_tables.traces)?;
    let services = counts.needs_services().then(|| Services::of(&small_tables.traces, resources)).transpose()?;
    let (mut rows, mut runs) = (Rows::default(), Vec::with_capacity(wanted.len()));
    for &trace in wanted {
        let start = rows.spans.len();
        match &services {
            None => rows.push(trace, 0, OTHER_CODE, traces.span_rows(trace).len() as u32),
            Some(services) => {
                for item in services.items(trace) {
                    let Some(resource) = services.resource(item) else { return Ok(None) };
                    let (spans, errors) = (services.spans.value(item), services.errors.value(item));
                    rows.push(trace, resource, OTHER_CODE, spans.saturating_sub(errors));
                    rows.push(trace, resource, ERROR_CODE, errors);
                }
            }
        }
        runs.push(Run { trace, rows: start..rows.spans.len(), first_row: start });
    }
    let Rows { traces, resources, status_codes, spans } = rows;
    let mut columns: Vec<(&str, ArrayRef)> = vec![(column::TRACE, Arc::new(UInt32Array::from(traces)))];
    if services.is_some() {
        columns.push((column::RESOURCE, Arc::new(UInt32Array::from(resources))));
        columns.push((column::STATUS_CODE, Arc::new(Int32Array::from(status_codes))));
    }
    let batch = RecordBatch::try_from_iter(columns)?;
    Ok(Some(CountedRows { table: SpanTable { spans: batch, ..small_tables }, runs, spans }))
}
