//! A pipeline of several parts, over whole traces: operators between span sets, `by()`, `coalesce()`, aggregates.
//!
//! ```text
//! Pipeline ──on_dimensions──▶ PipelineMasks          once for each source
//!     └──────────on──────────────┴─▶ Batch           once for each batch of spans
//!                                      ├─ candidates  runs in which every part that must find a span finds one
//!                                      └─ evaluate    the span sets that are left at the end
//! ```
//!
//! Filters and values are decided for all rows of a batch at a time. A span set is then a list of rows, and every stage
//! turns lists into lists. How stages work is in `pipeline/batch.rs`; here is what a pipeline is and needs.

mod batch;

use std::sync::Arc;

use arrow::buffer::BooleanBuffer;
use spans::SpanTable;
use spans::schema::column;
use storage::source::Projection;
use traceql::{CompareOp, Conditions, FieldExpr, Form, ScalarFilter, SpansetOp, Static};

use super::aggregate::Aggregation;
use super::evaluate::DimensionMasks;
use super::fields::{FieldUse, TREE_COLUMNS, group_if_missing};
use super::filter::Filter;
use crate::error::Error;

pub(crate) use batch::Batch;

/// A compiled pipeline.
#[derive(Debug, Default)]
pub(crate) struct Pipeline {
    stages: Vec<Stage>,
    /// Span filters; stages know them by number.
    filters: Vec<Filter>,
    /// Expressions of `by()` and aggregates; stages know them by number.
    values: Vec<Filter>,
    has_structure: bool,
    groups_by_resource: bool,
    /// Whether what is found in a part of a trace may differ from what is found in the whole.
    joins_spans: bool,
}

#[derive(Debug)]
enum Stage {
    Spans(Operand),
    By {
        key: Arc<str>,
        value: usize,
        if_missing: Option<Static>,
    },
    /// Splits span sets by the resource of their spans. No query says so; a search by tags does.
    ByResource,
    Aggregate {
        key: Arc<str>,
        aggregation: Aggregation,
        value: Option<usize>,
        op: CompareOp,
        literal: Static,
    },
    Coalesce,
}

/// What gives spans.
#[derive(Debug)]
enum Operand {
    Filter(usize),
    Op { op: SpansetOp, left: Box<Operand>, right: Box<Operand> },
    Pipeline(Vec<Stage>),
}

/// The parts of the filters that were decided on the small tables of a source.
#[derive(Debug)]
pub(crate) struct PipelineMasks {
    of_filters: Vec<DimensionMasks>,
    /// Traces that may match; `None` for all.
    pub traces: Option<BooleanBuffer>,
}

impl Pipeline {
    /// # Errors
    /// [`Error::Query`] for what the checker of the language refuses.
    pub fn compile(pipeline: &traceql::Pipeline) -> Result<Self, Error> {
        let mut compiled = Self::default();
        compiled.stages = compiled.compile_stages(pipeline)?;
        Ok(compiled)
    }

    /// What keeps a trace if each filter of `anywhere` is true of some span, and those of `of_one_resource` of spans of one
    /// resource.
    ///
    /// # Errors
    /// As [`compile`](Self::compile).
    pub fn of_tags(anywhere: &[FieldExpr], of_one_resource: &[FieldExpr]) -> Result<Self, Error> {
        let mut compiled = Self::default();
        let mut operands = |exprs: &[FieldExpr]| {
            exprs.iter().map(|expr| compiled.compile_filter(expr)).collect::<Result<Vec<_>, Error>>()
        };
        let of_one_resource_count = of_one_resource.len();
        let (mut anywhere, of_one_resource) = (operands(anywhere)?, operands(of_one_resource)?);
        anywhere.extend(match of_one_resource_count {
            0 | 1 => all_of(of_one_resource),
            _ => all_of(of_one_resource).map(|all| Operand::Pipeline(vec![Stage::ByResource, Stage::Spans(all)])),
        });
        compiled.joins_spans = true;
        compiled.groups_by_resource = of_one_resource_count > 1;
        compiled.stages = all_of(anywhere).map(Stage::Spans).into_iter().collect();
        Ok(compiled)
    }

    fn compile_stages(&mut self, pipeline: &traceql::Pipeline) -> Result<Vec<Stage>, Error> {
        let mut stages = Vec::new();
        for stage in &pipeline.stages {
            stages.push(match stage {
                traceql::Stage::Spans(expr) => Stage::Spans(self.compile_operand(expr)?),
                traceql::Stage::Scalar(filter) => self.compile_aggregate(filter)?,
                traceql::Stage::By(expr) => Stage::By {
                    key: format!("by({expr})").into(),
                    value: self.compile_value(expr)?,
                    if_missing: match expr {
                        FieldExpr::Field(field) => group_if_missing(field),
                        _ => None,
                    },
                },
                traceql::Stage::Coalesce => Stage::Coalesce,
                traceql::Stage::Select(_) => continue,
            });
        }
        Ok(stages)
    }

    fn compile_operand(&mut self, expr: &traceql::SpansetExpr) -> Result<Operand, Error> {
        Ok(match expr {
            traceql::SpansetExpr::Filter(expr) => self.compile_filter(expr)?,
            traceql::SpansetExpr::Pipeline(pipeline) => Operand::Pipeline(self.compile_stages(pipeline)?),
            traceql::SpansetExpr::Op { op, left, right } => {
                self.has_structure |= matches!(op, SpansetOp::Structural(..));
                self.joins_spans |= *op != SpansetOp::Or;
                let (left, right) = (self.compile_operand(left)?, self.compile_operand(right)?);
                Operand::Op { op: *op, left: Box::new(left), right: Box::new(right) }
            }
        })
    }

    fn compile_filter(&mut self, expr: &FieldExpr) -> Result<Operand, Error> {
        self.filters.push(Filter::compile(expr)?);
        Ok(Operand::Filter(self.filters.len() - 1))
    }

    fn compile_aggregate(&mut self, filter: &ScalarFilter) -> Result<Stage, Error> {
        let (aggregate, op, literal) = filter.parts().ok_or(traceql::Error::ScalarLeft)?;
        let aggregation = match aggregate {
            traceql::Aggregate::Count => Aggregation::Count,
            traceql::Aggregate::Min(_) => Aggregation::Min,
            traceql::Aggregate::Max(_) => Aggregation::Max,
            traceql::Aggregate::Avg(_) => Aggregation::Avg,
            traceql::Aggregate::Sum(_) => Aggregation::Sum,
        };
        self.joins_spans = true;
        let value = aggregate.argument().map(|expr| self.compile_value(expr)).transpose()?;
        Ok(Stage::Aggregate { key: aggregate.to_string().into(), aggregation, value, op, literal: literal.clone() })
    }

    fn compile_value(&mut self, expr: &FieldExpr) -> Result<usize, Error> {
        self.values.push(Filter::compile(expr)?);
        Ok(self.values.len() - 1)
    }

    /// Whether traces must be put together before they are evaluated.
    pub fn needs_whole_traces(&self) -> bool {
        let mut parts = self.filters.iter().chain(&self.values);
        self.joins_spans || parts.any(|part| part.field_use().needs_whole_traces())
    }

    /// The columns that [`Batch::candidates`] reads.
    pub fn filter_projection(&self) -> Projection {
        let mut field_use = FieldUse::default();
        self.filters.iter().for_each(|filter| field_use.merge(filter.field_use()));
        let mut projection = field_use.projection();
        projection.columns.insert(column::TRACE); // so that some column is read
        projection
    }

    /// The columns that [`Batch::evaluate`] reads.
    pub fn projection(&self) -> Projection {
        let mut projection = self.filter_projection();
        self.values.iter().for_each(|value| projection.merge(&value.projection()));
        if self.has_structure {
            projection.columns.extend(TREE_COLUMNS);
        }
        projection.columns.extend(self.groups_by_resource.then_some(column::RESOURCE));
        projection
    }

    /// Whether traces can be left out by their filters alone.
    pub fn can_narrow(&self) -> bool {
        let some = |number: usize| (!self.filters[number].is_always()).then(|| BooleanBuffer::new_unset(1));
        possible_stages(&self.stages, &some).is_some()
    }

    /// Decides on the small tables what can be decided there.
    pub fn on_dimensions(&self, table: &SpanTable) -> Result<PipelineMasks, Error> {
        let of_filters =
            self.filters.iter().map(|filter| filter.on_dimensions(table)).collect::<Result<Vec<_>, _>>()?;
        let traces = possible_stages(&self.stages, &|number| match &of_filters[number] {
            masks if masks.is_never => Some(BooleanBuffer::new_unset(table.trace_count())),
            masks => masks.traces.clone(),
        });
        Ok(PipelineMasks { of_filters, traces: both(traces, self.by_span_count(table)?) })
    }

    /// Traces that have enough spans, where the pipeline counts what its first filter keeps; `None` for all.
    fn by_span_count(&self, table: &SpanTable) -> Result<Option<BooleanBuffer>, Error> {
        let Some((filter, op, literal)) = self.counted_filter() else { return Ok(None) };
        let keeps_at_most_all = matches!(op, CompareOp::Gt | CompareOp::Ge);
        if !filter.is_always() && !keeps_at_most_all {
            return Ok(None);
        }
        let traces = table.traces()?;
        let passes = |trace: usize| count_compares(traces.span_rows(trace).len(), op, literal);
        Ok(Some(BooleanBuffer::collect_bool(traces.len(), passes)))
    }

    /// Whether something may be found where no trace has more than so many spans. `false` is certain.
    pub fn may_find_in_traces_of(&self, most_spans: usize) -> bool {
        match self.counted_filter() {
            Some((_, CompareOp::Gt, literal)) => count_compares(most_spans, CompareOp::Gt, literal),
            Some((_, CompareOp::Ge | CompareOp::Eq, literal)) => count_compares(most_spans, CompareOp::Ge, literal),
            _ => true,
        }
    }

    /// Of a pipeline that begins so: the filter whose spans are counted, and what their number is compared with. `None` when the
    /// filter may fail, too.
    fn counted_filter(&self) -> Option<(&Filter, CompareOp, &Static)> {
        let [
            Stage::Spans(Operand::Filter(filter)),
            Stage::Aggregate { aggregation: Aggregation::Count, op, literal, .. },
            ..,
        ] = self.stages.as_slice()
        else {
            return None;
        };
        let filter = &self.filters[*filter];
        (!filter.is_fallible()).then_some((filter, *op, literal))
    }

    /// What every span satisfies that a filter keeps, for each filter.
    pub fn conditions(&self) -> Vec<Conditions> {
        self.filters.iter().map(|filter| filter.conditions().clone()).collect()
    }

    /// Where the pipeline may find something, if `of_filter` says so for its filters. `None` stands for everywhere.
    pub fn possible(&self, of_filter: &dyn Fn(usize) -> Option<BooleanBuffer>) -> Option<BooleanBuffer> {
        possible_stages(&self.stages, of_filter)
    }

    /// `masks` must come from the small tables of `table`.
    pub fn on<'a>(&'a self, table: &'a SpanTable, masks: &'a PipelineMasks) -> Batch<'a> {
        Batch::new(self, table, masks)
    }
}

fn count_compares(spans: usize, op: CompareOp, literal: &Static) -> bool {
    Static::Int(spans as i64).compare(op, literal)
}

/// What all of some operands find together; a tree that is not deep however many they are.
fn all_of(mut operands: Vec<Operand>) -> Option<Operand> {
    let right = operands.split_off(operands.len().div_ceil(2));
    if right.is_empty() {
        return operands.pop();
    }
    let (left, right) = (Box::new(all_of(operands)?), Box::new(all_of(right)?));
    Some(Operand::Op { op: SpansetOp::And, left, right })
}

/// Where a pipeline may find something, if `of_filter` says so for its filters. `None` stands for everywhere.
fn possible_stages(stages: &[Stage], of_filter: &dyn Fn(usize) -> Option<BooleanBuffer>) -> Option<BooleanBuffer> {
    let spans = stages.iter().filter_map(|stage| match stage {
        Stage::Spans(operand) => Some(operand),
        _ => None,
    });
    spans.fold(None, |all, operand| both(all, possible(operand, of_filter)))
}

fn possible(operand: &Operand, of_filter: &dyn Fn(usize) -> Option<BooleanBuffer>) -> Option<BooleanBuffer> {
    match operand {
        Operand::Filter(number) => of_filter(*number),
        Operand::Pipeline(stages) => possible_stages(stages, of_filter),
        Operand::Op { op, left, right } => match op {
            SpansetOp::Or => Some(&possible(left, of_filter)? | &possible(right, of_filter)?),
            SpansetOp::Structural(_, Form::Negated) => possible(right, of_filter),
            SpansetOp::And | SpansetOp::Structural(_, Form::Plain | Form::Union) => {
                both(possible(left, of_filter), possible(right, of_filter))
            }
        },
    }
}

fn both(left: Option<BooleanBuffer>, right: Option<BooleanBuffer>) -> Option<BooleanBuffer> {
    match (left, right) {
        (Some(left), Some(right)) => Some(&left & &right),
        (left, right) => left.or(right),
    }
}

#[cfg(test)]
mod tests;
