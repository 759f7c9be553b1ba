//! `/vestibule/status`: what the gateway does right now.

use super::envelope::{Answer, one};
use crate::gateway::app::App;
use crate::gateway::clock;
use crate::gateway::dataplane::{Live, Stage};
use crate::gateway::store::Device;
use axum::extract::State;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use vestibule_engine::core::{Counters, DropReason};

pub(super) async fn show(State(app): State<Arc<App>>) -> Answer {
    let live = app.plane.live();
    let mut devices = Vec::new();
    for device in app.store.devices().await? {
        devices.push(shown(&app, &device, &live).await?);
    }
    let plain: Vec<_> = live.iter().filter(|live| live.tunnel.owner.is_none()).map(generation).collect();
    let book = app.book();
    one(json!({
        "organization": app.settings.organization,
        "account_id": app.settings.account_id,
        "uptime_seconds": app.started.elapsed().as_secs(),
        "endpoint": app.settings.endpoint,
        "policy_version": book.version(),
        "swaps": app.store.swap_count().await?,
        "devices": devices,
        "plain_peers": plain,
        "counters": counters(app.plane.counters()),
        "worker": app.plane.outcome().map_or_else(|| "running".to_owned(), |reason| reason.to_string()),
    }))
}

async fn shown(app: &App, device: &Device, live: &[Live]) -> Result<Value, crate::gateway::store::StoreError> {
    let mine: Vec<&Live> = live
        .iter()
        .filter(|live| live.tunnel.owner.as_ref().is_some_and(|owner| owner.device_id == device.id))
        .collect();
    let active = mine.iter().find(|live| live.stage == Stage::Active);
    let handshake = match active {
        Some(live) => app.store.handshake(&live.tunnel.tunnel_key).await?,
        None => None,
    };
    Ok(json!({
        "id": device.id,
        "name": device.facts.name,
        "address": device.address,
        "identity": active.map(|live| live.tunnel.subject.email()),
        "registration": active.and_then(|live| live.tunnel.owner.as_ref()).map(|owner| owner.registration),
        "last_handshake_at": handshake.map(|(_, at)| clock::rfc3339(at)),
        "last_seen_at": device.last_seen_at.map(clock::rfc3339),
        "generations": mine.into_iter().map(generation).collect::<Vec<_>>(),
    }))
}

fn generation(live: &Live) -> Value {
    json!({
        "identity": live.tunnel.subject.email(),
        "stage": live.stage,
        "since": clock::rfc3339(live.since),
        "swap_seq": live.tunnel.swap_seq,
    })
}

fn counters(counters: &Counters) -> Value {
    let drops: Map<String, Value> =
        DropReason::ALL.iter().map(|reason| (reason.name().to_owned(), counters.drops(*reason).into())).collect();
    json!({
        "frames": counters.frames.get(),
        "sealed": counters.sealed.get(),
        "datagrams": counters.datagrams.get(),
        "opened": counters.opened.get(),
        "delivered": counters.delivered.get(),
        "flows_allowed": counters.flows_allowed.get(),
        "flows_denied": counters.flows_denied.get(),
        "flows_closed": counters.flows_closed.get(),
        "answers": counters.answers.get(),
        "fragmented": counters.fragmented.get(),
        "handshakes": counters.handshakes.get(),
        "commits": counters.commits.get(),
        "retired": counters.retired.get(),
        "connections_failed": counters.connections_failed.get(),
        "connections_unused": counters.connections_unused.get(),
        "tunnels_refused": counters.tunnels_refused.get(),
        "peers_malformed": counters.peers_malformed.get(),
        "peers_excessive": counters.peers_excessive.get(),
        "drops": drops,
    })
}
