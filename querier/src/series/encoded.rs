//! Series as they are sent.

use super::{Fold, SeriesKey, SeriesSet};
use crate::error::Error;
use crate::jobs::message;
use crate::jobs::unreadable;

impl SeriesSet {
    /// Without exemplars.
    pub(crate) fn into_message(self) -> message::PartialSeries {
        let key = |key: SeriesKey| message::SeriesKey {
            labels: key.labels.into_iter().map(message::Key::from).collect(),
            bucket: key.bucket.map(u32::from),
        };
        message::PartialSeries {
            intervals: self.intervals as u64,
            held_start: self.held.start as u64,
            held_end: self.held.end as u64,
            keys: self.keys.into_iter().map(key).collect(),
            cells: self.cells,
            counts: self.counts,
            exemplars: Vec::new(),
        }
    }

    /// The inverse of [`into_message`](Self::into_message), for numbers of this fold in so many intervals.
    ///
    /// # Errors
    /// [`Error::TooManySamples`] when it has more than may be held, [`Error::Damaged`] when it is none of these.
    pub(crate) fn of_message(
        series: message::PartialSeries,
        fold: Fold,
        most_intervals: usize,
        max_cells: usize,
    ) -> Result<Self, Error> {
        let number = |number: u64| usize::try_from(number).map_err(|_| unreadable());
        let (intervals, held) = (number(series.intervals)?, number(series.held_start)?..number(series.held_end)?);
        let cells = series.keys.len().saturating_mul(held.len());
        let counts = if fold == Fold::Average { cells } else { 0 };
        let is_whole = held.start <= held.end
            && held.end <= intervals
            && intervals <= most_intervals
            && (series.cells.len(), series.counts.len()) == (cells, counts);
        if !is_whole {
            return Err(unreadable());
        }
        let key = |key: message::SeriesKey| {
            Ok(SeriesKey {
                labels: key.labels.into_iter().map(message::Key::key).collect::<Result<_, Error>>()?,
                bucket: key.bucket.map(u8::try_from).transpose().map_err(|_| unreadable())?,
            })
        };
        let mut set = Self::within(fold, intervals, held, max_cells);
        set.check_room(series.keys.len())?;
        set.keys = series.keys.into_iter().map(key).collect::<Result<_, Error>>()?;
        (set.cells, set.counts) = (series.cells, series.counts);
        Ok(set)
    }
}
