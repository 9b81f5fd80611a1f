//! One question to a join server.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{self, CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};

use super::{JoinError, Papers};
use crate::connect::{connect, server_name};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Far more than a certificate.
const ANSWER: usize = 64 << 10;

/// Who may answer, and what is shown to him.
#[derive(Clone, Copy)]
pub(super) enum Trust<'a> {
    /// Anybody: what he says is compared with what is known.
    Anybody,
    /// Whoever has a certificate of this authority.
    Authority(&'a CertificateDer<'static>),
    /// The same, and the node's own certificate is shown.
    Papers(&'a Papers),
}

/// The body of the answer to `GET path`, which has a body, too: so it is with KubeEdge.
///
/// # Errors
/// Nobody answers, or not with 200.
pub(super) async fn ask(
    address: &str,
    proxy: Option<&str>,
    trust: Trust<'_>,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Result<Vec<u8>, JoinError> {
    let unreachable = |reason: String| JoinError::Unreachable { address: address.into(), reason };
    let asking = async {
        let stream = connect(address, proxy).await.map_err(|error| error.to_string())?;
        let name = server_name(address).map_err(|error| error.to_string())?;
        let connector = TlsConnector::from(config(trust)?);
        let stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        let mut request = Request::get(path).header("Host", address);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request =
            request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;
        let answering = async {
            let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
            let status = answer.status().as_u16();
            let body = Limited::new(answer.into_body(), ANSWER).collect().await;
            Ok::<_, String>((status, body.map_err(|error| error.to_string())?.to_bytes()))
        };
        tokio::pin!(answering);
        tokio::select! {
            answered = &mut answering => answered,
            ended = connection => match ended {
                // The rest of the answer is there already.
                Ok(()) => answering.await,
                Err(error) => Err(error.to_string()),
            },
        }
    };
    let (status, body) = match timeout(PATIENCE, asking).await {
        Ok(answered) => answered.map_err(unreachable)?,
        Err(_) => return Err(unreachable(format!("no answer in {PATIENCE:?}"))),
    };
    if status != 200 {
        let said = String::from_utf8_lossy(&body).trim().to_owned();
        return Err(JoinError::Refused { address: address.into(), status, said });
    }
    Ok(body.into())
}

fn config(trust: Trust<'_>) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let config = match trust {
        Trust::Papers(papers) => return Ok(papers.tls()),
        Trust::Anybody => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unverified(provider)))
            .with_no_client_auth(),
        Trust::Authority(ca) => {
            let mut roots = RootCertStore::empty();
            roots.add(ca.clone()).map_err(|error| error.to_string())?;
            builder.with_root_certificates(roots).with_no_client_auth()
        }
    };
    Ok(Arc::new(config))
}

/// Believes everybody: nothing is said to him, and what he says is compared with its fingerprint.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        crypto::verify_tls12_signature(
            message,
            cert,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        crypto::verify_tls13_signature(
            message,
            cert,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
