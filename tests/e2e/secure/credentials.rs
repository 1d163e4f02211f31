//! Who may do what, by listener: the table of `docs/security.md`, line by line.

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Door, HEALTH, STREAM, receivers, secret};
use crate::server::Server;

/// A process with tenants and with credentials of four kinds.
fn start(dir: &std::path::Path) -> Result<Server> {
    let credentials = format!(
        "
authentication:
  credentials:
  - {{username: eva, password_file: '{}', read: [a], write: [a]}}
  - {{bearer_token_file: '{}', write: [a, b]}}
  - {{bearer_token_file: '{}', read: ['*']}}
  - {{username: ops, password_file: '{}', admin: true}}
",
        secret(dir, "eva", "s3cret\n")?,
        secret(dir, "collector", "collector-token")?,
        secret(dir, "grafana", "grafana-token")?,
        secret(dir, "ops", "ops-word")?,
    );
    let cors = "cors: {allowed_origins: ['https://*.example'], allowed_headers: [authorization], max_age: 60}";
    Server::start_listening(
        dir,
        &format!(
            "multitenancy_enabled: true\nserver: {{http_listen_port: 0, {cors}}}\n{}{credentials}",
            receivers("", cors)
        ),
    )
}

async fn ready(door: &Door<'_>) -> Result<()> {
    while door.get("/ready", &[]).await?.status != 200 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_open_what_they_are_for_and_nothing_else() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = start(dir.path())?;
    let door = Door::plain(&server);
    ready(&door).await?;
    let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
    let (eva, wrong, ops) = (basic("eva:s3cret"), basic("eva:secret"), basic("ops:ops-word"));
    let (collector, grafana) = ("Bearer collector-token".to_owned(), "Bearer grafana-token".to_owned());
    let none = String::new();

    let search = "/api/search?q=%7B%7D";
    for (who, tenant, path, expected) in [
        (&none, "", "/ready", 200),
        (&none, "", search, 401),
        (&none, "a", "/metrics", 401),
        (&none, "", "/ui/search", 401),
        (&wrong, "a", search, 401),
        (&eva, "", search, 200),
        (&eva, "a", search, 200),
        (&eva, "b", search, 403),
        (&eva, "a|b", search, 403),
        (&eva, "", "/metrics", 403),
        (&eva, "", "/status/config", 403),
        (&eva, "", "/flush", 403),
        (&eva, "", "/ui/search", 200),
        (&eva, "", "/ui/config", 403),
        (&collector, "a", search, 403),
        (&grafana, "a", search, 200),
        (&grafana, "", search, 401), // any tenant, so one must be named: as Tempo says it
        (&ops, "", "/metrics", 200),
        (&ops, "", "/status/config", 200),
        (&ops, "", "/ui/config", 200),
        (&ops, "a", search, 403),
    ] {
        let mut headers = vec![("x-scope-orgid", tenant), ("authorization", who)];
        headers.retain(|(_, value)| !value.is_empty());
        let answer = door.get(path, &headers).await?;
        assert_eq!(answer.status, expected, "{path} with {headers:?}: {answer:?}");
        let asks = answer.header("www-authenticate");
        let is_denied = expected == 401 && who != &grafana;
        assert_eq!(asks.contains("Basic realm=\"mosso\"") && asks.contains("Bearer"), is_denied, "{asks}");
    }

    for (id, (who, tenant, status, code)) in [
        (&none, "a", 401, "16"),
        (&wrong, "a", 401, "16"),
        (&eva, "", 200, "0"),
        (&eva, "b", 403, "7"),
        (&collector, "b", 200, "0"),
        (&collector, "c", 403, "7"),
        (&collector, "", 400, "3"), // one of two must be named
        (&grafana, "a", 403, "7"),
        (&ops, "a", 403, "7"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut headers = vec![("x-scope-orgid", tenant), ("authorization", who)];
        headers.retain(|(_, value)| !value.is_empty());
        let over_http = door.push(100 + id as u128, &headers).await?;
        assert_eq!(over_http.status, status, "{headers:?}: {over_http:?}");
        let over_grpc = door.push_grpc(200 + id as u128, &headers).await?;
        assert_eq!(over_grpc.header("grpc-status"), code, "{headers:?}: {over_grpc:?}");
        assert!(!over_http.body.contains("s3cret") && !over_grpc.header("grpc-message").contains("s3cret"));
    }

    for (who, tenant, code) in [(&none, "a", "16"), (&collector, "a", "7"), (&eva, "", "0"), (&eva, "b", "7")] {
        let mut headers = vec![("x-scope-orgid", tenant), ("authorization", who)];
        headers.retain(|(_, value)| !value.is_empty());
        let answer = door.call(&server.api, STREAM, &headers, &[]).await?;
        assert_eq!(answer.header("grpc-status"), code, "{headers:?}: {answer:?}");
    }
    for root in [&server.api, &server.grpc] {
        assert_eq!(door.call(root, HEALTH, &[], &[]).await?.header("grpc-status"), "0", "health is open");
    }
    let denied = door.get("/metrics", &[("authorization", &ops)]).await?.body;
    assert!(denied.contains("mosso_denied_requests_total{listener=\"otlp_grpc\"}"), "{denied}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_origins_that_are_named_may_ask_and_no_others() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = start(dir.path())?;
    let door = Door::plain(&server);
    ready(&door).await?;
    for (root, path) in [(&server.otlp, "/v1/traces"), (&server.api, "/api/search")] {
        for (origin, allowed) in [("https://shop.example", "https://shop.example"), ("https://evil.test", "")] {
            let headers = [
                ("origin", origin),
                ("access-control-request-method", "POST"),
                ("access-control-request-headers", "authorization"),
            ];
            let answer = door.ask(root, ("OPTIONS", path), &headers, Vec::new()).await?;
            assert_eq!(answer.header("access-control-allow-origin"), allowed, "{path}: {answer:?}");
            assert!(answer.header("access-control-allow-headers").contains("authorization"));
            assert_eq!(answer.header("access-control-max-age"), "60");
        }
        let refused = door.ask(root, ("POST", path), &[("origin", "https://shop.example")], Vec::new()).await?;
        assert_eq!(refused.status, 401, "an origin is no credential");
        assert_eq!(refused.header("access-control-allow-origin"), "https://shop.example", "the page sees why");
    }
    Ok(())
}
