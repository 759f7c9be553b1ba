//! The rules for everybody who is judged alike, in every form that is asked for.

use super::pages::{Entry, Pages};
use crate::api::device::{MAX_POLICY_BYTES, PolicyDocument};
use crate::rules::{Applying, document, judged_by_the_gateway, policy};
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
    /// As the engine takes them. The same one as before a change that left all of them alone.
    pub(in crate::gateway) policy: Arc<Policy>,
    rules: Vec<Arc<Entry>>,
    default_allow: bool,
    version: u64,
    /// The document's name, which is the same while the rules are.
    digest: Arc<OnceLock<String>>,
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
    pub(super) fn new(pages: &Pages, of: &Compiling, former: &[Arc<Self>]) -> Self {
        let rules = pages.heard(of);
        let same = |one: &&Arc<Self>| {
            one.default_allow == of.default_allow
                && one.rules.len() == rules.len()
                && one.rules.iter().zip(&rules).all(|(one, other)| Arc::ptr_eq(one, other))
        };
        let (default_allow, version) = (of.default_allow, pages.version().unsigned_abs());
        let (policy, digest) = match former.iter().find(same) {
            Some(former) => (Arc::clone(&former.policy), Arc::clone(&former.digest)),
            None => (Arc::new(policy(&applying(&rules, default_allow, version))), Arc::default()),
        };
        Self { policy, rules, default_allow, version, digest, sent: OnceLock::new() }
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
        self.digest.get_or_init(|| self.sent().digest.clone())
    }

    fn sent(&self) -> &Sent {
        self.sent.get_or_init(|| {
            let sent = Sent::new(document(&applying(&self.rules, self.default_allow, self.version)));
            let (size, version) = (sent.json.len(), sent.document.version);
            if size <= MAX_POLICY_BYTES {
                return sent;
            }
            tracing::warn!(size, limit = MAX_POLICY_BYTES, version, "rules too large to send: judged here alone");
            Sent::new(judged_by_the_gateway(version))
        })
    }
}

fn applying(rules: &[Arc<Entry>], default_allow: bool, version: u64) -> Applying<'_> {
    Applying { rules: rules.iter().map(|entry| &entry.rule).collect(), default_allow, version }
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
