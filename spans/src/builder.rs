//! Rows that are still being added: OTLP requests in, a sorted [`SpanTable`] out at any time. The newest rows can be
//! taken back.

use arrow::array::ArrayRef;
use hashbrown::HashMap;

use crate::decode::{self, AnyValue, EventFields, LinkFields, Sink, SpanFields};
use crate::error::Error;
use crate::strings::Interner;
use crate::table::SpanTable;

mod columns;
mod finish;
mod truncate;

use columns::{Attributes, Binaries, Lists};

/// No text: the column is null.
const NO_TEXT: i32 = -1;

/// What a span takes in a table without its lists: as many bytes as its columns have, and its share of its trace.
const SPAN_BYTES: usize = 110;
/// What an attribute takes in a table: every type has a column, and a value is in one of them.
const ATTRIBUTE_BYTES: usize = 29;

/// Collects spans in order of arrival. [`snapshot`](Self::snapshot) gives the table of all that was added so far.
#[derive(Default)]
pub struct TableBuilder {
    strings: Interner,
    others: Binaries,
    spans: Spans,
    attributes: Attributes,
    attribute_lists: Lists,
    events: Events,
    links: Links,
    resources: Resources,
    scopes: Scopes,
}

/// A moment in a builder's life: the rows that were in it. Rows are only ever added behind others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    spans: usize,
    resources: usize,
    scopes: usize,
}

impl Mark {
    pub fn span_count(&self) -> usize {
        self.spans
    }
}

#[derive(Default)]
struct Spans {
    trace_id: Vec<[u8; 16]>,
    span_id: Vec<[u8; 8]>,
    parent_span_id: Vec<Option<[u8; 8]>>,
    start_nanos: Vec<u64>,
    end_nanos: Vec<u64>,
    name: Vec<i32>,
    kind: Vec<i32>,
    status_code: Vec<i32>,
    status_message: Vec<i32>,
    trace_state: Vec<i32>,
    flags: Vec<u32>,
    dropped_attributes_count: Vec<u32>,
    dropped_events_count: Vec<u32>,
    dropped_links_count: Vec<u32>,
    resource: Vec<u32>,
    scope: Vec<u32>,
}

#[derive(Default)]
struct Events {
    lists: Lists,
    time_nanos: Vec<u64>,
    name: Vec<i32>,
    dropped_attributes_count: Vec<u32>,
    attributes: Attributes,
    attribute_lists: Lists,
}

#[derive(Default)]
struct Links {
    lists: Lists,
    trace_id: Vec<i32>,
    span_id: Vec<i32>,
    trace_state: Vec<i32>,
    flags: Vec<u32>,
    dropped_attributes_count: Vec<u32>,
    attributes: Attributes,
    attribute_lists: Lists,
}

/// Distinct rows of a dimension, found again by the bytes that were sent.
#[derive(Default)]
struct Distinct {
    rows: HashMap<Vec<u8>, u32>,
    current: u32,
    /// Length of all keys of `rows`.
    key_bytes: usize,
}

impl Distinct {
    /// Makes the row of (`message`, `schema_url`) the current one; true when it is new and must be added.
    fn is_new(&mut self, message: &[u8], schema_url: &[u8]) -> bool {
        let key = [&(message.len() as u32).to_le_bytes(), message, schema_url].concat();
        let next = self.rows.len() as u32;
        let key_bytes = key.len();
        self.current = *self.rows.entry(key).or_insert(next);
        let is_new = self.current == next;
        if is_new {
            self.key_bytes += key_bytes;
        }
        is_new
    }
}

#[derive(Default)]
struct Resources {
    distinct: Distinct,
    attributes: Attributes,
    attribute_lists: Lists,
    dropped_attributes_count: Vec<u32>,
    schema_url: Vec<i32>,
    entity_refs: Vec<i32>,
}

#[derive(Default)]
struct Scopes {
    distinct: Distinct,
    name: Vec<i32>,
    version: Vec<i32>,
    attributes: Attributes,
    attribute_lists: Lists,
    dropped_attributes_count: Vec<u32>,
    schema_url: Vec<i32>,
}

impl TableBuilder {
    /// Adds every span of a serialized `ExportTraceServiceRequest`; returns how many.
    ///
    /// # Errors
    /// None for a request that passed [`decode::check`]; after an error none of its spans are in.
    pub fn append(&mut self, request: &[u8]) -> Result<usize, Error> {
        let before = self.mark();
        if let Err(error) = decode::walk(request, self) {
            self.truncate(&before);
            return Err(error);
        }
        Ok(self.span_count() - before.spans)
    }

    /// All that was added so far.
    pub fn mark(&self) -> Mark {
        Mark {
            spans: self.span_count(),
            resources: self.resources.schema_url.len(),
            scopes: self.scopes.schema_url.len(),
        }
    }

    /// Spans that were added, copies among them.
    pub fn span_count(&self) -> usize {
        self.spans.span_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.span_count() == 0
    }

    /// The memory that the rows take, as they are here or in their table, where attributes take more: in bytes, within
    /// about a fifth.
    pub fn memory_bytes(&self) -> usize {
        let dimensions = [&self.resources.attributes, &self.scopes.attributes];
        let attributes =
            [&self.attributes, &self.events.attributes, &self.links.attributes].into_iter().chain(dimensions);
        self.span_count() * SPAN_BYTES
            + [&self.resources.distinct, &self.scopes.distinct].map(|distinct| distinct.key_bytes).iter().sum::<usize>()
            + attributes.map(|list| list.len() * ATTRIBUTE_BYTES).sum::<usize>()
            + self.events.name.len() * 24
            + self.links.flags.len() * 28
            + self.strings.text_bytes() * 5 / 4
            + self.others.byte_count()
    }

    /// The table of all spans added so far, each once however often it was sent; the builder stays as it is.
    ///
    /// # Errors
    /// [`Error::Arrow`] when a column would not fit its type (2 GiB of text).
    pub fn snapshot(&self) -> Result<SpanTable, Error> {
        self.snapshot_at(&self.mark())
    }

    /// The table of the spans that were there at `mark`.
    ///
    /// # Errors
    /// Those of [`snapshot`](Self::snapshot).
    pub fn snapshot_at(&self, mark: &Mark) -> Result<SpanTable, Error> {
        finish::finish(self, mark)
    }

    /// All texts, shared by every dictionary column of the table.
    fn string_values(&self) -> ArrayRef {
        self.strings.values()
    }

    fn text_or_null(strings: &mut Interner, text: &[u8]) -> i32 {
        if text.is_empty() { NO_TEXT } else { strings.intern(text) }
    }
}

impl Sink for TableBuilder {
    const TAKES_UNUSED: bool = false;

    fn resource(&mut self, message: &[u8], schema_url: &[u8]) -> Result<(), Error> {
        if !self.resources.distinct.is_new(message, schema_url) {
            return Ok(());
        }
        let Self { strings, others, resources, .. } = self;
        let fields =
            decode::walk_resource(message, |key, value| resources.attributes.push(strings, others, key, value))?;
        resources.attribute_lists.close(resources.attributes.len());
        resources.dropped_attributes_count.push(fields.dropped_attributes_count);
        resources.schema_url.push(Self::text_or_null(strings, schema_url));
        resources.entity_refs.push(if fields.entity_refs.is_empty() {
            NO_TEXT
        } else {
            others.push(&fields.entity_refs)
        });
        Ok(())
    }

    fn scope(&mut self, message: &[u8], schema_url: &[u8]) -> Result<(), Error> {
        if !self.scopes.distinct.is_new(message, schema_url) {
            return Ok(());
        }
        let Self { strings, others, scopes, .. } = self;
        let fields = decode::walk_scope(message, |key, value| scopes.attributes.push(strings, others, key, value))?;
        scopes.attribute_lists.close(scopes.attributes.len());
        scopes.name.push(Self::text_or_null(strings, fields.name));
        scopes.version.push(Self::text_or_null(strings, fields.version));
        scopes.dropped_attributes_count.push(fields.dropped_attributes_count);
        scopes.schema_url.push(Self::text_or_null(strings, schema_url));
        Ok(())
    }

    #[inline]
    fn span_attribute(&mut self, key: &[u8], value: AnyValue<'_>) {
        self.attributes.push(&mut self.strings, &mut self.others, key, value);
    }

    fn event_attribute(&mut self, key: &[u8], value: AnyValue<'_>) {
        self.events.attributes.push(&mut self.strings, &mut self.others, key, value);
    }

    fn event(&mut self, event: &EventFields<'_>) {
        let events = &mut self.events;
        events.time_nanos.push(event.time_nanos);
        events.name.push(self.strings.intern(event.name));
        events.dropped_attributes_count.push(event.dropped_attributes_count);
        events.attribute_lists.close(events.attributes.len());
    }

    fn link_attribute(&mut self, key: &[u8], value: AnyValue<'_>) {
        self.links.attributes.push(&mut self.strings, &mut self.others, key, value);
    }

    fn link(&mut self, link: &LinkFields<'_>) {
        let links = &mut self.links;
        links.trace_id.push(self.others.push(link.trace_id));
        links.span_id.push(self.others.push(link.span_id));
        links.trace_state.push(Self::text_or_null(&mut self.strings, link.trace_state));
        links.flags.push(link.flags);
        links.dropped_attributes_count.push(link.dropped_attributes_count);
        links.attribute_lists.close(links.attributes.len());
    }

    fn span(&mut self, span: &SpanFields<'_>) {
        let Self { strings, spans, .. } = self;
        spans.trace_id.push(fixed(span.trace_id));
        spans.span_id.push(fixed(span.span_id));
        // an id of zeros is none
        let parent_span_id = (!span.parent_span_id.is_empty()).then(|| fixed(span.parent_span_id));
        spans.parent_span_id.push(parent_span_id.filter(|id| *id != [0; 8]));
        spans.start_nanos.push(span.start_nanos);
        spans.end_nanos.push(span.end_nanos);
        spans.name.push(strings.intern(span.name));
        spans.kind.push(span.kind);
        spans.status_code.push(span.status_code);
        spans.status_message.push(Self::text_or_null(strings, span.status_message));
        spans.trace_state.push(Self::text_or_null(strings, span.trace_state));
        spans.flags.push(span.flags);
        spans.dropped_attributes_count.push(span.dropped_attributes_count);
        spans.dropped_events_count.push(span.dropped_events_count);
        spans.dropped_links_count.push(span.dropped_links_count);
        spans.resource.push(self.resources.distinct.current);
        spans.scope.push(self.scopes.distinct.current);
        self.attribute_lists.close(self.attributes.len());
        self.events.lists.close(self.events.name.len());
        self.links.lists.close(self.links.flags.len());
    }
}

/// The bytes of an id whose length the walk has checked.
fn fixed<const N: usize>(id: &[u8]) -> [u8; N] {
    let mut fixed = [0; N];
    fixed.copy_from_slice(id);
    fixed
}
