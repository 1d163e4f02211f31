//! Fields of a JSON object: absent and `null` are nothing, anything of a wrong type is an error with the path to it.

use serde_json::{Map, Value};

use crate::error::Error;

/// A JSON object.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'v>(&'v Map<String, Value>);

impl<'v> Fields<'v> {
    pub(crate) fn of(value: &'v Value) -> Result<Self, Error> {
        value.as_object().map(Self).ok_or_else(|| unexpected("an object", value))
    }

    fn get<T>(self, name: &str, read: impl FnOnce(&'v Value) -> Result<T, Error>) -> Result<Option<T>, Error> {
        let value = self.0.get(name).filter(|value| !value.is_null());
        value.map(|value| read(value).map_err(|error| error.within(name))).transpose()
    }

    pub(crate) fn object<T>(self, name: &str, read: impl FnOnce(Self) -> Result<T, Error>) -> Result<Option<T>, Error> {
        self.get(name, |value| read(Self::of(value)?))
    }

    /// A list of objects; those that are `null` are left out.
    pub(crate) fn list<T>(self, name: &str, read: impl Fn(Self) -> Result<T, Error>) -> Result<Vec<T>, Error> {
        Ok(self.get(name, |value| list(value, read))?.unwrap_or_default())
    }

    /// Names and values, whatever JSON says a value is.
    pub(crate) fn texts(self, name: &str) -> Result<Vec<(String, String)>, Error> {
        let texts = self.object(name, |fields| {
            let texts = fields.0.iter().filter(|(_, value)| !value.is_null());
            Ok(texts.map(|(name, value)| (name.clone(), as_text(value))).collect())
        })?;
        Ok(texts.unwrap_or_default())
    }

    pub(crate) fn text(self, name: &str) -> Result<Option<&'v str>, Error> {
        self.get(name, |value| value.as_str().ok_or_else(|| unexpected("a text", value)))
    }

    /// Any value, as a text.
    pub(crate) fn any_text(self, name: &str) -> Result<Option<String>, Error> {
        self.get(name, |value| Ok(as_text(value)))
    }

    /// A boolean, if it is one.
    pub(crate) fn boolean(self, name: &str) -> Option<bool> {
        self.0.get(name)?.as_bool()
    }

    /// A text that `read` makes something of.
    pub(crate) fn parsed<T>(self, name: &str, read: impl FnOnce(&str) -> Result<T, Error>) -> Result<Option<T>, Error> {
        self.get(name, |value| read(value.as_str().ok_or_else(|| unexpected("a text", value))?))
    }

    /// A whole number, as such or as text; a fraction is cut off.
    pub(crate) fn integer(self, name: &str) -> Result<Option<i64>, Error> {
        self.get(name, |value| integer(value).ok_or_else(|| unexpected("a whole number", value)))
    }
}

/// The list that a body is, or that stands in a field.
pub(crate) fn list<'v, T>(value: &'v Value, read: impl Fn(Fields<'v>) -> Result<T, Error>) -> Result<Vec<T>, Error> {
    let items = value.as_array().ok_or_else(|| unexpected("a list", value))?;
    let items = items.iter().enumerate().filter(|(_, item)| !item.is_null());
    items.map(|(index, item)| Fields::of(item).and_then(&read).map_err(|error| error.at(index))).collect()
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|number| number as i64)),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn as_text(value: &Value) -> String {
    if let Value::String(text) = value { text.clone() } else { value.to_string() }
}

fn unexpected(expected: &str, found: &Value) -> Error {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Error::new(format!("expected {expected}, found {found}"))
}
