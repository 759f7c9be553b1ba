//! A gateway and the place for a device: its MDM file, and what outlives its process.

use super::{MemoryVault, TestDevice, TwinGateway};
use crate::registration::Session;
use std::{path::PathBuf, sync::Arc};
use vestibule_platform::socket::memory::Hub;

pub(in crate::daemon) struct World {
    pub(in crate::daemon) hub: Hub,
    pub(in crate::daemon) gateway: Arc<TwinGateway>,
    pub(in crate::daemon) vault: MemoryVault,
    pub(in crate::daemon) directory: PathBuf,
}

impl World {
    pub(in crate::daemon) fn new(name: &str, mdm: &[u8]) -> Self {
        let directory = std::env::temp_dir().join(format!("vestibule-world-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("mdm.xml"), mdm).unwrap();
        let hub = Hub::new();
        Self { gateway: TwinGateway::start(&hub), hub, vault: MemoryVault::default(), directory }
    }

    pub(in crate::daemon) fn device(&self, sessions: Vec<Session>) -> TestDevice {
        TestDevice::start(&self.gateway, &self.hub, &self.vault, &self.directory.join("mdm.xml"), sessions)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
