//! Filter policies: which spans a processor counts.
//!
//! A span that an `exclude` matches is left out; one that an `include_any` matches is counted; else all `include` must
//! match, and where there are only `include_any`, the span is left out.

use hashbrown::HashMap;
use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::columns::{Attributes, MOST_WANTED_KEYS, Spans, Value, WantedKeys, place_of};
use crate::error::Error;
use crate::names::{kind_name, status_name};

/// One entry of `filter_policies`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FilterPolicy {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include: Option<PolicyMatch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_any: Option<PolicyMatch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude: Option<PolicyMatch>,
}

/// Matches spans of which all attributes match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyMatch {
    pub match_type: MatchType,
    pub attributes: Vec<PolicyAttribute>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MatchType {
    Strict,
    Regex,
}

/// `key` is `kind`, `name`, `status`, `span.…` or `resource.…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyAttribute {
    pub key: String,
    pub value: PolicyValue,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum PolicyValue {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
}

/// A policy with NaN in it equals no value, itself included; nothing relies on that.
impl Eq for PolicyValue {}

/// Filter policies, made ready.
#[derive(Default)]
pub(crate) struct Filter {
    exclude: Vec<Policy>,
    include_any: Vec<Policy>,
    include: Vec<Policy>,
    /// Attributes of spans that are looked at.
    keys: Vec<String>,
    conditions: usize,
}

type Policy = Vec<Condition>;

struct Condition {
    /// Among those of the filter.
    number: usize,
    target: Target,
    test: Test,
}

enum Target {
    Kind,
    Name,
    Status,
    /// By its place among the keys of the filter.
    Span(usize),
    Resource(String),
}

enum Test {
    Equals(PolicyValue),
    Matches(Regex),
}

impl Filter {
    /// # Errors
    /// [`Error::Config`] that says which policy cannot be used, and why.
    pub(crate) fn new(policies: &[FilterPolicy]) -> Result<Self, Error> {
        let mut filter = Self::default();
        for FilterPolicy { include, include_any, exclude } in policies {
            if include.is_none() && include_any.is_none() && exclude.is_none() {
                return Err(unusable("a policy needs include, include_any or exclude".to_owned()));
            }
            let mut compile = |policy: &Option<PolicyMatch>| policy.as_ref().map(|p| filter.compile(p)).transpose();
            let (include, include_any, exclude) = (compile(include)?, compile(include_any)?, compile(exclude)?);
            filter.include.extend(include);
            filter.include_any.extend(include_any);
            filter.exclude.extend(exclude);
        }
        if filter.keys.len() > MOST_WANTED_KEYS {
            let reason = format!("{} attributes are looked at, at most {MOST_WANTED_KEYS} can be", filter.keys.len());
            return Err(unusable(reason));
        }
        Ok(filter)
    }

    fn compile(&mut self, policy: &PolicyMatch) -> Result<Policy, Error> {
        let condition = |attribute: &PolicyAttribute| {
            let target = target(&attribute.key, &mut self.keys)?;
            let test = match (policy.match_type, &attribute.value) {
                (MatchType::Strict, value) => Test::Equals(value.clone()),
                (MatchType::Regex, PolicyValue::Text(pattern)) => {
                    Test::Matches(Regex::new(pattern).map_err(|error| unusable(format!("{pattern:?}: {error}")))?)
                }
                (MatchType::Regex, _) => {
                    return Err(unusable(format!("the regex of {} must be a text", attribute.key)));
                }
            };
            self.conditions += 1;
            Ok(Condition { number: self.conditions - 1, target, test })
        };
        policy.attributes.iter().map(condition).collect()
    }

    /// Whether any policy looks at names.
    pub(crate) fn has_names(&self) -> bool {
        let policies = self.exclude.iter().chain(&self.include_any).chain(&self.include);
        policies.flatten().any(|condition| matches!(condition.target, Target::Name))
    }

    /// The attributes of spans that policies look at.
    pub(crate) fn attributes(&self) -> &[String] {
        &self.keys
    }
}

/// A filter that is asked about the spans of one table: each condition looks once at each value that there is.
pub(crate) struct TableFilter<'t> {
    filter: &'t Filter,
    wanted: WantedKeys<'t>,
    /// Of the row that is asked about.
    values: Vec<Option<Value>>,
    /// By condition: what holds of the values that were met.
    known: Vec<HashMap<Value, bool>>,
}

impl<'t> TableFilter<'t> {
    pub(crate) fn new(filter: &'t Filter, spans: &Spans<'_>) -> Self {
        let wanted = WantedKeys::new(&filter.keys, &spans.attributes);
        Self { filter, wanted, values: Vec::new(), known: vec![HashMap::new(); filter.conditions] }
    }

    /// Whether a span is counted.
    pub(crate) fn takes(&mut self, spans: &Spans<'_>, row: usize) -> bool {
        let Self { filter, wanted, values, known } = self;
        if filter.conditions == 0 {
            return true;
        }
        wanted.find(&spans.attributes, row, values);
        let mut matches = |policy: &Policy| {
            policy.iter().all(|condition| condition.holds(spans, row, values, &mut known[condition.number]))
        };
        if filter.exclude.iter().any(&mut matches) {
            return false;
        }
        if filter.include_any.iter().any(&mut matches) {
            return true;
        }
        if filter.include.is_empty() { filter.include_any.is_empty() } else { filter.include.iter().all(matches) }
    }
}

fn unusable(reason: String) -> Error {
    Error::Config { key: "filter_policies", reason }
}

fn target(key: &str, keys: &mut Vec<String>) -> Result<Target, Error> {
    Ok(match key {
        "kind" | "span:kind" => Target::Kind,
        "name" | "span:name" => Target::Name,
        "status" | "span:status" => Target::Status,
        _ => match key.split_once('.') {
            Some(("span", key)) if !key.is_empty() => Target::Span(place_of(keys, key)),
            Some(("resource", key)) if !key.is_empty() => Target::Resource(key.to_owned()),
            _ => {
                let reason =
                    format!("{key:?} is no key; write kind, name, status, span.<attribute> or resource.<attribute>");
                return Err(unusable(reason));
            }
        },
    })
}

impl Condition {
    /// `values` are those of the keys of the filter, `known` is what was found for values of this condition.
    fn holds(&self, spans: &Spans<'_>, row: usize, values: &[Option<Value>], known: &mut HashMap<Value, bool>) -> bool {
        // what the answer depends on
        let value = match self.target {
            Target::Kind => Value::Int(spans.kinds[row].into()),
            Target::Status => Value::Int(spans.status_codes[row].into()),
            Target::Name => Value::Text(spans.names.id(row)),
            Target::Resource(_) => Value::Int(spans.resources[row].into()),
            Target::Span(place) => match values[place] {
                Some(value) => value,
                None => return false,
            },
        };
        *known.entry(value).or_insert_with(|| match &self.target {
            Target::Kind => self.test.of_text(kind_name(spans.kinds[row])),
            Target::Name => self.test.of_text(spans.names.get(row)),
            Target::Status => self.test.of_text(status_name(spans.status_codes[row])),
            Target::Span(_) => self.test.of_value(&spans.attributes, value),
            Target::Resource(key) => {
                let (attributes, resource) = (&spans.resource_attributes, spans.resources[row] as usize);
                let item = attributes.items(resource).find(|&item| attributes.key(item) == key);
                item.is_some_and(|item| self.test.of_value(attributes, attributes.value(item)))
            }
        })
    }
}

impl Test {
    fn of_text(&self, text: &str) -> bool {
        match self {
            Self::Equals(PolicyValue::Text(wanted)) => wanted == text,
            Self::Equals(_) => false,
            Self::Matches(regex) => regex.is_match(text),
        }
    }

    fn of_value(&self, attributes: &Attributes<'_>, value: Value) -> bool {
        match (self, value) {
            (Self::Equals(PolicyValue::Int(wanted)), Value::Int(value)) => *wanted == value,
            (Self::Equals(PolicyValue::Double(wanted)), Value::Double(bits)) => *wanted == f64::from_bits(bits),
            (Self::Equals(PolicyValue::Bool(wanted)), Value::Bool(value)) => *wanted == value,
            // a file of YAML says in text what a number is
            (Self::Equals(PolicyValue::Text(_)), value) | (_, value @ Value::Text(_)) => {
                self.of_text(&attributes.text(value))
            }
            _ => false,
        }
    }
}
