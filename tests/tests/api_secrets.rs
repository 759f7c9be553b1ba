//! Secrets are shown once: after everything that can be done with them none is in a log, a database, or an answer.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use reqwest::Method;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use vestibule_tests::admin::{Reply, Token};
use vestibule_tests::device::{Device, mdm};
use vestibule_tests::house::House;

const LIMIT: Duration = Duration::from_secs(30);

/// All files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        if entry.path().is_dir() { found.extend(files(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}

fn holds(text: &[u8], secret: &str) -> bool {
    text.windows(secret.len()).any(|window| window == secret.as_bytes())
}

#[test]
fn secrets_are_in_no_log_no_database_and_no_second_answer() {
    if !vestibule_tests::required("secrets_are_in_no_log_no_database_and_no_second_answer") {
        return;
    }
    let house = House::under("secrets", &["env", "RUST_LOG=trace"]);
    let admin = &house.admin;
    let mut answers: Vec<Reply> = Vec::new();
    let mut call = |method: Method, path: &str, body: Option<Value>| {
        let body = body.map(|body| body.to_string().into_bytes());
        let reply = admin.send(method, path, body).unwrap();
        answers.push(reply.clone());
        reply
    };
    let token = admin.token("Devices", "1h");
    let mut secrets = vec![token.secret.clone()];
    let path = format!("access/service_tokens/{}", token.id);

    // A device enrols, one with a wrong secret does not, and all that a token can go through.
    let wrong = admin.token("Another", "1h").secret;
    let start = || Device::start(&house.outside, &house.paths, &house.gateway, &["env", "RUST_LOG=trace"]);
    house.paths.deploy(mdm(&token));
    let mut device = start();
    device.until_connected(LIMIT);
    device.kill();
    let mut log = device.said();
    fs::remove_dir_all(house.room.0.join("device")).unwrap();
    house.paths.deploy(mdm(&Token { secret: wrong.clone(), ..token.clone() }));
    let mut device = start();
    device.until("refused", LIMIT, |status| {
        status.last_error.as_ref().is_some_and(|error| error.message.contains("token_secret_wrong"))
    });
    device.kill();
    log.push_str(&device.said());
    secrets.push(wrong);
    let grace = json!({ "previous_client_secret_expires_at": "2999-01-01T00:00:00Z" });
    for (method, below, body) in [
        (Method::POST, "/rotate", Some(grace)),
        (Method::POST, "/rotate", None),
        (Method::PUT, "", Some(json!({ "client_secret_version": 4 }))),
    ] {
        let reply =
            admin.send(method, &format!("{path}{below}"), body.map(|b: Value| b.to_string().into_bytes())).unwrap();
        assert!(reply.done(), "{reply:?}");
        secrets.push(reply.body["result"]["client_secret"].as_str().unwrap().to_owned());
    }
    call(Method::POST, &format!("{path}/refresh"), None);
    call(Method::PUT, &path, Some(json!({ "enabled": false })));
    // An API token, rolled; a user; a provider.
    let groups = admin.get("tokens/permission_groups");
    let resources = json!({ format!("com.cloudflare.api.account.{}", house.gateway.fact("account_id")): "*" });
    let policy = json!({ "effect": "allow", "permission_groups": [{ "id": groups[0]["id"] }], "resources": resources });
    let made = admin.call(Method::POST, "tokens", Some(json!({ "name": "CI", "policies": [policy] })));
    secrets.push(made["value"].as_str().unwrap().to_owned());
    let rolled = admin.call(Method::PUT, &format!("tokens/{}/value", made["id"].as_str().unwrap()), Some(json!({})));
    let value = rolled.as_str().unwrap();
    secrets.push(value.to_owned());
    answers.push(admin.send_as(Some(value), Method::GET, "tokens/verify", None).unwrap());
    answers.push(admin.send_as(Some(value), Method::POST, "gateway/rules", None).unwrap());
    answers.push(admin.send_as(Some(&value[..50]), Method::GET, "gateway/rules", None).unwrap());
    let password = "correct horse battery staple".to_owned();
    let user = json!({ "email": "alice@mycompany.example", "password": password });
    let mut call = |method: Method, path: &str, body: Option<Value>| {
        let reply = admin.send(method, path, body.map(|body| body.to_string().into_bytes())).unwrap();
        answers.push(reply);
    };
    call(Method::POST, "vestibule/users", Some(user.clone()));
    call(Method::POST, "vestibule/users", Some(user));
    // Refusals that could repeat what was sent.
    call(Method::POST, "vestibule/users", Some(json!({ "email": "x", "password": password })));
    call(Method::POST, "vestibule/users", Some(json!({ "email": "b@c.example", "password": [password] })));
    call(Method::PUT, &path, Some(json!({ "client_secret": secrets[0] })));
    secrets.push(password);
    for path in [
        "access/service_tokens",
        "access/apps",
        "tokens?include_expired=true",
        "vestibule/users",
        "vestibule/audit",
        "audit_logs",
        "vestibule/status",
        "vestibule/settings",
        "devices/physical-devices",
        "devices/registrations?status=all",
        &path,
    ] {
        call(Method::GET, path, None);
    }

    let shown: Vec<String> = answers.iter().map(|answer| answer.body.to_string()).collect();
    let admin_token = fs::read_to_string(house.gateway.fact("admin_token_file")).unwrap().trim().to_owned();
    assert!(log.contains("DEBUG"), "the device's log is not what it should be: {} bytes", log.len());
    let gateways = house.gateway.said();
    assert!(gateways.contains("DEBUG") && gateways.len() > 10_000, "nor the gateway's: {} bytes", gateways.len());
    log.push_str(&gateways);
    let kept: Vec<(PathBuf, Vec<u8>)> =
        files(&house.room.0.join("gateway")).into_iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect();
    // What the database was told is in these files, be it in its own or in the log beside it.
    assert!(
        kept.iter().any(|(_, content)| holds(content, "alice@mycompany.example")),
        "no database is among the files"
    );
    for secret in secrets.iter().chain([&admin_token]) {
        assert!(secret.len() >= 20);
        let repeats = shown.iter().find(|answer| answer.contains(secret.as_str()));
        let repeats = repeats.map(|answer| answer.replace(secret.as_str(), "SECRET"));
        assert_eq!(repeats, None, "an answer repeats a secret");
        assert!(!holds(log.as_bytes(), secret), "the log has a secret");
        for (path, content) in &kept {
            let own = path.ends_with("admin-token") && *secret == admin_token;
            assert!(own || !holds(content, secret), "{} has a secret", path.display());
        }
    }
    println!("{} secrets, {} files, {} bytes of log, {} answers", secrets.len(), kept.len(), log.len(), answers.len());
}
