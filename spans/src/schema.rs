//! The columns of the span table: names, types and meaning. One shape in memory and, with attributes promoted to
//! columns of their own, at rest.
//!
//! A table is a star. `spans` holds one row a span and refers to three small dimensions by row number:
//!
//! ```text
//! spans ──trace────▶ traces      one row per trace:    id, time, root, first span row, span and error counts
//!       ──resource─▶ resources   one row per distinct resource
//!       ──scope────▶ scopes      one row per distinct instrumentation scope
//! ```
//!
//! Rows of `traces` come newest first, by the start of the trace and then by its id: what a query for some minutes, or for
//! the newest of many, reads stands together. Readers gain from that order and do not rely on it. The spans of a trace are
//! one run of rows, in the order of `traces`, parents before children: first each root with its descendants, depth first,
//! then what no root leads to. Siblings keep their order of arrival.
//!
//! Values that a client did not send are null where the column is nullable, else the protobuf default (0).

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use model::Scope;

/// Names of the columns of `spans`.
pub mod column {
    /// u32: row of the trace in `traces`.
    pub const TRACE: &str = "trace";
    /// 8 bytes.
    pub const SPAN_ID: &str = "span_id";
    /// u32: how many rows above this one the parent stands; null when the parent is not in the table.
    pub const PARENT_OFFSET: &str = "parent_offset";
    /// 8 bytes: the parent's id, only where the parent is not in the table (null for roots).
    pub const PARENT_SPAN_ID: &str = "parent_span_id";
    /// i64 nanoseconds after the start of the trace (wrapping difference of the u64 that were sent).
    pub const START_OFFSET_NANOS: &str = "start_offset_nanos";
    /// i64 nanoseconds: end - start (wrapping); negative when the span ends before it starts.
    pub const DURATION_NANOS: &str = "duration_nanos";
    /// text.
    pub const NAME: &str = "name";
    /// i32: OTLP's number of the span kind.
    pub const KIND: &str = "kind";
    /// i32: OTLP's number of the status code.
    pub const STATUS_CODE: &str = "status_code";
    /// text or null (empty).
    pub const STATUS_MESSAGE: &str = "status_message";
    /// text or null (empty).
    pub const TRACE_STATE: &str = "trace_state";
    /// u32.
    pub const FLAGS: &str = "flags";
    pub const DROPPED_ATTRIBUTES_COUNT: &str = "dropped_attributes_count";
    pub const DROPPED_EVENTS_COUNT: &str = "dropped_events_count";
    pub const DROPPED_LINKS_COUNT: &str = "dropped_links_count";
    /// u32: row in `resources`.
    pub const RESOURCE: &str = "resource";
    /// u32: row in `scopes`.
    pub const SCOPE: &str = "scope";
    /// list of [`super::attribute_fields`]: the attributes without a column of their own.
    pub const ATTRIBUTES: &str = "attributes";
    /// list of [`super::event_fields`].
    pub const EVENTS: &str = "events";
    /// list of [`super::link_fields`].
    pub const LINKS: &str = "links";
}

/// Names of the columns of `resources` and `scopes` beyond `attributes` and `dropped_attributes_count`.
pub mod dimension {
    /// text or null (empty).
    pub const SCHEMA_URL: &str = "schema_url";
    /// bytes or null: the `entity_refs` of a resource, as protobuf fields.
    pub const ENTITY_REFS: &str = "entity_refs";
    /// text or null (empty): name of a scope.
    pub const NAME: &str = "name";
    /// text or null (empty): version of a scope.
    pub const VERSION: &str = "version";
}

/// Names of the columns of `traces`.
pub mod trace_column {
    /// 16 bytes.
    pub const TRACE_ID: &str = "trace_id";
    /// u64 unix nanoseconds: earliest start of a span.
    pub const START_NANOS: &str = "start_nanos";
    /// u64 unix nanoseconds: latest end of a span, not before the start of any.
    pub const END_NANOS: &str = "end_nanos";
    /// text or null: `service.name` of the root span's resource (null without a root or without a name).
    pub const ROOT_SERVICE: &str = "root_service";
    /// text or null: name of the root span; null only when no root is in the table.
    pub const ROOT_NAME: &str = "root_name";
    /// u32: row of the trace's first span in `spans`.
    pub const FIRST_ROW: &str = "first_row";
    /// u32: number of spans.
    pub const SPAN_COUNT: &str = "span_count";
    /// list of [`super::service_fields`]: what each service contributed.
    pub const SERVICES: &str = "services";
}

/// Text with few distinct values: i32 keys into utf8 values.
pub fn dictionary() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// One attribute: a key and its value in the column of its type. All value columns null: an attribute without a value.
/// `other` holds arrays, key/value lists and bytes as a serialized OTLP `AnyValue`.
pub fn attribute_fields() -> Fields {
    Fields::from(vec![
        Field::new("key", dictionary(), false),
        Field::new("string", dictionary(), true),
        Field::new("int", DataType::Int64, true),
        Field::new("double", DataType::Float64, true),
        Field::new("bool", DataType::Boolean, true),
        Field::new("other", DataType::Binary, true),
    ])
}

/// One event: time in nanoseconds after the start of its span, name, attributes.
pub fn event_fields() -> Fields {
    Fields::from(vec![
        Field::new("time_offset_nanos", DataType::Int64, false),
        Field::new("name", dictionary(), false),
        Field::new(column::DROPPED_ATTRIBUTES_COUNT, DataType::UInt32, false),
        attributes_field(),
    ])
}

/// One link. Ids are kept as sent, of any length.
pub fn link_fields() -> Fields {
    Fields::from(vec![
        Field::new("trace_id", DataType::Binary, false),
        Field::new("span_id", DataType::Binary, false),
        Field::new(column::TRACE_STATE, dictionary(), true),
        Field::new(column::FLAGS, DataType::UInt32, false),
        Field::new(column::DROPPED_ATTRIBUTES_COUNT, DataType::UInt32, false),
        attributes_field(),
    ])
}

/// What one service contributed to a trace; `service` is null for spans without a service name.
pub fn service_fields() -> Fields {
    Fields::from(vec![
        Field::new("service", dictionary(), true),
        Field::new("span_count", DataType::UInt32, false),
        Field::new("error_count", DataType::UInt32, false),
    ])
}

fn attributes_field() -> Field {
    list_field(column::ATTRIBUTES, attribute_fields())
}

fn list_field(name: &str, fields: Fields) -> Field {
    Field::new_list(name, item_field(fields), false)
}

/// The item of a list column.
pub fn item_field(fields: Fields) -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Struct(fields), false))
}

/// Columns of `spans`, without attribute columns.
pub fn spans() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(column::TRACE, DataType::UInt32, false),
        Field::new(column::SPAN_ID, DataType::FixedSizeBinary(8), false),
        Field::new(column::PARENT_OFFSET, DataType::UInt32, true),
        Field::new(column::PARENT_SPAN_ID, DataType::FixedSizeBinary(8), true),
        Field::new(column::START_OFFSET_NANOS, DataType::Int64, false),
        Field::new(column::DURATION_NANOS, DataType::Int64, false),
        Field::new(column::NAME, dictionary(), false),
        Field::new(column::KIND, DataType::Int32, false),
        Field::new(column::STATUS_CODE, DataType::Int32, false),
        Field::new(column::STATUS_MESSAGE, dictionary(), true),
        Field::new(column::TRACE_STATE, dictionary(), true),
        Field::new(column::FLAGS, DataType::UInt32, false),
        Field::new(column::DROPPED_ATTRIBUTES_COUNT, DataType::UInt32, false),
        Field::new(column::DROPPED_EVENTS_COUNT, DataType::UInt32, false),
        Field::new(column::DROPPED_LINKS_COUNT, DataType::UInt32, false),
        Field::new(column::RESOURCE, DataType::UInt32, false),
        Field::new(column::SCOPE, DataType::UInt32, false),
        attributes_field(),
        list_field(column::EVENTS, event_fields()),
        list_field(column::LINKS, link_fields()),
    ]))
}

/// Columns of `resources`.
pub fn resources() -> SchemaRef {
    Arc::new(Schema::new(vec![
        attributes_field(),
        Field::new(column::DROPPED_ATTRIBUTES_COUNT, DataType::UInt32, false),
        Field::new(dimension::SCHEMA_URL, dictionary(), true),
        Field::new(dimension::ENTITY_REFS, DataType::Binary, true),
    ]))
}

/// Columns of `scopes`.
pub fn scopes() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(dimension::NAME, dictionary(), true),
        Field::new(dimension::VERSION, dictionary(), true),
        attributes_field(),
        Field::new(column::DROPPED_ATTRIBUTES_COUNT, DataType::UInt32, false),
        Field::new(dimension::SCHEMA_URL, dictionary(), true),
    ]))
}

/// Columns of `traces`.
pub fn traces() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(trace_column::TRACE_ID, DataType::FixedSizeBinary(16), false),
        Field::new(trace_column::START_NANOS, DataType::UInt64, false),
        Field::new(trace_column::END_NANOS, DataType::UInt64, false),
        Field::new(trace_column::ROOT_SERVICE, dictionary(), true),
        Field::new(trace_column::ROOT_NAME, dictionary(), true),
        Field::new(trace_column::FIRST_ROW, DataType::UInt32, false),
        Field::new(trace_column::SPAN_COUNT, DataType::UInt32, false),
        list_field(trace_column::SERVICES, service_fields()),
    ]))
}

/// The types that get a column of their own; the others stay in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttributeType {
    String,
    Int,
    Double,
    Bool,
}

impl AttributeType {
    pub const ALL: [Self; 4] = [Self::String, Self::Int, Self::Double, Self::Bool];

    /// Name of the value column in [`attribute_fields`].
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Int => "int",
            Self::Double => "double",
            Self::Bool => "bool",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Which attribute a column of its own holds; written in the field's metadata, so that names stay free to be readable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributeColumn {
    pub scope: Scope,
    pub key: String,
    pub kind: AttributeType,
}

const METADATA_SCOPE: &str = "mosso.scope";
const METADATA_KEY: &str = "mosso.key";
const METADATA_TYPE: &str = "mosso.type";

impl AttributeColumn {
    /// `span.http.route`; with `also_other_types`, when the key has values of several types: `span.http.route:int`.
    pub fn field(&self, data_type: DataType, also_other_types: bool) -> Field {
        let suffix = if also_other_types { format!(":{}", self.kind.name()) } else { String::new() };
        let name = format!("{}.{}{suffix}", self.scope, self.key);
        let metadata =
            [(METADATA_SCOPE, self.scope.name()), (METADATA_KEY, &self.key), (METADATA_TYPE, self.kind.name())];
        let metadata: HashMap<String, String> =
            metadata.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Field::new(name, data_type, true).with_metadata(metadata)
    }

    /// What `field` holds, or `None` when it is not an attribute column.
    pub fn of(field: &Field) -> Option<Self> {
        let metadata = field.metadata();
        Some(Self {
            scope: Scope::from_name(metadata.get(METADATA_SCOPE)?)?,
            key: metadata.get(METADATA_KEY)?.clone(),
            kind: AttributeType::from_name(metadata.get(METADATA_TYPE)?)?,
        })
    }
}
