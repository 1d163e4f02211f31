//! A table → an index, page by page.
//!
//! A page is a run of whole traces of about a thousand spans. What a page holds is counted per value and page, not per
//! span: a value costs a look-up by its number in the dictionary, and bytes are touched once for each distinct text.

use std::ops::Range;

use arrow::array::Array;
use hashbrown::HashMap;
use model::{Intrinsic, Scope};
use spans::{ArrayElement, SpanTable, array_elements};

use super::Limits;
use super::columns::{AttributeValues, Columns, Items, Texts, Values, wrong};
use super::directory::{INTRINSICS, IndexedField};
use super::fingerprint::Hashes;
use super::term::Scalar;
use super::values::{FieldValues, Number};
use crate::error::Error;

/// What will be in an index, while tables are added. Traces must come in the order of the block's rows.
pub(super) struct Collected {
    limits: Limits,
    /// Traces of each page; the last one may still grow.
    pub page_traces: Vec<usize>,
    last_page_spans: usize,
    numbers: HashMap<IndexedField, usize>,
    pub fields: Vec<(IndexedField, FieldValues)>,
    /// False when there were more fields than are indexed.
    pub is_incomplete: bool,
    pub hashes: Hashes,
}

/// A field that is not indexed.
const NO_FIELD: usize = usize::MAX;

impl Collected {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            page_traces: Vec::new(),
            last_page_spans: 0,
            numbers: HashMap::new(),
            fields: Vec::new(),
            is_incomplete: false,
            hashes: Hashes::new(limits.most_hashes),
        }
    }

    /// Adds the spans of some whole traces.
    ///
    /// # Errors
    /// [`Error::Spans`] when the table has another shape than [`spans::schema`], or its resources or scopes have attribute
    /// columns.
    pub fn add(&mut self, table: &SpanTable) -> Result<(), Error> {
        self.fields.iter_mut().for_each(|(_, values)| values.begin_table());
        let columns = Columns::of(table)?;
        let mut numbers = FieldNumbers::new(&columns, self);
        let traces = table.traces()?;
        let mut first = 0;
        while first < traces.len() {
            let page_spans = self.limits.page_spans.max(1);
            let mut spans = if self.page_traces.is_empty() { page_spans } else { self.last_page_spans };
            if spans >= page_spans {
                self.page_traces.push(0);
                spans = 0;
            }
            let mut end = first;
            while end < traces.len() && spans < page_spans {
                spans += traces.span_rows(end).len();
                end += 1;
            }
            self.last_page_spans = spans;
            let page = self.page_traces.len() - 1;
            self.page_traces[page] += end - first;
            let rows = traces.span_rows(first).start..traces.span_rows(end - 1).end;
            if rows.end > table.span_count() {
                return Err(wrong("first_row"));
            }
            self.add_page(&columns, &mut numbers, page as u32, first..end, rows)?;
            first = end;
        }
        Ok(())
    }

    fn add_page(
        &mut self,
        columns: &Columns<'_>,
        numbers: &mut FieldNumbers,
        page: u32,
        traces: Range<usize>,
        rows: Range<usize>,
    ) -> Result<(), Error> {
        self.add_spans(columns, numbers, page, &rows);
        for item in columns.attributes.range(&rows) {
            self.add_item(&columns.attributes.items, numbers, Scope::Span, item, page, 1);
        }
        for (attribute, &field) in columns.attribute_columns.iter().zip(&numbers.attribute_columns) {
            self.add_column(attribute, field, page, &rows);
        }
        self.add_events(columns, numbers, page, &rows);
        self.add_links(columns, numbers, page, &rows);
        for (resource, spans) in count(columns.resource, &rows, columns.resources.len())? {
            for item in columns.resources.range(&(resource..resource + 1)) {
                self.add_item(&columns.resources.items, numbers, Scope::Resource, item, page, spans);
            }
        }
        for (scope, spans) in count(columns.scope, &rows, columns.scopes.len())? {
            self.add_text(numbers.of(Intrinsic::InstrumentationName), &columns.scope_names, scope, page, spans);
            self.add_text(numbers.of(Intrinsic::InstrumentationVersion), &columns.scope_versions, scope, page, spans);
            for item in columns.scopes.range(&(scope..scope + 1)) {
                self.add_item(&columns.scopes.items, numbers, Scope::Instrumentation, item, page, spans);
            }
        }
        for trace in traces {
            self.add_text(numbers.of(Intrinsic::RootName), &columns.root_names, trace, page, 1);
            self.add_text(numbers.of(Intrinsic::RootServiceName), &columns.root_services, trace, page, 1);
            let range = columns.traces.time_range(trace);
            let nanos = range.end_nanos.saturating_sub(range.start_nanos) as i64;
            self.add_number(numbers.of(Intrinsic::TraceDuration), Number::Int(nanos), page, 1);
        }
        Ok(())
    }

    fn add_spans(&mut self, columns: &Columns<'_>, numbers: &FieldNumbers, page: u32, rows: &Range<usize>) {
        for row in rows.clone() {
            self.add_text(numbers.of(Intrinsic::Name), &columns.names, row, page, 1);
            self.add_text(numbers.of(Intrinsic::StatusMessage), &columns.status_messages, row, page, 1);
            let nanos = columns.durations[row].max(0);
            self.add_number(numbers.of(Intrinsic::Duration), Number::Int(nanos), page, 1);
        }
        for (intrinsic, codes) in [(Intrinsic::Kind, columns.kinds), (Intrinsic::Status, columns.statuses)] {
            let values = &mut self.fields[numbers.of(intrinsic)].1;
            for run in codes[rows.clone()].chunk_by(|left, right| left == right) {
                values.add_few(Scalar::Code(run[0]), page, run.len() as u32);
            }
        }
    }

    /// Adds the values that a page has of an attribute with a column of its own.
    fn add_column(&mut self, attribute: &AttributeValues<'_>, field: usize, page: u32, rows: &Range<usize>) {
        if field == NO_FIELD {
            return;
        }
        let (values, hashes) = (&mut self.fields[field].1, &mut self.hashes);
        let count = match &attribute.values {
            Values::Coded(texts) => for_each_valid(texts.keys, rows, |row| {
                if let Some((number, text)) = texts.get(row) {
                    values.add_coded_text(number, text, page, 1, hashes);
                }
            }),
            Values::Texts(texts) => {
                for_each_valid(*texts, rows, |row| _ = values.add_text(texts.value(row), page, 1, hashes))
            }
            Values::Ints(ints) => for_each_valid(*ints, rows, |row| {
                values.add_number(Number::Int(ints.value(row)), page, 1, hashes);
            }),
            Values::Doubles(doubles) => for_each_valid(*doubles, rows, |row| {
                values.add_number(float(doubles.value(row)), page, 1, hashes);
            }),
            Values::Bools(bools) => for_each_valid(*bools, rows, |row| {
                values.add_few(Scalar::Bool(bools.value(row)), page, 1);
            }),
        };
        if count > 0 {
            values.add_present(page, count);
        }
    }

    fn add_events(&mut self, columns: &Columns<'_>, numbers: &mut FieldNumbers, page: u32, rows: &Range<usize>) {
        for event in columns.events.range(rows) {
            self.add_present(numbers.of(Intrinsic::EventName), page);
            self.add_text(numbers.of(Intrinsic::EventName), &columns.event_names, event, page, 1);
            self.add_present(numbers.of(Intrinsic::EventTimeSinceStart), page);
            let nanos = Number::Int(columns.event_times.value(event));
            self.add_number(numbers.of(Intrinsic::EventTimeSinceStart), nanos, page, 1);
        }
        for item in columns.event_attributes.range(&columns.events.range(rows)) {
            self.add_item(&columns.event_attributes.items, numbers, Scope::Event, item, page, 1);
        }
    }

    fn add_links(&mut self, columns: &Columns<'_>, numbers: &mut FieldNumbers, page: u32, rows: &Range<usize>) {
        for link in columns.links.range(rows) {
            for (intrinsic, ids) in
                [(Intrinsic::LinkTraceId, columns.link_trace_ids), (Intrinsic::LinkSpanId, columns.link_span_ids)]
            {
                self.add_present(numbers.of(intrinsic), page);
                let id: String = ids.value(link).iter().map(|byte| format!("{byte:02x}")).collect();
                self.fields[numbers.of(intrinsic)].1.add_text(&id, page, 1, &mut self.hashes);
            }
        }
        for item in columns.link_attributes.range(&columns.links.range(rows)) {
            self.add_item(&columns.link_attributes.items, numbers, Scope::Link, item, page, 1);
        }
    }

    fn add_present(&mut self, field: usize, page: u32) {
        self.fields[field].1.add_present(page, 1);
    }

    /// Null reads as the empty text.
    fn add_text(&mut self, field: usize, texts: &Texts<'_>, row: usize, page: u32, rows: u32) {
        let (number, text) = texts.get(row).unwrap_or((u32::MAX, ""));
        self.fields[field].1.add_coded_text(number, text, page, rows, &mut self.hashes);
    }

    fn add_number(&mut self, field: usize, number: Number, page: u32, rows: u32) {
        self.fields[field].1.add_number(number, page, rows, &mut self.hashes);
    }

    /// Adds an attribute that `rows` rows of the page have.
    #[inline]
    fn add_item(
        &mut self,
        items: &Items<'_>,
        numbers: &mut FieldNumbers,
        scope: Scope,
        item: usize,
        page: u32,
        rows: u32,
    ) {
        let field = numbers.of_key(scope, items, item, self);
        if field == NO_FIELD {
            return;
        }
        let (values, hashes) = (&mut self.fields[field].1, &mut self.hashes);
        if let Some((number, text)) = items.strings.get(item) {
            values.add_coded_text(number, text, page, rows, hashes);
        } else if items.ints.is_valid(item) {
            values.add_number(Number::Int(items.ints.value(item)), page, rows, hashes);
        } else if items.doubles.is_valid(item) {
            values.add_number(float(items.doubles.value(item)), page, rows, hashes);
        } else if items.bools.is_valid(item) {
            values.add_few(Scalar::Bool(items.bools.value(item)), page, rows);
        } else if items.others.is_valid(item) {
            for element in array_elements(items.others.value(item)).unwrap_or_default() {
                match element {
                    ArrayElement::StringValue(text) => _ = values.add_text(&text, page, rows, hashes),
                    ArrayElement::IntValue(number) => values.add_number(Number::Int(number), page, rows, hashes),
                    ArrayElement::DoubleValue(number) => values.add_number(float(number), page, rows, hashes),
                    ArrayElement::BoolValue(value) => values.add_few(Scalar::Bool(value), page, rows),
                    _ => {}
                }
            }
        } else {
            return;
        }
        values.add_present(page, rows);
    }

    /// The number of a field, new or known.
    fn field(&mut self, field: IndexedField) -> usize {
        if let Some(&number) = self.numbers.get(&field) {
            return number;
        }
        if self.fields.len() >= self.limits.most_fields {
            self.is_incomplete = true;
            return NO_FIELD;
        }
        let seed = field.hash_seed();
        let values = match &field {
            IndexedField::Intrinsic(
                Intrinsic::Duration | Intrinsic::TraceDuration | Intrinsic::EventTimeSinceStart,
            ) => FieldValues::bucketed(seed, self.limits),
            _ => FieldValues::new(seed, self.limits),
        };
        self.numbers.insert(field.clone(), self.fields.len());
        self.fields.push((field, values));
        self.fields.len() - 1
    }
}

fn float(number: f64) -> Number {
    Number::Float(number.to_bits())
}

/// Does this for the rows that have a value; returns how many those are.
fn for_each_valid(column: &dyn Array, rows: &Range<usize>, mut add: impl FnMut(usize)) -> u32 {
    let mut count = 0;
    for row in rows.clone().filter(|&row| column.is_valid(row)) {
        add(row);
        count += 1;
    }
    count
}

/// How many of the rows refer to each row of a small table.
fn count(references: &[u32], rows: &Range<usize>, table_rows: usize) -> Result<Vec<(usize, u32)>, Error> {
    let mut sorted = references[rows.clone()].to_vec();
    sorted.sort_unstable();
    let runs = sorted.chunk_by(|left, right| left == right).map(|run| (run[0] as usize, run.len() as u32));
    let counts: Vec<(usize, u32)> = runs.collect();
    match counts.last() {
        Some(&(last, _)) if last >= table_rows => Err(wrong("a reference")),
        _ => Ok(counts),
    }
}

/// The numbers of fields, by the keys of a table's dictionaries.
struct FieldNumbers {
    intrinsics: [usize; INTRINSICS.len()],
    /// For each scope, by number of the key; `None` for those not yet met.
    keys: [Vec<Option<usize>>; Scope::ALL.len()],
    /// In their order.
    attribute_columns: Vec<usize>,
}

impl FieldNumbers {
    fn new(columns: &Columns<'_>, collected: &mut Collected) -> Self {
        let number = |intrinsic| collected.field(IndexedField::Intrinsic(intrinsic));
        let intrinsics = INTRINSICS.map(number);
        let keys = Scope::ALL.map(|scope| vec![None; columns.items(scope).key_texts.len()]);
        let attribute_columns = columns
            .attribute_columns
            .iter()
            .map(|attribute| collected.field(IndexedField::Attribute(attribute.of.scope, attribute.of.key.clone())));
        Self { intrinsics, keys, attribute_columns: attribute_columns.collect() }
    }

    fn of(&self, intrinsic: Intrinsic) -> usize {
        let place = INTRINSICS.iter().position(|&known| known == intrinsic);
        self.intrinsics[place.expect("only indexed intrinsics are asked for")]
    }

    #[inline]
    fn of_key(&mut self, scope: Scope, items: &Items<'_>, item: usize, collected: &mut Collected) -> usize {
        let key = items.keys[item] as usize;
        let known = &mut self.keys[scope_place(scope)][key];
        *known.get_or_insert_with(|| {
            collected.field(IndexedField::Attribute(scope, items.key_texts.value(key).to_owned()))
        })
    }
}

fn scope_place(scope: Scope) -> usize {
    Scope::ALL.iter().position(|&known| known == scope).unwrap_or_default()
}
