//! The vendor's published SDK for Python drives a real gateway, before a device exists and after: `sdk/vendor_sdk.py` says
//! what. `tests/setup` installs the SDK.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use vestibule_tests::admin::Token;
use vestibule_tests::authority::Authority;
use vestibule_tests::house::House;

const LIMIT: Duration = Duration::from_secs(30);

fn beside(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The certificate of an authority of clients.
fn authority(house: &House) -> PathBuf {
    let authority = house.room.0.join("authority.crt");
    if !authority.exists() {
        Authority::new(&house.room.0, "authority");
    }
    authority
}

/// Runs one stage of the script; what it left for the next.
fn drive(house: &House, stage: &str) -> Value {
    let python = beside("../target/sdk/venv/bin/python3");
    assert!(python.exists(), "no {}: tests/setup installs the vendor's SDK", python.display());
    let state = house.room.0.join("sdk.json");
    let certificate = house.room.0.join("gateway/tls/cert.pem");
    let mut command = house.inside.command(python);
    command.arg(beside("sdk/vendor_sdk.py")).arg(stage);
    command.args([house.gateway.fact("url"), house.gateway.fact("account_id"), house.gateway.fact("admin_token_file")]);
    let output = command.args([certificate, authority(house)]).arg(&state).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stage}: {printed}{said}\nthe gateway:\n{}", house.gateway.said());
    print!("{printed}");
    serde_json::from_slice(&std::fs::read(state).unwrap()).unwrap()
}

#[test]
fn the_vendors_sdk_drives_every_resource() {
    if !vestibule_tests::required("the_vendors_sdk_drives_every_resource") {
        return;
    }
    let house = House::new("sdk");
    let state = drive(&house, "configure");
    let text = |field: &str| state[field].as_str().unwrap().to_owned();
    let token = |secret| Token { id: text("token_id"), client_id: text("client_id"), secret: text(secret) };
    // Within its grace the secret of before the rotation enrols too.
    let mut device = house.device(&token("first_secret"));
    let status = device.until_connected(LIMIT);
    assert_eq!(status.identity.as_deref(), Some("non_identity@mycompany.cloudflareaccess.com"));
    assert!(house.carries(), "{}", device.said());
    // A device that is there enrols anew when its registration ends: the script counts registrations.
    device.kill();
    drive(&house, "devices");
    let mut device = house.device(&token("first_secret"));
    device.until_connected(LIMIT);
    device.kill();
    drive(&house, "end");
}
