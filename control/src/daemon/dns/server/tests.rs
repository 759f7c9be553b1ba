#![allow(clippy::unwrap_used)]

use super::*;
use crate::daemon::dns::{
    message::tests::{answer as reply, query},
    routes::Servers,
};
use hickory_server::proto::{
    op::Message,
    rr::{Name, RecordType},
};
use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

/// What a stand-in name server does with a question: sends these messages.
type Behaviour = fn(&[u8]) -> Vec<Vec<u8>>;

/// A name server on both transports; ends with the test's runtime.
async fn name_server(behaviour: Behaviour) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let socket = UdpSocket::bind(address).await.unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; LONGEST];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            for message in behaviour(&buffer[..length]) {
                socket.send_to(&message, client).await.unwrap();
            }
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let asked = read_framed(&mut stream).await.unwrap();
            for message in behaviour(&asked) {
                write_framed(&mut stream, &message).await.unwrap();
            }
        }
    });
    address
}

/// A resolver with one domain, `corp.example`, and servers for the rest.
async fn resolver(corp: Vec<SocketAddr>, rest: Vec<SocketAddr>) -> Server {
    let zones = vec![(Name::from_ascii("corp.example.").unwrap(), Servers::new(corp))];
    Server::start((Ipv4Addr::LOCALHOST, 0).into(), Routes::of(zones, Servers::new(rest))).await.unwrap()
}

async fn over_udp(server: &Server, query: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.send_to(query, server.address()).await.unwrap();
    let mut buffer = vec![0; 65_535];
    let length = timeout(Duration::from_secs(10), socket.recv(&mut buffer)).await.unwrap().unwrap();
    buffer.truncate(length);
    buffer
}

async fn over_tcp(server: &Server, queries: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let mut answers = Vec::new();
    for query in queries {
        write_framed(&mut stream, query).await.unwrap();
        answers.push(timeout(Duration::from_secs(10), read_framed(&mut stream)).await.unwrap().unwrap());
    }
    answers
}

fn code(answer: &[u8]) -> ResponseCode {
    Message::from_vec(answer).unwrap().metadata.response_code
}

fn corp(asked: &[u8]) -> Vec<Vec<u8>> {
    vec![reply(asked, [10, 20, 0, 10], ResponseCode::NoError)]
}

fn elsewhere(asked: &[u8]) -> Vec<Vec<u8>> {
    vec![reply(asked, [192, 0, 2, 80], ResponseCode::NoError)]
}

#[tokio::test]
async fn each_question_goes_to_the_servers_of_its_domain_and_comes_back_byte_by_byte() {
    let server = resolver(vec![name_server(corp).await], vec![name_server(elsewhere).await]).await;
    let inside = query(7, "dc1.CORP.example.", RecordType::A);
    let outside = query(8, "www.example.", RecordType::A);
    assert_eq!(over_udp(&server, &inside).await, corp(&inside)[0]);
    assert_eq!(over_udp(&server, &outside).await, elsewhere(&outside)[0]);
    let both = over_tcp(&server, &[inside.clone(), outside.clone()]).await;
    assert_eq!(both, [corp(&inside)[0].clone(), elsewhere(&outside)[0].clone()]);
    // Other servers from now on.
    server.route(Routes::of(Vec::new(), Servers::new(vec![name_server(elsewhere).await])));
    assert_eq!(over_udp(&server, &inside).await, elsewhere(&inside)[0]);
}

#[tokio::test]
async fn what_is_not_known_here_passes_through_unharmed() {
    // An option and a record type nobody knows, behind the answer; and an answer larger than any datagram of old.
    fn odd(asked: &[u8]) -> Vec<Vec<u8>> {
        let mut answer = reply(asked, [10, 20, 0, 10], ResponseCode::NoError);
        answer[11] = 1;
        answer.extend_from_slice(b"\0\xff\x01\0\x01\0\0\0\x3c\x06\x40");
        answer.extend_from_slice(&[0x5a; 1600]);
        vec![answer]
    }
    let server = resolver(vec![name_server(odd).await], Vec::new()).await;
    for kind in [RecordType::SRV, RecordType::PTR, RecordType::Unknown(65_280)] {
        let asked = query(7, "_ldap._tcp.corp.example.", kind);
        assert_eq!(over_udp(&server, &asked).await, odd(&asked)[0], "{kind}");
        assert_eq!(over_tcp(&server, std::slice::from_ref(&asked)).await, odd(&asked), "{kind}");
    }
}

#[tokio::test]
async fn an_answer_that_did_not_fit_sends_the_client_to_tcp() {
    fn truncated(asked: &[u8]) -> Vec<Vec<u8>> {
        let mut answer = reply(asked, [10, 20, 0, 10], ResponseCode::NoError);
        answer[2] |= 0b10;
        vec![answer]
    }
    let server = resolver(vec![name_server(truncated).await], Vec::new()).await;
    let asked = query(7, "corp.example.", RecordType::A);
    assert!(Message::from_vec(&over_udp(&server, &asked).await).unwrap().metadata.truncation);
}

#[tokio::test]
async fn a_server_that_fails_leaves_it_to_the_next_and_is_asked_last_from_then_on() {
    fn failing(asked: &[u8]) -> Vec<Vec<u8>> {
        vec![reply(asked, [0; 4], ResponseCode::ServFail)]
    }
    let nobody = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    static ASKED_IN_VAIN: AtomicUsize = AtomicUsize::new(0);
    let silent = name_server(|_| {
        ASKED_IN_VAIN.fetch_add(1, Ordering::Relaxed);
        Vec::new()
    })
    .await;
    let servers = vec![nobody, name_server(failing).await, silent, name_server(corp).await];
    let server = resolver(servers, Vec::new()).await;
    let asked = query(7, "dc1.corp.example.", RecordType::A);
    assert_eq!(code(&over_udp(&server, &asked).await), ResponseCode::NoError);
    let asked_in_vain = ASKED_IN_VAIN.load(Ordering::Relaxed);
    assert!(asked_in_vain > 0);
    assert_eq!(code(&over_udp(&server, &asked).await), ResponseCode::NoError);
    assert_eq!(ASKED_IN_VAIN.load(Ordering::Relaxed), asked_in_vain, "the silent one was asked again");
}

#[tokio::test]
async fn no_such_name_is_an_answer_and_is_not_asked_again() {
    fn none(asked: &[u8]) -> Vec<Vec<u8>> {
        vec![reply(asked, [0; 4], ResponseCode::NXDomain)]
    }
    let server = resolver(vec![name_server(none).await, name_server(corp).await], Vec::new()).await;
    let asked = query(7, "nobody.corp.example.", RecordType::A);
    assert_eq!(over_udp(&server, &asked).await, none(&asked)[0]);
}

#[tokio::test]
async fn answers_to_another_question_are_left_out() {
    fn forged(asked: &[u8]) -> Vec<Vec<u8>> {
        let id = message::id(asked);
        let other = query(id, "evil.corp.example.", RecordType::A);
        let mut late = reply(asked, [6, 6, 6, 6], ResponseCode::NoError);
        message::set_id(&mut late, id.wrapping_add(1));
        vec![reply(&other, [6; 4], ResponseCode::NoError), late, asked.to_vec(), corp(asked).remove(0)]
    }
    let server = resolver(vec![name_server(forged).await], Vec::new()).await;
    let asked = query(7, "dc1.corp.example.", RecordType::A);
    assert_eq!(over_udp(&server, &asked).await, corp(&asked)[0]);
}

#[tokio::test]
async fn without_an_answer_the_client_is_told_and_bad_questions_are_refused() {
    let server = resolver(vec![name_server(|_| Vec::new()).await], Vec::new()).await;
    let began = Instant::now();
    let asked = query(7, "dc1.corp.example.", RecordType::A);
    assert_eq!(code(&over_udp(&server, &asked).await), ResponseCode::ServFail);
    assert!(began.elapsed() < Duration::from_secs(5), "a client asks again after five seconds");
    let outside = query(7, "www.example.", RecordType::A);
    assert_eq!(code(&over_udp(&server, &outside).await), ResponseCode::Refused, "nobody is there for the rest");
    assert_eq!(code(&over_udp(&server, &asked[..15]).await), ResponseCode::FormErr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_questions_than_it_holds_are_refused_and_then_it_goes_on() {
    const HELD: usize = 8;
    static ASKED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    fn name(message: &[u8]) -> String {
        Message::from_vec(message).unwrap().queries[0].name().to_string()
    }
    let silent = name_server(|asked| {
        ASKED.lock().unwrap().insert(name(asked));
        Vec::new()
    })
    .await;
    let zones = vec![(Name::from_ascii("corp.example.").unwrap(), Servers::new(vec![silent]))];
    let routes = Routes::of(zones, Servers::new(vec![name_server(elsewhere).await]));
    let server = Server::holding(HELD, (Ipv4Addr::LOCALHOST, 0).into(), routes).await.unwrap();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut names = (0..).map(|number| format!("host{number}.corp.example."));
    let mut buffer = [0; LONGEST];
    // An answer to a question that the name server was never asked is a refusal: those that wait were passed on first.
    let refused = loop {
        assert!(Instant::now() < deadline, "all of {} questions were taken", ASKED.lock().unwrap().len());
        for name in names.by_ref().take(2 * HELD) {
            socket.send_to(&query(7, &name, RecordType::A), server.address()).await.unwrap();
        }
        let Ok(received) = timeout(Duration::from_millis(100), socket.recv(&mut buffer)).await else { continue };
        let answer = &buffer[..received.unwrap()];
        if !ASKED.lock().unwrap().contains(&name(answer)) {
            break code(answer);
        }
    };
    assert_eq!(refused, ResponseCode::ServFail);
    // What waits is answered within its limit; then there is room again.
    let asked = query(8, "www.example.", RecordType::A);
    let deadline = Instant::now() + Duration::from_secs(60);
    while over_udp(&server, &asked).await != elsewhere(&asked)[0] {
        assert!(Instant::now() < deadline, "there is no room again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
