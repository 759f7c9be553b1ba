//! Counts the handshakes that the gateway's network really carries.

use super::{serve, unknown};
use serde_json::json;
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};
use vestibule_platform::capture::Initiations;

pub(super) fn run(interface: &str, port: u16) -> io::Result<()> {
    let taps = Arc::new(Mutex::new(Initiations::listen(interface, port)?));
    let pumped = taps.clone();
    thread::Builder::new().name("tap".to_owned()).spawn(move || {
        loop {
            let pumped = pumped.lock().unwrap_or_else(PoisonError::into_inner).pump(Duration::ZERO);
            if let Err(error) = pumped {
                eprintln!("host: capture: {error}");
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    })?;
    serve(|command, _| match command {
        "report" => {
            let mut taps = taps.lock().unwrap_or_else(PoisonError::into_inner);
            while taps.pump(Duration::ZERO)? {}
            Ok(json!({ "initiations": taps.count(), "missed": taps.missed()? }))
        }
        "recorded" => {
            let taps = taps.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(json!({ "datagrams": taps.recorded().map(hex::encode).collect::<Vec<_>>() }))
        }
        _ => Err(unknown(command)),
    })
}
