//! A query over several tenants answers what one over the same spans in one tenant answers.

use std::collections::HashMap;
use std::num::NonZeroU64;

use model::TimeRange;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prometheus_client::registry::Registry;
use storage::CpuPool;
use storage::view::{Reach, TenantView, Views};

use super::*;
use crate::request::{MetricsRequest, SearchFilter, SearchRequest, Tag, TagNamesRequest, TagScope, TagValuesRequest};
use crate::testing::{MS, START, listing_block, querier, service, source, span, table, trace_id};
use crate::{Config, Intervals, Querier};

/// Views that differ by tenant.
struct ByTenant(HashMap<TenantId, Vec<Arc<dyn Source>>>);

#[async_trait]
impl Views for ByTenant {
    async fn view(&self, tenant: &TenantId, _reach: Reach) -> Result<TenantView, storage::Error> {
        Ok(TenantView::of(self.0.get(tenant).cloned().unwrap_or_default()))
    }
}

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

/// Trace 1 lies in both tenants, twice in `a`; trace 2 has a span that both have; 3 and 4 belong to one each.
fn spans_of_a() -> [Vec<ResourceSpans>; 2] {
    [
        vec![service(
            "a",
            vec![span(1, 1, 0, "root", 0, 10), span(2, 1, 0, "root", 20, 5), span(3, 1, 0, "op", 40, 1)],
        )],
        vec![service("a", vec![span(1, 2, 1, "op", 1, 2)])],
    ]
}

fn spans_of_b() -> [Vec<ResourceSpans>; 2] {
    [
        vec![
            service("b", vec![span(1, 3, 1, "op", 2, 3), span(4, 1, 0, "root", 60, 1)]),
            service("a", vec![span(2, 1, 0, "root", 20, 5)]),
        ],
        vec![service("b", vec![span(2, 2, 1, "op", 21, 1)])],
    ]
}

async fn over_tenants() -> Querier {
    let ([a1, a2], [b1, b2]) = (spans_of_a(), spans_of_b());
    let of_a: Vec<Arc<dyn Source>> =
        vec![Arc::new(listing_block(&table(a1), &[]).await), Arc::new(listing_block(&table(a2), &[trace_id(1)]).await)];
    let of_b: Vec<Arc<dyn Source>> = vec![Arc::new(listing_block(&table(b1), &[]).await), source(b2)];
    let views = Arc::new(ByTenant(HashMap::from([(tenant("a"), of_a), (tenant("b"), of_b)])));
    Querier::new(
        Config::default(),
        views,
        CpuPool::new(2),
        &storage::Telemetry::unregistered(),
        &mut Registry::default(),
    )
}

fn over_one() -> Querier {
    querier(spans_of_a().into_iter().chain(spans_of_b()).map(source).collect())
}

fn range() -> TimeRange {
    TimeRange::new(START, START + 1_000 * MS)
}

fn search(query: &str, limit: usize) -> SearchRequest {
    let filter = SearchFilter::TraceQl(query.to_owned());
    SearchRequest { range: range(), limit, spans_per_span_set: 9, after: None, filter }
}

fn metrics(query: &str) -> MetricsRequest {
    let intervals = Intervals::of_range(range(), NonZeroU64::new(1_000 * MS).unwrap());
    MetricsRequest { query: traceql::parse_metrics(query).unwrap(), intervals, max_exemplars: 0, max_series: None }
}

#[tokio::test]
async fn traces_of_several_tenants_are_found_merged_and_counted_as_those_of_one() {
    let (over_tenants, over_one) = (over_tenants().await, over_one());
    let (both, single) = (Tenants::parse("a|b").unwrap(), TenantId::single());
    for query in [
        "{ }",
        "{ name = `op` }",
        "{ } | count() > 2",
        "{ resource.service.name = `a` } >> { resource.service.name = `b` }",
    ] {
        for limit in [1, 2, 20] {
            let found = over_tenants.search(&both, search(query, limit), None).await.unwrap().traces;
            assert_eq!(
                found,
                over_one.search(&single, search(query, limit), None).await.unwrap().traces,
                "{query} {limit}"
            );
            assert!(!found.is_empty() && found.len() <= limit, "{query} {limit}");
        }
    }
    // twice: what was remembered of blocks of one query must not be wrong in another
    for query in
        ["{ } | count_over_time()", "{ } | count_over_time() by (resource.service.name)", "{ name = `op` } | rate()"]
    {
        for _ in 0..2 {
            let counted = over_tenants.metrics(&both, metrics(query)).await.unwrap().series;
            assert_eq!(counted, over_one.metrics(&single, metrics(query)).await.unwrap().series, "{query}");
            let of_a = over_tenants.metrics(tenant("a"), metrics(query)).await.unwrap().series;
            let alone = querier(spans_of_a().into_iter().map(source).collect());
            assert_eq!(of_a, alone.metrics(&single, metrics(query)).await.unwrap().series, "{query}");
        }
    }
    for id in 1..=5 {
        let found = over_tenants.trace_by_id(&both, trace_id(id), None).await.unwrap().resource_spans;
        assert_eq!(found, over_one.trace_by_id(&single, trace_id(id), None).await.unwrap().resource_spans, "{id}");
    }
    let names = TagNamesRequest { scope: TagScope::All, range: range(), query: None, limit: None };
    let found = over_tenants.tag_names(&both, names.clone()).await.unwrap().scopes;
    assert_eq!(found, over_one.tag_names(&single, names).await.unwrap().scopes);
    let tag = Tag::Field(traceql::parse_field("resource.service.name").unwrap());
    let values = TagValuesRequest { tag, range: range(), query: None, limit: None, max_stale_sources: None };
    let found = over_tenants.tag_values(&both, values.clone()).await.unwrap().values;
    assert_eq!(found.iter().map(|value| value.text.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let of_a = over_tenants.tag_values(tenant("a"), values).await.unwrap().values;
    assert_eq!(of_a.len(), 1);
}

#[tokio::test]
async fn a_tenant_without_data_adds_nothing() {
    let over_tenants = over_tenants().await;
    let with_nobody = over_tenants.search(Tenants::parse("a|nobody").unwrap(), search("{ }", 20), None).await.unwrap();
    let alone = over_tenants.search(tenant("a"), search("{ }", 20), None).await.unwrap();
    assert_eq!(with_nobody.traces, alone.traces);
    assert_eq!(alone.traces.len(), 3);
}
