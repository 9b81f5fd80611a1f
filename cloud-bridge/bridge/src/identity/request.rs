//! A node's request for a certificate (PKCS#10), checked.

use rcgen::SubjectPublicKeyInfo;
use x509_parser::prelude::{FromDer, X509CertificationRequest};

use super::NodeName;
use super::peer::node_of_subject;

/// A request whose signature is true: whoever made it has the key.
#[derive(Clone, Debug)]
pub struct Request {
    node: NodeName,
    key: SubjectPublicKeyInfo,
}

/// Why a request is not signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// It is no PKCS#10 request in DER, or holds a key that is not signed here.
    #[error(
        "the certificate request cannot be read: {0}; send PKCS#10 in DER with an ECDSA P-256 key"
    )]
    Broken(String),
    /// Whoever sent it does not show that he has the key.
    #[error("the certificate request is not signed with its own key; make a new one")]
    Signature,
    /// It names somebody else, or nobody.
    #[error(
        "the certificate request is for \"{found}\"; write CN=system:node:{wanted}, O=system:nodes"
    )]
    Subject {
        /// What it names.
        found: String,
        /// The node that asks.
        wanted: String,
    },
    /// It asks for names beside the subject.
    #[error("the certificate request asks for alternative names; leave them out, a node has none")]
    Names,
}

impl Request {
    /// Reads a request in DER that `node` made.
    ///
    /// What it asks for beside name and key (C, L, ST, usages) is not heeded, as KubeEdge does.
    ///
    /// # Errors
    /// It cannot be read, is not signed with its own key, or asks for another name.
    pub fn parse(der: &[u8], node: &NodeName) -> Result<Self, CsrError> {
        let broken = |error: &dyn std::fmt::Display| CsrError::Broken(error.to_string());
        let (rest, request) =
            X509CertificationRequest::from_der(der).map_err(|error| broken(&error))?;
        if !rest.is_empty() {
            return Err(broken(&"octets follow it"));
        }
        request.verify_signature().map_err(|_| CsrError::Signature)?;
        let info = &request.certification_request_info;
        if node_of_subject(&info.subject).as_ref() != Some(node) {
            let found = info.subject.to_string().chars().take(128).collect();
            return Err(CsrError::Subject { found, wanted: node.to_string() });
        }
        let asks_for_names = request.requested_extensions().is_some_and(|mut extensions| {
            use x509_parser::extensions::ParsedExtension::SubjectAlternativeName;
            extensions.any(|extension| matches!(extension, SubjectAlternativeName(_)))
        });
        if asks_for_names {
            return Err(CsrError::Names);
        }
        let key =
            SubjectPublicKeyInfo::from_der(info.subject_pki.raw).map_err(|error| broken(&error))?;
        Ok(Self { node: node.clone(), key })
    }

    /// Who asks.
    pub fn node(&self) -> &NodeName {
        &self.node
    }

    /// The key that is to be certified.
    pub(super) fn key(&self) -> &SubjectPublicKeyInfo {
        &self.key
    }
}
