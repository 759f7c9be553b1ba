//! The constants of the WireGuard paper's section 6.1, and the few that it leaves to us.

use std::time::Duration;

/// After so many messages under one key, new ones are asked for.
pub(crate) const REKEY_AFTER_MESSAGES: u64 = 1 << 60;
/// No message is sealed or opened with this counter or a later one.
pub(crate) const REJECT_AFTER_MESSAGES: u64 = u64::MAX - (1 << 13);
/// The initiator of keys of this age asks for new ones when it sends.
pub(crate) const REKEY_AFTER_TIME: Duration = Duration::from_secs(120);
/// Keys of this age are of no use any more.
pub(crate) const REJECT_AFTER_TIME: Duration = Duration::from_secs(180);
/// For so long a handshake is tried again and again before it is given up.
pub(crate) const REKEY_ATTEMPT_TIME: Duration = Duration::from_secs(90);
/// The pause between two initiations,
pub(crate) const REKEY_TIMEOUT: Duration = Duration::from_secs(5);
/// and what chance adds to it at most, so that two ends do not begin together for ever.
pub(crate) const JITTER: Duration = Duration::from_millis(333);
/// Who has received data and sent nothing for so long tells that it lives.
pub(crate) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Who has sent data and heard nothing for so long begins a new handshake.
pub(crate) const SILENCE: Duration = KEEPALIVE_TIMEOUT.saturating_add(REKEY_TIMEOUT);
/// The initiator of keys of this age asks for new ones also when it only receives.
pub(crate) const LAST_MINUTE: Duration = REJECT_AFTER_TIME.saturating_sub(SILENCE);
/// Without new keys for so long everything is forgotten.
pub(crate) const ZERO_AFTER: Duration = REJECT_AFTER_TIME.saturating_mul(3);
/// A cookie is good for so long, and so is the secret that it was made with.
pub(crate) const COOKIE_TIME: Duration = Duration::from_secs(120);
/// Packets, and bytes, that wait for a session at most; older ones give way.
pub(crate) const WAITING_PACKETS: usize = 128;
/// See [`WAITING_PACKETS`].
pub(crate) const WAITING_BYTES: usize = 256 * 1024;

/// A device renews its keys at this age, with or without traffic, so that the gateway can always reach it. Sooner than
/// the paper's 120 s: a gateway on boringtun that hears nothing for 15 s begins a handshake by itself, which is never
/// sent and wipes every key 90 s later unless the device has initiated by then.
pub(crate) const RENEW_AFTER: Duration = Duration::from_secs(100);
/// A device's first pause between two attempts to renew keys that are still of use; [`REKEY_TIMEOUT`] later.
pub(crate) const RENEW_SOON: Duration = Duration::from_secs(1);
/// A device without keys tries again after this pause, which doubles up to [`RETRY_MAX`].
pub(crate) const RETRY_MIN: Duration = Duration::from_millis(750);
/// See [`RETRY_MIN`].
pub(crate) const RETRY_MAX: Duration = Duration::from_secs(3);
