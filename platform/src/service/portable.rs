use crate::Unsupported;
use std::io;

pub(super) async fn terminated() {
    std::future::pending().await
}

pub(super) fn begin_session() -> io::Result<()> {
    Err(Unsupported { what: "running in the background" }.into())
}

pub(super) fn freeze(_pid: u32, _frozen: bool) -> io::Result<()> {
    Err(Unsupported { what: "letting a process stand still" }.into())
}

pub(super) fn silence(_errors: bool) -> io::Result<()> {
    Err(Unsupported { what: "running in the background" }.into())
}
