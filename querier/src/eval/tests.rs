//! What filters keep of the running example of the language's contract, and of odd values.

use opentelemetry_proto::tonic::trace::v1::Span;
use spans::SpanTable;
use traceql::{SpansetExpr, Stage};

use super::Filter;
use crate::error::Error;
use crate::testing::{
    MS, START, array, attributes, bool, event, float, int, resource, service, span, status, table, text,
};

mod agreement;

/// ```text
/// R  GET /   frontend  server  unset  500ms  num=10 str="abc" b=true  arr=["x","y"] iarr=[1,2,3]
/// │                                          events: ev1{k="v1",n=1} ev2{k="v2",n=5}
/// ├─ A call  frontend  client  ok     400ms  num=5
/// │  └─ B handle backend server error 300ms  str="xyz"   event: exception{message="oops"}
/// │     ├─ Q1 query db  client  unset 100ms  num=20
/// │     └─ Q2 query db  client  unset  50ms  num=30
/// └─ L log   frontend  internal unset 10ms   b=false
/// ```
fn example() -> SpanTable {
    let mut r = Span { kind: 2, ..span(1, 1, 0, "GET /", 0, 500) };
    r.attributes = attributes(&[
        ("num", int(10)),
        ("str", text("abc")),
        ("b", bool(true)),
        ("arr", array([text("x"), text("y")])),
        ("iarr", array([int(1), int(2), int(3)])),
    ]);
    r.events = vec![
        event("ev1", START + 10 * MS, &[("k", text("v1")), ("n", int(1))]),
        event("ev2", START + 20 * MS, &[("k", text("v2")), ("n", int(5))]),
    ];
    let a = Span {
        kind: 3,
        status: status(1, ""),
        attributes: attributes(&[("num", int(5))]),
        ..span(1, 2, 1, "call", 10, 400)
    };
    let mut b = Span { kind: 2, status: status(2, "boom"), ..span(1, 3, 2, "handle", 20, 300) };
    b.attributes = attributes(&[("str", text("xyz"))]);
    b.events = vec![event("exception", START + 30 * MS, &[("message", text("oops"))])];
    let q = |id, start, duration, num| Span {
        kind: 3,
        attributes: attributes(&[("num", int(num))]),
        ..span(1, id, 3, "query", start, duration)
    };
    let l = Span { kind: 1, attributes: attributes(&[("b", bool(false))]), ..span(1, 6, 1, "log", 450, 10) };
    table(vec![
        service("frontend", vec![r, a, l]),
        service("backend", vec![b]),
        service("db", vec![q(4, 30, 100, 20), q(5, 140, 50, 30)]),
    ])
}

fn filter(query: &str) -> Filter {
    match traceql::parse(query).unwrap().pipeline.stages.remove(0) {
        Stage::Spans(SpansetExpr::Filter(expr)) => Filter::compile(&expr).unwrap(),
        other => panic!("{other} is no filter"),
    }
}

/// The last digits of the ids of the spans that `query` keeps.
fn kept(table: &SpanTable, query: &str) -> Result<Vec<u8>, Error> {
    let filter = filter(query);
    let masks = filter.on_dimensions(table)?;
    let selection = filter.select(table, &masks)?;
    let ids = arrow::array::AsArray::as_fixed_size_binary(spans::column(&table.spans, "span_id")?);
    let mut kept: Vec<u8> = selection.spans.set_indices().map(|row| ids.value(row)[7]).collect();
    kept.sort_unstable();
    if masks.is_never {
        assert_eq!(kept, [0; 0], "{query}");
    }
    Ok(kept)
}

fn check(table: &SpanTable, cases: &[(&str, &str)]) {
    for (query, expected) in cases {
        let kept = kept(table, query).unwrap_or_else(|error| panic!("{query}: {error}"));
        let names = kept.iter().map(|&id| ["R", "A", "B", "Q1", "Q2", "L"][usize::from(id) - 1]);
        assert_eq!(names.collect::<Vec<_>>().join(" "), *expected, "{query}");
    }
}

#[test]
fn a_missing_value_matches_nothing_but_nil() {
    check(
        &example(),
        &[
            ("{ span.num != 10 }", "A Q1 Q2"),
            ("{ span.num != 10 || span.num = nil }", "A B Q1 Q2 L"),
            ("{ span.nope = 1 }", ""),
            ("{ span.nope != 1 }", ""),
            ("{ span.nope !~ `x` }", ""),
            ("{ span.nope = nil && name = `log` }", "L"),
            ("{ span.str != nil }", "R B"),
            ("{ span.b }", "R"),
            ("{ !span.b }", "L"),
            ("{ span.num }", ""),
            ("{ !span.num }", ""),
            ("{ span.num + 1 = 11 }", "R"),
            ("{ span.num + 1 != 11 }", "A Q1 Q2"),
            ("{ !(span.str = `abc`) }", "A B Q1 Q2 L"),
            ("{ span.b || name = `call` }", "R A"),
        ],
    );
}

#[test]
fn numbers_compare_whatever_their_types() {
    check(
        &example(),
        &[
            ("{ span.num = 10.0 }", "R"),
            ("{ span.num > 9.5 }", "R Q1 Q2"),
            ("{ span.num > 9ns }", "R Q1 Q2"),
            ("{ span.num = `10` }", ""),
            ("{ span.num != `10` }", ""),
            ("{ 5 < span.num }", "R Q1 Q2"),
            ("{ 100ms < duration }", "R A B"),
            ("{ duration > 100000000 }", "R A B"),
            ("{ duration / 100ms = 1 }", "Q1"),
            ("{ duration = span.num * 5ms }", "Q1"),
            ("{ span.num * 2 = 10 }", "A"),
            ("{ -span.num = -5 }", "A"),
            ("{ span.num ^ 2 = 100 }", "R"),
            ("{ span.num % 7 = 6 }", "Q1"),
            ("{ span.num / 3 = 3 }", "R"),
            ("{ span.num / 3.0 = 10 }", "Q2"),
        ],
    );
}

#[test]
fn texts_statuses_and_kinds_compare() {
    check(
        &example(),
        &[
            ("{ name =~ `ca` }", ""),
            ("{ name =~ `ca.*` }", "A"),
            ("{ name !~ `.*l.*` }", "R Q1 Q2"),
            ("{ span.str > `abd` }", "B"),
            ("{ span.num =~ `1.*` }", ""),
            ("{ status = error }", "B"),
            ("{ status != unset }", "A B"),
            ("{ kind = server }", "R B"),
            ("{ client = kind }", "A Q1 Q2"),
            ("{ statusMessage = `` }", "R A Q1 Q2 L"),
            ("{ statusMessage =~ `bo+m` }", "B"),
            ("{ resource.service.name = `db` }", "Q1 Q2"),
            ("{ resource.service.name != `db` && span.num > 5 }", "R"),
            ("{ .service.name =~ `.*end` }", "R A B L"),
            ("{ instrumentation:name = `` && kind = internal }", "L"),
        ],
    );
}

#[test]
fn arrays_match_by_element() {
    check(
        &example(),
        &[
            ("{ span.arr = `x` }", "R"),
            ("{ span.arr = `z` }", ""),
            ("{ span.arr != `x` }", ""),
            ("{ span.arr != `z` }", "R"),
            ("{ span.arr !~ `x` && span.arr !~ `q` }", ""),
            ("{ span.arr =~ `x|z` }", "R"),
            ("{ span.iarr > 2 }", "R"),
            ("{ span.iarr > 3 }", ""),
            ("{ span.iarr != 4 }", "R"),
            ("{ span.iarr != `4` }", ""),
            ("{ span.iarr = span.num }", ""),
            ("{ span.iarr < span.num }", "R"),
            ("{ span.iarr + 1 = 2 }", ""),
        ],
    );
}

#[test]
fn conditions_on_events_bind_to_one_event() {
    check(
        &example(),
        &[
            ("{ event:name = `ev1` && event.n = 5 }", ""),
            ("{ event:name = `ev2` && event.n = 5 }", "R"),
            ("{ event.k = `v2` && event.n = 5 }", "R"),
            ("{ event.n > 4 && event.n < 6 }", "R"),
            ("{ event:name = `ev1` && event:name = `ev2` }", ""),
            ("{ event.k != `v1` }", "R"),
            ("{ event.n = 5 || name = `log` }", "R L"),
            ("{ event.n = 5 && kind = server }", "R"),
            ("{ kind = server && event.message = `oops` }", "B"),
            ("{ event.k = nil }", "B"),
            ("{ event.k = nil && kind = server }", "B"),
            ("{ event.k != nil }", "R"),
            ("{ event:timeSinceStart = 20ms }", "R"),
            ("{ event:timeSinceStart > 10ms - 1ms && resource.service.name = `backend` }", "B"),
            ("{ !(event.n = 5) }", "R A B Q1 Q2 L"),
            ("{ event.n = span.num }", ""),
            ("{ event.n * 2 = span.num }", "R"),
            ("{ link.k = nil }", ""),
        ],
    );
}

#[test]
fn conditions_on_the_trace_keep_every_span() {
    let all = "R A B Q1 Q2 L";
    check(
        &example(),
        &[
            ("{ rootName = `GET /` }", all),
            ("{ trace:rootService = `frontend` && span.num > 10 }", "Q1 Q2"),
            ("{ traceDuration = 500ms }", all),
            ("{ trace:duration - duration > 440ms }", "Q2 L"),
            ("{ trace:id = `01010101010101010101010101010101` }", all),
            ("{ trace:id = `1010101010101010101010101010101` }", all),
            ("{ trace:id =~ `0101.*` }", all),
            ("{ trace:id =~ `1010.*` }", all),
            ("{ trace:id = `0202` }", ""),
            ("{ trace:id != `0202` }", all),
        ],
    );
}

#[test]
fn the_tree_is_numbered() {
    check(
        &example(),
        &[
            ("{ nestedSetParent = -1 }", "R"),
            ("{ nestedSetLeft = 1 && nestedSetRight = 12 }", "R"),
            ("{ nestedSetParent = 3 }", "Q1 Q2"),
            ("{ nestedSetRight > 8 }", "R A L"),
            ("{ span:childCount = 2 }", "R B"),
            ("{ span:parentID = `0000000000000003` }", "Q1 Q2"),
            ("{ span:parentID = `0000000000000000` }", "R"),
            ("{ span:parentID = `` }", ""),
            ("{ span:parentID != `` }", "A B Q1 Q2 L"),
            ("{ span:id = `0000000000000006` }", "L"),
            ("{ span:id = `6` }", ""),
        ],
    );
}

#[test]
fn operators_bind_as_the_language_says() {
    check(
        &example(),
        &[
            ("{ name = `call` || name = `log` && kind = internal }", "L"),
            ("{ name = `call` || (name = `log` && kind = internal) }", "A L"),
            ("{ true && name = `log` }", "L"),
            ("{ false || name = `log` }", "L"),
            ("{ name = `log` && false }", ""),
            ("{ }", "R A B Q1 Q2 L"),
        ],
    );
}

#[test]
fn division_by_zero_fails_only_where_it_is_computed() {
    let table = example();
    for query in ["{ 1 / (span.num - 10) = 1 }", "{ span.num % 0 = 1 }", "{ kind = server && 1 / (span.num - 10) = 1 }"]
    {
        assert!(matches!(kept(&table, query), Err(Error::Query(_))), "{query}");
    }
    check(
        &table,
        &[
            ("{ span.num != 10 && 5 / (span.num - 10) = -1 }", "A"),
            ("{ span.num = 10 || 5 / (span.num - 10) = -1 }", "R A"),
            ("{ 1.0 / (span.num - 10) > 1 }", "R"),
        ],
    );
}

#[test]
fn odd_values_are_there_but_cannot_be_compared() {
    let odd = |id, pairs: &[_]| Span { attributes: attributes(pairs), ..span(1, id, 0, "odd", id, 1) };
    let table = table(vec![service(
        "s",
        vec![
            odd(1, &[("v", array([text("a"), int(1)]))]),
            odd(2, &[("v", array([]))]),
            odd(3, &[("v", array([text("a")]))]),
            odd(4, &[("v", text("a")), ("v", int(7))]),
            odd(5, &[("v", float(f64::NAN))]),
            odd(6, &[("w", int(7))]),
        ],
    )]);
    let ids = |query: &str| kept(&table, query).unwrap();
    assert_eq!(ids("{ span.v != nil }"), [1, 2, 3, 4, 5]);
    assert_eq!(ids("{ span.v = nil }"), [6]);
    assert_eq!(ids("{ span.v = `a` }"), [3, 4]);
    assert_eq!(ids("{ span.v != `b` }"), [3, 4]);
    assert_eq!(ids("{ span.v = 7 }"), [4]);
    assert_eq!(ids("{ span.v = span.v }"), [3, 4]);
    assert_eq!(ids("{ span.v != 1 }"), [4]);
}

#[test]
fn unscoped_attributes_are_those_of_the_span_then_of_the_resource() {
    let with = |id, pairs: &[_]| Span { attributes: attributes(pairs), ..span(1, id, 0, "s", id, 1) };
    let pairs = [("shared", text("from-res")), ("mixed", int(1))];
    let spans =
        vec![with(1, &[("shared", text("from-span"))]), with(2, &[]), with(3, &[("mixed", array([int(4), int(5)]))])];
    let table = table(vec![resource(&pairs, "", spans)]);
    let ids = |query: &str| kept(&table, query).unwrap();
    assert_eq!(ids("{ .shared = `from-span` }"), [1]);
    assert_eq!(ids("{ .shared = `from-res` }"), [2, 3]);
    assert_eq!(ids("{ .mixed = 1 }"), [1, 2]);
    assert_eq!(ids("{ .mixed = 5 }"), [3]);
    assert_eq!(ids("{ .mixed = nil }"), [0; 0]);
    assert_eq!(ids("{ .none = nil }"), [1, 2, 3]);
}

#[test]
fn spans_that_end_before_they_start_have_no_duration() {
    let backwards = Span { end_time_unix_nano: START, ..span(1, 1, 0, "s", 5, 0) };
    let table = table(vec![service("s", vec![backwards])]);
    assert_eq!(kept(&table, "{ duration = 0 }").unwrap(), [1]);
}
