//! What survives the process, whenever it is killed: device key, bearer secrets, `swap_seq`, machine state, the last
//! good MDM file. Every write is atomic and readable by the service's user alone.

use super::{
    device_key::{DeviceKey, DeviceKeyError},
    remote::Secret,
    settings::StoredProfiles,
    ways::Narrow,
};
use crate::registration::State;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};
use uuid::Uuid;
use vestibule_platform::{
    secrets::{SecretError, Secrets},
    signing::SigningKeys,
};
use zeroize::Zeroizing;

const DEVICE_KEY: &str = "device-key";
const BEARERS: &str = "registrations";
const SWAP_SEQ: &str = "swap-seq";
const STATE: &str = "state";
const MDM: &str = "mdm";
const GATEWAY: &str = "gateway";
const PROFILES: &str = "profiles";
const NETWORKS: &str = "networks";

/// The daemon's memory on disk.
pub struct Store {
    vault: Box<dyn Secrets>,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    swap_seq: u64,
    bearers: BTreeMap<Uuid, Zeroizing<String>>,
}

/// Why something could not be stored or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk.
    #[error("cannot {action} `{name}` in the state directory")]
    Vault {
        /// `read` or `write`.
        action: &'static str,
        /// What.
        name: &'static str,
        /// Why.
        #[source]
        cause: SecretError,
    },
    /// What is stored cannot be read back.
    #[error("`{name}` in the state directory is damaged: expected {expected}; restore it, or remove it")]
    Damaged {
        /// What.
        name: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
    /// Cannot be written down.
    #[error("`{name}` cannot be stored")]
    Encode {
        /// What.
        name: &'static str,
        /// Why.
        #[source]
        cause: serde_json::Error,
    },
    /// The device key.
    #[error(transparent)]
    Key(#[from] DeviceKeyError),
}

/// The gateway this device belongs to, remembered from the command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayFacts {
    /// `https://HOST[:PORT]`.
    pub url: String,
    /// SHA-256 of its certificate, hex.
    pub pin: String,
}

impl Store {
    /// Reads what is stored; the device key is made when there is none, in `tpm` if that works.
    ///
    /// # Errors
    /// The disk, or a damaged file. Nothing is overwritten then.
    pub fn open(vault: Box<dyn Secrets>, tpm: &dyn SigningKeys) -> Result<(Self, DeviceKey), StoreError> {
        let store = Self { vault, memory: Mutex::default() };
        let key = match store.read(DEVICE_KEY)? {
            Some(stored) => DeviceKey::restore_from(&stored, tpm)?,
            None => {
                let (key, stored) = DeviceKey::generate_in(tpm)?;
                store.write(DEVICE_KEY, &stored)?;
                key
            }
        };
        {
            let mut memory = store.memory();
            memory.swap_seq = match store.read(SWAP_SEQ)? {
                None => 0,
                Some(text) => std::str::from_utf8(&text)
                    .ok()
                    .and_then(|text| text.trim().parse().ok())
                    .ok_or(StoreError::Damaged { name: SWAP_SEQ, expected: "a number" })?,
            };
            if let Some(json) = store.read(BEARERS)? {
                let damaged =
                    |_| StoreError::Damaged { name: BEARERS, expected: "registration ids and their secrets, in JSON" };
                let bearers: BTreeMap<Uuid, String> = serde_json::from_slice(&json).map_err(damaged)?;
                memory.bearers = bearers.into_iter().map(|(id, bearer)| (id, Zeroizing::new(bearer))).collect();
            }
        }
        Ok((store, key))
    }

    /// The next number of an order to swap. It is on disk before this returns.
    ///
    /// # Errors
    /// The disk.
    pub fn next_swap_seq(&self) -> Result<u64, StoreError> {
        let mut memory = self.memory();
        let next = memory.swap_seq + 1;
        self.write(SWAP_SEQ, next.to_string().as_bytes())?;
        memory.swap_seq = next;
        Ok(next)
    }

    /// Goes on above `seen`, the greatest number the gateway knows.
    ///
    /// # Errors
    /// The disk.
    pub fn raise_swap_seq(&self, seen: u64) -> Result<(), StoreError> {
        let mut memory = self.memory();
        // A number near the top leaves no room for orders, and no honest gateway has seen one.
        if seen > memory.swap_seq && seen < u64::MAX / 2 {
            self.write(SWAP_SEQ, seen.to_string().as_bytes())?;
            memory.swap_seq = seen;
        }
        Ok(())
    }

    /// The bearer secret of a registration.
    #[must_use]
    pub fn bearer(&self, registration: Uuid) -> Option<Secret> {
        self.memory().bearers.get(&registration).map(|bearer| Secret::new(bearer.as_str()))
    }

    /// Keeps the bearer secret of a registration.
    ///
    /// # Errors
    /// The disk.
    pub fn keep_bearer(&self, registration: Uuid, bearer: &Secret) -> Result<(), StoreError> {
        let mut memory = self.memory();
        memory.bearers.insert(registration, Zeroizing::new(bearer.expose().to_owned()));
        self.write_bearers(&memory)
    }

    /// Wipes the bearer secrets of all registrations but those `kept`.
    ///
    /// # Errors
    /// The disk.
    pub fn forget_bearers(&self, kept: impl Fn(Uuid) -> bool) -> Result<(), StoreError> {
        let mut memory = self.memory();
        let before = memory.bearers.len();
        memory.bearers.retain(|id, _| kept(*id));
        if memory.bearers.len() == before { Ok(()) } else { self.write_bearers(&memory) }
    }

    fn write_bearers(&self, memory: &Memory) -> Result<(), StoreError> {
        let plain: BTreeMap<Uuid, &str> = memory.bearers.iter().map(|(id, bearer)| (*id, bearer.as_str())).collect();
        let json = Zeroizing::new(serde_json::to_vec(&plain).unwrap_or_default());
        self.write(BEARERS, &json)
    }

    /// The registration machine's state.
    ///
    /// # Errors
    /// The disk, or a damaged file.
    pub fn state(&self) -> Result<Option<State>, StoreError> {
        self.read_json(STATE, "the registration machine's state, in JSON")
    }

    /// Keeps the registration machine's state.
    ///
    /// # Errors
    /// The disk.
    pub fn keep_state(&self, state: &State) -> Result<(), StoreError> {
        self.write_json(STATE, state)
    }

    /// The last good MDM file.
    ///
    /// # Errors
    /// The disk.
    pub fn mdm(&self) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.read(MDM)
    }

    /// Keeps the last good MDM file.
    ///
    /// # Errors
    /// The disk.
    pub fn keep_mdm(&self, file: &[u8]) -> Result<(), StoreError> {
        self.write(MDM, file)
    }

    /// The gateway of the last start.
    ///
    /// # Errors
    /// The disk, or a damaged file.
    pub fn gateway(&self) -> Result<Option<GatewayFacts>, StoreError> {
        self.read_json(GATEWAY, "the gateway's address and pin, in JSON")
    }

    /// Keeps the gateway for later starts.
    ///
    /// # Errors
    /// The disk.
    pub fn keep_gateway(&self, facts: &GatewayFacts) -> Result<(), StoreError> {
        self.write_json(GATEWAY, facts)
    }

    /// The profiles of the registrations.
    ///
    /// # Errors
    /// The disk, or a damaged file.
    pub fn profiles(&self) -> Result<Option<StoredProfiles>, StoreError> {
        self.read_json(PROFILES, "the profiles of the registrations, in JSON")
    }

    /// Keeps the profiles of the registrations.
    ///
    /// # Errors
    /// The disk.
    pub fn keep_profiles(&self, profiles: &StoredProfiles) -> Result<(), StoreError> {
        self.write_json(PROFILES, profiles)
    }

    /// The networks in which HTTP/2 was needed.
    ///
    /// # Errors
    /// The disk, or a damaged file.
    pub(super) fn narrow(&self) -> Result<Option<Narrow>, StoreError> {
        self.read_json(NETWORKS, "networks and times, in JSON")
    }

    /// Keeps the networks in which HTTP/2 was needed.
    ///
    /// # Errors
    /// The disk.
    pub(super) fn keep_narrow(&self, narrow: &Narrow) -> Result<(), StoreError> {
        self.write_json(NETWORKS, narrow)
    }

    fn read_json<T: serde::de::DeserializeOwned>(
        &self,
        name: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, StoreError> {
        let Some(json) = self.read(name)? else { return Ok(None) };
        serde_json::from_slice(&json).map(Some).map_err(|_| StoreError::Damaged { name, expected })
    }

    fn write_json(&self, name: &'static str, value: &impl Serialize) -> Result<(), StoreError> {
        let json = serde_json::to_vec(value).map_err(|cause| StoreError::Encode { name, cause })?;
        self.write(name, &json)
    }

    fn read(&self, name: &'static str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.vault.get(name).map_err(|cause| StoreError::Vault { action: "read", name, cause })
    }

    fn write(&self, name: &'static str, bytes: &[u8]) -> Result<(), StoreError> {
        self.vault.put(name, bytes).map_err(|cause| StoreError::Vault { action: "write", name, cause })
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

#[cfg(test)]
mod tests;
