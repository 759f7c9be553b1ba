//! The vendor's published traffic expressions, and ours for every operator.

use super::flows::{Flow, clauses, clauses_hold, tree, tree_holds};
use crate::rules::language::{ACTIONS, OPERATORS, REFUSED, SELECTORS, Scope, parse};
use vestibule_engine::packet::header::{ICMP, ICMPV6, TCP, UDP};
use vestibule_engine::policy::Detected;

fn check(text: &str, matched: &[Flow], others: &[Flow]) {
    let (tree, clauses) = (tree(text), clauses(text));
    for (flows, expected) in [(matched, true), (others, false)] {
        for flow in flows {
            assert_eq!(tree_holds(&tree, flow), expected, "{text} of {flow:?}");
            assert_eq!(clauses_hold(&clauses, flow), expected, "the clauses of {text} of {flow:?}");
        }
    }
}

#[test]
fn published_traffic_expressions_give_the_documented_result() {
    let tcp = |to: &str, port| Flow::to(to, TCP, port);
    let here = || tcp("10.1.2.3", 443);
    let from = |source: &str, port| Flow { source: source.parse().unwrap(), source_port: port, ..here() };
    check("", &[here(), Flow::to("fd00::9", ICMPV6, 0)], &[]);
    check("net.dst.ip in {10.0.0.0/8}", &[here()], &[tcp("11.0.0.1", 443), tcp("fd00::1", 443)]);
    check(
        "net.dst.port in {80 443}",
        &[here(), tcp("fd00::1", 80)],
        &[tcp("10.1.2.3", 22), Flow::to("10.1.2.3", ICMP, 0)],
    );
    check("net.dst.ip in $ad-servers", &[tcp("10.9.0.2", 389), tcp("fd00::3", 88)], &[here(), tcp("fd00::6", 88)]);
    check(r#"net.protocol == "tcp""#, &[here()], &[Flow::to("10.0.0.1", UDP, 53)]);
    check(
        r#"net.protocol in {"tcp" "udp"}"#,
        &[here(), Flow::to("10.0.0.1", UDP, 53)],
        &[Flow::to("10.0.0.1", ICMP, 0)],
    );
    check(r#"net.protocol == "icmp""#, &[Flow::to("10.0.0.1", ICMP, 0), Flow::to("fd00::1", ICMPV6, 0)], &[here()]);
    check("net.src.ip == 100.96.0.8", &[from("100.96.0.8", 1)], &[here()]);
    check("net.src.internal_src_ip in {100.96.0.0/12}", &[here()], &[from("10.0.0.8", 1)]);
    check("net.src.port in {1024..2047}", &[from("10.0.0.8", 2047)], &[here()]);
    check(r#"net.sni.host == "www.example.com""#, &[Flow::tls("www.example.com")], &[Flow::tls("example.com"), here()]);
    for text in [r#"net.sni.domains == "example.com""#, r#"any(net.sni.domains[*] in {"Example.com"})"#] {
        check(text, &[Flow::tls("example.com"), Flow::tls("a.b.example.com")], &[Flow::tls("anexample.com"), here()]);
    }
    check("any(net.sni.domains[*] in $partners)", &[Flow::tls("x.other.example")], &[Flow::tls("example")]);
    check("net.sni.host in $partners", &[Flow::tls("partner.example")], &[Flow::tls("x.partner.example")]);
    for text in [r#"net.protocol.detection == "ssh""#, r#"net.detected_protocol == "SSH""#] {
        check(text, &[Flow::speaking(Detected::Ssh)], &[Flow::speaking(Detected::Http), here()]);
    }
    check(r#"net.detected_protocol == "tls""#, &[Flow::tls("a.example")], &[here()]);
    check(r#"net.vnet_id == "00000000-0000-0000-0000-000000000000""#, &[here()], &[]);
    check(r#"net.vnet_id == "5b96d48a-0000-4000-8000-000000000000""#, &[], &[here()]);
    check(r#"net.onramp.type == "device_client""#, &[here()], &[]);
    check(r#"net.onramp.type in {"mesh" "cloudflare_wan"}"#, &[], &[here()]);
}

#[test]
fn operators_of_flows() {
    let tcp = |port| Flow::to("10.0.0.5", TCP, port);
    let ping = || Flow::to("10.0.0.5", ICMP, 0);
    check(
        "net.dst.port == 80 or net.dst.port in {443 8443} || net.dst.port eq 22",
        &[tcp(80), tcp(443), tcp(22)],
        &[tcp(81)],
    );
    check("net.dst.port > 1023 and net.dst.port <= 2000", &[tcp(1024), tcp(2000)], &[tcp(1023), tcp(2001), ping()]);
    check("net.dst.port >= 65535", &[tcp(65_535)], &[tcp(65_534)]);
    check("net.dst.port > 65535", &[], &[tcp(65_535)]);
    check("net.dst.port lt 0 or net.dst.port ge 1", &[tcp(1)], &[tcp(0)]);
    // What has no port is not at one.
    check("net.dst.port != 80", &[tcp(81), ping()], &[tcp(80)]);
    check("not (net.dst.port in {1..79 81..65535})", &[tcp(80), tcp(0), ping()], &[tcp(79)]);
    check("net.dst.ip != 10.0.0.5", &[Flow::to("10.0.0.6", TCP, 1), Flow::to("fd00::1", TCP, 1)], &[tcp(1)]);
    check("net.dst.ip not in $ad-servers", &[tcp(1), Flow::to("fd00::6", TCP, 1)], &[Flow::to("10.9.0.2", TCP, 1)]);
    check(
        "net.dst.ip > 10.0.0.4 and net.dst.ip le 10.0.0.5",
        &[tcp(1)],
        &[Flow::to("10.0.0.6", TCP, 1), Flow::to("fd00::1", TCP, 1)],
    );
    check("net.dst.ip in {10.0.0.1..10.0.0.6}", &[tcp(1)], &[Flow::to("10.0.0.7", TCP, 1)]);
    check("net.dst.ip in {10.0.0.0/8} and not net.dst.ip in {10.0.0.0/24}", &[Flow::to("10.1.0.0", TCP, 1)], &[tcp(1)]);
    check("net.dst.ip in $empty", &[], &[tcp(1)]);
    check("net.dst.ip == 10.0.0.5 xor net.dst.port == 22", &[tcp(1), Flow::to("10.0.0.9", TCP, 22)], &[tcp(22)]);
    check(
        r#"net.sni.host matches "^dc[0-9]+\.corp\.example$""#,
        &[Flow::tls("dc12.corp.example")],
        &[Flow::tls("dcx.corp.example"), tcp(443)],
    );
    check(r#"net.sni.host contains "Corp.""#, &[Flow::tls("dc.corp.example")], &[Flow::tls("corpxexample")]);
    check(r#"not net.sni.host == "a.example""#, &[Flow::tls("b.example"), tcp(443)], &[Flow::tls("a.example")]);
    check(
        r#"!(net.detected_protocol in {"http" "http2"})"#,
        &[Flow::speaking(Detected::Ssh), tcp(1)],
        &[Flow::speaking(Detected::Http2)],
    );
    check(
        r#"net.protocol == "icmp" or (net.dst.ip == 10.0.0.5 and not (net.dst.port == 389 or net.sni.host == "x.example"))"#,
        &[ping(), tcp(388)],
        &[tcp(389), Flow { destination: "10.0.0.5".parse().unwrap(), ..Flow::tls("x.example") }],
    );
}

#[test]
fn unions_and_intersections_of_one_thing_are_one_clause() {
    assert_eq!(clauses("net.dst.port == 80 or net.dst.port in {443 8443} or net.dst.port == 22").len(), 1);
    assert_eq!(clauses("net.dst.ip in {10.0.0.0/8} and net.dst.port == 80 and net.protocol == \"tcp\"").len(), 1);
    assert_eq!(clauses("net.dst.ip in {10.0.0.0/8} and net.dst.ip in $ad-servers").len(), 1);
    assert_eq!(clauses("net.dst.ip == 10.0.0.1 and net.dst.ip == 10.0.0.2").len(), 0);
    assert_eq!(clauses("net.dst.port == 80 or net.dst.ip == 10.0.0.2").len(), 2);
}

#[test]
fn selectors_that_cannot_be_judged_here_are_refused_by_name_and_reason() {
    for text in [
        "any(app.ids[*] in {606})",
        "any(app.type.ids[*] in {25})",
        r#"net.dst.geo.continent == "EU""#,
        r#"net.dst.geo.country == "DE""#,
        r#"net.src.geo.continent == "EU""#,
        r#"net.src.geo.country == "DE""#,
        "any(net.fqdn.content_category[*] in {1})",
        "any(net.fqdn.security_category[*] in {1})",
        "access.target == 1",
        "access.private_app",
        r#"net.proxy_endpoint.ids[*] in {"id"}"#,
        r#"net.offramp.type == "internet""#,
    ] {
        let error = parse(text, Scope::Traffic).unwrap_err().to_string();
        let (name, why) = REFUSED.iter().find(|(name, _)| text.contains(name)).unwrap();
        assert!(error.contains(&format!("`{name}` cannot be used here: {why}")), "{error}");
    }
}

#[test]
fn every_selector_operator_and_action_has_its_row() {
    let refused = REFUSED.iter().map(|(name, _)| *name);
    let judged = SELECTORS.iter().map(|selector| selector.name);
    crate::compatibility::assert_complete("Policy selectors", judged.chain(refused));
    crate::compatibility::assert_complete("Policy operators and actions", OPERATORS.iter().chain(ACTIONS).copied());
}
