use crate::Unsupported;
use std::io;

pub(super) async fn terminated() {
    std::future::pending().await
}

pub(super) fn begin_session() -> io::Result<()> {
    Err(Unsupported { what: "running in the background" }.into())
}

pub(super) fn silence(_errors: bool) -> io::Result<()> {
    Err(Unsupported { what: "running in the background" }.into())
}
