//! Client certificates at enrolment: which authorities count, and what a presented certificate is worth.
//!
//! A certificate is asked for and never demanded. One that is expired, not yet valid, not for clients, or of an authority
//! that does not count is as good as none: the reason is told, and the policies decide.

use crate::gateway::store::CertificateRow;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use std::sync::Arc;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// What a caller presented in its TLS handshake, its own certificate first. That it has the key is proved, and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Presented(pub(in super::super) Arc<[CertificateDer<'static>]>);

/// A certificate that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct ClientCertificate {
    /// The subject's, when there is exactly one.
    pub(super) common_name: Option<String>,
}

/// Why a presented certificate does not count.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum Worthless {
    #[error("no certificate was presented")]
    None,
    #[error("no certificate authority counts here: none is stored that is valid and has this organisation's domain")]
    NoAuthority,
    #[error("it is not valid")]
    Invalid(#[source] rustls::Error),
    #[error("its authorities could not be used")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
}

/// An authority.
#[derive(Clone, Debug)]
struct Authority {
    certificate: CertificateDer<'static>,
    /// Unix seconds.
    valid: std::ops::RangeInclusive<i64>,
}

/// The authorities whose certificates count at enrolment.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Authorities(Vec<Authority>);

impl Authorities {
    /// Those of the stored ones that are for `domain`.
    pub(in super::super) fn read(rows: &[CertificateRow], domain: &str) -> Self {
        let ours =
            |row: &&CertificateRow| row.associated_hostnames.iter().any(|name| name.eq_ignore_ascii_case(domain));
        let authority = |row: &CertificateRow| {
            let read = of(CertificateDer::from(row.certificate.clone()));
            if read.is_none() {
                tracing::error!(certificate = %row.id, "a stored certificate is not readable: it does not count");
            }
            read
        };
        Self(rows.iter().filter(ours).filter_map(authority).collect())
    }

    /// Their certificates.
    pub(in super::super) fn certificates(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.0.iter().map(|authority| &authority.certificate)
    }

    /// What a presented certificate is worth at `now`.
    pub(in super::super) fn judge(&self, presented: &Presented, now: UnixTime) -> Result<ClientCertificate, Worthless> {
        let (own, between) = presented.0.split_first().ok_or(Worthless::None)?;
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        // The end of an authority's own validity is nobody else's to look at.
        let standing = self.0.iter().filter(|authority| authority.valid.contains(&seconds));
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(standing.map(|authority| authority.certificate.clone()));
        if roots.is_empty() {
            return Err(Worthless::NoAuthority);
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        verifier.map_err(Worthless::Verifier)?.verify_client_cert(own, between, now).map_err(Worthless::Invalid)?;
        Ok(ClientCertificate { common_name: common_name(own) })
    }
}

fn of(certificate: CertificateDer<'static>) -> Option<Authority> {
    let valid = {
        let (_, read) = X509Certificate::from_der(&certificate).ok()?;
        read.validity().not_before.timestamp()..=read.validity().not_after.timestamp()
    };
    Some(Authority { certificate, valid })
}

/// The subject's common name; none when there are several, of which each reader would take another.
fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, read) = X509Certificate::from_der(certificate).ok()?;
    let mut names = read.subject().iter_common_name();
    let name = names.next()?.as_str().ok()?.to_owned();
    names.next().is_none().then_some(name)
}
