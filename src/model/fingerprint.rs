//! Short, stable fingerprints: parts of names and tag keys that must not collide.

use sha2::{Digest, Sha256};

/// The first `length` characters of the SHA-256 of the parts, in lower-case base32 (`a-z2-7`, five bits each; 51 at most).
///
/// Each part is hashed with its length before it, so that no two lists of parts share an input.
#[must_use]
pub fn fingerprint(parts: &[&str], length: usize) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let (mut text, mut bits, mut count) = (String::with_capacity(length), 0_u32, 0_u32);
    for byte in hash.finalize() {
        bits = (bits << 8) | u32::from(byte);
        count += 8;
        while count >= 5 && text.len() < length {
            count -= 5;
            text.push(char::from(ALPHABET[(bits >> count) as usize & 31]));
        }
        bits &= 0xff;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_of_known_parts_never_changes() {
        // Roles and tags in accounts carry it: another value would orphan them.
        assert_eq!(fingerprint(&["abc"], 16), fingerprint(&["abc"], 51)[..16]);
        assert_eq!(fingerprint(&["a", "bc"], 10).len(), 10);
        insta::assert_snapshot!(fingerprint(&["https://oidc.eks.eu-west-3.amazonaws.com/id/EXAMPLE", "z1", "app"], 20), @"sbc7wilj4ijrsnrnja2p");
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(fingerprint(&["ab", "c"], 10), fingerprint(&["a", "bc"], 10));
        assert_ne!(fingerprint(&["ab"], 10), fingerprint(&["ab", ""], 10));
    }
}
