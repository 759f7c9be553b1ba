//! Errors point at the column and say what was expected; hostile sizes end early.

use super::flows::lists;
use crate::rules::{Match, RuleError, Scope, Traffic};
use std::time::{Duration, Instant};

/// Without its bounds the reader needs minutes for what is here.
const SOON: Duration = Duration::from_secs(20);

fn traffic(text: &str) -> String {
    Traffic::parse(text, &lists()).unwrap_err().to_string()
}

fn identity(text: &str) -> String {
    Match::parse(text, Scope::Identity).unwrap_err().to_string()
}

#[test]
fn what_stands_in_an_expression_does_not_steer_the_terminal_that_shows_it() {
    assert!(identity("any(identity.\x1b[2J == 1)").contains("got `\\u{1b}`"));
    for text in ["net.dst.ip == \"\x1b[2J\"", "net.\u{9b}", "net.dst.ip in $a\x07", "net.sni.host matches \"\r(\""] {
        let message = traffic(text);
        assert!(!message.contains(char::is_control), "{message:?}");
    }
}

#[test]
fn errors_point_at_the_column_and_say_what_was_expected() {
    for (text, message) in [
        ("net.dst.ip % 10.0.0.1", "column 12: expected a selector, a value or an operator, got `%`"),
        (
            "net.dst.ip 10.0.0.1",
            "column 12: expected `==`, `!=`, `in`, `matches`, `contains`, `<`, `<=`, `>` or `>=`, got `10.0.0.1`",
        ),
        ("net.dst.port == 70000", "column 17: expected a port (0 to 65535) or a range (`8000..8100`), got `70000`"),
        ("net.dst.port in {80, 443}", "column 20: expected a selector, a value or an operator, got `,`"),
        ("(net.dst.port == 80", "column 20: expected `and`, `or` or `)`, got the end"),
        ("net.dst.port == 80 443", "column 20: expected `and`, `or` or the end, got `443`"),
        (r#"net.protocol == "tcp"#, "column 17: expected a closing `\"`, got the end"),
        (r##"net.sni.host == r#"x"##, "column 17: expected a closing `\"#`, got the end"),
        ("net.dst.ip in {}", "column 15: expected at least one value in the set, got `{}`"),
        ("net.dst.ip in 10.0.0.1", "column 15: expected a set (`{...}`) or a list (`$id`) after `in`, got `10.0.0.1`"),
        ("net.dst.ip in {10.0.0.1", "column 24: expected a value or `}`, got the end"),
        ("net.dst.ip in $nowhere", "column 15: there is no list `nowhere`: create it under /gateway/lists first"),
        (
            "net.dst.ip in $partners",
            "column 15: `net.dst.ip` is compared with lists of type IP, `partners` is of type DOMAIN",
        ),
        (
            "net.dst.port in $ad-servers",
            "column 17: a list with `net.dst.port` cannot be used here: no type of list holds such values; write them in a set `{...}`",
        ),
        (
            "net.dst.ip == $ad-servers",
            "column 15: expected an address (`10.0.0.1`), a prefix (`10.0.0.0/8`) or a range (`10.0.0.1..10.0.0.9`), or `in` before a list, got `$ad-servers`",
        ),
        (
            "any(net.dst.ip in {10.0.0.1})",
            "column 5: expected a selector of many values in `any` or `all`, as `identity.groups.name[*]`, got `net.dst.ip`",
        ),
        ("net.dst.ip[*] == 10.0.0.1", "column 1: expected a selector of one value without `[*]`, got `net.dst.ip[*]`"),
        (
            r#"net.sni.host > "a""#,
            "column 14: this operator with `net.sni.host` cannot be used here: it compares numbers, addresses and versions",
        ),
        (
            r#"net.dst.ip matches "10""#,
            "column 12: this operator with `net.dst.ip` cannot be used here: it compares text; use `==` or `in`",
        ),
        (
            r#"lower(net.sni.host) == "a""#,
            "column 1: the function `lower` cannot be used here: there are `any(...)` and `all(...)`; mail addresses and host names ignore case as they are",
        ),
        (r#"net.sni.host == "\q""#, "column 17: expected text in quotes, got \"\\q\""),
        ("net.sni.host == example.com", "column 17: expected text in quotes, got `example.com`"),
        (
            r#"net.sni.host wildcard "*.example""#,
            "column 14: `wildcard` cannot be used here: use `matches` with a regular expression, or `contains`",
        ),
        ("é", "column 1: expected a selector, a value or an operator, got `é`"),
    ] {
        assert_eq!(traffic(text), message, "{text}");
    }
    assert_eq!(
        identity("(net.dst.ip == 10.0.0.1)"),
        "column 2: `net.dst.ip` cannot be used here: it belongs into `traffic`, this is `identity`"
    );
    assert!(
        identity("identity.mail == 1").starts_with("column 1: expected a selector of `identity` (`identity.email`, ")
    );
    assert_eq!(
        identity(r#"identity.email == "nobody""#),
        "column 19: expected a mail address in quotes, got \"nobody\""
    );
    assert!(identity(r#"identity.email matches "(""#).starts_with("column 24: expected a regular expression ("));
    let columns = r#"identity.name == "ééé" and identity.nam == "x""#;
    assert!(identity(columns).starts_with("column 28: "), "columns count characters: {}", identity(columns));
}

/// Each must be refused, by this part of its message, within a second.
#[test]
fn deep_long_and_pathological_expressions_end_early() {
    let any =
        |count: usize, part: &dyn Fn(usize) -> String, join: &str| (0..count).map(part).collect::<Vec<_>>().join(join);
    let wide =
        any(20, &|i| format!("(net.dst.ip == 10.0.0.{i} or net.dst.port == {i} or net.protocol == \"tcp\")"), " and ");
    let cases = [
        ("(".repeat(60_000), "at most 32 levels"),
        ("not ".repeat(15_000), "at most 32 levels"),
        ("!".repeat(60_000), "at most 32 levels"),
        (any(1000, &|i| format!("net.dst.port == {i}"), " xor "), "at most 32 levels"),
        (" ".repeat(70_000), "at most 65536 are taken"),
        (any(1200, &|i| format!("net.dst.port == {i}"), " or "), "more than 1000 comparisons"),
        (wide, "more than 256 alternatives"),
        (
            any(30, &|i| format!("(net.dst.port == {i} xor net.dst.ip == 10.0.0.{i})"), " xor "),
            "more than 256 alternatives",
        ),
        (r#"net.sni.host matches "((a{100}){100}){100}""#.to_owned(), "a smaller regular expression"),
        (any(17, &|i| format!(r#"net.sni.host matches "{i}""#), " or "), "more than 16 regular expressions"),
        (any(900, &|i| format!("not net.sni.host == \"{i}\""), " or "), "more than 256 alternatives"),
    ];
    for (text, expected) in cases {
        let begun = Instant::now();
        let error = traffic(&text);
        assert!(error.contains(expected), "{error}");
        assert!(error.len() < 300, "{error}");
        assert!(begun.elapsed() < SOON, "{expected}: {:?}", begun.elapsed());
    }
}

#[test]
fn matching_is_linear_in_the_text() {
    let expression = Match::parse(r#"identity.name matches "^(a+)+$""#, Scope::Identity).unwrap();
    let mut subject = crate::rules::Subject::default();
    subject.person.name = "a".repeat(100_000) + "!";
    let begun = Instant::now();
    assert!(!expression.matches(&subject, &lists()));
    assert!(begun.elapsed() < SOON);
}

#[test]
fn a_message_repeats_only_the_beginning_of_what_was_sent() {
    let error = Traffic::parse(&format!("net.dst.port == {}", "9".repeat(60_000)), &lists()).unwrap_err();
    assert!(matches!(error, RuleError::Expected { column: 17, .. }));
    assert!(error.to_string().len() < 200);
}
