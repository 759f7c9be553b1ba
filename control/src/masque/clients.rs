//! Who may come, and with which addresses.

use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;
use vestibule_engine::generation::MasqueEnd;
use vestibule_engine::masque::request::Credentials;

/// What a client proves itself by. Each proof is one client: a second connection with it takes the first one's place.
#[derive(Clone, Debug)]
pub enum ClientProof {
    /// A token or a password.
    Secret(Credentials),
    /// The key of its certificate, by its name.
    Key([u8; 32]),
    /// Nothing: whoever comes, as long as this place is free.
    Nothing,
}

/// A client with its place.
#[derive(Clone, Debug)]
pub struct Admission {
    /// What it proves itself by.
    pub proof: ClientProof,
    /// Its name in messages; says nothing of a secret.
    pub name: String,
    /// Its addresses, one of each prefix of the pool.
    pub addresses: Vec<IpNet>,
}

impl ClientProof {
    /// How the engine awaits it. `None`: credentials that are none.
    pub(super) fn end(&self) -> Option<MasqueEnd> {
        Some(match self {
            Self::Secret(credentials) => MasqueEnd::GatewayBySecret { digest: credentials.digest()? },
            Self::Key(client_key) => MasqueEnd::Gateway { client_key: *client_key },
            Self::Nothing => MasqueEnd::GatewayForAnybody,
        })
    }
}

/// Why addresses cannot be given out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// Too few addresses.
    #[error("{pool} has too few addresses for this host and {clients} clients: use a shorter prefix")]
    TooSmall {
        /// The prefix.
        pool: IpNet,
        /// How many want one.
        clients: usize,
    },
    /// Two prefixes of one version.
    #[error("{0} and {1} are of one IP version: give one prefix of each")]
    Twice(IpNet, IpNet),
    /// The same client twice.
    #[error("{0} and {1} prove themselves by the same: give each client a secret of its own")]
    Same(String, String),
}

/// The `number`th host of a prefix; the 0th is this host's own.
fn host(pool: IpNet, number: usize) -> Option<IpAddr> {
    match pool {
        IpNet::V4(v4) => v4.hosts().nth(number).map(IpAddr::V4),
        IpNet::V6(v6) => {
            let address = u128::from(v6.network()).checked_add(u128::try_from(number).ok()? + 1)?;
            Some(IpAddr::V6(address.into())).filter(|address| pool.contains(address))
        }
    }
}

/// This host's own addresses in the tunnel, with the length of their network.
pub(super) fn own_addresses(pools: &[IpNet]) -> Result<Vec<IpNet>, PoolError> {
    if let [first, second] = pools
        && first.addr().is_ipv4() == second.addr().is_ipv4()
    {
        return Err(PoolError::Twice(*first, *second));
    }
    let own = |pool: &IpNet| {
        let address = host(*pool, 0).and_then(|address| IpNet::new(address, pool.prefix_len()).ok());
        address.ok_or(PoolError::TooSmall { pool: *pool, clients: 0 })
    };
    pools.iter().map(own).collect()
}

/// Gives every client its addresses, in order: the same at every start, as long as no client is added before it.
pub(super) fn admit(proofs: Vec<ClientProof>, pools: &[IpNet]) -> Result<Vec<Admission>, PoolError> {
    let clients = proofs.len();
    let (mut tokens, mut places) = (0, 0);
    let mut admitted: Vec<Admission> = Vec::with_capacity(clients);
    for (number, proof) in proofs.into_iter().enumerate() {
        let name = match &proof {
            ClientProof::Secret(Credentials::Basic { user, .. }) => user.clone(),
            ClientProof::Secret(_) => {
                tokens += 1;
                format!("token {tokens}")
            }
            ClientProof::Key(id) => format!("key {}", hex::encode(&id[..4])),
            ClientProof::Nothing => {
                places += 1;
                format!("guest {places}")
            }
        };
        if let Some(same) = admitted.iter().find(|other| other.proof.is(&proof)) {
            return Err(PoolError::Same(same.name.clone(), name));
        }
        let address =
            |pool: &IpNet| host(*pool, number + 1).map(IpNet::from).ok_or(PoolError::TooSmall { pool: *pool, clients });
        admitted.push(Admission { addresses: pools.iter().map(address).collect::<Result<_, _>>()?, name, proof });
    }
    Ok(admitted)
}

impl ClientProof {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Secret(one), Self::Secret(other)) => one.digest() == other.digest(),
            (Self::Key(one), Self::Key(other)) => one == other,
            _ => false,
        }
    }
}

impl fmt::Display for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<_> = self.addresses.iter().map(|address| address.addr().to_string()).collect();
        write!(f, "{} ({})", self.name, addresses.join(", "))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use zeroize::Zeroizing;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn bearer(token: &str) -> ClientProof {
        ClientProof::Secret(Credentials::Bearer(Zeroizing::new(token.to_owned())))
    }

    #[test]
    fn the_first_host_is_ours_and_clients_get_the_next_in_order() {
        let pools = [net("10.9.0.0/29"), net("fd00:9::/64")];
        assert_eq!(own_addresses(&pools).unwrap(), [net("10.9.0.1/29"), net("fd00:9::1/64")]);
        let basic = Credentials::Basic { user: "alice".into(), password: Zeroizing::new("hush".into()) };
        let proofs =
            vec![bearer("hush"), ClientProof::Secret(basic), ClientProof::Key([0xab; 32]), ClientProof::Nothing];
        let admitted = admit(proofs, &pools).unwrap();
        let shown: Vec<_> = admitted.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "token 1 (10.9.0.2, fd00:9::2)",
                "alice (10.9.0.3, fd00:9::3)",
                "key abababab (10.9.0.4, fd00:9::4)",
                "guest 1 (10.9.0.5, fd00:9::5)"
            ]
        );
        assert!(!format!("{admitted:?}").contains("hush"));
        assert_eq!(admitted[0].addresses, [net("10.9.0.2/32"), net("fd00:9::2/128")]);
    }

    #[test]
    fn a_pool_must_have_room() {
        let pool = net("10.9.0.0/30");
        assert!(admit(vec![ClientProof::Nothing], &[pool]).is_ok());
        let error = admit(vec![ClientProof::Nothing, ClientProof::Nothing], &[pool]).unwrap_err();
        assert_eq!(error, PoolError::TooSmall { pool, clients: 2 });
        let twice = [net("10.9.0.0/24"), net("10.8.0.0/24")];
        assert_eq!(own_addresses(&twice), Err(PoolError::Twice(twice[0], twice[1])));
        assert!(admit(vec![ClientProof::Nothing], &[net("fd00::/128")]).is_err());
    }

    #[test]
    fn two_clients_with_one_secret_are_refused() {
        let error = admit(vec![bearer("a"), bearer("b"), bearer("a")], &[net("10.9.0.0/24")]).unwrap_err();
        assert_eq!(error, PoolError::Same("token 1".to_owned(), "token 3".to_owned()));
    }
}
