//! Wall time, for people only: nothing is ever decided by it.

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Milliseconds since 1970 as RFC 3339 text.
#[must_use]
pub(crate) fn text(milliseconds: i64) -> String {
    let nanoseconds = i128::from(milliseconds) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{milliseconds} ms after 1970"))
}

/// Now, in milliseconds since 1970.
#[must_use]
pub(crate) fn now() -> i64 {
    i64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_read_well_and_absurd_ones_do_not_fail() {
        assert_eq!(super::text(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert!(super::text(i64::MAX).contains("after 1970"));
    }
}
