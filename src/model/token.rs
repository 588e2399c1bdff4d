//! The claims of a ServiceAccount token, as far as IAM looks at them. Nobody verifies it here: STS does.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    names::Subject,
    oidc::{Audience, IssuerUrl},
};

/// The longest token that STS takes, in bytes: one that is longer gets no role, whatever it says.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>
const LONGEST_TOKEN: usize = 20_000;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Claims {
    /// The issuer: `iss`.
    #[serde(rename = "iss")]
    pub issuer: String,
    /// The audiences: `aud`.
    #[serde(rename = "aud", deserialize_with = "one_or_more")]
    pub audiences: Vec<String>,
    /// The subject: `sub`.
    #[serde(rename = "sub")]
    pub subject: String,
    /// How the holder has shown who it is: `amr`. Tokens of Kubernetes have none.
    #[serde(rename = "amr", default, deserialize_with = "one_or_more")]
    pub methods: Vec<String>,
}

impl Claims {
    /// Those of a token that the cluster of this issuer gives a ServiceAccount.
    #[must_use]
    pub fn of_subject(issuer: &IssuerUrl, audience: &Audience, subject: &Subject) -> Self {
        let audiences = vec![audience.as_str().to_owned()];
        Self { issuer: issuer.to_string(), audiences, subject: subject.claim(), methods: Vec::new() }
    }

    /// Reads a token in its compact form; none if it is no such token.
    #[must_use]
    pub fn of(token: &str) -> Option<Self> {
        let payload = Some(token.trim()).filter(|token| token.len() <= LONGEST_TOKEN)?.split('.').nth(1)?;
        // By way of an object: read as a struct, a list of three would be claims too.
        let claims: Map<String, Value> = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?).ok()?;
        serde_json::from_value(Value::Object(claims)).ok()
    }
}

/// `"a"` and `["a"]` are one. <https://www.rfc-editor.org/rfc/rfc7519#section-4.1.3>
fn one_or_more<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMore {
        One(String),
        More(Vec<String>),
    }
    Ok(match OneOrMore::deserialize(deserializer)? {
        OneOrMore::One(one) => vec![one],
        OneOrMore::More(more) => more,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn the_claims_of_a_token_are_read_with_one_audience_or_more() {
        for (audience, audiences) in [(r#""a""#, vec!["a"]), (r#"["a","b"]"#, vec!["a", "b"])] {
            let claims = Claims::of(&token(&format!(r#"{{"iss":"https://i","aud":{audience},"sub":"s"}}"#))).unwrap();
            assert_eq!((claims.issuer.as_str(), claims.subject.as_str()), ("https://i", "s"));
            assert_eq!(claims.audiences, audiences);
        }
    }

    #[test]
    fn a_token_longer_than_sts_takes_is_not_read() {
        let padded = |length: usize| token(&format!(r#"{{"iss":"https://i","aud":"a","sub":"s","x":"{}"}}"#, "x".repeat(length)));
        assert!(Claims::of(&padded(14_000)).is_some());
        assert_eq!(Claims::of(&padded(16_000)), None);
    }

    #[test]
    fn what_is_no_token_has_no_claims() {
        for text in ["", "a.b.c", "a", "..", &token("[]"), &token(r#"{"iss":1}"#), &token(r#"["https://i",["a"],"s"]"#)] {
            assert_eq!(Claims::of(text), None, "{text}");
        }
    }
}
