//! Names of the directory: a local resolver that the system asks while the tunnel is up.
//!
//! ```text
//! programs --> system's resolver --> Server --+-- under a fallback domain --> its servers, through the tunnel
//!                                             +-- everything else ----------> the servers the system asked before
//! ```
//!
//! [`start`] follows what the settings say: the resolver stands, and the system asks it, exactly while the tunnel carries
//! traffic and the profile names domains. The way into the tunnel is the host's routes, so that the gateway's rules judge
//! a question as they judge any packet.

mod exchange;
mod message;
mod routes;
mod server;
mod view;

pub use view::{DnsState, DnsView, DomainView};

use super::settings::Dns;
use crate::causes::chain;
use routes::{Routes, suffix};
use server::Server;
use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, task::JoinHandle};
use vestibule_platform::dns::{Applied, DnsError, ResolverConfig, SystemDns};

/// Where the resolver listens: the first of these that is free. The vendor's client takes the first, too.
const ADDRESSES: [Ipv4Addr; 4] = [
    Ipv4Addr::new(127, 0, 2, 2),
    Ipv4Addr::new(127, 0, 2, 3),
    Ipv4Addr::new(127, 0, 2, 4),
    Ipv4Addr::new(127, 0, 2, 5),
];
/// The only port that a system asks.
const PORT: u16 = 53;
/// Pause before a resolver that could not be set up is tried again.
const PAUSE: Duration = Duration::from_secs(5);

/// Why names are resolved as without the tunnel.
#[derive(Debug, thiserror::Error)]
enum ResolverError {
    #[error("the resolver has no address: {tried} is taken by another program, or this process may not use port 53")]
    Listen {
        tried: String,
        #[source]
        cause: io::Error,
    },
    #[error(transparent)]
    System(#[from] DnsError),
    #[error("setting the system's resolvers was interrupted")]
    Interrupted,
}

/// What the command line says.
#[derive(Clone, Debug)]
pub(super) struct Options {
    /// The tunnel's interface.
    pub(super) interface: String,
    /// Where to listen; else one of [`ADDRESSES`].
    pub(super) address: Option<IpAddr>,
}

/// How the resolver does. Clones look at the same.
#[derive(Clone, Default)]
pub(super) struct Watch(Arc<Mutex<Shown>>);

#[derive(Default)]
struct Shown {
    view: DnsView,
    applied: Option<Applied>,
}

impl Watch {
    /// For `vestibule status`.
    pub(super) fn view(&self) -> DnsView {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut view = shown.view.clone();
        if shown.applied.as_ref().is_some_and(|applied| !applied.in_place()) {
            view.state = DnsState::Displaced;
        }
        view
    }

    fn change<T>(&self, change: impl FnOnce(&mut Shown) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Takes back what a killed predecessor has left, and follows `told` until its sender is gone.
pub(super) fn start(
    system: Arc<dyn SystemDns>,
    options: Options,
    watch: Watch,
    told: watch::Receiver<Dns>,
) -> JoinHandle<()> {
    match system.recover() {
        Ok(true) => tracing::info!("the system's resolvers, which an earlier daemon had left changed, are back"),
        Ok(false) => {}
        Err(error) => tracing::warn!("the system's resolvers: {}", chain(&error)),
    }
    tokio::spawn(Resolver { system, options, watch, up: None }.run(told))
}

struct Resolver {
    system: Arc<dyn SystemDns>,
    options: Options,
    watch: Watch,
    up: Option<Up>,
}

/// A resolver that the system asks.
struct Up {
    server: Server,
    /// Whom the system asked before.
    former: Vec<IpAddr>,
    config: ResolverConfig,
}

impl Resolver {
    async fn run(mut self, mut told: watch::Receiver<Dns>) {
        loop {
            let dns = told.borrow_and_update().clone();
            let done = self.follow(&dns).await;
            if let Err(error) = &done {
                tracing::warn!("names of the fallback domains are not resolved: {}", chain(error));
                self.down().await;
                self.watch.change(|shown| {
                    (shown.view.state, shown.view.error) = (DnsState::Failed, Some(chain(error)));
                });
            }
            let again = tokio::time::sleep(PAUSE);
            tokio::select! {
                changed = told.changed() => if changed.is_err() { break },
                () = again, if done.is_err() => {}
            }
        }
        self.down().await;
    }

    async fn follow(&mut self, dns: &Dns) -> Result<(), ResolverError> {
        if !dns.connected || (dns.fallback_domains.is_empty() && dns.search_suffixes.is_empty()) {
            self.down().await;
            return Ok(());
        }
        let up = match self.up.take() {
            Some(up) => up,
            None => self.stand_up(dns).await?,
        };
        let up = self.up.insert(up);
        up.server.route(Routes::new(dns, &up.former));
        let (address, former) = (up.server.address(), up.former.clone());
        let config = ResolverConfig {
            interface: self.options.interface.clone(),
            servers: vec![address.ip()],
            domains: names(dns.fallback_domains.iter().map(|domain| domain.suffix.as_str())),
            search: names(dns.search_suffixes.iter().map(String::as_str)),
        };
        if up.config != config {
            up.config = config.clone();
            self.apply(config).await?;
        }
        self.watch.change(|shown| {
            let keeper = shown.applied.as_ref().map(|applied| applied.keeper().to_string());
            shown.view = view::up(dns, address, &former, keeper);
        });
        Ok(())
    }

    /// A server at a free address, that knows whom the system asks.
    async fn stand_up(&self, dns: &Dns) -> Result<Up, ResolverError> {
        let system = Arc::clone(&self.system);
        let former = tokio::task::spawn_blocking(move || system.servers()).await;
        let mut former = former.map_err(|_| ResolverError::Interrupted)??;
        let candidates = match self.options.address {
            Some(address) => vec![address],
            None => ADDRESSES.map(IpAddr::V4).to_vec(),
        };
        // A question that came back to us would go round for ever.
        former.retain(|server| !candidates.contains(server));
        let mut cause = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in &candidates {
            match Server::start(SocketAddr::new(*address, PORT), Routes::new(dns, &former)).await {
                Ok(server) => return Ok(Up { server, former, config: ResolverConfig::default() }),
                Err(error) => cause = error,
            }
        }
        let tried: Vec<_> = candidates.iter().map(|address| SocketAddr::new(*address, PORT).to_string()).collect();
        Err(ResolverError::Listen { tried: tried.join(", "), cause })
    }

    /// Makes the system ask as `config` says.
    async fn apply(&self, config: ResolverConfig) -> Result<(), ResolverError> {
        let (system, watch) = (Arc::clone(&self.system), self.watch.clone());
        let applying = tokio::task::spawn_blocking(move || {
            let applied = match watch.change(|shown| shown.applied.take()) {
                Some(mut applied) => applied.change(&config).map(|()| applied)?,
                None => system.apply(&config)?,
            };
            watch.change(|shown| shown.applied = Some(applied));
            Ok::<(), DnsError>(())
        });
        Ok(applying.await.map_err(|_| ResolverError::Interrupted)??)
    }

    /// The system asks as before. The server goes last, so that no question meets a closed port.
    async fn down(&mut self) {
        let up = self.up.take();
        let applied = self.watch.change(|shown| shown.applied.take());
        if let Some(applied) = applied {
            match tokio::task::spawn_blocking(move || applied.revert()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!("the system's resolvers were not taken back: {}", chain(&error)),
                Err(_) => tracing::warn!("taking the system's resolvers back was interrupted"),
            }
        }
        // Told when it is true.
        self.watch.change(|shown| *shown = Shown::default());
        drop(up);
    }
}

/// Suffixes as systems write them: without the dot at their end.
fn names<'a>(suffixes: impl Iterator<Item = &'a str>) -> Vec<String> {
    suffixes.filter_map(|text| Some(suffix(text)?.to_ascii().trim_end_matches('.').to_owned())).collect()
}

#[cfg(test)]
mod tests;
