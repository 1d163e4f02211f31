//! New certificates, secrets and levels of the log without a restart, and broken ones that change nothing.

use anyhow::{Result, ensure};

use super::authority::Authority;
use super::client::{Connection, request};
use super::{Door, Tls, Version, pair_yaml, receivers, secret};
use crate::server::{PATIENCE, Server};

/// Asks again until the answer is as wanted.
async fn until(what: &str, mut asks: impl AsyncFnMut() -> bool) -> Result<()> {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !asks().await {
        ensure!(std::time::Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn new_certificates_are_for_new_connections_and_open_ones_go_on() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (old, new) = (Authority::new()?, Authority::new()?);
    let pair = old.write(dir.path(), "server")?;
    let yaml = format!(
        "server: {{http_listen_port: 0, http_tls_config: {{{}}}}}\n{}",
        pair_yaml(&pair),
        receivers(&format!("tls: {{{}, reload_interval: 1s}}", pair_yaml(&pair)), "")
    );
    let server = Server::start_listening(dir.path(), &yaml)?;
    let tls =
        |authority: &Authority, name| Tls::trusting(&authority.write_own(dir.path(), name)?, None, Version::Http1);
    let (trusts_old, trusts_new) = (tls(&old, "old")?, tls(&new, "new")?);
    let address = server.api.trim_start_matches("http://");
    let version = Version::Http1;
    let ready = || request("GET", true, "/ready", &[("host", "localhost")], Vec::new());
    let mut open = Connection::open(address, Some(&trusts_old), version).await?;
    until("ready", async || open.send(ready().unwrap()).await.is_ok_and(|answer| answer.status == 200)).await?;

    let good_key = std::fs::read(&pair.key)?;
    std::fs::write(&pair.key, "half a key")?;
    server.hang_up()?;
    server.wait_for_log(&["files cannot be used, the old ones hold", "server.key has no private key"]).await?;
    assert!(Connection::open(address, Some(&trusts_old), version).await.is_ok());
    std::fs::write(&pair.key, good_key)?;

    new.write(dir.path(), "server")?;
    until("new connections see the new certificate", async || {
        Connection::open(address, Some(&trusts_new), version).await.is_ok()
    })
    .await?;
    assert!(Connection::open(address, Some(&trusts_old), version).await.is_err());
    assert_eq!(open.send(ready()?).await?.status, 200, "the open connection goes on");
    server.wait_for_log(&["new files are in use", "TLS of http"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_and_the_level_of_the_log_change_on_sighup() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let token = secret(dir.path(), "token", "one")?;
    let yaml = |level: &str| {
        format!(
            "server: {{http_listen_port: 0, log_level: {level}}}\n{}\nauthentication: {{credentials: [{{bearer_token_file: '{token}', write: ['*'], admin: true}}]}}",
            receivers("", "")
        )
    };
    let server = Server::start_listening(dir.path(), &yaml("info"))?;
    let door = Door::plain(&server);
    let status = async |token: &str| {
        let answer = door.get("/metrics", &[("authorization", token)]).await;
        answer.map(|answer| answer.status).unwrap_or_default()
    };
    assert_eq!((status("Bearer one").await, status("Bearer two").await), (200, 401));
    std::fs::write(&token, "one\ntwo\n")?;
    server.hang_up()?;
    until("both are valid", async || status("Bearer two").await == 200).await?;
    assert_eq!(status("Bearer one").await, 200);
    std::fs::write(&token, "\n")?;
    server.hang_up()?;
    server.wait_for_log(&["the old ones hold", "token has no secret"]).await?;
    assert_eq!(status("Bearer two").await, 200);
    std::fs::write(&token, "two")?;
    server.hang_up()?;
    until("the first is valid no more", async || status("Bearer one").await == 401).await?;

    let file = dir.path().join("mosso.yaml");
    let write = |level: &str| {
        std::fs::write(&file, format!("data_dir: {}\n{}\n", dir.path().join("data").display(), yaml(level)))
    };
    write("loud")?;
    server.hang_up()?;
    server.wait_for_log(&["the configuration cannot be read again", "loud"]).await?;
    write("debug")?;
    server.hang_up()?;
    server.wait_for_log(&["the log level has changed", "Debug"]).await?;
    let refused = ["DEBUG", "spans refused"];
    assert!(server.log_lines(&refused).is_empty());
    let headers = [("authorization", "Bearer two"), ("content-type", "application/x-protobuf")];
    let answer = door.ask(&server.otlp, ("POST", "/v1/traces"), &headers, b"no spans".to_vec()).await?;
    assert_eq!(answer.status, 400, "{answer:?}");
    server.wait_for_log(&refused).await
}
