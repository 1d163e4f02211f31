//! Since when blocks and trace maps have been without a name. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Item, MAX_GAP};

/// What of a tenant no manifest names, each item with the time since when every look has found it so.
#[derive(Debug, Default)]
pub(super) struct Watch {
    last_look: Option<Instant>,
    since: BTreeMap<Item, Instant>,
}

impl Watch {
    /// Takes over what a look at the store has found. After a gap between looks, time counts anew.
    pub(super) fn look(&mut self, unnamed: impl IntoIterator<Item = Item>, now: Instant) {
        let has_gap = self.last_look.is_none_or(|last| now.saturating_duration_since(last) > MAX_GAP);
        let before = if has_gap { BTreeMap::new() } else { std::mem::take(&mut self.since) };
        self.since = unnamed.into_iter().map(|item| (item, before.get(&item).copied().unwrap_or(now))).collect();
        self.last_look = Some(now);
    }

    /// What has been without a name for `grace`.
    pub(super) fn due(&self, grace: Duration, now: Instant) -> Vec<Item> {
        let is_due = |since: &Instant| now.saturating_duration_since(*since) >= grace;
        self.since.iter().filter(|(_, since)| is_due(since)).map(|(item, _)| *item).collect()
    }
}

#[cfg(test)]
mod tests {
    use model::BlockId;

    use super::*;
    use crate::ids::TraceMapId;

    const GRACE: Duration = Duration::from_secs(3600);

    /// Looks every five minutes from `from` to `to`, in minutes; returns what is due then.
    fn watch(watch: &mut Watch, start: Instant, from: u64, to: u64, unnamed: &[Item]) -> Vec<Item> {
        let at = |minute: u64| start + Duration::from_secs(60 * minute);
        (from..=to).step_by(5).for_each(|minute| watch.look(unnamed.iter().copied(), at(minute)));
        watch.due(GRACE, at(to))
    }

    #[test]
    fn an_item_is_due_when_it_had_no_name_for_the_grace_period() {
        let (mut of_tenant, start, id) = (Watch::default(), Instant::now(), Item::Block(BlockId::generate()));
        assert_eq!(watch(&mut of_tenant, start, 0, 55, &[id]), []);
        assert_eq!(watch(&mut of_tenant, start, 60, 60, &[id]), [id]);
        assert_eq!(watch(&mut of_tenant, start, 65, 65, &[]), [], "it is gone, or has a name");
        assert_eq!(watch(&mut of_tenant, start, 70, 125, &[id]), [], "time counts anew");
        assert_eq!(watch(&mut of_tenant, start, 130, 130, &[id]), [id]);
    }

    #[test]
    fn what_was_not_watched_does_not_count() {
        let (mut of_tenant, start, id) = (Watch::default(), Instant::now(), Item::TraceMap(TraceMapId::generate()));
        assert_eq!(watch(&mut of_tenant, start, 0, 10, &[id]), []);
        assert_eq!(watch(&mut of_tenant, start, 60, 115, &[id]), []);
        assert_eq!(watch(&mut of_tenant, start, 120, 120, &[id]), [id]);
    }
}
