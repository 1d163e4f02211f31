//! Names and values over two sources.

use std::sync::Arc;

use model::{BlockId, Scope, TenantId, TimeRange};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use spans::TableBuilder;
use spans::testing::odd_request;
use storage::index::Limits;
use storage::memory::MemorySource;
use storage::source::Source;

use crate::answer::TagValueKind;
use crate::config::Config;
use crate::request::{Tag, TagNamesRequest, TagScope, TagValuesRequest};
use crate::testing::{
    HalfDamaged, MS, START, array, attributes, bool, event, float, indexed_block, int, querier, querier_with, resource,
    service, source, span, spans_of_few_kinds, table, text,
};

fn sources() -> Vec<Arc<dyn Source>> {
    let mut first = span(1, 1, 0, "first", 0, 10);
    first.attributes = attributes(&[("fruit", text("apple")), ("mixed", int(5)), ("flag", bool(true))]);
    first.events = vec![event("begin", START, &[("e.a", int(1))]), event("end", START + MS, &[("e.b", int(2))])];
    let mut second = span(2, 1, 0, "second", 1000, 10);
    second.attributes = attributes(&[("fruit", text("zebra")), ("mixed", array([float(5.0), float(0.5)]))]);
    let third = Span { attributes: attributes(&[("mixed", text(""))]), ..span(2, 2, 1, "third", 1000, 10) };
    vec![
        source(vec![resource(&[("service.name", text("a")), ("host", text("h1"))], "lib", vec![first])]),
        source(vec![
            resource(&[("service.name", text("b"))], "", vec![second]),
            resource(&[("fruit", text("resourceful"))], "", vec![third]),
        ]),
    ]
}

async fn names(scope: TagScope, range: TimeRange, query: Option<&str>) -> String {
    let request = TagNamesRequest { scope, range, query: query.map(str::to_owned), limit: None };
    let names = querier(sources()).tag_names(TenantId::single(), request).await.unwrap();
    assert_eq!(names.intrinsics, !matches!(scope, TagScope::One(_)));
    let scopes = names
        .scopes
        .iter()
        .map(|(scope, names)| format!("{scope}: {}", names.iter().map(String::as_str).collect::<Vec<_>>().join(" ")));
    scopes.collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn a_damaged_row_group_leaves_the_others() {
    let spans = [span(1, 1, 0, "first", 0, 10), span(2, 1, 0, "second", 0, 10)];
    let half: Arc<dyn Source> = Arc::new(HalfDamaged::of(&table(vec![service("s", spans.into())])));
    let tag = Tag::Field(traceql::parse_field("name").unwrap());
    let request = TagValuesRequest {
        tag,
        range: TimeRange::ALL,
        query: Some("{ kind = unspecified }".to_owned()),
        limit: None,
        max_stale_sources: None,
    };
    let answer = querier(vec![half]).tag_values(TenantId::single(), request).await.unwrap();
    assert_eq!((answer.values.len(), answer.metrics.completed_jobs, answer.metrics.total_jobs), (1, 0, 1));
}

#[tokio::test]
async fn names_are_listed_by_scope() {
    let all = names(TagScope::All, TimeRange::ALL, None).await;
    assert_eq!(all, "resource: fruit host service.name; span: flag fruit mixed; event: e.a e.b");
    let span = TagScope::One(Scope::Span);
    assert_eq!(names(span, TimeRange::ALL, None).await, "span: flag fruit mixed");
    assert_eq!(names(TagScope::Intrinsic, TimeRange::ALL, None).await, "");
    let second = TimeRange::new(START + 900 * MS, START + 2000 * MS);
    assert_eq!(names(TagScope::All, second, None).await, "resource: fruit service.name; span: fruit mixed");
}

/// A trace whose second root, which starts first, and whose child lie apart from the first.
#[tokio::test]
async fn what_is_about_the_whole_trace_is_told_of_the_whole() {
    let apple = attributes(&[("fruit", text("apple"))]);
    let late = Span { attributes: apple, ..span(1, 1, 0, "late", 50, 10) };
    let pieces = [vec![late], vec![span(1, 2, 0, "early", 0, 10)], vec![span(1, 3, 2, "child", 10, 5)]];
    let sources = pieces.map(|spans| source(vec![resource(&[], "", spans)]));
    for (tag, query, expected) in [
        ("trace:rootName", None, "early"),
        ("span.fruit", Some("{ rootName = `early` }"), "apple"),
        ("span.fruit", Some("{ rootName = `late` }"), ""),
        ("name", Some("{ nestedSetParent > 0 }"), "child"),
    ] {
        let tag = Tag::Field(traceql::parse_field(tag).unwrap());
        let request = all_values(tag, query);
        let values = querier(sources.to_vec()).tag_values(TenantId::single(), request).await.unwrap().values;
        let texts: Vec<_> = values.iter().map(|value| value.text.as_str()).collect();
        assert_eq!(texts.join(" "), expected, "{query:?}");
    }
    let request = TagNamesRequest {
        scope: TagScope::One(Scope::Span),
        range: TimeRange::ALL,
        query: Some("{ rootName = `early` }".to_owned()),
        limit: None,
    };
    let names = querier(sources.to_vec()).tag_names(TenantId::single(), request).await.unwrap();
    assert!(names.scopes[&Scope::Span].contains("fruit"));
}

#[tokio::test]
async fn names_are_narrowed_by_a_filter() {
    for (query, scope, expected) in [
        ("{ name = `second` }", Scope::Span, "span: fruit mixed"),
        ("{ name = `second` }", Scope::Resource, "resource: service.name"),
        ("{ resource.service.name = `a` }", Scope::Resource, "resource: host service.name"),
        ("{ resource.service.name = `a` }", Scope::Event, "event: e.a e.b"),
        ("{ event:name = `end` }", Scope::Event, "event: e.b"),
        ("{ event:name = `end` }", Scope::Span, "span: flag fruit mixed"),
        ("{ name = `none` }", Scope::Span, "span: "),
        ("{ name = `none` }", Scope::Event, ""),
    ] {
        assert_eq!(names(TagScope::One(scope), TimeRange::ALL, Some(query)).await, expected, "{query}");
    }
    let of_all_scopes = names(TagScope::All, TimeRange::ALL, Some("{ resource.service.name = `a` }")).await;
    assert_eq!(of_all_scopes, "resource: host service.name; span: flag fruit mixed; event: e.a e.b");
    let all = names(TagScope::All, TimeRange::ALL, None).await;
    assert_eq!(names(TagScope::All, TimeRange::ALL, Some("}{")).await, all);
}

fn all_values(tag: Tag, query: Option<&str>) -> TagValuesRequest {
    let query = query.map(str::to_owned);
    TagValuesRequest { tag, range: TimeRange::ALL, query, limit: None, max_stale_sources: None }
}

async fn values(tag: Tag, query: Option<&str>) -> String {
    let request = all_values(tag, query);
    let values = querier(sources()).tag_values(TenantId::single(), request).await.unwrap().values;
    let values = values.iter().map(|value| match value.kind {
        TagValueKind::String => format!("{:?}", value.text),
        TagValueKind::Keyword => format!("<{}>", value.text),
        _ => value.text.clone(),
    });
    values.collect::<Vec<_>>().join(" ")
}

fn field(name: &str) -> Tag {
    Tag::Field(traceql::parse_field(name).unwrap())
}

#[tokio::test]
async fn values_are_listed_with_their_types() {
    for (name, expected) in [
        ("span.fruit", r#""apple" "zebra""#),
        ("resource.fruit", r#""resourceful""#),
        (".fruit", r#""apple" "resourceful" "zebra""#),
        ("span.mixed", r#""" 5 0.5 5.0"#),
        ("span.flag", "true"),
        ("span.none", ""),
        ("name", r#""first" "second" "third""#),
        ("rootName", r#""first" "second""#),
        ("resource.service.name", r#""a" "b""#),
        ("instrumentation:name", r#""" "lib""#),
        ("event:name", r#""begin" "end""#),
        ("event:timeSinceStart", "0 1000000"),
        ("status", "<error> <ok> <unset>"),
        ("nestedSetLeft", "1 2"),
        ("duration", ""),
        ("trace:duration", "10000000"),
        ("trace:id", ""),
    ] {
        assert_eq!(values(field(name), None).await, expected, "{name}");
    }
}

#[tokio::test]
async fn values_are_narrowed_by_a_filter() {
    for (name, query, expected) in [
        ("span.fruit", "{ resource.service.name = `b` }", r#""zebra""#),
        ("resource.service.name", "{ span.fruit = `zebra` }", r#""b""#),
        ("span.fruit", "{ span.fruit = `durian` }", r#""durian""#),
        ("rootName", "{ name = `third` }", r#""second""#),
        ("event:name", "{ event.e.b = 2 }", r#""end""#),
        ("span.fruit", "{ resource.service.name = `nobody` }", ""),
    ] {
        assert_eq!(values(field(name), Some(query)).await, expected, "{query}");
    }
}

#[tokio::test]
async fn values_that_row_groups_tell_are_those_of_the_spans() {
    let spans = table(spans_of_few_kinds());
    let block: Arc<dyn Source> = Arc::new(indexed_block(&spans, Limits::default()).await);
    let live: Arc<dyn Source> = Arc::new(MemorySource::new(BlockId::generate(), spans).unwrap());
    let found = async |source: &Arc<dyn Source>, tag, query, seconds: u64| {
        let range = TimeRange::new(START, START + seconds * 1000 * MS);
        let request =
            TagValuesRequest { range, ..all_values(Tag::Field(traceql::parse_field(tag).unwrap()), Some(query)) };
        querier(vec![source.clone()]).tag_values(TenantId::single(), request).await.unwrap()
    };
    let filters = [
        "{ resource.service.name =~ `ba.*` && kind = server }",
        "{ status = error || name =~ `g.*` }",
        "{ kind = producer }",
    ];
    for tag in ["name", "resource.service.name"] {
        for query in filters {
            // of the last ten seconds there is a part only
            for (seconds, is_told) in [(60, true), (8, false)] {
                let (of_block, of_live) =
                    (found(&block, tag, query, seconds).await, found(&live, tag, query, seconds).await);
                assert_eq!(of_block.values, of_live.values, "{tag} {query}");
                let is_read = of_block.metrics.inspected_spans > 0;
                assert!(is_read != is_told || of_live.values.is_empty(), "{tag} {query}");
            }
        }
    }
    assert!(!found(&block, "name", filters[0], 60).await.values.is_empty());
    assert!(found(&block, "span.lane", filters[0], 60).await.metrics.inspected_spans > 0);
}

#[tokio::test]
async fn a_query_without_room_for_what_row_groups_tell_reads_them() {
    let block: Arc<dyn Source> = Arc::new(indexed_block(&table(spans_of_few_kinds()), Limits::default()).await);
    let found = async |max_memory_bytes_per_query| {
        let config = Config { max_memory_bytes_per_query, ..Config::default() };
        let request = all_values(Tag::Field(traceql::parse_field("name").unwrap()), Some("{ kind = server }"));
        querier_with(config, vec![block.clone()]).tag_values(TenantId::single(), request).await.unwrap()
    };
    let (with_room, without) = (found(64 << 20).await, found(4096).await);
    assert_eq!(with_room.values, without.values);
    assert!(with_room.metrics.inspected_spans == 0 && without.metrics.inspected_spans > 0);
}

#[tokio::test]
async fn bare_names_have_the_old_meanings() {
    for (name, expected) in [
        ("fruit", r#""apple" "resourceful" "zebra""#),
        ("service.name", r#""a" "b""#),
        ("root.name", r#""first" "second""#),
        ("status.code", "<error> <ok> <unset>"),
        ("error", "<true>"),
        ("duration", ""),
    ] {
        assert_eq!(values(Tag::Bare(name.to_owned()), None).await, expected, "{name}");
    }
}

/// Names, and the values of every name, of all scopes and of intrinsics.
async fn everything(source: Arc<dyn Source>) -> Vec<String> {
    let querier = querier(vec![source]);
    let request = TagNamesRequest { scope: TagScope::All, range: TimeRange::ALL, query: None, limit: None };
    let names = querier.tag_names(TenantId::single(), request).await.unwrap();
    let attributes = names
        .scopes
        .into_iter()
        .flat_map(|(scope, names)| names.into_iter().map(move |name| traceql::Field::attribute(scope, name)));
    let intrinsics = model::attribute::LISTED_INTRINSICS.iter().map(|name| traceql::parse_field(name).unwrap());
    let mut lines = Vec::new();
    for field in attributes.chain(intrinsics) {
        let request = TagValuesRequest {
            tag: Tag::Field(field.clone()),
            range: TimeRange::ALL,
            query: None,
            limit: None,
            max_stale_sources: None,
        };
        let values = querier.tag_values(TenantId::single(), request).await.unwrap().values;
        lines.push(format!("{field}: {values:?}"));
    }
    lines
}

#[tokio::test]
async fn names_and_values_from_an_index_are_those_of_the_columns() {
    for seed in 0..12 {
        let mut builder = TableBuilder::default();
        (seed * 4..seed * 4 + 4).for_each(|seed| _ = builder.append(&odd_request(seed).encode_to_vec()).unwrap());
        let table = builder.snapshot().unwrap();
        let expected = everything(Arc::new(MemorySource::new(BlockId::generate(), table.clone()).unwrap())).await;
        for limits in [Limits::default(), Limits { least_hashed_texts: 2, most_listed_numbers: 2, ..Limits::default() }]
        {
            assert_eq!(everything(Arc::new(indexed_block(&table, limits).await)).await, expected, "seed {seed}");
        }
    }
}

#[tokio::test]
async fn an_index_is_asked_once_for_the_values_of_a_tag() {
    let mut builder = TableBuilder::default();
    builder.append(&odd_request(3).encode_to_vec()).unwrap();
    let block = indexed_block(&builder.snapshot().unwrap(), Limits::default()).await;
    let querier = querier(vec![Arc::new(block)]);
    let ask = async || querier.tag_values(TenantId::single(), all_values(field("name"), None)).await.unwrap();
    let (first, again) = (ask().await, ask().await);
    assert!(!first.values.is_empty() && first.metrics.inspected_bytes > 0);
    assert_eq!((again.values, again.metrics.inspected_bytes), (first.values, 0));
}

#[tokio::test]
async fn values_are_sought_until_so_many_sources_had_nothing_new() {
    // newest first: four times the same, then another
    let one =
        |trace: u8, name: &str| source(vec![service("s", vec![span(trace, 1, 0, name, 1000 * u64::from(trace), 1)])]);
    let sources = vec![one(5, "often"), one(4, "often"), one(3, "often"), one(2, "often"), one(1, "once")];
    let querier = querier_with(Config { max_concurrent_reads: 1, ..Config::default() }, sources);
    let names = async |max_stale_sources| {
        let tag = Tag::Field(traceql::parse_field("name").unwrap());
        let request = TagValuesRequest { tag, range: TimeRange::ALL, query: None, limit: None, max_stale_sources };
        querier.tag_values(TenantId::single(), request).await.unwrap().values.len()
    };
    assert_eq!((names(None).await, names(Some(4)).await, names(Some(2)).await), (2, 2, 1));
}
