//! Taking back the newest rows of a builder.

use super::columns::{Attributes, Lists};
use super::{Distinct, Events, Links, Mark, Resources, Scopes, Spans, TableBuilder};

impl TableBuilder {
    /// Takes back all rows that were added after `mark`. The memory of their texts is kept.
    pub fn truncate(&mut self, mark: &Mark) {
        let Self { strings: _, others: _, spans, attributes, attribute_lists, events, links, resources, scopes } = self;
        spans.truncate(mark.spans);
        truncate_lists(attribute_lists, attributes, mark.spans);
        events.truncate(mark.spans);
        links.truncate(mark.spans);
        resources.truncate(mark.resources);
        scopes.truncate(mark.scopes);
    }
}

fn truncate_lists(lists: &mut Lists, attributes: &mut Attributes, len: usize) {
    lists.truncate(len);
    attributes.truncate(lists.item_count(len));
}

impl Spans {
    fn truncate(&mut self, len: usize) {
        self.trace_id.truncate(len);
        self.span_id.truncate(len);
        self.parent_span_id.truncate(len);
        self.start_nanos.truncate(len);
        self.end_nanos.truncate(len);
        for texts in [&mut self.name, &mut self.status_message, &mut self.trace_state] {
            texts.truncate(len);
        }
        for numbers in [&mut self.kind, &mut self.status_code] {
            numbers.truncate(len);
        }
        for counts in [
            &mut self.flags,
            &mut self.dropped_attributes_count,
            &mut self.dropped_events_count,
            &mut self.dropped_links_count,
            &mut self.resource,
            &mut self.scope,
        ] {
            counts.truncate(len);
        }
    }
}

impl Events {
    fn truncate(&mut self, spans: usize) {
        self.lists.truncate(spans);
        let len = self.lists.item_count(spans);
        self.time_nanos.truncate(len);
        self.name.truncate(len);
        self.dropped_attributes_count.truncate(len);
        truncate_lists(&mut self.attribute_lists, &mut self.attributes, len);
    }
}

impl Links {
    fn truncate(&mut self, spans: usize) {
        self.lists.truncate(spans);
        let len = self.lists.item_count(spans);
        for numbers in [&mut self.trace_id, &mut self.span_id, &mut self.trace_state] {
            numbers.truncate(len);
        }
        self.flags.truncate(len);
        self.dropped_attributes_count.truncate(len);
        truncate_lists(&mut self.attribute_lists, &mut self.attributes, len);
    }
}

impl Distinct {
    fn truncate(&mut self, len: usize) {
        let key_bytes = &mut self.key_bytes;
        self.rows.retain(|key, row| {
            let stays = (*row as usize) < len;
            *key_bytes -= if stays { 0 } else { key.len() };
            stays
        });
    }
}

impl Resources {
    fn truncate(&mut self, len: usize) {
        self.distinct.truncate(len);
        truncate_lists(&mut self.attribute_lists, &mut self.attributes, len);
        self.dropped_attributes_count.truncate(len);
        self.schema_url.truncate(len);
        self.entity_refs.truncate(len);
    }
}

impl Scopes {
    fn truncate(&mut self, len: usize) {
        self.distinct.truncate(len);
        truncate_lists(&mut self.attribute_lists, &mut self.attributes, len);
        self.name.truncate(len);
        self.version.truncate(len);
        self.dropped_attributes_count.truncate(len);
        self.schema_url.truncate(len);
    }
}
