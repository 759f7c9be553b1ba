//! The adapter's identity: from its name alone, so that it is the same after every start. Windows keeps what it knows of a
//! network (public or private, its firewall's rules) by it.

/// Ours among all that derive identifiers so: chosen once at random, never to be changed.
const SPACE: u128 = 0x9d3c_51e0_6b72_4f0a_b8a4_7e19_c2d5_3f68;
/// FNV-1a over 128 bits.
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;

/// A UUID of version 8 (RFC 9562, section 5.8). Names differ by case only for show.
pub(super) fn of_name(name: &str) -> u128 {
    let space = SPACE.to_be_bytes();
    let bytes = space.into_iter().chain(name.bytes().map(|byte| byte.to_ascii_lowercase()));
    let hash = bytes.fold(BASIS, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
    hash & !(0xf << 76) & !(0b11 << 62) | 8 << 76 | 0b10 << 62
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_identity_for_ever() {
        assert_eq!(of_name("vestibule0"), of_name("Vestibule0"));
        assert_ne!(of_name("vestibule0"), of_name("vestibule1"));
        for name in ["", "a", "vestibule0"] {
            let text = format!("{:032x}", of_name(name));
            assert_eq!(&text[12..13], "8", "version: {text}");
            assert!(matches!(&text[16..17], "8" | "9" | "a" | "b"), "variant: {text}");
        }
        // Fixed: installed machines know their network by it.
        assert_eq!(format!("{:032x}", of_name("vestibule0")), PINNED);
    }

    const PINNED: &str = "cdb49d1b0e2b825da600f37b2bb0cda3";
}
