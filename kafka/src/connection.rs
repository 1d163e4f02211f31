//! A connection to one broker: encrypted and known to it, if it must be; one request at a time.

use std::io::ErrorKind;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::config::{Config, Mechanism, Sasl};
use crate::error::Error;
use crate::messages::{ApiVersions, Request, SPOKEN, SaslAuthenticate, SaslHandshake};
use crate::sasl::{Scram, plain};
use crate::tls::{Tls, TlsError};
use crate::wire::{Reader, Writer};

/// How long a broker may take to accept a connection, and to answer beyond what it was told it may wait.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// A longer answer is none: brokers send no batch larger than a request may be, which is 100 MiB.
const MAX_ANSWER_BYTES: usize = 128 << 20;
/// So much is set aside for an answer because it says how long it is; more when it has come.
const TRUSTED_BYTES: usize = 1 << 20;
const NONCE_BYTES: usize = 18;

/// How connections are opened.
pub(crate) struct Dial {
    client: String,
    tls: Option<TlsConnector>,
    server_name: Option<String>,
    sasl: Option<Sasl>,
}

impl Dial {
    /// Reads the files of TLS.
    pub(crate) fn new(config: &Config) -> Result<Self, TlsError> {
        let tls = config.tls.as_ref().map(Tls::load).transpose()?.map(TlsConnector::from);
        let server_name = config.tls.as_ref().and_then(|tls| tls.server_name.clone());
        Ok(Self { client: config.client.clone(), tls, server_name, sasl: config.sasl.clone() })
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Sync {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Stream for T {}

pub(crate) struct Connection {
    broker: String,
    client: String,
    stream: Box<dyn Stream>,
    last_id: i32,
    /// A request was given up before its answer came: what comes next is not of the next one.
    is_broken: bool,
}

impl Connection {
    pub(crate) async fn open(dial: &Dial, broker: &str) -> Result<Self, Error> {
        let opened = timeout(CONNECT_TIMEOUT, connect(dial, broker)).await;
        let timed_out =
            || Error::Timeout { broker: broker.to_owned(), what: "to connect", seconds: CONNECT_TIMEOUT.as_secs() };
        let stream = opened.map_err(|_| timed_out())??;
        let (broker, client) = (broker.to_owned(), dial.client.clone());
        let mut connection = Self { broker, client, stream, last_id: 0, is_broken: false };
        connection.check_versions().await?;
        if let Some(sasl) = &dial.sasl {
            connection.authenticate(sasl).await?;
        }
        Ok(connection)
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken
    }

    pub(crate) async fn call<R: Request>(&mut self, request: &R) -> Result<R::Response, Error> {
        self.call_within(request, Duration::ZERO).await
    }

    /// A request that the broker was told it may think about for so long.
    pub(crate) async fn call_within<R: Request>(&mut self, request: &R, wait: Duration) -> Result<R::Response, Error> {
        self.is_broken = true; // until all of the answer is here
        let limit = ANSWER_TIMEOUT + wait;
        let answered = timeout(limit, self.exchange(request)).await;
        let timed_out = |_| Error::Timeout { broker: self.broker.clone(), what: R::NAME, seconds: limit.as_secs() };
        let answer = answered.map_err(timed_out)??;
        self.is_broken = false;
        let read = R::read(&mut Reader::new(answer));
        read.map_err(|source| Error::Malformed { broker: self.broker.clone(), api: R::NAME, source })
    }

    async fn exchange<R: Request>(&mut self, request: &R) -> Result<Bytes, Error> {
        self.last_id = self.last_id.wrapping_add(1);
        let frame = framed(request, self.last_id, &self.client);
        let failed = |source| Error::Io { broker: self.broker.clone(), what: R::NAME, source };
        self.stream.write_all(&frame).await.map_err(failed)?;
        self.stream.flush().await.map_err(failed)?;
        let length = usize::try_from(self.stream.read_i32().await.map_err(failed)?).unwrap_or(usize::MAX);
        if length > MAX_ANSWER_BYTES {
            let source = std::io::Error::other(format!("an answer of more than {MAX_ANSWER_BYTES} bytes"));
            return Err(failed(source));
        }
        let mut answer = BytesMut::with_capacity(length.min(TRUSTED_BYTES));
        let mut rest = (&mut self.stream).take(length as u64);
        while rest.read_buf(&mut answer).await.map_err(failed)? > 0 {}
        if answer.len() < length {
            return Err(failed(std::io::ErrorKind::UnexpectedEof.into()));
        }
        let mut reader = Reader::new(answer.freeze());
        match reader.i32() {
            Ok(id) if id == self.last_id => Ok(reader.rest()),
            _ => Err(failed(std::io::Error::other("the answer to another request"))),
        }
    }

    /// Every request is sent in one version; a broker that does not have it would only hang up.
    async fn check_versions(&mut self) -> Result<(), Error> {
        let (error, ranges) = self.call(&ApiVersions).await?;
        error.check(ApiVersions::NAME)?;
        for (api, key, version) in SPOKEN {
            if !ranges.iter().any(|range| range.key == key && (range.least..=range.greatest).contains(&version)) {
                return Err(Error::Unsupported { broker: self.broker.clone(), api, version });
            }
        }
        Ok(())
    }

    async fn authenticate(&mut self, sasl: &Sasl) -> Result<(), Error> {
        let mechanism = sasl.mechanism.name();
        let (error, known) = self.call(&SaslHandshake(mechanism)).await?;
        if error.check(SaslHandshake::NAME).is_err() {
            return Err(self.sasl_failed(mechanism, format!("it has {}", known.join(", "))));
        }
        match sasl.mechanism {
            Mechanism::Plain => self.say(mechanism, plain(sasl)).await.map(|_| ()),
            Mechanism::ScramSha256 | Mechanism::ScramSha512 => self.scram(sasl).await,
        }
    }

    async fn scram(&mut self, sasl: &Sasl) -> Result<(), Error> {
        let mechanism = sasl.mechanism.name();
        let failed = |connection: &Self, reason: &str| connection.sasl_failed(mechanism, reason.to_owned());
        let nonce = nonce().ok_or_else(|| failed(self, "the system has no random numbers"))?;
        let scram = Scram::begin(sasl, &nonce);
        let server_first = self.say(mechanism, scram.first_message().into_bytes()).await?;
        let server_first = String::from_utf8_lossy(&server_first).into_owned();
        let proof = scram.prove(&server_first).map_err(|reason| failed(self, reason))?;
        let server_final = self.say(mechanism, proof.message.clone().into_bytes()).await?;
        proof.check(&String::from_utf8_lossy(&server_final)).map_err(|reason| failed(self, reason))
    }

    async fn say(&mut self, mechanism: &'static str, message: Vec<u8>) -> Result<Bytes, Error> {
        let answer = self.call(&SaslAuthenticate(message)).await.map_err(|error| match error {
            Error::Io { source, .. } if source.kind() == ErrorKind::UnexpectedEof => {
                self.sasl_failed(mechanism, "it hangs up; are name and password right?".to_owned())
            }
            error => error,
        })?;
        match answer.error.check(SaslAuthenticate::NAME) {
            Ok(()) => Ok(answer.bytes),
            Err(_) if !answer.message.is_empty() => Err(self.sasl_failed(mechanism, answer.message)),
            Err(_) => Err(self.sasl_failed(mechanism, answer.error.to_string())),
        }
    }

    fn sasl_failed(&self, mechanism: &'static str, reason: String) -> Error {
        Error::Sasl { broker: self.broker.clone(), mechanism, reason }
    }
}

async fn connect(dial: &Dial, broker: &str) -> Result<Box<dyn Stream>, Error> {
    let failed = |source| Error::Connect { broker: broker.to_owned(), source };
    let stream = TcpStream::connect(broker).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    let Some(tls) = &dial.tls else { return Ok(Box::new(stream)) };
    let host = broker.rsplit_once(':').map_or(broker, |(host, _)| host).trim_matches(['[', ']']);
    let name = dial.server_name.as_deref().unwrap_or(host).to_owned();
    let name = ServerName::try_from(name).map_err(|error| failed(std::io::Error::other(error)))?;
    let encrypted = tls.connect(name, stream).await.map_err(failed)?;
    Ok(Box::new(encrypted))
}

fn framed<R: Request>(request: &R, id: i32, client: &str) -> Bytes {
    let mut writer = Writer::default();
    writer.i16(R::KEY);
    writer.i16(R::VERSION);
    writer.i32(id);
    writer.string(client);
    request.write(&mut writer);
    let message = writer.into_bytes();
    let mut frame = Writer::default();
    frame.bytes(&message);
    frame.into_bytes()
}

fn nonce() -> Option<String> {
    use base64::Engine;
    let mut bytes = [0; NONCE_BYTES];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(base64::prelude::BASE64_STANDARD_NO_PAD.encode(bytes))
}
