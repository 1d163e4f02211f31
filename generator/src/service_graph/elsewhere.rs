//! Calls of which another process received the client half.
//!
//! Who has the server half asks for the client half, counts the call, and tells the others so. Each says only what would be
//! true after a crash as well:
//!
//! - A half is handed out when a checkpoint knows that it is counted no more where it was received.
//! - The others are told of a call when a checkpoint has counted it, without its server half and with the call among those to
//!   tell of. They are told again until a checkpoint of each of them knows that nothing waits for it.
//!
//! So each message may be lost or come twice, and either process may go on from its last checkpoint.

use super::half::Half;
use super::pending::CallId;
use super::{OfTrace, Pairing, ServiceGraphProcessor, To, ToSeries};
use crate::names::CLIENT;
use crate::registry::Registry;
use crate::state::{GraphState, Numbered, Numbering};

impl ServiceGraphProcessor {
    /// Calls of which the client half may lie elsewhere.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = CallId> {
        self.pairing.graph.pending.unanswered()
    }

    /// The client halves of these calls, as far as they are here.
    pub(crate) fn hand_out(&mut self, calls: impl Iterator<Item = CallId>, numbering: &mut Numbering) -> GraphState {
        let Pairing { rules, graph, texts, .. } = &mut self.pairing;
        let dimensions = rules.config.dimensions.clone();
        let hand_out = |call| graph.pending.hand_out(call, dimensions.len(), texts, numbering);
        GraphState { halves: calls.filter_map(hand_out).collect(), dimensions }
    }

    /// These calls were counted elsewhere. Returns those for which something might wait again after a crash.
    pub(crate) fn counted_elsewhere(&mut self, calls: impl Iterator<Item = CallId>) -> Vec<CallId> {
        calls.filter(|call| !self.pairing.graph.pending.counted_elsewhere(*call)).collect()
    }

    /// Whether others have said what no checkpoint knows.
    pub(crate) fn has_unstored(&self) -> bool {
        self.pairing.graph.pending.has_unstored()
    }

    /// The last checkpoint that was made is stored.
    pub(crate) fn stored(&mut self) {
        self.pairing.graph.pending.stored();
    }

    /// Counts the calls whose client halves were found elsewhere; says which.
    pub(crate) fn take_in(
        &mut self,
        found: GraphState,
        numbered: &Numbered,
        registry: &mut Registry,
        now_millis: i64,
    ) -> Vec<CallId> {
        let edges = &mut ToSeries { edges: &mut self.edges, registry, now_millis };
        let mut to = To { edges, now_millis };
        let Pairing { rules, graph, texts, .. } = &mut self.pairing;
        let dimensions = &rules.config.dimensions;
        let (mut counted, has_same_dimensions) = (Vec::new(), found.dimensions == *dimensions);
        for mut state in found.halves {
            if !has_same_dimensions {
                state.dimensions.clear();
            }
            let taken = graph.pending.take_in(state, dimensions.len(), texts, numbered);
            let Some((call, client, servers)) = taken else { continue };
            OfTrace { trace_id: call.trace_id, graph, texts, to: &mut to }.pair(&client, &servers);
            counted.push(call);
        }
        counted
    }
}

impl<E: super::TakeEdges> OfTrace<'_, '_, E> {
    /// Counts the calls of a client half. Further answers to one request have no call of their own.
    fn pair(&mut self, client: &Half, servers: &[Half]) {
        let most = if client.kind == CLIENT { 1 } else { servers.len() };
        self.graph.counts.expired += servers.len().saturating_sub(most) as u64;
        servers.iter().take(most).for_each(|server| self.count(Some(client), Some(server)));
    }
}
