//! Access keys, and the session credentials that carry their own proof.
//!
//! A session token holds the identity and a MAC over it, so that any copy of the state, however old, accepts it.
//! Whether a signature was made with the secret is the concern of `sigv4`.

use std::{collections::BTreeMap, time::SystemTime};

use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{error::AwsError, time};

/// Known to nobody but the sandbox, and worth nothing outside it.
const INTERNAL_KEY: &[u8] = b"qovery-irsa sandbox: session credentials";

/// The access key of the administrator, who may do everything.
pub(crate) const ADMIN_KEY: &str = "AKIASANDBOXADMIN0000";
const ADMIN_SECRET: &str = "sandbox/admin/secret/not/a/real/one/0000";
/// The name of the administrator, a user whom `ListUsers` would not show.
pub(crate) const ADMIN_NAME: &str = "admin";

/// What a client signs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// `AKIA…` of a user, `ASIA…` of a session.
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: String,
    /// Only a session has one.
    pub session_token: Option<String>,
}

impl Credentials {
    pub(crate) fn admin() -> Self {
        Self { access_key_id: ADMIN_KEY.to_owned(), secret_access_key: ADMIN_SECRET.to_owned(), session_token: None }
    }
}

/// Who makes a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// As `GetCallerIdentity` shows it.
    pub(crate) arn: String,
    pub(crate) user_id: String,
    pub(crate) kind: CallerKind,
}

/// What the permissions of a caller follow from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallerKind {
    /// May do everything.
    Admin,
    /// The inline policies of the user of that name.
    User(String),
    /// The policies of the role with that ARN, as far as the session policy goes; its tags are tags of the principal.
    Session { role_arn: String, policy: Option<String>, tags: BTreeMap<String, String> },
}

/// What a session token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) arn: String,
    pub(crate) user_id: String,
    pub(crate) role_arn: String,
    /// Unix seconds.
    pub(crate) expires: u64,
    /// The session policy, as text.
    pub(crate) policy: Option<String>,
    /// The session tags.
    pub(crate) tags: BTreeMap<String, String>,
    /// Tells apart two sessions that are otherwise equal.
    pub(crate) nonce: String,
}

impl Session {
    /// The credentials of the session: a function of what it says, kept nowhere.
    pub(crate) fn credentials(&self) -> Credentials {
        let text = serde_json::to_vec(self).unwrap_or_default();
        let access_key_id = format!("ASIA{}", identifier(&text, 16));
        let mac = seal(&access_key_id, &text);
        Credentials {
            secret_access_key: session_secret(&access_key_id),
            session_token: Some(format!("{}.{}", BASE64.encode(&text), BASE64.encode(mac))),
            access_key_id,
        }
    }

    /// Reads a token that goes with an access key.
    pub(crate) fn open(access_key_id: &str, token: &str, now: SystemTime) -> Result<Self, AwsError> {
        let invalid = || invalid_token("The security token included in the request is invalid");
        let (text, mac) = token.split_once('.').ok_or_else(invalid)?;
        let text = BASE64.decode(text).map_err(|_| invalid())?;
        let mac = BASE64.decode(mac).map_err(|_| invalid())?;
        if mac != seal(access_key_id, &text) {
            return Err(invalid());
        }
        let session: Self = serde_json::from_slice(&text).map_err(|_| invalid())?;
        if session.expires <= time::unix_seconds(now) {
            return Err(AwsError::new(403, "ExpiredToken", "The security token included in the request is expired"));
        }
        Ok(session)
    }
}

/// The secret of a session's access key.
pub(crate) fn session_secret(access_key_id: &str) -> String {
    let mac = hmac(INTERNAL_KEY, format!("secret {access_key_id}").as_bytes());
    BASE64.encode(mac).chars().take(40).collect()
}

/// The secret of a user's access key, kept with the user.
pub(crate) fn user_secret(access_key_id: &str) -> String {
    let mac = hmac(INTERNAL_KEY, format!("user {access_key_id}").as_bytes());
    BASE64.encode(mac).chars().take(40).collect()
}

pub(crate) fn invalid_token(message: &str) -> AwsError {
    AwsError::new(403, "InvalidClientTokenId", message)
}

/// Upper-case letters and digits, as in AWS's unique ids, that follow from the seed.
pub(crate) fn identifier(seed: &[u8], length: usize) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let digest = Sha256::digest(seed);
    digest.iter().take(length).map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
}

/// A UUID that follows from the seed.
pub(crate) fn uuid(seed: &[u8]) -> String {
    let digits = hex(&hmac(b"uuid", seed));
    format!("{}-{}-4{}-8{}-{}", &digits[..8], &digits[8..12], &digits[13..16], &digits[17..20], &digits[20..32])
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|nibble| char::from(DIGITS[usize::from(nibble)])).collect()
}

/// HMAC-SHA256. The key is brought to one block here, so that no key can be refused.
pub(crate) fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0_u8; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let mut mac = <Hmac<Sha256> as KeyInit>::new(&block.into());
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn seal(access_key_id: &str, text: &[u8]) -> [u8; 32] {
    let key = hmac(INTERNAL_KEY, format!("token {access_key_id}").as_bytes());
    hmac(&key, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session {
            arn: "arn:aws:sts::111122223333:assumed-role/app/sess".into(),
            user_id: "AROAX:sess".into(),
            role_arn: "arn:aws:iam::111122223333:role/irsa/app".into(),
            expires: 2_000,
            policy: None,
            tags: BTreeMap::new(),
            nonce: "1".into(),
        }
    }

    #[test]
    fn a_session_token_is_read_without_any_state_until_it_expires() {
        let credentials = session().credentials();
        let open = |seconds| {
            Session::open(&credentials.access_key_id, credentials.session_token.as_deref().unwrap(), time::from_unix_seconds(seconds))
        };
        assert_eq!(open(1_999).unwrap(), session());
        assert_eq!(open(2_000).unwrap_err().code, "ExpiredToken");
        assert_eq!(credentials.secret_access_key, session_secret(&credentials.access_key_id));
    }

    #[test]
    fn a_session_token_that_was_changed_or_belongs_to_another_key_is_refused() {
        let credentials = session().credentials();
        let token = credentials.session_token.unwrap();
        let now = time::from_unix_seconds(0);
        let mut other = session();
        other.role_arn = "arn:aws:iam::111122223333:role/admin".into();
        let other_token = other.credentials().session_token.unwrap();
        let (other_text, _) = other_token.split_once('.').unwrap();
        let (_, mac) = token.split_once('.').unwrap();
        for (key, token) in [
            (credentials.access_key_id.as_str(), format!("{other_text}.{mac}")),
            ("ASIAAAAAAAAAAAAAAAAA", token.clone()),
            (credentials.access_key_id.as_str(), "nonsense".into()),
        ] {
            assert_eq!(Session::open(key, &token, now).unwrap_err().code, "InvalidClientTokenId");
        }
    }

    #[test]
    fn hmac_is_as_rfc_4231_has_it() {
        for (key, message, mac) in [
            (&[0x0b; 20][..], &b"Hi There"[..], "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                &[0xaa; 131][..],
                &b"Test Using Larger Than Block-Size Key - Hash Key First"[..],
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(hex(&hmac(key, message)), mac);
        }
    }
}
