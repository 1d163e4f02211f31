//! Service level objectives: how soon, or how fast, questions are to be answered. A question counts as within its objective
//! under Tempo's rules, so that its dashboards and alerts mean the same.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::telemetry::Operation;

/// What answers are measured by; either is enough. Without both every answer is within.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Objective {
    /// Answered sooner; 0 for none.
    pub duration: Duration,
    /// Bytes looked at in a second, at least; 0 for none.
    pub bytes_per_second: u64,
}

/// One for each kind of question.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Objectives {
    pub traces: Objective,
    pub search: Objective,
    pub metadata: Objective,
    pub metrics: Objective,
}

impl Objectives {
    pub(crate) fn of(&self, operation: Operation) -> Objective {
        match operation {
            // Tempo does not measure by bytes here
            Operation::Traces => Objective { bytes_per_second: 0, ..self.traces },
            Operation::Search => self.search,
            Operation::Metadata => self.metadata,
            Operation::Metrics | Operation::ServiceGraph => self.metrics,
        }
    }
}

/// How a question ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Answered,
    /// The client asked for something wrong, or for too much.
    Refused,
    Failed,
    /// Nobody waits for it any more.
    Canceled,
}

impl Ending {
    pub fn of<T>(answer: &Result<T, Error>) -> Self {
        use model::ErrorKind::{InvalidInput, LimitExceeded, NotFound};
        match answer.as_ref().map_err(Error::kind) {
            Ok(_) => Self::Answered,
            Err(InvalidInput | LimitExceeded | NotFound) => Self::Refused,
            Err(_) => Self::Failed,
        }
    }
}

impl Objective {
    /// Whether a question that ended so is within it.
    pub(crate) fn is_met(&self, ending: Ending, took: Duration, bytes: u64) -> bool {
        match ending {
            Ending::Refused | Ending::Canceled => true,
            Ending::Failed => false,
            Ending::Answered => self.is_met_by_answer(took, bytes),
        }
    }

    fn is_met_by_answer(&self, took: Duration, bytes: u64) -> bool {
        let (has_duration, has_rate) = (!self.duration.is_zero(), self.bytes_per_second > 0);
        let is_soon = has_duration && took < self.duration;
        let is_fast = has_rate && bytes as f64 >= self.bytes_per_second as f64 * took.as_secs_f64();
        is_soon || is_fast || !(has_duration || has_rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_within_when_it_is_soon_or_fast() {
        let second = Duration::from_secs(1);
        let soon = Objective { duration: second, ..Objective::default() };
        let fast = Objective { bytes_per_second: 100, ..Objective::default() };
        let both = Objective { duration: second, ..fast };
        let met = |objective: Objective, seconds, bytes| {
            objective.is_met(Ending::Answered, Duration::from_secs(seconds), bytes)
        };
        assert!(met(Objective::default(), 99, 0), "nothing is asked for");
        assert!(met(soon, 0, 0) && !met(soon, 1, 1_000));
        assert!(met(fast, 2, 200) && !met(fast, 2, 199));
        assert!(met(both, 2, 200) && met(both, 0, 0) && !met(both, 2, 199));
        assert!(both.is_met(Ending::Refused, 9 * second, 0) && both.is_met(Ending::Canceled, 9 * second, 0));
        assert!(!Objective::default().is_met(Ending::Failed, second, 0));
    }
}
