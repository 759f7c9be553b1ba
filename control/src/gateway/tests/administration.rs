//! The administrator's API: authentication, envelope, strictness.

use crate::gateway::testing::{Directory, TestGateway};
use crate::gateway::{Gateway, GatewayError, Options};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

#[tokio::test]
async fn only_the_token_opens_the_api_and_only_to_its_account() {
    let directory = Directory::new("auth");
    let gateway = TestGateway::start(&directory).await;
    let account = gateway.gateway.facts().account_id.clone();
    let call = async |account: &str, token: Option<&str>| {
        let mut request = gateway.http.get(format!("{}/client/v4/accounts/{account}/gateway/rules", gateway.url));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        (status, response.json::<Value>().await.unwrap())
    };
    assert_eq!(call(&account, None).await.0, StatusCode::UNAUTHORIZED);
    let (status, body) = call(&account, Some("guess")).await;
    assert_eq!((status, &body["success"]), (StatusCode::UNAUTHORIZED, &json!(false)));
    assert_eq!(body["errors"][0]["code"], 10000);
    assert_eq!(call("other", Some(&gateway.admin_token)).await.0, StatusCode::NOT_FOUND);
    let (status, body) = call(&account, Some(&gateway.admin_token)).await;
    assert_eq!((status, &body["result"], &body["result_info"]["count"]), (StatusCode::OK, &json!([]), &json!(0)));
}

#[tokio::test]
async fn a_fresh_gateway_has_the_enrolment_app_and_lets_nobody_in() {
    let directory = Directory::new("fresh");
    let gateway = TestGateway::start(&directory).await;
    let apps = gateway.did(Method::GET, "/access/apps", None).await;
    assert_eq!((&apps[0]["type"], &apps[0]["policies"]), (&json!("warp"), &json!([])));
    assert_eq!(apps[0]["domain"], "mycompany.cloudflareaccess.com/warp");
    let settings = gateway.did(Method::GET, "/vestibule/settings", None).await;
    assert_eq!(settings["default_action_service_tokens"], "block");
    assert_eq!(settings["default_action_users"], "allow");
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let directory = Directory::new("named");
    let gateway = TestGateway::start(&directory).await;
    let refused = async |path: &str, body: Value| {
        let (status, answer) = gateway.admin(Method::POST, path, Some(body)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        answer["errors"][0]["message"].as_str().unwrap().to_owned()
    };
    let tokens = "/access/service_tokens";
    assert!(refused(tokens, json!({ "name": "x", "duration": "1 year" })).await.contains("`duration`"));
    assert!(refused(tokens, json!({ "name": "" })).await.contains("`name`"));
    assert!(refused(tokens, json!({ "name": "x", "durration": "1h" })).await.contains("`durration`"));
    assert!(refused(tokens, json!([])).await.contains("not the JSON of this call"));

    let rules = "/gateway/rules";
    let rule = |traffic: &str, identity: &str| json!({ "name": "r", "action": "allow", "traffic": traffic, "identity": identity });
    assert!(refused(rules, rule("net.dst.port == 99999", "")).await.starts_with("`traffic`, column 17:"));
    assert!(refused(rules, rule("", "identity.mail == 1")).await.starts_with("`identity`, column 1:"));
    let mut posture = rule("", "");
    posture["device_posture"] = "any(device_posture.passed[*] in {\"x\"})".into();
    assert!(refused(rules, posture).await.starts_with("`device_posture`, column 5:"));
    for (field, value) in [("schedule", json!({ "mon": "08:00-18:00" })), ("expiration", json!({ "duration": 10 }))] {
        let mut dns = rule("", "");
        dns[field] = value;
        assert!(refused(rules, dns).await.contains("belongs to DNS rules"));
    }
    let mut ssh = rule("", "");
    ssh["action"] = "audit_ssh".into();
    assert!(refused(rules, ssh.clone()).await.contains("`audit_ssh` is refused"));
    ssh["action"] = "isolate".into();
    assert!(refused(rules, ssh).await.contains("`action` must be `allow`, `block`, `l4_override`"));
    let lists = "/gateway/lists";
    let items = |kind: &str, value: &str| json!({ "name": "l", "type": kind, "items": [{ "value": value }] });
    assert!(refused(lists, items("IP", "10.0.0.0/33")).await.contains("`items.value` of type IP must be an address"));
    assert!(refused(lists, items("EMAIL", "nobody")).await.contains("of type EMAIL must be a mail address"));
    assert!(refused(lists, items("MOOD", "x")).await.contains("`type`"));
    let mut dns = rule("", "");
    dns["filters"] = json!(["dns"]);
    assert!(refused(rules, dns).await.contains("`filters`"));

    let users = "/vestibule/users";
    assert!(refused(users, json!({ "email": "a@b", "password": "short" })).await.contains("8 to 1024"));
    assert!(refused(users, json!({ "email": "nobody", "password": "long enough" })).await.contains("`email`"));
    let disguised = json!({ "email": "non_identity@mycompany.cloudflareaccess.com", "password": "long enough" });
    assert!(refused(users, disguised).await.contains("service tokens"));

    let apps = gateway.did(Method::GET, "/access/apps", None).await;
    let policies = format!("/access/apps/{}/policies", apps[0]["id"].as_str().unwrap());
    let policy = |include: Value| json!({ "name": "p", "decision": "allow", "include": include });
    assert!(refused(&policies, policy(json!([{ "geo": { "country_code": "DE" } }]))).await.contains("geo"));
    assert!(refused(&policies, policy(json!([]))).await.contains("`include`"));
    let unknown = json!([{ "service_token": { "token_id": "x" } }]);
    assert!(refused(&policies, policy(unknown)).await.contains("`service_token.token_id`"));
}

#[tokio::test]
async fn rules_and_lists_live_their_life() {
    let directory = Directory::new("rules");
    let gateway = TestGateway::start(&directory).await;
    let list = json!({ "name": "Active Directory servers", "type": "IP", "items": [{ "value": "10.20.0.10" }] });
    let list = gateway.did(Method::POST, "/gateway/lists", Some(list)).await;
    let id = list["id"].as_str().unwrap();
    let traffic = format!("net.dst.ip in ${id}");
    let body = |action: &str| json!({ "name": "directory", "action": action, "traffic": traffic, "filters": ["l4"] });
    let rule = gateway.did(Method::POST, "/gateway/rules", Some(body("allow"))).await;
    assert_eq!((&rule["precedence"], &rule["enabled"], &rule["version"]), (&json!(1000), &json!(true), &json!(1)));
    let second = gateway.did(Method::POST, "/gateway/rules", Some(body("block"))).await;
    assert_eq!(second["precedence"], 1100);
    let path = format!("/gateway/rules/{}", rule["id"].as_str().unwrap());
    let changed = gateway.did(Method::PUT, &path, Some(body("block"))).await;
    assert_eq!((&changed["action"], &changed["version"]), (&json!("block"), &json!(2)));

    let list_path = format!("/gateway/lists/{id}");
    let (status, answer) = gateway.admin(Method::DELETE, &list_path, None).await;
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    gateway.did(Method::DELETE, &path, None).await;
    gateway.did(Method::DELETE, &format!("/gateway/rules/{}", second["id"].as_str().unwrap()), None).await;
    gateway.did(Method::DELETE, &list_path, None).await;
    assert_eq!(gateway.admin(Method::GET, &path, None).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_rule_shows_what_was_written() {
    let directory = Directory::new("rule-shown");
    let gateway = TestGateway::start(&directory).await;
    let body = json!({
        "name": "web to the proxy", "description": "d", "enabled": false, "action": "l4_override", "filters": ["l4"],
        "precedence": 12, "traffic": "net.dst.port == 80",
        "identity": "any(identity.groups.name[*] in {\"staff\"})",
        "device_posture": "any(device_posture.checks.passed[*] in {\"0e1f\"})",
        "rule_settings": { "l4override": { "ip": "10.0.0.9", "port": 3128 }, "notification_settings": { "enabled": true } },
    });
    let made = gateway.did(Method::POST, "/gateway/rules", Some(body.clone())).await;
    for (field, value) in body.as_object().unwrap() {
        assert_eq!(&made[field], value, "{field}");
    }
    for field in ["id", "version", "created_at", "updated_at"] {
        assert!(!made[field].is_null(), "{field}");
    }
    assert!(made["deleted_at"].is_null());
    let path = format!("/gateway/rules/{}", made["id"].as_str().unwrap());
    assert_eq!(gateway.did(Method::GET, &path, None).await, made);
    assert_eq!(gateway.did(Method::GET, "/gateway/rules", None).await, json!([made]));
}

#[tokio::test]
async fn a_list_grows_and_shrinks_by_items() {
    let directory = Directory::new("list-items");
    let gateway = TestGateway::start(&directory).await;
    let body = json!({ "name": "staff", "type": "EMAIL", "items": [{ "value": "a@x.example", "description": "A" }] });
    let made = gateway.did(Method::POST, "/gateway/lists", Some(body)).await;
    let path = format!("/gateway/lists/{}", made["id"].as_str().unwrap());
    assert_eq!((&made["count"], &made["type"]), (&json!(1), &json!("EMAIL")));
    let patch = json!({ "append": [{ "value": "b@x.example" }, { "value": "a@x.example" }, { "value": "c@x.example" }], "remove": ["c@x.example"] });
    let patched = gateway.did(Method::PATCH, &path, Some(patch)).await;
    assert_eq!(patched["count"], 3, "{patched}");
    gateway.did(Method::PATCH, &path, Some(json!({ "remove": ["b@x.example"] }))).await;
    let items = gateway.did(Method::GET, &format!("{path}/items"), None).await;
    let values: Vec<_> = items.as_array().unwrap().iter().map(|item| item["value"].clone()).collect();
    assert_eq!(values, ["a@x.example", "c@x.example"]);
    assert_eq!(items[0], made["items"][0], "an item keeps its description and age");
    // What does not say items keeps them; what is not of the type is refused.
    let renamed = gateway.did(Method::PUT, &path, Some(json!({ "name": "people" }))).await;
    assert_eq!((&renamed["name"], &renamed["count"]), (&json!("people"), &json!(2)));
    for (method, body) in [
        (Method::PATCH, json!({ "append": [{ "value": "10.0.0.1" }] })),
        (Method::PUT, json!({ "name": "x", "type": "IP" })),
    ] {
        let (status, answer) = gateway.admin(method, &path, Some(body)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    }
    let identity = json!({ "name": "r", "action": "allow", "identity": format!("identity.email in ${}", made["id"].as_str().unwrap()) });
    let rule = gateway.did(Method::POST, "/gateway/rules", Some(identity)).await;
    assert_eq!(gateway.admin(Method::DELETE, &path, None).await.0, StatusCode::CONFLICT);
    gateway.did(Method::DELETE, &format!("/gateway/rules/{}", rule["id"].as_str().unwrap()), None).await;
    gateway.did(Method::DELETE, &path, None).await;
}

#[tokio::test]
async fn changes_are_written_down_without_their_content() {
    let directory = Directory::new("audit");
    let gateway = TestGateway::start(&directory).await;
    let user = json!({ "email": "ada@mycompany.example", "password": "correct horse" });
    gateway.did(Method::POST, "/vestibule/users", Some(user.clone())).await;
    assert_eq!(gateway.admin(Method::POST, "/vestibule/users", Some(user)).await.0, StatusCode::CONFLICT);
    let entries = gateway.did(Method::GET, "/vestibule/audit", None).await;
    let entries = entries.as_array().unwrap();
    assert_eq!(entries.len(), 1, "neither what failed nor what only looked: {entries:?}");
    assert!(entries[0]["detail"].as_str().unwrap().ends_with("/vestibule/users"));
    assert!(!entries[0].to_string().contains("correct horse"));
    let next = format!("/vestibule/audit?since={}", entries[0]["id"]);
    assert_eq!(gateway.did(Method::GET, &next, None).await, json!([]));
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart_and_secrets_are_closed_to_others() {
    let directory = Directory::new("restart");
    let gateway = TestGateway::start(&directory).await;
    let facts = gateway.gateway.facts().clone();
    gateway.token("8760h").await;
    let before = gateway.did(Method::GET, "/access/service_tokens", None).await;
    gateway.stop().await;
    let gateway = TestGateway::start(&directory).await;
    assert_eq!(gateway.did(Method::GET, "/access/service_tokens", None).await, before);
    let after = gateway.gateway.facts();
    assert_eq!(after.account_id, facts.account_id);
    assert_eq!(after.certificate_sha256, facts.certificate_sha256);
    assert_eq!(after.tunnel_public_key, facts.tunnel_public_key);

    for file in ["admin-token", "tunnel-key", "vestibule.db", "gateway.json", "tls/key.pem", "tls/cert.pem"] {
        let mode = vestibule_platform::files::mode(&directory.path().join(file)).unwrap();
        assert!(mode.is_none_or(|mode| mode == 0o600), "{file}: {mode:?}");
    }
    let json = std::fs::read_to_string(directory.path().join("gateway.json")).unwrap();
    assert!(json.contains(&after.account_id) && !json.contains(&gateway.admin_token));
}

#[tokio::test]
async fn a_directory_of_another_organisation_is_refused() {
    let directory = Directory::new("other");
    TestGateway::start(&directory).await.stop().await;
    let mut options = Options::new(directory.path().to_owned());
    options.organization = "othercompany".to_owned();
    options.https.set_port(0);
    let error = Gateway::start(options).await.err().unwrap();
    assert!(matches!(error, GatewayError::OtherOrganization { .. }), "{error}");
}

#[tokio::test]
async fn the_newer_audit_log_is_walked_by_cursor_and_filtered() {
    let directory = Directory::new("logs-audit");
    let gateway = TestGateway::start(&directory).await;
    for name in ["a", "b", "c"] {
        let body = json!({ "name": name, "type": "IP" });
        gateway.did(Method::POST, "/gateway/lists", Some(body)).await;
    }
    let (id, _) = gateway.token("1h").await;
    gateway.did(Method::DELETE, &format!("/access/service_tokens/{id}"), None).await;
    for (direction, expected) in [("desc", ["5", "4", "3", "2", "1"]), ("asc", ["1", "2", "3", "4", "5"])] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/logs/audit?limit=2&direction={direction}&cursor={cursor}");
            let (_, answer) = gateway.admin(Method::GET, &path, None).await;
            let page = answer["result"].as_array().unwrap();
            assert!((1..=2).contains(&page.len()), "{answer}");
            seen.extend(page.iter().map(|entry| entry["id"].as_str().unwrap().to_owned()));
            cursor = answer["result_info"]["cursors"]["after"].as_str().unwrap().to_owned();
            if cursor.is_empty() {
                break;
            }
        }
        // Ids count what happened, also what was refused.
        assert_eq!(seen.len(), expected.len());
        assert!(seen.is_sorted_by(|a, b| (a < b) == (direction == "asc")), "{seen:?}");
    }
    let count = async |query: &str| {
        let found = gateway.did(Method::GET, &format!("/logs/audit?{query}"), None).await;
        found.as_array().unwrap().len()
    };
    for (query, expected) in [
        ("resource_type=gateway_list", 3),
        ("resource_type.not=gateway_list", 2),
        ("action_type=delete", 1),
        ("action_type=delete&action_type=create", 5),
        ("raw_method=POST&resource_type=service_token", 1),
        ("raw_status_code=201", 4),
        ("action_result=failure", 0),
        ("actor_token_name=administrator&action_result=success", 5),
        ("since=2020-01-01&before=2020-01-02", 0),
        ("since=2020-01-01T00:00:00Z", 5),
        (&format!("resource_id={id}"), 2),
    ] {
        assert_eq!(count(query).await, expected, "{query}");
    }
    for wrong in ["zone_id=1", "limit=0", "since=yesterday", "cursor=x", "direction=up"] {
        let (status, answer) = gateway.admin(Method::GET, &format!("/logs/audit?{wrong}"), None).await;
        assert_eq!(status, reqwest::StatusCode::BAD_REQUEST, "{wrong}: {answer}");
    }
}

#[tokio::test]
async fn the_organisation_is_shown_and_what_is_here_can_be_changed() {
    let directory = Directory::new("organization");
    let gateway = TestGateway::start(&directory).await;
    let path = "/access/organizations";
    let shown = gateway.did(Method::GET, path, None).await;
    assert_eq!(
        (&shown["auth_domain"], &shown["strict_service_token_auth"]),
        (&json!("mycompany.cloudflareaccess.com"), &json!(true))
    );
    let mut same = shown.clone();
    same["service_token_inactivity"] = json!({ "enabled": true, "inactivity_threshold_days": 40, "action": "delete" });
    let changed = gateway.did(Method::PUT, path, Some(same.clone())).await;
    assert_eq!(changed, same, "what was shown can be sent back");
    let settings = gateway.did(Method::GET, "/vestibule/settings", None).await;
    assert_eq!(settings["service_token_inactivity"], same["service_token_inactivity"]);
    for (wrong, named) in [
        (json!({ "name": "another" }), "name"),
        (json!({ "strict_service_token_auth": false }), "strict_service_token_auth"),
        (json!({ "auto_redirect_to_identity": true }), "access/apps"),
        (json!({ "mfa_required_for_all_apps": true }), "mfa_required_for_all_apps"),
        (json!({ "service_token_inactivity": { "enabled": true, "inactivity_threshold_days": 7 } }), "30 to 365"),
    ] {
        let (status, answer) = gateway.admin(Method::PUT, path, Some(wrong)).await;
        assert!(status == reqwest::StatusCode::BAD_REQUEST && answer.to_string().contains(named), "{answer}");
    }
    assert_eq!(gateway.did(Method::GET, path, None).await, same);
}
