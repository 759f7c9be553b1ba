//! Durations as Go writes them: `8760h`, `1h30m`, `1.5s`.

use super::store::Millis;

/// A token's life when none is given: a year.
pub(super) const DEFAULT: &str = "8760h";
/// Longest life taken: 100 years, so that no arithmetic on times can overflow.
const MAX_MILLIS: f64 = 100.0 * 365.25 * 86_400_000.0;

/// Reads a duration above zero; what was expected is the error.
pub(crate) fn parse(text: &str) -> Result<Millis, &'static str> {
    const EXPECTED: &str = "a duration above zero and up to 100 years, like `60m`, `1h30m` or `8760h` \
                            (units ns, us, ms, s, m, h)";
    let mut rest = text.trim();
    let mut millis = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(EXPECTED)?;
        let value: f64 = rest[..digits].parse().map_err(|_| EXPECTED)?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        millis += value
            * match &rest[..unit] {
                "ns" => 1e-6,
                "us" | "µs" => 1e-3,
                "ms" => 1.0,
                "s" => 1e3,
                "m" => 6e4,
                "h" => 3.6e6,
                _ => return Err(EXPECTED),
            };
        rest = &rest[unit..];
    }
    if !(millis > 0.0 && millis <= MAX_MILLIS) {
        return Err(EXPECTED);
    }
    Ok(millis.ceil() as Millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read() {
        assert_eq!(parse(DEFAULT), Ok(31_536_000_000));
        assert_eq!(parse("60m"), Ok(3_600_000));
        assert_eq!(parse("1h30m10s"), Ok(5_410_000));
        assert_eq!(parse("1.5s"), Ok(1_500));
        assert_eq!(parse("1ns"), Ok(1), "rounded up: never a token that is dead at birth");
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "0h", "h", "10", "-1h", "1d", "1h garbage", "1..5h", "99999999h", "1e9h", "∞h", "NaNs"] {
            assert!(parse(text).is_err(), "{text:?} was taken");
        }
    }
}
