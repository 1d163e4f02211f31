//! What the answer says of a trace, and of its spans that match. Which of their values it shows, [`crate::shown`] decides.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, ListArray, RecordBatch, StructArray, UInt32Array};
use arrow::datatypes::UInt32Type;
use spans::schema::trace_column;
use spans::{SpanTable, Traces};
use traceql::Static;

use crate::answer::{FoundTrace, ServiceStats, SpanSet, Value};
use crate::cancellation;
use crate::engine::matcher::HitSet;
use crate::error::Error;
use crate::eval::{Cell, Column};
use crate::shown::{Shown, ShownSpans};

/// A trace to show, with rows of its spans.
pub(crate) struct ToShow {
    /// Row of `traces`.
    pub trace: usize,
    /// Rows are those of `spans`.
    pub sets: Vec<HitSet>,
}

/// The answer's entries; without `shown`, only what describes the trace.
pub(crate) fn traces(table: &SpanTable, wanted: &[ToShow], shown: Option<&Shown>) -> Result<Vec<FoundTrace>, Error> {
    let headers = Headers::of(&table.traces)?;
    let Some(shown) = shown else {
        return wanted.iter().map(|wanted| headers.get(wanted.trace, false)).collect();
    };
    let spans = ShownSpans::of(table, shown)?;
    let entry = |wanted: &ToShow| {
        cancellation::check()?;
        let mut found = headers.get(wanted.trace, true)?;
        let span_set = |set: &HitSet| {
            let spans = set.rows.iter().map(|&row| spans.get(row, found.start_nanos)).collect::<Result<_, Error>>()?;
            let attribute = |(key, value): &(Arc<str>, Cell)| {
                let value = group_value(value).or_else(|| has_texts(&wanted.sets, key).then(no_value))?;
                Some((key.to_string(), value))
            };
            let attributes = set.attributes.iter().filter_map(attribute);
            Ok(SpanSet { matched: set.matched, spans, attributes: attributes.collect() })
        };
        found.span_sets = wanted.sets.iter().map(span_set).collect::<Result<_, Error>>()?;
        Ok(found)
    };
    wanted.iter().map(entry).collect()
}

/// What the `traces` table says.
struct Headers<'a> {
    traces: Traces<'a>,
    root_service: Column,
    root_name: Column,
    services: &'a ListArray,
}

impl<'a> Headers<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, Error> {
        let services = spans::column(batch, trace_column::SERVICES)?;
        let text = |name: &str| crate::eval::text_column(batch, name);
        Ok(Self {
            traces: Traces::of(batch)?,
            root_service: text(trace_column::ROOT_SERVICE)?,
            root_name: text(trace_column::ROOT_NAME)?,
            services: services.as_list_opt().ok_or_else(|| Error::damaged(trace_column::SERVICES))?,
        })
    }

    fn get(&self, trace: usize, with_services: bool) -> Result<FoundTrace, Error> {
        let (start_nanos, end_nanos) = (self.traces.start_nanos(trace), self.traces.end_nanos(trace));
        Ok(FoundTrace {
            trace_id: self.traces.id(trace),
            root_service: text_of(&self.root_service, trace).filter(|name| !name.is_empty()),
            root_name: text_of(&self.root_name, trace),
            start_nanos,
            duration_nanos: end_nanos.saturating_sub(start_nanos),
            services: if with_services { self.services(trace)? } else { BTreeMap::new() },
            span_sets: Vec::new(),
        })
    }

    /// A service without a name counts under the empty name.
    fn services(&self, trace: usize) -> Result<BTreeMap<String, ServiceStats>, Error> {
        let damaged = || Error::damaged(trace_column::SERVICES);
        let items = self.services.value(trace);
        let items: &StructArray = items.as_struct_opt().ok_or_else(damaged)?;
        let counts = |name: &str| -> Result<UInt32Array, Error> {
            let array = items.column_by_name(name).ok_or_else(damaged)?;
            Ok(array.as_primitive_opt::<UInt32Type>().ok_or_else(damaged)?.clone())
        };
        let names = RecordBatch::from(items.clone());
        let names = crate::eval::text_column(&names, "service")?;
        let (span_counts, error_counts) = (counts("span_count")?, counts("error_count")?);
        let mut services: BTreeMap<String, ServiceStats> = BTreeMap::new();
        for item in 0..items.len() {
            let stats = services.entry(text_of(&names, item).unwrap_or_default()).or_default();
            stats.span_count += span_counts.value(item);
            stats.error_count += error_counts.value(item);
        }
        Ok(services)
    }
}

fn text_of(column: &Column, row: usize) -> Option<String> {
    match column.cell(row) {
        Cell::One(Static::String(text)) => Some(text),
        _ => None,
    }
}

/// Whether the value of some group is shown as a text.
fn has_texts(sets: &[HitSet], key: &str) -> bool {
    let values = sets.iter().flat_map(|set| &set.attributes).filter(|(of_set, _)| **of_set == *key);
    values.filter_map(|(_, value)| group_value(value)).any(|value| matches!(value, Value::String(_)))
}

/// Stands for the value of a group of spans without one, as in Tempo.
fn no_value() -> Value {
    Value::String("nil".to_owned())
}

/// What a group has in common, or what was aggregated. Spans without a value are a group too. Among texts `nil` stands for
/// their value; among numbers nothing does: clients fail on such a mix.
fn group_value(value: &Cell) -> Option<Value> {
    match value {
        Cell::Missing | Cell::Opaque => None,
        Cell::One(value) => Some(value.clone().into()),
        Cell::Many(values) => Some(Value::Array(values.iter().cloned().map(Value::from).collect())),
    }
}
