//! Blocks that a Tempo wrote of spans that are kept beside them: `fixtures/tempo/README.md`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use storage::config::FolderConfig;

use super::*;
use crate::otlp::json;

const FORMATS: [&str; 2] = ["vparquet4", "vparquet5"];

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/tempo")
}

fn sent() -> Vec<ResourceSpans> {
    let packed = std::fs::File::open(fixtures().join("sent.json.gz")).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).unwrap();
    json::read(&serde_json::from_str(&text).unwrap()).unwrap()
}

fn location(format: &str) -> Location {
    let folder = fixtures().join(format);
    Location::parse(&format!("tempo://{}", folder.display()), &TraceConfig::default()).unwrap().unwrap()
}

/// What a block gives from a row on.
async fn read(block: &Block, row: u64) -> Vec<Record> {
    let (records, mut received) = mpsc::channel(1000);
    block.clone().read(Place { offset: row, parts: 0 }, records).await;
    let mut read = Vec::new();
    while let Some(record) = received.recv().await {
        read.push(record.unwrap());
    }
    read
}

/// All that a store has.
async fn read_all(location: &Location, times: Option<Times>) -> Vec<ResourceSpans> {
    let mut spans = Vec::new();
    for block in location.find(None, times).await.unwrap().0 {
        spans.extend(read(&block, 0).await.into_iter().flat_map(|record| record.resource_spans));
    }
    spans
}

/// Each span with its scope and resource as a text, by trace and id. The order of attributes says nothing.
fn by_id(resource_spans: Vec<ResourceSpans>) -> BTreeMap<(String, String), String> {
    let mut spans = BTreeMap::new();
    for mut resource_spans in resource_spans {
        resource_spans.resource.iter_mut().for_each(|resource| sort(&mut resource.attributes));
        for mut scope_spans in std::mem::take(&mut resource_spans.scope_spans) {
            scope_spans.scope.get_or_insert_default();
            scope_spans.scope.iter_mut().for_each(|scope| sort(&mut scope.attributes));
            for mut span in std::mem::take(&mut scope_spans.spans) {
                sort_in(&mut span);
                let key = (crate::trace::hex(&span.trace_id), crate::trace::hex(&span.span_id));
                let scope_spans = vec![ScopeSpans { spans: vec![span], ..scope_spans.clone() }];
                let text = json::document(&[ResourceSpans { scope_spans, ..resource_spans.clone() }]);
                assert_eq!(spans.insert(key, text), None, "a span is there twice");
            }
        }
    }
    spans
}

fn sort_in(span: &mut Span) {
    sort(&mut span.attributes);
    span.events.iter_mut().for_each(|event| sort(&mut event.attributes));
    span.links.iter_mut().for_each(|link| sort(&mut link.attributes));
    span.status = span.status.take().filter(|status| *status != Default::default());
}

fn sort(attributes: &mut [KeyValue]) {
    attributes.sort_by(|a, b| a.key.cmp(&b.key));
}

#[tokio::test]
async fn spans_are_those_that_tempo_was_sent() {
    let sent = by_id(sent());
    for format in FORMATS {
        let read = by_id(read_all(&location(format), None).await);
        assert_eq!(read.len(), sent.len(), "{format}");
        for (id, span) in &sent {
            assert_eq!(read.get(id), Some(span), "{format}: {id:?}");
        }
    }
}

#[tokio::test]
async fn reading_goes_on_at_any_row() {
    for format in FORMATS {
        let (blocks, _) = location(format).find(None, None).await.unwrap();
        let block = &blocks[0];
        let ids = async |row| {
            let records = read(block, row).await;
            let spans = records.iter().flat_map(|record| &record.resource_spans).flat_map(|spans| &spans.scope_spans);
            let mut ids: Vec<_> = spans.flat_map(|spans| &spans.spans).map(|span| span.trace_id.clone()).collect();
            ids.dedup();
            (ids, records.last().map(|record| record.next.offset))
        };
        let (all, end) = ids(0).await;
        assert!(all.is_sorted() && all.len() as u64 == block.traces() && end == Some(block.traces()), "{format}");
        for row in [1, 63, 64, 65, 100, block.traces() - 1] {
            assert_eq!(ids(row).await, (all[row as usize..].to_vec(), end), "{format}: row {row}");
        }
        assert_eq!(ids(block.traces()).await, (Vec::new(), None), "{format}");
    }
}

#[tokio::test]
async fn a_range_and_a_tenant_choose() {
    let sent = by_id(sent());
    let start = |span: &str| -> u64 { span.split("startTimeUnixNano\":\"").nth(1).unwrap()[..19].parse().unwrap() };
    let starts: Vec<u64> = sent.values().map(|span| start(span)).collect();
    let (first, last) = (*starts.iter().min().unwrap(), *starts.iter().max().unwrap());
    let middle = Times { start_nanos: first + (last - first) / 2, end_nanos: last - (last - first) / 4 };
    for format in FORMATS {
        let location = location(format);
        let read = by_id(read_all(&location, Some(middle)).await);
        assert!(read.len() > 50 && read.len() < sent.len(), "{format}: {}", read.len());
        assert!(read.values().all(|span| (middle.start_nanos..middle.end_nanos).contains(&start(span))), "{format}");
        let before = Times { start_nanos: first - 3600 * SECOND, end_nanos: first - 1800 * SECOND };
        let nothing = location.find(None, Some(before)).await.err().unwrap().to_string();
        assert!(nothing.ends_with("there are no blocks of a Tempo in this range"), "{nothing}");
        assert_eq!(location.find(Some("single-tenant"), None).await.unwrap().0[0].tenant, "single-tenant");
        let nobody = location.find(Some("nobody"), None).await.err().unwrap().to_string();
        assert!(nobody.ends_with("there are no blocks of a Tempo of tenant nobody"), "{nobody}");
    }
}

#[tokio::test]
async fn a_damaged_block_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let block = location(FORMATS[0]).find(None, None).await.unwrap().0.remove(0);
    let key = block.block.key().to_owned();
    let (whole, torn) = (fixtures().join(FORMATS[0]).join(&key), folder.path().join(&key));
    std::fs::create_dir_all(torn.parent().unwrap()).unwrap();
    std::fs::copy(whole.with_file_name("meta.json"), torn.with_file_name("meta.json")).unwrap();
    let bytes = std::fs::read(whole).unwrap();
    std::fs::write(&torn, &bytes[..bytes.len() / 2]).unwrap();
    let settings =
        TraceConfig { local: FolderConfig { path: Some(folder.path().to_owned()) }, ..TraceConfig::default() };
    let block = Location::parse("tempo://", &settings).unwrap().unwrap().find(None, None).await.unwrap().0.remove(0);
    let (records, mut received) = mpsc::channel(1);
    block.read(Place::default(), records).await;
    let problem = received.recv().await.unwrap().err().unwrap().to_string();
    assert!(problem.starts_with(&format!("tempo://: {key} is damaged: ")), "{problem}");
}

/// A folder with the blocks of one fixture, each also as one of an encoding that nobody knows.
fn with_unknown_blocks(folder: &std::path::Path) -> Location {
    let source = fixtures().join(FORMATS[0]).join("single-tenant");
    for entry in std::fs::read_dir(source).unwrap() {
        let block = entry.unwrap().path();
        let (known, unknown) = (folder.join("single-tenant").join(block.file_name().unwrap()), folder.join("other/x"));
        for copy in [&known, &unknown] {
            std::fs::create_dir_all(copy).unwrap();
        }
        for name in ["meta.json", "data.parquet"] {
            std::fs::copy(block.join(name), known.join(name)).unwrap();
        }
        let meta = std::fs::read_to_string(block.join("meta.json")).unwrap();
        std::fs::write(unknown.join("meta.json"), meta.replace("vParquet4", "vParquet9")).unwrap();
    }
    Location::parse(&format!("tempo://{}", folder.display()), &TraceConfig::default()).unwrap().unwrap()
}

#[tokio::test]
async fn a_block_of_an_unknown_encoding_is_named_and_the_others_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let location = with_unknown_blocks(folder.path());
    let (blocks, left_out) = location.find(None, None).await.unwrap();
    let (traces, id) = (blocks[0].traces(), blocks[0].block.meta.block_id);
    let said: Vec<String> = left_out.iter().map(ToString::to_string).collect();
    let expected = format!("other: block {id} is left out, {traces} traces: its encoding vParquet9 is not known");
    assert_eq!((blocks.len(), said), (1, vec![expected]));
    // what lies outside the range is no loss, and a tenant that has nothing else is no mistake
    let long_ago = Some(Times { start_nanos: 1, end_nanos: 2 });
    assert!(location.find(None, long_ago).await.is_err());
    assert_eq!(location.find(Some("other"), None).await.unwrap().1.len(), 1);
}

#[test]
fn urls_name_stores_and_settings_say_the_rest() {
    let mut s3 = TraceConfig { backend: Backend::S3, ..TraceConfig::default() };
    (s3.s3.bucket, s3.s3.endpoint) = ("configured".to_owned(), "minio:9000".to_owned());
    let gcs = TraceConfig { backend: Backend::Gcs, ..TraceConfig::default() };
    let plain = TraceConfig::default();
    let name = |url: &str, settings: &TraceConfig| {
        let location = Location::parse(url, settings)?;
        Some(location.map(|location| location.settings.store_name()).unwrap_or_else(|problem| problem))
    };
    for (url, settings, store) in [
        ("tempo://traces/a/b", &plain, "s3 bucket traces"),
        ("tempo://traces", &gcs, "gcs bucket traces"),
        ("tempo+s3://traces", &gcs, "s3 bucket traces"),
        ("tempo+gs://traces", &plain, "gcs bucket traces"),
        ("tempo+azure://traces", &s3, "azure container traces"),
        ("tempo:///var/tempo", &s3, "local block folder"),
        ("tempo://", &s3, "s3 bucket configured"),
        ("tempo+gs://", &s3, "tempo+gs://: name a bucket after it"),
    ] {
        assert_eq!(name(url, settings).as_deref(), Some(store), "{url}");
    }
    assert!(name("tempo://", &plain).unwrap().contains("--config.file"));
    assert_eq!(name("spans.json", &plain), None);
    assert_eq!(name("https://a/b", &plain), None);
    let prefixed = Location::parse("tempo://traces/a/b/", &s3).unwrap().unwrap().settings.s3;
    assert_eq!((prefixed.prefix.as_str(), prefixed.endpoint.as_str()), ("a/b", "minio:9000"));
}
