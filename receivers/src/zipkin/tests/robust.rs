//! Whatever comes in, something comes out: a request or an error, never a panic.

use fuzz::RngExt;

use super::*;

const V1_THRIFT: &[u8] = include_bytes!("../../../fixtures/zipkin_v1.thrift");
const V2_PROTOBUF: &[u8] = include_bytes!("../../../fixtures/zipkin_v2.pb");
const JSON: [&str; 2] = [
    r#"[{"traceId":"463ac35c9f6413ad","id":"72485a3953bb6124","parentId":"1","name":"n","kind":"CLIENT","timestamp":5,
    "duration":7,"localEndpoint":{"serviceName":"a","ipv4":"1.2.3.4","port":80},"remoteEndpoint":{"serviceName":"b"},
    "annotations":[{"timestamp":5,"value":"x|{\"a\":1}|0"}],"tags":{"error":"","otlp.link.0":"1|2||{}|0","span.kind":"x"}}]"#,
    r#"[{"traceId":"1","id":"2","name":"n","annotations":[{"timestamp":5,"value":"cs","endpoint":{"serviceName":"a"}}],
    "binaryAnnotations":[{"key":"sa","value":true,"endpoint":{"serviceName":"b","port":1}},{"key":"lc","value":"w"}]}]"#,
];

fn read_all(input: &[u8]) {
    for form in [Form::V1Json, Form::V1Thrift, Form::V2Json, Form::V2Protobuf] {
        for parses_tags in [false, true] {
            _ = spans(form, Bytes::copy_from_slice(input), Reading { parses_tags, ..READING });
        }
    }
}

#[test]
fn fuzz_json() {
    fuzz::fuzz("zipkin-json", |random| fuzz::text::bend(random, &JSON).into_bytes(), read_all);
}

#[test]
fn fuzz_binary() {
    let make = |random: &mut fuzz::SmallRng| {
        if random.random() {
            return fuzz::protobuf::bend(random, V2_PROTOBUF);
        }
        let mut bytes = V1_THRIFT.to_vec();
        for _ in 0..random.random_range(1..6) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
        bytes
    };
    fuzz::fuzz("zipkin-binary", make, read_all);
}
