//! The key with which a cluster signs its `ServiceAccount` tokens, and what it publishes of it.
//!
//! Signing, verification and the JSON Web Key Set only; which claims a token carries and who may have one is the concern of `kubernetes`,
//! whether its times and audience are right that of whoever reads it.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use ring::{
    digest,
    rand::SystemRandom,
    rsa::PublicKeyComponents,
    signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey},
};
use serde_json::{Value, json};

/// DER of `SEQUENCE { OID rsaEncryption, NULL }`.
const RSA_ALGORITHM: [u8; 15] = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// An RSA key that signs with RS256. Clones share the key.
#[derive(Clone, Debug)]
pub struct ClusterKey {
    pair: Arc<RsaKeyPair>,
    kid: Arc<str>,
}

impl ClusterKey {
    /// The key that clusters of the test bed use unless told otherwise.
    #[must_use]
    pub fn first() -> Self {
        Self::load(include_bytes!("../keys/first.der"))
    }

    /// Another key: of a second cluster, or after a rotation.
    #[must_use]
    pub fn second() -> Self {
        Self::load(include_bytes!("../keys/second.der"))
    }

    #[allow(clippy::expect_used, reason = "the keys are compiled in and a test loads both")]
    fn load(pkcs8: &[u8]) -> Self {
        let pair = RsaKeyPair::from_pkcs8(pkcs8).expect("a committed key is PKCS#8");
        let kid = key_id(pair.public_key().as_ref());
        Self { pair: Arc::new(pair), kid: kid.into() }
    }

    /// The key id as Kubernetes computes it: the SHA-256 of the public key's DER, in base64url.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The key set with this one key, as `/openid/v1/jwks` publishes it.
    #[must_use]
    pub fn jwks(&self) -> Value {
        let public: PublicKeyComponents<Vec<u8>> = self.pair.public_key().into();
        json!({"keys": [{
            "use": "sig",
            "kty": "RSA",
            "kid": &*self.kid,
            "alg": "RS256",
            "n": BASE64URL.encode(public.n),
            "e": BASE64URL.encode(public.e),
        }]})
    }

    /// A compact JWS of the claims.
    #[must_use]
    #[allow(clippy::expect_used, clippy::missing_panics_doc, reason = "signing fails only if the buffer is of the wrong length")]
    pub fn sign(&self, claims: &Value) -> String {
        let header = format!(r#"{{"alg":"RS256","kid":"{}"}}"#, self.kid);
        let signed = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims.to_string()));
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .expect("the buffer has the length of the modulus");
        format!("{signed}.{}", BASE64URL.encode(signature))
    }

    /// The claims, if this key signed the token. Looks at neither its times nor its audience.
    #[must_use]
    pub fn verify(&self, token: &str) -> Option<Value> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header: Value = serde_json::from_slice(&BASE64URL.decode(header).ok()?).ok()?;
        if header["alg"] != "RS256" || header.get("kid").is_some_and(|kid| kid != &*self.kid) {
            return None;
        }
        let signature = BASE64URL.decode(signature).ok()?;
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.pair.public_key().as_ref()).verify(signed.as_bytes(), &signature).ok()?;
        serde_json::from_slice(&BASE64URL.decode(claims).ok()?).ok()
    }
}

/// The id of a public key given as PKCS#1 DER.
fn key_id(pkcs1: &[u8]) -> String {
    let bits = der(0x03, &[&[0], pkcs1].concat());
    let spki = der(0x30, &[&RSA_ALGORITHM, bits.as_slice()].concat());
    BASE64URL.encode(digest::digest(&digest::SHA256, &spki))
}

/// One DER value; its content is between 128 and 65,535 bytes, as those of an RSA-2048 key are.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = content.len().to_be_bytes();
    [&[tag, 0x82, high, low], content].concat()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_key_verifies_what_it_signed_and_nothing_else() {
        let (first, second) = (ClusterKey::first(), ClusterKey::second());
        let claims = json!({"sub": "system:serviceaccount:a:b", "aud": ["sts.amazonaws.com"]});
        let token = first.sign(&claims);
        assert_eq!(first.verify(&token), Some(claims));
        assert_eq!(second.verify(&token), None);
        let forged = format!("{}.{}", BASE64URL.encode(r#"{"alg":"none"}"#), token.split_once('.').unwrap().1);
        assert_eq!(first.verify(&forged), None);
        assert_eq!(first.verify(&token[..token.len() - 4]), None);
        assert_eq!(first.verify("zzz"), None);
    }

    #[test]
    fn the_published_key_carries_the_id_of_the_tokens() {
        let key = ClusterKey::first();
        assert_eq!(key.jwks()["keys"][0]["kid"], key.kid());
        assert_eq!(key.jwks()["keys"][0]["e"], "AQAB");
        assert_ne!(key.kid(), ClusterKey::second().kid());
    }

    #[test]
    fn the_id_is_the_hash_openssl_gives_for_the_public_key() {
        // openssl pkey -in first.der -pubout -outform DER | openssl dgst -sha256 -binary | basenc --base64url
        assert_eq!(ClusterKey::first().kid(), "zi1i4P42MchE0CuYR0nUCtoaubaxftV8vh5rhymICTM");
    }
}
