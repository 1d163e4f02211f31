//! TLS of OTLP over gRPC: whom a sender trusts, and connections that speak it. HTTP has it from its client.

use std::io;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::http::Uri;
use tower::Service;

use crate::args::Identity;
use crate::error::Error;

/// The port of an https URL that names none.
const HTTPS_PORT: u16 = 443;

/// What a sender trusts: the system's certificates and those of `--ca-file`, or with `--insecure-skip-verify` any.
pub(super) fn config(identity: &Identity) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let unusable = |error: rustls::Error| Error::Usage(format!("TLS: {error}"));
    let verifier: Arc<dyn ServerCertVerifier> = match identity.insecure_skip_verify {
        true => Arc::new(Anyone(provider.clone())),
        false => {
            let extra = extra_certificates(identity)?;
            Arc::new(Verifier::new_with_extra_roots(extra, provider.clone()).map_err(unusable)?)
        }
    };
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(unusable)?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn extra_certificates(identity: &Identity) -> Result<Vec<CertificateDer<'static>>, Error> {
    let Some(file) = &identity.ca_file else { return Ok(Vec::new()) };
    let pem = std::fs::read(file).map_err(|source| Error::File { path: file.clone(), source })?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    certificates.map_err(|error| Error::Usage(format!("{}: {error}", file.display())))
}

/// Opens connections that speak TLS to the host of a URL.
pub(super) fn connector(
    config: ClientConfig,
) -> impl Service<Uri, Response = TokioIo<TlsStream<TcpStream>>, Error = io::Error, Future: Send> + Clone {
    let connector = TlsConnector::from(Arc::new(config));
    tower::service_fn(move |uri: Uri| {
        let connector = connector.clone();
        async move {
            let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
            let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
            let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(HTTPS_PORT))).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(connector.connect(name, stream).await?))
        }
    })
}

/// Takes every certificate, and still wants the server to have its key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
