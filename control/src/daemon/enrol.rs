//! Enrolment: from a proof to a registration that belongs to this device.

use super::{
    device_key::{DeviceKey, DeviceKeyError},
    remote::{Gateway, Meaning, Proof, RemoteError, Secret},
};
use crate::{
    api::device::{DeviceFacts, EnrolRequest, RegistrationInfo, enrol_message},
    crypto::{RandomError, random},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use vestibule_engine::generation::PrivateKey;

/// This device.
#[derive(Debug)]
pub struct Device {
    /// Signs for it.
    pub key: DeviceKey,
    /// What it says of itself.
    pub facts: DeviceFacts,
}

/// A new registration.
#[derive(Clone, Debug)]
pub struct Enrolled {
    /// What it is.
    pub registration: RegistrationInfo,
    /// Its bearer secret.
    pub bearer: Secret,
}

/// Why there is no registration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrolError {
    /// The gateway is away or said no.
    #[error("enrolment failed")]
    Remote(#[from] RemoteError),
    /// The gateway gave a registration of something else than was asked for.
    #[error("the gateway gave a registration of {got}: expected {expected}")]
    Mismatch {
        /// Asked for.
        expected: String,
        /// Given.
        got: String,
    },
    /// The device key failed.
    #[error(transparent)]
    Key(#[from] DeviceKeyError),
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl EnrolError {
    /// What the gateway's refusal means; [`Meaning::Other`] when it was none.
    #[must_use]
    pub fn meaning(&self) -> Meaning {
        match self {
            Self::Remote(error) => error.meaning(),
            _ => Meaning::Other,
        }
    }
}

/// A fresh tunnel key.
///
/// # Errors
/// The system's random generator failed.
pub fn fresh_key() -> Result<PrivateKey, RandomError> {
    Ok(PrivateKey::new(random()?))
}

impl Device {
    /// Asks `gateway` for a registration in `organization`.
    ///
    /// # Errors
    /// See [`EnrolError`].
    pub async fn enrol(
        &self,
        gateway: &impl Gateway,
        organization: &str,
        proof: &Proof,
    ) -> Result<Enrolled, EnrolError> {
        let nonce = gateway.nonce().await?.nonce;
        let garbled = || RemoteError::Garbled {
            call: "POST /vestibule/v1/nonce".into(),
            expected: "base64",
            got: "something else".into(),
        };
        let nonce_bytes = BASE64_STANDARD.decode(&nonce).map_err(|_| garbled())?;
        // Every connection orders its own fresh key; this one only binds the enrolment.
        let tunnel = fresh_key()?.public().0;
        let request = EnrolRequest {
            organization: organization.to_owned(),
            nonce,
            device_public_key: self.key.public(),
            tunnel_public_key: BASE64_STANDARD.encode(tunnel),
            signature: self.key.sign(&enrol_message(&nonce_bytes, &tunnel)).await?,
            device: self.facts.clone(),
        };
        let response = gateway.enrol(proof, &request).await?;
        let registration = response.registration;
        let bearer = Secret::new(response.token);
        let wanted = (self.key.device_id(), organization.to_lowercase());
        if (&registration.device_id, &registration.organization.to_lowercase()) != (&wanted.0, &wanted.1) {
            return Err(EnrolError::Mismatch {
                expected: format!("device {} in {}", wanted.0, wanted.1),
                got: format!("device {} in {}", registration.device_id, registration.organization),
            });
        }
        Ok(Enrolled { registration, bearer })
    }
}
