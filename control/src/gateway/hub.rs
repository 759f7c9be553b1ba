//! Who waits for news: the devices' long polls.

use super::known::Knowledge;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

/// Wakes long polls: all of them when rules or profiles change, one registration's when something of it does.
#[derive(Debug)]
pub(super) struct Hub {
    everybody: watch::Sender<()>,
    waiting: Mutex<HashMap<Uuid, Waiting>>,
    /// What is known of who waits; forgotten when it changes, before anybody is woken.
    pub(super) knowledge: Knowledge,
}

/// The polls of one registration.
#[derive(Debug)]
struct Waiting {
    device: String,
    notify: Arc<Notify>,
}

impl Hub {
    pub(super) fn new() -> Self {
        Self { everybody: watch::Sender::new(()), waiting: Mutex::default(), knowledge: Knowledge::default() }
    }

    /// Rules, profiles or what else concerns everybody changed.
    pub(super) fn all_changed(&self) {
        self.everybody.send_replace(());
    }

    /// A registration was revoked, restored or deleted, or something else of it changed.
    pub(super) fn registration_changed(&self, id: &Uuid) {
        self.knowledge.forget(id);
        if let Some(waiting) = self.waiting().get(id) {
            waiting.notify.notify_waiters();
        }
    }

    /// Something of these devices changed, whatever their registrations.
    pub(super) fn devices_changed(&self, devices: &[String]) {
        self.knowledge.forget_devices(devices);
        let waiting = self.waiting();
        for waiting in waiting.values().filter(|waiting| devices.contains(&waiting.device)) {
            waiting.notify.notify_waiters();
        }
    }

    /// Waits for news of a registration. Subscribe first, look at the state next, wait last: nothing slips between.
    pub(super) fn subscribe(&self, id: Uuid, device: &str) -> Subscription<'_> {
        let new = || Waiting { device: device.to_owned(), notify: Arc::default() };
        let notify = Arc::clone(&self.waiting().entry(id).or_insert_with(new).notify);
        Subscription { hub: self, id, notify, everybody: self.everybody.subscribe() }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Uuid, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One long poll.
pub(super) struct Subscription<'a> {
    hub: &'a Hub,
    id: Uuid,
    notify: Arc<Notify>,
    everybody: watch::Receiver<()>,
}

impl Subscription<'_> {
    /// A future that ends at the next news after this call.
    pub(super) fn news(&mut self) -> impl Future<Output = ()> + '_ {
        let mut notified = Box::pin(Arc::clone(&self.notify).notified_owned());
        notified.as_mut().enable();
        self.everybody.mark_unchanged();
        async move {
            tokio::select! {
                () = notified => {}
                // An error means that the gateway ends, which is news.
                _ = self.everybody.changed() => {}
            }
        }
    }
}

impl Drop for Subscription<'_> {
    fn drop(&mut self) {
        let mut waiting = self.hub.waiting();
        // Ours and the map's: nobody else waits.
        if waiting.get(&self.id).is_some_and(|waiting| Arc::strong_count(&waiting.notify) <= 2) {
            waiting.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn arrives(news: impl Future<Output = ()>) -> bool {
        tokio::time::timeout(Duration::from_millis(50), news).await.is_ok()
    }

    #[tokio::test]
    async fn rules_wake_everybody_and_a_registration_only_its_own() {
        let hub = Hub::new();
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let (mut first, mut second) = (hub.subscribe(a, "d"), hub.subscribe(b, "e"));
        let (first_news, second_news) = (first.news(), second.news());
        hub.registration_changed(&a);
        assert!(arrives(first_news).await);
        assert!(!arrives(second_news).await);
        let (first_news, second_news) = (first.news(), second.news());
        hub.devices_changed(&["e".to_owned()]);
        assert!(!arrives(first_news).await && arrives(second_news).await);
        let (first_news, second_news) = (first.news(), second.news());
        hub.all_changed();
        assert!(arrives(first_news).await && arrives(second_news).await);
    }

    #[tokio::test]
    async fn nothing_is_kept_of_those_who_left() {
        let hub = Hub::new();
        let mut subscription = hub.subscribe(Uuid::from_u128(7), "d");
        let second = hub.subscribe(Uuid::from_u128(7), "d");
        assert!(!arrives(subscription.news()).await);
        drop(second);
        assert_eq!(hub.waiting().len(), 1);
        drop(subscription);
        assert!(hub.waiting().is_empty());
    }
}
