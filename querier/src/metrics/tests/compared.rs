//! Blocks, whose attributes are counted by code, compare as live spans do.

use super::*;

/// 12,000 spans of 200 traces in 20 seconds, with attributes of every type, of which some stand at few spans, some have too
/// many values, one has two types, and one stands several times at a span.
fn spans() -> Vec<ResourceSpans> {
    let of_span = |number: u64| {
        let (trace, name) = ((number / 60 + 1) as u8, ["get", "put", "ask"][(number % 3) as usize]);
        let id = format!("id {number}");
        let mut pairs = vec![("id", text(&id)), ("number", int(number as i64 * 1_000_000))];
        let user = format!("user {}", number * number % 700);
        if number.is_multiple_of(2) {
            pairs.push(("user", text(&user)));
            pairs.push(("share", float((number % 9) as f64 / 3.0)));
        }
        if number % 60 < 20 {
            pairs.push(("flag", bool(number.is_multiple_of(4))));
            pairs.push(("code", if number.is_multiple_of(5) { text("none") } else { int(number as i64 % 7) }));
        }
        if number.is_multiple_of(997) {
            pairs.push(("rare", text("once in a while")));
        }
        if number.is_multiple_of(31) {
            pairs.push(("user", text("second")));
            pairs.push(("flag", array([int(1), int(2)])));
        }
        let start_ms = u64::from(trace) * 100 + number % 60;
        let parent = if number.is_multiple_of(60) { 0 } else { number / 60 * 60 + 1 };
        Span {
            status: status(if number.is_multiple_of(11) { 2 } else { 0 }, ""),
            ..with(span(trace, number + 1, parent, name, start_ms, 5), &pairs)
        }
    };
    let of_service = |name: &str, numbers: std::ops::Range<u64>| service(name, numbers.map(of_span).collect());
    vec![of_service("front", 0..6_000), of_service("back", 6_000..12_000)]
}

#[tokio::test]
async fn blocks_compare_as_live_spans_do() {
    let table = table(spans());
    let block = || async { Arc::new(indexed_block(&table, Limits::default()).await) as Arc<dyn Source> };
    let live: Arc<dyn Source> = Arc::new(MemorySource::new(BlockId::generate(), table.clone()).unwrap());
    for (query, seconds, step_seconds) in [
        ("{ } | compare({ status = error })", 20, 1),
        ("{ } | compare({ status = error }, 100)", 20, 20),
        ("{ } | compare({ span.user = `user 1` || span.flag = true })", 20, 5),
        ("{ span.user = `user 4` } | compare({ status = error })", 20, 5),
        ("{ name = `get` } | compare({ span.code = 3 })", 20, 5),
        ("{ name = `get` } >> { } | compare({ status = error })", 20, 5),
        // part of the traces, and intervals that are too many for arrays
        ("{ } | compare({ status = error })", 7, 1),
        ("{ resource.service.name = `back` } | compare({ name = `put` })", 13, 5),
        ("{ } | compare({ status = error }) with (extrapolate=true)", 20, 10),
        ("{ } | compare({ status = error }) with (exemplars=false)", 20, 10),
    ] {
        let expected = ask(std::slice::from_ref(&live), request(query, seconds, step_seconds)).await.unwrap();
        let found = ask(&[block().await], request(query, seconds, step_seconds)).await.unwrap();
        assert_eq!(format!("{:?}", found.series), format!("{:?}", expected.series), "{query}");
        let values = |field: &str| {
            let is_value = |series: &&Series| labels_text(&series.labels).contains(&format!("=baseline,{field}="));
            found.series.iter().filter(is_value).count()
        };
        if query.starts_with("{ } | compare({ status = error })") && seconds == 20 {
            assert_eq!([values("span.id"), values("span.number")], [0, 0], "too many values to be told");
            assert_eq!([values("span.user"), values("span.flag"), values("span.code")], [10, 2, 8]);
        }
    }
}

#[tokio::test]
async fn exemplars_show_values_of_which_there_are_too_many() {
    let table = table(spans());
    let block: Arc<dyn Source> = Arc::new(indexed_block(&table, Limits::default()).await);
    let answer = ask(&[block], request("{ } | compare({ status = error })", 20, 1)).await.unwrap();
    let exemplars: Vec<_> = answer.series.iter().flat_map(|series| &series.exemplars).collect();
    assert!(!exemplars.is_empty());
    for exemplar in exemplars {
        let ids = exemplar.labels.iter().filter(|(name, _)| name == "span.id" || name == "span.number");
        assert_eq!(ids.count(), 2, "{:?}", exemplar.labels);
    }
}
