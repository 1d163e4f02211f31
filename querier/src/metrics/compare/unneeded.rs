//! What need not be looked at in the spans that are measured next, because of those that were: it would not be in the answer.
//! Nothing here changes an answer.

use std::sync::Mutex;

use hashbrown::HashSet;
use traceql::Field;

use super::super::exemplars::Exemplars;
use super::partial::Side;
use crate::lock::locked;

/// Known to all threads that measure for one query.
#[derive(Debug, Default)]
pub(super) struct Unneeded {
    /// Fields with too many values.
    values: Mutex<HashSet<Field>>,
    /// The best candidates so far, by side.
    exemplars: Mutex<Option<Exemplars>>,
}

impl Unneeded {
    pub fn are_values_of(&self, field: &Field) -> bool {
        locked(&self.values).contains(field)
    }

    /// Notes that a field has too many values.
    pub fn note_values_of(&self, field: &Field) {
        if !self.are_values_of(field) {
            locked(&self.values).insert(field.clone());
        }
    }

    /// Leaves the candidates that are among the best so far, before it is looked up what they show.
    pub fn leave_needed(&self, exemplars: &mut Exemplars) {
        let mut best = locked(&self.exemplars);
        let best = best.get_or_insert_with(|| Exemplars::new(exemplars.limit()));
        best.merge(exemplars.clone(), &[0, 1], 0, Side::BOTH.len());
        exemplars.leave_only_those_of(best, &[0, 1], 0);
    }
}
