//! Halves that wait, in a checkpoint.

use super::super::half::SpanAt;
use super::{CallId, Deadline, Half, Pending, Side, Waiting};
use crate::checkpoint::{HalfState, Numbered, Numbering};

impl Pending {
    /// All that wait, in the order in which they began to.
    pub(in crate::service_graph) fn save(&self, numbering: &mut Numbering) -> Vec<HalfState> {
        let waiting = self.deadlines.iter().filter_map(|deadline| Some((deadline, self.waiting(deadline)?)));
        waiting.map(|(deadline, waiting)| save(deadline, waiting, numbering)).collect()
    }

    fn waiting(&self, deadline: &Deadline) -> Option<&Waiting> {
        let is_meant = |waiting: &&Waiting| waiting.number == deadline.number;
        match deadline.side {
            Side::Client => self.clients.get(&deadline.call).filter(is_meant),
            Side::Server => self.servers.get(&deadline.call)?.iter().find(is_meant),
        }
    }

    /// Has halves wait again, for `shift_millis` longer. Values of dimensions are kept if they are as many as there are
    /// dimensions now.
    pub(in crate::service_graph) fn restore(
        &mut self,
        saved: Vec<HalfState>,
        dimensions: usize,
        numbered: &Numbered,
        shift_millis: i64,
    ) {
        for state in saved {
            let deadline_millis = state.deadline_millis.saturating_add(shift_millis);
            let (client_span_id, was_paired) = (state.client_span_id, state.was_paired);
            let Ok(trace_id) = state.trace_id.as_slice().try_into() else { continue };
            if let Some((side, half)) = restore(state, dimensions, numbered) {
                let began_millis = deadline_millis.saturating_sub(self.wait_millis);
                self.insert(CallId { trace_id, client_span_id }, side, half, was_paired, began_millis);
            }
        }
    }
}

fn save(deadline: &Deadline, waiting: &Waiting, numbering: &mut Numbering) -> HalfState {
    let half = &waiting.half;
    HalfState {
        trace_id: deadline.call.trace_id.to_vec(),
        client_span_id: deadline.call.client_span_id,
        kind: half.kind,
        service: numbering.text(&half.service),
        seconds: half.seconds,
        handover_nanos: half.handover_nanos,
        failed: half.failed,
        weight: half.weight,
        peer: numbering.text_or_none(half.peer.as_ref()),
        database: numbering.text_or_none(half.database.as_ref()),
        dimensions: half.dimensions.iter().map(|value| numbering.text_or_none(value.as_ref())).collect(),
        was_paired: waiting.was_paired,
        deadline_millis: deadline.at_millis,
    }
}

fn restore(state: HalfState, dimensions: usize, numbered: &Numbered) -> Option<(Side, Half)> {
    let values = state.dimensions.iter().map(|number| numbered.text_or_none(*number));
    let half = Half {
        kind: state.kind,
        service: numbered.text(state.service)?,
        seconds: state.seconds,
        handover_nanos: state.handover_nanos,
        failed: state.failed,
        weight: state.weight,
        peer: numbered.text_or_none(state.peer),
        database: numbered.text_or_none(state.database),
        dimensions: values.chain(std::iter::repeat(None)).take(dimensions).collect(),
        // asked for only where all halves of a trace are in one table
        span: SpanAt::default(),
    };
    Some((Side::of(half.kind)?, half))
}
