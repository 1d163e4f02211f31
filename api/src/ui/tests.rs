use std::io::Read;

use axum::body::Body;
use axum::http::Request;
use flate2::read::GzDecoder;

use super::*;
use crate::testing::{Answer, ask, edge};
use crate::{Config, routes};

async fn get(config: Config, path: &str, headers: &[(&str, &str)]) -> Answer {
    let test_edge = edge(config).await;
    let mut request = Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    ask(routes::router(test_edge.edge.clone()), request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn the_root_leads_to_the_page_by_relative_addresses() {
    let prefixed = || Config { http_api_prefix: "/tempo/".parse().unwrap(), ..Config::default() };
    for (config, path, location) in [
        (Config::default(), "/", "ui/search"),
        (Config::default(), "/ui", "ui/search"),
        (Config::default(), "/ui/", "search"),
        (prefixed(), "/", "tempo/ui/search"),
        (prefixed(), "/tempo/ui", "ui/search"),
        (prefixed(), "/tempo/ui/", "search"),
    ] {
        let answer = get(config, path, &[]).await;
        assert_eq!((answer.status, answer.header("location")), (307, location), "{path}");
    }
}

#[tokio::test]
async fn every_page_is_the_same_document_and_unknown_files_are_not_found() {
    let document = get(Config::default(), "/ui/search", &[]).await;
    assert_eq!((document.status, document.content_type()), (200, "text/html; charset=utf-8"));
    assert!(document.text().contains(r#"src="app.js""#), "{}", document.text());
    assert!(document.header("content-security-policy").contains("connect-src 'self'"));
    for page in PAGES {
        let path = format!("/ui/{page}");
        assert_eq!(get(Config::default(), &path, &[]).await.text(), document.text(), "{path}");
    }
    for path in ["/ui/nothing", "/ui/search/deeper", "/ui/..%2Fapi"] {
        assert_eq!(get(Config::default(), path, &[]).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn files_are_compressed_for_who_takes_it_and_sent_once() {
    let plain = get(Config::default(), "/ui/app.js", &[]).await;
    assert_eq!((plain.status, plain.content_type()), (200, "text/javascript; charset=utf-8"));
    let compressed = get(Config::default(), "/ui/app.js", &[("accept-encoding", "gzip")]).await;
    assert_eq!(compressed.header("content-encoding"), "gzip");
    let mut decoded = String::new();
    GzDecoder::new(compressed.body.as_ref()).read_to_string(&mut decoded).unwrap();
    assert_eq!(decoded, plain.text());

    let etag = plain.header("etag");
    for (tags, status) in [(etag.to_owned(), 304), (format!("\"x\", {etag}"), 304), ("W/\"other\"".to_owned(), 200)] {
        let answer = get(Config::default(), "/ui/app.js", &[("if-none-match", &tags)]).await;
        assert_eq!((answer.status, answer.header("etag")), (status, etag), "{tags}");
    }
}

#[test]
fn all_of_the_page_is_small_once_compressed() {
    let bytes: usize = FILES.iter().map(|file| file.gzip.len()).sum();
    assert!(bytes < 300_000, "{bytes} bytes compressed");
}

#[tokio::test]
async fn the_page_reads_metrics_and_configuration_below_its_own_prefix() {
    let config = Config { http_api_prefix: "/tempo".parse().unwrap(), ..Config::default() };
    let metrics = get(config.clone(), "/tempo/ui/metrics", &[]).await;
    assert_eq!(metrics.status, 200);
    assert_eq!(get(config.clone(), "/tempo/ui/config", &[]).await.status, 200);
    assert_eq!(get(config, "/ui/metrics", &[]).await.status, 404);
}
