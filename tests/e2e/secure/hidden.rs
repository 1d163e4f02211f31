//! Nothing that is secret is seen: every key that holds a secret is set to a marker, and the marker is looked for wherever the
//! process says something.

use std::process::Command;

use anyhow::{Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Door, receivers, secret};
use crate::server::Server;

const MARKER: &str = "hush-hush-5d41402a";

/// Wherever a secret may stand, in the configuration and in files that it names.
fn yaml(dir: &std::path::Path) -> Result<String> {
    let token = secret(dir, "token", MARKER)?;
    let overrides = secret(
        dir,
        "overrides.yaml",
        &format!(
            "overrides: {{a: {{metrics_generator: {{processors: [span-metrics], remote_write_headers: {{x-own: {MARKER}}}}}}}}}"
        ),
    )?;
    Ok(format!(
        "
server: {{http_listen_port: 0, log_level: trace}}
{}
authentication:
  credentials: [{{username: eva, password_file: '{token}', read: ['*'], write: ['*'], admin: true}}, {{bearer_token_file: '{token}', admin: true}}]
storage:
  trace:
    backend: local
    s3: {{secret_key: {MARKER}, session_token: {MARKER}}}
    azure: {{storage_account_key: {MARKER}}}
metrics_generator:
  storage:
    remote_write:
    - {{url: 'http://127.0.0.1:1/a', name: a, headers: {{x-token: {MARKER}}}, basic_auth: {{username: u, password: {MARKER}}}}}
    - {{url: 'http://127.0.0.1:1/b', name: b, bearer_token: {MARKER}}}
    - {{url: 'http://127.0.0.1:1/c', name: c, authorization: {{credentials: {MARKER}}}}}
overrides:
  per_tenant_override_config: '{overrides}'
  defaults: {{metrics_generator: {{processors: [span-metrics], remote_write_headers: {{x-all: {MARKER}}}}}}}
",
        receivers("", "")
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_the_log_a_page_or_an_error() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let yaml = yaml(dir.path())?;
    let server = Server::start_listening(dir.path(), &yaml)?;
    let door = Door::plain(&server);
    let mut said = Vec::new();
    let (good, bad) = (format!("eva:{MARKER}"), format!("eva:x{MARKER}"));
    for pair in [&good, &bad] {
        let basic = format!("Basic {}", STANDARD.encode(pair));
        for path in
            ["/status", "/status/config", "/ui/config", "/status/runtime_config", "/status/overrides/a", "/metrics"]
        {
            let answer = door.get(path, &[("authorization", &basic)]).await?;
            ensure!(answer.status == if *pair == good { 200 } else { 401 }, "{path}: {answer:?}");
            said.push((path.to_owned(), answer.body));
        }
        let headers = [("authorization", &*basic)];
        let pushed = door.push(1, &headers).await?;
        said.push((format!("push {}", pushed.status), pushed.body));
        let called = door.push_grpc(2, &headers).await?;
        said.push(("call".to_owned(), called.header("grpc-message")));
    }
    let mosso = |arguments: &[&str]| -> Result<String> {
        let output = Command::new(env!("CARGO_BIN_EXE_mosso")).args(arguments).output()?;
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let file = dir.path().join("mosso.yaml").display().to_string();
    said.push(("migrate".to_owned(), mosso(&["config", "migrate", &file])?));
    said.push(("check".to_owned(), mosso(&["check-config", &file])?));
    for (key, value) in [
        ("server", format!("{{http_tls_config: {{cert: x{MARKER}, key: {MARKER}}}}}")),
        (
            "distributor",
            format!("{{receivers: {{otlp: {{protocols: {{grpc: {{tls: {{cert_pem: x, key_pem: {MARKER}}}}}}}}}}}}}"),
        ),
        ("authentication", format!("{{credentials: [{{username: eva, password_file: '{file}.gone', read: ['*']}}]}}")),
        ("storage", format!("{{trace: {{backend: s3, s3: {{secret_key: {MARKER}}}}}}}")),
    ] {
        let broken = secret(dir.path(), "broken.yaml", &format!("{key}: {value}"))?;
        let error = mosso(&["check-config", &broken])?;
        ensure!(error.contains("broken.yaml"), "{error}");
        said.push((format!("error of {key}"), error));
    }
    let log = server.log();
    server.stop()?;
    said.push(("log".to_owned(), log.lines(&[]).join("\n")));
    let encoded = STANDARD.encode(&good);
    for (place, text) in said {
        ensure!(!text.contains(MARKER) && !text.contains(&encoded), "{place} shows a secret:\n{text}");
    }
    Ok(())
}
