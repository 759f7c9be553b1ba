//! Flows that go to another host than their opener asked for: the table knows them by both connections.

use super::index::Index;
use super::{Direction, FlowId, FlowKey, FlowTable};
use std::net::IpAddr;

impl FlowTable {
    /// Sends a flow to another destination from now on. False, and nothing done, when the address is of the other IP
    /// version or the opener's own, or when that connection is in the table already.
    pub(crate) fn redirect(&mut self, id: FlowId, address: IpAddr, port: Option<u16>) -> bool {
        let Some(opener) = self.get(id).map(|entry| *entry.opener()) else { return false };
        let destination_port = port.unwrap_or(opener.destination_port);
        let key = FlowKey { destination: address, destination_port, ..opener };
        if key == opener {
            return true;
        }
        let unfit = address.is_ipv4() != opener.source.is_ipv4() || address == opener.source;
        if unfit || self.lookup_key(&key).is_some() || self.is_redirected_to(&key) {
            return false;
        }
        let former = self.get(id).and_then(|entry| entry.redirect.as_deref()).map(|key| self.hash(key));
        let hash = self.hash(&key);
        let capacity = self.max_flows;
        let redirects = self.redirects.get_or_insert_with(|| Index::new(capacity));
        if let Some(former) = former {
            redirects.remove(former, id.slot);
        }
        redirects.insert(hash, id.slot);
        if let Some(entry) = self.get_mut(id) {
            entry.redirect = Some(Box::new(key));
        }
        true
    }

    /// True when a redirected flow is this connection at its new destination, in either direction.
    pub(crate) fn is_redirected_to(&self, key: &FlowKey) -> bool {
        self.redirects.is_some() && self.find_redirected(key).is_some()
    }

    /// The redirected flow whose new destination sent a packet of this key.
    pub(super) fn lookup_redirected(&self, key: &FlowKey) -> Option<(FlowId, Direction)> {
        let slot = self.find_redirected(key)?;
        let place = self.slots.get(slot as usize)?;
        let answers = place.entry.as_ref()?.redirect.as_deref()?.reversed() == *key;
        answers.then_some((FlowId { slot, generation: place.generation }, Direction::Reverse))
    }

    fn find_redirected(&self, key: &FlowKey) -> Option<u32> {
        self.redirects.as_ref()?.find(self.hash(key), |slot| {
            let entry = self.slots.get(slot as usize).and_then(|slot| slot.entry.as_ref());
            let redirect = entry.and_then(|entry| entry.redirect.as_deref());
            redirect.is_some_and(|redirect| redirect == key || redirect.reversed() == *key)
        })
    }
}
