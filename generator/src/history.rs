//! Series of stored spans, with the times of then: a step of time after the other, so that counters only grow.
//!
//! The same processors count as for live spans. A span, and a call, belongs to the step in which it ends; traces are taken
//! as a whole, so no half waits.

use std::collections::BTreeSet;
use std::ops::Range;

use model::TenantId;
use spans::SpanTable;

use crate::columns::Spans;
use crate::config::{ServiceGraphs, TenantConfig};
use crate::error::Error;
use crate::generator::{Processors, write_requests};
use crate::memory::Memory;
use crate::registry::Registry;
use crate::remote_write::{Form, Request, SeriesOptions};
use crate::selection::Selection;

/// The series of a tenant over some time, from zero.
pub struct History {
    tenant: TenantId,
    config: TenantConfig,
    registry: Registry,
    processors: Processors,
}

const NANOS_PER_MILLI: u64 = 1_000_000;

impl History {
    /// # Errors
    /// [`Error::Config`] when the settings cannot be used.
    pub fn new(tenant: TenantId, config: &TenantConfig) -> Result<Self, Error> {
        // all halves of a trace are in its table, so none has to go before it was looked for
        let service_graphs = ServiceGraphs { max_items: usize::MAX, ..config.service_graphs.clone() };
        let config = TenantConfig { service_graphs, ..config.of_tenant(&tenant) };
        let memory = Memory::unlimited();
        let mut registry = Registry::new(config.limits.clone(), memory.series.clone());
        let processors = Processors::new(&config, &memory, &mut registry)?;
        Ok(Self { tenant, config, registry, processors })
    }

    /// Counts the spans and the calls of a table of whole traces that end in a step.
    ///
    /// # Errors
    /// [`Error::Table`] when the table does not have the shape of [`spans::schema`].
    pub fn take(&mut self, table: &SpanTable, step_nanos: &Range<u64>) -> Result<(), Error> {
        let table = spans::columns_to_list(table)?;
        let spans = Spans::of(&table)?;
        let of_step = Selection::which(&spans, |trace, row| step_nanos.contains(&spans.end_nanos(row, trace)));
        let (Self { processors, registry, .. }, now_millis) = (self, millis(step_nanos.end));
        if let Some(span_metrics) = &mut processors.span_metrics {
            span_metrics.take(&table, &spans, &of_step, registry, now_millis)?;
        }
        if let Some(service_graph) = &mut processors.service_graph {
            service_graph.take_whole(&spans, step_nanos, registry, now_millis);
        }
        if let Some(host_info) = &processors.host_info {
            let rows = of_step.traces().flat_map(|(_, rows)| rows);
            let resources: BTreeSet<usize> = rows.map(|row| spans.resources[row] as usize).collect();
            host_info.take(&spans, resources, registry, now_millis);
        }
        Ok(())
    }

    /// What all series have counted at the end of a step, as requests of these forms. Series that no request told before
    /// were zero a millisecond after its start.
    pub fn collect(&mut self, forms: &[Form], instance: &str, step_nanos: &Range<u64>) -> Vec<Request> {
        let (zero_millis, now_millis) = (millis(step_nanos.start) + 1, millis(step_nanos.end));
        let mut external_labels = self.config.external_labels.clone();
        external_labels.insert("__metrics_gen_instance".to_owned(), instance.to_owned());
        let trace_id_label = &self.config.trace_id_label_name;
        let options = SeriesOptions { external_labels: &external_labels, trace_id_label, now_millis, zero_millis };
        let requests = write_requests(&self.tenant, forms, options, &self.registry);
        self.registry.mark_collected(zero_millis);
        self.registry.remove_stale(now_millis);
        requests
    }
}

fn millis(nanos: u64) -> i64 {
    i64::try_from(nanos / NANOS_PER_MILLI).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
