//! gRPC with messages as bytes: one call that gives one message, and one that gives many.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{MetadataKey, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// What a call gave: its messages, or the code and text of its error.
pub type Outcome = Result<Vec<Bytes>, (i64, String)>;

/// Where to call, and what goes with every call.
pub struct Client<'a> {
    /// `host:port`.
    pub address: &'a str,
    pub headers: &'a [(String, String)],
    pub timeout: Duration,
}

impl Client<'_> {
    pub async fn unary(&self, path: &'static str, message: Vec<u8>) -> Result<Outcome> {
        let mut grpc = self.connect().await?;
        let answer = grpc.unary(self.request(message)?, PathAndQuery::from_static(path), BytesCodec).await;
        outcome(answer.map(|response| vec![response.into_inner()]))
    }

    /// Reads the stream to its end.
    pub async fn server_streaming(&self, path: &str, message: Vec<u8>) -> Result<Outcome> {
        let mut grpc = self.connect().await?;
        let path = PathAndQuery::try_from(path)?;
        let request = self.request(message)?;
        let collected = async {
            let mut stream = grpc.server_streaming(request, path, BytesCodec).await?.into_inner();
            let mut messages = Vec::new();
            while let Some(message) = stream.message().await? {
                messages.push(message);
            }
            Ok(messages)
        };
        outcome(collected.await)
    }

    async fn connect(&self) -> Result<Grpc<Channel>> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address))?.timeout(self.timeout);
        let channel = endpoint.connect().await.with_context(|| format!("connect to {}", self.address))?;
        let mut grpc = Grpc::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        grpc.ready().await.with_context(|| format!("call {}", self.address))?;
        Ok(grpc)
    }

    fn request(&self, message: Vec<u8>) -> Result<Request<Bytes>> {
        let mut request = Request::new(Bytes::from(message));
        for (name, value) in self.headers {
            let name = MetadataKey::from_bytes(name.to_lowercase().as_bytes())?;
            request.metadata_mut().insert(name, MetadataValue::try_from(value.as_str())?);
        }
        Ok(request)
    }
}

/// An error of the transport is no answer of the server.
fn outcome(answer: Result<Vec<Bytes>, Status>) -> Result<Outcome> {
    match answer {
        Ok(messages) => Ok(Ok(messages)),
        Err(status) if status.code() == Code::Unknown && std::error::Error::source(&status).is_some() => {
            Err(status).context("call the server")
        }
        Err(status) => Ok(Err((status.code() as i64, status.message().to_owned()))),
    }
}

#[derive(Clone, Copy, Default)]
struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = BytesCodec;
    type Decoder = BytesCodec;

    fn encoder(&mut self) -> BytesCodec {
        BytesCodec
    }

    fn decoder(&mut self) -> BytesCodec {
        BytesCodec
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
