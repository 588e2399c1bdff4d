//! Tokens of a `ServiceAccount`, made on request.

use serde_json::{Value, json};

use super::{
    API_AUDIENCE, Call, Kubernetes,
    admission::Operation,
    decode::{self, Strictness},
    managed::Managers,
    metadata::text,
    resources::{Resource, Traits, by_plural},
    status::{Failure, FieldError, Outcome, Reply},
    store::{timestamp, unix_seconds},
    validate::Options,
};

const GROUP: &str = "authentication.k8s.io";
const KIND: &str = "TokenRequest";
const SHORTEST: i64 = 10 * 60;
const LONGEST: i64 = 1 << 32;

static TOKEN_REQUEST: Resource =
    Resource { group: GROUP, version: "v1", plural: "serviceaccounts", kind: KIND, namespaced: true, traits: Traits::Review };

impl Kubernetes {
    /// POST to `serviceaccounts/NAME/token`.
    pub(super) fn request_token(&mut self, call: &Call<'_>) -> Outcome {
        let options = Options::of(call.request, "CreateOptions", false)?;
        let (namespace, name) = (&call.attributes.namespace, &call.attributes.name);
        let strictness = if options.strictness == Strictness::Strict { Strictness::Strict } else { Strictness::Warn };
        let (request, warnings) = decode::object(call.json()?, &TOKEN_REQUEST, strictness)?;
        self.admit(call.resource, namespace, name)?;
        check_names(&request["metadata"], namespace, name)?;
        let Some(account) = self.current(call) else {
            return Err(Failure::not_found(call.resource, name));
        };
        let uid = text(&account["metadata"], "uid");
        let given = text(&request["metadata"], "uid");
        if !given.is_empty() && given != uid {
            let why = format!("the UID in the token request ({given}) does not match the UID of the service account ({uid})");
            return Err(Failure::kind_conflict(&TOKEN_REQUEST, name, &why));
        }
        let seconds = lifetime(&request["spec"])?;
        let audiences = match request["spec"]["audiences"].as_array() {
            Some(audiences) if !audiences.is_empty() => audiences.clone(),
            _ => vec![API_AUDIENCE.into()],
        };
        // Policies see the request with what is filled in.
        let mut asked = request.clone();
        (asked["kind"], asked["apiVersion"]) = (KIND.into(), TOKEN_REQUEST.api_version().into());
        (asked["metadata"]["name"], asked["metadata"]["namespace"]) = (name.as_str().into(), namespace.as_str().into());
        asked["spec"]["audiences"] = audiences.clone().into();
        asked["spec"]["expirationSeconds"] = seconds.into();
        self.validate_admission(call, Operation::Create(&asked), options.dry_run)?;
        let bound = &request["spec"]["boundObjectRef"];
        let mut private = json!({
            "namespace": namespace,
            "serviceaccount": {"name": name, "uid": uid},
        });
        if !bound.is_null() {
            let pod = self.bound_pod(namespace, name, bound)?;
            private["pod"] = json!({"name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]});
            if pod["spec"]["nodeName"].is_string() {
                private["node"] = json!({"name": pod["spec"]["nodeName"]});
            }
        }
        let start = unix_seconds(call.now);
        let end = start + seconds.unsigned_abs();
        let claims = json!({
            "aud": audiences,
            "exp": end,
            "iat": start,
            "iss": self.issuer,
            "jti": self.store.new_id(),
            "kubernetes.io": private,
            "nbf": start,
            "sub": format!("system:serviceaccount:{namespace}:{name}"),
        });
        let mut body = json!({
            "kind": KIND,
            "apiVersion": TOKEN_REQUEST.api_version(),
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": uid,
                "creationTimestamp": call.timestamp(),
            },
            "spec": {"audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": bound},
            "status": {"token": self.key.sign(&claims), "expirationTimestamp": timestamp(end)},
        });
        let mut asked = request.clone();
        asked["spec"]["expirationSeconds"] = seconds.into();
        Managers::default().update(&TOKEN_REQUEST, None, &asked, &options.manager, &call.timestamp()).write(&mut body);
        if body["metadata"]["managedFields"].is_array() {
            body["metadata"]["managedFields"][0]["subresource"] = "token".into();
        }
        Ok(Reply { code: 201, body, changed: false, warnings })
    }

    /// The pod that a token is bound to.
    fn bound_pod(&self, namespace: &str, account: &str, bound: &Value) -> Result<&Value, Failure> {
        let (version, kind) = (text(bound, "apiVersion"), text(bound, "kind"));
        let (name, uid) = (text(bound, "name"), text(bound, "uid"));
        let of_core = !version.contains('/');
        let Some(pods) = by_plural("pods").filter(|pods| pods.kind == kind && of_core) else {
            return Err(if matches!(kind.as_str(), "Secret" | "Node") && of_core {
                Failure::not_implemented(&format!("a token bound to a {kind}"))
            } else {
                let (group, version) = version.split_once('/').unwrap_or(("", &version));
                Failure::bad_request(format!("cannot bind token for object of type {group}/{version}, Kind={kind}"))
            });
        };
        let Some(pod) = self.store.get(pods, namespace, &name) else {
            return Err(Failure::not_found(pods, &name));
        };
        if pod["spec"]["serviceAccountName"] != account {
            return Err(Failure::bad_request(format!(
                "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
            )));
        }
        let recorded = text(&pod["metadata"], "uid");
        if !uid.is_empty() && uid != recorded {
            let why = format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
            );
            return Err(Failure::kind_conflict(pods, &name, &why));
        }
        Ok(pod)
    }
}

/// A name in the request, if there is one, is that of the path.
fn check_names(metadata: &Value, namespace: &str, name: &str) -> Result<(), Failure> {
    let cases = [
        ("name", "metadata.name", name, "must match the service account name if specified"),
        ("namespace", "metadata.namespace", namespace, "must match the service account namespace if specified"),
    ];
    for (member, field, asked, detail) in cases {
        let given = text(metadata, member);
        if !given.is_empty() && given != asked {
            return Err(refuse(name, field, &format!("{given:?}"), detail));
        }
    }
    Ok(())
}

/// How long the token is to live, in seconds.
fn lifetime(spec: &Value) -> Result<i64, Failure> {
    let seconds = spec["expirationSeconds"].as_i64().unwrap_or(3_600);
    let detail = if seconds < SHORTEST {
        Some("may not specify a duration less than 10 minutes")
    } else if seconds > LONGEST {
        Some("may not specify a duration larger than 2^32 seconds")
    } else {
        None
    };
    if let Some(detail) = detail {
        return Err(refuse("", "spec.expirationSeconds", &seconds.to_string(), detail));
    }
    Ok(seconds)
}

fn refuse(name: &str, field: &'static str, shown: &str, detail: &str) -> Failure {
    Failure::invalid(GROUP, KIND, name, &[FieldError::invalid(field, shown, detail)])
}
