//! The rules for everybody who is judged alike, in every form that is asked for.

use super::pages::Pages;
use crate::api::device::{MAX_POLICY_BYTES, PolicyDocument};
use crate::rules::{document, judged_by_the_gateway, policy};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::sync::{Arc, OnceLock};
use vestibule_engine::policy::Policy;

/// What rules say of a subject: which of them are for it, and what happens when none matches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Compiling {
    /// One bit for each audience of [`Pages`].
    pub(super) audiences: Vec<u64>,
    pub(super) default_allow: bool,
}

/// Rules compiled for a kind of subject.
#[derive(Debug)]
pub(in crate::gateway) struct Compiled {
    /// As the engine takes them.
    pub(in crate::gateway) policy: Arc<Policy>,
    pages: Arc<Pages>,
    of: Compiling,
    sent: OnceLock<Sent>,
}

/// For devices.
#[derive(Debug)]
struct Sent {
    document: PolicyDocument,
    /// Made once for all who ask.
    json: String,
    digest: String,
}

impl Sent {
    fn new(mut document: PolicyDocument) -> Self {
        // The version is no part of the name: rules that a change left alone are not sent again.
        let version = std::mem::take(&mut document.version);
        let content = serde_json::to_vec(&document).unwrap_or_default();
        let digest = STANDARD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &content));
        document.version = version;
        Self { json: serde_json::to_string(&document).unwrap_or_default(), document, digest }
    }
}

impl Compiled {
    pub(super) fn new(pages: Arc<Pages>, of: Compiling) -> Self {
        let policy = Arc::new(policy(&pages.applying(&of)));
        Self { policy, pages, of, sent: OnceLock::new() }
    }

    /// As devices get them; a document that is too large stays here.
    pub(in crate::gateway) fn document(&self) -> &PolicyDocument {
        &self.sent().document
    }

    /// The document as JSON.
    pub(in crate::gateway) fn json(&self) -> &str {
        &self.sent().json
    }

    /// The document's name: see [`crate::api::device::SwapResponse::policy_digest`].
    pub(in crate::gateway) fn digest(&self) -> &str {
        &self.sent().digest
    }

    fn sent(&self) -> &Sent {
        self.sent.get_or_init(|| {
            let sent = Sent::new(document(&self.pages.applying(&self.of)));
            let (size, version) = (sent.json.len(), sent.document.version);
            if size <= MAX_POLICY_BYTES {
                return sent;
            }
            tracing::warn!(size, limit = MAX_POLICY_BYTES, version, "rules too large to send: judged here alone");
            Sent::new(judged_by_the_gateway(version))
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_json_is_the_document_and_its_name_outlives_a_version() {
        let document = |version, default_allow| PolicyDocument { default_allow, ..judged_by_the_gateway(version) };
        let first = Sent::new(document(1, true));
        assert_eq!(first.json, serde_json::to_string(&first.document).unwrap());
        assert_eq!(first.document.version, 1);
        assert_eq!(first.digest, Sent::new(document(2, true)).digest);
        assert_ne!(first.digest, Sent::new(document(1, false)).digest);
    }
}
