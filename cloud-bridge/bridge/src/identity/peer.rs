//! Which node shows a certificate. Whether it is a true one TLS has found out before.

use x509_parser::prelude::{FromDer, X509Certificate};

use super::name::{NODES, NodeName, SUBJECT_PREFIX};

/// Why a certificate is no node's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// It cannot be read.
    #[error("the certificate cannot be read: {0}")]
    Broken(String),
    /// It is signed for something else.
    #[error(
        "the certificate's subject is \"{0}\", no node's; join again to get one with CN=system:node:<name>, O=system:nodes"
    )]
    Subject(String),
}

/// The node whose certificate that is, by its subject alone: CN=system:node:\<name\>, O=system:nodes.
///
/// # Errors
/// It is not the certificate of a node.
pub fn node_of(certificate: &[u8]) -> Result<NodeName, PeerError> {
    let (_, certificate) = X509Certificate::from_der(certificate)
        .map_err(|error| PeerError::Broken(error.to_string()))?;
    let subject = certificate.subject();
    node_of_subject(subject).ok_or_else(|| PeerError::Subject(subject.to_string()))
}

/// The node that `subject` names, if it names one and nothing else.
pub(super) fn node_of_subject(subject: &x509_parser::x509::X509Name<'_>) -> Option<NodeName> {
    let only = |mut names: Box<dyn Iterator<Item = String> + '_>| {
        names.next().filter(|_| names.next().is_none())
    };
    let name = only(Box::new(subject.iter_common_name().map(text)))?;
    let organization = only(Box::new(subject.iter_organization().map(text)))?;
    let name = name.strip_prefix(SUBJECT_PREFIX).filter(|_| organization == NODES)?;
    name.parse().ok()
}

/// Empty where it is no text: no name is.
fn text(attribute: &x509_parser::x509::AttributeTypeAndValue<'_>) -> String {
    attribute.as_str().unwrap_or_default().to_owned()
}
