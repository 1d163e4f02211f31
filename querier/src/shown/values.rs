//! The values themselves, of rows of a table.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, UInt32Type};
use model::SpanId;
use spans::SpanTable;
use spans::schema::column;
use traceql::{Field, Static};

use super::{Shown, ShownField};
use crate::answer::{FoundSpan, Value};
use crate::error::Error;
use crate::eval::{Cell, Column, DimensionMasks, Evaluation, Home, home};

/// The values of some spans under the names of their fields, with scopes.
pub(crate) fn values_of(
    table: &SpanTable,
    shown: &Shown,
    rows: impl Iterator<Item = usize>,
) -> Result<Vec<Vec<(String, Value)>>, Error> {
    let spans = ShownSpans::of(table, shown)?;
    rows.map(|row| spans.values(row, Field::to_string)).collect()
}

/// What the `spans` table says, with everything shown looked up.
pub(crate) struct ShownSpans<'a> {
    shown: &'a Shown,
    batch: &'a RecordBatch,
    evaluation: Evaluation<'a>,
    columns: Vec<std::rc::Rc<Column>>,
}

const NO_MASKS: &DimensionMasks = &DimensionMasks::NONE;

impl<'a> ShownSpans<'a> {
    pub fn of(table: &'a SpanTable, shown: &'a Shown) -> Result<Self, Error> {
        let evaluation = Evaluation::new(table, NO_MASKS)?;
        let columns =
            shown.fields.iter().map(|shown| evaluation.field(&shown.field)).collect::<Result<Vec<_>, Error>>()?;
        Ok(Self { shown, batch: &table.spans, evaluation, columns })
    }

    pub fn get(&self, row: usize, trace_start_nanos: u64) -> Result<FoundSpan, Error> {
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
        // of events and links one without it is enough
        let mut is_missing = false;
        for item in items.rev() {
            is_missing |= column.cells(item).all(|cell| cell == Cell::Missing);
            for cell in column.cells(item) {
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
