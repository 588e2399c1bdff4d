//! What the API says of itself: its version, and the issuer of its tokens with their keys.
//!
//! The lists of kinds and their schemas stay out: they serve people's clients, and the job asks for none.

use serde_json::{Value, json};

use super::{
    Kubernetes,
    status::{Failure, Outcome, Reply},
};
use crate::service::Request;

impl Kubernetes {
    /// GET of a path that is no resource.
    pub(super) fn describe(&self, request: &Request) -> Outcome {
        let segments = request.segments();
        let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
        let body = match parts.as_slice() {
            ["version"] => version(),
            [".well-known", "openid-configuration"] => json!({
                "issuer": self.issuer,
                "jwks_uri": format!("https://{}/openid/v1/jwks", request.header("host")),
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            }),
            ["openid", "v1", "jwks"] => self.key.jwks(),
            _ => return Err(Failure::not_implemented(&request.path)),
        };
        Ok(Reply::read(body))
    }
}

fn version() -> Value {
    json!({
        "major": "1",
        "minor": "36",
        "emulationMajor": "1",
        "emulationMinor": "36",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35",
        "gitVersion": "v1.36.2",
        "gitCommit": "$Format:%H$",
        "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "go1.27.3",
        "compiler": "gc",
        "platform": "linux/amd64",
    })
}
