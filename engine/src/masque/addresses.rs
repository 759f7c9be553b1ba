//! Who asked for which address, and who has got which (RFC 9484 sections 4.7.1 and 4.7.2), for either end.

use super::capsule::{ADDRESS_REQUEST, AssignedAddress, CapsuleError, RequestedAddress};
use super::varint;
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::num::NonZeroU64;

/// Most Request IDs one peer may use up in a session.
const MAX_REQUESTS: usize = 4096;

/// The end that asks.
#[derive(Debug, Default)]
pub struct Requester {
    last_id: u64,
    outstanding: BTreeSet<u64>,
    assigned: Vec<IpNet>,
}

/// What an ADDRESS_ASSIGN changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Prefixes that are ours now and were not before.
    pub added: Vec<IpNet>,
    /// Prefixes that were ours and are no longer.
    pub removed: Vec<IpNet>,
    /// Requests that were refused.
    pub refused: Vec<u64>,
}

impl Requester {
    /// Asks for `prefix`; an all-zero address asks for any of its length. `None` once all ids are used up.
    pub fn request(&mut self, prefix: IpNet) -> Option<RequestedAddress> {
        let id = NonZeroU64::new(self.last_id + 1).filter(|id| id.get() <= varint::MAX)?;
        self.last_id = id.get();
        self.outstanding.insert(id.get());
        Some(RequestedAddress { request_id: id, prefix: prefix.trunc() })
    }

    /// Takes the peer's full list, which replaces the last one.
    pub fn assign(&mut self, list: &[AssignedAddress]) -> Changes {
        let mut changes = Changes::default();
        let mut now: Vec<IpNet> = Vec::new();
        for entry in list {
            self.outstanding.remove(&entry.request_id);
            if entry.is_refusal() {
                changes.refused.push(entry.request_id);
            } else if !now.contains(&entry.prefix) {
                now.push(entry.prefix);
            }
        }
        changes.added = now.iter().filter(|prefix| !self.assigned.contains(prefix)).copied().collect();
        changes.removed = self.assigned.iter().filter(|prefix| !now.contains(prefix)).copied().collect();
        self.assigned = now;
        changes
    }

    /// What is ours.
    #[must_use]
    pub fn assigned(&self) -> &[IpNet] {
        &self.assigned
    }

    /// True while a request is unanswered.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.outstanding.is_empty()
    }
}

/// The end that is asked.
#[derive(Debug, Default)]
pub struct Assigner {
    used_ids: BTreeSet<u64>,
    assigned: Vec<AssignedAddress>,
}

impl Assigner {
    /// Takes note of requests, as they come in.
    ///
    /// # Errors
    /// A Request ID was used before, or the peer has asked too often: the stream must be aborted.
    pub fn register(&mut self, requests: &[RequestedAddress]) -> Result<(), CapsuleError> {
        for request in requests {
            let id = request.request_id.get();
            if !self.used_ids.insert(id) {
                return Err(CapsuleError::RequestIdReused { id });
            }
            if self.used_ids.len() > MAX_REQUESTS {
                return Err(CapsuleError::TooMany { kind: ADDRESS_REQUEST, most: MAX_REQUESTS });
            }
        }
        Ok(())
    }

    /// Answers requests by what `decide` says, `None` being a refusal. The list to send is the full one: what the peer
    /// has already, and one entry for each request.
    pub fn answer(
        &mut self,
        requests: &[RequestedAddress],
        mut decide: impl FnMut(&RequestedAddress) -> Option<IpNet>,
    ) -> Vec<AssignedAddress> {
        let mut refusals = Vec::new();
        for request in requests {
            match decide(request) {
                Some(prefix) => {
                    let prefix = prefix.trunc();
                    self.assigned.retain(|entry| entry.prefix != prefix || entry.request_id != 0);
                    self.assigned.push(AssignedAddress { request_id: request.request_id.get(), prefix });
                }
                None => refusals.push(AssignedAddress::refusal(request)),
            }
        }
        self.assigned.iter().chain(&refusals).copied().collect()
    }

    /// Gives the peer exactly `prefixes` from now on, unasked; the list to send.
    pub fn set(&mut self, prefixes: &[IpNet]) -> Vec<AssignedAddress> {
        let id_of = |prefix: &IpNet| self.assigned.iter().find(|entry| entry.prefix == *prefix).map(|e| e.request_id);
        self.assigned = prefixes
            .iter()
            .map(|prefix| prefix.trunc())
            .map(|prefix| AssignedAddress { request_id: id_of(&prefix).unwrap_or(0), prefix })
            .collect();
        self.assigned.clone()
    }

    /// What the peer has.
    pub fn assigned(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.assigned.iter().map(|entry| entry.prefix)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn prefix(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn entry(request_id: u64, text: &str) -> AssignedAddress {
        AssignedAddress { request_id, prefix: prefix(text) }
    }

    #[test]
    fn c5_a_list_replaces_the_one_before() {
        let mut requester = Requester::default();
        requester.assign(&[entry(0, "10.0.0.1/32"), entry(0, "10.0.0.2/32")]);
        let changes = requester.assign(&[entry(0, "10.0.0.2/32"), entry(0, "fd00::1/128")]);
        assert_eq!((changes.added, changes.removed), (vec![prefix("fd00::1/128")], vec![prefix("10.0.0.1/32")]));
        assert_eq!(requester.assign(&[]).removed.len(), 2);
        assert!(requester.assigned().is_empty());
    }

    #[test]
    fn c7_answers_carry_the_request_id_and_the_rest_zero() {
        let (mut requester, mut assigner) = (Requester::default(), Assigner::default());
        assert_eq!(assigner.set(&[prefix("10.0.0.9/32")]), [entry(0, "10.0.0.9/32")]);
        let request = requester.request(prefix("0.0.0.0/32")).unwrap();
        let list = assigner.answer(&[request], |_| Some(prefix("10.0.0.1/32")));
        assert_eq!(list, [entry(0, "10.0.0.9/32"), entry(1, "10.0.0.1/32")]);
        assert!(requester.is_waiting());
        requester.assign(&list);
        assert!(!requester.is_waiting());
        assert_eq!(assigner.set(&[prefix("10.0.0.1/32")]), [entry(1, "10.0.0.1/32")], "it still answers that request");
    }

    #[test]
    fn c9_request_ids_are_never_reused() {
        let mut requester = Requester::default();
        let ids: BTreeSet<_> = (0..100).map(|_| requester.request(prefix("::/128")).unwrap().request_id).collect();
        assert_eq!(ids.len(), 100);
        requester.last_id = varint::MAX;
        assert_eq!(requester.request(prefix("::/128")), None);

        let mut assigner = Assigner::default();
        let request = RequestedAddress { request_id: 5.try_into().unwrap(), prefix: prefix("::/128") };
        let reused = Err(CapsuleError::RequestIdReused { id: 5 });
        assert_eq!(assigner.register(&[request]), Ok(()));
        assert_eq!(assigner.register(&[request]), reused);
        assert_eq!(Assigner::default().register(&[request, request]), reused);
    }

    #[test]
    fn c9_a_peer_that_asks_without_end_is_stopped() {
        let (mut requester, mut assigner) = (Requester::default(), Assigner::default());
        for n in 0.. {
            let request = requester.request(prefix("::/128")).unwrap();
            if let Err(error) = assigner.register(&[request]) {
                assert_eq!((n, error), (4096, CapsuleError::TooMany { kind: ADDRESS_REQUEST, most: 4096 }));
                break;
            }
        }
    }

    #[test]
    fn c11_every_request_is_answered_and_refusals_only_once() {
        let (mut requester, mut assigner) = (Requester::default(), Assigner::default());
        let wanted = ["10.0.0.1/32", "fd00::/64", "10.9.9.9/32"];
        let requests: Vec<_> = wanted.iter().map(|text| requester.request(prefix(text)).unwrap()).collect();
        let list = assigner.answer(&requests, |r| (r.prefix == prefix("10.0.0.1/32")).then_some(r.prefix));
        assert_eq!(list, [entry(1, "10.0.0.1/32"), entry(2, "::/128"), entry(3, "0.0.0.0/32")]);
        let changes = requester.assign(&list);
        assert_eq!((changes.added, changes.refused), (vec![prefix("10.0.0.1/32")], vec![2, 3]));
        let more = requester.request(prefix("0.0.0.0/32")).unwrap();
        let list = assigner.answer(&[more], |_| Some(prefix("10.0.0.7/32")));
        assert_eq!(list, [entry(1, "10.0.0.1/32"), entry(4, "10.0.0.7/32")]);
    }
}
