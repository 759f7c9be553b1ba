pub(super) async fn terminated() {
    std::future::pending().await
}
