//! What the log says of listeners that others can reach: who is asked for nothing, and whose password travels in the clear.

use std::net::SocketAddr;

use api::{Addresses, ClientAuth, Config, Listener};
use tracing::{info, warn};

/// Listeners over UDP.
const UDP: [&str; 2] = ["jaeger_thrift_compact", "jaeger_thrift_binary"];

/// One line for each listener that is less protected than its operator may think.
pub fn tell(config: &Config, addresses: &Addresses) {
    let all = [
        (Listener::Http, Some(addresses.http)),
        (Listener::OtlpGrpc, addresses.otlp_grpc),
        (Listener::OtlpHttp, addresses.otlp_http),
        (Listener::JaegerGrpc, addresses.receivers.jaeger_grpc),
        (Listener::JaegerThriftHttp, addresses.receivers.jaeger_thrift_http),
        (Listener::Zipkin, addresses.receivers.zipkin),
    ];
    for (listener, address) in all {
        let Some(address) = address else { continue };
        match risk(config, listener, address) {
            Some(risk) => warn!(%listener, %address, "{risk}"),
            None if listener == Listener::Http && address.ip().is_loopback() => {
                info!("the API is reached from this machine alone; server.http_listen_address: 0.0.0.0 opens it");
            }
            None => {}
        }
    }
    for (listener, address) in addresses.receivers.named() {
        if UDP.contains(&listener) && !address.ip().is_loopback() {
            warn!(listener, %address, "everybody who reaches it may send: packets carry no credentials");
        }
    }
}

fn risk(config: &Config, listener: Listener, address: SocketAddr) -> Option<&'static str> {
    if address.ip().is_loopback() {
        return None;
    }
    let tls = config.tls(listener);
    let knows_clients = tls.is_some_and(|tls| tls.client_auth == ClientAuth::Required);
    match config.authentication.asks(listener) {
        true if tls.is_none() => Some("credentials come unencrypted: set TLS, or let a proxy in front encrypt"),
        false if !knows_clients => {
            Some("everybody who reaches it may use it: set authentication or mutual TLS, or let only those in who may")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_reach_is_warned_of_unless_it_is_protected() {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "hush").unwrap();
        let risk_of = |yaml: &str, address: &str| {
            let yaml = yaml.replace("FILE", &secret.display().to_string());
            let config = crate::config::Config::parse(&yaml).unwrap().api();
            risk(&config, Listener::Http, address.parse().unwrap()).unwrap_or_default()
        };
        assert_eq!(risk_of("", "127.0.0.1:1"), "");
        assert!(risk_of("", "0.0.0.0:1").contains("everybody"));
        let asking = "authentication: {credentials: [{bearer_token_file: FILE, admin: true}]}";
        assert!(risk_of(asking, "[::]:1").contains("unencrypted"));
        let elsewhere = asking.replace("authentication: {", "authentication: {listeners: [otlp_grpc], ");
        assert!(risk_of(&elsewhere, "10.0.0.1:1").contains("everybody"));
    }
}
