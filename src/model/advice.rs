//! What an identity means that its author may not know: whom it lets in, what its role may do, and what EKS makes of it.
//!
//! Advice never stops a run. What cannot be right is a problem of the configuration, and is not here.

use serde_json::Value;

use super::{
    arn::PolicyArn,
    document::texts,
    identity::{Identity, RoleOrigin, ServiceAccountSpec},
    role::RoleAttributes,
};

/// What annotations of EKS begin with.
pub const EKS_PREFIX: &str = "eks.amazonaws.com/";
/// What the webhook of EKS reads on a ServiceAccount.
/// <https://github.com/aws/amazon-eks-pod-identity-webhook>, `pkg/annotations/constants.go`
pub const READ_BY_EKS: [&str; 4] = [
    "eks.amazonaws.com/role-arn",
    "eks.amazonaws.com/audience",
    "eks.amazonaws.com/token-expiration",
    "eks.amazonaws.com/sts-regional-endpoints",
];
/// What it reads on a pod and not on a ServiceAccount.
const READ_ON_PODS: &str = "eks.amazonaws.com/skip-containers";
/// The shortest life of a token, in seconds, that it asks for.
/// <https://github.com/aws/amazon-eks-pod-identity-webhook>, `pkg/constants.go`
const SHORTEST_TOKEN: u32 = 3600;
/// AWS's policies that let their holder do everything, or give themselves the right to.
/// <https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AdministratorAccess.html>
const OF_ADMINISTRATORS: [&str; 2] = ["AdministratorAccess", "IAMFullAccess"];

/// Notes on an identity.
#[must_use]
pub fn advice(identity: &Identity) -> Vec<String> {
    let mut notes = of_service_account(&identity.service_account);
    for subject in identity.role.extra_subjects.iter().filter(|subject| subject.service_account.as_str() == DEFAULT) {
        notes.push(format!("`extraSubjects` names `{subject}`: {}", whom_default_means(subject.namespace.as_str())));
    }
    if let RoleOrigin::Managed(role) = &identity.role.origin {
        notes.extend(of_role(&role.attributes));
    }
    notes.into_iter().map(|note| format!("identity `{}`: {note}", identity.service_account.name)).collect()
}

/// The ServiceAccount that every namespace has.
/// <https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/>
const DEFAULT: &str = "default";

fn whom_default_means(namespace: &str) -> String {
    format!(
        "every pod of namespace `{namespace}` that names no ServiceAccount runs as `default`, and gets the role. Name one of its own for the service that needs it"
    )
}

fn of_service_account(spec: &ServiceAccountSpec) -> Vec<String> {
    let mut notes = Vec::new();
    if spec.name.as_str() == DEFAULT {
        notes.push("every pod of the namespace that names no ServiceAccount runs as `default`, and gets the role. Take another name, and bind the services that need it".to_owned());
    }
    if let Some(seconds) = spec.token_expiration.filter(|seconds| *seconds < SHORTEST_TOKEN) {
        notes.push(format!(
            "`tokenExpiration` is {seconds} seconds, and EKS raises it to {SHORTEST_TOKEN}. It is how long the token lives that a pod shows to STS; how long a session lives is the SDK's choice up to `maxSessionDuration`"
        ));
    }
    for (key, value) in spec.annotations.iter().filter(|(key, _)| key.as_str().starts_with(EKS_PREFIX)) {
        let key = key.as_str();
        if key == READ_ON_PODS {
            notes.push(format!("annotation `{key}` has no effect on a ServiceAccount: EKS reads it on pods. Set it on the pod template"));
        } else if !READ_BY_EKS.contains(&key) {
            notes.push(format!("annotation `{key}` has no effect: EKS does not read it"));
        } else if value.parse::<bool>().is_err() {
            notes.push(format!("annotation `{key}` has no effect: EKS reads `true` and `false` there"));
        }
    }
    notes
}

fn of_role(role: &RoleAttributes) -> Vec<String> {
    let within = match &role.permissions_boundary {
        Some(boundary) => format!("within the permissions boundary `{boundary}`"),
        None => "in the whole account. Name the actions and resources that it needs, or set a `permissionsBoundary`".to_owned(),
    };
    let managed = role
        .policies
        .iter()
        .filter(|policy| is_of_administrators(policy))
        .map(|policy| format!("policy `{policy}` lets its pods do everything, or give themselves the right to, {within}"));
    let inline = role.inline_policies.iter().filter_map(|(name, document)| {
        let what = broadest(document)?;
        Some(format!("inline policy `{name}` allows {what}, {within}"))
    });
    managed.chain(inline).collect()
}

fn is_of_administrators(policy: &PolicyArn) -> bool {
    let arn = policy.to_string();
    OF_ADMINISTRATORS.iter().any(|name| arn.ends_with(&format!(":iam::aws:policy/{name}")))
}

/// The most that a statement of a policy allows without a condition on every resource, if that is everything or as good.
fn broadest(document: &Value) -> Option<String> {
    let statements = match &document["Statement"] {
        Value::Array(statements) => statements.iter().collect(),
        statement => vec![statement],
    };
    let broad = |statement: &&Value| {
        let unconditional = statement["Condition"].as_object().is_none_or(serde_json::Map::is_empty);
        statement["Effect"] == "Allow" && unconditional && every_resource(statement)
    };
    let all = statements.into_iter().filter(broad).collect::<Vec<_>>();
    let actions: Vec<String> = all.iter().flat_map(|statement| texts(&statement["Action"])).map(str::to_lowercase).collect();
    if actions
        .iter()
        .any(|action| is_all(action) || action.split_once(':').is_some_and(|(service, action)| is_all(service) && is_all(action)))
    {
        return Some("every action on every resource".to_owned());
    }
    let but = all.iter().map(|statement| texts(&statement["NotAction"])).find(|but| !but.is_empty());
    if let Some(but) = but {
        return Some(format!("every action but `{}` on every resource", but.join("`, `")));
    }
    let of_iam = actions.iter().any(|action| action.split_once(':').is_some_and(|(service, action)| service == "iam" && is_all(action)));
    of_iam.then(|| "every action of IAM on every resource, and so to give itself any other right".to_owned())
}

fn every_resource(statement: &Value) -> bool {
    let all = |resource: &str| is_all(resource) || (resource.starts_with("arn:") && resource.split(':').skip(1).all(is_all));
    texts(&statement["Resource"]).into_iter().any(all) || !statement["NotResource"].is_null()
}

fn is_all(pattern: &str) -> bool {
    !pattern.is_empty() && pattern.bytes().all(|byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::identity::{Binding, BoundServices, Keeper, ManagedRole, RoleSpec, Scope};

    fn identity() -> Identity {
        Identity {
            service_account: ServiceAccountSpec {
                name: "app".parse().unwrap(),
                token_expiration: None,
                labels: [].into(),
                annotations: [].into(),
                automount: None,
                keeper: Keeper::Tool,
            },
            role: RoleSpec {
                origin: RoleOrigin::Managed(Box::new(ManagedRole {
                    name: None,
                    path: "/qovery/".parse().unwrap(),
                    attributes: RoleAttributes::default(),
                })),
                scope: Scope::Environment,
                extra_subjects: [].into(),
                conditions: crate::model::conditions::Conditions::default(),
            },
            binding: Binding::default(),
            services: BoundServices::default(),
        }
    }

    fn role(identity: &mut Identity) -> &mut RoleAttributes {
        match &mut identity.role.origin {
            RoleOrigin::Managed(role) => &mut role.attributes,
            RoleOrigin::Given(arn) => panic!("{arn}"),
        }
    }

    fn said(change: impl FnOnce(&mut Identity)) -> String {
        let mut identity = identity();
        change(&mut identity);
        advice(&identity).join("\n")
    }

    fn annotated(key: &str, value: &str) -> String {
        said(|identity| drop(identity.service_account.annotations.insert(key.parse().unwrap(), value.to_owned())))
    }

    #[test]
    fn a_service_account_that_every_pod_runs_as_is_said_wherever_it_is_named() {
        assert_eq!(said(|_| ()), "");
        assert_eq!(
            said(|identity| identity.service_account.name = "default".parse().unwrap()),
            "identity `default`: every pod of the namespace that names no ServiceAccount runs as `default`, and gets the role. Take another name, and bind the services that need it"
        );
        let extra = |subject: &str| said(|identity| identity.role.extra_subjects = [subject.parse().unwrap()].into());
        assert!(extra("jobs/default").starts_with("identity `app`: `extraSubjects` names `jobs/default`: every pod of namespace `jobs`"));
        assert_eq!(extra("default/app"), "");
    }

    #[test]
    fn a_token_that_eks_makes_live_longer_is_said() {
        let expiring = |seconds| said(|identity| identity.service_account.token_expiration = Some(seconds));
        assert!(expiring(600).starts_with("identity `app`: `tokenExpiration` is 600 seconds, and EKS raises it to 3600."));
        assert!(!expiring(3599).is_empty());
        assert_eq!(expiring(3600), "");
    }

    #[test]
    fn annotations_that_eks_does_not_read_are_said() {
        assert_eq!(annotated("eks.amazonaws.com/sts-regional-endpoints", "true"), "");
        assert_eq!(annotated("example.com/anything", "x"), "");
        assert_eq!(
            annotated("eks.amazonaws.com/anything", "x"),
            "identity `app`: annotation `eks.amazonaws.com/anything` has no effect: EKS does not read it"
        );
        assert!(annotated("eks.amazonaws.com/skip-containers", "proxy").ends_with("EKS reads it on pods. Set it on the pod template"));
        assert!(annotated("eks.amazonaws.com/sts-regional-endpoints", "yes").ends_with("EKS reads `true` and `false` there"));
    }

    #[test]
    fn a_policy_of_administrators_is_said_with_what_bounds_it() {
        let with = |policy: &str, boundary: Option<&str>| {
            said(|identity| {
                role(identity).policies = [policy.parse().unwrap()].into();
                role(identity).permissions_boundary = boundary.map(|boundary| boundary.parse().unwrap());
            })
        };
        for policy in ["arn:aws:iam::aws:policy/AdministratorAccess", "arn:aws-cn:iam::aws:policy/IAMFullAccess"] {
            assert_eq!(
                with(policy, None),
                format!(
                    "identity `app`: policy `{policy}` lets its pods do everything, or give themselves the right to, in the whole account. Name the actions and resources that it needs, or set a `permissionsBoundary`"
                )
            );
        }
        assert!(
            with("arn:aws:iam::aws:policy/AdministratorAccess", Some("arn:aws:iam::123456789012:policy/bound"))
                .ends_with("within the permissions boundary `arn:aws:iam::123456789012:policy/bound`")
        );
        for policy in [
            "arn:aws:iam::123456789012:policy/AdministratorAccess",
            "arn:aws:iam::aws:policy/AdministratorAccess-Amplify",
            "arn:aws:iam::aws:policy/ReadOnlyAccess",
        ] {
            assert_eq!(with(policy, None), "", "{policy}");
        }
    }

    #[test]
    fn an_inline_policy_that_allows_everything_is_said_in_whatever_form() {
        let with = |statement: Value| {
            said(|identity| {
                let document = json!({ "Version": "2012-10-17", "Statement": statement });
                role(identity).inline_policies = [("own".parse().unwrap(), document)].into();
            })
        };
        let allow = |action: Value, resource: Value| json!({ "Effect": "Allow", "Action": action, "Resource": resource });
        let everything = "identity `app`: inline policy `own` allows every action on every resource, in the whole account.";
        for statement in [
            allow(json!("*"), json!("*")),
            allow(json!(["s3:GetObject", "*"]), json!(["arn:aws:s3:::x", "*"])),
            allow(json!("*:*"), json!("**")),
            json!([allow(json!("s3:*"), json!("*")), allow(json!("*"), json!("arn:*:*:*:*:*"))]),
            json!({ "Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::x" }),
            json!({ "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {} }),
        ] {
            assert!(with(statement.clone()).starts_with(everything), "{statement}");
        }
        assert!(with(allow(json!("IAM:*"), json!("*"))).contains("allows every action of IAM on every resource, and so to give itself"));
        let but = json!({ "Effect": "Allow", "NotAction": ["iam:*", "sts:*"], "Resource": "*" });
        assert!(with(but).contains("allows every action but `iam:*`, `sts:*` on every resource"));
        for statement in [
            allow(json!("s3:*"), json!("*")),
            allow(json!("*"), json!("arn:aws:s3:::x")),
            json!({ "Effect": "Deny", "Action": "*", "Resource": "*" }),
            json!({ "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": { "StringEquals": { "aws:ResourceTag/team": "shop" } } }),
            json!({}),
            json!(7),
        ] {
            assert_eq!(with(statement.clone()), "", "{statement}");
        }
    }
}
