//! Evaluating a filter on a batch of spans.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::take;
use arrow::datatypes::UInt32Type;
use hashbrown::HashMap;
use model::Scope;
use spans::SpanTable;
use spans::schema::column;
use traceql::Field;

use super::column::{Column, TypedValues, take_mask};
use super::fields::{self, Home, home};
use super::filter::{Filter, Node, NodeKind};
use super::items::{Items, Pairs};
use super::{arithmetic, attributes, compare};
use crate::cancellation;
use crate::error::Error;

/// What a filter keeps of a batch.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    pub spans: BooleanBuffer,
    /// The events that take part, if the filter looks at events.
    pub events: Option<BooleanBuffer>,
    /// The links that take part, if the filter looks at links.
    pub links: Option<BooleanBuffer>,
}

/// The parts of a filter that were decided on the small tables of a source, by node.
#[derive(Debug)]
pub(crate) struct DimensionMasks {
    masks: Vec<Option<(Home, BooleanBuffer)>>,
    /// Traces that pass the conditions on the trace, where those stand alone.
    pub traces: Option<BooleanBuffer>,
    /// True if no span of the source can pass.
    pub is_never: bool,
}

impl Filter {
    /// Decides on the small tables what can be decided there. The rows of `table.spans` are not looked at.
    pub fn on_dimensions(&self, table: &SpanTable) -> Result<DimensionMasks, Error> {
        let nothing = DimensionMasks::NONE;
        let table = SpanTable { spans: RecordBatch::new_empty(table.spans.schema()), ..table.clone() };
        let evaluation = Evaluation::without_rows(&table, &nothing);
        let mut result = DimensionMasks { masks: vec![None; self.node_count], traces: None, is_never: self.is_never() };
        let mut pending = vec![(&self.root, true)];
        while let Some((node, must_be_true)) = pending.pop() {
            match &node.kind {
                _ if node.home.is_dimension() => {
                    let mask = evaluation.mask(node, node.home, None)?;
                    if must_be_true {
                        result.require(node.home, &mask);
                    }
                    result.masks[node.id] = Some((node.home, mask));
                }
                _ if node.home == Home::Constant && must_be_true => {
                    result.require(Home::Traces, &evaluation.mask(node, Home::Traces, None)?);
                }
                _ if node.home == Home::Constant => {}
                NodeKind::And(left, right) => pending.extend([(&**left, must_be_true), (&**right, must_be_true)]),
                NodeKind::Or(left, right) => pending.extend([(&**left, false), (&**right, false)]),
                NodeKind::Not(inner) => pending.push((inner, false)),
                _ => {}
            }
        }
        Ok(result)
    }

    /// The spans for which the filter is true. `masks` must come from the small tables of `table`.
    ///
    /// # Errors
    /// [`Error::Query`] for a division of ints by zero, [`Error::Damaged`] for a table of another shape.
    pub fn select(&self, table: &SpanTable, masks: &DimensionMasks) -> Result<Selection, Error> {
        Evaluation::new(table, masks)?.select(self)
    }
}

impl DimensionMasks {
    /// Nothing is decided yet.
    pub const NONE: Self = Self { masks: Vec::new(), traces: None, is_never: false };

    fn require(&mut self, home: Home, mask: &BooleanBuffer) {
        self.is_never |= mask.count_set_bits() == 0;
        if home == Home::Traces {
            self.traces = Some(self.traces.as_ref().map_or_else(|| mask.clone(), |traces| traces & mask));
        }
    }
}

/// Whether events are paired with, and whether links are.
type PairedLists = [bool; 2];

/// A batch of spans with its small tables, and what was found out about it.
pub(crate) struct Evaluation<'a> {
    table: &'a SpanTable,
    masks: &'a DimensionMasks,
    events: OnceCell<Items>,
    links: OnceCell<Items>,
    /// Those of the filter that is evaluated now, and which lists are paired.
    pairs: RefCell<Option<(PairedLists, Rc<Pairs>)>>,
    columns: RefCell<HashMap<Field, Rc<Column>>>,
}

impl<'a> Evaluation<'a> {
    /// # Errors
    /// [`Error::Damaged`] when a span refers to a row that does not exist.
    pub fn new(table: &'a SpanTable, masks: &'a DimensionMasks) -> Result<Self, Error> {
        let dimensions =
            [(column::TRACE, &table.traces), (column::RESOURCE, &table.resources), (column::SCOPE, &table.scopes)];
        for (name, dimension) in dimensions {
            let Some(array) = table.spans.column_by_name(name) else { continue };
            let rows = array.as_primitive_opt::<UInt32Type>().ok_or_else(|| Error::damaged(name))?;
            // a fold of numbers, because the compiler turns it into vector instructions, and `max()` of references not
            let last = rows.values().iter().fold(0, |last, &row| row.max(last));
            if !rows.is_empty() && last as usize >= dimension.num_rows() {
                return Err(Error::damaged(name));
            }
        }
        Ok(Self::without_rows(table, masks))
    }

    fn without_rows(table: &'a SpanTable, masks: &'a DimensionMasks) -> Self {
        let (events, links, pairs) = Default::default();
        Self { table, masks, events, links, pairs, columns: RefCell::default() }
    }

    /// The spans for which `filter` is true.
    pub fn select(&self, filter: &Filter) -> Result<Selection, Error> {
        let root = &filter.root;
        let no_items = Selection { spans: BooleanBuffer::new_unset(0), events: None, links: None };
        match root.home {
            Home::Events if !root.true_if_missing => {
                let events = self.mask(root, Home::Events, None)?;
                Ok(Selection { spans: self.events()?.any(&events), events: Some(events), ..no_items })
            }
            Home::Links if !root.true_if_missing => {
                let links = self.mask(root, Home::Links, None)?;
                Ok(Selection { spans: self.links()?.any(&links), links: Some(links), ..no_items })
            }
            Home::Events | Home::Links | Home::Pairs => {
                let pairs = self.pairs(filter)?;
                let mask = self.mask(root, Home::Pairs, None)?;
                let events = filter.looks_at(Home::Events).then(|| self.events()).transpose()?;
                let links = filter.looks_at(Home::Links).then(|| self.links()).transpose()?;
                Ok(Selection {
                    spans: Pairs::any(&mask, &pairs.spans, self.table.spans.num_rows()),
                    events: events.map(|events| Pairs::any(&mask, &pairs.events, events.len())),
                    links: links.map(|links| Pairs::any(&mask, &pairs.links, links.len())),
                })
            }
            _ => Ok(Selection { spans: self.mask(root, Home::Spans, None)?, ..no_items }),
        }
    }

    /// The spans for which `filter` is true. Spans outside `among` do not matter, and cannot fail.
    pub fn select_among(&self, filter: &Filter, among: &BooleanBuffer) -> Result<BooleanBuffer, Error> {
        let root = &filter.root;
        if !root.fallible {
            return Ok(self.select(filter)?.spans);
        }
        if !is_of_items(root.home) {
            return self.mask(root, Home::Spans, Some(among));
        }
        let pairs = self.pairs(filter)?;
        let mask = self.mask(root, Home::Pairs, Some(&take_mask(among, &pairs.spans)))?;
        Ok(Pairs::any(&mask, &pairs.spans, self.table.spans.num_rows()))
    }

    /// The value of an expression at each span: of events and links the first that has one. Spans outside `among` do not
    /// matter, and cannot fail.
    pub fn values(&self, expr: &Filter, among: &BooleanBuffer) -> Result<Rc<Column>, Error> {
        let root = &expr.root;
        if !is_of_items(root.home) {
            return self.column(root, Home::Spans, Some(among));
        }
        let pairs = self.pairs(expr)?;
        let column = self.column(root, Home::Pairs, Some(&take_mask(among, &pairs.spans)))?;
        let mut firsts: Vec<Option<u32>> = vec![None; self.table.spans.num_rows()];
        for pair in column.present().set_indices() {
            firsts[pairs.spans.value(pair) as usize].get_or_insert(pair as u32);
        }
        Ok(Rc::new(column.take(&UInt32Array::from(firsts))?))
    }

    pub fn events(&self) -> Result<&Items, Error> {
        get_or_try(&self.events, || Items::of(&self.table.spans, column::EVENTS))
    }

    pub fn links(&self) -> Result<&Items, Error> {
        get_or_try(&self.links, || Items::of(&self.table.spans, column::LINKS))
    }

    /// The pairs of a filter, which are those of all nodes from here on.
    fn pairs(&self, filter: &Filter) -> Result<Rc<Pairs>, Error> {
        let lists = [Home::Events, Home::Links].map(|items| filter.looks_at(items));
        if let Some((known, pairs)) = &*self.pairs.borrow()
            && *known == lists
        {
            return Ok(pairs.clone());
        }
        let events = lists[0].then(|| self.events()).transpose()?;
        let links = lists[1].then(|| self.links()).transpose()?;
        let pairs = Rc::new(Pairs::of(self.table.spans.num_rows(), events, links)?);
        *self.pairs.borrow_mut() = Some((lists, pairs.clone()));
        Ok(pairs)
    }

    fn present_pairs(&self) -> Option<Rc<Pairs>> {
        self.pairs.borrow().as_ref().map(|(_, pairs)| pairs.clone())
    }

    /// The values of a field in the table that has it.
    pub fn field(&self, field: &Field) -> Result<Rc<Column>, Error> {
        if let Some(column) = self.columns.borrow().get(field) {
            return Ok(column.clone());
        }
        let table = self.table;
        let column = match (field, home(field).ok_or(traceql::Error::ParentScope)?) {
            (_, Home::Events) => self.events()?.column(field)?,
            (_, Home::Links) => self.links()?.column(field)?,
            (Field::Attribute { scope: None, name }, _) => fields::unscoped(table, name)?,
            (Field::Attribute { name, .. }, Home::Resources) => {
                attributes::of_rows(&table.resources, Scope::Resource, name)?
            }
            (Field::Attribute { name, .. }, Home::Scopes) => {
                attributes::of_rows(&table.scopes, Scope::Instrumentation, name)?
            }
            (Field::Attribute { name, .. }, _) => attributes::of_rows(&table.spans, Scope::Span, name)?,
            (Field::Intrinsic(intrinsic), Home::Traces) => fields::of_traces(&table.traces, *intrinsic)?,
            (Field::Intrinsic(intrinsic), Home::Scopes) => fields::of_scopes(&table.scopes, *intrinsic)?,
            (Field::Intrinsic(intrinsic), _) => fields::of_spans(table, *intrinsic)?,
            (Field::Parent(_), _) => return Err(traceql::Error::ParentScope.into()),
        };
        let column = Rc::new(column);
        self.columns.borrow_mut().insert(field.clone(), column.clone());
        Ok(column)
    }

    /// The rows of a small table that some spans refer to.
    pub fn referred_rows(&self, home: Home, spans: &BooleanBuffer) -> Result<BooleanBuffer, Error> {
        Ok(Pairs::any(spans, &self.indices(home, Home::Spans)?, self.rows(home)?))
    }

    fn rows(&self, home: Home) -> Result<usize, Error> {
        Ok(match home {
            Home::Resources => self.table.resources.num_rows(),
            Home::Scopes => self.table.scopes.num_rows(),
            Home::Traces => self.table.traces.num_rows(),
            Home::Events => self.events()?.len(),
            Home::Links => self.links()?.len(),
            Home::Pairs => self.present_pairs().map_or(0, |pairs| pairs.len()),
            Home::Constant | Home::Spans => self.table.spans.num_rows(),
        })
    }

    /// For each row of `to` the row of `from` that belongs to it.
    fn indices(&self, from: Home, to: Home) -> Result<UInt32Array, Error> {
        let dimension = |name: &str| -> Result<UInt32Array, Error> {
            let array = spans::column(&self.table.spans, name)?;
            Ok(array.as_primitive_opt::<UInt32Type>().ok_or_else(|| Error::damaged(name))?.clone())
        };
        let to_spans = match from {
            Home::Resources => Some(dimension(column::RESOURCE)?),
            Home::Scopes => Some(dimension(column::SCOPE)?),
            Home::Traces => Some(dimension(column::TRACE)?),
            _ => None,
        };
        match (from, to, self.present_pairs(), to_spans) {
            (_, Home::Spans, _, Some(rows)) => Ok(rows),
            (_, Home::Pairs, Some(pairs), Some(rows)) => {
                Ok(take(&rows, &pairs.spans, None)?.as_primitive::<UInt32Type>().clone())
            }
            (Home::Spans, Home::Pairs, Some(pairs), _) => Ok(pairs.spans.clone()),
            (Home::Events, Home::Pairs, Some(pairs), _) => Ok(pairs.events.clone()),
            (Home::Links, Home::Pairs, Some(pairs), _) => Ok(pairs.links.clone()),
            _ => unreachable!("a node is evaluated at its home or at a table that refers to it: {from:?}, {to:?}"),
        }
    }

    /// Rows of `at` where the node is true. Rows outside `active` do not matter, and cannot fail.
    fn mask(&self, node: &Node, at: Home, active: Option<&BooleanBuffer>) -> Result<BooleanBuffer, Error> {
        cancellation::check()?;
        if let Some(mask) = self.mask_from_home(node, at)? {
            return Ok(mask);
        }
        Ok(match &node.kind {
            NodeKind::And(left, right) => {
                let left = self.mask(left, at, active)?;
                if left.count_set_bits() == 0 {
                    return Ok(left);
                }
                &left & &self.mask(right, at, active_also(right, active, || left.clone()).as_ref())?
            }
            NodeKind::Or(left, right) => {
                let left = self.mask(left, at, active)?;
                &left | &self.mask(right, at, active_also(right, active, || !&left).as_ref())?
            }
            NodeKind::Not(inner) if inner.is_condition() => !&self.mask(inner, at, active)?,
            NodeKind::Compare { op, left, right } => {
                compare::columns(&*self.column(left, at, active)?, *op, &*self.column(right, at, active)?)?
            }
            NodeKind::CompareLiteral { op, left, literal } => {
                compare::with_literal(&*self.column(left, at, active)?, *op, literal)
            }
            NodeKind::Pattern { negated, text, pattern } => {
                with_pattern(&*self.column(text, at, active)?, &|text| pattern.is_match(text), *negated)?
            }
            NodeKind::TraceIdPattern { negated, id, pattern } => {
                let is_match = |id: &str| pattern.is_match(id) || pattern.is_match(&format!("{id:0>32}"));
                with_pattern(&*self.column(id, at, active)?, &is_match, *negated)?
            }
            NodeKind::Nil { of, present } => {
                let has_value = self.column(of, at, active)?.present();
                if *present { has_value } else { &!&has_value & &self.has_item(of, at)? }
            }
            NodeKind::Literal(_) | NodeKind::Field(_) | NodeKind::Not(_) => self.column(node, at, active)?.is_true(),
            NodeKind::Negate(_) | NodeKind::Arithmetic { .. } => self.column(node, at, active)?.is_true(),
        })
    }

    /// The mask of a node that can be decided in a smaller table than `at`.
    fn mask_from_home(&self, node: &Node, at: Home) -> Result<Option<BooleanBuffer>, Error> {
        if node.home == at || node.home == Home::Constant {
            return Ok(None);
        }
        if let Some(Some((home, mask))) = self.masks.masks.get(node.id) {
            return Ok(Some(take_mask(mask, &self.indices(*home, at)?)));
        }
        // in a pair without an item a negation is true, though there is no item that it is true of
        let of_items = matches!(node.home, Home::Events | Home::Links);
        if node.fallible || of_items && node.true_if_missing {
            return Ok(None);
        }
        let mask = self.mask(node, node.home, None)?;
        Ok(Some(take_mask(&mask, &self.indices(node.home, at)?)))
    }

    /// Rows with an event or link that could have the field.
    fn has_item(&self, node: &Node, at: Home) -> Result<BooleanBuffer, Error> {
        let rows = self.rows(at)?;
        let items = match node.home {
            Home::Events | Home::Links if at == Home::Pairs => self.indices(node.home, at)?,
            _ => return Ok(BooleanBuffer::new_set(rows)),
        };
        Ok(items.nulls().map_or_else(|| BooleanBuffer::new_set(rows), |nulls| nulls.inner().clone()))
    }

    /// The values of a node at the rows of `at`.
    fn column(&self, node: &Node, at: Home, active: Option<&BooleanBuffer>) -> Result<Rc<Column>, Error> {
        cancellation::check()?;
        Ok(Rc::new(match &node.kind {
            NodeKind::Field(field) => {
                let column = self.field(field)?;
                if node.home == at {
                    return Ok(column);
                }
                column.take(&self.indices(node.home, at)?)?
            }
            NodeKind::Literal(value) => Column::constant(self.rows(at)?, value),
            NodeKind::Negate(inner) => arithmetic::negate(&*self.column(inner, at, active)?),
            NodeKind::Arithmetic { op, left, right } => {
                let (left, right) = (self.column(left, at, active)?, self.column(right, at, active)?);
                arithmetic::compute(*op, &left, &right, active)?
            }
            NodeKind::Not(inner) if !inner.is_condition() => not(&*self.column(inner, at, active)?),
            _ => Column::of_mask(self.mask(node, at, active)?),
        }))
    }
}

/// A pattern may take long over each text: once the query is given up, none is looked at any more.
fn with_pattern(texts: &Column, is_match: &dyn Fn(&str) -> bool, negated: bool) -> Result<BooleanBuffer, Error> {
    let is_match = |text: &str| cancellation::is_waited_for() && is_match(text);
    let mask = compare::with_pattern(texts, &is_match, negated);
    cancellation::check()?;
    Ok(mask)
}

/// Whether spans may have several rows there.
fn is_of_items(home: Home) -> bool {
    matches!(home, Home::Events | Home::Links | Home::Pairs)
}

/// Rows at which the right side of a condition matters, if it must be known.
fn active_also(node: &Node, active: Option<&BooleanBuffer>, rows: impl Fn() -> BooleanBuffer) -> Option<BooleanBuffer> {
    node.fallible.then(|| active.map_or_else(&rows, |active| active & &rows()))
}

/// `!value` is true where the value is the bool `false`, and missing where it is no bool.
fn not(column: &Column) -> Column {
    let parts = column.parts.iter().filter_map(|part| match part {
        TypedValues::Bool(array) => Some(TypedValues::Bool(BooleanArray::new(!array.values(), array.nulls().cloned()))),
        _ => None,
    });
    Column { rows: column.rows, parts: parts.collect(), opaque: None, more: Vec::new() }
}

fn get_or_try<T>(cell: &OnceCell<T>, make: impl FnOnce() -> Result<T, Error>) -> Result<&T, Error> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = make()?;
    Ok(cell.get_or_init(|| value))
}
