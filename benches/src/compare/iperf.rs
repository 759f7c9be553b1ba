//! What iperf3 and ping say, parsed.

use serde_json::Value;

/// The sums at the end of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Outcome {
    /// Payload bytes that arrived.
    pub(super) bytes: f64,
    /// Payload bits per second that arrived.
    pub(super) bits_per_second: f64,
    /// UDP: datagrams sent per second, and percent of them that did not arrive.
    pub(super) udp: Option<Udp>,
    /// TCP: segments sent again.
    pub(super) retransmits: Option<f64>,
    /// TCP: the sender's congestion control.
    pub(super) congestion: Option<String>,
}

/// See [`Outcome::udp`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Udp {
    pub(super) sent_per_second: f64,
    pub(super) loss_percent: f64,
}

/// Why there is no [`Outcome`].
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum IperfError {
    /// It says so itself.
    #[error("iperf3: {0}")]
    Said(String),
    /// It is not what iperf3 3.7 or later prints with `-J`.
    #[error("iperf3 printed no `{0}`: expected the JSON of version 3.7 or later")]
    Lacks(&'static str),
}

impl Outcome {
    /// Reads what `iperf3 -J` printed.
    pub(super) fn parse(text: &str) -> Result<Self, IperfError> {
        let json: Value = serde_json::from_str(text).map_err(|_| IperfError::Lacks("JSON"))?;
        if let Some(error) = json["error"].as_str() {
            return Err(IperfError::Said(error.to_owned()));
        }
        let end = &json["end"];
        let received = &end["sum_received"];
        let number = |value: &Value, name| value[name].as_f64().ok_or(IperfError::Lacks(name));
        let mut outcome = Self {
            bytes: number(received, "bytes")?,
            bits_per_second: number(received, "bits_per_second")?,
            retransmits: end["sum_sent"]["retransmits"].as_f64(),
            congestion: end["sender_tcp_congestion"].as_str().map(str::to_owned),
            udp: None,
        };
        if let Some(packets) = received["packets"].as_f64() {
            let (lost, seconds) = (number(received, "lost_packets")?, number(&end["sum_sent"], "seconds")?);
            // Duplicates make the lost ones negative.
            let loss_percent = if packets > 0.0 { (lost / packets * 100.0).max(0.0) } else { 100.0 };
            outcome.udp = Some(Udp { sent_per_second: packets / seconds.max(f64::EPSILON), loss_percent });
        }
        Ok(outcome)
    }
}

/// What `ping -q` says at its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ping {
    /// Requests.
    pub(super) sent: f64,
    /// Answers.
    pub(super) received: f64,
    /// Milliseconds.
    pub(super) min: f64,
    /// Milliseconds.
    pub(super) avg: f64,
    /// Milliseconds.
    pub(super) max: f64,
}

impl Ping {
    /// `None` when nothing was answered.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let counts = text.lines().find(|line| line.contains("packets transmitted"))?;
        let mut numbers = counts.split(", ").filter_map(|part| part.split_whitespace().next()?.parse().ok());
        let (sent, received) = (numbers.next()?, numbers.next()?);
        let times = text.lines().find(|line| line.contains("min/avg/max"))?;
        let mut times = times.split_once('=')?.1.trim().split('/').map_while(|time| time.parse().ok());
        Some(Self { sent, received, min: times.next()?, avg: times.next()?, max: times.next()? })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn tcp_counts_what_arrived() {
        let text = json!({ "end": {
            "sum_sent": { "bytes": 2_000, "bits_per_second": 16_000.0, "retransmits": 32, "seconds": 1.0 },
            "sum_received": { "bytes": 1_500, "bits_per_second": 12_000.0 },
            "sender_tcp_congestion": "cubic",
        }});
        let outcome = Outcome::parse(&text.to_string()).unwrap();
        assert_eq!((outcome.bytes, outcome.bits_per_second), (1500.0, 12_000.0));
        assert_eq!((outcome.retransmits, outcome.udp), (Some(32.0), None));
        assert_eq!(outcome.congestion.as_deref(), Some("cubic"));
    }

    #[test]
    fn udp_has_a_loss() {
        let text = json!({ "end": {
            "sum_sent": { "bytes": 240_000, "packets": 200, "lost_packets": 0, "seconds": 2.0 },
            "sum_received": { "bytes": 60_000, "bits_per_second": 240_000.0, "packets": 200, "lost_packets": 150 },
        }});
        let outcome = Outcome::parse(&text.to_string()).unwrap();
        assert_eq!(outcome.udp, Some(Udp { sent_per_second: 100.0, loss_percent: 75.0 }));
    }

    #[test]
    fn an_error_is_told() {
        let refused = r#"{"start": {}, "end": {}, "error": "unable to connect to server"}"#;
        assert_eq!(Outcome::parse(refused), Err(IperfError::Said("unable to connect to server".to_owned())));
        assert_eq!(Outcome::parse("iperf3: usage"), Err(IperfError::Lacks("JSON")));
        assert_eq!(Outcome::parse(r#"{"end": {}}"#), Err(IperfError::Lacks("bytes")));
    }

    #[test]
    fn ping_is_read_from_its_last_lines() {
        let text = "PING 10.99.0.2 (10.99.0.2) 56(84) bytes of data.\n\n--- 10.99.0.2 ping statistics ---\n500 packets \
                    transmitted, 499 received, 0.2% packet loss, time 1003ms\nrtt min/avg/max/mdev = \
                    0.066/0.085/0.234/0.021 ms, ipg/ewma 2.010/0.081 ms\n";
        let expected = Ping { sent: 500.0, received: 499.0, min: 0.066, avg: 0.085, max: 0.234 };
        assert_eq!(Ping::parse(text), Some(expected));
        let nothing = "--- 10.99.0.2 ping statistics ---\n2 packets transmitted, 0 received, 100% packet loss\n";
        assert_eq!(Ping::parse(nothing), None);
    }
}
