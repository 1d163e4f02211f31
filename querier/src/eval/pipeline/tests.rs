//! Pipelines on one small trace.
//!
//! ```text
//! R  GET /   frontend  server  500ms  num=10
//! ├─ A call  frontend  client  400ms  num=5   ok
//! │  └─ B handle backend server 300ms         error
//! │     ├─ Q1 query db client 100ms  num=20
//! │     └─ Q2 query db client  50ms  num=30
//! └─ L log   frontend  internal 10ms
//! ```

use opentelemetry_proto::tonic::trace::v1::Span;
use spans::SpanTable;

use super::Pipeline;
use crate::error::Error;
use crate::eval::{Cell, Filter};
use crate::testing::{attributes, event, int, service, span, status, table};

const LABELS: [&str; 7] = ["", "R", "A", "B", "Q1", "Q2", "L"];

fn trace() -> SpanTable {
    let number = |span: Span, number: i64| Span { attributes: attributes(&[("num", int(number))]), ..span };
    let kind = |span: Span, kind: i32| Span { kind, ..span };
    let root = number(kind(span(1, 1, 0, "GET /", 0, 500), 2), 10);
    let call = Span { status: status(1, ""), ..number(kind(span(1, 2, 1, "call", 10, 400), 3), 5) };
    let handle = Span {
        status: status(2, ""),
        events: vec![event("start", 0, &[]), event("oops", 0, &[("code", int(7))])],
        ..kind(span(1, 3, 2, "handle", 20, 300), 2)
    };
    let first = number(kind(span(1, 4, 3, "query", 30, 100), 3), 20);
    let second = number(kind(span(1, 5, 3, "query", 140, 50), 3), 30);
    let log = kind(span(1, 6, 1, "log", 450, 10), 1);
    table(vec![
        service("frontend", vec![root, call, log]),
        service("backend", vec![handle]),
        service("db", vec![first, second]),
    ])
}

/// The span sets that a query leaves: labels of their spans, then their attributes.
fn evaluate(query: &str) -> Result<Vec<String>, Error> {
    let (table, query) = (trace(), traceql::parse(query).unwrap());
    let pipeline = Pipeline::compile(&query.pipeline)?;
    let masks = pipeline.on_dimensions(&table)?;
    let ids = spans::column(&table.spans, spans::schema::column::SPAN_ID).unwrap();
    let ids = arrow::array::AsArray::as_fixed_size_binary(ids);
    let label = |&row: &u32| LABELS[usize::from(ids.value(row as usize)[7])];
    let whole = 0..table.span_count();
    let sets = pipeline.on(&table, &masks).evaluate(std::slice::from_ref(&whole))?;
    Ok(sets
        .iter()
        .map(|set| {
            let mut text = set.rows.iter().map(label).collect::<Vec<_>>().join(" ");
            for (key, value) in &set.attributes {
                let value = match value {
                    Cell::One(value) => value.to_string(),
                    Cell::Missing => "nil".to_owned(),
                    other => format!("{other:?}"),
                };
                text.push_str(&format!("; {key} = {value}"));
            }
            text
        })
        .collect())
}

fn check(cases: &[(&str, &[&str])]) {
    for (query, expected) in cases {
        assert_eq!(evaluate(query).unwrap(), *expected, "{query}");
    }
}

#[test]
fn what_counts_more_spans_than_any_trace_has_finds_nothing() {
    for (query, finds_in_traces_of) in [
        ("{ } | count() > 3", [false, false, true]),
        ("{ } | count() >= 3", [false, true, true]),
        ("{ } | count() = 3", [false, true, true]),
        ("{ name = `query` } | count() > 2.5", [false, true, true]),
        ("{ } | count() > 3 | count() > 100", [false, false, true]),
        // few are enough for these, or what is counted is not spans of a filter
        ("{ } | count() != 3", [true; 3]),
        ("{ } | count() < 3", [true; 3]),
        ("{ } | by(name) | count() > 3", [true; 3]),
        ("{ } | sum(span.num) > 3", [true; 3]),
        ("{ } >> { } | count() > 3", [true; 3]),
    ] {
        let pipeline = Pipeline::compile(&traceql::parse(query).unwrap().pipeline).unwrap();
        assert_eq!([2, 3, 4].map(|most| pipeline.may_find_in_traces_of(most)), finds_in_traces_of, "{query}");
    }
}

#[test]
fn operators_between_span_sets() {
    check(&[
        ("{ name = `GET /` } >> { name = `query` }", &["Q1 Q2"]),
        ("{ name = `query` } << { kind = server }", &["R B"]),
        ("{ name = `query` } < { }", &["B"]),
        ("{ name = `query` } ~ { name = `query` }", &["Q1 Q2"]),
        ("{ name = `call` } ~ { }", &["L"]),
        ("{ } !< { }", &["Q1 Q2 L"]),
        ("{ } !> { }", &["R"]),
        ("{ name = `call` } &> { name = `handle` }", &["A B"]),
        ("{ status = error } && { name = `log` }", &["B L"]),
        ("{ name = `none` } || { name = `log` }", &["L"]),
        ("{ name = `none` } && { name = `log` }", &[]),
        ("{ name = `none` } !>> { name = `log` }", &["L"]),
        ("{ name = `log` } !>> { name = `none` }", &[]),
        ("{ name = `GET /` } > { name = `call` } > { }", &["B"]),
        ("{ name = `call` } || { name = `none` } && { name = `none` }", &[]),
    ]);
}

#[test]
fn stages_split_and_merge_span_sets() {
    check(&[
        (
            "{ } | by(resource.service.name)",
            &[
                "R A L; by(resource.service.name) = `frontend`",
                "B; by(resource.service.name) = `backend`",
                "Q1 Q2; by(resource.service.name) = `db`",
            ],
        ),
        (
            "{ kind = client } | by(resource.service.name) | count() > 1",
            &["Q1 Q2; by(resource.service.name) = `db`; count() = 2"],
        ),
        ("by(span.num > 9) | { kind = client }", &["Q1 Q2; by(span.num > 9) = true", "A; by(span.num > 9) = false"]),
        ("{ kind != client } | by(span.num)", &["R; by(span.num) = 10", "B L; by(span.num) = nil"]),
        ("{ kind != client } | by(span.num + 1)", &["R; by(span.num + 1) = 11", "B L; by(span.num + 1) = false"]),
        ("{ kind = server } | by(kind) | by(name) | coalesce() | count() = 2", &["R B; count() = 2"]),
        ("{ status = error } | by(event.code)", &["B; by(event.code) = 7"]),
        ("{ status = error } | by(event:name)", &["B; by(event:name) = `start`"]),
        ("{ name = `log` } | select(span.num) | { kind = client }", &[]),
    ]);
}

#[test]
fn aggregates_keep_span_sets() {
    check(&[
        ("count() = 6", &["R A B Q1 Q2 L; count() = 6"]),
        ("{ name = `query` } | count() > 2", &[]),
        ("{ } | avg(duration) > 100ms", &["R A B Q1 Q2 L; avg(duration) = 226.666666ms"]),
        ("{ } | min(span.num) = 5.0", &["R A B Q1 Q2 L; min(span.num) = 5"]),
        ("{ } | max(-span.num) = -5", &["R A B Q1 Q2 L; max(-span.num) = -5"]),
        ("{ } | avg(-span.num) < 0", &["R A B Q1 Q2 L; avg(-span.num) = -16.25"]),
        ("{ } | sum(span.none) >= 0", &[]),
        ("{ } | count() > 5 | { name = `query` } | count() = 2", &["Q1 Q2; count() = 2"]),
        ("{ } | count() > 5 | { name = `query` }", &["Q1 Q2; count() = 6"]),
    ]);
}

#[test]
fn pipelines_are_operands() {
    check(&[
        ("({ kind = server } | count() = 2) >> ({ kind = client } | count() = 3)", &["A Q1 Q2"]),
        ("({ kind = server } | count() = 3) >> ({ kind = client } | count() = 3)", &[]),
        ("({ } | by(name)) && ({ status = error })", &["R A B Q1 Q2 L"]),
        ("({ } | by(name) | coalesce()) > ({ name = `log` })", &["L"]),
        ("({ name = `log` } | by(name))", &["L; by(name) = `log`"]),
        // nothing on the right: the groups on the left do not matter
        ("({ } | by(name)) > ({ name = `none` })", &[]),
    ]);
}

#[test]
fn groups_keep_their_own_spans_under_a_later_operator() {
    check(&[
        ("by(resource.service.name) | { kind = server } > { }", &["A L; by(resource.service.name) = `frontend`"]),
        (
            "by(kind = client) | { name = `call` } || { name = `handle` }",
            &["B; by(kind = client) = false", "A; by(kind = client) = true"],
        ),
    ]);
}

#[test]
fn several_groups_under_a_structural_operator_are_refused() {
    let error = evaluate("({ } | by(name)) > ({ name = `log` })").unwrap_err();
    assert_eq!(
        error.to_string(),
        "spanset operators are not supported for multiple spansets per trace. consider using coalesce()"
    );
    assert_eq!(error.kind(), model::ErrorKind::InvalidInput);
}

#[test]
fn later_stages_compute_only_what_came_so_far() {
    check(&[
        ("{ span.num = 10 } | { 100 / (span.num - 5) = 20 }", &["R"]),
        ("{ span.num = 10 } | by(100 / (span.num - 5))", &["R; by(100 / (span.num - 5)) = 20"]),
        ("{ span.num = 10 } | max(100 / (span.num - 5)) = 20", &["R; max(100 / (span.num - 5)) = 20"]),
    ]);
    assert!(evaluate("{ } | { 100 / (span.num - 5) = 20 }").is_err());
}

#[test]
fn runs_without_a_span_for_every_needed_side_are_left_out() {
    let table = trace();
    let candidates = |query: &str| {
        let query = traceql::parse(query).unwrap();
        let pipeline = Pipeline::compile(&query.pipeline).unwrap();
        let masks = pipeline.on_dimensions(&table).unwrap();
        let found = pipeline.on(&table, &masks).candidates(&[0..3, 3..6]).unwrap();
        (pipeline.can_narrow(), found)
    };
    // rows: R A B | Q1 Q2 L
    for (query, expected) in [
        ("{ name = `call` } && { name = `log` }", (true, vec![])),
        ("{ name = `call` } || { name = `log` }", (true, vec![0, 1])),
        ("{ name = `call` } || { }", (false, vec![0, 1])),
        ("{ name = `call` } >> { name = `handle` }", (true, vec![0])),
        ("{ name = `call` } !>> { name = `log` }", (true, vec![1])),
        ("({ name = `log` } | by(name)) && ({ name = `query` })", (true, vec![1])),
        ("{ } | count() > 2 | { name = `log` }", (true, vec![1])),
        ("count() > 2", (false, vec![0, 1])),
        ("{ name = `log` } | { 1 / span.num = 1 }", (true, vec![1])),
    ] {
        assert_eq!(candidates(query), expected, "{query}");
    }
}

#[test]
fn what_joins_spans_needs_whole_traces() {
    for (query, expected) in [
        ("{ .a = 1 } | by(name)", false),
        ("{ .a = 1 } || { .b = 1 }", false),
        ("{ .a = 1 } && { .b = 1 }", true),
        ("{ .a = 1 } > { .b = 1 }", true),
        ("{ .a = 1 } | count() > 1", true),
        ("{ .a = 1 } | by(rootName)", true),
    ] {
        let query = traceql::parse(query).unwrap();
        assert_eq!(Pipeline::compile(&query.pipeline).unwrap().needs_whole_traces(), expected, "{query}");
    }
    assert!(Filter::compile(&traceql::FieldExpr::TRUE).unwrap().is_always());
}
