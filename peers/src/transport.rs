//! What calls go over: TCP in processes; tests have a network that loses, holds back and delays what is sent.

use std::io;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::transport::server::Connected;

/// A connection with another process, whatever it is made of.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

impl Connected for Box<dyn Socket> {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

/// Makes connections.
#[async_trait]
pub trait Dial: Send + Sync {
    /// To `host:port`.
    ///
    /// # Errors
    /// When nobody answers there.
    async fn dial(&self, address: &str) -> io::Result<Box<dyn Socket>>;
}
