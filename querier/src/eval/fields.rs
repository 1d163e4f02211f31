//! Fields: which table has them, which columns they need, and their values there.

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, RecordBatch, StringArray};
use arrow::datatypes::{Int32Type, Int64Type, UInt32Type, UInt64Type};
use model::{Intrinsic, Scope, SpanId};
use spans::schema::{column, dimension, trace_column};
use spans::{NestedSet, SpanTable, Traces, nested_sets};
use storage::source::Projection;
use traceql::{Field, Static};

use super::attributes;
use super::column::{Column, Texts, TypedValues};
use crate::error::Error;

/// The smallest table whose rows have what is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Home {
    /// The same everywhere.
    Constant,
    Resources,
    Scopes,
    Traces,
    Spans,
    Events,
    Links,
    /// Spans with one of their events, one of their links, or one of each.
    Pairs,
}

impl Home {
    /// The smallest table that has what both have.
    pub fn join(self, other: Self) -> Self {
        match (self, other) {
            (left, right) if left == right => left,
            (Self::Constant, other) | (other, Self::Constant) => other,
            (Self::Pairs | Self::Events | Self::Links, _) | (_, Self::Pairs | Self::Events | Self::Links) => {
                Self::Pairs
            }
            _ => Self::Spans,
        }
    }

    /// A small table that spans refer to.
    pub fn is_dimension(self) -> bool {
        matches!(self, Self::Resources | Self::Scopes | Self::Traces)
    }
}

/// The home of a field; `None` for what the checker of the language refuses.
pub(crate) fn home(field: &Field) -> Option<Home> {
    Some(match field {
        Field::Parent(_) => return None,
        Field::Attribute { scope, .. } => match scope {
            None | Some(Scope::Span) => Home::Spans,
            Some(Scope::Resource) => Home::Resources,
            Some(Scope::Instrumentation) => Home::Scopes,
            Some(Scope::Event) => Home::Events,
            Some(Scope::Link) => Home::Links,
        },
        Field::Intrinsic(intrinsic) => match intrinsic {
            Intrinsic::Parent => return None,
            Intrinsic::TraceId | Intrinsic::TraceDuration | Intrinsic::RootName | Intrinsic::RootServiceName => {
                Home::Traces
            }
            Intrinsic::InstrumentationName | Intrinsic::InstrumentationVersion => Home::Scopes,
            Intrinsic::EventName | Intrinsic::EventTimeSinceStart => Home::Events,
            Intrinsic::LinkTraceId | Intrinsic::LinkSpanId => Home::Links,
            _ => Home::Spans,
        },
    })
}

/// The fields that a query looks at.
#[derive(Debug, Clone, Default)]
pub(crate) struct FieldUse {
    fields: Vec<Field>,
}

impl FieldUse {
    pub fn of<'a>(fields: impl IntoIterator<Item = &'a Field>) -> Self {
        let mut field_use = Self::default();
        for field in fields {
            if !field_use.fields.contains(field) {
                field_use.fields.push(field.clone());
            }
        }
        field_use
    }

    /// The fields of both.
    pub fn merge(&mut self, other: &Self) {
        let new: Vec<Field> = other.fields.iter().filter(|field| !self.fields.contains(field)).cloned().collect();
        self.fields.extend(new);
    }

    pub fn homes(&self) -> impl Iterator<Item = Home> {
        self.fields.iter().filter_map(home)
    }

    fn intrinsics(&self) -> impl Iterator<Item = Intrinsic> {
        self.fields.iter().filter_map(|field| match field {
            Field::Intrinsic(intrinsic) => Some(*intrinsic),
            _ => None,
        })
    }

    /// Whether a value depends on spans of the trace that may lie elsewhere.
    pub fn needs_whole_traces(&self) -> bool {
        use Intrinsic::{RootName, RootServiceName, TraceDuration};
        self.intrinsics().any(|intrinsic| {
            is_nested_set(intrinsic) || matches!(intrinsic, TraceDuration | RootName | RootServiceName)
        })
    }

    /// Whether a value depends on other rows of the trace, so that whole runs must be read.
    pub fn needs_whole_runs(&self) -> bool {
        self.intrinsics().any(|intrinsic| is_nested_set(intrinsic) || intrinsic == Intrinsic::ParentId)
    }

    /// The columns of `spans` that have the values.
    pub fn projection(&self) -> Projection {
        let mut projection = Projection::default();
        for field in &self.fields {
            match field {
                Field::Attribute { scope: None, name } => {
                    projection.attributes.insert(name.clone());
                    projection.columns.insert(column::RESOURCE);
                }
                Field::Attribute { scope: Some(Scope::Span), name } => {
                    projection.attributes.insert(name.clone());
                }
                Field::Intrinsic(intrinsic) => projection.columns.extend(columns_of(*intrinsic)),
                _ => {}
            }
            projection.columns.extend(match home(field) {
                Some(Home::Resources) => Some(column::RESOURCE),
                Some(Home::Scopes) => Some(column::SCOPE),
                Some(Home::Traces) => Some(column::TRACE),
                Some(Home::Events) => Some(column::EVENTS),
                Some(Home::Links) => Some(column::LINKS),
                _ => None,
            });
        }
        projection
    }
}

/// What a missing value of a field counts as when spans are grouped: the language knows no nil for the service name of a
/// resource, so that one without a name has the empty one.
pub(crate) fn group_if_missing(field: &Field) -> Option<Static> {
    is_service_name(field).then(|| Static::String(String::new()))
}

pub(crate) const SERVICE_NAME: &str = "service.name";

/// Whether a field names the service of a span.
pub(crate) fn is_service_name(field: &Field) -> bool {
    matches!(field, Field::Attribute { scope: Some(Scope::Resource), name } if name == SERVICE_NAME)
}

/// The columns that [`nested_sets_of`] reads.
pub(super) const TREE_COLUMNS: [&str; 3] = [column::TRACE, column::PARENT_OFFSET, column::PARENT_SPAN_ID];

fn is_nested_set(intrinsic: Intrinsic) -> bool {
    use Intrinsic::{ChildCount, NestedSetLeft, NestedSetParent, NestedSetRight};
    matches!(intrinsic, ChildCount | NestedSetLeft | NestedSetRight | NestedSetParent)
}

fn columns_of(intrinsic: Intrinsic) -> &'static [&'static str] {
    match intrinsic {
        Intrinsic::Duration => &[column::DURATION_NANOS],
        Intrinsic::Name => &[column::NAME],
        Intrinsic::Status => &[column::STATUS_CODE],
        Intrinsic::StatusMessage => &[column::STATUS_MESSAGE],
        Intrinsic::Kind => &[column::KIND],
        Intrinsic::SpanId => &[column::SPAN_ID],
        Intrinsic::ParentId => &[column::SPAN_ID, column::PARENT_OFFSET, column::PARENT_SPAN_ID],
        _ if is_nested_set(intrinsic) => &TREE_COLUMNS,
        _ => &[],
    }
}

/// The values of an intrinsic whose home is [`Home::Traces`], for each trace.
pub(super) fn of_traces(traces: &RecordBatch, intrinsic: Intrinsic) -> Result<Column, Error> {
    let part = match intrinsic {
        Intrinsic::TraceId => {
            let traces = Traces::of(traces)?;
            let ids = (0..traces.len()).map(|row| traces.id(row).short_hex());
            TypedValues::Text(Texts::plain(StringArray::from_iter_values(ids)))
        }
        Intrinsic::TraceDuration => {
            let (start, end) = (trace_column::START_NANOS, trace_column::END_NANOS);
            let u64s = |name: &str| {
                let array = spans::column(traces, name)?;
                array.as_primitive_opt::<UInt64Type>().ok_or_else(|| Error::damaged(name))
            };
            let nanos = u64s(start)?.values().iter().zip(u64s(end)?.values());
            TypedValues::Duration(
                nanos.map(|(start, end)| end.saturating_sub(*start) as i64).collect::<Vec<_>>().into(),
            )
        }
        Intrinsic::RootName => TypedValues::Text(texts(traces, trace_column::ROOT_NAME)?.null_as_empty()),
        Intrinsic::RootServiceName => TypedValues::Text(texts(traces, trace_column::ROOT_SERVICE)?.null_as_empty()),
        _ => return Ok(Column::missing(traces.num_rows())),
    };
    Ok(Column::of(traces.num_rows(), part))
}

/// The values of an intrinsic whose home is [`Home::Scopes`], for each instrumentation scope.
pub(super) fn of_scopes(scopes: &RecordBatch, intrinsic: Intrinsic) -> Result<Column, Error> {
    let name = if intrinsic == Intrinsic::InstrumentationName { dimension::NAME } else { dimension::VERSION };
    Ok(Column::of(scopes.num_rows(), TypedValues::Text(texts(scopes, name)?.null_as_empty())))
}

/// The values of an intrinsic whose home is [`Home::Spans`].
pub(super) fn of_spans(table: &SpanTable, intrinsic: Intrinsic) -> Result<Column, Error> {
    let spans = &table.spans;
    let i32s = |name: &str| {
        let array = spans::column(spans, name)?;
        array.as_primitive_opt::<Int32Type>().ok_or_else(|| Error::damaged(name)).cloned()
    };
    let nested = |value: fn(&NestedSet) -> i32| -> Result<TypedValues, Error> {
        Ok(TypedValues::Int(nested_sets_of(spans)?.iter().map(|set| i64::from(value(set))).collect::<Vec<_>>().into()))
    };
    let part = match intrinsic {
        Intrinsic::Duration => {
            let name = column::DURATION_NANOS;
            let array = spans::column(spans, name)?;
            let nanos = array.as_primitive_opt::<Int64Type>().ok_or_else(|| Error::damaged(name))?;
            TypedValues::Duration(nanos.unary(|nanos| nanos.max(0)))
        }
        Intrinsic::Name => TypedValues::Text(texts(spans, column::NAME)?),
        Intrinsic::Status => TypedValues::Status(i32s(column::STATUS_CODE)?),
        Intrinsic::StatusMessage => TypedValues::Text(texts(spans, column::STATUS_MESSAGE)?.null_as_empty()),
        Intrinsic::Kind => TypedValues::Kind(i32s(column::KIND)?),
        Intrinsic::SpanId => {
            let ids = span_ids(spans, column::SPAN_ID)?;
            TypedValues::Text(Texts::plain(StringArray::from_iter_values(
                (0..ids.len()).map(|row| hex(ids.value(row))),
            )))
        }
        Intrinsic::ParentId => TypedValues::Text(Texts::plain(parent_ids(spans)?)),
        Intrinsic::ChildCount => nested(|set| set.child_count)?,
        Intrinsic::NestedSetLeft => nested(|set| set.left)?,
        Intrinsic::NestedSetRight => nested(|set| set.right)?,
        Intrinsic::NestedSetParent => nested(|set| set.parent)?,
        _ => return Ok(Column::missing(spans.num_rows())),
    };
    Ok(Column::of(spans.num_rows(), part))
}

/// The attribute of each span, or of its resource where the span has none.
pub(super) fn unscoped(table: &SpanTable, name: &str) -> Result<Column, Error> {
    let of_span = attributes::of_rows(&table.spans, Scope::Span, name)?;
    let of_resource = attributes::of_rows(&table.resources, Scope::Resource, name)?;
    let resources = spans::column(&table.spans, column::RESOURCE)?;
    let resources = resources.as_primitive_opt::<UInt32Type>().ok_or_else(|| Error::damaged(column::RESOURCE))?;
    of_span.or_else(&of_resource.take(resources)?)
}

pub(super) fn texts(batch: &RecordBatch, name: &str) -> Result<Texts, Error> {
    Texts::of(spans::column(batch, name)?).ok_or_else(|| Error::damaged(name))
}

fn span_ids<'a>(spans: &'a RecordBatch, name: &str) -> Result<&'a FixedSizeBinaryArray, Error> {
    let array: &ArrayRef = spans::column(spans, name)?;
    array.as_fixed_size_binary_opt().filter(|ids| ids.value_length() == 8).ok_or_else(|| Error::damaged(name))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    match <[u8; 8]>::try_from(bytes) {
        Ok(id) => SpanId(id).to_string(),
        Err(_) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// The parent's id in hex, all zeros for roots; `spans` must be whole runs.
fn parent_ids(spans: &RecordBatch) -> Result<StringArray, Error> {
    let (ids, far_ids) = (span_ids(spans, column::SPAN_ID)?, span_ids(spans, column::PARENT_SPAN_ID)?);
    let offsets = spans::column(spans, column::PARENT_OFFSET)?;
    let offsets = offsets.as_primitive_opt::<UInt32Type>().ok_or_else(|| Error::damaged(column::PARENT_OFFSET))?;
    let parent_id = |row: usize| match offsets.is_valid(row).then(|| row.checked_sub(offsets.value(row) as usize)) {
        Some(Some(parent)) => hex(ids.value(parent)),
        _ if far_ids.is_valid(row) => hex(far_ids.value(row)),
        _ => hex(&[0; 8]),
    };
    Ok(StringArray::from_iter_values((0..spans.num_rows()).map(parent_id)))
}

/// Nested-set numbers of every span; `spans` must be whole runs.
pub(super) fn nested_sets_of(spans: &RecordBatch) -> Result<Vec<NestedSet>, Error> {
    let u32s = |name: &str| {
        let array = spans::column(spans, name)?;
        array.as_primitive_opt::<UInt32Type>().ok_or_else(|| Error::damaged(name))
    };
    let (traces, offsets) = (u32s(column::TRACE)?, u32s(column::PARENT_OFFSET)?);
    let far_ids = span_ids(spans, column::PARENT_SPAN_ID)?;
    let rows: Vec<(Option<u32>, bool)> = (0..spans.num_rows())
        .map(|row| {
            let offset = offsets.is_valid(row).then(|| offsets.value(row));
            let is_root = offset.is_none() && (far_ids.is_null(row) || far_ids.value(row) == [0; 8]);
            (offset, is_root)
        })
        .collect();
    let mut sets = Vec::with_capacity(rows.len());
    for run in traces.values().chunk_by(|left, right| left == right) {
        sets.extend(nested_sets(&rows[sets.len()..sets.len() + run.len()]));
    }
    Ok(sets)
}
