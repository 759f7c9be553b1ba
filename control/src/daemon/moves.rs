//! The device changes network: its gateway is told at once.

use super::tunnel::GATEWAY;
use std::net::IpAddr;
use vestibule_platform::netcfg::{source_towards, watch};
use vestibule_platform::runtime::Handle;

/// Watches the host's network, and has the packet worker tell its gateway when what it sends leaves with another address
/// than before. Without a watch, the gateway hears of it by the next packet.
pub(super) fn follow(worker: Handle) {
    let mut last = None;
    let watched = watch(move || {
        let asked = worker.with(|engine, _| engine.peer_statistics(GATEWAY)?.endpoint);
        let Ok(gateway) = asked else { return false };
        let moved = gateway.and_then(source_towards).is_some_and(|now| has_moved(&mut last, now));
        !moved || {
            tracing::info!("the way to the gateway has changed");
            worker.post(|engine, now| engine.network_changed(now)).is_ok()
        }
    });
    if let Err(error) = watched {
        tracing::warn!(%error, "changes of the network are not watched");
    }
}

/// Notes where we are now; true when it is not known to be where we were.
fn has_moved(last: &mut Option<IpAddr>, now: IpAddr) -> bool {
    last.replace(now) != Some(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stays_has_not_moved_and_who_was_not_seen_before_may_have() {
        let (home, away) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([198, 51, 100, 1]));
        let mut last = None;
        let seen = [home, home, away, away, home].map(|now| has_moved(&mut last, now));
        assert_eq!(seen, [true, false, true, false, true]);
    }
}
