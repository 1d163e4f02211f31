//! Searches over one block of some 50,000 spans, in spans per second.

use std::sync::Arc;

use benches::{block, requests, table, tokio_runtime};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::FutureExt;
use model::{TenantId, TimeRange};
use prometheus_client::registry::Registry;
use querier::request::{SearchFilter, SearchRequest};
use querier::{Config, Querier};
use storage::{CpuPool, Source};

const QUERIES: [(&str, &str); 7] = [
    ("all", "{}"),
    ("resource attribute", r#"{ resource.service.name = "payment" && status = error }"#),
    ("frequent text", r#"{ span.http.route = "/api/v1/resource-7" }"#),
    ("rare text", r#"{ span.app.user.id = "user-77" }"#),
    ("absent value", r#"{ span.request.id = "no such request" }"#),
    ("regex and duration", r#"{ name =~ ".*resource-1." && duration > 40ms }"#),
    ("number", "{ span.http.response.status_code >= 500 }"),
];

fn search(criterion: &mut Criterion) {
    let (requests, spans) = requests(60);
    let source: Arc<dyn Source> = Arc::new(block(&table(&requests)));
    let sources: querier::Sources = Arc::new(move |_: &TenantId| {
        let source = source.clone();
        async move { Ok(vec![source]) }.boxed()
    });
    let querier = Querier::new(Config::default(), sources, CpuPool::new(2), &mut Registry::default());
    let runtime = tokio_runtime();
    let mut group = criterion.benchmark_group("search");
    group.throughput(Throughput::Elements(spans as u64));
    for (name, query) in QUERIES {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let request = SearchRequest {
                    filter: SearchFilter::TraceQl(query.to_owned()),
                    range: TimeRange::ALL,
                    limit: 20,
                    spans_per_span_set: 3,
                };
                runtime
                    .block_on(querier.search(&TenantId::single(), request))
                    .expect("a query that is evaluated")
                    .traces
                    .len()
            });
        });
    }
    group.finish();
}

criterion_group!(query, search);
criterion_main!(query);
