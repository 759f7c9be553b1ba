#![allow(clippy::unwrap_used)]

use super::*;
use crate::api::profile::FallbackDomain;
use std::time::Instant;
use vestibule_platform::dns::memory::Recorder;

fn dns(suffix: &str) -> Dns {
    let server = "10.20.0.10".parse().unwrap();
    let domain = FallbackDomain { suffix: suffix.into(), description: String::new(), dns_server: vec![server] };
    Dns {
        connected: true,
        fallback_domains: vec![domain],
        search_suffixes: vec!["corp.example".into()],
        auto_fallback: true,
    }
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within ten seconds");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Port 53 wants a privilege; without it the daemon's failure is what can be seen.
fn may_listen(address: IpAddr) -> bool {
    std::net::UdpSocket::bind((address, PORT)).is_ok()
}

#[tokio::test]
async fn the_system_asks_the_resolver_while_the_tunnel_is_up() {
    let own: IpAddr = "127.0.77.2".parse().unwrap();
    let former = "192.0.2.53".parse().unwrap();
    let (system, watch) = (Recorder::new(vec![former, own]), Watch::default());
    let (told, follow) = watch::channel(Dns::default());
    let options = Options { interface: "vestibule0".into(), address: Some(own) };
    let task = start(Arc::new(system.clone()), options, watch.clone(), follow);
    assert_eq!(watch.view().state, DnsState::Off);
    let able = may_listen(own);
    told.send(dns("Corp.Example.")).unwrap();
    if able {
        until("in force", || watch.view().state == DnsState::On).await;
        let config = system.current().unwrap();
        assert_eq!((&config.servers, &config.interface), (&vec![own], &"vestibule0".to_owned()));
        assert_eq!((config.domains, config.search), (vec!["corp.example".to_owned()], vec!["corp.example".to_owned()]));
        let view = watch.view();
        assert_eq!(view.system_servers, [former], "it would ask itself");
        // Another profile, live.
        told.send(dns("other.example")).unwrap();
        until("the other domain", || system.current().unwrap().domains == ["other.example"]).await;
        until("the other domain shown", || watch.view().fallback_domains[0].suffix == "other.example").await;
        // The tunnel goes down.
        told.send(Dns { connected: false, ..dns("other.example") }).unwrap();
        until("off", || watch.view().state == DnsState::Off).await;
        assert_eq!(system.current(), None);
        until("the address is free again", || std::net::UdpSocket::bind((own, PORT)).is_ok()).await;
        told.send(dns("corp.example")).unwrap();
        until("in force again", || watch.view().state == DnsState::On).await;
    } else {
        until("failed", || watch.view().state == DnsState::Failed).await;
        assert!(watch.view().error.unwrap().contains("127.0.77.2:53"));
    }
    // The daemon ends.
    drop(told);
    task.await.unwrap();
    assert_eq!(system.current(), None);
}

#[tokio::test]
async fn an_address_that_is_taken_is_told_and_tried_again() {
    let own: IpAddr = "127.0.77.3".parse().unwrap();
    let Ok(taken) = std::net::TcpListener::bind((own, PORT)) else { return };
    let (system, watch) = (Recorder::default(), Watch::default());
    let (told, follow) = watch::channel(dns("corp.example"));
    let options = Options { interface: "vestibule0".into(), address: Some(own) };
    let task = start(Arc::new(system.clone()), options, watch.clone(), follow);
    until("failed", || watch.view().state == DnsState::Failed).await;
    assert!(watch.view().error.unwrap().contains("127.0.77.3:53"));
    assert_eq!(system.current(), None);
    drop(taken);
    until("in force", || watch.view().state == DnsState::On).await;
    drop(told);
    task.await.unwrap();
}
