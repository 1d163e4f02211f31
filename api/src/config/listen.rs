//! Where a server listens, as Go programs write it: `localhost:4317`, `[::1]:4317`, and `:4317` for all interfaces.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, UdpSocket};

/// An address or a name of this host; empty for all interfaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct ListenHost(String);

/// A host and a port; port 0 picks a free one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct ListenAddress {
    host: ListenHost,
    port: u16,
}

/// Why a text is no place to listen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    #[error("{0:?} has a scheme; write only host:port, for example 0.0.0.0:4317")]
    Scheme(String),
    #[error("{0:?} has no port; write host:port, for example 0.0.0.0:4317, or :4317 for all interfaces")]
    NoPort(String),
    #[error("{port:?} in {address:?} is no port; a port is a number up to 65535")]
    Port { address: String, port: String },
    #[error("{0:?} is no host; write an address such as 0.0.0.0 or ::1, or the name of this host")]
    Host(String),
    #[error("{0:?} has a port, which has a key of its own; write the host alone")]
    PortInHost(String),
}

impl FromStr for ListenHost {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if bare.contains(':') || bare != text {
            return match bare.parse::<Ipv6Addr>() {
                Ok(_) => Ok(Self(bare.to_owned())),
                Err(_) if text.parse::<ListenAddress>().is_ok() => Err(ListenError::PortInHost(text.to_owned())),
                Err(_) => Err(ListenError::Host(text.to_owned())),
            };
        }
        let is_name = text.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'));
        if is_name { Ok(Self(text.to_owned())) } else { Err(ListenError::Host(text.to_owned())) }
    }
}

impl FromStr for ListenAddress {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        if text.contains("://") {
            return Err(ListenError::Scheme(text.to_owned()));
        }
        let no_port = || ListenError::NoPort(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(no_port)?;
        if host.contains(':') && !host.starts_with('[') {
            // ::1 without brackets, whose last group is no port
            return Err(no_port());
        }
        let no_number = |_| ListenError::Port { address: text.to_owned(), port: port.to_owned() };
        Ok(Self { port: port.parse().map_err(no_number)?, host: host.parse()? })
    }
}

impl ListenHost {
    pub fn all_interfaces() -> Self {
        Self(String::new())
    }

    /// IPv4 only, as clients expect that are told 127.0.0.1.
    pub fn loopback() -> Self {
        Self(Ipv4Addr::LOCALHOST.to_string())
    }
}

impl ListenAddress {
    pub fn new(host: ListenHost, port: u16) -> Self {
        Self { host, port }
    }

    /// Whether it stands for all interfaces, which is no address for others.
    pub fn is_unspecified(&self) -> bool {
        let host = &self.host.0;
        host.is_empty() || host.parse().is_ok_and(|address: IpAddr| address.is_unspecified())
    }

    /// All interfaces means IPv6 and IPv4, or IPv4 where the system has nothing else.
    ///
    /// # Errors
    /// When the address is not one of this host, or taken.
    pub async fn bind(&self) -> io::Result<TcpListener> {
        let Self { host: ListenHost(host), port } = self;
        if host.is_empty() {
            return TcpListener::bind(&all_addresses(*port)[..]).await;
        }
        TcpListener::bind((host.as_str(), *port)).await
    }

    /// As [`bind`](Self::bind), for packets.
    pub(crate) async fn bind_udp(&self) -> io::Result<UdpSocket> {
        let Self { host: ListenHost(host), port } = self;
        if host.is_empty() {
            return UdpSocket::bind(&all_addresses(*port)[..]).await;
        }
        UdpSocket::bind((host.as_str(), *port)).await
    }
}

fn all_addresses(port: u16) -> [SocketAddr; 2] {
    [(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()]
}

impl fmt::Display for ListenHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.0.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl TryFrom<String> for ListenHost {
    type Error = ListenError;

    fn try_from(text: String) -> Result<Self, ListenError> {
        text.parse()
    }
}

impl TryFrom<String> for ListenAddress {
    type Error = ListenError;

    fn try_from(text: String) -> Result<Self, ListenError> {
        text.parse()
    }
}

impl From<ListenHost> for String {
    fn from(host: ListenHost) -> Self {
        host.to_string()
    }
}

impl From<ListenAddress> for String {
    fn from(address: ListenAddress) -> Self {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_go_reads_them() {
        for text in [":4317", "0.0.0.0:4317", "localhost:0", "[::1]:4318", "[::]:65535", "tempo-distributor:4317"] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        for (text, wrong) in [
            ("4317", "no port"),
            ("", "no port"),
            ("localhost", "no port"),
            ("::1", "no port"),
            ("http://0.0.0.0:4317", "scheme"),
            ("localhost:grpc", "is no port"),
            ("localhost:65536", "is no port"),
            ("[::1:4317", "no host"),
            ("local host:4317", "no host"),
        ] {
            let error = text.parse::<ListenAddress>().unwrap_err().to_string();
            assert!(error.contains(wrong), "{text}: {error}");
        }
    }

    #[test]
    fn a_host_has_no_port() {
        for text in ["", "0.0.0.0", "::1", "localhost"] {
            assert_eq!(text.parse::<ListenHost>().unwrap().to_string(), text);
        }
        assert_eq!("[::1]".parse::<ListenHost>().unwrap().to_string(), "::1");
        let error = |text: &str| text.parse::<ListenHost>().unwrap_err().to_string();
        assert!(error("0.0.0.0:3200").contains("a key of its own"), "{}", error("0.0.0.0:3200"));
        assert!(error("http://localhost").contains("no host"), "{}", error("http://localhost"));
    }

    #[tokio::test]
    async fn an_address_without_a_host_is_reached_over_ipv4() {
        let listener = ":0".parse::<ListenAddress>().unwrap().bind().await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    }
}
