use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::testing::{edge, local_config};

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
    let config = Config { http_listen_port: port, ..local_config() };
    let error = Servers::bind(&config).await.err().unwrap();
    assert!(error.to_string().starts_with(&format!("listen on 127.0.0.1:{port} for http: ")), "{error}");
}

#[tokio::test]
async fn a_prefix_that_is_no_path_is_refused() {
    for prefix in ["tempo", "/tempo/", "/{x}"] {
        let config = Config { http_api_prefix: prefix.to_owned(), ..local_config() };
        assert!(matches!(Servers::bind(&config).await.err(), Some(Error::ApiPrefix(_))), "{prefix}");
    }
}
