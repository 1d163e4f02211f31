//! Arrays among attribute values: which of them can be compared, and with what.

use opentelemetry_proto::tonic::common::v1::any_value;

use crate::nested;

/// An element of an array; in the answer of [`array_elements`] a string, an int, a double or a bool.
pub type ArrayElement = any_value::Value;

/// The elements of a serialized `AnyValue` that is an array of scalars of one type; `None` for everything else: maps,
/// bytes, empty and mixed arrays.
pub fn array_elements(message: &[u8]) -> Option<Vec<ArrayElement>> {
    let Some(any_value::Value::ArrayValue(array)) = nested::read(message) else { return None };
    let elements = array.values.into_iter().map(|element| element.value).collect::<Option<Vec<_>>>()?;
    let first = std::mem::discriminant(elements.first()?);
    let comparable = elements.iter().all(|element| {
        use any_value::Value::{BoolValue, DoubleValue, IntValue, StringValue};
        std::mem::discriminant(element) == first
            && matches!(element, StringValue(_) | IntValue(_) | DoubleValue(_) | BoolValue(_))
    });
    comparable.then_some(elements)
}
