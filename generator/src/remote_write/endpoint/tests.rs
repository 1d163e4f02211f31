use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::limits::Limits;
use crate::memory::Account;
use crate::registry::{Kind, Registry};
use crate::remote_write::message::{RequestWriter, SeriesOptions};
use crate::remote_write::{Authorization, Form};

/// What a target was sent: heads in small letters, and bodies.
type Received = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// A target that gives these answers one after the other, the last of them again and again.
async fn target(answers: &'static [&'static str]) -> (String, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (url, received) = (format!("http://{}/write", listener.local_addr().unwrap()), Received::default());
    let kept = received.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            while let Some(request) = read(&mut stream).await {
                let number = kept.lock().unwrap().len();
                kept.lock().unwrap().push(request);
                let answer = answers[number.min(answers.len() - 1)];
                let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    });
    (url, received)
}

async fn read(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
            let length: usize = length.unwrap_or_default();
            if bytes.len() >= end + 4 + length {
                return Some((head, bytes[end + 4..end + 4 + length].to_vec()));
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// A request with one counter.
fn request(protocol: Protocol) -> Vec<u8> {
    let mut registry = Registry::new(Limits::default(), Account::new(usize::MAX));
    let family = registry.family("calls", "", Kind::Counter);
    let series = registry.series(family, &Arc::from([]), 500);
    registry.add(series, 3.0, 500);
    let options =
        SeriesOptions { external_labels: &BTreeMap::new(), trace_id_label: "", now_millis: 900, zero_millis: 400 };
    let form = Form { protocol, has_exemplars: false, has_native_histograms: true };
    RequestWriter::new(TenantId::single(), form, options).write(&registry).remove(0).body
}

fn endpoint(url: &str, configure: impl FnOnce(&mut TargetConfig, &mut RemoteWriteConfig)) -> Endpoint {
    let protobuf_message = Protocol::V2;
    let mut target = TargetConfig { url: url.to_owned(), protobuf_message, ..TargetConfig::default() };
    let mut config = RemoteWriteConfig {
        targets: Vec::new(),
        max_queue_bytes: 0,
        has_tenant_header: false,
        tenant_headers: Default::default(),
        default_headers: BTreeMap::new(),
    };
    configure(&mut target, &mut config);
    Endpoint::new(&target, &config).unwrap()
}

fn versions(received: &Received) -> Vec<Option<Protocol>> {
    let received = received.lock().unwrap();
    let version = |(head, body): &(String, Vec<u8>)| {
        let version = message::protocol_of(body);
        let content_type = match version {
            Some(Protocol::V2) => "content-type: application/x-protobuf;proto=io.prometheus.write.v2.request",
            _ => "content-type: application/x-protobuf",
        };
        assert!(head.lines().any(|line| line == content_type), "{head}");
        version
    };
    received.iter().map(version).collect()
}

const WRITTEN: &str = "204 no content\r\nx-prometheus-remote-write-samples-written: 2";

#[tokio::test]
async fn a_target_that_reads_version_2_gets_it() {
    let (url, received) = target(&[WRITTEN]).await;
    let endpoint = endpoint(&url, |_, _| {});
    for protocol in [Protocol::V2, Protocol::V1, Protocol::V2] {
        assert!(matches!(endpoint.send(&TenantId::single(), request(protocol)).await, Outcome::Taken));
    }
    // what was made when the target was configured for version 1 goes as that
    assert_eq!(versions(&received), [Protocol::V2, Protocol::V1, Protocol::V2].map(Some));
}

#[tokio::test]
async fn a_target_that_does_not_read_version_2_gets_version_1_from_then_on() {
    const REFUSES: &[&str] = &["415 unsupported media type", "204 no content"];
    // it has taken version 2 for an empty message
    const READS_NOTHING: &[&str] = &["204 no content"];
    for answers in [REFUSES, READS_NOTHING] {
        let (url, received) = target(answers).await;
        let endpoint = endpoint(&url, |_, _| {});
        for _ in 0..2 {
            assert!(matches!(endpoint.send(&TenantId::single(), request(Protocol::V2)).await, Outcome::Taken));
        }
        assert_eq!(versions(&received), [Protocol::V2, Protocol::V1, Protocol::V1].map(Some));
        assert_eq!(received.lock().unwrap()[1].1, request(Protocol::V1));
    }
}

#[tokio::test]
async fn what_a_target_says_decides_what_becomes_of_samples() {
    let (url, _) = target(&[
        "429 too many requests\r\nretry-after: 7",
        "503 service unavailable",
        "400 bad request\r\nx-prometheus-remote-write-samples-written: 1\r\nx-prometheus-remote-write-histograms-written: 4",
        "401 unauthorized",
    ])
    .await;
    let endpoint = endpoint(&url, |_, _| {});
    let (tenant, seven) = (TenantId::single(), Some(Duration::from_secs(7)));
    let send = || endpoint.send(&tenant, Vec::new());
    assert!(matches!(send().await, Outcome::Later(_, after) if after == seven));
    assert!(matches!(send().await, Outcome::Later(_, None)));
    assert!(matches!(send().await, Outcome::Refused { taken: 5, .. }));
    assert!(matches!(send().await, Outcome::Refused { taken: 0, .. }));
}

#[tokio::test]
async fn a_request_says_who_sends_it_and_for_whom() {
    let (url, received) = target(&[WRITTEN]).await;
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "hush\n").unwrap();
    let of_file = Authorization { credentials_file: Some(token.path().to_owned()), ..Authorization::default() };
    let endpoint = endpoint(&url, |target, config| {
        target.authorization = Some(of_file);
        config.has_tenant_header = true;
        config.tenant_headers =
            [(TenantId::parse("two").unwrap(), BTreeMap::from([("X-Team".to_owned(), Secret::new("blue"))]))].into();
    });
    for tenant in ["one", "two"] {
        endpoint.send(&TenantId::parse(tenant).unwrap(), request(Protocol::V2)).await;
    }
    let received = received.lock().unwrap();
    let has = |number: usize, line: &str| received[number].0.lines().any(|other| other == line);
    for (number, tenant) in ["x-scope-orgid: one", "x-scope-orgid: two"].into_iter().enumerate() {
        assert!(has(number, tenant) && has(number, "authorization: bearer hush"), "{received:?}");
    }
    assert!(has(1, "x-team: blue") && !has(0, "x-team: blue"));
}
