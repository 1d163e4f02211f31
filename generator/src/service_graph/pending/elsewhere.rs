//! Halves that wait, as other processes ask for them.

use super::saved::{restore, save};
use super::{CallId, Half, Pending, Side, Waiting};
use crate::checkpoint::{HalfState, Numbered, Numbering};
use crate::interner::Interner;
use crate::names::PRODUCER;

impl Pending {
    /// The calls whose server half waits for its client half.
    pub(in crate::service_graph) fn unanswered(&self) -> impl Iterator<Item = CallId> {
        self.servers.keys().copied()
    }

    /// The client half of a call that another process has the server half of. It goes on waiting, until it is heard that it
    /// was counted there; here it is counted no more.
    pub(in crate::service_graph) fn hand_out(
        &mut self,
        call: CallId,
        dimensions: usize,
        texts: &Interner,
        numbering: &mut Numbering,
    ) -> Option<HalfState> {
        let waiting = self.clients.get_mut(&call)?;
        waiting.was_paired = true;
        Some(save(call, waiting, dimensions, texts, numbering))
    }

    /// A call was counted elsewhere. A message may have more receivers.
    pub(in crate::service_graph) fn counted_elsewhere(&mut self, call: CallId) {
        let is_done = |waiting: &Waiting| waiting.half.kind != PRODUCER;
        if self.clients.get(&call).is_some_and(is_done) && self.clients.remove(&call).is_some() {
            self.gone(1);
        }
    }

    /// A client half that another process handed out, and the halves that waited for it; none when nothing does any more.
    pub(in crate::service_graph) fn take_in(
        &mut self,
        state: HalfState,
        dimensions: usize,
        texts: &mut Interner,
        numbered: &Numbered,
    ) -> Option<(CallId, Half, Vec<Half>)> {
        let trace_id = state.trace_id.as_slice().try_into().ok()?;
        let call = CallId { trace_id, client_span_id: state.client_span_id };
        let (side, half) = restore(state, dimensions, texts, numbered)?;
        let partners = if side == Side::Client { self.partners(call, side) } else { Vec::new() };
        (!partners.is_empty()).then_some((call, half, partners))
    }
}
