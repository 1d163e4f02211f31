//! Filter policies: which spans a processor counts.
//!
//! A span that an `exclude` matches is left out; one that an `include_any` matches is counted; else all `include` must
//! match, and where there are only `include_any`, the span is left out.

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::columns::{Attributes, Spans, Value};
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

/// Filter policies, ready to be asked.
#[derive(Default)]
pub(crate) struct Filter {
    exclude: Vec<Policy>,
    include_any: Vec<Policy>,
    include: Vec<Policy>,
}

type Policy = Vec<Condition>;

struct Condition {
    target: Target,
    test: Test,
}

enum Target {
    Kind,
    Name,
    Status,
    Span(String),
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
            let lists = [
                (include, &mut filter.include),
                (include_any, &mut filter.include_any),
                (exclude, &mut filter.exclude),
            ];
            for (policy, list) in lists {
                list.extend(policy.as_ref().map(compile).transpose()?);
            }
        }
        Ok(filter)
    }

    /// Whether a span is counted.
    pub(crate) fn takes(&self, spans: &Spans<'_>, row: usize) -> bool {
        let matches = |policy: &Policy| policy.iter().all(|condition| condition.holds(spans, row));
        if self.exclude.iter().any(matches) {
            return false;
        }
        if self.include_any.iter().any(matches) {
            return true;
        }
        if self.include.is_empty() { self.include_any.is_empty() } else { self.include.iter().all(matches) }
    }
}

fn unusable(reason: String) -> Error {
    Error::Config { key: "filter_policies", reason }
}

fn compile(policy: &PolicyMatch) -> Result<Policy, Error> {
    let condition = |attribute: &PolicyAttribute| {
        let target = target(&attribute.key)?;
        let test = match (policy.match_type, &attribute.value) {
            (MatchType::Strict, value) => Test::Equals(value.clone()),
            (MatchType::Regex, PolicyValue::Text(pattern)) => {
                Test::Matches(Regex::new(pattern).map_err(|error| unusable(format!("{pattern:?}: {error}")))?)
            }
            (MatchType::Regex, _) => return Err(unusable(format!("the regex of {} must be a text", attribute.key))),
        };
        Ok(Condition { target, test })
    };
    policy.attributes.iter().map(condition).collect()
}

fn target(key: &str) -> Result<Target, Error> {
    Ok(match key {
        "kind" | "span:kind" => Target::Kind,
        "name" | "span:name" => Target::Name,
        "status" | "span:status" => Target::Status,
        _ => match key.split_once('.') {
            Some(("span", key)) if !key.is_empty() => Target::Span(key.to_owned()),
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
    fn holds(&self, spans: &Spans<'_>, row: usize) -> bool {
        match &self.target {
            Target::Kind => self.test.of_text(kind_name(spans.kinds[row])),
            Target::Name => self.test.of_text(spans.names.get(row)),
            Target::Status => self.test.of_text(status_name(spans.status_codes[row])),
            Target::Span(key) => self.test.of_attribute(&spans.attributes, row, key),
            Target::Resource(key) => {
                self.test.of_attribute(&spans.resource_attributes, spans.resources[row] as usize, key)
            }
        }
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

    fn of_attribute(&self, attributes: &Attributes<'_>, row: usize, key: &str) -> bool {
        let Some(item) = attributes.items(row).find(|&item| attributes.key(item) == key) else { return false };
        match (self, attributes.value(item)) {
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
