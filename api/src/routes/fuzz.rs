//! Whatever stands in a URL, it is answered or refused with a reason; nothing fails inside, and nothing goes on for long.

use axum::body::Body;
use axum::http::{Request, Uri};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::isolation::{push, spans};
use super::router;
use crate::Config;
use crate::testing::{ask, edge};

/// What a URL cannot have in it. The rest goes as it is, percent signs too.
const NO_URL: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`');

const URLS: [&str; 22] = [
    "/api/traces/1?start=1699999990&end=1700000100",
    "/api/v2/traces/000000000000000000000000000000bb?mode=recent&start=0&end=4294967295&q={name=\"plum\"}",
    "/api/search?q={span.fruit=\"plum\"}&limit=20&spss=0&start=1699999990&end=1700000100&minDuration=1ms&maxDuration=5s",
    "/api/search?tags=service.name=plum fruit=\"plum\" status.code=error&start=1699999990&end=1700000100",
    "/api/search?q={}|select(span.fruit,event:name)|by(name)|count()>0&since=1h30m&mostRecent=true",
    "/api/search?service.name=plum&start=1699999990&end=1700000100&orgId=1",
    "/api/search/tags?scope=span&start=1699999990&end=1700000100&limit=5&maxStaleValues=1",
    "/api/v2/search/tags?scope=intrinsic&q={resource.service.name=\"plum\"}&since=7d",
    "/api/search/tag/service.name/values?start=1699999990&end=1700000100&limit=1",
    "/api/v2/search/tag/span.fruit/values?q={name=\"plum\"}&start=1699999990.5&end=2023-11-14T22:15:00Z",
    "/api/v2/search/tag/resource.key%2Fslash/values?start=1699999990000000000&end=1700000100000000000",
    "/api/v2/search/tag/.\"a b\"/values?maxTagValues=3",
    "/api/metrics/query_range?q={}|rate() by(span.fruit)&step=10s&exemplars=5&start=1699999990&end=1700000100",
    "/api/metrics/query_range?q={}|quantile_over_time(duration,.5,.99)|topk(3)&step=1&start=1699999990&end=1700000100&maxSeries=2",
    "/api/metrics/query_range?q={}|histogram_over_time(duration)&start=1699999990000000000&end=1700000100000000000",
    "/api/metrics/query_range?q={}|compare({status=error},3,1,2)&step=60&since=15m",
    "/api/metrics/query?q={}|count_over_time()>1&start=1699999990&end=1700000100&instant=true",
    "/api/metrics/query?query=({}|rate())/({}|rate())&since=1h",
    "/api/service-graph?start=1699999990&end=1700000100&limit=5",
    "/api/echo",
    "/ui/search?q={}",
    "//api//search/?q={}&%zz=%e2%28&;a=b&=c&d",
];

/// What the threads have that answer requests in the process.
const STACK_BYTES: usize = 4 << 20;

#[test]
fn fuzz_http_parameters() {
    let fuzzing = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(ask_for_bent_urls).expect("a thread");
    fuzzing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

fn ask_for_bent_urls() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let test_edge = runtime.block_on(async {
        let test_edge = edge(Config::default()).await;
        assert_eq!(push(&test_edge, "mine", spans("plum", "bb")).await.status, 200);
        test_edge
    });
    let router = router(test_edge.edge.clone());
    ::fuzz::fuzz(
        "http-parameters",
        |random| ::fuzz::text::bend(random, &URLS).into_bytes(),
        |input| {
            let url = utf8_percent_encode(&String::from_utf8_lossy(input), NO_URL).to_string();
            let Ok(uri) = url.parse::<Uri>() else { return };
            let request = Request::builder().uri(uri).body(Body::empty()).expect("a request");
            let answer = runtime.block_on(ask(router.clone(), request));
            // a trace that is not there has no text in Tempo either
            let is_refused = answer.status >= 400 && !url.contains("/traces/");
            assert!(answer.status != 500, "{}", answer.text());
            assert!(!is_refused || !answer.body.is_empty(), "{} without a reason", answer.status);
        },
    );
}
