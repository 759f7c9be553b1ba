//! The handshake's two messages (WireGuard paper, sections 5.4.2 to 5.4.5). mac1 and mac2 are `cookie.rs`'s.

use super::message::{INITIATION_LEN, RESPONSE_LEN};
use super::noise::{Secret, Symmetric, ephemeral, shared};
use super::transport::TransportKeys;
use crate::random::Random;
use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

/// We and the peer, by our static keys.
pub(crate) struct Parties {
    secret: StaticSecret,
    public: [u8; 32],
    peer: [u8; 32],
    /// Zeros for none.
    preshared: Secret,
    /// `DH` of both static keys, from the first handshake on.
    shared: Option<Secret>,
}

/// Our initiation, while it waits for its response.
pub(crate) struct Initiated {
    ephemeral: StaticSecret,
    state: Symmetric,
    /// The index that we gave.
    pub(crate) index: u32,
}

/// The sealed static key of an initiation, opened: who knocks.
pub(crate) struct Knock {
    pub(crate) peer: [u8; 32],
    state: Symmetric,
    ephemeral: [u8; 32],
    sender: u32,
}

/// An authentic initiation.
pub(crate) struct Initiation {
    /// TAI64N; must grow per static key.
    pub(crate) timestamp: [u8; 12],
    knock: Knock,
}

impl Knock {
    /// Opens an initiation (5.4.2) to the owner of `secret` as far as it tells who sent it.
    pub(crate) fn read(message: &[u8], secret: &StaticSecret, public: &[u8; 32]) -> Option<Self> {
        let message: &[u8; INITIATION_LEN] = message.try_into().ok()?;
        let sender = u32::from_le_bytes(*message[4..].first_chunk()?);
        let ephemeral = *message[8..].first_chunk::<32>()?;
        let mut state = Symmetric::new(public);
        state.mix_chain(&ephemeral);
        state.mix_hash(&ephemeral);
        let key = state.mix_key(&*shared(secret, &ephemeral)?);
        let mut peer = [0; 32];
        state.open(&key, &message[40..88], &mut peer)?;
        Some(Self { peer, state, ephemeral, sender })
    }

    /// Opens the rest, which only the owner of the key can have sealed. `shared` is `DH` of both static keys.
    pub(crate) fn authenticate(mut self, message: &[u8], shared: &Secret) -> Option<Initiation> {
        let key = self.state.mix_key(&**shared);
        let mut timestamp = [0; 12];
        self.state.open(&key, message.get(88..116)?, &mut timestamp)?;
        Some(Initiation { timestamp, knock: self })
    }
}

impl Parties {
    /// `public` belongs to `secret`.
    pub(crate) fn new(secret: &[u8; 32], public: [u8; 32], peer: [u8; 32], preshared: Option<&[u8; 32]>) -> Self {
        let secret = StaticSecret::from(*secret);
        let preshared = Zeroizing::new(preshared.copied().unwrap_or_default());
        Self { secret, public, peer, preshared, shared: None }
    }

    /// From the next handshake on.
    pub(crate) fn set_preshared(&mut self, preshared: Option<&[u8; 32]>) {
        *self.preshared = preshared.copied().unwrap_or_default();
    }

    pub(crate) fn public(&self) -> &[u8; 32] {
        &self.public
    }

    pub(crate) fn peer(&self) -> &[u8; 32] {
        &self.peer
    }

    /// `DH` of both static keys; `None` when the peer's is a point of low order.
    pub(crate) fn shared(&mut self) -> Option<&Secret> {
        if self.shared.is_none() {
            self.shared = shared(&self.secret, &self.peer);
        }
        self.shared.as_ref()
    }

    /// Writes an initiation (5.4.2) but for its macs.
    pub(crate) fn initiate(
        &mut self,
        index: u32,
        timestamp: [u8; 12],
        random: &mut Random,
        message: &mut [u8; INITIATION_LEN],
    ) -> Option<Initiated> {
        let (secret, public) = ephemeral(random);
        let mut state = Symmetric::new(&self.peer);
        state.mix_chain(&public);
        state.mix_hash(&public);
        message[..4].copy_from_slice(&1_u32.to_le_bytes());
        message[4..8].copy_from_slice(&index.to_le_bytes());
        message[8..40].copy_from_slice(&public);
        let key = state.mix_key(&*shared(&secret, &self.peer)?);
        message[40..72].copy_from_slice(&self.public);
        state.seal(&key, &mut message[40..88]);
        let key = state.mix_key(&**self.shared()?);
        message[88..100].copy_from_slice(&timestamp);
        state.seal(&key, &mut message[88..116]);
        Some(Initiated { ephemeral: secret, state, index })
    }

    /// Writes the response (5.4.3) but for its macs. The keys are not to be sent under before the peer has used them.
    pub(crate) fn respond(
        &self,
        initiation: Initiation,
        index: u32,
        random: &mut Random,
        message: &mut [u8; RESPONSE_LEN],
    ) -> Option<TransportKeys> {
        let Knock { peer, mut state, ephemeral: theirs, sender: receiver } = initiation.knock;
        if peer != self.peer {
            return None;
        }
        let (secret, public) = ephemeral(random);
        state.mix_chain(&public);
        state.mix_hash(&public);
        state.mix_chain(&*shared(&secret, &theirs)?);
        state.mix_chain(&*shared(&secret, &self.peer)?);
        let key = state.mix_preshared(&self.preshared);
        message[..4].copy_from_slice(&2_u32.to_le_bytes());
        message[4..8].copy_from_slice(&index.to_le_bytes());
        message[8..12].copy_from_slice(&receiver.to_le_bytes());
        message[12..44].copy_from_slice(&public);
        state.seal(&key, &mut message[44..60]);
        let (receive, send) = state.split();
        Some(TransportKeys { send, receive, index, receiver, initiator: false })
    }

    /// Reads the response (5.4.3) to `initiated`, which stays good when it is not authentic.
    pub(crate) fn finish(&self, initiated: &Initiated, message: &[u8]) -> Option<TransportKeys> {
        let message: &[u8; RESPONSE_LEN] = message.try_into().ok()?;
        let mut state = initiated.state.clone();
        let theirs = message[12..].first_chunk::<32>()?;
        state.mix_chain(theirs);
        state.mix_hash(theirs);
        state.mix_chain(&*shared(&initiated.ephemeral, theirs)?);
        state.mix_chain(&*shared(&self.secret, theirs)?);
        let key = state.mix_preshared(&self.preshared);
        state.open(&key, &message[44..60], &mut [])?;
        let (send, receive) = state.split();
        let receiver = u32::from_le_bytes(*message[4..].first_chunk()?);
        Some(TransportKeys { send, receive, index: initiated.index, receiver, initiator: true })
    }
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
