//! The device key's signatures.

use super::DeviceError;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use axum::http::StatusCode;

/// Checks an ECDSA P-256 SHA-256 signature (64 bytes, r ‖ s) by an uncompressed public point.
pub(super) fn verify(key: &[u8], message: &[u8], signature: &[u8; 64]) -> Result<(), DeviceError> {
    let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).map_err(|_| {
        let message = "`device_public_key` must be an uncompressed point of P-256 (65 bytes)";
        DeviceError::new(StatusCode::BAD_REQUEST, "malformed", message)
    })?;
    key.verify_sig(message, signature).map_err(|_| {
        let message =
            "the signature is not the device key's over this request: sign the nonce (or swap_seq) and tunnel key";
        DeviceError::unauthenticated("signature_invalid", message)
    })
}
