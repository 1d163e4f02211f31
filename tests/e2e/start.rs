//! Starting: what is wrong is named in one line, and the exit code says so.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::Result;

use crate::server::{Server, config_in};

fn mosso(dir: &Path, arguments: &[&str]) -> Result<Output> {
    Ok(Command::new(env!("CARGO_BIN_EXE_mosso")).args(arguments).current_dir(dir).output()?)
}

/// Fails, and the last line on standard error names `what`.
fn assert_refused(output: &Output, what: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = stderr.lines().filter(|line| !line.contains(" INFO ")).collect();
    assert!(!output.status.success(), "{stderr}");
    assert_eq!(lines.len(), 1, "one line: {stderr}");
    assert!(lines[0].contains(what), "{stderr} does not name {what}");
}

#[test]
fn help_version_and_check_config() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let text = |output: Output| String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text(mosso(dir.path(), &["--version"])?).contains(env!("CARGO_PKG_VERSION")));
    assert!(text(mosso(dir.path(), &["--help"])?).contains("check-config"));
    std::fs::write(dir.path().join("good.yaml"), "server: {http_listen_port: 1234}")?;
    assert!(text(mosso(dir.path(), &["check-config", "good.yaml"])?).contains("good.yaml: ok"));
    std::fs::write(dir.path().join("bad.yaml"), "server: {http_listen_prt: 1234}")?;
    assert_refused(&mosso(dir.path(), &["check-config", "bad.yaml"])?, "http_listen_prt");
    assert_refused(&mosso(dir.path(), &["-config.file=bad.yaml"])?, "http_listen_prt");
    assert_refused(
        &mosso(dir.path(), &["check-config", "bad.yaml"])?,
        "bad.yaml:1:10: server: unknown key `http_listen_prt`; did you mean `http_listen_port`?",
    );
    let ignored = "query_frontend: {max_retries: 2, metrics: {concurrent_jobs: 5}}";
    std::fs::write(dir.path().join("ignored.yaml"), ignored)?;
    let said = text(mosso(dir.path(), &["check-config", "ignored.yaml"])?);
    assert_eq!(said.lines().filter(|line| line.contains("is ignored")).count(), 2, "{said}");
    std::fs::write(dir.path().join("tenants.yaml"), "overrides: {a: {compaction: {block_retentoin: 1h}}}")?;
    std::fs::write(dir.path().join("bad.yaml"), "overrides: {per_tenant_override_config: tenants.yaml}")?;
    for arguments in [&["check-config", "bad.yaml"][..], &["-config.file=bad.yaml"]] {
        let output = mosso(dir.path(), arguments)?;
        assert_refused(&output, "block_retentoin");
        assert_refused(&output, "tenants.yaml");
    }
    Ok(())
}

#[test]
fn flags_and_variables_go_with_the_file_as_in_tempo() -> Result<()> {
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join("tempo.yaml"), "server: {http_listen_port: '${MOSSO_TEST_PORT:-3200}'}")?;
    let file = "-config.file=tempo.yaml";
    assert!(
        mosso(dir.path(), &["-config.expand-env=true", "-config.verify=true", "-target=all", file])?.status.success()
    );
    assert_refused(&mosso(dir.path(), &[file])?, "tempo.yaml:1:28: server.http_listen_port: expected a whole number");
    let wrong = &["-config.expand-env=true", file, "-server.http-listen-port", "many"];
    assert_refused(&mosso(dir.path(), wrong)?, "command line: server.http_listen_port: expected a whole number");
    let unknown = mosso(dir.path(), &["-server.http-listen-prot=1", file])?;
    assert_eq!(unknown.status.code(), Some(2), "an unknown flag ends with 2, as in Tempo");
    let explained = mosso(dir.path(), &["config", "explain", "memberlist.bind_port"])?;
    assert!(String::from_utf8_lossy(&explained.stdout).contains("changes nothing here"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_of_tempo_starts() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let tempos = "
target: scalable-single-binary
stream_over_http_enabled: true
memberlist: {join_members: ['tempo:7946']}
ingest: {kafka: {address: 'kafka:9092', topic: traces}}
live_store: {max_block_duration: 1m, max_trace_idle: 5s}
backend_worker: {compaction: {block_retention: 1h}}
query_frontend: {mcp_server: {enabled: true}, search: {duration_slo: 5s, metadata_slo: {duration_slo: 5s}}}
metrics_generator: {storage: {path: /var/tempo/wal, remote_write: [{url: 'http://prometheus:9090/api/v1/write'}]}}
overrides: {ingestion_rate_limit_bytes: 15000000, metrics_generator_processors: [span-metrics]}
usage_report: {reporting_enabled: false}
"
    .replace("/var/tempo/wal", &dir.path().join("wal").to_string_lossy());
    Server::start(dir.path(), &tempos).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_asks_a_running_process_as_tempo_s_does() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), "").await?;
    let check = |path: &str| mosso(dir.path(), &["-health", "-health.url", &format!("{}{path}", server.api)]);
    let healthy = check("/ready")?;
    assert_eq!((healthy.status.code(), &*healthy.stdout), (Some(0), &b"mosso is healthy\n"[..]));
    let unhealthy = check("/nothing")?;
    assert_eq!(unhealthy.status.code(), Some(1));
    assert_refused(&unhealthy, "mosso is unhealthy: status 404: 404 page not found");
    assert_refused(
        &mosso(dir.path(), &["-health=true", "-health.url=http://127.0.0.1:1/ready"])?,
        "127.0.0.1:1/ready failed",
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_is_named() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), "").await?;
    let same_data = config_in(dir.path(), "")?;
    assert_refused(
        &mosso(dir.path(), &["--config.file", &same_data.to_string_lossy()])?,
        &dir.path().join("data").to_string_lossy(),
    );

    let other = tempfile::tempdir()?;
    let port = server.api.rsplit(':').next().unwrap_or_default();
    let yaml = format!("data_dir: {}\nserver: {{http_listen_port: {port}}}\n", other.path().join("data").display());
    std::fs::write(other.path().join("mosso.yaml"), yaml)?;
    assert_refused(&mosso(other.path(), &["--config.file=mosso.yaml"])?, &format!("127.0.0.1:{port}"));

    let file_in_the_way = other.path().join("data");
    std::fs::write(&file_in_the_way, "")?;
    let config = config_in(other.path(), "")?;
    assert_refused(
        &mosso(other.path(), &["--config.file", &config.to_string_lossy()])?,
        &file_in_the_way.to_string_lossy(),
    );
    Ok(())
}
