//! Rows → OTLP: what was sent, grouped by resource and scope again.
//!
//! Everything comes back but three things that OTLP gives no meaning: the order of attributes, the order of spans, and
//! whether an empty message was sent or left out.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, GenericByteArray, ListArray, RecordBatch, StringArray, StructArray,
};
use arrow::datatypes::{BinaryType, Float64Type, Int32Type, Int64Type, UInt32Type};
use hashbrown::HashMap;
use opentelemetry_proto::tonic::common::v1::{AnyValue, EntityRef, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};
use prost::Message;

use crate::error::Error;
use crate::nested;
use crate::schema::{AttributeColumn, AttributeType, column, dimension};
use crate::table::{self, SpanTable, Traces, wrong_type};

/// All spans of a table as OTLP messages, resources and scopes in order of first appearance.
///
/// # Errors
/// [`Error::Damaged`] when a column of [`crate::schema`] is missing or has another type.
pub fn encode(table: &SpanTable) -> Result<Vec<ResourceSpans>, Error> {
    Ok(encode_with_rows(table)?.resource_spans)
}

/// Spans as OTLP messages, and where they come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    pub resource_spans: Vec<ResourceSpans>,
    /// The row of each span, in the order of the messages.
    pub rows: Vec<usize>,
}

/// As [`encode`], with the row of each span.
///
/// # Errors
/// As [`encode`].
pub fn encode_with_rows(table: &SpanTable) -> Result<Encoded, Error> {
    let rows = SpanRows::of(&table.spans)?;
    let traces = Traces::of(&table.traces)?;
    let (resources, scopes) = (ResourceRows::of(&table.resources)?, ScopeRows::of(&table.scopes)?);
    let mut answer: Vec<ResourceSpans> = Vec::new();
    // by resource and scope, as in `answer`
    let mut row_lists: Vec<Vec<Vec<usize>>> = Vec::new();
    let mut resource_at: HashMap<u32, usize> = HashMap::new();
    let mut scope_at: HashMap<(u32, u32), usize> = HashMap::new();
    for row in 0..table.span_count() {
        let (resource, scope) = (rows.resource[row], rows.scope[row]);
        let resource_at = *resource_at.entry(resource).or_insert_with(|| {
            answer.push(resources.get(resource as usize));
            row_lists.push(Vec::new());
            answer.len() - 1
        });
        let (resource_spans, row_lists) = (&mut answer[resource_at], &mut row_lists[resource_at]);
        let scope_at = match scope_at.get(&(resource, scope)) {
            Some(&at) => at,
            None => {
                scope_at.insert((resource, scope), row_lists.len());
                resource_spans.scope_spans.push(scopes.get(scope as usize)?);
                row_lists.push(Vec::new());
                row_lists.len() - 1
            }
        };
        resource_spans.scope_spans[scope_at].spans.push(rows.get(row, &traces, rows.trace[row] as usize)?);
        row_lists[scope_at].push(row);
    }
    Ok(Encoded { resource_spans: answer, rows: row_lists.into_iter().flatten().flatten().collect() })
}

/// Text by row; null reads as empty.
enum Texts<'a> {
    Dictionary { keys: &'a arrow::array::Int32Array, values: &'a StringArray },
    Plain(&'a StringArray),
}

impl<'a> Texts<'a> {
    fn of(array: &'a ArrayRef, name: &str) -> Result<Self, Error> {
        if let Some(dictionary) = array.as_dictionary_opt::<Int32Type>() {
            let values = dictionary.values().as_string_opt::<i32>().ok_or_else(|| wrong_type(name))?;
            return Ok(Self::Dictionary { keys: dictionary.keys(), values });
        }
        Ok(Self::Plain(array.as_string_opt::<i32>().ok_or_else(|| wrong_type(name))?))
    }

    fn get(&self, row: usize) -> Option<&'a str> {
        match self {
            Self::Dictionary { keys, values } => keys.is_valid(row).then(|| values.value(keys.value(row) as usize)),
            Self::Plain(values) => values.is_valid(row).then(|| values.value(row)),
        }
    }

    fn text(&self, row: usize) -> String {
        self.get(row).unwrap_or_default().to_owned()
    }
}

/// A column of attributes: a list, or one attribute in a column of its own.
struct AttributeColumns<'a> {
    named: Vec<(String, Named<'a>)>,
    lists: &'a ListArray,
    items: AttributeItems<'a>,
}

enum Named<'a> {
    String(Texts<'a>),
    Int(&'a arrow::array::Int64Array),
    Double(&'a arrow::array::Float64Array),
    Bool(&'a BooleanArray),
}

/// The items of an attribute list.
struct AttributeItems<'a> {
    key: Texts<'a>,
    string: Texts<'a>,
    int: &'a arrow::array::Int64Array,
    double: &'a arrow::array::Float64Array,
    bool: &'a BooleanArray,
    other: &'a GenericByteArray<BinaryType>,
}

impl<'a> AttributeItems<'a> {
    fn of(items: &'a StructArray) -> Result<Self, Error> {
        let child = |name: &str| items.column_by_name(name).ok_or_else(|| wrong_type(name));
        Ok(Self {
            key: Texts::of(child("key")?, "key")?,
            string: Texts::of(child("string")?, "string")?,
            int: child("int")?.as_primitive_opt::<Int64Type>().ok_or_else(|| wrong_type("int"))?,
            double: child("double")?.as_primitive_opt::<Float64Type>().ok_or_else(|| wrong_type("double"))?,
            bool: child("bool")?.as_boolean_opt().ok_or_else(|| wrong_type("bool"))?,
            other: child("other")?.as_binary_opt::<i32>().ok_or_else(|| wrong_type("other"))?,
        })
    }

    fn get(&self, item: usize) -> KeyValue {
        let value = if let Some(text) = self.string.get(item) {
            Some(any_value::Value::StringValue(text.to_owned()))
        } else if self.int.is_valid(item) {
            Some(any_value::Value::IntValue(self.int.value(item)))
        } else if self.double.is_valid(item) {
            Some(any_value::Value::DoubleValue(self.double.value(item)))
        } else if self.bool.is_valid(item) {
            Some(any_value::Value::BoolValue(self.bool.value(item)))
        } else if self.other.is_valid(item) {
            nested::read(self.other.value(item))
        } else {
            None
        };
        key_value(self.key.text(item), value)
    }
}

fn key_value(key: String, value: Option<any_value::Value>) -> KeyValue {
    KeyValue { key, value: Some(AnyValue { value }), ..Default::default() }
}

fn list_of<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ListArray, Error> {
    table::column(batch, name)?.as_list_opt::<i32>().ok_or_else(|| wrong_type(name))
}

fn items_of(lists: &ListArray) -> Result<&StructArray, Error> {
    lists.values().as_struct_opt().ok_or_else(|| wrong_type("item"))
}

fn range(lists: &ListArray, row: usize) -> std::ops::Range<usize> {
    lists.offsets()[row] as usize..lists.offsets()[row + 1] as usize
}

impl<'a> AttributeColumns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, Error> {
        let lists = list_of(batch, column::ATTRIBUTES)?;
        let mut named = Vec::new();
        for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            if let Some(of) = AttributeColumn::of(field) {
                named.push((of.key, Named::of(of.kind, array, field.name())?));
            }
        }
        Ok(Self { named, lists, items: AttributeItems::of(items_of(lists)?)? })
    }

    fn get(&self, row: usize) -> Vec<KeyValue> {
        let named = self.named.iter().filter_map(|(key, values)| Some(key_value(key.clone(), Some(values.get(row)?))));
        named.chain(range(self.lists, row).map(|item| self.items.get(item))).collect()
    }
}

impl<'a> Named<'a> {
    fn of(kind: AttributeType, array: &'a ArrayRef, name: &str) -> Result<Self, Error> {
        Ok(match kind {
            AttributeType::String => Self::String(Texts::of(array, name)?),
            AttributeType::Int => Self::Int(array.as_primitive_opt::<Int64Type>().ok_or_else(|| wrong_type(name))?),
            AttributeType::Double => {
                Self::Double(array.as_primitive_opt::<Float64Type>().ok_or_else(|| wrong_type(name))?)
            }
            AttributeType::Bool => Self::Bool(array.as_boolean_opt().ok_or_else(|| wrong_type(name))?),
        })
    }

    fn get(&self, row: usize) -> Option<any_value::Value> {
        match self {
            Self::String(texts) => texts.get(row).map(|text| any_value::Value::StringValue(text.to_owned())),
            Self::Int(values) => values.is_valid(row).then(|| any_value::Value::IntValue(values.value(row))),
            Self::Double(values) => values.is_valid(row).then(|| any_value::Value::DoubleValue(values.value(row))),
            Self::Bool(values) => values.is_valid(row).then(|| any_value::Value::BoolValue(values.value(row))),
        }
    }
}

pub(crate) struct SpanRows<'a> {
    trace: &'a [u32],
    span_id: &'a arrow::array::FixedSizeBinaryArray,
    parent_offset: &'a arrow::array::UInt32Array,
    parent_span_id: &'a arrow::array::FixedSizeBinaryArray,
    start_offset_nanos: &'a [i64],
    duration_nanos: &'a [i64],
    name: Texts<'a>,
    kind: &'a [i32],
    status_code: &'a [i32],
    status_message: Texts<'a>,
    trace_state: Texts<'a>,
    flags: &'a [u32],
    dropped_attributes_count: &'a [u32],
    dropped_events_count: &'a [u32],
    dropped_links_count: &'a [u32],
    resource: &'a [u32],
    scope: &'a [u32],
    attributes: AttributeColumns<'a>,
    events: EventItems<'a>,
    links: LinkItems<'a>,
}

impl<'a> SpanRows<'a> {
    pub(crate) fn of(spans: &'a RecordBatch) -> Result<Self, Error> {
        let ids = |name: &str| table::column(spans, name)?.as_fixed_size_binary_opt().ok_or_else(|| wrong_type(name));
        let texts = |name: &str| Texts::of(table::column(spans, name)?, name);
        let u32s = |name: &str| table::u32s(spans, name);
        let i64s = |name: &str| -> Result<&'a [i64], Error> {
            Ok(table::column(spans, name)?.as_primitive_opt::<Int64Type>().ok_or_else(|| wrong_type(name))?.values())
        };
        let i32s = |name: &str| -> Result<&'a [i32], Error> {
            Ok(table::column(spans, name)?.as_primitive_opt::<Int32Type>().ok_or_else(|| wrong_type(name))?.values())
        };
        let parent_offset = table::column(spans, column::PARENT_OFFSET)?;
        Ok(Self {
            trace: u32s(column::TRACE)?,
            span_id: ids(column::SPAN_ID)?,
            parent_offset: parent_offset
                .as_primitive_opt::<UInt32Type>()
                .ok_or_else(|| wrong_type(column::PARENT_OFFSET))?,
            parent_span_id: ids(column::PARENT_SPAN_ID)?,
            start_offset_nanos: i64s(column::START_OFFSET_NANOS)?,
            duration_nanos: i64s(column::DURATION_NANOS)?,
            name: texts(column::NAME)?,
            kind: i32s(column::KIND)?,
            status_code: i32s(column::STATUS_CODE)?,
            status_message: texts(column::STATUS_MESSAGE)?,
            trace_state: texts(column::TRACE_STATE)?,
            flags: u32s(column::FLAGS)?,
            dropped_attributes_count: u32s(column::DROPPED_ATTRIBUTES_COUNT)?,
            dropped_events_count: u32s(column::DROPPED_EVENTS_COUNT)?,
            dropped_links_count: u32s(column::DROPPED_LINKS_COUNT)?,
            resource: u32s(column::RESOURCE)?,
            scope: u32s(column::SCOPE)?,
            attributes: AttributeColumns::of(spans)?,
            events: EventItems::of(list_of(spans, column::EVENTS)?)?,
            links: LinkItems::of(list_of(spans, column::LINKS)?)?,
        })
    }

    /// The span of a row, which is of that row of `traces`.
    pub(crate) fn get(&self, row: usize, traces: &Traces<'_>, trace: usize) -> Result<Span, Error> {
        let start = traces.start_nanos(trace).wrapping_add(self.start_offset_nanos[row] as u64);
        Ok(Span {
            trace_id: traces.id(trace).0.to_vec(),
            span_id: self.span_id.value(row).to_vec(),
            trace_state: self.trace_state.text(row),
            parent_span_id: self.parent_span_id(row)?,
            flags: self.flags[row],
            name: self.name.text(row),
            kind: self.kind[row],
            start_time_unix_nano: start,
            end_time_unix_nano: start.wrapping_add(self.duration_nanos[row] as u64),
            attributes: self.attributes.get(row),
            dropped_attributes_count: self.dropped_attributes_count[row],
            events: self.events.get(row, start),
            dropped_events_count: self.dropped_events_count[row],
            links: self.links.get(row),
            dropped_links_count: self.dropped_links_count[row],
            status: Some(Status { message: self.status_message.text(row), code: self.status_code[row] }),
        })
    }

    fn parent_span_id(&self, row: usize) -> Result<Vec<u8>, Error> {
        if self.parent_offset.is_valid(row) {
            let parent = row.checked_sub(self.parent_offset.value(row) as usize);
            return Ok(self
                .span_id
                .value(parent.ok_or_else(|| Error::damaged("parent offset beyond the first row"))?)
                .to_vec());
        }
        // blocks of before hold ids of zeros, which are none
        let is_there = self.parent_span_id.is_valid(row) && self.parent_span_id.value(row) != [0; 8];
        Ok(if is_there { self.parent_span_id.value(row).to_vec() } else { Vec::new() })
    }
}

struct EventItems<'a> {
    lists: &'a ListArray,
    time_offset_nanos: &'a [i64],
    name: Texts<'a>,
    dropped_attributes_count: &'a [u32],
    attribute_lists: &'a ListArray,
    attributes: AttributeItems<'a>,
}

impl<'a> EventItems<'a> {
    fn of(lists: &'a ListArray) -> Result<Self, Error> {
        let items = Items(items_of(lists)?);
        let attribute_lists = items.lists(column::ATTRIBUTES)?;
        Ok(Self {
            lists,
            time_offset_nanos: items
                .child("time_offset_nanos")?
                .as_primitive_opt::<Int64Type>()
                .ok_or_else(|| wrong_type(column::EVENTS))?
                .values(),
            name: Texts::of(items.child("name")?, "name")?,
            dropped_attributes_count: items.u32s(column::DROPPED_ATTRIBUTES_COUNT)?,
            attribute_lists,
            attributes: AttributeItems::of(items_of(attribute_lists)?)?,
        })
    }

    fn get(&self, row: usize, span_start: u64) -> Vec<span::Event> {
        range(self.lists, row)
            .map(|item| span::Event {
                time_unix_nano: span_start.wrapping_add(self.time_offset_nanos[item] as u64),
                name: self.name.text(item),
                attributes: range(self.attribute_lists, item).map(|item| self.attributes.get(item)).collect(),
                dropped_attributes_count: self.dropped_attributes_count[item],
            })
            .collect()
    }
}

struct LinkItems<'a> {
    lists: &'a ListArray,
    trace_id: &'a GenericByteArray<BinaryType>,
    span_id: &'a GenericByteArray<BinaryType>,
    trace_state: Texts<'a>,
    flags: &'a [u32],
    dropped_attributes_count: &'a [u32],
    attribute_lists: &'a ListArray,
    attributes: AttributeItems<'a>,
}

impl<'a> LinkItems<'a> {
    fn of(lists: &'a ListArray) -> Result<Self, Error> {
        let items = Items(items_of(lists)?);
        let ids = |name: &str| items.child(name)?.as_binary_opt::<i32>().ok_or_else(|| wrong_type(name));
        let attribute_lists = items.lists(column::ATTRIBUTES)?;
        Ok(Self {
            lists,
            trace_id: ids("trace_id")?,
            span_id: ids("span_id")?,
            trace_state: Texts::of(items.child(column::TRACE_STATE)?, column::TRACE_STATE)?,
            flags: items.u32s(column::FLAGS)?,
            dropped_attributes_count: items.u32s(column::DROPPED_ATTRIBUTES_COUNT)?,
            attribute_lists,
            attributes: AttributeItems::of(items_of(attribute_lists)?)?,
        })
    }

    fn get(&self, row: usize) -> Vec<span::Link> {
        range(self.lists, row)
            .map(|item| span::Link {
                trace_id: self.trace_id.value(item).to_vec(),
                span_id: self.span_id.value(item).to_vec(),
                trace_state: self.trace_state.text(item),
                attributes: range(self.attribute_lists, item).map(|item| self.attributes.get(item)).collect(),
                dropped_attributes_count: self.dropped_attributes_count[item],
                flags: self.flags[item],
            })
            .collect()
    }
}

/// Typed access to the children of a list's items.
struct Items<'a>(&'a StructArray);

impl<'a> Items<'a> {
    fn child(&self, name: &str) -> Result<&'a ArrayRef, Error> {
        self.0.column_by_name(name).ok_or_else(|| wrong_type(name))
    }

    fn u32s(&self, name: &str) -> Result<&'a [u32], Error> {
        Ok(self.child(name)?.as_primitive_opt::<UInt32Type>().ok_or_else(|| wrong_type(name))?.values())
    }

    fn lists(&self, name: &str) -> Result<&'a ListArray, Error> {
        self.child(name)?.as_list_opt::<i32>().ok_or_else(|| wrong_type(name))
    }
}

struct ResourceRows<'a> {
    attributes: AttributeColumns<'a>,
    dropped_attributes_count: &'a [u32],
    schema_url: Texts<'a>,
    entity_refs: &'a GenericByteArray<BinaryType>,
}

impl<'a> ResourceRows<'a> {
    fn of(resources: &'a RecordBatch) -> Result<Self, Error> {
        let entity_refs = table::column(resources, dimension::ENTITY_REFS)?;
        Ok(Self {
            attributes: AttributeColumns::of(resources)?,
            dropped_attributes_count: table::u32s(resources, column::DROPPED_ATTRIBUTES_COUNT)?,
            schema_url: Texts::of(table::column(resources, dimension::SCHEMA_URL)?, dimension::SCHEMA_URL)?,
            entity_refs: entity_refs.as_binary_opt::<i32>().ok_or_else(|| wrong_type(dimension::ENTITY_REFS))?,
        })
    }

    fn get(&self, row: usize) -> ResourceSpans {
        let resource = Resource {
            attributes: self.attributes.get(row),
            dropped_attributes_count: self.dropped_attributes_count[row],
            entity_refs: self.entity_refs(row),
        };
        ResourceSpans { resource: Some(resource), scope_spans: Vec::new(), schema_url: self.schema_url.text(row) }
    }

    /// What cannot be read of them is left out: they are only a hint which attributes name the resource.
    fn entity_refs(&self, row: usize) -> Vec<EntityRef> {
        if self.entity_refs.is_null(row) {
            return Vec::new();
        }
        Resource::decode(self.entity_refs.value(row)).map_or_else(|_| Vec::new(), |resource| resource.entity_refs)
    }
}

struct ScopeRows<'a> {
    name: Texts<'a>,
    version: Texts<'a>,
    attributes: AttributeColumns<'a>,
    dropped_attributes_count: &'a [u32],
    schema_url: Texts<'a>,
}

impl<'a> ScopeRows<'a> {
    fn of(scopes: &'a RecordBatch) -> Result<Self, Error> {
        let texts = |name: &str| Texts::of(table::column(scopes, name)?, name);
        Ok(Self {
            name: texts(dimension::NAME)?,
            version: texts(dimension::VERSION)?,
            attributes: AttributeColumns::of(scopes)?,
            dropped_attributes_count: table::u32s(scopes, column::DROPPED_ATTRIBUTES_COUNT)?,
            schema_url: texts(dimension::SCHEMA_URL)?,
        })
    }

    fn get(&self, row: usize) -> Result<ScopeSpans, Error> {
        let scope = InstrumentationScope {
            name: self.name.text(row),
            version: self.version.text(row),
            attributes: self.attributes.get(row),
            dropped_attributes_count: self.dropped_attributes_count[row],
        };
        Ok(ScopeSpans { scope: Some(scope), spans: Vec::new(), schema_url: self.schema_url.text(row) })
    }
}
