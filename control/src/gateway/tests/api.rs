//! What all calls have in common: pages, versions, the audit log, and the document that describes them.

use crate::gateway::admin::ABSENT;
use crate::gateway::testing::{Credentials, Directory, TestDevice, TestGateway};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

#[tokio::test]
async fn lists_come_in_pages_and_devices_by_cursor() {
    let directory = Directory::new("pages");
    let gateway = TestGateway::start(&directory).await;
    let credentials: Credentials = gateway.enrolling_token().await;
    for number in 0..4 {
        let list = json!({ "name": format!("list {number}"), "type": "IP", "items": [{ "value": "10.0.0.1" }] });
        gateway.did(Method::POST, "/gateway/lists", Some(list)).await;
        TestDevice::new().enrol(&gateway, &credentials).await;
    }
    let (_, page) = gateway.admin(Method::GET, "/gateway/lists?page=2&per_page=3", None).await;
    assert_eq!(page["result"].as_array().unwrap().len(), 1);
    assert_eq!(
        page["result_info"],
        json!({ "page": 2, "per_page": 3, "count": 1, "total_count": 4, "total_pages": 2 })
    );
    let (status, answer) = gateway.admin(Method::GET, "/gateway/lists?page=0", None).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer["errors"][0]["message"].as_str().unwrap().contains("`page`"), "{answer}");

    for path in ["/devices/physical-devices", "/devices/registrations"] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let asked = format!("{path}?per_page=3&sort_by=created_at&sort_order=desc&cursor={cursor}");
            let (status, answer) = gateway.admin(Method::GET, &asked, None).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
            seen.extend(answer["result"].as_array().unwrap().iter().map(|thing| thing["id"].clone()));
            cursor = answer["result_info"]["cursor"].as_str().unwrap().to_owned();
            if cursor.is_empty() {
                break;
            }
        }
        let all = gateway.did(Method::GET, path, None).await;
        let mut all: Vec<Value> = all.as_array().unwrap().iter().map(|thing| thing["id"].clone()).collect();
        all.sort_by_key(Value::to_string);
        seen.sort_by_key(Value::to_string);
        assert_eq!((seen.len(), &seen), (4, &all), "{path}");
        let (status, answer) = gateway.admin(Method::GET, &format!("{path}?tag=x"), None).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "a filter is passed over: {answer}");
    }
}

#[tokio::test]
async fn a_stale_version_changes_nothing() {
    let directory = Directory::new("versions");
    let gateway = TestGateway::start(&directory).await;
    let list = json!({ "name": "servers", "type": "IP", "items": [{ "value": "10.0.0.1" }] });
    let made = gateway.did(Method::POST, "/gateway/lists", Some(list)).await;
    let path = format!("/gateway/lists/{}", made["id"].as_str().unwrap());
    let bearer = &gateway.admin_token;
    let version = async || gateway.admin_as(bearer, &[], Method::GET, &path, None).await.2.unwrap();
    let put = async |seen: &str, name: &str| {
        let body = json!({ "name": name, "type": "IP", "items": [{ "value": "10.0.0.1" }] });
        gateway.admin_as(bearer, &[("If-Match", seen)], Method::PUT, &path, Some(body)).await
    };
    let first = version().await;
    assert_eq!(first, version().await, "looking changes nothing");
    // Two administrators have seen the same; the second is told.
    let (one, other) = tokio::join!(put(&first, "by one"), put(&first, "by the other"));
    let mut outcomes = [one.0, other.0];
    outcomes.sort();
    assert_eq!(outcomes, [StatusCode::OK, StatusCode::PRECONDITION_FAILED]);
    let stale = if one.0 == StatusCode::OK { other.1 } else { one.1 };
    assert!(stale["errors"][0]["message"].as_str().unwrap().contains("stale"), "{stale}");
    let (status, _, _) = gateway.admin_as(bearer, &[("If-Match", &first)], Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(put(&version().await, "again").await.0, StatusCode::OK);
    assert_eq!(put("*", "any").await.0, StatusCode::OK);
    assert_eq!(put(&format!("\"x\", {}", version().await), "one of these").await.0, StatusCode::OK);
}

#[tokio::test]
async fn the_audit_log_says_who_changed_what_from_what_to_what() {
    let directory = Directory::new("who");
    let gateway = TestGateway::start(&directory).await;
    let made = gateway.did(Method::POST, "/access/service_tokens", Some(json!({ "name": "first" }))).await;
    let secret = made["client_secret"].as_str().unwrap();
    let id = made["id"].as_str().unwrap();
    let path = format!("/access/service_tokens/{id}");
    gateway.did(Method::PUT, &path, Some(json!({ "name": "second" }))).await;
    let rotated = gateway.did(Method::POST, &format!("{path}/rotate"), None).await;
    gateway.did(Method::DELETE, &path, None).await;
    assert_eq!(gateway.admin(Method::DELETE, &path, None).await.0, StatusCode::NOT_FOUND);

    let log = gateway.did(Method::GET, &format!("/vestibule/audit?kind=change&resource_id={id}"), None).await;
    let log = log.as_array().unwrap();
    let field = |entry: usize, path: &str| log[entry].pointer(path).cloned().unwrap_or_default();
    assert_eq!(log.len(), 4, "what was refused is not there: {log:?}");
    for entry in log {
        assert_eq!((&entry["actor_id"], &entry["resource_type"]), (&json!("admin-token"), &json!("service_token")));
    }
    assert_eq!(
        (field(0, "/status"), field(0, "/before"), field(0, "/after/name")),
        (json!(201), json!(null), json!("first"))
    );
    assert_eq!((field(1, "/before/name"), field(1, "/after/name")), (json!("first"), json!("second")));
    assert_eq!(
        (field(2, "/before/client_secret_version"), field(2, "/after/client_secret_version")),
        (json!(1), json!(2))
    );
    assert_eq!((field(3, "/before/name"), field(3, "/after")), (json!("second"), json!(null)));
    let text = Value::from(log.clone()).to_string();
    assert!(!text.contains(secret) && !text.contains(rotated["client_secret"].as_str().unwrap()));

    let (_, page) = gateway.admin(Method::GET, "/vestibule/audit?direction=desc&per_page=2&page=2", None).await;
    assert_eq!(
        page["result_info"],
        json!({ "page": 2, "per_page": 2, "count": 2, "total_count": 4, "total_pages": 2 })
    );
    assert_eq!(page["result"][1], log[0]);
    let later = gateway.did(Method::GET, "/vestibule/audit?from=2999-01-01T00:00:00Z", None).await;
    assert_eq!(later, json!([]));
    let vendors = gateway.did(Method::GET, "/audit_logs?per_page=1", None).await;
    assert_eq!((&vendors[0]["action"]["type"], &vendors[0]["resource"]["id"]), (&json!("delete"), &json!(id)));
    assert_eq!(gateway.admin(Method::GET, "/vestibule/audit?actr=x", None).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn every_documented_call_answers_and_nothing_else_does() {
    let directory = Directory::new("openapi");
    let gateway = TestGateway::start(&directory).await;
    let account = gateway.gateway.facts().account_id.clone();
    let document = gateway.http.get(format!("{}/client/v4/openapi.json", gateway.url)).send().await.unwrap();
    assert_eq!(document.status(), StatusCode::OK, "it needs no secret");
    let document: Value = document.json().await.unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = std::collections::BTreeSet::new();
    let mut calls = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let below = path.strip_prefix("/accounts/{account_id}").unwrap();
        let real: Vec<String> = below
            .split('/')
            .map(|part| if part.starts_with('{') { "none".to_owned() } else { part.to_owned() })
            .collect();
        for method in ["get", "post", "put", "patch", "delete"] {
            // A body that no call takes: nothing is changed.
            let verb: Method = method.to_uppercase().parse().unwrap();
            let (status, answer) = gateway.admin(verb, &real.join("/"), Some(json!({ "nonsense": 1 }))).await;
            let code = answer["errors"][0]["code"].as_u64().unwrap_or_default();
            let there = status != StatusCode::METHOD_NOT_ALLOWED && code != 7003;
            let told = &methods[method];
            assert_eq!(there, told.is_object(), "{method} {path}: {status} {answer}");
            if there {
                calls += 1;
                assert!(ids.insert(told["operationId"].to_string()), "{told}");
                assert!(status.is_success() || status.is_client_error(), "{method} {path}: {status} {answer}");
            }
        }
    }
    assert!(calls >= 50, "{calls}");
    let create = &document["paths"]["/accounts/{account_id}/access/service_tokens"]["post"];
    let schema = &create["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(schema["required"], json!(["name"]), "{schema}");
    assert_eq!(schema["properties"]["duration"], json!({ "type": "string" }));
    assert!(!document.to_string().contains(&account), "it tells nothing of this gateway");
}

#[tokio::test]
async fn calls_that_are_not_there_say_so() {
    let directory = Directory::new("absent");
    let gateway = TestGateway::start(&directory).await;
    for path in ABSENT {
        let (status, answer) = if path.starts_with("/zones/") {
            let response =
                gateway.http.get(format!("{}/client/v4{path}", gateway.url)).bearer_auth(&gateway.admin_token);
            let response = response.send().await.unwrap();
            (response.status(), response.json::<Value>().await.unwrap())
        } else {
            gateway.admin(Method::GET, path, None).await
        };
        assert_eq!(status, StatusCode::NOT_FOUND, "{path} is there by now: {answer}");
        // Some look like a thing of a kind that is there, which there is none of by that name.
        let code = &answer["errors"][0]["code"];
        assert!(answer["success"] == false && [7003, 10004].contains(&code.as_i64().unwrap()), "{answer}");
    }
}
