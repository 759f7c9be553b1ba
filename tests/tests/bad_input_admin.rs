//! Malformed calls to the administrator's API: every refusal is in the envelope and names what is wrong, and nothing
//! is changed by any of them.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use reqwest::Method;
use serde_json::{Value, json};
use vestibule_tests::house::House;

/// Everything that the API shows and that a call could have changed.
fn everything(house: &House) -> Vec<Value> {
    let paths = [
        "access/service_tokens",
        "access/apps",
        "gateway/rules",
        "gateway/lists",
        "vestibule/users",
        "vestibule/identity_providers",
        "vestibule/settings",
        "devices/physical-devices",
        "devices/registrations",
        "vestibule/audit",
    ];
    paths.iter().map(|path| house.admin.get(path)).collect()
}

#[test]
fn a_malformed_call_is_refused_by_name_and_changes_nothing() {
    if !vestibule_tests::required("a_malformed_call_is_refused_by_name_and_changes_nothing") {
        return;
    }
    let house = House::new("admin");
    let token = house.admin.token("Devices", "1h");
    let made = json!({ "name": "List", "type": "IP", "items": [{ "value": "10.0.0.0/8" }] });
    let list = house.admin.call(Method::POST, "gateway/lists", Some(made))["id"].as_str().unwrap().to_owned();
    let rule = house.admin.get("gateway/rules")[0]["id"].as_str().unwrap().to_owned();
    let app = house.admin.get("access/apps")[0]["id"].as_str().unwrap().to_owned();
    let before = everything(&house);

    let long = "x".repeat(100_000);
    let (tokens, rules, lists) = ("access/service_tokens", "gateway/rules", "gateway/lists");
    let users = "vestibule/users";
    let (token_path, policies) = (format!("{tokens}/{}", token.id), format!("access/apps/{app}/policies"));
    let (rule_path, list_path) = (format!("{rules}/{rule}"), format!("{lists}/{list}"));
    let text = |value: Value| value.to_string();
    // Method, path, body, status, and what the message names.
    let wrong: Vec<(Method, &str, String, u16, &str)> = vec![
        (Method::POST, rules, "{\"name\": \"half".to_owned(), 400, "JSON"),
        (Method::POST, rules, "{} {}".to_owned(), 400, "JSON"),
        (Method::POST, rules, String::new(), 400, "JSON"),
        (Method::POST, rules, "\u{0}\u{1}".to_owned(), 400, "JSON"),
        (Method::POST, rules, "[".repeat(100_000), 400, "JSON"),
        (Method::POST, rules, text(json!({ "action": "allow" })), 400, "`name`"),
        (Method::POST, rules, text(json!({ "name": "r", "action": "allow", "trafic": "" })), 400, "`trafic`"),
        (Method::POST, rules, text(json!({ "name": "r", "action": "perhaps" })), 400, "`action`"),
        (
            Method::POST,
            rules,
            text(json!({ "name": "r", "action": "allow", "precedence": "first" })),
            400,
            "`precedence`",
        ),
        (Method::POST, rules, text(json!({ "name": "r", "action": "allow", "enabled": 1 })), 400, "`enabled`"),
        (Method::POST, rules, text(json!({ "name": "r", "action": "allow", "traffic": ["any"] })), 400, "`traffic`"),
        (
            Method::POST,
            rules,
            text(json!({ "name": "r", "action": "allow", "traffic": "net.dst.ip in" })),
            400,
            "`traffic`",
        ),
        (Method::POST, rules, text(json!({ "name": "r", "action": "allow", "identity": "who ==" })), 400, "`identity`"),
        (Method::POST, rules, text(json!({ "name": "r", "action": "allow", "filters": ["http"] })), 400, "`filters`"),
        (
            Method::POST,
            rules,
            text(json!({ "name": "r", "action": "allow", "filters": ["l4", 4] })),
            400,
            "`filters[1]`",
        ),
        (Method::POST, rules, text(json!({ "name": long, "action": "allow" })), 400, "`name`"),
        (
            Method::POST,
            rules,
            text(json!({ "name": "r", "action": "allow", "description": long })),
            400,
            "`description`",
        ),
        (
            Method::POST,
            rules,
            text(json!({ "name": "r", "action": "allow", "traffic": "x".repeat(3 << 20) })),
            413,
            "2097152",
        ),
        (Method::PUT, &rule_path, text(json!({ "name": 7, "action": "allow" })), 400, "`name`"),
        (Method::PUT, &rule_path, text(json!({ "name": "\u{7}", "action": "allow" })), 400, "`name`"),
        (
            Method::POST,
            lists,
            text(json!({ "name": "l", "items": [{ "value": "10.0.0.0/40" }] })),
            400,
            "`items.value`",
        ),
        (Method::POST, lists, text(json!({ "name": "l", "items": [{ "value": 10 }] })), 400, "`items[0].value`"),
        (Method::PUT, &list_path, text(json!({ "name": "l", "type": "EMAIL" })), 400, "`type`"),
        (Method::POST, lists, text(json!({ "name": "l", "description": long })), 400, "`description`"),
        (Method::POST, tokens, text(json!({ "name": "t", "duration": "1 year" })), 400, "`duration`"),
        (Method::POST, tokens, text(json!({ "name": "t", "duration": 3600 })), 400, "`duration`"),
        (Method::POST, tokens, text(json!({ "name": long })), 400, "`name`"),
        (Method::PUT, &token_path, text(json!({ "enabled": "no" })), 400, "`enabled`"),
        (Method::PUT, &token_path, text(json!({ "client_secret_version": 7 })), 400, "`client_secret_version`"),
        (Method::PUT, &token_path, text(json!({ "previous_client_secret_expires_at": "soon" })), 400, "expires_at`"),
        (Method::POST, &policies, text(json!({ "name": "p", "decision": "allow" })), 400, "`include`"),
        (Method::POST, &policies, text(json!({ "name": "p", "decision": "maybe", "include": [] })), 400, "`decision`"),
        (
            Method::POST,
            &policies,
            text(
                json!({ "name": "p", "decision": "non_identity", "include": [{ "service_token": { "token_id": "none" } }] }),
            ),
            400,
            "`service_token.token_id`",
        ),
        (
            Method::POST,
            &policies,
            text(json!({ "name": "p", "decision": "allow", "include": [{ "email": { "email": 5 } }] })),
            400,
            "`include[0]",
        ),
        (
            Method::POST,
            users,
            text(json!({ "email": "nobody", "password": "long enough for everybody" })),
            400,
            "`email`",
        ),
        (Method::POST, users, text(json!({ "email": "a@b.example", "password": 12 })), 400, "`password`"),
        (Method::POST, users, text(json!({ "email": "a@b.example", "password": long })), 400, "`password`"),
        (
            Method::POST,
            users,
            text(json!({ "email": "a@b.example", "name": long, "password": "long enough for all" })),
            400,
            "`name`",
        ),
        (
            Method::PUT,
            "vestibule/settings",
            text(json!({ "default_action_users": true })),
            400,
            "`default_action_users`",
        ),
        (Method::POST, lists, text(json!({ "name": "List", "type": "IP" })), 409, "taken"),
        (Method::POST, "tokens", text(json!({ "name": "t", "policies": [] })), 400, "`policies`"),
        (Method::POST, "tokens", text(json!({ "name": "t", "polices": [] })), 400, "`polices`"),
        (
            Method::POST,
            "tokens",
            text(
                json!({ "name": "t", "policies": [{ "effect": "allow", "permission_groups": [{ "id": "x" }], "resources": {} }] }),
            ),
            400,
            "`permission_groups.id`",
        ),
        (Method::PUT, "vestibule/settings", text(json!({ "service_token_limit": 0 })), 400, "`service_token_limit`"),
        (Method::GET, "gateway/rules?page=first", String::new(), 400, "`page`"),
        (Method::GET, "devices/registrations?cursor=x", String::new(), 400, "`cursor`"),
        (Method::GET, "devices/registrations?stauts=all", String::new(), 400, "`stauts`"),
        (Method::GET, "vestibule/audit?from=yesterday", String::new(), 400, "`from`"),
        (Method::DELETE, "gateway/rules/none", String::new(), 404, "rule"),
        (Method::PUT, "access/service_tokens/none", "{}".to_owned(), 404, "service token"),
        (Method::GET, "access/service_tokens/%ff%fe", String::new(), 400, "path"),
        (Method::GET, "gateway/nothing", String::new(), 404, "path"),
        (Method::PATCH, rules, "{}".to_owned(), 405, "methods"),
    ];
    let mut failures = Vec::new();
    for (method, path, body, status, named) in &wrong {
        let about = format!("{method} {path} {}", body.chars().take(120).collect::<String>());
        let reply = house.admin.send(method.clone(), path, Some(body.clone().into_bytes())).unwrap();
        let envelope = reply.body["success"] == false && reply.body["errors"][0]["message"].is_string();
        let message = reply.body["errors"][0]["message"].as_str().unwrap_or_default();
        if reply.status != *status || !envelope || !message.contains(named) {
            failures.push(format!("{about}\n    wanted {status} naming {named}, got {} {message}", reply.status));
        }
        if message.len() > 1_000 {
            failures.push(format!("{about}\n    the message has {} bytes", message.len()));
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), wrong.len(), failures.join("\n"));

    for bearer in [None, Some(""), Some("guess"), Some("x y"), Some(long.as_str())] {
        for (method, path) in [(Method::GET, tokens), (Method::DELETE, rule_path.as_str()), (Method::GET, "nothing")] {
            let reply = house.admin.send_as(bearer, method, path, None).unwrap();
            if reply.status == 431 {
                // The header was too long to be read at all.
                continue;
            }
            assert_eq!(reply.status, 401, "{bearer:?}");
            assert!(reply.refusal().contains("Authorization: Bearer"), "{reply:?}");
        }
    }
    // Half a call: the connection is cut in the middle of a body, at a point where what came is JSON by itself.
    let admin_token = std::fs::read_to_string(house.gateway.fact("admin_token_file")).unwrap();
    let bearer = format!("Authorization: Bearer {}", admin_token.trim());
    let base = format!("{}/client/v4/accounts/{}", house.gateway.fact("url"), house.gateway.fact("account_id"));
    for (method, path) in [("POST", rules), ("PUT", rule_path.as_str()), ("POST", users), ("POST", tokens)] {
        let body = r#"{"name": "half", "action": "block", "email": "a@b.example", "password": "long enough"}"#;
        let url = format!("{base}/{path}");
        let words = ["-sk", "-m", "1", "-X", method, &url, "-H", &bearer, "-H", "Content-Length: 4000", "-d", body];
        let cut = house.inside.command("curl").args(words).status().unwrap();
        assert_eq!(cut.code(), Some(28), "{method} {path}: it was answered before it was whole");
    }
    // A stale version, and a version of nothing.
    for (path, version) in [(rule_path.as_str(), "\"0123456789abcdef\""), (list_path.as_str(), "W/\"x\"")] {
        let url = format!("{base}/{path}");
        let header = format!("If-Match: {version}");
        let answer = house.inside.run("curl", &["-sk", "-X", "DELETE", &url, "-H", &bearer, "-H", &header]);
        assert!(answer.contains("10412") && answer.contains("stale"), "{answer}");
    }
    assert_eq!(everything(&house), before, "a refused call changed something");
    println!("{} malformed calls, each refused by name", wrong.len() + 15);
}
