//! Values of attributes: when two are equal.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;

use crate::tempo::plain::content;

/// Attributes that say how much of something there is: a difference of five in a hundred is none.
const MAGNITUDES: [&str; 24] = [
    "app.jank.period",
    "file.size",
    "gen_ai.response.time_to_first_chunk",
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.completion_tokens",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.prompt_tokens",
    "gen_ai.usage.reasoning.output_tokens",
    "http.request.body.size",
    "http.request.size",
    "http.request_content_length",
    "http.request_content_length_uncompressed",
    "http.response.body.size",
    "http.response.size",
    "http.response_content_length",
    "http.response_content_length_uncompressed",
    "message.compressed_size",
    "message.uncompressed_size",
    "messaging.message.body.size",
    "messaging.message.envelope.size",
    "rpc.message.compressed_size",
    "rpc.message.uncompressed_size",
];

const MAGNITUDE_SHARE: f64 = 0.05;

/// Whether two numbers are equal but for a share of the larger, and so much besides.
pub(super) fn is_close(left: f64, right: f64, share: f64, besides: f64) -> bool {
    if left.is_nan() || right.is_nan() {
        return left.is_nan() && right.is_nan();
    }
    if left.is_infinite() || right.is_infinite() {
        return left == right;
    }
    (left - right).abs() <= besides + share * left.abs().max(right.abs())
}

/// Whether an attribute has two values that differ.
pub(super) fn differs(key: &str, before: Option<&Any>, after: Option<&Any>) -> bool {
    if MAGNITUDES.contains(&key)
        && let (Some(before), Some(after)) = (before.and_then(number), after.and_then(number))
    {
        return !is_close(before, after, MAGNITUDE_SHARE, 0.0);
    }
    !is_equal(before, after)
}

fn number(value: &Any) -> Option<f64> {
    match value {
        Any::IntValue(number) => Some(*number as f64),
        Any::DoubleValue(number) => Some(*number),
        _ => None,
    }
}

fn is_equal(left: Option<&Any>, right: Option<&Any>) -> bool {
    match (left, right) {
        (Some(Any::IntValue(left)), Some(Any::IntValue(right))) => left == right,
        (Some(Any::ArrayValue(left)), Some(Any::ArrayValue(right))) => {
            let pairs = left.values.iter().zip(&right.values);
            left.values.len() == right.values.len()
                && pairs.into_iter().all(|(left, right)| is_equal(left.value.as_ref(), right.value.as_ref()))
        }
        (Some(Any::KvlistValue(left)), Some(Any::KvlistValue(right))) => {
            let has = |pair: &KeyValue| {
                let other = right.values.iter().rfind(|other| other.key == pair.key);
                other.is_some_and(|other| is_equal(content(pair), content(other)))
            };
            left.values.len() == right.values.len() && left.values.iter().all(has)
        }
        (Some(left), Some(right)) => match (number(left), number(right)) {
            (Some(left), Some(right)) => left == right || left.is_nan() && right.is_nan(),
            _ => left == right,
        },
        (left, right) => left.is_none() && right.is_none(),
    }
}
