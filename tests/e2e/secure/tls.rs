//! Handshakes: who speaks TLS is answered on every listener, who does not is told, and who has to show a certificate does.

use anyhow::{Context, Result, ensure};

use super::authority::Authority;
use super::{Door, HEALTH, STREAM, Tls, Version, pair_yaml, receivers};
use crate::server::Server;
use crate::traffic::window;

#[tokio::test(flavor = "multi_thread")]
async fn every_listener_speaks_tls_and_nothing_else() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let authority = Authority::new()?;
    let pair = pair_yaml(&authority.write(dir.path(), "server")?);
    let tls = format!("tls: {{{pair}, min_version: '1.2'}}");
    let yaml = format!(
        "server: {{http_listen_port: 0, tls_min_version: VersionTLS12, http_tls_config: {{{pair}}}}}\n{}",
        receivers(&tls, &tls)
    );
    let server = Server::start_listening(dir.path(), &yaml)?;
    let ca = authority.write_own(dir.path(), "own")?;
    server.wait_for_log(&["listener=\"otlp_http\""]).await?;
    for version in [Version::Http1, Version::Http2] {
        let door = Door { server: &server, tls: Some(Tls::trusting(&ca, None, version)?), version };
        while door.get("/ready", &[]).await?.status != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(door.push(7, &[]).await?.status, 200, "{version:?}");
        let found = door.get(&format!("/api/search?q=%7B%7D{}", window()), &[]).await?;
        ensure!(found.status == 200 && found.body.contains("\"traceID\":\"7\""), "{version:?}: {found:?}");
    }
    let tls = Some(Tls::trusting(&ca, None, Version::Http2)?);
    let door = Door { server: &server, tls, version: Version::Http2 };
    for (root, method, message) in
        [(&server.api, HEALTH, &[][..]), (&server.grpc, HEALTH, &[]), (&server.api, STREAM, &[])]
    {
        let answer = door.call(root, method, &[], message).await?;
        assert_eq!(answer.header("grpc-status"), "0", "{method}: {answer:?}");
    }
    assert_eq!(door.push_grpc(8, &[]).await?.header("grpc-status"), "0");

    let plain = Door::plain(&server);
    for root in [&server.api, &server.otlp, &server.grpc] {
        let answer = plain.ask(root, ("GET", "/ready"), &[], Vec::new()).await?;
        assert_eq!((answer.status, answer.body.contains("this port speaks TLS")), (400, true), "{answer:?}");
    }
    let stranger = Authority::new()?.write_own(dir.path(), "stranger")?;
    let tls = Some(Tls::trusting(&stranger, None, Version::Http1)?);
    let distrusts = Door { server: &server, tls, version: Version::Http1 };
    assert!(distrusts.get("/ready", &[]).await.is_err(), "the certificate comes from elsewhere");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_shows_a_certificate_of_the_right_authority_or_is_refused() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (authority, clients, strangers) = (Authority::new()?, Authority::new()?, Authority::new()?);
    let pair = pair_yaml(&authority.write(dir.path(), "server")?);
    let client_ca = format!("client_ca_file: '{}'", clients.write_own(dir.path(), "clients")?.display());
    let tls = format!("tls: {{{pair}, {client_ca}}}");
    let http_tls = format!("{{{pair}, {client_ca}, client_auth_type: VerifyClientCertIfGiven}}");
    let yaml = format!(
        "server: {{http_listen_port: 0, http_tls_config: {http_tls}, grpc_tls_config: {http_tls}}}\n{}",
        receivers(&tls, &tls)
    );
    let server = Server::start_listening(dir.path(), &yaml)?;
    let ca = authority.write_own(dir.path(), "own")?;
    let (known, stranger) = (clients.write(dir.path(), "known")?, strangers.write(dir.path(), "stranger")?);
    let with = |own| -> Result<Door<'_>> {
        let tls = Some(Tls::trusting(&ca, own, Version::Http2)?);
        Ok(Door { server: &server, tls, version: Version::Http2 })
    };
    let (nobody, stranger, known) = (with(None)?, with(Some(&stranger))?, with(Some(&known))?);
    while known.get("/ready", &[]).await?.status != 200 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(nobody.get("/ready", &[]).await?.status, 200, "only those that have a certificate must have a good one");
    assert!(stranger.get("/ready", &[]).await.is_err());
    for refused in [&nobody, &stranger] {
        assert!(refused.push(1, &[]).await.is_err());
        assert!(refused.push_grpc(1, &[]).await.is_err());
    }
    assert_eq!(known.push(2, &[]).await?.status, 200);
    assert_eq!(known.push_grpc(3, &[]).await?.header("grpc-status"), "0");
    let metrics = known.get("/metrics", &[]).await?.body;
    let failed = |listener: &str| {
        let name = format!("mosso_tls_handshake_failures_total{{listener=\"{listener}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse::<u64>().ok())
    };
    assert_eq!((failed("http"), failed("otlp_http"), failed("otlp_grpc")), (Some(1), Some(2), Some(2)), "{metrics}");
    Ok(())
}

/// `POST /api/v2/spans`
const ZIPKIN: &str = r#"[{"traceId":"463ac35c9f6413ad48485a3953bb6124","id":"a2fb4a1d1a96d312","name":"get /","timestamp":1700000000000000}]"#;

#[tokio::test(flavor = "multi_thread")]
async fn jaegers_and_zipkins_listeners_are_protected_like_the_others() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (authority, clients) = (Authority::new()?, Authority::new()?);
    let pair = pair_yaml(&authority.write(dir.path(), "server")?);
    let token = super::secret(dir.path(), "token", "hush")?;
    let client_ca = format!("client_ca_file: '{}'", clients.write_own(dir.path(), "clients")?.display());
    let of = format!("{{endpoint: '127.0.0.1:0', tls: {{{pair}, {client_ca}}}}}");
    let yaml = format!(
        "server: {{http_listen_port: 0}}\nauthentication: {{credentials: [{{bearer_token_file: '{token}', write: [single-tenant], read: ['*']}}]}}\n\
         distributor: {{receivers: {{otlp: {{protocols: {{grpc: {{endpoint: '127.0.0.1:0'}}, http: {{endpoint: '127.0.0.1:0'}}}}}}, \
         jaeger: {{protocols: {{grpc: {of}, thrift_http: {of}}}}}, zipkin: {of}}}}}"
    );
    let server = Server::start_listening(dir.path(), &yaml)?;
    server.wait_for_log(&["listener=\"zipkin\""]).await?;
    let ca = authority.write_own(dir.path(), "own")?;
    let known = clients.write(dir.path(), "known")?;
    let with = |own, version| -> Result<Door<'_>> {
        Ok(Door { server: &server, tls: Some(Tls::trusting(&ca, own, version)?), version })
    };
    let over_http2 = with(Some(&known), Version::Http2)?;
    let (nobody, known) = (with(None, Version::Http1)?, with(Some(&known), Version::Http1)?);
    let root = |listener: &str| -> Result<String> {
        let lines = server.log_lines(&[&format!("listener=\"{listener}\""), "address="]);
        let (_, address) = lines.first().and_then(|line| line.split_once("address=")).context(listener.to_owned())?;
        Ok(address.split_whitespace().next().unwrap_or_default().to_owned())
    };
    let (grpc, http, zipkin) = (root("jaeger_grpc")?, root("jaeger_thrift_http")?, root("zipkin")?);
    let authorization = [("authorization", "Bearer hush")];
    let json = [("content-type", "application/json"), authorization[0]];

    for address in [&grpc, &http, &zipkin] {
        let answer = Door::plain(&server).ask(address, ("GET", "/"), &[], Vec::new()).await?;
        ensure!(answer.status == 400 && answer.body.contains("this port speaks TLS"), "{answer:?}");
        let refused = nobody.ask(address, ("GET", "/"), &authorization, Vec::new()).await;
        ensure!(refused.is_err(), "a client without a certificate: {refused:?}");
    }
    let spans = || ZIPKIN.as_bytes().to_vec();
    assert_eq!(known.ask(&zipkin, ("POST", "/api/v2/spans"), &json[..1], spans()).await?.status, 401);
    assert_eq!(known.ask(&zipkin, ("POST", "/api/v2/spans"), &json, spans()).await?.status, 202);
    let thrift = [("content-type", "application/x-thrift"), authorization[0]];
    assert_eq!(known.ask(&http, ("POST", "/api/traces"), &thrift, b"no thrift".to_vec()).await?.status, 400);
    let posted = over_http2.call(&grpc, "/jaeger.api_v2.CollectorService/PostSpans", &authorization, &[]).await?;
    assert_eq!(posted.header("grpc-status"), "0", "{posted:?}");
    let path = "/api/v2/traces/463ac35c9f6413ad48485a3953bb6124";
    assert_eq!(Door::plain(&server).get(path, &authorization).await?.status, 200);
    Ok(())
}
