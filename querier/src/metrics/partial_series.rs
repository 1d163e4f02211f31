//! What was measured of some spans, by series: parts of an answer are merged before it is made.

use super::exemplars::Exemplars;
use crate::error::Error;
use crate::series::SeriesSet;

/// Numbers of series, and spans that stand for others.
#[derive(Debug, Clone)]
pub(crate) struct PartialSeries {
    pub set: SeriesSet,
    pub exemplars: Exemplars,
}

impl PartialSeries {
    /// Adds another part, whose first interval is that of this number here, and returns which number each of its series has here.
    pub fn merge(&mut self, other: Self, first_interval: usize) -> Result<Vec<u32>, Error> {
        let numbers = self.set.merge(other.set, first_interval)?;
        self.exemplars.merge(other.exemplars, &numbers, first_interval, self.set.len());
        Ok(numbers)
    }

    pub fn memory_bytes(&self) -> usize {
        self.set.memory_bytes() + self.exemplars.memory_bytes()
    }
}
