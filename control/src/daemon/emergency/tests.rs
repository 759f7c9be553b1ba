#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::mdm;
use axum::{Router, http::StatusCode, routing::get};
use axum_server::tls_rustls::RustlsConfig;
use rustls::pki_types::CertificateDer;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{sync::mpsc, time::timeout};

struct Room(PathBuf);

impl Room {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("vestibule-emergency-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        Self(directory)
    }

    fn mdm(&self) -> PathBuf {
        self.0.join("mdm.xml")
    }

    fn say(&self, content: &str) {
        std::fs::write(self.0.join("emergency_disconnect.json"), content).unwrap();
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn nobody(remote: Remote) -> JoinHandle<()> {
    panic!("{remote:?} is asked")
}

fn with_file() -> Sources {
    Sources { file: true, remote: None }
}

fn some_remote() -> Sources {
    let pin = "ab".repeat(32).parse().unwrap();
    Sources { file: false, remote: Some(Remote { url: "https://192.0.2.1/".into(), pin, interval: INTERVAL }) }
}

#[tokio::test]
async fn the_file_engages_and_what_cannot_be_read_changes_nothing() {
    let room = Room::new("file");
    let mut emergency = Emergency::new(&room.mdm(), false);
    emergency.configure(with_file(), nobody);
    assert_eq!(emergency.news(), None, "a missing file is a clear one");
    let mut look = |content: &str| {
        room.say(content);
        emergency.look();
        emergency.news()
    };
    assert_eq!(look("{\"emergency_disconnect\": true}"), Some(true));
    for broken in ["", "{", "true", "{\"emergency_disconnect\": 0}", "{\"emergency_disconnect\"", "{}", "\0\0"] {
        assert_eq!(look(broken), None, "{broken:?}");
    }
    assert_eq!(look("{\"emergency_disconnect\": false, \"by\": \"anna\"}"), Some(false));
    for broken in ["{", "[]"] {
        assert_eq!(look(broken), None, "{broken:?}");
    }
    assert_eq!(look("{\"emergency_disconnect\": true}"), Some(true));
    std::fs::remove_file(room.0.join(FILE)).unwrap();
    emergency.look();
    assert_eq!(emergency.news(), Some(false));
    room.say("{\"emergency_disconnect\": true}");
    emergency.look();
    assert_eq!(emergency.news(), Some(true));
    emergency.configure(Sources::default(), nobody);
    assert_eq!(emergency.news(), Some(false), "the MDM file says that it does not count");
}

#[tokio::test]
async fn any_source_engages_and_all_must_be_clear() {
    let room = Room::new("any");
    let mut emergency = Emergency::new(&room.mdm(), false);
    emergency.configure(Sources { file: true, ..some_remote() }, |_| tokio::spawn(async {}));
    emergency.answered(true);
    assert_eq!(emergency.news(), Some(true));
    room.say("{\"emergency_disconnect\": true}");
    emergency.look();
    emergency.answered(false);
    assert_eq!(emergency.news(), None, "the file stands");
    room.say("{\"emergency_disconnect\": false}");
    emergency.look();
    assert_eq!(emergency.news(), Some(false));
}

#[tokio::test]
async fn after_a_restart_it_stands_until_the_address_says_otherwise_or_none_is_configured() {
    let room = Room::new("restart");
    let mut emergency = Emergency::new(&room.mdm(), true);
    emergency.configure(some_remote(), |_| tokio::spawn(async {}));
    assert_eq!(emergency.news(), None);
    assert_eq!(emergency.address(), Some("192.0.2.1".parse().unwrap()));
    emergency.answered(false);
    assert_eq!(emergency.news(), Some(false));
    let mut emergency = Emergency::new(&room.mdm(), true);
    emergency.configure(Sources::default(), nobody);
    assert_eq!(emergency.news(), Some(false));
    emergency.answered(true);
    assert_eq!(emergency.news(), None, "an answer that came too late");
}

#[test]
fn the_sources_are_those_of_the_first_entry() {
    let every = mdm::parse("mdm.xml", include_bytes!("../../mdm/testdata/every-key.xml")).unwrap();
    let sources = Sources::of(every.configs.first(), None);
    let remote = sources.remote.unwrap();
    assert!(sources.file);
    assert_eq!((remote.url.as_str(), remote.interval), ("https://203.0.113.9:8443/signal", Duration::from_secs(30)));
    assert!(remote.pin.to_string().starts_with("dcaf"));
    let flat = mdm::parse("mdm.xml", include_bytes!("../../mdm/testdata/flat.xml")).unwrap();
    assert_eq!(Sources::of(flat.configs.first(), None), Sources::default());
}

#[test]
fn what_the_organisation_says_counts_where_the_mdm_file_names_no_address() {
    let settings = OrganizationSettings {
        external_emergency_signal_enabled: true,
        external_emergency_signal_url: "https://192.0.2.1/vestibule/v1/emergency".into(),
        external_emergency_signal_fingerprint: "ab".repeat(32),
        external_emergency_signal_interval: "90s".into(),
        ..OrganizationSettings::default()
    };
    let remote = Sources::of(None, Some(&settings)).remote.unwrap();
    assert_eq!((remote.url.as_str(), remote.interval.as_secs()), ("https://192.0.2.1/vestibule/v1/emergency", 90));
    let every = mdm::parse("mdm.xml", include_bytes!("../../mdm/testdata/every-key.xml")).unwrap();
    let of_file = Sources::of(every.configs.first(), Some(&settings)).remote.unwrap();
    assert_eq!(of_file.url, "https://203.0.113.9:8443/signal");
    // A gateway that says nonsense is asked as seldom as it may, or not at all.
    for (field, interval) in [("1ms", 30), ("", 300), ("soon", 300)] {
        let settings = OrganizationSettings { external_emergency_signal_interval: field.into(), ..settings.clone() };
        assert_eq!(Sources::of(None, Some(&settings)).remote.unwrap().interval.as_secs(), interval, "{field}");
    }
    let off = |change: fn(&mut OrganizationSettings)| {
        let mut settings = settings.clone();
        change(&mut settings);
        assert_eq!(Sources::of(None, Some(&settings)), Sources::default());
    };
    off(|settings| settings.external_emergency_signal_enabled = false);
    off(|settings| settings.external_emergency_signal_fingerprint.clear());
    off(|settings| settings.external_emergency_signal_url = "https://signal.example/".into());
}

/// A TLS server that answers what the test last said: status and body.
async fn server(said: Arc<Mutex<(u16, String)>>) -> (SocketAddr, Pin) {
    crate::crypto::install_provider();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["signal.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    let pin = Pin::of(&CertificateDer::from(certificate.der().to_vec()));
    let tls = RustlsConfig::from_der(vec![certificate.der().to_vec()], key.serialize_der()).await.unwrap();
    let listener = std::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let answer = move || {
        let (status, body) = said.lock().unwrap().clone();
        async move { (StatusCode::from_u16(status).unwrap(), body) }
    };
    let routes = Router::new().route("/signal", get(answer));
    tokio::spawn(axum_server::from_tcp_rustls(listener, tls).unwrap().serve(routes.into_make_service()));
    (address, pin)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_is_asked_again_and_again_and_only_its_own_certificate_counts() {
    let said = Arc::new(Mutex::new((200, "{\"emergency_disconnect\": false}".to_owned())));
    let (address, pin) = server(said.clone()).await;
    let url = format!("https://{address}/signal");
    let (told, mut answers) = mpsc::unbounded_channel();
    let remote = Remote { url: url.clone(), pin, interval: Duration::from_millis(20) };
    let asking = tokio::spawn(poll(remote, move |engaged| told.send(engaged).is_ok()));
    assert_eq!(timeout(Duration::from_secs(10), answers.recv()).await.unwrap(), Some(false));
    said.lock().unwrap().1 = "{\"emergency_disconnect\": true}".into();
    timeout(Duration::from_secs(10), async { while answers.recv().await != Some(true) {} }).await.unwrap();
    // None of these is an answer: whatever came of them, the next that is one is the next that is told.
    let nothing = [
        (503, "{\"emergency_disconnect\": false}".to_owned()),
        (302, "{\"emergency_disconnect\": false}".to_owned()),
        (200, "{\"emergency_disconnect\": \"false\"}".to_owned()),
        (200, " ".repeat(200_000)),
    ];
    for answer in nothing {
        *said.lock().unwrap() = answer.clone();
        // What was under way when the answer changed.
        tokio::time::sleep(Duration::from_millis(100)).await;
        while answers.try_recv().is_ok() {}
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(answers.is_empty(), "{answer:?} was taken for a signal");
    }
    *said.lock().unwrap() = (200, "{\"emergency_disconnect\": true}".into());
    assert_eq!(timeout(Duration::from_secs(10), answers.recv()).await.unwrap(), Some(true));
    drop(answers);
    timeout(Duration::from_secs(10), asking).await.expect("goes on for nobody").unwrap();

    let (told, mut answers) = mpsc::unbounded_channel();
    let forged = Remote { url, pin: "ab".repeat(32).parse().unwrap(), interval: Duration::from_millis(20) };
    tokio::spawn(poll(forged, move |engaged| told.send(engaged).is_ok()));
    assert!(timeout(Duration::from_millis(300), answers.recv()).await.is_err(), "another certificate was believed");
}
