//! Every key that is read here, with its type, its default and its meaning: taken from the types, their defaults and the
//! comments at their fields, so that the reference cannot say anything else than the code.

use std::fmt::Write as _;
use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::tempo_keys::Kind;
use super::{Config, moved, not_applied, tempo_keys};

static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<Config>();
    let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
    let mut keys = Vec::new();
    gather("", schema.as_value(), Some(&defaults), &mut keys);
    keys
});

/// A key that is read here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// `server.log_level`
    pub path: String,
    kind: Kind,
    /// `one of error, warn`
    pub values: String,
    /// Empty when nothing is set.
    pub default: String,
    /// What it means, in one line.
    pub meaning: String,
}

/// All keys, in the order of the types.
pub fn keys() -> &'static [Key] {
    &KEYS
}

/// The key at a path.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

pub(super) fn kind(path: &str) -> Option<Kind> {
    find(path).map(|key| key.kind)
}

/// Walks a schema. A section has `properties`; anything else is a value.
fn gather(path: &str, schema: &Value, default: Option<&Value>, keys: &mut Vec<Key>) {
    let Some(properties) = properties(schema) else {
        keys.push(Key {
            path: path.to_owned(),
            kind: kind_of(schema),
            values: values(schema),
            default: default.map(shown).unwrap_or_default(),
            meaning: meaning(schema),
        });
        return;
    };
    let prefix = if path.is_empty() { String::new() } else { format!("{path}.") };
    for (name, property) in properties {
        // of a section that is not there unless it is named, the keys say what they are then
        let default = default.and_then(|default| default.get(name)).or_else(|| property.get("default"));
        gather(&format!("{prefix}{name}"), property, default, keys);
    }
}

fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties").and_then(Value::as_object).or_else(|| alternatives(schema).find_map(properties))
}

/// What a schema lets a value be: `Option` and enums are made of several.
fn alternatives(schema: &Value) -> impl Iterator<Item = &Value> {
    ["anyOf", "oneOf"].into_iter().filter_map(|word| schema.get(word)?.as_array()).flatten()
}

fn type_names(schema: &Value) -> Vec<&str> {
    let named = match schema.get("type") {
        Some(Value::String(name)) => vec![name.as_str()],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => alternatives(schema).flat_map(type_names).collect(),
    };
    named.into_iter().filter(|name| *name != "null").collect()
}

fn kind_of(schema: &Value) -> Kind {
    match type_names(schema).first() {
        Some(&"boolean") => Kind::Bool,
        Some(&"integer") => Kind::Int,
        Some(&"number") => Kind::Float,
        Some(&"array") => Kind::List,
        Some(&"object") => Kind::Map,
        _ => Kind::Text,
    }
}

fn values(schema: &Value) -> String {
    let constants = alternatives(schema).flat_map(constants).chain(constants(schema));
    let names: Vec<&str> = constants.collect();
    if !names.is_empty() {
        return names.join(", ");
    }
    match kind_of(schema) {
        Kind::Bool => "true, false",
        Kind::Int => "whole number",
        Kind::Float => "number",
        Kind::List => "list",
        Kind::Map | Kind::Any => "map",
        Kind::Text => "text",
    }
    .to_owned()
}

fn constants(schema: &Value) -> impl Iterator<Item = &str> {
    let several = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    several.chain(schema.get("const")).filter_map(Value::as_str)
}

fn shown(default: &Value) -> String {
    match default {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn meaning(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `docs/configuration.md`
pub fn markdown() -> String {
    let mut text = String::from(HEAD);
    let mut section = "";
    for key in keys() {
        let (of_key, _) = key.path.split_once('.').unwrap_or(("", &key.path));
        if of_key != section || key.path == keys()[0].path {
            section = of_key;
            let title = if section.is_empty() { "The file as a whole".to_owned() } else { format!("`{section}`") };
            _ = write!(
                text,
                "\n## {title}\n\n| Key | Values | Default | Tempo's default | Meaning |\n|---|---|---|---|---|\n"
            );
        }
        _ = writeln!(text, "{}", row(key));
    }
    text.push_str(MOVED_HEAD);
    for (tempo, value) in tempo_keys::table().values() {
        if let Some(ours) = moved::our_name(&tempo) {
            _ = writeln!(text, "| `{tempo}` | {} | `{ours}` |", value.releases);
        }
    }
    text.push_str(READ_OVER_HEAD);
    for (section, reason) in not_applied::reasons() {
        _ = writeln!(text, "| `{section}` | {reason} |");
    }
    text
}

fn row(key: &Key) -> String {
    let tempo = tempo_keys::table().find(&key.path).and_then(|known| known.value.as_ref());
    let tempo = tempo.map_or_else(|| "not in Tempo".to_owned(), |value| code(value.default));
    let Key { path, values, default, meaning, .. } = key;
    format!("| `{path}` | {values} | {} | {tempo} | {} |", code(default), meaning.replace('|', "\\|"))
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

const HEAD: &str = "# Configuration

<!-- Made by `mosso config reference` from the types that read the file; a test compares. Change the code, not this file. -->

The file is YAML with Tempo's keys. A key without a value is at its default. A key that neither mosso nor a Tempo of 2.6
to 3.1 knows is an error with its file, line and column, and the nearest known key. A key that only Tempo has a use for is
read over with a warning.

| Command | What it does |
|---|---|
| `mosso -config.file=tempo.yaml` | starts |
| `mosso check-config tempo.yaml` | says whether the file can be used, and which keys change nothing; `-config.verify` does the same |
| `mosso config migrate tempo.yaml` | prints the same configuration in mosso's own keys, and what became of each key |
| `mosso config defaults` | prints the defaults as a file |
| `mosso config explain server.log_level` | says what a key means here and in Tempo |

`-config.expand-env=true` puts variables of the environment in place of `${VARIABLE}` and `${VARIABLE:-default}` (also
`:default`, `:=default` and `=default`; a default may have variables in it), changed by `^^`, `,,`, `^`, `,` and `/old/new` as in a
shell; `$$` is a dollar sign. Each key can be given as a flag, which goes before the file: `-server.http-listen-port=3201`,
`-storage.trace.backend s3`, `-multitenancy.enabled`; in a list, commas part the items. Tempo's flags with other names are known,
too: `-ingester.max-traces-per-user=100` sets its key, `-mem-ballast-size-mbs=1024` is read over with a warning.
";

const MOVED_HEAD: &str = "
## Keys of Tempo with another name here

What both names set is taken from ours. The flat form of limits (`overrides.ingestion_rate_limit_bytes`) is read as the
scoped one (`overrides.defaults.ingestion.rate_limit_bytes`), in the file with the limits of tenants too.

| Tempo's key | Releases | Key here |
|---|---|---|
";

const READ_OVER_HEAD: &str = "
## Keys of Tempo that change nothing here

What a section here does not list above is read over, for this reason:

| Section | Why |
|---|---|
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_in_the_docs_is_the_one_of_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == markdown(), "stale; run: cargo run -- config reference > docs/configuration.md");
    }

    #[test]
    fn every_key_has_a_meaning_a_default_and_its_values() {
        let key = |path: &str| find(path).unwrap_or_else(|| panic!("{path}"));
        assert_eq!(key("server.http_listen_port").default, "3200");
        assert_eq!(key("storage.trace.s3.part_size").default, "8388608");
        assert_eq!(key("storage.trace.azure.endpoint_suffix").default, "blob.core.windows.net");
        assert_eq!(key("distributor.receivers.kafka.group_id").default, "otel-collector");
        assert_eq!(key("server.log_level").values, "error, info, debug, trace, warn");
        assert_eq!(kind("multitenancy_enabled"), Some(Kind::Bool));
        assert_eq!(kind("distributor.receivers.otlp.protocols.grpc.endpoint"), Some(Kind::Text));
        assert_eq!(find("server"), None);
        let without: Vec<&str> = keys().iter().filter(|key| key.meaning.is_empty()).map(|key| &*key.path).collect();
        assert!(without.is_empty(), "no meaning: {without:?}");
    }
}
