mod disk_full;
mod limits;

use super::*;

#[test]
fn spans_are_counted_and_garbage_has_none() {
    let request =
        json::to_protobuf(br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{},{"name":"x"}]},{"spans":[{}]}]}]}"#);
    assert_eq!(count_spans(request.unwrap()), 3);
    assert_eq!(count_spans(Bytes::from_static(b"{garbage")), 0);
}
