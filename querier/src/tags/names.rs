//! Names of tags, by scope.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, AsArray, ListArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use futures::FutureExt;
use model::Scope;
use spans::schema::{AttributeColumn, column};
use storage::source::{Projection, Source};
use traceql::TagFilter;

use super::{Selected, TagScan, filter_of, max_bytes};
use crate::answer::TagNames;
use crate::engine::Engine;
use crate::engine::budget::Budget;
use crate::error::Error;
use crate::eval::Home;
use crate::eval::attributes::Items;
use crate::request::{TagNamesRequest, TagScope};

/// Names found so far, up to a size.
struct Names {
    scopes: BTreeMap<Scope, BTreeSet<String>>,
    bytes_left: usize,
}

impl Names {
    fn add(&mut self, scope: Scope, name: &str) {
        let names = self.scopes.entry(scope).or_default();
        if name.len() <= self.bytes_left && !names.contains(name) {
            self.bytes_left -= name.len();
            names.insert(name.to_owned());
        }
    }
}

/// The names of tags that spans in the range have.
pub(crate) async fn tag_names(
    engine: &Engine,
    budget: Arc<Budget>,
    sources: Vec<Arc<dyn Source>>,
    request: &TagNamesRequest,
) -> Result<TagNames, Error> {
    let scopes: Vec<Scope> = match request.scope {
        TagScope::All => Scope::ALL.to_vec(),
        TagScope::Intrinsic => Vec::new(),
        TagScope::One(scope) => vec![scope],
    };
    let intrinsics = !matches!(request.scope, TagScope::One(_));
    let filter = filter_of(request.query.as_deref(), &budget)?;
    if scopes.is_empty() {
        return Ok(TagNames { intrinsics, ..TagNames::default() });
    }
    let bytes_left = max_bytes(&budget);
    let scan = TagScan::new(engine, budget, sources, request.range, &filter, &[]).await?;
    let names = Names { scopes: BTreeMap::new(), bytes_left };
    let names = Arc::new(Mutex::new(names));
    scan.each_source(|source| of_source(&scan, source, scopes.clone(), names.clone()).boxed()).await?;
    let mut found = std::mem::take(&mut names.lock().unwrap_or_else(PoisonError::into_inner).scopes);
    for names in found.values_mut() {
        *names = std::mem::take(names).into_iter().take(request.limit.unwrap_or(usize::MAX)).collect();
    }
    found.retain(|_, names| !names.is_empty());
    if filter != TagFilter::All {
        // Tempo lists its columns for well-known attributes here, so that these scopes are never missing
        let has_columns = |scope: &Scope| matches!(scope, Scope::Span | Scope::Resource);
        scopes.into_iter().filter(has_columns).for_each(|scope| _ = found.entry(scope).or_default());
    }
    Ok(TagNames { scopes: found, intrinsics, metrics: scan.sources.budget.spent(), lack: None })
}

async fn of_source(
    scan: &TagScan<'_>,
    source: Arc<dyn Source>,
    scopes: Vec<Scope>,
    names: Arc<Mutex<Names>>,
) -> Result<(), Error> {
    if scan.filter.is_none() {
        let keys = source.keys().await?;
        scan.sources.budget.count_inspected(keys.iter().map(|(_, name)| name.len()).sum());
        let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = keys.iter().filter(|(scope, _)| scopes.contains(scope));
        wanted.for_each(|(scope, name)| names.add(*scope, name));
        return Ok(());
    }
    let Some(candidates) = scan.open(source).await? else { return Ok(()) };
    let columns = projection(&scopes);
    let take = move |selected: &Selected<'_>| {
        let mut found = BTreeSet::new();
        for &scope in &scopes {
            add_names(selected, scope, &mut |name| {
                found.insert((scope, name.to_owned()));
            })?;
        }
        let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
        found.iter().for_each(|(scope, name)| names.add(*scope, name));
        Ok(())
    };
    scan.each_selection(&candidates, &candidates.groups, &columns, take).await
}

/// The columns that have the names.
fn projection(scopes: &[Scope]) -> Projection {
    let columns = scopes.iter().map(|scope| match scope {
        Scope::Span => column::ATTRIBUTES,
        Scope::Resource => column::RESOURCE,
        Scope::Instrumentation => column::SCOPE,
        Scope::Event => column::EVENTS,
        Scope::Link => column::LINKS,
    });
    Projection { columns: columns.collect(), ..Projection::default() }
}

fn add_names(selected: &Selected<'_>, scope: Scope, add: &mut impl FnMut(&str)) -> Result<(), Error> {
    let table = &selected.rows.table;
    match scope {
        Scope::Span => of_batch(&table.spans, scope, &selected.rows_of(Home::Spans)?, add),
        Scope::Resource => of_batch(&table.resources, scope, &selected.rows_of(Home::Resources)?, add),
        Scope::Instrumentation => of_batch(&table.scopes, scope, &selected.rows_of(Home::Scopes)?, add),
        Scope::Event => of_lists(selected.evaluation.events()?.attributes()?, &selected.rows_of(Home::Events)?, add),
        Scope::Link => of_lists(selected.evaluation.links()?.attributes()?, &selected.rows_of(Home::Links)?, add),
    }
}

/// Names of the attributes that some rows have.
fn of_batch(batch: &RecordBatch, scope: Scope, rows: &BooleanBuffer, add: &mut impl FnMut(&str)) -> Result<(), Error> {
    for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
        let Some(of) = AttributeColumn::of(field) else { continue };
        if of.scope == scope && rows.set_indices().any(|row| array.is_valid(row)) {
            add(&of.key);
        }
    }
    match batch.column_by_name(column::ATTRIBUTES) {
        Some(lists) => of_lists(lists.as_list_opt().ok_or_else(|| Error::damaged(column::ATTRIBUTES))?, rows, add),
        None => Ok(()),
    }
}

fn of_lists(lists: &ListArray, rows: &BooleanBuffer, add: &mut impl FnMut(&str)) -> Result<(), Error> {
    let items = Items::of(lists.values())?;
    let keys = items.keys.values();
    let mut is_known = vec![false; items.key_texts.len()];
    for row in rows.set_indices() {
        for item in lists.offsets()[row]..lists.offsets()[row + 1] {
            let key = keys[item as usize] as usize;
            if !std::mem::replace(&mut is_known[key], true) {
                add(items.key_texts.value(key));
            }
        }
    }
    Ok(())
}
