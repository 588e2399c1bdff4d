//! Questions about callers: who am I, whose token is this, may I do that.

use serde_json::{Value, json};

use super::{
    API_AUDIENCE, Call, Kubernetes,
    authn::User,
    decode::{self, Strictness},
    managed::Managers,
    metadata::text,
    rbac,
    resources::Attributes,
    status::{Failure, FieldError, Outcome, Reply},
    validate::Options,
};

impl Kubernetes {
    /// POST of a review.
    pub(super) fn review(&self, call: &Call<'_>) -> Outcome {
        let options = Options::of(call.request, "CreateOptions", false)?;
        let (mut review, _) = decode::object(call.json()?, call.resource, Strictness::Ignore)?;
        let spec = review["spec"].clone();
        Managers::default().update(call.resource, None, &review, &options.manager, &call.timestamp()).write(&mut review);
        review["status"] = match call.resource.plural {
            "selfsubjectreviews" => json!({"userInfo": call.user.document()}),
            "selfsubjectaccessreviews" => self.access(call, call.user, &spec)?,
            "subjectaccessreviews" => {
                let groups = spec["groups"].as_array().into_iter().flatten();
                let user = User {
                    name: text(&spec, "user"),
                    groups: groups.filter_map(Value::as_str).map(str::to_owned).collect(),
                    ..User::default()
                };
                self.access(call, &user, &spec)?
            }
            "tokenreviews" => self.token_status(call, &spec)?,
            other => return Err(Failure::not_implemented(other)),
        };
        if call.resource.plural == "selfsubjectreviews" {
            review["metadata"]["creationTimestamp"] = call.timestamp().into();
        }
        Ok(Reply { code: 201, ..Reply::read(review) })
    }

    fn access(&self, call: &Call<'_>, user: &User, spec: &Value) -> Result<Value, Failure> {
        let (asked, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
        let question = match (asked.is_object(), path.is_object()) {
            (true, false) => Attributes {
                verb: text(asked, "verb"),
                group: text(asked, "group"),
                version: text(asked, "version"),
                plural: text(asked, "resource"),
                subresource: text(asked, "subresource"),
                namespace: text(asked, "namespace"),
                name: text(asked, "name"),
                path: String::new(),
            },
            (false, true) => Attributes { verb: text(path, "verb"), path: text(path, "path"), ..Attributes::default() },
            _ => {
                let detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
                let shown = "\"null\"";
                let error = FieldError::invalid("spec.resourceAttributes", shown, detail);
                return Err(Failure::invalid(call.resource.group, "", "", &[error]));
            }
        };
        let decision = rbac::authorize(&self.store, user, &question);
        let mut status = json!({"allowed": decision.allowed});
        if !decision.reason.is_empty() {
            status["reason"] = decision.reason.into();
        }
        Ok(status)
    }

    fn token_status(&self, call: &Call<'_>, spec: &Value) -> Result<Value, Failure> {
        let token = text(spec, "token");
        if token.is_empty() {
            return Err(Failure::bad_request("token is required for TokenReview in authentication"));
        }
        let asked = spec["audiences"].as_array().into_iter().flatten();
        let mut audiences: Vec<String> = asked.filter_map(Value::as_str).map(str::to_owned).collect();
        if audiences.is_empty() {
            audiences.push(API_AUDIENCE.to_owned());
        }
        Ok(match self.identify(&token, &audiences, call.now) {
            Ok((user, audiences)) => {
                json!({"authenticated": true, "user": user.document(), "audiences": audiences})
            }
            Err(why) => json!({"user": {}, "error": why}),
        })
    }
}
