//! Values of a tag, each once.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::Array;
use arrow::buffer::BooleanBuffer;
use futures::FutureExt;
use hashbrown::HashSet;
use model::{Intrinsic, Scope};
use storage::index::FieldValue;
use storage::source::Source;
use traceql::{Field, Kind, Static, Status};

use super::remembered::Remembered;
use super::{Candidates, TagScan, ValuesCache, filter_of, max_bytes, saturated};
use crate::answer::{TagValue, TagValueKind, TagValues};
use crate::engine::Engine;
use crate::engine::budget::Budget;
use crate::engine::kinds::{self, HeldRollup};
use crate::engine::plan;
use crate::error::Error;
use crate::eval::column::{Lists, Texts, TypedValues};
use crate::eval::{Column, DimensionMasks, Evaluation, FieldUse, Home, home};
use crate::request::{Tag, TagValuesRequest};
use crate::{legacy, mask};

/// Where the values of a tag come from.
enum Origin {
    /// The same values whatever the data.
    Fixed(Vec<TagValue>),
    Fields(Vec<Field>),
}

/// The values of a tag that spans in the range have.
pub(crate) async fn tag_values(
    engine: &Engine,
    known: &ValuesCache,
    budget: Arc<Budget>,
    sources: Vec<Arc<dyn Source>>,
    request: &TagValuesRequest,
) -> Result<TagValues, Error> {
    let filter = filter_of(request.query.as_deref(), &budget)?;
    let fields = match origin(&request.tag) {
        Origin::Fixed(values) => return Ok(fixed(values, request.limit)),
        Origin::Fields(fields) => fields,
    };
    if let Tag::Field(field) = &request.tag
        && let Some(literal) = filter.literal_of(field)
    {
        return Ok(fixed(tag_value(literal), request.limit));
    }
    let sources = within_blocks(sources, saturated(budget.limits().max_blocks_per_tag_answer));
    let max_bytes = max_bytes(&budget);
    let scan = TagScan::new(engine, budget, sources, request.range, &filter, &fields).await?;
    let values = Mutex::new(Values { max_stale_sources: request.max_stale_sources, ..Values::new(max_bytes) });
    let remembered = Remembered::of(request);
    scan.each_source(|source| known_or_found(&scan, known, source, &fields, &remembered, &values).boxed()).await?;
    let values = std::mem::take(&mut locked(&values).values);
    Ok(TagValues { metrics: scan.sources.budget.spent(), ..fixed(values, request.limit) })
}

/// What is live, and so many of the blocks, newest first; 0 for all.
fn within_blocks(sources: Vec<Arc<dyn Source>>, most: usize) -> Vec<Arc<dyn Source>> {
    let (live, mut blocks): (Vec<_>, Vec<_>) = sources.into_iter().partition(|source| source.is_live());
    if most > 0 && blocks.len() > most {
        blocks = plan::newest_first(blocks);
        blocks.truncate(most);
    }
    live.into_iter().chain(blocks).collect()
}

/// Adds the values of a source, and remembers those of a block; unless there was nothing new for long.
async fn known_or_found(
    scan: &TagScan<'_>,
    cache: &ValuesCache,
    source: Arc<dyn Source>,
    fields: &[Field],
    remembered: &Remembered,
    values: &Mutex<Values>,
) -> Result<(), Error> {
    if locked(values).is_stale() {
        return Ok(());
    }
    let max_bytes = max_bytes(&scan.sources.budget);
    let (key, block_id) = (remembered.key(scan, source.as_ref()), source.block_id());
    if let Some(known) = key.as_ref().and_then(|key| cache.get(key)) {
        locked(values).extend_by_source(known.iter().map(Cow::Borrowed));
        return Ok(());
    }
    let found = Arc::new(Mutex::new(Values::new(max_bytes)));
    of_source(scan, source, fields, &found).await?;
    let found = std::mem::replace(&mut *locked(&found), Values::new(max_bytes));
    if let Some(key) = key
        && !found.is_cut
        && !scan.sources.budget.is_left_out(block_id)
    {
        cache.insert(key, Arc::new(found.values.clone()));
    }
    locked(values).extend_by_source(found.values.into_iter().map(Cow::Owned));
    Ok(())
}

async fn of_source(
    scan: &TagScan<'_>,
    source: Arc<dyn Source>,
    fields: &[Field],
    values: &Arc<Mutex<Values>>,
) -> Result<(), Error> {
    let mut unlisted = Vec::new();
    for field in fields {
        match listed(scan, source.as_ref(), field).await? {
            Some(found) => {
                scan.sources.budget.count_inspected(found.iter().map(|value| value.text.len()).sum());
                locked(values).extend(found);
            }
            None => unlisted.push(field),
        }
    }
    if unlisted.is_empty() {
        return Ok(());
    }
    let Some(candidates) = scan.open(source).await? else { return Ok(()) };
    for field in unlisted {
        let home = home(field).ok_or(traceql::Error::ParentScope)?;
        if home.is_dimension() && scan.filter.is_none() {
            of_small_tables(scan, &candidates, field, home, values).await?;
        } else {
            of_spans(scan, &candidates, field, home, values).await?;
        }
    }
    Ok(())
}

/// The values that a source lists apart from its rows.
async fn listed(scan: &TagScan<'_>, source: &dyn Source, field: &Field) -> Result<Option<Vec<TagValue>>, Error> {
    if scan.filter.is_some() || !scan.split.is_empty() {
        return Ok(None);
    }
    let listed = source.values(field).await?;
    Ok(listed.map(|listed| listed.into_iter().filter_map(|counted| tag_value(&of_stored(counted.value))).collect()))
}

fn of_stored(value: FieldValue) -> Static {
    match value {
        FieldValue::String(text) => Static::String(text),
        FieldValue::Int(number) => Static::Int(number),
        FieldValue::Double(number) => Static::Float(number),
        FieldValue::Bool(value) => Static::Bool(value),
    }
}

fn locked(values: &Mutex<Values>) -> std::sync::MutexGuard<'_, Values> {
    values.lock().unwrap_or_else(PoisonError::into_inner)
}

fn fixed(values: impl IntoIterator<Item = TagValue>, limit: Option<usize>) -> TagValues {
    let values: BTreeSet<TagValue> = values.into_iter().collect();
    TagValues { values: values.into_iter().take(limit.unwrap_or(usize::MAX)).collect(), ..TagValues::default() }
}

fn origin(tag: &Tag) -> Origin {
    match tag {
        Tag::Bare(name) => match (legacy::special_field(name), name.as_str()) {
            (Some(field), _) => Origin::Fields(vec![field]),
            (None, "status.code") => Origin::Fixed(statuses()),
            (None, "error") => Origin::Fixed(vec![keyword("true")]),
            (None, name) => Origin::Fields(unscoped(name)),
        },
        Tag::Field(Field::Attribute { scope: None, name }) => Origin::Fields(unscoped(name)),
        Tag::Field(Field::Intrinsic(Intrinsic::Status)) => Origin::Fixed(statuses()),
        Tag::Field(Field::Intrinsic(Intrinsic::Kind)) => {
            Origin::Fixed(Kind::ALL.iter().map(|kind| keyword(kind.name())).collect())
        }
        Tag::Field(Field::Intrinsic(intrinsic)) if is_not_listed(*intrinsic) => Origin::Fixed(Vec::new()),
        Tag::Field(field) => Origin::Fields(vec![field.clone()]),
    }
}

/// Nearly every value of these is different.
fn is_not_listed(intrinsic: Intrinsic) -> bool {
    use Intrinsic::{Duration, LinkSpanId, LinkTraceId, ParentId, SpanId, TraceId};
    matches!(intrinsic, Duration | SpanId | ParentId | TraceId | LinkTraceId | LinkSpanId)
}

fn unscoped(name: &str) -> Vec<Field> {
    [Scope::Span, Scope::Resource, Scope::Instrumentation].map(|scope| Field::attribute(scope, name)).into()
}

fn statuses() -> Vec<TagValue> {
    Status::ALL.iter().map(|status| keyword(status.name())).collect()
}

fn keyword(text: &str) -> TagValue {
    TagValue { kind: TagValueKind::Keyword, text: text.to_owned() }
}

/// Values found so far, up to a size.
struct Values {
    values: BTreeSet<TagValue>,
    bytes_left: usize,
    /// True once a value found no room.
    is_cut: bool,
    /// Sources since the last that had a new value.
    stale_sources: usize,
    max_stale_sources: Option<usize>,
}

impl Values {
    fn new(max_bytes: usize) -> Self {
        Self {
            values: BTreeSet::new(),
            bytes_left: max_bytes,
            is_cut: false,
            stale_sources: 0,
            max_stale_sources: None,
        }
    }

    fn is_stale(&self) -> bool {
        self.max_stale_sources.is_some_and(|most| self.stale_sources >= most)
    }

    fn extend_by_source<'v>(&mut self, values: impl Iterator<Item = Cow<'v, TagValue>>) {
        let known = self.values.len();
        values.for_each(|value| self.add(value));
        self.stale_sources = if self.values.len() > known { 0 } else { self.stale_sources + 1 };
    }

    fn extend(&mut self, values: impl IntoIterator<Item = TagValue>) {
        values.into_iter().for_each(|value| self.add(Cow::Owned(value)));
    }

    fn add(&mut self, value: Cow<'_, TagValue>) {
        if self.values.contains(&*value) {
            return;
        }
        if value.text.len() > self.bytes_left {
            self.is_cut = true;
            return;
        }
        self.bytes_left -= value.text.len();
        self.values.insert(value.into_owned());
    }
}

/// The values in small tables: those of resources and scopes are the same for all row groups.
async fn of_small_tables(
    scan: &TagScan<'_>,
    candidates: &Candidates,
    field: &Field,
    home: Home,
    values: &Arc<Mutex<Values>>,
) -> Result<(), Error> {
    let groups = if home == Home::Traces { &candidates.groups[..] } else { &candidates.groups[..1] };
    for &group in groups {
        let group = candidates.source.group(group).await?;
        let table = group.small_tables();
        let column = Evaluation::new(&table, &DimensionMasks::NONE)?.field(field)?;
        let rows = match home {
            Home::Traces => mask::of_rows(column.rows, scan.traces_in_range(&group, &candidates.pruned)?),
            _ => BooleanBuffer::new_set(column.rows),
        };
        let found = distinct(&column, &rows);
        scan.sources.budget.count_inspected(found.iter().map(|value| value.text.len()).sum());
        locked(values).extend(found);
    }
    Ok(())
}

async fn of_spans(
    scan: &TagScan<'_>,
    candidates: &Candidates,
    field: &Field,
    home: Home,
    values: &Arc<Mutex<Values>>,
) -> Result<(), Error> {
    let left = of_rollup(scan, candidates, field, home, values).await?;
    let columns = FieldUse::of([field]).projection();
    let (field, values) = (field.clone(), values.clone());
    scan.each_selection(candidates, &left, &columns, move |selected| {
        let found = distinct(&*selected.evaluation.field(&field)?, &selected.rows_of(home)?);
        locked(&values).extend(found);
        Ok(())
    })
    .await
}

/// Takes the values of row groups whose rollup tells them: those that lie in the range. Returns the others.
async fn of_rollup(
    scan: &TagScan<'_>,
    candidates: &Candidates,
    field: &Field,
    home: Home,
    values: &Arc<Mutex<Values>>,
) -> Result<Vec<usize>, Error> {
    let (source, budget, range) = (&candidates.source, &scan.sources.budget, &scan.sources.range);
    let filter = scan.filter.as_ref().filter(|_| scan.is_told && scan.split.is_empty() && kinds::tells_field(field));
    let is_inside = |group: usize| {
        let times = source.row_group(group).time_range;
        range.contains(times.start_nanos) && range.contains(times.end_nanos)
    };
    let is_any_inside = candidates.groups.iter().any(|group| is_inside(*group));
    let all = || Ok(candidates.groups.clone());
    let Some(filter) = filter.filter(|_| is_any_inside).cloned() else { return all() };
    let Some(held) = HeldRollup::of(source, budget).await? else { return all() };
    let is_told = |group: &usize| is_inside(*group) && !held.rollup.rows_of(*group).is_empty();
    let (told, left): (Vec<usize>, Vec<usize>) = candidates.groups.iter().partition(|group| is_told(group));
    budget.count_traces(told.iter().map(|&group| source.row_group(group).traces.len()).sum());
    let (dimensions, field, values) = (source.dimensions.clone(), field.clone(), values.clone());
    let take = move || {
        let rollup = &held.rollup;
        let rows = rollup.rows();
        let table = kinds::table_of(rows, vec![0; rows.num_rows()], &dimensions)?;
        let masks = filter.on_dimensions(&table)?;
        let evaluation = Evaluation::new(&table, &masks)?;
        let of_told = mask::of_ranges(rows.num_rows(), told.iter().map(|&group| rollup.rows_of(group)));
        let selected = &evaluation.select(&filter)?.spans & &of_told;
        let rows = if home.is_dimension() { evaluation.referred_rows(home, &selected)? } else { selected };
        let found = distinct(&*evaluation.field(&field)?, &rows);
        locked(&values).extend(found);
        Ok::<_, Error>(())
    };
    scan.sources.run(take).await??;
    Ok(left)
}

/// The distinct values at some rows; of arrays their elements.
fn distinct(column: &Column, rows: &BooleanBuffer) -> HashSet<TagValue> {
    let mut values = HashSet::new();
    add_values(column, rows, &mut values);
    values
}

fn add_values(column: &Column, rows: &BooleanBuffer, values: &mut HashSet<TagValue>) {
    for part in &column.parts {
        match part {
            TypedValues::Text(texts) => add_texts(texts, rows, values),
            TypedValues::Int(array) | TypedValues::Duration(array) => {
                let numbers: HashSet<i64> =
                    rows.set_indices().filter(|&row| array.is_valid(row)).map(|row| array.value(row)).collect();
                values.extend(numbers.into_iter().filter_map(|number| tag_value(&Static::Int(number))));
            }
            TypedValues::Float(array) => {
                let bits: HashSet<u64> = rows
                    .set_indices()
                    .filter(|&row| array.is_valid(row))
                    .map(|row| array.value(row).to_bits())
                    .collect();
                values.extend(bits.into_iter().filter_map(|bits| tag_value(&Static::Float(f64::from_bits(bits)))));
            }
            TypedValues::Bool(array) => {
                let bools: HashSet<bool> =
                    rows.set_indices().filter(|&row| array.is_valid(row)).map(|row| array.value(row)).collect();
                values.extend(bools.into_iter().filter_map(|value| tag_value(&Static::Bool(value))));
            }
            TypedValues::Lists(lists) => add_items(lists, rows, values),
            TypedValues::Status(_) | TypedValues::Kind(_) => {} // listed without looking
        }
    }
    column.more.iter().for_each(|more| add_items(more, rows, values));
}

fn add_items(lists: &Lists, rows: &BooleanBuffer, values: &mut HashSet<TagValue>) {
    let items = mask::of_ranges(lists.items.rows, rows.set_indices().map(|row| lists.range(row)));
    add_values(&lists.items, &items, values);
}

fn add_texts(texts: &Texts, rows: &BooleanBuffer, values: &mut HashSet<TagValue>) {
    let mut is_known = vec![false; texts.number_count()];
    for row in rows.set_indices() {
        if texts.number(row).is_some_and(|number| std::mem::replace(&mut is_known[number], true)) {
            continue;
        }
        if let Some(text) = texts.get(row) {
            let value = TagValue { kind: TagValueKind::String, text: text.to_owned() };
            if !values.contains(&value) {
                values.insert(value);
            }
        }
    }
}

/// How a value is listed.
fn tag_value(value: &Static) -> Option<TagValue> {
    let (kind, text) = match value {
        Static::Nil => return None,
        Static::String(text) => (TagValueKind::String, text.clone()),
        Static::Int(number) | Static::Duration(number) => (TagValueKind::Int, number.to_string()),
        Static::Float(_) => (TagValueKind::Float, value.to_string()),
        Static::Bool(_) => (TagValueKind::Bool, value.to_string()),
        Static::Status(_) | Static::Kind(_) => (TagValueKind::Keyword, value.to_string()),
    };
    Some(TagValue { kind, text })
}
