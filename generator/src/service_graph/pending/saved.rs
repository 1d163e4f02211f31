//! Halves that wait, in a checkpoint.

use super::super::half::SpanAt;
use super::{CallId, Deadline, Half, Pending, Side, Waiting};
use crate::interner::{Interner, TextId};
use crate::state::{HalfState, Numbered, Numbering};

impl Pending {
    /// All that wait, in the order in which they began to.
    pub(in crate::service_graph) fn save(
        &self,
        dimensions: usize,
        texts: &Interner,
        numbering: &mut Numbering,
    ) -> Vec<HalfState> {
        let waiting = self.deadlines.iter().filter_map(|deadline| Some((deadline, self.waiting(deadline)?)));
        let save = |(deadline, waiting): (&Deadline, &Waiting)| HalfState {
            deadline_millis: deadline.at_millis,
            ..save(deadline.call, waiting, dimensions, texts, numbering)
        };
        waiting.map(save).collect()
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
        texts: &mut Interner,
        numbered: &Numbered,
        shift_millis: i64,
    ) {
        for state in saved {
            let deadline_millis = state.deadline_millis.saturating_add(shift_millis);
            let (client_span_id, was_paired) = (state.client_span_id, state.was_paired);
            let Ok(trace_id) = state.trace_id.as_slice().try_into() else { continue };
            if let Some((side, half)) = restore(state, dimensions, texts, numbered) {
                let began_millis = deadline_millis.saturating_sub(self.wait_millis);
                self.insert(CallId { trace_id, client_span_id }, side, half, was_paired, began_millis);
            }
        }
    }
}

/// Without the end of its waiting.
pub(super) fn save(
    call: CallId,
    waiting: &Waiting,
    dimensions: usize,
    texts: &Interner,
    numbering: &mut Numbering,
) -> HalfState {
    let half = &waiting.half;
    let mut text_or_none = |text: Option<TextId>| numbering.text_or_none(text.map(|text| texts.get(text)));
    let (peer, database) = (text_or_none(half.peer), text_or_none(half.database));
    let values = (0..dimensions).map(|place| text_or_none(texts.of_list(half.dimensions, place))).collect();
    HalfState {
        trace_id: call.trace_id.to_vec(),
        client_span_id: call.client_span_id,
        kind: half.kind,
        service: numbering.text(texts.get(half.service)),
        seconds: half.seconds,
        handover_nanos: half.handover_nanos,
        failed: half.failed,
        weight: half.weight,
        peer,
        database,
        dimensions: values,
        was_paired: waiting.was_paired,
        deadline_millis: 0,
    }
}

pub(super) fn restore(
    state: HalfState,
    dimensions: usize,
    texts: &mut Interner,
    numbered: &Numbered,
) -> Option<(Side, Half)> {
    let mut text_or_none = |number| numbered.text_or_none(number).map(|text| texts.shared(&text));
    let (peer, database) = (text_or_none(state.peer), text_or_none(state.database));
    let values: Vec<_> = state.dimensions.iter().take(dimensions).map(|number| text_or_none(*number)).collect();
    let half = Half {
        kind: state.kind,
        failed: state.failed,
        service: texts.shared(&numbered.text(state.service)?),
        peer,
        database,
        dimensions: texts.list(&values),
        seconds: state.seconds,
        handover_nanos: state.handover_nanos,
        weight: state.weight,
        // asked for only where all halves of a trace are in one table
        span: SpanAt::default(),
    };
    Some((Side::of(half.kind)?, half))
}
