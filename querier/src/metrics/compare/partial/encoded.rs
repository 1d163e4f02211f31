//! Comparisons as they are sent.

use hashbrown::HashMap;
use model::Scope;
use traceql::Field;

use super::super::INTRINSICS;
use super::{PartialComparison, PartialField, Side, SlotCounts};
use crate::error::Error;
use crate::eval::Key;
use crate::intervals::Intervals;
use crate::jobs::{message, unreadable};
use crate::metrics::exemplars::Exemplars;
use crate::metrics::limits::Limits;

impl PartialComparison {
    pub(in crate::metrics) fn into_message(self) -> message::PartialComparison {
        let (fields, exemplars) = self.into_parts();
        let fields = fields.into_iter().filter_map(|(field, of_field)| {
            let (scope, name) = match field {
                Field::Attribute { scope: Some(scope), name } => (scope.name().to_owned(), name),
                Field::Intrinsic(_) => (String::new(), field.to_string()),
                _ => return None, // none of those is compared
            };
            let value = |(key, counts): (Key, SlotCounts)| message::ComparedValue {
                key: Some(Some(key).into()),
                counts: Some(counts.into_message()),
            };
            Some(message::ComparedField {
                scope,
                name,
                totals: Some(of_field.totals.into_message()),
                has_too_many_values: of_field.values.is_none(),
                values: of_field.values.into_iter().flatten().map(value).collect(),
            })
        });
        message::PartialComparison { fields: fields.collect(), exemplars: exemplars.into_message() }
    }

    /// The inverse of [`into_message`](Self::into_message).
    ///
    /// # Errors
    /// [`Error::TooManySamples`] when it has more than may be held, [`Error::Damaged`] when it is none of these.
    pub(in crate::metrics) fn of_message(
        comparison: message::PartialComparison,
        intervals: &Intervals,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let mut partial = Self::new(intervals, limits);
        let (sides, slots) = (Side::BOTH.len(), 2 * intervals.count());
        partial.exemplars =
            Exemplars::of_message(comparison.exemplars, limits.max_exemplars, sides, intervals.count())?;
        for of_field in comparison.fields {
            let field = match of_field.scope.as_str() {
                "" => INTRINSICS.map(Field::Intrinsic).into_iter().find(|field| field.to_string() == of_field.name),
                scope => Scope::from_name(scope).map(|scope| Field::attribute(scope, of_field.name.clone())),
            };
            let counts = |counts: Option<message::SlotCounts>| SlotCounts::of_message(counts, slots);
            let value = |value: message::ComparedValue| {
                let key = value.key.ok_or_else(unreadable)?.key()?.ok_or_else(unreadable)?;
                Ok((key, counts(value.counts)?))
            };
            let values: HashMap<Key, SlotCounts> =
                of_field.values.into_iter().map(value).collect::<Result<_, Error>>()?;
            let values = (!of_field.has_too_many_values).then_some(values);
            partial.add(field.ok_or_else(unreadable)?, PartialField { totals: counts(of_field.totals)?, values })?;
        }
        Ok(partial)
    }
}

impl SlotCounts {
    fn into_message(self) -> message::SlotCounts {
        let (slots, spans) = self.0.into_iter().rev().unzip();
        message::SlotCounts { slots, spans }
    }

    fn of_message(counts: Option<message::SlotCounts>, slots: usize) -> Result<Self, Error> {
        let counts = counts.ok_or_else(unreadable)?;
        let is_ascending = counts.slots.is_sorted_by(|one, next| one < next);
        let is_whole = counts.slots.len() == counts.spans.len() && is_ascending;
        if !is_whole || counts.slots.last().is_some_and(|slot| *slot as usize >= slots) {
            return Err(unreadable());
        }
        Ok(Self::ascending(counts.slots.into_iter().zip(counts.spans)))
    }
}
