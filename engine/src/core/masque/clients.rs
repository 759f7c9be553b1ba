//! The clients a gateway awaits, and what each proves itself by.

use super::Owner;
use crate::generation::{GenerationId, MasqueEnd};
use crate::masque::request::Credentials;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use std::collections::BTreeMap;

/// Whose generation a request belongs to.
#[derive(Debug, Default)]
pub(super) struct Clients {
    /// By the key of a certificate, which is no secret.
    keys: BTreeMap<[u8; 32], Owner>,
    /// By the digest of a token or password.
    secrets: Vec<([u8; 32], Owner)>,
    /// For whoever comes.
    places: Vec<Owner>,
}

impl Clients {
    /// Awaits the client of a generation. False: what it proves itself by is another peer's.
    pub(super) fn add(&mut self, end: &MasqueEnd, owner: Owner) -> bool {
        match end {
            MasqueEnd::Device(_) => true,
            MasqueEnd::Gateway { client_key } => {
                let free = self.keys.get(client_key).is_none_or(|(slot, _)| *slot == owner.0);
                if free {
                    self.keys.insert(*client_key, owner);
                }
                free
            }
            MasqueEnd::GatewayBySecret { digest } => {
                let known = self.secrets.iter_mut().find(|(known, _)| known == digest);
                match known {
                    Some((_, holder)) if holder.0 != owner.0 => return false,
                    Some((_, holder)) => *holder = owner,
                    None => self.secrets.push((*digest, owner)),
                }
                true
            }
            MasqueEnd::GatewayForAnybody => {
                self.places.push(owner);
                true
            }
        }
    }

    /// Awaits the client of a generation no longer.
    pub(super) fn remove(&mut self, end: &MasqueEnd, ended: GenerationId) {
        match end {
            MasqueEnd::Device(_) => {}
            MasqueEnd::Gateway { client_key } => {
                if self.by_key(client_key).is_some_and(|(_, id)| id == ended) {
                    self.keys.remove(client_key);
                }
            }
            MasqueEnd::GatewayBySecret { .. } => self.secrets.retain(|(_, (_, id))| *id != ended),
            MasqueEnd::GatewayForAnybody => self.places.retain(|(_, id)| *id != ended),
        }
    }

    /// Whose key this is.
    pub(super) fn by_key(&self, key: &[u8; 32]) -> Option<Owner> {
        self.keys.get(key).copied()
    }

    /// Whose credentials these are. It takes as long whether and wherever they are found.
    pub(super) fn by_credentials(&self, credentials: &Credentials) -> Option<Owner> {
        let shown = credentials.digest()?;
        let mut found = None;
        for (known, owner) in &self.secrets {
            if verify_slices_are_equal(known, &shown).is_ok() {
                found = Some(*owner);
            }
        }
        found
    }

    /// The places of whoever comes, in order.
    pub(super) fn places(&self) -> &[Owner] {
        &self.places
    }

    /// True when a client may prove itself by credentials.
    pub(super) fn takes_credentials(&self) -> bool {
        !self.secrets.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use zeroize::Zeroizing;

    fn bearer(token: &str) -> Credentials {
        Credentials::Bearer(Zeroizing::new(token.to_owned()))
    }

    fn by_secret(credentials: &Credentials) -> MasqueEnd {
        MasqueEnd::GatewayBySecret { digest: credentials.digest().unwrap() }
    }

    #[test]
    fn each_client_is_known_by_what_it_proves() {
        let mut clients = Clients::default();
        let basic = Credentials::Basic { user: "a".into(), password: Zeroizing::new("b".into()) };
        assert!(clients.add(&MasqueEnd::Gateway { client_key: [1; 32] }, (0, GenerationId(1))));
        assert!(clients.add(&by_secret(&bearer("one")), (1, GenerationId(2))));
        assert!(clients.add(&by_secret(&basic), (2, GenerationId(3))));
        assert_eq!(clients.by_key(&[1; 32]), Some((0, GenerationId(1))));
        assert_eq!(clients.by_key(&[2; 32]), None);
        assert_eq!(clients.by_credentials(&bearer("one")), Some((1, GenerationId(2))));
        assert_eq!(clients.by_credentials(&basic), Some((2, GenerationId(3))));
        for wrong in [bearer("on"), bearer("a:b"), bearer(""), Credentials::None] {
            assert_eq!(clients.by_credentials(&wrong), None, "{wrong:?}");
        }
        assert!(!clients.add(&by_secret(&bearer("one")), (7, GenerationId(4))), "another peer's");
        assert!(clients.add(&by_secret(&bearer("one")), (1, GenerationId(5))), "its own, anew");
        clients.remove(&by_secret(&bearer("one")), GenerationId(2));
        assert_eq!(clients.by_credentials(&bearer("one")), Some((1, GenerationId(5))));
        clients.remove(&by_secret(&bearer("one")), GenerationId(5));
        assert_eq!(clients.by_credentials(&bearer("one")), None);
    }
}
