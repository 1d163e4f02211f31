//! Which keys Tempo's configuration has, and since when: the table `tempo_keys.txt`.
//!
//! It tells a key that changes nothing here from a slip of the hand, and says what `mosso config explain` says of Tempo.

use std::sync::LazyLock;

/// Stands for any name among the keys of a section.
const ANY: &str = "*";
/// Spaces that a key stands further right than the key it belongs to.
const INDENT: usize = 2;

static TABLE: LazyLock<Key> = LazyLock::new(|| parse(include_str!("tempo_keys.txt")));

static PER_TENANT: LazyLock<Key> = LazyLock::new(|| {
    let limits = TABLE.find("overrides.defaults").cloned().unwrap_or_default();
    let any = Key { name: ANY, ..limits };
    let overrides = Key { keys: vec![any], ..Key::new("overrides") };
    Key { keys: vec![overrides], ..Key::default() }
});

/// A key, or with the empty name the file as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Key {
    pub name: &'static str,
    /// `None` for a section, which is known by its keys.
    pub value: Option<Value>,
    keys: Vec<Key>,
}

/// What Tempo reads there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    pub kind: Kind,
    /// The first and the last release of 2.6 to 3.1 that know the key.
    pub releases: &'static str,
    /// Empty where it is not known, too.
    pub default: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Int,
    Float,
    Text,
    List,
    Map,
    Any,
}

/// The keys of the configuration file.
pub fn table() -> &'static Key {
    &TABLE
}

/// The keys of the file with the limits of tenants.
pub(super) fn per_tenant() -> &'static Key {
    &PER_TENANT
}

impl Key {
    pub(super) const fn new(name: &'static str) -> Self {
        Self { name, value: None, keys: Vec::new() }
    }

    pub(super) fn child(&self, name: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.name == name).or_else(|| self.keys.iter().find(|key| key.name == ANY))
    }

    /// The key at a path: `server.log_level`.
    pub fn find(&self, path: &str) -> Option<&Key> {
        path.split('.').try_fold(self, |key, name| key.child(name))
    }

    /// The names of the keys in a section.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|key| key.name).filter(|name| *name != ANY)
    }

    /// Whether what lies below has keys of its own choice.
    pub(super) fn is_open(&self) -> bool {
        self.value.as_ref().is_some_and(|value| matches!(value.kind, Kind::List | Kind::Map | Kind::Any))
    }

    /// The paths of all keys with a value, and those.
    pub fn values(&self) -> Vec<(String, &Value)> {
        let mut values = Vec::new();
        self.gather("", &mut values);
        values
    }

    fn gather<'k>(&'k self, path: &str, values: &mut Vec<(String, &'k Value)>) {
        if let Some(value) = &self.value {
            values.push((path.to_owned(), value));
        }
        let prefix = if path.is_empty() { String::new() } else { format!("{path}.") };
        for key in &self.keys {
            key.gather(&format!("{prefix}{}", key.name), values);
        }
    }
}

fn parse(table: &'static str) -> Key {
    let lines: Vec<&str> = table.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    Key { keys: keys_of(&lines, 0), ..Key::default() }
}

/// The keys that stand at `indent`, each with the lines below it that stand further right.
fn keys_of(mut lines: &[&'static str], indent: usize) -> Vec<Key> {
    let mut keys = Vec::new();
    while let Some((line, below)) = lines.split_first() {
        let end = below.iter().position(|line| indent_of(line) <= indent).unwrap_or(below.len());
        let (own, others) = below.split_at(end);
        let mut words = line.trim_start().splitn(4, ' ');
        let name = words.next().unwrap_or_default();
        let value = words.next().and_then(kind).map(|kind| Value {
            kind,
            releases: words.next().unwrap_or_default(),
            default: words.next().unwrap_or_default(),
        });
        keys.push(Key { name, value, keys: keys_of(own, indent + INDENT) });
        lines = others;
    }
    keys
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn kind(word: &str) -> Option<Kind> {
    Some(match word {
        "bool" => Kind::Bool,
        "int" => Kind::Int,
        "float" => Kind::Float,
        "string" => Kind::Text,
        "list" => Kind::List,
        "map" => Kind::Map,
        "any" => Kind::Any,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_each_key_below_its_section() {
        let value = table().find("server.http_listen_port").unwrap().value.as_ref().unwrap();
        assert_eq!((value.kind, value.releases, value.default), (Kind::Int, "2.6-3.1", "3200"));
        assert!(table().find("server").unwrap().value.is_none());
        assert!(table().find("server.http_listen_prot").is_none());
        assert_eq!(
            table().find("query_frontend.query_end_cutoff").unwrap().value.as_ref().unwrap().releases,
            "3.0-3.1"
        );
        assert!(table().values().len() > 1_200, "{}", table().values().len());
        assert!(per_tenant().find("overrides.team-a.ingestion.rate_limit_bytes").is_some());
        assert!(per_tenant().find("overrides.team-a.ingestion.rate").is_none());
    }

    #[test]
    fn every_line_of_the_table_is_a_section_or_a_value_with_its_releases() {
        fn check(key: &Key) {
            assert!(key.value.is_some() || !key.keys.is_empty(), "{} is neither", key.name);
            if let Some(value) = &key.value {
                let releases = value.releases.split_once('-');
                assert!(releases.is_some_and(|(first, last)| first.contains('.') && last.contains('.')), "{key:?}");
            }
            key.keys.iter().for_each(check);
        }
        table().keys.iter().for_each(check);
    }
}
