use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::testing::{TestEdge, edge, local_config};

async fn get_ready(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn servers_answer_on_the_ports_they_were_given_and_stop_when_told() {
    let servers = Servers::bind(&local_config()).await.unwrap();
    let addresses = servers.addresses().unwrap();
    let test_edge = edge(local_config()).await;
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(servers.serve(test_edge.edge.clone(), shutdown.clone()));

    let answer = get_ready(addresses.http).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("ready\n"), "{answer}");
    assert!(get_ready(addresses.otlp_http.unwrap()).await.starts_with("HTTP/1.1 404"));
    let idle = TcpStream::connect(addresses.otlp_grpc.unwrap()).await.unwrap();

    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(5), serving)
        .await
        .expect("idle connections do not hold up a stop")
        .unwrap();
    assert!(TcpStream::connect(addresses.http).await.is_err(), "a stopped server takes no connections");
    drop(idle);
}

#[tokio::test]
async fn the_http_port_speaks_http2_with_prior_knowledge() {
    let servers = Servers::bind(&local_config()).await.unwrap();
    let address = servers.addresses().unwrap().http;
    let test_edge = edge(local_config()).await;
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(servers.serve(test_edge.edge.clone(), shutdown.clone()));

    let mut stream = TcpStream::connect(address).await.unwrap();
    // The preface, and a SETTINGS frame that changes nothing.
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut head = [0_u8; 9];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head[3], 0x04, "the server answers with its SETTINGS");

    drop(stream);
    shutdown.cancel();
    serving.await.unwrap();
}

#[tokio::test]
async fn an_address_in_use_is_an_error_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let config = Config { http_listen: format!("127.0.0.1:{port}").parse().unwrap(), ..local_config() };
    let error = Servers::bind(&config).await.err().unwrap();
    assert!(error.to_string().starts_with(&format!("listen on 127.0.0.1:{port} for http: ")), "{error}");
}

/// A server of its own on loopback, and what stops it.
async fn serve(config: Config) -> (Addresses, TestEdge, CancellationToken) {
    let servers = Servers::bind(&config).await.unwrap();
    let (addresses, test_edge, shutdown) = (servers.addresses().unwrap(), edge(config).await, CancellationToken::new());
    tokio::spawn(servers.serve(test_edge.edge.clone(), shutdown.clone()));
    (addresses, test_edge, shutdown)
}

/// The whole answer; fails when it takes longer than anybody waits.
async fn read_answer(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_string(&mut answer)).await;
    read.expect("an answer or an end").unwrap();
    answer
}

const PUSH: &str = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\n";

#[tokio::test]
async fn a_connection_without_a_request_is_closed_and_gives_its_place_back() {
    let config = Config { first_request_timeout_seconds: 1, max_connections: 2, ..local_config() };
    let (addresses, _edge, shutdown) = serve(config).await;
    let mut silent = TcpStream::connect(addresses.http).await.unwrap();
    let mut half = TcpStream::connect(addresses.http).await.unwrap();
    half.write_all(b"PRI * HT").await.unwrap();
    assert!(get_ready(addresses.http).await.starts_with("HTTP/1.1 200"), "the third has a place once they have gone");
    assert_eq!((read_answer(&mut silent).await, read_answer(&mut half).await), (String::new(), String::new()));
    shutdown.cancel();
}

#[tokio::test]
async fn senders_of_one_byte_hold_up_nobody_and_are_told_to_hurry() {
    let config = Config { max_concurrent_pushes: 2, body_stall_timeout_seconds: 1, ..local_config() };
    let (addresses, _edge, shutdown) = serve(config).await;
    let address = addresses.otlp_http.unwrap();
    let mut slow = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{PUSH}content-length: 100\r\n\r\n{{").as_bytes()).await.unwrap();
        slow.push(stream);
    }
    let mut honest = TcpStream::connect(address).await.unwrap();
    honest.write_all(format!("{PUSH}content-length: 2\r\n\r\n{{}}").as_bytes()).await.unwrap();
    let answer = tokio::time::timeout(TURN, read_answer(&mut honest)).await.expect("it waits for nobody");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for stream in &mut slow {
        let answer = read_answer(stream).await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("slower than 1024 bytes a second"), "{answer}");
    }
    shutdown.cancel();
}

/// Less than a request waits for its turn.
const TURN: Duration = Duration::from_secs(4);

#[tokio::test]
async fn bodies_take_no_more_memory_than_they_may() {
    let config = Config { max_bytes_of_bodies: 8192, ..local_config() };
    let (addresses, _edge, shutdown) = serve(config).await;
    for (bytes, status) in [(8000, "HTTP/1.1 200"), (9000, "HTTP/1.1 429"), (8000, "HTTP/1.1 200")] {
        let mut stream = TcpStream::connect(addresses.otlp_http.unwrap()).await.unwrap();
        let body = format!("{{}}{}", " ".repeat(bytes - 2));
        stream.write_all(format!("{PUSH}content-length: {bytes}\r\n\r\n{body}").as_bytes()).await.unwrap();
        let answer = read_answer(&mut stream).await;
        assert!(answer.starts_with(status), "{bytes}: {answer}");
    }
    shutdown.cancel();
}

#[tokio::test]
async fn a_query_is_read_as_it_is_typed_and_what_cannot_be_read_is_told_why() {
    let (addresses, _edge, shutdown) = serve(local_config()).await;
    let get = async |target: &str| {
        let mut stream = TcpStream::connect(addresses.http).await.unwrap();
        let head = format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        read_answer(&mut stream).await
    };
    assert!(get(r#"/api/search?q={name="a"+||+duration>1s}"#).await.starts_with("HTTP/1.1 200"));
    for (target, status, text) in [
        ("/a b", "HTTP/1.1 400", "escape what is no ASCII"),
        (&*format!("/api/search?q={}", "a".repeat(400 << 10)), "HTTP/1.1 414", "384 KiB"),
        (&*format!("/api/{}", "a".repeat(65535)), "HTTP/1.1 414", "or its path than 64"),
        (&*format!("/api/search?q={{name=~\"{}x\"}}", "a|".repeat(50_000)), "HTTP/1.1 200", "\"traces\":[]"),
    ] {
        let answer = get(target).await;
        assert!(answer.starts_with(status) && answer.contains(text), "{answer}");
    }
    shutdown.cancel();
}
