//! The text of `resolv.conf` (resolv.conf(5)).

use crate::dns::ResolverConfig;
use std::net::IpAddr;

/// The first lines of what we write.
const HEADER: &str = "# Written by Vestibule while its tunnel is up, and put back as it was afterwards.\n\
                      # A change of yours is kept; `vestibule disconnect` puts the former file back, which\n\
                      # the comments at the end hold.\n";

/// The name servers in the file's order.
pub(super) fn servers(text: &str) -> Vec<IpAddr> {
    let values = lines(text).filter(|(word, _)| *word == "nameserver");
    // An interface may follow a link-local address; such a server is not ours to ask.
    values.filter_map(|(_, rest)| rest.split_whitespace().next()?.parse().ok()).collect()
}

/// The former text with our servers in the place of its own, and our suffixes before its own. Everything else stays.
pub(super) fn rewritten(former: &str, config: &ResolverConfig) -> String {
    let mut text = HEADER.to_owned();
    for server in &config.servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    // The last of several `search` and `domain` lines counts.
    let own = lines(former).filter(|(word, _)| matches!(*word, "search" | "domain")).last();
    let own = own.into_iter().flat_map(|(_, rest)| rest.split_whitespace());
    let mut search: Vec<&str> = config.search.iter().map(String::as_str).collect();
    for suffix in own {
        if !search.iter().any(|known| known.eq_ignore_ascii_case(suffix)) {
            search.push(suffix);
        }
    }
    if !search.is_empty() {
        text.push_str(&format!("search {}\n", search.join(" ")));
    }
    for (word, rest) in lines(former).filter(|(word, _)| !matches!(*word, "nameserver" | "search" | "domain")) {
        text.push_str(&format!("{word} {rest}\n"));
    }
    text
}

/// Keyword and rest of each line that is no comment.
fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';']));
    lines.map(|line| line.split_once(char::is_whitespace).unwrap_or((line, ""))).map(|(word, rest)| (word, rest.trim()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn servers_are_replaced_and_the_rest_is_kept() {
        let former = "; dhcp\nsearch lan  office.example\nnameserver 192.0.2.53\n nameserver fe80::1%eth0\n\
                      nameserver 2001:db8::53 # second\noptions timeout:1 edns0\nsortlist 192.0.2.0\n";
        let servers: Vec<IpAddr> = ["192.0.2.53", "2001:db8::53"].map(|text| text.parse().unwrap()).to_vec();
        assert_eq!(super::servers(former), servers);
        let config = ResolverConfig {
            servers: vec!["127.0.2.2".parse().unwrap()],
            search: vec!["corp.example".into(), "LAN".into()],
            ..ResolverConfig::default()
        };
        let text = rewritten(former, &config);
        assert!(text.starts_with('#'), "{text}");
        let expected = "nameserver 127.0.2.2\nsearch corp.example LAN office.example\n\
                        options timeout:1 edns0\nsortlist 192.0.2.0\n";
        assert_eq!(text.strip_prefix(HEADER).unwrap(), expected);
        assert_eq!(super::servers(&text), config.servers);
    }

    #[test]
    fn a_missing_file_is_an_empty_one() {
        let config = ResolverConfig { servers: vec!["127.0.2.2".parse().unwrap()], ..ResolverConfig::default() };
        assert_eq!(rewritten("", &config), format!("{HEADER}nameserver 127.0.2.2\n"));
    }
}
