//! Lockdown, with the daemon's option `--lockdown`: from its start on nothing leaves the host but through the tunnel.
//!
//! It is not taken back when the daemon ends, however that is: `vestibule lockdown lift` does, and a start without the
//! option. What was lifted by hand stays so until the next start.

use ipnet::IpNet;
use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
};
use vestibule_platform::lockdown::{Allowed, Lockdown, LockdownError};

/// A lockdown that follows the gateway's addresses.
pub(super) struct Guard {
    system: Box<dyn Lockdown>,
    allowed: Mutex<Allowed>,
}

impl Guard {
    /// Closes the network but for the tunnel's `interface`, this program, and the way to `gateways`.
    ///
    /// # Errors
    /// See [`LockdownError`].
    pub(super) fn engage(
        system: Box<dyn Lockdown>,
        interface: &str,
        gateways: &[IpAddr],
    ) -> Result<Self, LockdownError> {
        let allowed = Allowed {
            interface: Some(interface.to_owned()),
            program: std::env::current_exe().ok(),
            gateways: networks(gateways),
            names: true,
        };
        system.engage(&allowed)?;
        tracing::info!("lockdown: nothing leaves this host but through the tunnel, until `vestibule lockdown lift`");
        Ok(Self { system, allowed: Mutex::new(allowed) })
    }

    /// The gateway is reached at these addresses from now on.
    pub(super) fn follow(&self, gateways: &[IpAddr]) {
        let mut allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        let gateways = networks(gateways);
        if gateways.is_empty() || allowed.gateways == gateways {
            return;
        }
        allowed.gateways = gateways;
        let followed = match self.system.is_engaged() {
            Ok(true) => self.system.engage(&allowed),
            Ok(false) => {
                tracing::warn!("the lockdown was lifted by hand, and stays so until the daemon starts again");
                Ok(())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = followed {
            tracing::warn!(%error, "the lockdown does not know the gateway's new addresses");
        }
    }
}

/// Opens a network that an earlier start with the option has closed.
pub(super) fn release(system: &dyn Lockdown) {
    match system.is_engaged() {
        Ok(true) => match system.lift() {
            Ok(_) => tracing::info!("the lockdown of an earlier start is lifted: this one is without `--lockdown`"),
            Err(error) => tracing::warn!(%error, "the lockdown of an earlier start was not lifted"),
        },
        Ok(false) => {}
        // Wherever there is none to be had.
        Err(LockdownError::Unsupported(_)) => {}
        Err(error) => tracing::warn!(%error, "whether a lockdown of an earlier start stands is not known"),
    }
}

fn networks(addresses: &[IpAddr]) -> Vec<IpNet> {
    addresses.iter().map(|address| IpNet::from(address.to_canonical())).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use vestibule_platform::lockdown::memory::Recorder;

    #[test]
    fn it_follows_the_gateway_until_it_is_lifted_by_hand() {
        let host = Recorder::default();
        let [first, second, third] = [[192, 0, 2, 1], [192, 0, 2, 2], [192, 0, 2, 3]].map(IpAddr::from);
        let guard = Guard::engage(Box::new(host.clone()), "vestibule0", &[first]).unwrap();
        let gateways = || host.current().map(|allowed| allowed.gateways);
        assert_eq!(gateways(), Some(vec![IpNet::from(first)]));
        assert_eq!(host.current().unwrap().interface.as_deref(), Some("vestibule0"));
        guard.follow(&[second]);
        assert_eq!(gateways(), Some(vec![IpNet::from(second)]));
        // Nothing known is no news: the host would shut its gateway out.
        guard.follow(&[]);
        assert_eq!(gateways(), Some(vec![IpNet::from(second)]));
        assert!(host.lift().unwrap());
        guard.follow(&[third]);
        assert_eq!(gateways(), None, "an administrator's word counts");
    }

    #[test]
    fn it_outlives_the_daemon_and_ends_with_a_start_without_the_option() {
        let host = Recorder::default();
        drop(Guard::engage(Box::new(host.clone()), "vestibule0", &[]).unwrap());
        assert!(host.is_engaged().unwrap());
        release(&host);
        assert!(!host.is_engaged().unwrap());
        release(&host);
    }
}
