//! Which values an answer shows of a span: those that made it match, and what `select()` names.
//!
//! - `field op literal`: the value if it satisfies that comparison; of an array the elements that do. It is the same in
//!   `!(...)`, `by(...)` and aggregates: `by(span.a > 10)` shows no `span.a` of 10 and less;
//! - fields in other expressions and in `select()`: the value if there is one;
//! - of events and links the last value that qualifies;
//! - the name as other values, though it has a place of its own.

mod values;

use model::{Intrinsic, Scope};
use spans::schema::column;
use storage::source::Projection;
use traceql::{BinaryOp, CompareOp, Field, FieldExpr, Pattern, Pipeline, SpansetExpr, Stage, Static, anchored_regex};

use crate::error::Error;
use crate::eval::FieldUse;

pub(crate) use values::{ShownSpans, values_of};

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
