//! What the log holds behind the position of whoever counts spans: tables of its own, whether or not blocks have the spans.

use std::collections::HashMap;

use model::TenantId;
use spans::TableBuilder;
use storage::wal::Position;

use crate::feed::Feed;
use crate::live::LiveSpans;

/// Tables are handed on when one has so many spans …
const TABLE_SPANS: usize = 16_384;
/// … or all together take so much memory.
const TABLES_BYTES: usize = 24 << 20;

/// Gathers the entries of a replay for a feed; without one it does nothing.
pub(super) struct Recount<'f> {
    feed: Option<&'f Feed>,
    tables: HashMap<TenantId, TableBuilder>,
}

impl<'f> Recount<'f> {
    pub(super) fn new(feed: Option<&'f Feed>) -> Self {
        Self { feed, tables: HashMap::new() }
    }

    /// Takes the entry that ends at `position`. One that cannot be read is told of by whoever makes live rows of it.
    pub(super) fn add(&mut self, position: Option<Position>, tenant: &TenantId, payload: &[u8]) {
        let Some(feed) = self.feed else { return };
        if position.is_none_or(|position| position <= feed.counted) || spans::check(payload).is_err() {
            return;
        }
        let table = self.tables.entry(tenant.clone()).or_default();
        if let Err(error) = table.append(payload) {
            tracing::error!(%tenant, %error, "spans of the log could not be put into a table, metrics leave them out");
        }
        let is_full = table.span_count() >= TABLE_SPANS;
        if is_full || self.tables.values().map(TableBuilder::memory_bytes).sum::<usize>() >= TABLES_BYTES {
            self.send();
        }
    }

    /// The log has been read to its end.
    pub(super) fn finish(mut self) {
        self.send();
        if let Some(feed) = self.feed {
            feed.caught_up();
        }
    }

    fn send(&mut self) {
        if let Some(feed) = self.feed {
            let tables = self.tables.drain().filter(|(_, rows)| !rows.is_empty());
            feed.send(tables.map(|(tenant, rows)| LiveSpans::replayed(tenant, rows)).collect());
        }
    }
}
