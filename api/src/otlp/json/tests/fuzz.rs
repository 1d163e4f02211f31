//! Whatever JSON comes, it is refused or becomes a request that prost reads.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use super::super::to_protobuf;

const REQUESTS: [&str; 3] = [
    r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}],"droppedAttributesCount":1},"scopeSpans":[{"scope":{"name":"lib","version":"1.2","attributes":[]},"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","parentSpanId":"","name":"GET /","kind":2,"startTimeUnixNano":"1544712660000000000","endTimeUnixNano":1544712661000000000,"attributes":[{"key":"a","value":{"intValue":"5"}},{"key":"b","value":{"doubleValue":1.5}},{"key":"c","value":{"boolValue":true}}],"status":{"code":"STATUS_CODE_ERROR","message":"no"},"flags":257,"traceState":"k=v"}],"schemaUrl":"u"}]}]}"#,
    r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"000102030405060708090A0B0C0D0E0F","spanId":"0001020304050607","attributes":[{"key":"list","value":{"arrayValue":{"values":[{"stringValue":"x"},{"bytesValue":"AAECAw=="},{"kvlistValue":{"values":[{"key":"k","value":{"intValue":-1}}]}}]}}}],"events":[{"timeUnixNano":"1","name":"e","attributes":[{"key":"n","value":null}],"droppedAttributesCount":2}],"links":[{"traceId":"01","spanId":"02","traceState":"","attributes":[],"flags":1}],"droppedEventsCount":"3"}]}]}]}"#,
    r#"{"resource_spans":[{"scope_spans":[{"spans":[{"trace_id":"000102030405060708090A0B0C0D0E0F","span_id":"0001020304050607","start_time_unix_nano":1.5e18,"kind":"SPAN_KIND_SERVER"}]}]}],"unknown":{"a":[1,2,{}]}}"#,
];

#[test]
fn fuzz_otlp_json() {
    for request in REQUESTS {
        to_protobuf(request.as_bytes()).expect("a request to begin with");
    }
    fuzz::fuzz(
        "otlp-json",
        |random| fuzz::text::bend(random, &REQUESTS).into_bytes(),
        |input| {
            if let Ok(request) = to_protobuf(input) {
                ExportTraceServiceRequest::decode(&request[..]).expect("prost reads what was made");
            }
        },
    );
}
