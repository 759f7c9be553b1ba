//! Files made to hurt: each is answered within bounds of time and memory.

use super::super::*;
use super::FLAT;
use std::time::{Duration, Instant};

/// A reader without its bounds needs minutes, or more memory than there is, for what these files hold.
const SOON: Duration = Duration::from_secs(20);

#[track_caller]
fn soon(content: &[u8]) -> Result<MdmConfig, MdmError> {
    let start = Instant::now();
    let result = parse("mdm.xml", content);
    let took = start.elapsed();
    assert!(took < SOON, "{took:?}");
    if let Err(error) = &result {
        assert!(error.to_string().len() < 1_000, "a message of {} bytes", error.to_string().len());
    }
    result
}

#[track_caller]
fn message(content: &[u8]) -> String {
    soon(content).unwrap_err().to_string()
}

fn flat(inside: &str) -> Vec<u8> {
    FLAT.replacen("<dict>", &format!("<dict>{inside}"), 1).into_bytes()
}

#[test]
fn a_billion_laughs() {
    let mut bomb = "<!DOCTYPE dict [<!ENTITY lol0 \"lol\">".to_owned();
    for level in 1..30 {
        let one = format!("&lol{};", level - 1);
        bomb.push_str(&format!("<!ENTITY lol{level} \"{}\">", one.repeat(10)));
    }
    bomb.push_str("]><dict><key>organization</key><string>&lol29;</string></dict>");
    assert!(message(bomb.as_bytes()).contains("entities are never expanded"));
    let external = "<!DOCTYPE dict [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><dict><key>organization</key><string>&x;</string></dict>";
    assert!(message(external.as_bytes()).contains("entities are never expanded"));
    let parameter = "<!DOCTYPE dict [<!ENTITY % x SYSTEM \"http://192.0.2.1/x.dtd\"> %x;]><dict/>";
    assert!(message(parameter.as_bytes()).contains("entities are never expanded"));
}

#[test]
fn elements_within_elements() {
    for element in ["dict", "array", "string", "key", "plist"] {
        let bomb = format!("<{element}>").repeat(MAX_BYTES / (element.len() + 2));
        let _ = message(bomb.as_bytes());
    }
    let keys = "<dict><key>a</key>".repeat(MAX_BYTES / 18);
    assert!(message(keys.as_bytes()).contains("nested more than 16 deep"));
}

#[test]
fn what_a_file_holds_does_not_steer_the_terminal_that_shows_it() {
    for control in ["\r", "\n", "\x1b[2J", "\u{9b}31m", "&#13;"] {
        let file = format!("<dict><key>organization</key><string>my{control}company</string></dict>");
        let message = message(file.as_bytes());
        assert!(!message.contains(char::is_control), "{message:?}");
        let file = format!("<dict><key>my{control}key</key><wrong/></dict>");
        assert!(!self::message(file.as_bytes()).contains(char::is_control), "{file:?}");
    }
    let long = format!("<dict><key>{}</key><wrong/></dict>", "x".repeat(5_000));
    assert!(message(long.as_bytes()).contains("xxx...`: "));
}

#[test]
fn values_of_a_megabyte() {
    let text = "x".repeat(1_000_000);
    for key in ["display_name", "gateway_unique_id", "app_identifier", "support_url"] {
        let found = message(&flat(&format!("<key>{key}</key><string>{text}</string>")));
        assert!(found.ends_with("the value has 1000000 bytes: at most 2048 are allowed"), "{found}");
    }
    let id = message(&flat(&format!("<key>auth_client_id</key><string>{text}</string>")));
    assert!(id.contains("at most 2048"), "{id}");
    assert!(
        message(&flat(&format!("<key>auto_connect</key><integer>{}</integer>", "9".repeat(1_000_000)))).len() < 300
    );
    // A key of a megabyte is unknown, not wrong; its warning is short.
    let config = soon(&flat(&format!("<key>{text}</key><true/>"))).unwrap();
    assert!(config.warnings.iter().all(|warning| warning.to_string().len() < 300));
    assert!(soon(&flat(&format!("<!--{text}-->"))).is_ok());
    assert!(message(&flat(&format!("<{text}/>"))).len() < 300);
}

#[test]
fn tens_of_thousands_of_keys_values_and_references() {
    let keys: String = (0..40_000).map(|n| format!("<key>k{n}</key><true/>")).collect();
    let config = soon(&flat(&keys)).unwrap();
    assert_eq!(config.warnings.len(), 101, "told up to a bound");
    assert!(config.warnings[100].message.contains("there is more"));
    let entries = format!("<dict><key>configs</key><array>{}</array></dict>", "<dict/>".repeat(140_000));
    assert!(message(entries.as_bytes()).ends_with("140000 organisations: at most 25 are allowed"));
    let references = "&amp;".repeat(200_000);
    assert!(message(&flat(&format!("<key>display_name</key><string>{references}</string>"))).contains("200000 bytes"));
    let pieces = "<![CDATA[x]]><!-- -->".repeat(45_000);
    assert!(message(&flat(&format!("<key>display_name</key><string>{pieces}</string>"))).contains("45000 bytes"));
}

#[test]
fn encodings_that_are_not_told_or_told_wrongly() {
    let utf16 = |order: fn(u16) -> [u8; 2], text: &str| text.encode_utf16().flat_map(order).collect::<Vec<u8>>();
    let good = parse("mdm.xml", FLAT.as_bytes()).unwrap();
    for order in [u16::to_le_bytes, u16::to_be_bytes] {
        assert_eq!(soon(&utf16(order, FLAT)).unwrap(), good, "no byte order mark");
        assert_eq!(soon(&utf16(order, &format!("\u{feff}{FLAT}"))).unwrap(), good);
        // A lone surrogate, and a file that ends in the middle of a unit.
        let mut broken = utf16(order, FLAT);
        broken.extend(order(0xd800));
        assert!(message(&broken).contains("neither UTF-8 nor UTF-16"));
        broken.truncate(broken.len() - 3);
        assert!(message(&broken).contains("neither UTF-8 nor UTF-16"));
    }
    let latin = [
        b"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>".as_slice(),
        &flat("<key>display_name</key><string>M\u{1}nchen</string>"),
    ]
    .concat();
    let latin: Vec<u8> = latin.into_iter().map(|byte| if byte == 1 { 0xfc } else { byte }).collect();
    assert!(message(&latin).contains("neither UTF-8 nor UTF-16"));
    let overlong = [b"<dict><key>".as_slice(), &[0xc0, 0xbc], b"</key><true/></dict>"].concat();
    assert!(message(&overlong).contains("neither UTF-8 nor UTF-16"));
}

#[test]
fn characters_that_xml_forbids() {
    for character in ['\0', '\u{1}', '\u{b}', '\u{1f}', '\u{ffff}'] {
        let code = format!("U+{:04X}", u32::from(character));
        let text = FLAT.replace("mycompany", &format!("my{character}company"));
        assert_eq!(message(text.as_bytes()), format!("mdm.xml: line 3: not well-formed XML: the character {code}"));
        let reference = format!("my&#{};company", u32::from(character));
        let found = message(FLAT.replace("mycompany", &reference).as_bytes());
        assert!(found.starts_with("mdm.xml: line 3: "), "{found}");
    }
    let mut zeros = vec![0; 4096];
    assert!(message(&zeros).contains("U+0000"));
    zeros.splice(0..0, FLAT.bytes());
    assert!(message(&zeros).contains("U+0000"), "a file that was written without its end being on the disk");
}
