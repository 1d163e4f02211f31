//! What processes of a cluster say to each other of calls whose halves they received apart: `service_graph/elsewhere.rs` has
//! the rules, this the messages.
//!
//! ```text
//! questions ─▶ every other process: answer ─▶ take_answers
//! ```

use hashbrown::{HashMap, HashSet};
use model::TenantId;
use prost::Message;

use super::{Generator, Tenant, lock, millis};
use crate::service_graph::CallId;
use crate::state::{Numbered, Numbering, TenantState};

/// Calls that one question is about: it stays below 1 MiB.
const MOST_CALLS: usize = 40_000;
/// Calls that others are still to be told of. Of more, the client halves wait to the end, and are not counted.
const MOST_COUNTED: usize = 100_000;
/// The trace and the client span of a call.
const CALL_BYTES: usize = 24;

#[derive(Clone, PartialEq, Message)]
struct Question {
    #[prost(message, repeated, tag = "1")]
    tenants: Vec<CallsOfTenant>,
}

#[derive(Clone, PartialEq, Message)]
struct CallsOfTenant {
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
    /// Of the counted calls, those that are to be told again.
    #[prost(message, repeated, tag = "2")]
    unsettled: Vec<CallsOfTenant>,
}

/// Calls that were counted with halves of others.
#[derive(Default)]
pub(super) struct CountedCalls {
    /// Since the last checkpoint was made.
    new: Vec<CallId>,
    /// The checkpoint that is being stored knows of these.
    in_checkpoint: Vec<CallId>,
    /// Of which the others are to be told: a crash does not undo them.
    untold: Vec<CallId>,
}

impl CountedCalls {
    fn add(&mut self, calls: Vec<CallId>) {
        let known = self.new.len() + self.in_checkpoint.len() + self.untold.len();
        self.new.extend(calls.into_iter().take(MOST_COUNTED.saturating_sub(known)));
    }

    /// All of them, for a checkpoint that is made now.
    pub(super) fn save(&mut self) -> Vec<u8> {
        self.in_checkpoint.append(&mut self.new);
        bytes(self.untold.iter().chain(&self.in_checkpoint))
    }

    /// Those of a checkpoint.
    pub(super) fn restore(saved: &[u8]) -> Self {
        Self { untold: calls(saved).collect(), ..Self::default() }
    }

    /// The checkpoint that was made last is stored.
    pub(super) fn stored(&mut self) {
        self.untold.append(&mut self.in_checkpoint);
    }
}

impl Generator {
    /// What the others are to be asked, and told. They are told again the next time, unless
    /// [`take_answers`](Self::take_answers) hears that each of them has stored it.
    pub fn questions(&self) -> Vec<Vec<u8>> {
        let mut all: Vec<(TenantId, bool, CallId)> = Vec::new();
        for (id, tenant) in self.all() {
            let tenant = lock(&tenant);
            all.extend(tenant.counted.untold.iter().map(|call| (id.clone(), false, *call)));
            let graph = tenant.processors.service_graph.as_ref();
            all.extend(graph.into_iter().flat_map(|graph| graph.unanswered()).map(|call| (id.clone(), true, call)));
        }
        all.chunks(MOST_CALLS).map(|calls| question(calls).encode_to_vec()).collect()
    }

    /// The answer to another process.
    pub fn answer(&self, question: &[u8]) -> Vec<u8> {
        let mut answer = Answer::default();
        for CallsOfTenant { id, wanted, counted } in decode(question) {
            self.with_tenant(&id, |tenant| {
                let Some(graph) = &mut tenant.processors.service_graph else { return };
                let unsettled = graph.counted_elsewhere(calls(&counted));
                if !unsettled.is_empty() {
                    let (id, counted) = (id.clone(), bytes(&unsettled));
                    answer.unsettled.push(CallsOfTenant { id, counted, ..Default::default() });
                }
                let mut numbering = Numbering::default();
                let handed_out = graph.hand_out(calls(&wanted), &mut numbering);
                if !handed_out.halves.is_empty() {
                    let (texts, label_sets) = numbering.finish();
                    let graph = Some(handed_out);
                    answer.tenants.push(TenantState { id: id.clone(), texts, label_sets, graph, ..Default::default() });
                }
                if graph.has_unstored() {
                    self.changed();
                }
                tenant.tell();
            });
        }
        answer.encode_to_vec()
    }

    /// Counts the calls whose client halves other processes have found. With the answers of all others, `by_all`, they are told
    /// no more of what each of them has stored.
    pub fn take_answers(&self, questions: &[Vec<u8>], answers: &[Vec<u8>], by_all: bool, now_nanos: u64) {
        let mut all_unsettled: HashMap<String, HashSet<CallId>> = HashMap::new();
        for answer in answers {
            let Answer { tenants, unsettled } = Answer::decode(answer.as_slice()).unwrap_or_default();
            tenants.into_iter().for_each(|tenant| self.take_halves(tenant, now_nanos));
            for CallsOfTenant { id, counted, .. } in unsettled {
                all_unsettled.entry(id).or_default().extend(calls(&counted));
            }
        }
        if by_all {
            self.told(questions, &all_unsettled);
        }
    }

    /// All others have had the questions, and have stored what they were told but for some of it.
    fn told(&self, questions: &[Vec<u8>], unsettled: &HashMap<String, HashSet<CallId>>) {
        for CallsOfTenant { id, counted, .. } in questions.iter().flat_map(|question| decode(question)) {
            let unsettled = unsettled.get(&id);
            let is_settled = |call: &CallId| !unsettled.is_some_and(|unsettled| unsettled.contains(call));
            let told: HashSet<CallId> = calls(&counted).filter(is_settled).collect();
            self.with_tenant(&id, |tenant| tenant.counted.untold.retain(|call| !told.contains(call)));
        }
    }

    fn take_halves(&self, found: TenantState, now_nanos: u64) {
        let TenantState { id, texts, label_sets, graph, .. } = found;
        let Some(found) = graph else { return };
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
    let mut tenants: Vec<CallsOfTenant> = Vec::new();
    for (id, is_wanted, call) in calls {
        if tenants.last().is_none_or(|tenant| tenant.id != id.as_str()) {
            tenants.push(CallsOfTenant { id: id.to_string(), ..Default::default() });
        }
        if let Some(CallsOfTenant { wanted, counted, .. }) = tenants.last_mut() {
            if *is_wanted { wanted } else { counted }.extend_from_slice(&bytes([call]));
        }
    }
    Question { tenants }
}

/// What is asked of each tenant; nothing by what is no question.
fn decode(question: &[u8]) -> Vec<CallsOfTenant> {
    Question::decode(question).map(|question| question.tenants).unwrap_or_default()
}

fn bytes<'c>(calls: impl IntoIterator<Item = &'c CallId>) -> Vec<u8> {
    let each = calls.into_iter().map(|CallId { trace_id, client_span_id }| (trace_id, client_span_id.to_be_bytes()));
    each.flat_map(|(trace_id, client_span_id)| trace_id.iter().copied().chain(client_span_id)).collect()
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
