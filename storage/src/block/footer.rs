//! What the footer of `spans.parquet` says: the rows of its row groups, and what it says beyond Parquet's own, written and
//! read here only.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use model::Scope;
use parquet::file::metadata::ParquetMetaData;

/// Key of the footer entry in `spans.parquet` that lists every attribute key of the block: `{"span": ["http.route"]}`.
pub(super) const KEYS_METADATA: &str = "mosso.attribute_keys";
/// Key of the footer entry that lists the span attributes of which a value stands in the list `attributes`, in the same
/// form: a query for another key need not read the list.
pub(super) const LIST_KEYS_METADATA: &str = "mosso.attribute_list_keys";

/// The rows of each row group.
pub(super) fn row_groups(metadata: &ParquetMetaData) -> Vec<Range<usize>> {
    let mut end = 0;
    let rows = metadata.row_groups().iter().map(|group| group.num_rows() as usize);
    rows.map(|rows| {
        end += rows;
        end - rows..end
    })
    .collect()
}

/// Attribute keys by the name of their scope, as they stand in JSON.
pub(super) type KeysByScope = BTreeMap<String, Vec<String>>;

pub(super) fn by_scope(keys: &BTreeSet<(Scope, String)>) -> KeysByScope {
    let mut by_scope = KeysByScope::new();
    for (scope, key) in keys {
        by_scope.entry(scope.name().to_owned()).or_default().push(key.clone());
    }
    by_scope
}

/// The inverse of [`by_scope`]; `None` for a scope that does not exist.
pub(super) fn from_scopes(by_scope: KeysByScope) -> Option<BTreeSet<(Scope, String)>> {
    let mut keys = BTreeSet::new();
    for (scope, names) in by_scope {
        let scope = Scope::from_name(&scope)?;
        keys.extend(names.into_iter().map(|name| (scope, name)));
    }
    Some(keys)
}

pub(super) fn keys_to_json(keys: &BTreeSet<(Scope, String)>) -> String {
    serde_json::to_string(&by_scope(keys)).expect("maps of strings have a JSON form")
}

/// `None` when the text is not what [`keys_to_json`] writes.
pub(super) fn keys_from_json(json: &str) -> Option<BTreeSet<(Scope, String)>> {
    from_scopes(serde_json::from_str(json).ok()?)
}
