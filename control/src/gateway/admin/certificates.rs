//! `/access/certificates`: the authorities whose client certificates count at enrolment.

use super::body::{name, read};
use super::envelope::{Answer, ApiError, created, many, one};
use super::path::Id;
use crate::crypto::sha256;
use crate::gateway::app::App;
use crate::gateway::clock;
use crate::gateway::store::{CertificateRow, StoreError};
use axum::body::Bytes;
use axum::extract::State;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Most hostnames of one authority, and most authorities: the name of each is sent to every caller.
const MOST_HOSTNAMES: usize = 100;
const MOST: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    name: String,
    certificate: String,
    #[serde(default)]
    associated_hostnames: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Update {
    name: Option<String>,
    associated_hostnames: Vec<String>,
}

pub(super) async fn list(State(app): State<Arc<App>>) -> Answer {
    many(app.store.certificates().await?.iter().map(shown).collect())
}

pub(super) async fn show(State(app): State<Arc<App>>, Id(id): Id) -> Answer {
    one(shown(&find(&app, &id).await?))
}

pub(super) async fn create(State(app): State<Arc<App>>, bytes: Bytes) -> Answer {
    let request: Create = read(&bytes)?;
    let authority = authority(&request.certificate)?;
    let _administration = app.administration.lock().await;
    if app.store.certificates().await?.len() >= MOST {
        return Err(ApiError::conflict(format!("there are {MOST} certificates, the most that there may be")));
    }
    let now = clock::now();
    let row = CertificateRow {
        id: Uuid::new_v4().to_string(),
        name: name("name", &request.name)?,
        associated_hostnames: hostnames(request.associated_hostnames)?,
        created_at: now,
        updated_at: now,
        ..authority
    };
    app.store.put_certificate(&row).await.map_err(|error| match error {
        StoreError::Taken => ApiError::conflict("this certificate is there already: change that one"),
        error => error.into(),
    })?;
    app.authorities_changed().await?;
    created(shown(&row))
}

pub(super) async fn update(State(app): State<Arc<App>>, Id(id): Id, bytes: Bytes) -> Answer {
    let request: Update = read(&bytes)?;
    let _administration = app.administration.lock().await;
    let mut row = find(&app, &id).await?;
    if let Some(new) = &request.name {
        row.name = name("name", new)?;
    }
    row.associated_hostnames = hostnames(request.associated_hostnames)?;
    row.updated_at = clock::now();
    app.store.put_certificate(&row).await?;
    app.authorities_changed().await?;
    one(shown(&row))
}

pub(super) async fn remove(State(app): State<Arc<App>>, Id(id): Id) -> Answer {
    let _administration = app.administration.lock().await;
    let row = find(&app, &id).await?;
    if let Some(hostname) = row.associated_hostnames.first() {
        let message =
            format!("the certificate is associated with {hostname}: take its `associated_hostnames` away first");
        return Err(ApiError::conflict(message));
    }
    app.store.delete_certificate(&row.id).await?;
    one(json!({ "id": row.id }))
}

async fn find(app: &App, id: &str) -> Result<CertificateRow, ApiError> {
    let mut all = app.store.certificates().await?.into_iter();
    all.find(|row| row.id == id).ok_or_else(|| ApiError::missing("certificate"))
}

/// What is stored of an authority's certificate, checked; the rest of the row is empty.
fn authority(pem: &str) -> Result<CertificateRow, ApiError> {
    let wrong = |got: String| {
        ApiError::field(format!("`certificate` must be one certificate of an authority, as PEM; got {got}"))
    };
    if PrivateKeyDer::from_pem_slice(pem.as_bytes()).is_ok() {
        return Err(wrong("a private key with it: it belongs to nobody but the authority".to_owned()));
    }
    let read = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let certificates = read.map_err(|error| wrong(error.to_string()))?;
    let [der] = certificates.as_slice() else { return Err(wrong(format!("{} certificates", certificates.len()))) };
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|error| wrong(error.to_string()))?;
    if !rest.is_empty() {
        return Err(wrong("bytes after it".to_owned()));
    }
    if !certificate.is_ca() {
        return Err(wrong("one that may not sign others (its basic constraints do not say CA)".to_owned()));
    }
    if certificate.key_usage().ok().flatten().is_some_and(|usage| !usage.value.key_cert_sign()) {
        return Err(wrong("one that may not sign others (its key usage lacks keyCertSign)".to_owned()));
    }
    RootCertStore::empty().add(der.clone()).map_err(|error| wrong(error.to_string()))?;
    let expires_at = certificate.validity().not_after.timestamp().saturating_mul(1000);
    if expires_at <= clock::now() {
        return Err(wrong(format!("one that expired at {}", clock::rfc3339(expires_at))));
    }
    Ok(CertificateRow {
        id: String::new(),
        name: String::new(),
        certificate: der.to_vec(),
        fingerprint: hex::encode(sha256(der)),
        associated_hostnames: Vec::new(),
        expires_at,
        created_at: 0,
        updated_at: 0,
    })
}

fn hostnames(given: Vec<String>) -> Result<Vec<String>, ApiError> {
    if given.len() > MOST_HOSTNAMES {
        let message = format!("`associated_hostnames` must have at most {MOST_HOSTNAMES} names, got {}", given.len());
        return Err(ApiError::field(message));
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let mut hostnames: Vec<String> = Vec::with_capacity(given.len());
    for name in given {
        if name.len() > 253 || !name.split('.').all(label) {
            let message =
                format!("`associated_hostnames` must be names like mycompany.cloudflareaccess.com, got `{name}`");
            return Err(ApiError::field(message));
        }
        let name = name.to_ascii_lowercase();
        if !hostnames.contains(&name) {
            hostnames.push(name);
        }
    }
    Ok(hostnames)
}

fn shown(row: &CertificateRow) -> Value {
    let pairs: Vec<&str> =
        row.fingerprint.as_bytes().chunks(2).filter_map(|pair| std::str::from_utf8(pair).ok()).collect();
    json!({
        "id": row.id,
        "uid": row.id,
        "name": row.name,
        // As `openssl x509 -fingerprint -sha256` prints it.
        "fingerprint": format!("SHA256 Fingerprint={}", pairs.join(":").to_uppercase()),
        "associated_hostnames": row.associated_hostnames,
        "expires_on": clock::rfc3339(row.expires_at),
        "created_at": clock::rfc3339(row.created_at),
        "updated_at": clock::rfc3339(row.updated_at),
    })
}
