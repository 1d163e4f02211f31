//! Halves that wait, as other processes ask for them.

use super::saved::{restore, save};
use super::{CallId, Half, Pending, Side, Waiting};
use crate::interner::Interner;
use crate::names::PRODUCER;
use crate::state::{HalfState, Numbered, Numbering};

impl Pending {
    /// A checkpoint is made of all that waits.
    pub(in crate::service_graph) fn saving(&mut self) {
        self.unstored.saving();
    }

    pub(in crate::service_graph) fn has_unstored(&self) -> bool {
        self.unstored.is_new()
    }

    /// The last checkpoint that was made is stored.
    pub(in crate::service_graph) fn stored(&mut self) {
        self.unstored.stored();
    }

    /// The calls whose server half waits for its client half.
    pub(in crate::service_graph) fn unanswered(&self) -> impl Iterator<Item = CallId> {
        self.servers.keys().copied()
    }

    /// The client half of a call that another process has the server half of. Once asked for, it is counted here no more, and
    /// waits until it is heard that it was counted there. It is handed out when that is stored: after a crash it would
    /// otherwise be counted in both places.
    pub(in crate::service_graph) fn hand_out(
        &mut self,
        call: CallId,
        dimensions: usize,
        texts: &Interner,
        numbering: &mut Numbering,
    ) -> Option<HalfState> {
        let waiting = self.clients.get_mut(&call)?;
        if !waiting.was_paired {
            waiting.was_paired = self.unstored.add(call);
            return None;
        }
        (!self.unstored.has(&call)).then(|| save(call, waiting, dimensions, texts, numbering))
    }

    /// A call was counted elsewhere. A message may have more receivers. Returns whether nothing will wait for it after a crash
    /// either.
    pub(in crate::service_graph) fn counted_elsewhere(&mut self, call: CallId) -> bool {
        let is_done = |waiting: &Waiting| waiting.half.kind != PRODUCER;
        if self.clients.get(&call).is_some_and(is_done) {
            if !self.unstored.add(call) {
                return false;
            }
            self.clients.remove(&call);
            self.gone(1);
        }
        !self.unstored.has(&call)
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
