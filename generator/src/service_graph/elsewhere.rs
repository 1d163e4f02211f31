//! Calls of which another process received the client half.
//!
//! Who has the server half asks for the client half, counts the call, and tells the others so once that will survive a crash.
//! An answer changes nothing but that its half is counted no more as one without a server, so each message may be lost or come
//! twice, and either process may go on from an earlier checkpoint: whoever counts a call gives up the server half of it in the same
//! checkpoint.

use super::half::Half;
use super::pending::CallId;
use super::{OfTrace, Pairing, ServiceGraphProcessor, To, ToSeries};
use crate::checkpoint::{GraphState, Numbered, Numbering};
use crate::names::CLIENT;
use crate::registry::Registry;

impl ServiceGraphProcessor {
    /// Calls of which the client half may lie elsewhere.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = CallId> {
        self.pairing.graph.pending.unanswered()
    }

    /// The client halves of these calls, as far as they are here.
    pub(crate) fn hand_out(&mut self, calls: impl Iterator<Item = CallId>, numbering: &mut Numbering) -> GraphState {
        let Pairing { config, graph, texts, .. } = &mut self.pairing;
        let dimensions = config.dimensions.len();
        let halves = calls.filter_map(|call| graph.pending.hand_out(call, dimensions, texts, numbering)).collect();
        GraphState { dimensions: config.dimensions.clone(), halves }
    }

    /// These calls were counted elsewhere.
    pub(crate) fn counted_elsewhere(&mut self, calls: impl Iterator<Item = CallId>) {
        calls.for_each(|call| self.pairing.graph.pending.counted_elsewhere(call));
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
        let Pairing { config, graph, texts, .. } = &mut self.pairing;
        let (mut counted, has_same_dimensions) = (Vec::new(), found.dimensions == config.dimensions);
        for mut state in found.halves {
            if !has_same_dimensions {
                state.dimensions.clear();
            }
            let taken = graph.pending.take_in(state, config.dimensions.len(), texts, numbered);
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
