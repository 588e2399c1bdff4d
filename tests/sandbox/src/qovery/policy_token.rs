//! Policy tokens: Qovery shows each request to the token's policy, which is written in rego, and answers 401 to what it does not allow.
//!
//! The input is as documented. What Qovery makes of ids in a path that are none of a service, an environment or a project is said nowhere:
//! here they tell nothing.
//! <https://www.qovery.com/docs/configuration/organization/api-policy-token>

use regorus::Engine;
use serde_json::{Value, json};

use super::{Kind, Qovery};
use crate::service::Request;

/// The longest policy, in characters.
const LONGEST: usize = 65_536;

/// What a policy token may do.
#[derive(Clone, Debug)]
pub(super) enum PolicyToken {
    /// Everything but these: method and beginning of the path.
    AllBut(Vec<(http::Method, String)>),
    /// What this policy says, but for these: method and path, with `{id}` for any segment.
    Policy(String, Vec<(String, String)>),
}

impl Qovery {
    /// A token with this policy, and without these calls: method and path, with `{id}` for any segment.
    ///
    /// # Errors
    /// Qovery would not take the policy.
    pub fn add_token_with_policy(&mut self, token: &str, policy: &str, denied: &[(&str, &str)]) -> Result<(), String> {
        if policy.chars().count() > LONGEST {
            return Err("the policy is too long".to_owned());
        }
        if policy.lines().any(|line| line.trim_start().starts_with("package")) {
            return Err("the policy declares a package".to_owned());
        }
        let allow = engine(policy)?.eval_rule("data.qovery.allow".to_owned()).map_err(|error| error.to_string())?;
        if allow == regorus::Value::Undefined {
            return Err("the policy defines no `allow`".to_owned());
        }
        let denied = denied.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned())).collect();
        self.policy_tokens.insert(token.to_owned(), PolicyToken::Policy(policy.to_owned(), denied));
        Ok(())
    }

    /// Whether a policy token allows a call.
    #[must_use]
    pub fn token_allows(&self, token: &str, method: &str, path: &str, body: &Value) -> bool {
        let (Some(found), Ok(method)) = (self.policy_tokens.get(token), method.parse()) else { return false };
        let body = if body.is_null() { bytes::Bytes::new() } else { body.to_string().into() };
        let request = Request { method, path: path.to_owned(), query: String::new(), headers: http::HeaderMap::new(), body };
        self.allows(found, token, &request)
    }

    /// Whether a policy token allows a request.
    pub(super) fn allows(&self, token: &PolicyToken, name: &str, request: &Request) -> bool {
        match token {
            PolicyToken::AllBut(denied) => !denied.iter().any(|(method, path)| request.method == *method && request.path.starts_with(path)),
            PolicyToken::Policy(policy, denied) => {
                let is_denied = |(method, path): &(String, String)| *method == request.method.as_str() && is_like(&request.path, path);
                !denied.iter().any(is_denied) && self.evaluated(policy, name, request).unwrap_or(false)
            }
        }
    }

    /// Fails closed, as documented.
    fn evaluated(&self, policy: &str, name: &str, request: &Request) -> Result<bool, String> {
        let body: Value =
            if request.body.is_empty() { Value::Null } else { serde_json::from_slice(&request.body).map_err(|error| error.to_string())? };
        let path: Vec<String> = std::iter::once("api".to_owned()).chain(request.segments()).collect();
        let input = json!({
            "request": { "method": request.method.as_str(), "path": path, "body": body },
            "qovery_metadata": self.target(&request.segments()),
            "token": { "id": "0198f2a1-6c3d-7b41-9e08-5a2d3c4b7e91", "name": name },
        });
        let mut engine = engine(policy)?;
        engine.set_input(regorus::Value::from_json_str(&input.to_string()).map_err(|error| error.to_string())?);
        let allow = engine.eval_rule("data.qovery.allow".to_owned()).map_err(|error| error.to_string())?;
        Ok(allow == regorus::Value::from(true))
    }

    /// What a request is about: a service before an environment before a project.
    fn target(&self, segments: &[String]) -> Value {
        let service = segments.iter().find_map(|id| Some((id, self.environment_of(id)?, self.service(id)?.kind)));
        let environment = segments.iter().find(|id| self.environments.contains_key(*id));
        let environment = service.as_ref().map(|(_, (environment, _), _)| *environment).or(environment);
        let is_project = segments.contains(&self.project);
        json!({
            "organization_id": self.organization,
            "service_id": service.as_ref().map(|(id, ..)| id), "service_type": service.as_ref().map(|(.., kind)| Kind::service_type(*kind)),
            "environment_id": environment,
            "project_id": (environment.is_some() || is_project).then_some(&self.project),
            "cluster_id": environment.map(|_| &self.organization),
        })
    }
}

/// With the package that Qovery puts before it.
fn engine(policy: &str) -> Result<Engine, String> {
    let mut engine = Engine::new();
    engine.add_policy("policy.rego".to_owned(), format!("package qovery\n\n{policy}")).map_err(|error| error.to_string())?;
    Ok(engine)
}

fn is_like(path: &str, template: &str) -> bool {
    let (path, template): (Vec<&str>, Vec<&str>) = (path.split('/').collect(), template.split('/').collect());
    path.len() == template.len() && path.iter().zip(&template).all(|(segment, wanted)| *wanted == "{id}" || segment == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "sk-qov-01-x";

    #[test]
    fn a_policy_decides_by_method_path_body_and_target_and_fails_closed() {
        let mut qovery = Qovery::new("eu-west-3", "demo");
        let environment = qovery.add_environment("shop", "z1-shop");
        let api = qovery.add_service(&environment, Kind::Application, "api");
        let policy = format!(
            "default allow := false\n\nallow if {{\n\tinput.request.method == \"PUT\"\n\t[\"api\", \"application\", _, \"advancedSettings\"] = input.request.path\n\tinput.qovery_metadata.environment_id == \"{environment}\"\n\tinput.request.body.name == \"x\"\n}}\n"
        );
        qovery.add_token_with_policy(TOKEN, &policy, &[]).unwrap();
        let settings = format!("/application/{api}/advancedSettings");
        let allows = |qovery: &Qovery, method: &str, path: &str, body: Value| qovery.token_allows(TOKEN, method, path, &body);
        assert!(allows(&qovery, "PUT", &settings, json!({ "name": "x" })));
        for (method, path, body) in [
            ("GET", settings.as_str(), json!({ "name": "x" })),
            ("PUT", &settings, json!({ "name": "y" })),
            ("PUT", &settings, Value::Null),
            ("PUT", "/application/ffffffff-0000-4000-8000-000000000000/advancedSettings", json!({ "name": "x" })),
            ("PUT", &format!("/environment/{environment}"), json!({ "name": "x" })),
        ] {
            assert!(!allows(&qovery, method, path, body), "{method} {path}");
        }
        qovery.add_token_with_policy(TOKEN, &policy, &[("PUT", "/application/{id}/advancedSettings")]).unwrap();
        assert!(!allows(&qovery, "PUT", &settings, json!({ "name": "x" })));
    }

    #[test]
    fn what_qovery_would_not_take_is_no_policy() {
        let mut qovery = Qovery::new("eu-west-3", "demo");
        for policy in ["package mine\n\ndefault allow := false", "default allow := ", "deny := true", &" ".repeat(70_000)] {
            assert!(qovery.add_token_with_policy(TOKEN, policy, &[]).is_err(), "{policy:.30}");
        }
    }
}
