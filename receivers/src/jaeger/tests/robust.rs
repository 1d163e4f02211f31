//! Whatever comes in, something comes out: a request or an error, never a panic.

use fuzz::RngExt;

use super::super::*;

const THRIFT: [&[u8]; 3] = [
    include_bytes!("../../../fixtures/emit_batch.compact"),
    include_bytes!("../../../fixtures/emit_batch.binary"),
    include_bytes!("../../../fixtures/batch.thrift"),
];
const POST_SPANS: &[u8] = include_bytes!("../../../fixtures/post_spans.pb");

/// Valid bytes with some of them changed, left out or repeated.
fn bent(random: &mut fuzz::SmallRng, valid: &[u8]) -> Vec<u8> {
    let mut bytes = valid.to_vec();
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..4) {
            0 => bytes[at] = random.random(),
            1 => bytes[at] ^= 1 << random.random_range(0..8),
            2 if bytes.len() > 1 => drop(bytes.drain(at..random.random_range(at..bytes.len()))),
            _ => bytes.extend_from_within(at..),
        }
        if bytes.is_empty() {
            return bytes;
        }
    }
    bytes
}

#[test]
fn fuzz_thrift() {
    let make = |random: &mut fuzz::SmallRng| {
        let valid = fuzz::one_of(random, &THRIFT);
        bent(random, valid)
    };
    fuzz::fuzz("jaeger-thrift", make, |input| {
        _ = packet(input, Encoding::Compact);
        _ = packet(input, Encoding::Binary);
        _ = batch(input);
    });
}

#[test]
fn fuzz_protobuf() {
    fuzz::fuzz(
        "jaeger-protobuf",
        |random| fuzz::protobuf::bend(random, POST_SPANS),
        |input| _ = post_spans(Bytes::copy_from_slice(input)),
    );
}
