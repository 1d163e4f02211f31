//! What the answer says of a trace and of its spans that match.
//!
//! A span shows the values that made it match, and what `select()` names:
//!
//! - `field op literal`: the value if it satisfies that comparison; of an array the elements that do. It is the same in
//!   `!(...)`, `by(...)` and aggregates: `by(span.a > 10)` shows no `span.a` of 10 and less;
//! - fields in other expressions and in `select()`: the value if there is one;
//! - of events and links the last value that qualifies;
//! - the name as other values, though it has a place of its own.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, ListArray, RecordBatch, StructArray, UInt32Array};
use arrow::datatypes::{Int64Type, UInt32Type};
use model::{Intrinsic, Scope, SpanId};
use spans::schema::{column, trace_column};
use spans::{SpanTable, Traces};
use storage::source::Projection;
use traceql::{BinaryOp, CompareOp, Field, FieldExpr, Pattern, Pipeline, SpansetExpr, Stage, Static, anchored_regex};

use crate::answer::{FoundSpan, FoundTrace, ServiceStats, SpanSet, Value};
use crate::cancellation;
use crate::error::Error;
use crate::eval::{Cell, Column, DimensionMasks, Evaluation, FieldUse, Home, home};
use crate::finder::HitSet;

/// Which values of a span are shown.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    name: Option<ShownField>,
    fields: Vec<ShownField>,
    field_use: FieldUse,
    /// An exemplar has nothing but these values: those that a search shows elsewhere are among them.
    is_of_exemplar: bool,
}

#[derive(Debug)]
struct ShownField {
    /// Never unscoped.
    field: Field,
    tests: Vec<Test>,
    /// Shown whatever its value.
    always: bool,
    /// Compared with nil: shown as the text `nil` when it is missing.
    if_missing: bool,
}

/// A comparison with a literal.
#[derive(Debug, Clone)]
enum Test {
    Present,
    Compare(CompareOp, Static),
    Pattern { pattern: Pattern, negated: bool },
}

/// A trace to show, with rows of its spans.
pub(crate) struct ToShow {
    /// Row of `traces`.
    pub trace: usize,
    /// Rows are those of `spans`.
    pub sets: Vec<HitSet>,
}

impl Shown {
    pub fn of(pipeline: &Pipeline) -> Result<Self, Error> {
        let mut shown = Self::default();
        shown.collect_pipeline(pipeline)?;
        shown.field_use = FieldUse::of(shown.fields.iter().map(|shown| &shown.field));
        Ok(shown)
    }

    /// What an exemplar shows of its span: what a search with this pipeline would, and some fields besides. What depends on
    /// other spans of the trace is left out, because they are not read for it.
    pub fn by_exemplars<'f>(pipeline: &Pipeline, besides: impl IntoIterator<Item = &'f Field>) -> Result<Self, Error> {
        let mut shown = Self { is_of_exemplar: true, ..Self::default() };
        shown.collect_pipeline(pipeline)?;
        besides.into_iter().for_each(|field| shown.add_always(field));
        shown.fields.retain(|shown| !FieldUse::of([&shown.field]).needs_whole_runs());
        shown.field_use = FieldUse::of(shown.fields.iter().map(|shown| &shown.field));
        Ok(shown)
    }

    fn collect_pipeline(&mut self, pipeline: &Pipeline) -> Result<(), Error> {
        for stage in &pipeline.stages {
            match stage {
                Stage::Spans(expr) => self.collect_spans(expr)?,
                Stage::By(expr) => self.collect(expr)?,
                Stage::Scalar(filter) => {
                    let aggregate = filter.parts().and_then(|(aggregate, _, _)| aggregate.argument());
                    aggregate.map_or(Ok(()), |expr| self.collect(expr))?;
                }
                Stage::Select(fields) => fields.iter().for_each(|field| self.add_always(field)),
                Stage::Coalesce => {}
            }
        }
        Ok(())
    }

    fn collect_spans(&mut self, expr: &SpansetExpr) -> Result<(), Error> {
        match expr {
            SpansetExpr::Filter(expr) => self.collect(expr),
            SpansetExpr::Pipeline(pipeline) => self.collect_pipeline(pipeline),
            SpansetExpr::Op { left, right, .. } => {
                self.collect_spans(left)?;
                self.collect_spans(right)
            }
        }
    }

    fn add_always(&mut self, field: &Field) {
        self.add(field, |shown| shown.always = true);
    }

    /// A comparison counts wherever it stands: below a negation too it is its own value that is shown.
    fn collect(&mut self, expr: &FieldExpr) -> Result<(), Error> {
        let (op, left, right) = match expr {
            FieldExpr::Literal(_) => return Ok(()),
            FieldExpr::Field(field) => {
                self.add_always(field);
                return Ok(());
            }
            FieldExpr::Unary { expr, .. } => return self.collect(expr),
            FieldExpr::Binary { op, left, right } => (op, &**left, &**right),
        };
        match (op, left, right) {
            (BinaryOp::Compare(op), FieldExpr::Field(field), FieldExpr::Literal(literal)) => {
                self.add_test(field, *op, literal)
            }
            (BinaryOp::Compare(op), FieldExpr::Literal(literal), FieldExpr::Field(field)) => {
                self.add_test(field, op.mirrored().unwrap_or(*op), literal)
            }
            _ => {
                self.collect(left)?;
                self.collect(right)
            }
        }
    }

    fn add_test(&mut self, field: &Field, op: CompareOp, literal: &Static) -> Result<(), Error> {
        match (op, literal) {
            (CompareOp::Eq, Static::Nil) => {
                let is_scoped = !matches!(field, Field::Attribute { scope: None, .. });
                self.add(field, |shown| shown.if_missing = is_scoped);
            }
            (CompareOp::Ne, Static::Nil) => self.add(field, |shown| shown.tests.push(Test::Present)),
            (CompareOp::Match | CompareOp::NotMatch, Static::String(pattern)) => {
                let test = Test::Pattern { pattern: anchored_regex(pattern)?, negated: op == CompareOp::NotMatch };
                self.add(field, |shown| shown.tests.push(test.clone()));
            }
            _ => self.add(field, |shown| shown.tests.push(Test::Compare(op, literal.clone()))),
        }
        Ok(())
    }

    /// An unscoped attribute is shown from the span and from the resource.
    fn add(&mut self, field: &Field, change: impl Fn(&mut ShownField)) {
        if let Field::Attribute { scope: None, name } = field {
            self.add(&Field::attribute(Scope::Span, name), &change as &dyn Fn(&mut ShownField));
            self.add(&Field::attribute(Scope::Resource, name), &change as &dyn Fn(&mut ShownField));
            return;
        }
        let new = || ShownField { field: field.clone(), tests: Vec::new(), always: false, if_missing: false };
        let has_place_of_its_own = match field {
            Field::Intrinsic(Intrinsic::Name) if !self.is_of_exemplar => {
                return change(self.name.get_or_insert_with(new));
            }
            Field::Intrinsic(intrinsic) if self.is_of_exemplar => *intrinsic == Intrinsic::TraceId,
            field => has_place_of_its_own(field),
        };
        if has_place_of_its_own {
            return;
        }
        let at = self.fields.iter().position(|shown| shown.field == *field).unwrap_or_else(|| {
            self.fields.push(new());
            self.fields.len() - 1
        });
        change(&mut self.fields[at]);
    }

    /// The columns that have the values.
    pub fn values_projection(&self) -> Projection {
        self.field_use.projection()
    }

    /// The columns that are needed to show spans.
    pub fn projection(&self) -> Projection {
        let mut projection = self.values_projection();
        projection.columns.extend([column::SPAN_ID, column::START_OFFSET_NANOS, column::DURATION_NANOS]);
        if self.name.is_some() {
            projection.columns.insert(column::NAME);
        }
        projection
    }

    /// Whether spans can only be shown when their whole trace was read.
    pub fn needs_whole_runs(&self) -> bool {
        self.field_use.needs_whole_runs()
    }
}

/// Values that an answer has elsewhere, or that it would only repeat.
fn has_place_of_its_own(field: &Field) -> bool {
    use Intrinsic::{Duration, Name, RootName, RootServiceName, SpanId, TraceDuration, TraceId};
    let Field::Intrinsic(intrinsic) = field else { return false };
    matches!(intrinsic, Name | Duration | TraceId | SpanId | TraceDuration | RootName | RootServiceName)
}

/// The answer's entries; without `shown`, only what describes the trace.
pub(crate) fn traces(table: &SpanTable, wanted: &[ToShow], shown: Option<&Shown>) -> Result<Vec<FoundTrace>, Error> {
    let headers = Headers::of(&table.traces)?;
    let Some(shown) = shown else {
        return wanted.iter().map(|wanted| headers.get(wanted.trace, false)).collect();
    };
    let spans = Spans::of(table, shown)?;
    let entry = |wanted: &ToShow| {
        cancellation::check()?;
        let mut found = headers.get(wanted.trace, true)?;
        let span_set = |set: &HitSet| {
            let spans = set.rows.iter().map(|&row| spans.get(row, found.start_nanos)).collect::<Result<_, Error>>()?;
            let attributes =
                set.attributes.iter().filter_map(|(key, value)| Some((key.to_string(), group_value(value)?)));
            Ok(SpanSet { matched: set.matched, spans, attributes: attributes.collect() })
        };
        found.span_sets = wanted.sets.iter().map(span_set).collect::<Result<_, Error>>()?;
        Ok(found)
    };
    wanted.iter().map(entry).collect()
}

/// The values of some spans under the names of their fields, with scopes.
pub(crate) fn values_of(
    table: &SpanTable,
    shown: &Shown,
    rows: impl Iterator<Item = usize>,
) -> Result<Vec<Vec<(String, Value)>>, Error> {
    let spans = Spans::of(table, shown)?;
    rows.map(|row| spans.values(row, Field::to_string)).collect()
}

/// What the `traces` table says.
struct Headers<'a> {
    traces: Traces<'a>,
    root_service: Column,
    root_name: Column,
    services: &'a ListArray,
}

impl<'a> Headers<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, Error> {
        let services = spans::column(batch, trace_column::SERVICES)?;
        let text = |name: &str| crate::eval::text_column(batch, name);
        Ok(Self {
            traces: Traces::of(batch)?,
            root_service: text(trace_column::ROOT_SERVICE)?,
            root_name: text(trace_column::ROOT_NAME)?,
            services: services.as_list_opt().ok_or_else(|| Error::damaged(trace_column::SERVICES))?,
        })
    }

    fn get(&self, trace: usize, with_services: bool) -> Result<FoundTrace, Error> {
        let (start_nanos, end_nanos) = (self.traces.start_nanos(trace), self.traces.end_nanos(trace));
        Ok(FoundTrace {
            trace_id: self.traces.id(trace),
            root_service: text_of(&self.root_service, trace).filter(|name| !name.is_empty()),
            root_name: text_of(&self.root_name, trace),
            start_nanos,
            duration_nanos: end_nanos.saturating_sub(start_nanos),
            services: if with_services { self.services(trace)? } else { BTreeMap::new() },
            span_sets: Vec::new(),
        })
    }

    /// A service without a name counts under the empty name.
    fn services(&self, trace: usize) -> Result<BTreeMap<String, ServiceStats>, Error> {
        let damaged = || Error::damaged(trace_column::SERVICES);
        let items = self.services.value(trace);
        let items: &StructArray = items.as_struct_opt().ok_or_else(damaged)?;
        let counts = |name: &str| -> Result<UInt32Array, Error> {
            let array = items.column_by_name(name).ok_or_else(damaged)?;
            Ok(array.as_primitive_opt::<UInt32Type>().ok_or_else(damaged)?.clone())
        };
        let names = RecordBatch::from(items.clone());
        let names = crate::eval::text_column(&names, "service")?;
        let (span_counts, error_counts) = (counts("span_count")?, counts("error_count")?);
        let mut services: BTreeMap<String, ServiceStats> = BTreeMap::new();
        for item in 0..items.len() {
            let stats = services.entry(text_of(&names, item).unwrap_or_default()).or_default();
            stats.span_count += span_counts.value(item);
            stats.error_count += error_counts.value(item);
        }
        Ok(services)
    }
}

fn text_of(column: &Column, row: usize) -> Option<String> {
    match column.cell(row) {
        Cell::One(Static::String(text)) => Some(text),
        _ => None,
    }
}

/// What the `spans` table says, with everything shown looked up.
struct Spans<'a> {
    shown: &'a Shown,
    batch: &'a RecordBatch,
    evaluation: Evaluation<'a>,
    columns: Vec<std::rc::Rc<Column>>,
}

const NO_MASKS: &DimensionMasks = &DimensionMasks::NONE;

impl<'a> Spans<'a> {
    fn of(table: &'a SpanTable, shown: &'a Shown) -> Result<Self, Error> {
        let evaluation = Evaluation::new(table, NO_MASKS)?;
        let columns =
            shown.fields.iter().map(|shown| evaluation.field(&shown.field)).collect::<Result<Vec<_>, Error>>()?;
        Ok(Self { shown, batch: &table.spans, evaluation, columns })
    }

    fn get(&self, row: usize, trace_start_nanos: u64) -> Result<FoundSpan, Error> {
        let nanos = |name: &str| -> Result<i64, Error> {
            let array = spans::column(self.batch, name)?;
            Ok(array.as_primitive_opt::<Int64Type>().ok_or_else(|| Error::damaged(name))?.value(row))
        };
        let ids = spans::column(self.batch, column::SPAN_ID)?;
        let ids = ids.as_fixed_size_binary_opt().ok_or_else(|| Error::damaged(column::SPAN_ID))?;
        let name = self.shown.name.as_ref().map(|shown| self.name(shown, row)).transpose()?.flatten();
        Ok(FoundSpan {
            span_id: SpanId(ids.value(row).try_into().map_err(|_| Error::damaged(column::SPAN_ID))?),
            name,
            start_nanos: trace_start_nanos.wrapping_add(nanos(column::START_OFFSET_NANOS)? as u64),
            duration_nanos: nanos(column::DURATION_NANOS)?.max(0) as u64,
            attributes: self.values(row, key)?,
        })
    }

    fn values(&self, row: usize, name: impl Fn(&Field) -> String) -> Result<Vec<(String, Value)>, Error> {
        let mut values = Vec::new();
        for (shown, column) in self.shown.fields.iter().zip(&self.columns) {
            if let Some(value) = self.value(shown, column, row)? {
                values.push((name(&shown.field), value));
            }
        }
        Ok(values)
    }

    fn name(&self, shown: &ShownField, row: usize) -> Result<Option<String>, Error> {
        let name = crate::eval::text_column(self.batch, column::NAME)?.cell(row);
        Ok(match self.qualifying(shown, name) {
            Some(Value::String(name)) if !name.is_empty() => Some(name),
            _ => None,
        })
    }

    /// The value to show, if any.
    fn value(&self, shown: &ShownField, column: &Column, row: usize) -> Result<Option<Value>, Error> {
        let items = match home(&shown.field) {
            Some(Home::Events) => self.evaluation.events()?.range(row),
            Some(Home::Links) => self.evaluation.links()?.range(row),
            Some(Home::Resources) => one(self.dimension_row(column::RESOURCE, row)?),
            Some(Home::Scopes) => one(self.dimension_row(column::SCOPE, row)?),
            Some(Home::Traces) => one(self.dimension_row(column::TRACE, row)?),
            _ => one(row),
        };
        let mut is_missing = true;
        for item in items.rev() {
            for cell in column.cells(item) {
                is_missing &= cell == Cell::Missing;
                if let Some(value) = self.qualifying(shown, cell) {
                    return Ok(Some(value));
                }
            }
        }
        Ok((shown.if_missing && is_missing).then(|| Value::String("nil".to_owned())))
    }

    fn dimension_row(&self, name: &str, row: usize) -> Result<usize, Error> {
        let rows = spans::column(self.batch, name)?;
        Ok(rows.as_primitive_opt::<UInt32Type>().ok_or_else(|| Error::damaged(name))?.value(row) as usize)
    }

    /// The value, or those of its elements, that qualify.
    fn qualifying(&self, shown: &ShownField, cell: Cell) -> Option<Value> {
        let qualifies = |value: &Static| shown.always || self.passes(shown, value);
        match cell {
            Cell::Missing | Cell::Opaque => None,
            Cell::One(value) => qualifies(&value).then(|| value.into()),
            Cell::Many(values) => {
                let mut kept: Vec<Value> = values.into_iter().filter(qualifies).map(Value::from).collect();
                match kept.len() {
                    0 | 1 => kept.pop(),
                    _ => Some(Value::Array(kept)),
                }
            }
        }
    }

    /// Whether the value satisfies a comparison of its field. As in Tempo, it also shows when it satisfies a comparison of
    /// another attribute of the same scope with a literal of its type: that is what clients compare with.
    fn passes(&self, shown: &ShownField, value: &Static) -> bool {
        if shown.tests.iter().any(|test| test.passes(value)) {
            return true;
        }
        let Field::Attribute { scope, .. } = &shown.field else { return false };
        let of_scope = self.shown.fields.iter().filter(|other| match &other.field {
            Field::Attribute { scope: other, .. } => other == scope,
            _ => false,
        });
        !shown.tests.is_empty()
            && of_scope.flat_map(|other| &other.tests).any(|test| test.is_of_type(value) && test.passes(value))
    }
}

impl Test {
    fn passes(&self, value: &Static) -> bool {
        match (self, value) {
            (Self::Present, _) => true,
            (Self::Compare(op, literal), value) => value.compare(*op, literal),
            (Self::Pattern { pattern, negated }, Static::String(text)) => pattern.is_match(text) != *negated,
            (Self::Pattern { .. }, _) => false,
        }
    }

    fn is_of_type(&self, value: &Static) -> bool {
        match self {
            Self::Present => false,
            Self::Compare(_, literal) => std::mem::discriminant(literal) == std::mem::discriminant(value),
            Self::Pattern { .. } => matches!(value, Static::String(_)),
        }
    }
}

fn one(row: usize) -> std::ops::Range<usize> {
    row..row + 1
}

/// The name under which a field is shown: without its scope.
fn key(field: &Field) -> String {
    match field {
        Field::Attribute { name, .. } => name.clone(),
        other => other.to_string(),
    }
}

/// What a group has in common, or what was aggregated. Spans without a value are a group too, of which nothing is said: a
/// text that stands for it would be of another type than the values of the other groups, and clients fail on such a mix.
fn group_value(value: &Cell) -> Option<Value> {
    match value {
        Cell::Missing | Cell::Opaque => None,
        Cell::One(value) => Some(value.clone().into()),
        Cell::Many(values) => Some(Value::Array(values.iter().cloned().map(Value::from).collect())),
    }
}
