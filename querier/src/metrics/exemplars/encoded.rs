//! Candidates as they are sent.

use model::BlockId;
use storage::source::TraceAt;
use uuid::Uuid;

use super::{Candidate, Exemplars, TraceInBlock};
use crate::error::Error;
use crate::jobs::{attributes, message, named, trace_id, unreadable};

impl Exemplars {
    pub(in crate::metrics) fn into_message(self) -> Vec<message::Candidates> {
        let candidate = |candidate: Candidate| message::Candidate {
            trace_id: candidate.trace_id.0.to_vec(),
            start_nanos: candidate.start_nanos,
            interval: candidate.interval,
            value: candidate.value,
            labels: named(candidate.labels),
            unread: candidate.unread.map(TraceInBlock::into_message),
        };
        let series = |candidates: Vec<Candidate>| message::Candidates {
            candidates: candidates.into_iter().map(candidate).collect(),
        };
        self.by_series.into_iter().map(series).collect()
    }

    /// The inverse of [`into_message`](Self::into_message), for so many series in so many intervals.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it is none of these.
    pub(in crate::metrics) fn of_message(
        by_series: Vec<message::Candidates>,
        limit: usize,
        series: usize,
        intervals: usize,
    ) -> Result<Self, Error> {
        if by_series.len() > series {
            return Err(unreadable());
        }
        let candidate = |candidate: message::Candidate| {
            let trace_id = trace_id(&candidate.trace_id)?;
            if candidate.interval as usize >= intervals {
                return Err(unreadable());
            }
            Ok(Candidate {
                trace_id,
                drawn: trace_id.draw(),
                start_nanos: candidate.start_nanos,
                interval: candidate.interval,
                value: candidate.value,
                row: 0,
                labels: attributes(candidate.labels)?,
                unread: candidate.unread.map(TraceInBlock::of_message).transpose()?,
            })
        };
        let of_series =
            |of: message::Candidates| of.candidates.into_iter().map(candidate).collect::<Result<_, Error>>();
        Ok(Self { limit, by_series: by_series.into_iter().map(of_series).collect::<Result<_, Error>>()? })
    }
}

impl TraceInBlock {
    fn into_message(self) -> message::TraceInBlock {
        let TraceAt { group, trace } = self.at;
        // a block has at most so many row groups, and a row group so many traces
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        message::TraceInBlock {
            block_id: self.block_id.0.as_bytes().to_vec(),
            group: number(group),
            trace: number(trace),
        }
    }

    fn of_message(message: message::TraceInBlock) -> Result<Self, Error> {
        let block_id = Uuid::from_slice(&message.block_id).map_err(|_| unreadable())?;
        let at = TraceAt { group: message.group as usize, trace: message.trace as usize };
        Ok(Self { block_id: BlockId(block_id), at })
    }
}
