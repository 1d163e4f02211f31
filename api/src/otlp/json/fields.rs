//! Fields of a JSON object as protobuf reads them: absent and `null` are the zero value, anything of a wrong type is an
//! error with the path to it.

use std::fmt;

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

/// What is wrong, and where: `resourceSpans[0].scopeSpans[2].spans[7].traceId`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldError {
    path: String,
    problem: String,
}

impl FieldError {
    fn new(problem: impl Into<String>) -> Self {
        Self { path: String::new(), problem: problem.into() }
    }

    fn expected(what: &str, found: &Value) -> Self {
        let found = match found {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        Self::new(format!("expected {what}, found {found}"))
    }

    /// The same error, seen from the object around it.
    fn within(mut self, field: &str) -> Self {
        let separator = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{field}{separator}{}", self.path);
        self
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "the request" } else { &self.path };
        write!(f, "{path}: {}", self.problem)
    }
}

impl std::error::Error for FieldError {}

/// A JSON object whose fields are asked for by their lowerCamelCase names.
pub(super) struct Object<'v> {
    fields: &'v Map<String, Value>,
    /// Whether a name may be spelled in snake_case; most objects need no second look-up.
    has_snake_case: bool,
}

impl<'v> Object<'v> {
    pub(super) fn of(value: &'v Value) -> Result<Self, FieldError> {
        let fields = value.as_object().ok_or_else(|| FieldError::expected("an object", value))?;
        Ok(Self { fields, has_snake_case: fields.keys().any(|name| name.contains('_')) })
    }

    fn get(&self, name: &str) -> Option<&'v Value> {
        let found = self.fields.get(name);
        let found = if found.is_none() && self.has_snake_case { self.fields.get(&snake_case(name)) } else { found };
        found.filter(|value| !value.is_null())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The field read by `read`; the zero value if it is absent.
    fn read<T: Default>(
        &self,
        name: &str,
        read: impl FnOnce(&'v Value) -> Result<T, FieldError>,
    ) -> Result<T, FieldError> {
        self.get(name).map_or_else(|| Ok(T::default()), |value| read(value).map_err(|error| error.within(name)))
    }

    pub(super) fn message<T>(
        &self,
        name: &str,
        read: fn(&Value) -> Result<T, FieldError>,
    ) -> Result<Option<T>, FieldError> {
        self.read(name, |value| read(value).map(Some))
    }

    pub(super) fn list<T>(&self, name: &str, read: fn(&Value) -> Result<T, FieldError>) -> Result<Vec<T>, FieldError> {
        self.read(name, |value| {
            let items = value.as_array().ok_or_else(|| FieldError::expected("an array", value))?;
            let numbered = items.iter().enumerate();
            numbered.map(|(index, item)| read(item).map_err(|error| error.within(&format!("[{index}]")))).collect()
        })
    }

    pub(super) fn string(&self, name: &str) -> Result<String, FieldError> {
        self.read(name, |value| text(value).map(str::to_owned))
    }

    pub(super) fn boolean(&self, name: &str) -> Result<bool, FieldError> {
        self.read(name, |value| value.as_bool().ok_or_else(|| FieldError::expected("a boolean", value)))
    }

    /// An integer of any width, as a number or as text.
    pub(super) fn integer<T: TryFrom<i128> + Default>(&self, name: &str) -> Result<T, FieldError> {
        self.read(name, |value| {
            let wide = integer(value)?;
            T::try_from(wide).map_err(|_| FieldError::new(format!("{wide} is out of range")))
        })
    }

    /// A number, or text: a number, `NaN`, `Infinity`, `-Infinity`.
    pub(super) fn double(&self, name: &str) -> Result<f64, FieldError> {
        self.read(name, |value| match value {
            Value::Number(number) => number.as_f64().ok_or_else(|| FieldError::expected("a number", value)),
            Value::String(text) => text.parse().map_err(|_| FieldError::new(format!("{text:?} is not a number"))),
            _ => Err(FieldError::expected("a number", value)),
        })
    }

    /// The number of an enum member, given by itself or by `number_of` its name. Unknown numbers are kept.
    pub(super) fn enumeration(&self, name: &str, number_of: fn(&str) -> Option<i32>) -> Result<i32, FieldError> {
        match self.get(name) {
            Some(Value::String(text)) if text.parse::<i32>().is_err() => {
                number_of(text).ok_or_else(|| FieldError::new(format!("{text:?} is not a known name")).within(name))
            }
            _ => self.integer(name),
        }
    }

    /// An id: hex digits of any case.
    pub(super) fn hex(&self, name: &str) -> Result<Vec<u8>, FieldError> {
        self.read(name, |value| {
            let digits = text(value)?.as_bytes();
            let bytes: Option<Vec<u8>> = digits.chunks(2).map(hex_byte).collect();
            bytes.ok_or_else(|| FieldError::expected("pairs of hex digits", value))
        })
    }

    /// Bytes in either base64 alphabet, padded or not.
    pub(super) fn base64(&self, name: &str) -> Result<Vec<u8>, FieldError> {
        self.read(name, |value| {
            let text = text(value)?;
            let alphabet = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
            let lenient = GeneralPurposeConfig::new()
                .with_decode_padding_mode(DecodePaddingMode::Indifferent)
                .with_decode_allow_trailing_bits(true);
            let decoded = GeneralPurpose::new(alphabet, lenient).decode(text);
            decoded.map_err(|error| FieldError::new(format!("not base64: {error}")))
        })
    }
}

fn text(value: &Value) -> Result<&str, FieldError> {
    value.as_str().ok_or_else(|| FieldError::expected("a string", value))
}

fn integer(value: &Value) -> Result<i128, FieldError> {
    let not_an_integer = || FieldError::expected("an integer", value);
    match value {
        Value::Number(number) => {
            let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
            whole.or_else(|| number.as_f64().and_then(whole_float)).ok_or_else(not_an_integer)
        }
        Value::String(text) => text.parse().map_err(|_| FieldError::new(format!("{text:?} is not an integer"))),
        _ => Err(not_an_integer()),
    }
}

/// JavaScript writes large whole numbers as `1.5e+18`.
fn whole_float(number: f64) -> Option<i128> {
    (number.fract() == 0.0 && number.abs() < 1e20).then_some(number as i128)
}

fn hex_byte(pair: &[u8]) -> Option<u8> {
    let [high, low] = pair else { return None };
    let digit = |character: u8| char::from(character).to_digit(16);
    u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()
}

fn snake_case(camel_case: &str) -> String {
    let mut name = String::with_capacity(camel_case.len() + 4);
    for character in camel_case.chars() {
        if character.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(character.to_ascii_lowercase());
    }
    name
}
