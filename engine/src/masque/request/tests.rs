//! Rules R2, R3, R5 to R8 and U1 to U8.

#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;
use zeroize::Zeroizing;

fn well_known() -> UriTemplate {
    UriTemplate::well_known("proxy.example:4433").unwrap()
}

fn target(text: &str) -> Target {
    Target::parse(text).unwrap()
}

/// A good HTTP/3 request for `path`.
fn head(path: &str) -> Head<'_> {
    Head {
        method: Some(b"CONNECT"),
        protocol: Some(b"connect-ip"),
        scheme: Some(b"https"),
        authority: Some(b"proxy.example"),
        path: Some(path.as_bytes()),
        fields: vec![(b"capsule-protocol", b"?1")],
    }
}

fn judge(head: &Head<'_>) -> Result<Incoming, Rejection> {
    Incoming::judge(head, HttpVersion::Http3, &[well_known()])
}

const ALL: &str = "/.well-known/masque/ip/*/*/";

#[test]
fn r2_the_rfcs_example_request() {
    let request = Outgoing::new(&well_known(), &Target::Any, None, Credentials::None);
    let lines: Vec<_> = request.fields(HttpVersion::Http3).iter().map(|field| format!("{field:?}")).collect();
    let expected = [
        ":method: CONNECT",
        ":protocol: connect-ip",
        ":scheme: https",
        ":authority: proxy.example:4433",
        ":path: /.well-known/masque/ip/*/*/",
        "capsule-protocol: ?1",
    ];
    assert_eq!(lines, expected);
    assert!(judge(&head(request.path())).is_ok());
}

#[test]
fn r2_incomplete_requests_are_malformed() {
    let breaks: [fn(&mut Head<'_>); 7] = [
        |head| head.method = Some(b"GET"),
        |head| head.scheme = None,
        |head| head.scheme = Some(b""),
        |head| head.authority = None,
        |head| head.path = None,
        |head| head.path = Some(b""),
        |head| head.path = Some(b"/\xff"),
    ];
    for break_it in breaks {
        let mut head = head(ALL);
        break_it(&mut head);
        let rejection = judge(&head).unwrap_err();
        assert!(matches!(rejection, Rejection::Malformed(_)));
        assert_eq!((rejection.status(HttpVersion::Http3), rejection.status(HttpVersion::Http1)), (None, Some(400)));
    }
}

#[test]
fn r3_http1_upgrades() {
    let secret = Credentials::Bearer(Zeroizing::new("s3cret".into()));
    let request = Outgoing::new(&well_known(), &target("192.0.2.0/24"), Some(17), secret);
    assert_eq!(
        request.http1().as_str(),
        "GET /.well-known/masque/ip/192.0.2.0%2F24/17/ HTTP/1.1\r\nHost: proxy.example:4433\r\nConnection: Upgrade\r\n\
         Upgrade: connect-ip\r\nCapsule-Protocol: ?1\r\nAuthorization: Bearer s3cret\r\n\r\n"
    );
    let mut head = head(ALL);
    head.method = Some(b"GET");
    head.scheme = None;
    let of = |head: &Head<'_>| Incoming::judge(head, HttpVersion::Http1, &[well_known()]);
    assert!(matches!(of(&head), Err(Rejection::Malformed(_))), "no Connection");
    head.fields.push((b"connection", b"keep-alive, UPGRADE"));
    assert!(of(&head).is_ok());

    let answer = Answer::open(HttpVersion::Http1);
    let fields: Vec<_> = answer.fields.iter().map(|f| (f.name.as_bytes(), f.value.as_bytes())).collect();
    assert!(Accepted::judge(HttpVersion::Http1, answer.status, &fields).is_ok());
    assert_eq!(Accepted::judge(HttpVersion::Http1, 101, &fields[1..2]), Err(ResponseError::Upgrade));
    let websocket: [(&[u8], &[u8]); 2] = [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")];
    assert_eq!(Accepted::judge(HttpVersion::Http1, 101, &websocket), Err(ResponseError::Upgrade));
}

#[test]
fn r5_other_protocols_are_answered_501() {
    for protocol in [None, Some(&b"websocket"[..]), Some(b"connect-udp")] {
        let rejection = judge(&Head { protocol, ..head(ALL) }).unwrap_err();
        assert_eq!(rejection.status(HttpVersion::Http3), Some(501));
    }
    assert_eq!(judge(&head("/elsewhere")).unwrap_err().status(HttpVersion::Http3), Some(404));
}

#[test]
fn r6_only_some_statuses_open_a_tunnel() {
    for version in [HttpVersion::Http2, HttpVersion::Http3] {
        for status in [200, 201, 226, 299] {
            assert!(Accepted::judge(version, status, &[]).is_ok());
        }
        for status in [101, 204, 205, 206, 300, 302, 401, 403, 502] {
            let error = Accepted::judge(version, status, &[]).unwrap_err();
            assert_eq!(error, ResponseError::Status { status, reason: None });
        }
    }
    let error = Accepted::judge(HttpVersion::Http1, 200, &[(b"proxy-status", b"p; error=dns_error")]).unwrap_err();
    assert_eq!(error.to_string(), "the proxy answered 200 (p; error=dns_error)");
}

#[test]
fn r7_capsule_protocol_is_one_structured_boolean() {
    let of = |values: &[&'static str]| {
        let fields = values.iter().map(|value| (&b"capsule-protocol"[..], value.as_bytes())).collect();
        judge(&Head { fields, ..head(ALL) }).unwrap().capsule_protocol
    };
    assert_eq!((of(&["?1"]), of(&["?0"]), of(&[" ?1 ;a=b;c"])), (Some(true), Some(false), Some(true)));
    for absent in [&[][..], &["1"], &["true"], &["?1x"], &["?2"], &["\"?1\""], &["?1", "?1"], &["?1, ?1"]] {
        assert_eq!(of(absent), None, "{absent:?}");
    }
    assert!(Answer::open(HttpVersion::Http3).fields.contains(&Field::new("capsule-protocol", "?1")));
    for refusal in [Answer::refused(403), Answer::refused(401), Answer::dns_error("p", None)] {
        assert!(refusal.fields.iter().all(|field| field.name != "capsule-protocol"));
    }
}

#[test]
fn r8_fields_of_content_are_malformed() {
    for name in ["content-length", "content-type", "transfer-encoding"] {
        let fields = vec![(name.as_bytes(), &b"0"[..])];
        assert!(matches!(judge(&Head { fields: fields.clone(), ..head(ALL) }), Err(Rejection::Malformed(_))));
        let answer = Accepted::judge(HttpVersion::Http3, 200, &fields);
        assert_eq!(answer, Err(ResponseError::Forbidden { field: name }));
    }
}

#[test]
fn r10_bearer_and_basic_are_read_and_never_shown() {
    let basic = Credentials::Basic { user: "aladdin".into(), password: Zeroizing::new("open:sesame".into()) };
    for credentials in [Credentials::Bearer(Zeroizing::new("open:sesame".into())), basic] {
        let request = Outgoing::new(&well_known(), &Target::Any, None, credentials.clone());
        let fields = request.fields(HttpVersion::Http3);
        let authorization = fields.last().unwrap();
        let mut head = head(ALL);
        head.fields.push((authorization.name.as_bytes(), authorization.value.as_bytes()));
        let read = judge(&head).unwrap();
        assert_eq!(read.credentials.authorization(), credentials.authorization());
        let shown = format!("{request:?} {fields:?} {read:?}");
        assert!(shown.contains("redacted") && !shown.contains("sesame") && !shown.contains("YWxh"));
        head.fields.push((b"authorization", b"Bearer other"));
        assert!(matches!(judge(&head).unwrap().credentials, Credentials::None), "two say nothing");
    }
    // RFC 7617's example.
    let basic = Credentials::Basic { user: "Aladdin".into(), password: Zeroizing::new("open sesame".into()) };
    assert_eq!(basic.authorization().unwrap().as_str(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert!(Answer::refused(401).fields.iter().any(|field| field.name == "www-authenticate"));
}

#[test]
fn u1_templates_beyond_the_rfc_are_refused() {
    let error = |text: &str| UriTemplate::parse(text).unwrap_err();
    for (text, expected) in [
        ("/masque/{target}/", TemplateError::Scheme),
        ("http://a/{target}/", TemplateError::Scheme),
        ("https:///x", TemplateError::Authority),
        ("https://{target}/x", TemplateError::Authority),
        ("https://u:p@a/x", TemplateError::Authority),
        ("https://a", TemplateError::Path),
        ("https://a?{target}", TemplateError::Path),
        ("https://a/{target", TemplateError::Braces),
        ("https://a/target}", TemplateError::Braces),
        ("https://a/{}", TemplateError::Braces),
        ("https://a/x#y", TemplateError::Fragment),
        ("https://a/{target}/\u{7f}", TemplateError::Character { got: 0x7f }),
        ("https://a/ {target}", TemplateError::Character { got: 0x20 }),
        ("https://a/{target*}", TemplateError::Operator { got: '*' }),
        ("https://a/{target:3}", TemplateError::Operator { got: ':' }),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
    for got in ['+', '#', '.', '/', ';'] {
        assert_eq!(error(&format!("https://a/{{{got}target}}")), TemplateError::Operator { got });
    }
    assert!(matches!(error("https://a/{tar get}"), TemplateError::Character { .. }));
    assert!(matches!(error("https://a/{target,}"), TemplateError::Variable { .. }));
    assert_eq!(error(&format!("https://a/{}", "x".repeat(5000))), TemplateError::Length);
}

#[test]
fn u2_an_invalid_template_gives_nothing_to_send() {
    // There is no way from an invalid template to a request: `Outgoing` takes a valid one.
    assert!(UriTemplate::parse("https://a/{+target}").is_err());
    let ambiguous = ["https://a/{target}x", "https://a/{target}{ipproto}", "https://a/{target,ipproto}/"];
    for text in ambiguous {
        let template = UriTemplate::parse(text).unwrap();
        assert_eq!(template.check_for_gateway(), Err(TemplateError::Ambiguous), "{text}");
    }
    assert_eq!(well_known().check_for_gateway(), Ok(()));
}

#[test]
fn u3_the_well_known_location() {
    let template = UriTemplate::well_known("[2001:db8::1]:443").unwrap();
    assert_eq!(template.authority(), "[2001:db8::1]:443");
    assert_eq!(template.expand(&target("example.com"), Some(6)), "/.well-known/masque/ip/example.com/6/");
}

#[test]
fn u4_missing_variables_mean_all_and_empty_ones_nothing() {
    let form = UriTemplate::parse("https://a/proxy{?target,ipproto}").unwrap();
    assert_eq!(form.expand(&Target::Any, Some(17)), "/proxy?target=*&ipproto=17");
    for path in ["/proxy", "/proxy?target=*", "/proxy?ipproto=%2A&target=%2a"] {
        assert_eq!(form.recognise(path), Some(Ok((Target::Any, None))), "{path}");
    }
    assert_eq!(UriTemplate::parse("https://a/plain").unwrap().recognise("/plain"), Some(Ok((Target::Any, None))));
    for path in ["/proxy?target=", "/proxy?target=*&ipproto="] {
        assert_eq!(form.recognise(path), Some(Err(TargetError::Empty)), "{path}");
    }
    assert_eq!(well_known().recognise("/.well-known/masque/ip//*/"), Some(Err(TargetError::Empty)));
}

#[test]
fn u5_targets() {
    for (text, path) in [
        ("2001:db8::42", "2001%3Adb8%3A%3A42"),
        ("2001:db8::/32", "2001%3Adb8%3A%3A%2F32"),
        ("192.0.2.0/24", "192.0.2.0%2F24"),
        ("0.0.0.0/0", "0.0.0.0%2F0"),
        ("a-b.example.com", "a-b.example.com"),
    ] {
        let path = format!("/.well-known/masque/ip/{path}/*/");
        assert_eq!(well_known().expand(&target(text), None), path);
        assert_eq!(well_known().recognise(&path), Some(Ok((target(text), None))));
    }
    for (text, error) in [
        ("", TargetError::Empty),
        ("10.0.0.1/24", TargetError::HostBits),
        ("2001:db8::1/64", TargetError::HostBits),
        ("10.0.0.0/33", TargetError::PrefixLength { most: 32 }),
        ("10.0.0.0/", TargetError::PrefixLength { most: 32 }),
        ("10.0.0.0/+8", TargetError::PrefixLength { most: 32 }),
        ("::/129", TargetError::PrefixLength { most: 128 }),
        ("fe80::1%eth0", TargetError::Target),
        ("[::1]", TargetError::Target),
        ("10.0.0", TargetError::Target),
        ("10.0.0.256", TargetError::Target),
        ("example.com/24", TargetError::Target),
        ("-a.example", TargetError::Target),
        ("a..b", TargetError::Target),
        ("**", TargetError::Target),
    ] {
        assert_eq!(Target::parse(text), Err(error), "{text}");
    }
}

#[test]
fn u6_protocols() {
    assert_eq!(Target::parse_protocol("*"), Ok(None));
    assert_eq!((Target::parse_protocol("0"), Target::parse_protocol("255")), (Ok(Some(0)), Ok(Some(255))));
    assert_eq!(Target::parse_protocol("017"), Ok(Some(17)), "one to three digits");
    for text in ["256", "-1", "+1", "0017", "tcp", "1 "] {
        assert_eq!(Target::parse_protocol(text), Err(TargetError::Protocol), "{text}");
    }
}

#[test]
fn u7_invalid_variables_are_a_malformed_request() {
    for path in ["10.0.0.1%2F8/*", "*/256", "%zz/*", "%0a/*", "10.0.0.0%2/6", "/*"] {
        let path = format!("/.well-known/masque/ip/{path}/");
        let rejection = judge(&head(&path)).unwrap_err();
        assert!(matches!(rejection, Rejection::Variables(_)), "{path}: {rejection:?}");
        assert_eq!((rejection.status(HttpVersion::Http2), rejection.status(HttpVersion::Http1)), (None, Some(400)));
    }
    // A colon or slash that is not encoded makes it another path.
    for path in ["2001:db8::1/*", "10.0.0.0/8/*"] {
        assert_eq!(judge(&head(&format!("/.well-known/masque/ip/{path}/"))).unwrap_err(), Rejection::Path);
    }
}

#[test]
fn u8_a_name_that_does_not_resolve_is_told() {
    let answer = Answer::dns_error("gw1", Some("NXDOMAIN"));
    assert_eq!(answer.status, 502);
    assert_eq!(answer.fields, [Field::new("proxy-status", "gw1; error=dns_error; rcode=\"NXDOMAIN\"")]);
    assert_eq!(Answer::dns_error("a b", Some("x\r\ny")).fields[0].value.as_str(), "masque; error=dns_error");
}

proptest! {
    #[test]
    fn u5_what_is_expanded_is_recognised(address: std::net::IpAddr, length: u8, protocol: Option<u8>, form: bool) {
        let most = if address.is_ipv4() { 32 } else { 128 };
        let target = Target::Prefix(ipnet::IpNet::new(address, length % (most + 1)).unwrap().trunc());
        let text = if form { "https://a/x?k=v{&ipproto,target}" } else { "https://a/{ipproto}/x/{target}" };
        let template = UriTemplate::parse(text).unwrap();
        prop_assert_eq!(template.check_for_gateway(), Ok(()));
        prop_assert_eq!(template.recognise(&template.expand(&target, protocol)), Some(Ok((target, protocol))));
    }

    #[test]
    fn u7_any_path_is_judged(path in "[ -~]{0,60}", text in "\\PC{0,40}") {
        let _ = well_known().recognise(&path);
        let _ = judge(&head(&format!("/.well-known/masque/ip/{path}/")));
        let _ = (Target::parse(&text), UriTemplate::parse(&text), UriTemplate::parse(&format!("https://a/{path}")));
    }
}
