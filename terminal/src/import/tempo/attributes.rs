//! Attributes: the list that every scope has, and the columns that some keys have instead of a place in it.

use arrow::array::{BinaryArray, BooleanArray, Float64Array, Int32Array, Int64Array, StringArray};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use prost::Message;
use storage::tempo::{DedicatedColumn, DedicatedScope, DedicatedType};

use super::columns::{Group, Lists, Values};
use crate::otlp::json;

/// The name of a column, and the key whose values it has.
type NamedColumn = (&'static str, &'static str);

/// Keys that have columns by their own name: of vParquet3 and vParquet4, the first also of vParquet5.
const RESOURCE_COLUMNS: [NamedColumn; 9] = [
    ("ServiceName", "service.name"),
    ("Cluster", "cluster"),
    ("Namespace", "namespace"),
    ("Pod", "pod"),
    ("Container", "container"),
    ("K8sClusterName", "k8s.cluster.name"),
    ("K8sNamespaceName", "k8s.namespace.name"),
    ("K8sPodName", "k8s.pod.name"),
    ("K8sContainerName", "k8s.container.name"),
];
const SPAN_COLUMNS: [NamedColumn; 2] = [("HttpMethod", "http.method"), ("HttpUrl", "http.url")];
const SPAN_INT_COLUMNS: [NamedColumn; 1] = [("HttpStatusCode", "http.status_code")];

/// Columns of attributes in the schema, of each scope. Tempo leaves attributes in the list for which there is none.
const STRING_COLUMNS: usize = 20;
const INT_COLUMNS: usize = 5;

/// All attributes of a scope.
pub(super) struct Attributes<'a> {
    list: Lists<'a, Entries<'a>>,
    columns: Vec<Column<'a>>,
    dropped: Option<&'a Int32Array>,
}

struct Column<'a> {
    key: String,
    values: ColumnValues<'a>,
}

enum ColumnValues<'a> {
    /// Of which an empty text is none: the column of the service's name.
    Name(&'a StringArray),
    Texts(Values<'a, StringArray>),
    Ints(Values<'a, Int64Array>),
}

/// Entries of lists.
struct Entries<'a> {
    keys: &'a StringArray,
    values: EntryValues<'a>,
}

enum EntryValues<'a> {
    Columns(Typed<'a>),
    /// Whole values as messages: those of events, of vParquet3.
    Messages(&'a BinaryArray),
}

/// A value stands in the column of its type.
struct Typed<'a> {
    /// Of vParquet3 there is none: its lists are JSON.
    is_array: Option<&'a BooleanArray>,
    texts: Values<'a, StringArray>,
    ints: Values<'a, Int64Array>,
    doubles: Values<'a, Float64Array>,
    bools: Values<'a, BooleanArray>,
    /// Values of other types, as JSON.
    documents: Vec<Values<'a, StringArray>>,
}

impl<'a> Attributes<'a> {
    /// Of a scope without columns: links, and the scope of instrumentation.
    pub(super) fn listed(group: Group<'a>) -> Result<Self, String> {
        let dropped = "DroppedAttributesCount";
        Ok(Self {
            list: group.groups("Attrs")?.try_map(Entries::of)?,
            columns: Vec::new(),
            // vParquet3 has it of spans and events only
            dropped: if group.has(dropped) { Some(group.one(dropped)?) } else { None },
        })
    }

    /// With the columns that keys of this scope have.
    pub(super) fn of(group: Group<'a>, scope: DedicatedScope, dedicated: &[DedicatedColumn]) -> Result<Self, String> {
        let mut attributes = Self::listed(group)?;
        attributes.columns = named_columns(group, scope)?;
        if group.has("DedicatedAttributes") {
            let of_scope = dedicated.iter().filter(|column| column.scope == scope);
            attributes.columns.extend(dedicated_columns(group.group("DedicatedAttributes")?, of_scope)?);
        }
        Ok(attributes)
    }

    pub(super) fn at(&self, row: usize) -> Vec<KeyValue> {
        let listed = self.list.at(row).map(|entry| self.list.items.at(entry));
        let in_columns = self.columns.iter().filter_map(|column| Some(key_value(&column.key, column.values.at(row)?)));
        listed.chain(in_columns).collect()
    }

    pub(super) fn dropped_at(&self, row: usize) -> u32 {
        self.dropped.map(|dropped| dropped.value(row)).and_then(|count| u32::try_from(count).ok()).unwrap_or_default()
    }
}

fn key_value(key: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

fn named_columns<'a>(group: Group<'a>, scope: DedicatedScope) -> Result<Vec<Column<'a>>, String> {
    let (texts, ints): (&[NamedColumn], &[NamedColumn]) = match scope {
        DedicatedScope::Resource => (&RESOURCE_COLUMNS, &[]),
        DedicatedScope::Span => (&SPAN_COLUMNS, &SPAN_INT_COLUMNS),
        DedicatedScope::Event => (&[], &[]),
    };
    let mut columns = Vec::new();
    for (name, key) in texts.iter().filter(|(name, _)| group.has(name)) {
        let values = match *key {
            "service.name" => ColumnValues::Name(group.one(name)?),
            _ => ColumnValues::Texts(group.values(name)?),
        };
        columns.push(Column { key: (*key).to_owned(), values });
    }
    for (name, key) in ints.iter().filter(|(name, _)| group.has(name)) {
        columns.push(Column { key: (*key).to_owned(), values: ColumnValues::Ints(group.values(name)?) });
    }
    Ok(columns)
}

/// Columns are assigned in the order in which the block's meta lists keys, each type for itself.
fn dedicated_columns<'a, 'k>(
    group: Group<'a>,
    keys: impl Iterator<Item = &'k DedicatedColumn>,
) -> Result<Vec<Column<'a>>, String> {
    let (mut columns, mut texts, mut ints) = (Vec::new(), 0, 0);
    for DedicatedColumn { name: key, kind, .. } in keys {
        let (count, most, prefix) = match kind {
            DedicatedType::String => (&mut texts, STRING_COLUMNS, "String"),
            DedicatedType::Int => (&mut ints, INT_COLUMNS, "Int"),
        };
        *count += 1;
        let name = format!("{prefix}{count:02}");
        // before vParquet5 there are fewer, and none of integers
        if *count > most || !group.has(&name) {
            continue;
        }
        let values = match kind {
            DedicatedType::String => ColumnValues::Texts(group.values(&name)?),
            DedicatedType::Int => ColumnValues::Ints(group.values(&name)?),
        };
        columns.push(Column { key: key.clone(), values });
    }
    Ok(columns)
}

impl ColumnValues<'_> {
    fn at(&self, row: usize) -> Option<AnyValue> {
        let values: Vec<Any> = match self {
            Self::Name(names) => {
                let name = Some(names.value(row)).filter(|name| !name.is_empty());
                name.map(text).into_iter().collect()
            }
            Self::Texts(texts) => texts.at(row).map(|at| text(texts.items().value(at))).collect(),
            Self::Ints(ints) => ints.at(row).map(|at| Any::IntValue(ints.items().value(at))).collect(),
        };
        // a list of one is not told from its only value
        match values.len() {
            0 | 1 => Some(AnyValue { value: Some(values.into_iter().next()?) }),
            _ => Some(list(values)),
        }
    }
}

impl<'a> Entries<'a> {
    fn of(group: Group<'a>) -> Result<Self, String> {
        let values = match group.has("ValueInt") {
            true => EntryValues::Columns(Typed::of(group)?),
            false => EntryValues::Messages(group.one("Value")?),
        };
        Ok(Self { keys: group.one("Key")?, values })
    }

    fn at(&self, entry: usize) -> KeyValue {
        let value = match &self.values {
            EntryValues::Columns(typed) => typed.at(entry),
            EntryValues::Messages(messages) => AnyValue::decode(messages.value(entry)).unwrap_or_default(),
        };
        key_value(self.keys.value(entry), value)
    }
}

impl<'a> Typed<'a> {
    fn of(group: Group<'a>) -> Result<Self, String> {
        let documents = ["ValueUnsupported", "ValueArray", "ValueKVList"].into_iter();
        let documents = documents.filter(|name| group.has(name)).map(|name| group.values(name));
        Ok(Self {
            is_array: if group.has("IsArray") { Some(group.one("IsArray")?) } else { None },
            texts: group.values("Value")?,
            ints: group.values("ValueInt")?,
            doubles: group.values("ValueDouble")?,
            bools: group.values("ValueBool")?,
            documents: documents.collect::<Result<_, _>>()?,
        })
    }

    fn at(&self, entry: usize) -> AnyValue {
        let mut values: Vec<Any> = self.texts.at(entry).map(|at| text(self.texts.items().value(at))).collect();
        values.extend(self.ints.at(entry).map(|at| Any::IntValue(self.ints.items().value(at))));
        values.extend(self.doubles.at(entry).map(|at| Any::DoubleValue(self.doubles.items().value(at))));
        values.extend(self.bools.at(entry).map(|at| Any::BoolValue(self.bools.items().value(at))));
        if self.is_array.is_some_and(|is_array| is_array.value(entry)) {
            return list(values);
        }
        let value = values.into_iter().next();
        value.map(|value| AnyValue { value: Some(value) }).or_else(|| self.document(entry)).unwrap_or_default()
    }

    /// A value as JSON. What cannot be read is passed on as text.
    fn document(&self, entry: usize) -> Option<AnyValue> {
        let (documents, at) =
            self.documents.iter().find_map(|documents| Some((documents, documents.at(entry).next()?)))?;
        let document = documents.items().value(at);
        if document.is_empty() {
            return None;
        }
        let value = serde_json::from_str(document).ok().and_then(|value| json::read_value(&value).ok());
        Some(value.unwrap_or_else(|| AnyValue { value: Some(text(document)) }))
    }
}

fn text(text: &str) -> Any {
    Any::StringValue(text.to_owned())
}

fn list(values: Vec<Any>) -> AnyValue {
    let values = values.into_iter().map(|value| AnyValue { value: Some(value) }).collect();
    AnyValue { value: Some(Any::ArrayValue(ArrayValue { values })) }
}
