#![allow(clippy::unwrap_used)]
use super::*;
use ipnet::IpNet;

const TOKEN: &str = "non_identity@mycompany.cloudflareaccess.com";

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn rule(traffic: &str) -> Result<PolicyDocument, RuleError> {
    compile(&[("r", 1, RuleAction::Allow, traffic, "")], &AddressLists::new(), "ada@example.com")
}

fn compile(
    rules: &[(&str, i64, RuleAction, &str, &str)],
    lists: &AddressLists,
    email: &str,
) -> Result<PolicyDocument, RuleError> {
    let mut parsed = Vec::new();
    for &(name, precedence, action, traffic, identity) in rules {
        parsed.push(Rule {
            name: name.to_owned(),
            precedence,
            enabled: true,
            action,
            traffic: Traffic::parse(traffic, lists)?,
            identity: Identity::parse(identity)?,
        });
    }
    document(&parsed, lists, email, false, 7)
}

#[test]
fn prefix_port_and_protocol_become_one_rule() {
    let text =
        r#"net.dst.ip in {10.0.0.0/8 192.168.1.7} and net.dst.port in {53 88 8000..8100} and net.protocol == "udp""#;
    let rules = rule(text).unwrap().rules;
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[0].destinations, [net("10.0.0.0/8"), net("192.168.1.7/32")]);
    assert_eq!(rules[0].ports, [(53, 53), (88, 88), (8000, 8100)]);
    assert_eq!(rules[0].protocols, [17]);
}

#[test]
fn empty_traffic_is_everything() {
    let rules = rule("").unwrap().rules;
    assert!(rules[0].destinations.is_empty() && rules[0].ports.is_empty() && rules[0].protocols.is_empty());
}

#[test]
fn or_over_one_selector_is_a_union() {
    let rules = rule("net.dst.port == 80 or net.dst.port in {443 8443} || net.dst.port == 22").unwrap().rules;
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[0].ports, [(80, 80), (443, 443), (8443, 8443), (22, 22)]);
}

#[test]
fn or_over_different_selectors_becomes_alternatives() {
    let text = r#"net.protocol == "icmp" or (net.dst.ip == 10.0.0.1 and net.dst.port == 389)"#;
    let rules = rule(text).unwrap().rules;
    assert_eq!(rules.len(), 2);
    assert_eq!(rules[0].protocols, [1, 58]);
    assert_eq!((&rules[1].destinations, &rules[1].ports), (&vec![net("10.0.0.1/32")], &vec![(389, 389)]));
}

#[test]
fn and_over_one_selector_is_the_intersection() {
    let rules =
        rule("net.dst.ip in {10.0.0.0/8 192.168.0.0/16} and net.dst.ip in {10.1.0.0/16 172.16.0.0/12}").unwrap();
    assert_eq!(rules.rules[0].destinations, [net("10.1.0.0/16")]);
    let rules = rule("net.dst.port in {1..100} and net.dst.port in {50..200}").unwrap();
    assert_eq!(rules.rules[0].ports, [(50, 100)]);
}

#[test]
fn what_can_never_match_is_not_mistaken_for_everything() {
    let rules = rule("net.dst.ip == 10.0.0.1 and net.dst.ip == 10.0.0.2").unwrap().rules;
    assert!(rules.is_empty(), "an empty intersection must not become a rule without destinations: {rules:?}");
    let lists = AddressLists::from([("empty".to_owned(), Vec::new())]);
    let document = compile(&[("r", 1, RuleAction::Allow, "net.dst.ip in $empty", "")], &lists, "a@x").unwrap();
    assert!(document.rules.is_empty());
}

#[test]
fn an_address_range_is_covered_exactly() {
    let rules = rule("net.dst.ip in {10.0.0.1..10.0.0.6}").unwrap().rules;
    assert_eq!(rules[0].destinations, ["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/31", "10.0.0.6/32"].map(net));
}

#[test]
fn the_guides_directory_rule_is_for_the_token_and_comes_by_precedence() {
    let lists = AddressLists::from([("ad-servers".to_owned(), vec![net("10.9.0.2/32")])]);
    let rules = [
        ("block rest", 2000, RuleAction::Block, "", ""),
        (
            "directory before login",
            1000,
            RuleAction::Allow,
            "net.dst.ip in $ad-servers",
            r#"identity.email in {"non_identity@mycompany.cloudflareaccess.com"}"#,
        ),
    ];
    let before = compile(&rules, &lists, TOKEN).unwrap();
    assert_eq!(
        before.rules.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(),
        ["directory before login", "block rest"]
    );
    assert_eq!(before.rules[0].destinations, [net("10.9.0.2/32")]);
    let user = compile(&rules, &lists, "ada@example.com").unwrap();
    assert_eq!(user.rules.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["block rest"]);
    assert_eq!((user.version, user.default_allow), (7, false));
}

#[test]
fn errors_point_at_the_column_and_say_what_was_expected() {
    let message = |text| rule(text).unwrap_err().to_string();
    assert_eq!(message("net.dst.ip ~ 10.0.0.1"), "column 12: expected a selector, a value or an operator, got `~`");
    assert_eq!(message("net.dst.ip 10.0.0.1"), "column 12: expected `==` or `in`, got `10.0.0.1`");
    assert_eq!(
        message("net.dst.port == 70000"),
        "column 17: expected a port (0 to 65535) or a range (`8000..8100`), got `70000`"
    );
    assert_eq!(message("net.dst.port in {80, 443}"), "column 20: expected a selector, a value or an operator, got `,`");
    assert_eq!(message("(net.dst.port == 80"), "column 20: expected `and`, `or` or `)`, got the end");
    assert_eq!(message("net.dst.port == 80 443"), "column 20: expected `and`, `or` or the end, got `443`");
    assert_eq!(message(r#"net.protocol == "tcp"#), "column 17: expected a closing `\"`, got the end");
    assert_eq!(message("net.dst.ip in {}"), "column 15: expected at least one value in the set, got `{}`");
    assert_eq!(message("net.dst.port in {90..80}").split(" expected").next(), Some("column 18:"));
    assert!(message("net.dst.ip in $nowhere").starts_with("column 15: there is no list `nowhere`"));
}

#[test]
fn what_the_vendor_has_and_we_do_not_is_named() {
    for (text, column) in [
        (r#"net.sni.host == "www.example.com""#, "column 1: `net.sni.host` cannot be used here"),
        ("any(app.ids[*] in {606})", "column 1: `any` cannot be used here"),
        ("net.dst.port == 80 and net.dst.port != 443", "column 37: `!=` cannot be used here"),
        ("net.dst.port == 80 and not net.dst.ip == 10.0.0.1", "column 24: `not` in a traffic expression cannot"),
    ] {
        let error = rule(text).unwrap_err().to_string();
        assert!(error.starts_with(column), "{error}");
    }
}

#[test]
fn hostile_sizes_are_refused_and_do_not_exhaust_the_stack() {
    assert!(rule(&"(".repeat(60_000)).unwrap_err().to_string().contains("at most 32 levels"));
    assert!(matches!(rule(&" ".repeat(70_000)), Err(RuleError::TooLong { .. })));
    let wide = (0..20)
        .map(|i| format!("(net.dst.ip == 10.0.0.{i} or net.dst.port == {i} or net.protocol == \"tcp\")"))
        .collect::<Vec<_>>()
        .join(" and ");
    assert!(matches!(rule(&wide), Err(RuleError::TooComplex { .. })));
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "[a-z0-9 .:/{}()\"\\\\$!=<>&|é]{0,80}") {
        let _ = rule(&text);
        let _ = Identity::parse(&text);
    }
}
