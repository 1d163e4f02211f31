//! What processes of a cluster say to each other of calls whose halves they received apart: `service_graph/elsewhere.rs` has
//! the rules, this the messages.
//!
//! ```text
//! questions ─▶ every other process: answer ─▶ take_answer
//! ```

use model::TenantId;
use prost::Message;

use super::{Generator, Tenant, lock, millis};
use crate::checkpoint::{Numbered, Numbering, TenantState};
use crate::service_graph::CallId;

/// Calls that one question is about: it stays below 1 MiB.
const MOST_CALLS: usize = 40_000;
/// Calls that others are still to be told of. Of more, the client halves go when they have waited.
const MOST_COUNTED: usize = 100_000;
/// The trace and the client span of a call.
const CALL_BYTES: usize = 24;

#[derive(Clone, PartialEq, Message)]
struct Question {
    #[prost(message, repeated, tag = "1")]
    tenants: Vec<TenantQuestion>,
}

#[derive(Clone, PartialEq, Message)]
struct TenantQuestion {
    #[prost(string, tag = "1")]
    id: String,
    /// Calls whose client halves are wanted.
    #[prost(bytes = "vec", tag = "2")]
    wanted: Vec<u8>,
    /// Calls that were counted.
    #[prost(bytes = "vec", tag = "3")]
    counted: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Answer {
    /// Texts, and the graph's halves.
    #[prost(message, repeated, tag = "1")]
    tenants: Vec<TenantState>,
}

/// Calls that were counted with halves of others.
#[derive(Default)]
pub(super) struct CountedCalls {
    /// Since the last checkpoint.
    unsaved: Vec<CallId>,
    /// Of which the others are to be told.
    untold: Vec<CallId>,
}

impl CountedCalls {
    fn add(&mut self, calls: Vec<CallId>) {
        let room = MOST_COUNTED.saturating_sub(self.unsaved.len());
        self.unsaved.extend(calls.into_iter().take(room));
    }

    /// What was counted survives a crash.
    fn saved(&mut self) {
        let room = MOST_COUNTED.saturating_sub(self.untold.len());
        self.untold.extend(std::mem::take(&mut self.unsaved).into_iter().take(room));
    }
}

impl Generator {
    /// What the others are to be asked. To be called when all that was counted before has been stored. What they are told in
    /// it is told again the next time, unless [`told`](Self::told) is called.
    pub fn questions(&self) -> Vec<Vec<u8>> {
        let mut all: Vec<(TenantId, bool, CallId)> = Vec::new();
        for (id, tenant) in self.all() {
            let mut tenant = lock(&tenant);
            tenant.counted.saved();
            all.extend(tenant.counted.untold.iter().map(|call| (id.clone(), false, *call)));
            let graph = tenant.processors.service_graph.as_ref();
            all.extend(graph.into_iter().flat_map(|graph| graph.unanswered()).map(|call| (id.clone(), true, call)));
        }
        all.chunks(MOST_CALLS).map(|calls| question(calls).encode_to_vec()).collect()
    }

    /// All others have had the questions.
    pub fn told(&self, questions: &[Vec<u8>]) {
        for TenantQuestion { id, counted, .. } in questions.iter().flat_map(|question| decode(question)) {
            let told = calls(&counted).count();
            self.with_tenant(&id, |tenant| drop(tenant.counted.untold.drain(..told.min(tenant.counted.untold.len()))));
        }
    }

    /// The answer to another process.
    pub fn answer(&self, question: &[u8]) -> Vec<u8> {
        let mut tenants = Vec::new();
        for TenantQuestion { id, wanted, counted } in decode(question) {
            self.with_tenant(&id, |tenant| {
                let Some(graph) = &mut tenant.processors.service_graph else { return };
                graph.counted_elsewhere(calls(&counted));
                let mut numbering = Numbering::default();
                let graph = graph.hand_out(calls(&wanted), &mut numbering);
                if !graph.halves.is_empty() || !counted.is_empty() {
                    self.changed();
                }
                if !graph.halves.is_empty() {
                    let (texts, label_sets) = numbering.finish();
                    let (graph, (families, names)) = (Some(graph), Default::default());
                    tenants.push(TenantState { id: id.clone(), texts, label_sets, families, graph, names });
                }
            });
        }
        Answer { tenants }.encode_to_vec()
    }

    /// Counts the calls whose client halves another process has found.
    pub fn take_answer(&self, answer: &[u8], now_nanos: u64) {
        let tenants = Answer::decode(answer).map(|answer| answer.tenants).unwrap_or_default();
        for TenantState { id, texts, label_sets, graph, .. } in tenants {
            let Some(found) = graph else { continue };
            self.with_tenant(&id, |tenant| {
                let Tenant { processors, registry, counted, .. } = tenant;
                let Some(graph) = &mut processors.service_graph else { return };
                let numbered = Numbered::new(texts, &label_sets);
                let calls = graph.take_in(found, &numbered, registry, millis(now_nanos));
                if !calls.is_empty() {
                    self.changed();
                    counted.add(calls);
                    tenant.tell();
                }
            });
        }
    }

    /// Works on a tenant that there is.
    fn with_tenant(&self, id: &str, work: impl FnOnce(&mut Tenant)) {
        let tenant = TenantId::parse(id).ok().and_then(|id| lock(&self.tenants).get(&id).cloned());
        if let Some(tenant) = tenant {
            work(&mut lock(&tenant));
        }
    }
}

/// One question about calls of which those of a tenant follow each other.
fn question(calls: &[(TenantId, bool, CallId)]) -> Question {
    let mut tenants: Vec<TenantQuestion> = Vec::new();
    for (id, is_wanted, CallId { trace_id, client_span_id }) in calls {
        if tenants.last().is_none_or(|tenant| tenant.id != id.as_str()) {
            tenants.push(TenantQuestion { id: id.to_string(), ..Default::default() });
        }
        if let Some(TenantQuestion { wanted, counted, .. }) = tenants.last_mut() {
            let bytes = if *is_wanted { wanted } else { counted };
            bytes.extend_from_slice(trace_id);
            bytes.extend_from_slice(&client_span_id.to_be_bytes());
        }
    }
    Question { tenants }
}

/// What is asked of each tenant; nothing by what is no question.
fn decode(question: &[u8]) -> Vec<TenantQuestion> {
    Question::decode(question).map(|question| question.tenants).unwrap_or_default()
}

fn calls(bytes: &[u8]) -> impl Iterator<Item = CallId> {
    bytes.chunks_exact(CALL_BYTES).filter_map(|call| {
        let (trace_id, client_span_id) = call.split_at(16);
        let (trace_id, client_span_id) = (trace_id.try_into().ok()?, client_span_id.try_into().ok()?);
        Some(CallId { trace_id, client_span_id: u64::from_be_bytes(client_span_id) })
    })
}

#[cfg(test)]
mod tests;
