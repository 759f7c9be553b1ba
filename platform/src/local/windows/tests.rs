//! Pipes with clients of this process.
#![allow(clippy::unwrap_used)]

use super::{pipe::BUFFER, *};

fn name(of: &str) -> PathBuf {
    PathBuf::from(format!(r"{PREFIX}Vestibule-test-{}-{of}", std::process::id()))
}

#[test]
fn a_path_becomes_a_pipes_name() {
    let text = |path: &str| String::from_utf16(&pipe_name(Path::new(path))).unwrap().replace('\0', "");
    assert_eq!(text(CONTROL), CONTROL);
    assert_eq!(text(r"C:\Temp\a\control.sock"), r"\\.\pipe\Vestibule\C//Temp/a/control.sock");
    assert_eq!(text("/run/vestibule/control.sock"), r"\\.\pipe\Vestibule\run/vestibule/control.sock");
    let wireguard = super::wireguard("wg0");
    assert_eq!(wireguard, Path::new(r"\\.\pipe\ProtectedPrefix\Administrators\WireGuard\wg0"));
    let long = format!(r"C:\{}\z", "y".repeat(400));
    assert!(text(&long).len() < 256 && text(&long).ends_with("/z"));
}

#[test]
fn carries_more_bytes_than_the_buffer_and_tells_who_asks() {
    let path = name("bytes");
    let listener = Listener::bind(&path).unwrap();
    let server = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap();
        let mut first = [0; 1];
        stream.read_exact(&mut first).unwrap();
        let peer = stream.peer().unwrap();
        let mut all = first.to_vec();
        Read::by_ref(&mut stream).take((BUFFER as u64) * 3 - 1).read_to_end(&mut all).unwrap();
        stream.write_all(&all).unwrap();
        peer
    });
    let mut stream = Stream::connect(&path).unwrap();
    let sent: Vec<u8> = (0..BUFFER * 3).map(|i| (i % 251) as u8).collect();
    stream.write_all(&sent).unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    assert!(back == sent, "{} bytes came back", back.len());
    let peer = server.join().unwrap();
    assert_eq!(peer.user, security::current_user().unwrap());
    assert_eq!(peer.process, Some(std::process::id()));
    assert_eq!(peer.administrator, security::is_administrator().unwrap());
    let gone = Stream::connect(&path).unwrap_err();
    assert!(matches!(gone, LocalError::Io { action: "connect to", .. }), "{gone:?}");
}

#[test]
fn several_clients_are_served_at_once_and_one_after_another() {
    let path = name("several");
    let listener = Arc::new(Listener::bind(&path).unwrap());
    let accepted = listener.clone();
    let server = std::thread::spawn(move || {
        let serve = |mut stream: Stream| {
            std::thread::spawn(move || {
                let mut byte = [0];
                while stream.read(&mut byte).unwrap() == 1 {
                    stream.write_all(&byte).unwrap();
                }
            })
        };
        let all: Vec<_> = (0..8).map(|_| serve(accepted.accept().unwrap())).collect();
        all.into_iter().for_each(|thread| thread.join().unwrap());
    });
    let mut clients: Vec<Stream> = (0..8).map(|_| Stream::connect(&path).unwrap()).collect();
    for (number, client) in (0..).zip(&mut clients) {
        client.write_all(&[number]).unwrap();
    }
    for (number, client) in (0..).zip(&mut clients) {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [number]);
    }
    drop(clients);
    server.join().unwrap();
}

#[test]
fn a_second_listener_is_refused_and_a_removed_one_gives_way() {
    let path = name("second");
    let first = Listener::bind_private(&path).unwrap();
    let second = Listener::bind(&path).unwrap_err();
    assert!(matches!(second, LocalError::InUse { .. }), "{second:?}");
    // That look has used the first one's instance up.
    drop(first.accept().unwrap());
    assert!(first.is_in_place());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| first.accept());
        first.remove();
        assert!(waiting.join().unwrap().is_err());
    });
    assert!(!first.is_in_place());
    drop(Listener::bind(&path).unwrap());
}

#[test]
fn a_silent_peer_does_not_hold_a_reader_up_for_ever() {
    let path = name("silent");
    let listener = Listener::bind(&path).unwrap();
    let mut client = Stream::connect(&path).unwrap();
    let _server = listener.accept().unwrap();
    client.set_timeout(Duration::from_millis(50)).unwrap();
    let error = client.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[test]
fn a_pipe_of_somebody_else_is_named_and_hears_nothing() {
    let path = name("squatted");
    let somebody = "S-1-5-21-1-2-3-1002";
    let rights = Descriptor::parse(&format!("O:{somebody}D:P(A;;FA;;;WD)")).unwrap();
    let tries: [fn(&Path) -> Result<(), LocalError>; 2] =
        [|path| Stream::connect(path).map(drop), |path| Listener::bind(path).map(drop)];
    for refused in tries {
        let theirs = match instance(&pipe_name(&path), &rights, FILE_FLAG_FIRST_PIPE_INSTANCE) {
            Ok(theirs) => theirs,
            Err(error) => {
                // Windows lets only who may restore files give things away.
                let _ = writeln!(io::stderr(), "left out: a_pipe_of_somebody_else_is_named_and_hears_nothing: {error}");
                return;
            }
        };
        match refused(&path) {
            Err(LocalError::Squatted { path: named, owner }) => assert_eq!((named, &*owner), (path.clone(), somebody)),
            other => panic!("expected somebody else's pipe, got {other:?}"),
        }
        let (event, limit) = (Event::new().unwrap(), AtomicU32::new(20_000));
        let mut theirs = Stream { pipe: Arc::new(theirs), event, limit };
        assert_eq!(theirs.read(&mut [0; 8]).unwrap(), 0, "who looked has left, and said nothing");
    }
}
