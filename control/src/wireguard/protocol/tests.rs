#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;
use std::time::{Duration, UNIX_EPOCH};

const SECRET: &str = "e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a";
const PEER: &str = "b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33";

fn parse(text: &str) -> Result<Changes, RequestError> {
    let mut parser = SetParser::new(|name| (name == "eth0").then_some(2));
    text.split('\n').filter(|line| !line.is_empty()).for_each(|line| parser.line(line.as_bytes()));
    parser.finish()
}

fn secret(key: Option<KeyChange>) -> Option<[u8; 32]> {
    key.and_then(KeyChange::into_key).map(|key| *key.expose())
}

#[test]
fn the_protocols_own_example_is_read_whole() {
    let changes = parse(&format!(
        "private_key={SECRET}\nfwmark=0\nlisten_port=12912\nreplace_peers=true\n\
         public_key={PEER}\npreshared_key={SECRET}\nreplace_allowed_ips=true\nallowed_ip=192.168.4.4/32\n\
         endpoint=[abcd:23::33%2]:51820\n\
         public_key={SECRET}\nprotocol_version=1\nupdate_only=true\nallowed_ip=-192.168.4.10/16\nendpoint=182.122.22.19:3233\n\
         persistent_keepalive_interval=111\n\
         public_key={SECRET}\nremove=true"
    ))
    .unwrap();
    assert!(matches!(&changes.private_key, Some(KeyChange::Set(key)) if hex::encode(key.expose()) == SECRET));
    assert_eq!((changes.fwmark, changes.listen_port, changes.replace_peers), (Some(0), Some(12912), true));
    let [first, second, third] = &changes.peers[..] else { panic!("{:?}", changes.peers) };
    assert_eq!(hex::encode(first.public_key.0), PEER);
    assert!(first.preshared_key.is_some() && first.replace_allowed_ips && !first.remove);
    assert_eq!(first.allowed_ips, [AllowedIp::Add("192.168.4.4/32".parse().unwrap())]);
    assert_eq!(first.endpoint, Some("[abcd:23::33%2]:51820".parse().unwrap()));
    assert!(second.update_only && second.preshared_key.is_none());
    assert_eq!(second.allowed_ips, [AllowedIp::Remove("192.168.0.0/16".parse().unwrap())]);
    assert_eq!(second.persistent_keepalive, Some(111));
    assert!(third.remove);
}

#[test]
fn zeros_remove_a_secret_and_names_are_scopes() {
    let zeros = "0".repeat(64);
    let changes = parse(&format!("private_key={zeros}\npublic_key={PEER}\nendpoint=[fe80::1%eth0]:7")).unwrap();
    assert!(matches!(changes.private_key, Some(KeyChange::Remove)));
    assert_eq!(changes.peers[0].endpoint, Some("[fe80::1%2]:7".parse().unwrap()));
    assert!(parse(&format!("public_key={PEER}\nendpoint=[fe80::1%eth9]:7")).is_err());
}

#[test]
fn a_later_replacement_forgets_what_the_same_request_said_before() {
    let text = format!("public_key={PEER}\nallowed_ip=10.0.0.1/32\nreplace_allowed_ips=true\nallowed_ip=10.0.0.2/32");
    assert_eq!(parse(&text).unwrap().peers[0].allowed_ips, [AllowedIp::Add("10.0.0.2/32".parse().unwrap())]);
}

#[test]
fn a_bad_line_refuses_the_whole_with_its_number_and_its_name() {
    let peer = format!("public_key={PEER}\n");
    for (text, errno, said) in [
        ("listen_port=65536".into(), 22, "listen_port=65536"),
        ("listen_port=+1".into(), 22, "listen_port=+1"),
        ("listen_port=".into(), 22, "listen_port="),
        ("fwmark=4294967296".into(), 22, "fwmark=4294967296"),
        ("fwmark=0x1".into(), 22, "fwmark=0x1"),
        ("replace_peers=false".into(), 22, "replace_peers=false"),
        ("persistent_keepalive_interval=1".into(), 22, "\"persistent_keepalive_interval\" of an interface"),
        ("nonsense".into(), 71, "key=value"),
        ("public_key=abcd".into(), 22, "public_key=abcd"),
        (peer.clone() + "listen_port=1", 22, "\"listen_port\" of a peer"),
        (peer.clone() + "endpoint=example.com:1", 22, "endpoint=example.com:1"),
        (peer.clone() + "endpoint=1.2.3.4", 22, "endpoint=1.2.3.4"),
        (peer.clone() + "endpoint=[::1]:65536", 22, "endpoint=[::1]:65536"),
        (peer.clone() + "allowed_ip=10.0.0.0", 22, "allowed_ip=10.0.0.0"),
        (peer.clone() + "allowed_ip=10.0.0.0/33", 22, "allowed_ip=10.0.0.0/33"),
        (peer.clone() + "allowed_ip=--10.0.0.0/8", 22, "allowed_ip=--10.0.0.0/8"),
        (peer.clone() + "persistent_keepalive_interval=off", 22, "persistent_keepalive_interval=off"),
        (peer.clone() + "protocol_version=2", 22, "protocol_version=2"),
        (peer.clone() + "remove=1", 22, "remove=1"),
        (peer.clone() + "update_only=yes", 22, "update_only=yes"),
    ] {
        // Sound lines around it change nothing.
        let error = parse(&format!("listen_port=1\n{text}\nfwmark=nonsense")).unwrap_err();
        assert_eq!(error.errno(), errno, "{text}");
        let line = 1 + text.lines().count();
        let display = error.to_string();
        assert!(display.contains(said) && display.starts_with(&format!("line {line}")), "{text}: {display}");
    }
}

#[test]
fn no_error_repeats_a_secret() {
    let almost = &SECRET[..63];
    for text in [
        format!("private_key={almost}"),
        format!("private_key={SECRET}0"),
        format!("public_key={PEER}\npreshared_key={almost}g"),
        format!("private_keys={SECRET}"),
        SECRET.to_owned(),
        format!("{SECRET}=x"),
        format!("x{}", SECRET.repeat(20)),
    ] {
        let error = parse(&text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(&SECRET[..16]), "{error}");
    }
    let word = "abcdefghijklmnop".repeat(4);
    assert!(!parse(&format!("{word}=")).unwrap_err().to_string().contains(&word[..16]));
    assert!(!format!("{:?}", parse(&format!("private_key={SECRET}"))).contains(&SECRET[..16]));
}

#[test]
fn strange_text_is_shown_short_and_escaped() {
    let error = parse(&format!("listen_port=\u{1b}[31m{}", "9".repeat(500))).unwrap_err().to_string();
    assert!(error.len() < 200 && error.contains("\\u{1b}") && error.contains("..."), "{error}");
}

#[test]
fn a_line_that_is_too_long_is_a_breach_of_protocol() {
    let mut parser = SetParser::new(|_| None);
    parser.line(b"listen_port=1");
    parser.too_long();
    assert_eq!(parser.finish().unwrap_err(), RequestError::TooLong { line: 2 });
    assert_eq!(parse(&"a".repeat(MAX_LINE + 1)).unwrap_err().errno(), 71);
}

#[test]
fn an_answer_holds_everything_and_ends_in_its_status() {
    let (private_key, preshared_key) = (PrivateKey::new([1; 32]), PrivateKey::new([2; 32]));
    let peer = |endpoint: Option<&str>, preshared_key| PeerView {
        public_key: PublicKey([3; 32]),
        preshared_key,
        endpoint: endpoint.map(|text| text.parse().unwrap()),
        // Windows counts in steps of 100 ns.
        last_handshake: endpoint.map(|_| UNIX_EPOCH + Duration::new(5, 600)),
        tx_bytes: 7,
        rx_bytes: 8,
        persistent_keepalive: 9,
        allowed_ips: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/64".parse().unwrap()],
    };
    let peers = vec![peer(Some("[2001:db8::1]:5"), Some(&preshared_key)), peer(None, None)];
    let text = render(&View { private_key: Some(&private_key), listen_port: 51820, fwmark: 3, peers });
    let common =
        "tx_bytes=7\nrx_bytes=8\npersistent_keepalive_interval=9\nallowed_ip=10.0.0.0/8\nallowed_ip=fd00::/64\n";
    let expected = format!(
        "private_key={}\nlisten_port=51820\nfwmark=3\n\
         public_key={public}\npreshared_key={}\nprotocol_version=1\nendpoint=[2001:db8::1]:5\n\
         last_handshake_time_sec=5\nlast_handshake_time_nsec=600\n{common}\
         public_key={public}\npreshared_key={}\nprotocol_version=1\n\
         last_handshake_time_sec=0\nlast_handshake_time_nsec=0\n{common}",
        "01".repeat(32),
        "02".repeat(32),
        "00".repeat(32),
        public = "03".repeat(32),
    );
    assert_eq!(*text, expected);
    let empty = render(&View { private_key: None, listen_port: 1, fwmark: 0, peers: vec![] });
    assert_eq!(*empty, "listen_port=1\n");
    assert_eq!((status(0), status(22)), ("errno=0\n\n".into(), "errno=-22\n\n".into()));
}

fn lines() -> impl Strategy<Value = Vec<u8>> {
    let keys = prop::sample::select(vec![
        "private_key",
        "listen_port",
        "fwmark",
        "replace_peers",
        "public_key",
        "remove",
        "update_only",
        "preshared_key",
        "endpoint",
        "persistent_keepalive_interval",
        "replace_allowed_ips",
        "allowed_ip",
        "protocol_version",
        "errno",
        "",
    ]);
    let values = prop_oneof![
        Just("true".to_owned()),
        Just(SECRET.to_owned()),
        Just("0".repeat(64)),
        any::<u32>().prop_map(|number| number.to_string()),
        any::<u16>().prop_map(|number| number.to_string()),
        any::<SocketAddr>().prop_map(|address| address.to_string()),
        (any::<std::net::IpAddr>(), 0_u8..140, any::<bool>())
            .prop_map(|(ip, len, minus)| format!("{}{ip}/{len}", if minus { "-" } else { "" })),
        ".{0,80}",
    ];
    prop_oneof![
        8 => (keys, values).prop_map(|(key, value)| format!("{key}={value}").into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..1100),
    ]
}

proptest! {
    /// Whatever comes: never a panic, and never a request that was taken in part.
    #[test]
    fn any_lines_are_taken_or_refused_as_a_whole(lines in prop::collection::vec(lines(), 0..20)) {
        let mut parser = SetParser::new(|_| None);
        lines.iter().for_each(|line| parser.line(line));
        let alone: Vec<_> = (1..=lines.len())
            .map(|count| {
                let mut parser = SetParser::new(|_| None);
                lines[..count].iter().for_each(|line| parser.line(line));
                parser.finish().is_ok()
            })
            .collect();
        let outcome = parser.finish();
        // A prefix that fails makes every longer one fail, with the same line to blame.
        prop_assert_eq!(outcome.is_ok(), alone.iter().all(|ok| *ok));
        prop_assert!(alone.windows(2).all(|pair| pair[0] || !pair[1]));
        if let Err(error) = outcome {
            let line = 1 + alone.iter().position(|ok| !ok).unwrap();
            prop_assert!(error.to_string().starts_with(&format!("line {line}")), "{}", error);
        }
    }

    /// What is told can be set again, and then is the same.
    #[test]
    fn a_peer_that_is_told_reads_back(
        endpoint in any::<SocketAddr>(),
        keepalive in any::<u16>(),
        public in any::<[u8; 32]>(),
        preshared in any::<[u8; 32]>(),
        nets in prop::collection::vec((any::<std::net::IpAddr>(), 0_u8..=32), 0..5),
    ) {
        let endpoint = match endpoint {
            // The protocol has no flow labels.
            SocketAddr::V6(v6) => SocketAddr::V6(std::net::SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id())),
            v4 @ SocketAddr::V4(_) => v4,
        };
        let allowed: Vec<IpNet> = nets.iter().map(|(ip, len)| IpNet::new(*ip, *len).unwrap().trunc()).collect();
        let preshared_key = PrivateKey::new(preshared);
        let view = View {
            private_key: None,
            listen_port: 1,
            fwmark: 0,
            peers: vec![PeerView {
                public_key: PublicKey(public),
                preshared_key: Some(&preshared_key),
                endpoint: Some(endpoint),
                last_handshake: None,
                tx_bytes: 0,
                rx_bytes: 0,
                persistent_keepalive: keepalive,
                allowed_ips: allowed.clone(),
            }],
        };
        let told = render(&view);
        let told: String = told.lines().filter(|line| !line.contains("_bytes=") && !line.starts_with("last_")).map(|line| format!("{line}\n")).collect();
        let mut changes = parse(&told).unwrap();
        let peer = changes.peers.pop().unwrap();
        prop_assert_eq!((peer.public_key.0, peer.endpoint, peer.persistent_keepalive), (public, Some(endpoint), Some(keepalive)));
        prop_assert_eq!(peer.allowed_ips, allowed.into_iter().map(AllowedIp::Add).collect::<Vec<_>>());
        prop_assert_eq!(secret(peer.preshared_key).unwrap_or_default(), preshared);
    }
}
