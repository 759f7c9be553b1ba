//! SIGKILL at the gateway under mixed writes by several administrators at once: every acknowledged write is there after
//! the restart exactly as it was answered, what was under way is there whole or not at all, and the audit log has it all.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;
use vestibule_tests::admin::Admin;
use vestibule_tests::flood::Numbers;
use vestibule_tests::house::House;

const WRITERS: usize = 4;
const WRITES: usize = 1_000;
/// Even if all writes were made in one life of the gateway.
const FEWEST_KILLS: usize = 5;

/// A write that was not answered.
#[derive(Clone, Debug)]
enum Open {
    Made { collection: String, body: Value },
    Changed { id: String, body: Value },
    Deleted { id: String },
}

/// What was acknowledged: each thing by its id, in its collection, as the answer showed it.
#[derive(Default)]
struct Told {
    things: BTreeMap<String, (String, Value)>,
    open: Vec<Open>,
    writes: usize,
}

/// The collection and body of a writer's next thing.
fn thing(app: &str, kind: usize, name: &str) -> (String, Value) {
    match kind % 16 {
        // Not at once after each start: hashing a password takes long.
        8 => (
            "vestibule/users".to_owned(),
            json!({ "email": format!("{name}@mycompany.example"), "name": name, "password": "a long password" }),
        ),
        n if n % 4 == 0 => ("access/service_tokens".to_owned(), json!({ "name": name, "duration": "60m" })),
        n if n % 4 == 1 => (
            "gateway/rules".to_owned(),
            json!({ "name": name, "action": "block", "description": "first", "traffic": "net.dst.port == 23" }),
        ),
        n if n % 4 == 2 => (
            "gateway/lists".to_owned(),
            json!({ "name": name, "type": "IP", "description": "first", "items": [{ "value": "10.0.0.1" }, { "value": "10.0.1.0/24" }] }),
        ),
        _ => (
            format!("access/apps/{app}/policies"),
            json!({ "name": name, "decision": "allow", "include": [{ "email": { "email": "a@b.example" } }] }),
        ),
    }
}

/// The same with something changed.
fn changed(body: &Value) -> Value {
    let mut body = body.clone();
    for (field, value) in [("description", "second".into()), ("decision", "deny".into()), ("duration", "90m".into())] {
        if body.get(field).is_some() {
            body[field] = value;
        }
    }
    body
}

/// Without what is shown once or moves by itself.
fn settled(mut shown: Value) -> Value {
    for field in ["client_secret", "last_seen_at"] {
        let _ = shown.as_object_mut().unwrap().remove(field);
    }
    shown
}

/// Makes, changes and deletes until the gateway does not answer any longer.
fn write(admin: &Admin, app: &str, prefix: &str) -> Told {
    let mut told = Told::default();
    let send = |method: Method, path: &str, body: Option<&Value>| {
        let reply = admin.send(method, path, body.map(|body| body.to_string().into_bytes())).ok()?;
        assert!(reply.done(), "{path}: {reply:?}");
        Some(reply.body["result"].clone())
    };
    for number in 0.. {
        let (collection, body) = thing(app, number, &format!("{prefix}.{number}"));
        let Some(made) = send(Method::POST, &collection, Some(&body)) else {
            told.open.push(Open::Made { collection, body });
            break;
        };
        told.writes += 1;
        let id = made["id"].as_str().unwrap().to_owned();
        let path = format!("{collection}/{id}");
        told.things.insert(id.clone(), (collection, settled(made)));
        if number % 3 == 1 && body.get("password").is_none() {
            let body = changed(&body);
            let Some(shown) = send(Method::PUT, &path, Some(&body)) else {
                told.open.push(Open::Changed { id, body });
                break;
            };
            told.writes += 1;
            told.things.get_mut(&id).unwrap().1 = settled(shown);
        }
        // Few stay, so that the rules do not grow and grow.
        if number % 5 != 2 {
            if send(Method::DELETE, &path, None).is_none() {
                told.open.push(Open::Deleted { id });
                break;
            }
            told.writes += 1;
            told.things.remove(&id);
        }
    }
    told
}

/// Whether a thing has all that a body asked for.
fn has(item: &Value, body: &Value) -> bool {
    body.as_object().unwrap().iter().all(|(field, value)| match field.as_str() {
        "password" => true,
        "items" => {
            let values = |items: &Value| -> Vec<Value> {
                items.as_array().into_iter().flatten().map(|item| item["value"].clone()).collect()
            };
            values(&item[field]) == values(value)
        }
        _ => item[field] == *value,
    })
}

/// Holds what is there against what was told; what was open counts from now on as what it became.
fn compare(house: &House, app: &str, told: &mut Told, round: usize) {
    let collections = [
        "vestibule/users".to_owned(),
        "access/service_tokens".to_owned(),
        "gateway/rules".to_owned(),
        "gateway/lists".to_owned(),
        format!("access/apps/{app}/policies"),
    ];
    let mut found: BTreeMap<String, (String, Value)> = BTreeMap::new();
    for collection in collections {
        for item in house.admin.get(&collection).as_array().unwrap() {
            let mut item = item.clone();
            // Lists are listed without their items.
            if collection == "gateway/lists" {
                item = house.admin.get(&format!("{collection}/{}", item["id"].as_str().unwrap()));
            }
            found.insert(item["id"].as_str().unwrap().to_owned(), (collection.clone(), settled(item)));
        }
    }
    for open in std::mem::take(&mut told.open) {
        match open {
            Open::Made { collection, body } => {
                let made = found.iter().find(|(_, (place, item))| *place == collection && item["name"] == body["name"]);
                if let Some((id, thing)) = made {
                    assert!(has(&thing.1, &body), "round {round}: half of {body}: {}", thing.1);
                    told.things.insert(id.clone(), thing.clone());
                }
            }
            Open::Changed { id, body } => {
                let now = &found[&id].1;
                if *now != told.things[&id].1 {
                    assert!(has(now, &body), "round {round}: half of {body}: {now}");
                    told.things.get_mut(&id).unwrap().1 = now.clone();
                }
            }
            Open::Deleted { id } => {
                if !found.contains_key(&id) {
                    told.things.remove(&id);
                }
            }
        }
    }
    for (id, thing) in &told.things {
        assert_eq!(found.get(id), Some(thing), "round {round}: not as it was acknowledged");
    }
    assert_eq!(found.len(), told.things.len(), "round {round}: more than was acknowledged");
}

#[test]
fn a_gateway_killed_under_mixed_writes_of_several_administrators_keeps_every_acknowledged_one() {
    if !vestibule_tests::required(
        "a_gateway_killed_under_mixed_writes_of_several_administrators_keeps_every_acknowledged_one",
    ) {
        return;
    }
    let mut house = House::new("kill-mixed");
    let mut numbers = Numbers(20_261_123);
    let app = house.admin.get("access/apps")[0]["id"].as_str().unwrap().to_owned();
    let limit = json!({ "service_token_limit": 10_000 });
    let _ = house.admin.call(Method::PUT, "vestibule/settings", Some(limit));
    let mut told = Told::default();
    for rule in house.admin.get("gateway/rules").as_array().unwrap() {
        told.things
            .insert(rule["id"].as_str().unwrap().to_owned(), ("gateway/rules".to_owned(), settled(rule.clone())));
    }
    let mut rounds = 0;
    while told.writes < WRITES || rounds < FEWEST_KILLS {
        let writing: Vec<_> = (0..WRITERS)
            .map(|writer| {
                // A seat of its own, so that they write at the same time.
                let (admin, app) = (Admin::seat(&house.inside, &house.gateway), app.clone());
                thread::spawn(move || write(&admin, &app, &format!("w{writer}-{rounds}")))
            })
            .collect();
        thread::sleep(Duration::from_millis(300 + numbers.draw() % 4_000));
        house.kill_gateway();
        for writer in writing {
            let more = writer.join().unwrap();
            told.writes += more.writes;
            told.things.extend(more.things);
            told.open.extend(more.open);
        }
        house.restart_gateway();
        compare(&house, &app, &mut told, rounds);
        rounds += 1;
        assert!(rounds < 60, "only {} writes in {rounds} rounds", told.writes);
    }
    let changes = house.admin.send(Method::GET, "vestibule/audit?kind=change&per_page=1", None).unwrap();
    let audited = changes.body["result_info"]["total_count"].as_u64().unwrap() as usize;
    println!(
        "{rounds} kills, {} acknowledged writes, {} things left, {audited} audited",
        told.writes,
        told.things.len()
    );
    assert!(audited >= told.writes && audited <= told.writes + 2 + rounds * WRITERS, "{audited} of {}", told.writes);
}
