//! What goes in comes out, whole and in parts.

mod fuzz;

use std::cmp::Reverse;

use arrow::array::UInt32Array;
use model::TimeRange;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use proptest::prelude::*;
use prost::Message;

use crate::testing::{canonical, odd_request, shop_request};
use crate::{ById, Copies, Error, SpanTable, TableBuilder, check, encode, merge_tables, merge_tables_while};

fn table_of(requests: &[ExportTraceServiceRequest]) -> SpanTable {
    let mut builder = TableBuilder::default();
    for request in requests {
        let bytes = request.encode_to_vec();
        let checked = check(&bytes).unwrap();
        assert_eq!(builder.append(&bytes).unwrap(), checked.spans);
    }
    builder.snapshot().unwrap()
}

fn all(requests: &[ExportTraceServiceRequest]) -> Vec<String> {
    canonical(&requests.iter().flat_map(|request| request.resource_spans.clone()).collect::<Vec<_>>())
}

/// Each trace is one run, newest first, runs without gaps; each is found by its id.
fn assert_runs(table: &SpanTable) {
    let traces = table.traces().unwrap();
    let by_id = ById::of(&traces);
    let places: Vec<_> = (0..traces.len()).map(|row| (Reverse(traces.start_nanos(row)), traces.id(row))).collect();
    assert!(places.is_sorted_by(|a, b| a < b));
    let mut next = 0;
    for (row, (_, id)) in places.iter().enumerate() {
        assert_eq!(traces.span_rows(row).start, next);
        assert_eq!(by_id.find(&traces, id), Some(row));
        next = traces.span_rows(row).end;
    }
    assert_eq!(next, table.span_count());
}

/// All that a table says, with its dimensions as they are.
fn resources_and_spans(table: &SpanTable) -> (usize, usize, Vec<String>) {
    (table.resources.num_rows(), table.scopes.num_rows(), canonical(&encode(table).unwrap()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn otlp_to_rows_and_back_is_the_identity(seeds in prop::collection::vec(any::<u64>(), 1..4)) {
        let requests: Vec<_> = seeds.into_iter().map(odd_request).collect();
        let table = table_of(&requests);
        assert_runs(&table);
        prop_assert_eq!(canonical(&encode(&table).unwrap()), all(&requests));
    }

    #[test]
    fn tables_put_together_are_the_table_of_all(seeds in prop::collection::vec(any::<u64>(), 1..5)) {
        let requests: Vec<_> = seeds.into_iter().map(odd_request).collect();
        // cut each request in two, so that traces are split
        let halves = |parity: usize| -> Vec<ExportTraceServiceRequest> {
            requests.iter().cloned().map(|mut request| {
                for scope in request.resource_spans.iter_mut().flat_map(|part| &mut part.scope_spans) {
                    let mut index = 0;
                    scope.spans.retain(|_| { index += 1; index % 2 == parity });
                }
                request
            }).collect()
        };
        let combined = merge_tables(&[table_of(&halves(0)), table_of(&halves(1)), table_of(&[])], Copies::Keep).unwrap().table;
        assert_runs(&combined);
        prop_assert_eq!(canonical(&encode(&combined).unwrap()), all(&requests));
        let whole = table_of(&requests);
        prop_assert_eq!(whole.trace_count(), combined.trace_count());
        prop_assert_eq!(whole.time_range().unwrap(), combined.time_range().unwrap());
    }

    #[test]
    fn putting_tables_together_ends_where_nobody_waits_for_it_any_more(seed in any::<u64>()) {
        let tables = [table_of(&[odd_request(seed)]), table_of(&[odd_request(seed.wrapping_add(1))])];
        let while_asked = |most: usize| {
            let asked = std::cell::Cell::new(0);
            let is_waited_for = || { asked.set(asked.get() + 1); asked.get() <= most };
            let merged = merge_tables_while(&tables, Copies::DropAll, &is_waited_for);
            (merged, asked.get())
        };
        let (merged, all) = while_asked(usize::MAX);
        let merged = merged.unwrap().table;
        prop_assert!(all >= 2 * merged.spans.num_columns() + merged.trace_count(), "asked {} times", all);
        for most in (0..all).step_by((all / 4).max(1)) {
            let (given_up, asked) = while_asked(most);
            prop_assert!(matches!(given_up, Err(Error::GivenUp)) && asked == most + 1, "{:?}", given_up);
        }
    }

    #[test]
    fn rows_that_are_taken_back_leave_no_trace(kept in any::<u64>(), taken in any::<u64>(), later in any::<u64>()) {
        let [kept, taken, later] = [kept, taken, later].map(odd_request);
        let mut builder = TableBuilder::default();
        builder.append(&kept.encode_to_vec()).unwrap();
        let mark = builder.mark();
        let before = builder.snapshot().unwrap();
        builder.append(&taken.encode_to_vec()).unwrap();
        prop_assert_eq!(resources_and_spans(&builder.snapshot_at(&mark).unwrap()), resources_and_spans(&before));
        builder.truncate(&mark);
        prop_assert_eq!(builder.mark(), mark);
        builder.append(&later.encode_to_vec()).unwrap();
        let requests = [kept, later];
        prop_assert_eq!(resources_and_spans(&builder.snapshot().unwrap()), resources_and_spans(&table_of(&requests)));
    }

    #[test]
    fn what_is_sent_again_counts_once_whatever_the_order(
        seeds in prop::collection::vec(any::<u64>(), 1..4),
        sends in prop::collection::vec((any::<prop::sample::Index>(), 0usize..3), 0..8),
    ) {
        let requests: Vec<_> = seeds.into_iter().map(odd_request).collect();
        let mut sent = requests.clone();
        let mut of_tables = [requests.clone(), Vec::new(), Vec::new()];
        for (again, table) in sends {
            sent.insert(again.index(sent.len()), again.get(&requests).clone());
            of_tables[table].push(again.get(&requests).clone());
        }
        let once = all(&requests);
        let table = table_of(&sent);
        assert_runs(&table);
        prop_assert_eq!(canonical(&encode(&table).unwrap()), once.clone());
        let joined = merge_tables(&of_tables.iter().map(|sent| table_of(sent)).collect::<Vec<_>>(), Copies::DropAll).unwrap();
        assert_runs(&joined.table);
        prop_assert_eq!(canonical(&encode(&joined.table).unwrap()), once);
    }

    #[test]
    fn any_bytes_are_refused_or_stored(mut bytes in prop::collection::vec(any::<u8>(), 0..200), seed in any::<u64>(), cut in any::<prop::sample::Index>()) {
        let mut request = odd_request(seed).encode_to_vec();
        let at = cut.index(request.len() + 1);
        request.truncate(at);
        request.append(&mut bytes);
        let mut builder = TableBuilder::default();
        if let Ok(summary) = check(&request) {
            prop_assert_eq!(builder.append(&request).unwrap(), summary.spans);
            encode(&builder.snapshot().unwrap()).unwrap();
        } else {
            builder.append(&request).unwrap_err();
            prop_assert_eq!(builder.mark(), crate::Mark::default());
        }
    }
}

#[test]
fn bad_ids_are_refused_with_the_words_that_clients_know() {
    let message = |edit: fn(&mut opentelemetry_proto::tonic::trace::v1::Span)| {
        let mut request = ExportTraceServiceRequest::default();
        let mut span = opentelemetry_proto::tonic::trace::v1::Span {
            trace_id: vec![1; 16],
            span_id: vec![1; 8],
            ..Default::default()
        };
        edit(&mut span);
        let scope_spans =
            vec![opentelemetry_proto::tonic::trace::v1::ScopeSpans { spans: vec![span], ..Default::default() }];
        request
            .resource_spans
            .push(opentelemetry_proto::tonic::trace::v1::ResourceSpans { scope_spans, ..Default::default() });
        check(&request.encode_to_vec()).unwrap_err().to_string()
    };
    assert_eq!(message(|span| span.trace_id = vec![1; 8]), "trace ids must be 128 bit, received 64 bits");
    assert_eq!(message(|span| span.trace_id = vec![0; 16]), "trace ids must be 128 bit and not all zero");
    assert_eq!(message(|span| span.span_id = vec![]), "span ids must be 64 bit and not all zero, received 0 bits");
    assert_eq!(
        message(|span| span.parent_span_id = vec![1; 3]),
        "parent span ids must be 64 bit or empty, received 24 bits"
    );
}

#[test]
fn a_batch_that_is_sent_three_times_counts_once() {
    let batch = shop_request(1, 5, 1_000);
    let table = table_of(&[batch.clone(), batch.clone(), batch.clone()]);
    assert_eq!(canonical(&encode(&table).unwrap()), all(std::slice::from_ref(&batch)));
    let once = table_of(&[batch]);
    assert_eq!(table.traces, once.traces, "its traces are summed up once");
}

#[test]
fn rows_are_counted_with_the_memory_that_their_table_takes() {
    let mut builder = TableBuilder::default();
    builder.append(&shop_request(1, 800, 1_000).encode_to_vec()).unwrap();
    let counted = builder.memory_bytes();
    let SpanTable { spans, traces, resources, scopes } = builder.snapshot().unwrap();
    let taken = crate::batch_memory_bytes(&[&spans, &traces, &resources, &scopes]);
    assert!((taken * 4 / 5..taken * 6 / 5).contains(&counted), "{counted} for {taken}");
}

#[test]
fn one_id_with_another_kind_or_another_start_is_another_span() {
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    let call = Span {
        trace_id: vec![1; 16],
        span_id: vec![1; 8],
        kind: 3,
        start_time_unix_nano: 10,
        end_time_unix_nano: 20,
        ..Default::default()
    };
    let server = Span { kind: 2, ..call.clone() };
    let later = Span { start_time_unix_nano: 11, ..call.clone() };
    let request = |spans: Vec<Span>| {
        let scope_spans = vec![ScopeSpans { spans, ..Default::default() }];
        ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..Default::default() }] }
    };
    let three = request(vec![call.clone(), server.clone(), later.clone()]);
    let again = request(vec![server.clone(), call, later, server]);
    let table = table_of(&[three.clone(), again.clone()]);
    assert_eq!(canonical(&encode(&table).unwrap()), all(std::slice::from_ref(&three)));
    let joined = merge_tables(&[table_of(std::slice::from_ref(&three)), table_of(&[again])], Copies::DropAll).unwrap();
    assert_eq!((joined.table.span_count(), joined.dropped_spans, joined.joined_traces), (3, 3, 1));
}

#[test]
fn the_first_value_of_a_repeated_key_stays_first() {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value::Value};
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    let attribute =
        |value| KeyValue { key: "k".into(), value: Some(AnyValue { value: Some(value) }), ..Default::default() };
    let text = |text: &str| attribute(Value::StringValue(text.into()));
    let lists = [
        vec![text("a"), text("b")],
        vec![attribute(Value::ArrayValue(ArrayValue::default())), text("c")],
        vec![attribute(Value::IntValue(1)), text("d"), attribute(Value::IntValue(2))],
    ];
    let spans = lists.iter().zip(1u8..).map(|(list, id)| Span {
        trace_id: vec![1; 16],
        span_id: vec![id; 8],
        attributes: list.clone(),
        ..Default::default()
    });
    let scope_spans = vec![ScopeSpans { spans: spans.collect(), ..Default::default() }];
    let request =
        ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..Default::default() }] };
    let mut table = table_of(&[request]);
    table.spans = crate::Promotion::plan(&table.spans, model::Scope::Span).unwrap().apply(&table.spans).unwrap();
    let got: Vec<_> =
        encode(&table).unwrap()[0].scope_spans[0].spans.iter().map(|span| span.attributes.clone()).collect();
    assert_eq!(got, lists);
}

#[test]
fn traces_that_start_in_a_range_are_a_run_where_the_newest_come_first() {
    let table = table_of(&[shop_request(1, 30, 1_000_000_000)]);
    let traces = table.traces().unwrap();
    let starts: Vec<u64> = (0..traces.len()).map(|row| traces.start_nanos(row)).collect();
    let (newest, oldest) = (starts[0], *starts.last().unwrap());
    let cases = [
        (0, u64::MAX),
        (starts[20], starts[10]),
        (starts[7], starts[7]),
        (0, oldest - 1),
        (newest + 1, u64::MAX),
        (9, 5),
    ];
    for (from, to) in cases {
        let expected: Vec<usize> = (0..starts.len()).filter(|&row| (from..=to).contains(&starts[row])).collect();
        let found = traces.rows_starting_in(&TimeRange::new(from, to));
        assert_eq!(found.collect::<Vec<_>>(), expected, "{from} to {to}");
    }
    let turned = UInt32Array::from_iter_values((0..traces.len() as u32).rev());
    let oldest_first = arrow::compute::take_record_batch(&table.traces, &turned).unwrap();
    let traces = crate::Traces::of(&oldest_first).unwrap();
    assert_eq!(traces.rows_starting_in(&TimeRange::new(newest, newest)), 0..starts.len(), "it says that it cannot say");
}
