//! Whether a caller may make a call: its policies, the resource and condition keys of the call, and AWS's words of refusal.
//!
//! What a document grants is decided in `evaluate`; whether a role may be assumed also takes its trust policy, see `sts.rs`.

use serde_json::Value;

use super::{
    Aws,
    credentials::{Caller, CallerKind},
    error::AwsError,
    evaluate::{Asker, Context, Decision, Question, decide},
    managed,
    query::Parameters,
    state::Role,
};

/// What a call is about, as policies see it.
#[derive(Clone, Debug)]
pub(crate) struct Matter {
    /// The ARN that `Resource` is compared with.
    pub(crate) resource: String,
    /// The resource as the refusal names it, where that is not the ARN.
    pub(crate) shown: Option<String>,
    pub(crate) context: Context,
}

impl Matter {
    pub(crate) fn of(resource: impl Into<String>) -> Self {
        Self { resource: resource.into(), shown: None, context: Context::new() }
    }

    /// The tags of the resource as condition keys.
    pub(crate) fn add_resource_tags<'t>(&mut self, tags: impl IntoIterator<Item = (&'t String, &'t String)>) {
        for (key, value) in tags {
            self.context.insert(format!("aws:resourcetag/{}", key.to_lowercase()), vec![value.clone()]);
        }
    }

    /// The tags that a request brings as condition keys.
    pub(crate) fn add_request_tags<'t>(&mut self, tags: impl IntoIterator<Item = (&'t String, &'t str)>) {
        for (key, value) in tags {
            self.context.insert(format!("aws:requesttag/{}", key.to_lowercase()), vec![value.to_owned()]);
            self.context.entry("aws:tagkeys".to_owned()).or_default().push(key.clone());
        }
    }
}

/// Checks a call of IAM.
pub(crate) fn iam(aws: &Aws, caller: &Caller, action: &str, parameters: &Parameters) -> Result<(), AwsError> {
    let matter = iam_matter(aws, action, parameters);
    check(aws, caller, &format!("iam:{action}"), &matter)?;
    // Making something with tags takes the permission to tag it too.
    let tagging = match action {
        "CreateRole" => "iam:TagRole",
        "CreateOpenIDConnectProvider" => "iam:TagOpenIDConnectProvider",
        "CreatePolicy" => "iam:TagPolicy",
        _ => return Ok(()),
    };
    if parameters.list("Tags").is_empty() {
        return Ok(());
    }
    check(aws, caller, tagging, &matter)
}

/// Checks any call.
pub(crate) fn check(aws: &Aws, caller: &Caller, action: &str, matter: &Matter) -> Result<(), AwsError> {
    let because = match judge(aws, caller, action, matter) {
        Verdict::Allowed => return Ok(()),
        Verdict::Denied => "with an explicit deny in an identity-based policy".to_owned(),
        Verdict::NotAllowed => {
            format!("because no identity-based policy allows the {action} action")
        }
        Verdict::BeyondSession => format!("because no session policy allows the {action} action"),
        Verdict::BeyondBoundary => {
            format!("because no permissions boundary allows the {action} action")
        }
    };
    let resource = matter.shown.as_ref().unwrap_or(&matter.resource);
    Err(AwsError::access_denied(format!("User: {} is not authorized to perform: {action} on resource: {resource} {because}", caller.arn)))
}

/// What a caller's own policies say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allowed,
    Denied,
    NotAllowed,
    BeyondSession,
    BeyondBoundary,
}

pub(crate) fn judge(aws: &Aws, caller: &Caller, action: &str, matter: &Matter) -> Verdict {
    match &caller.kind {
        CallerKind::Admin => Verdict::Allowed,
        CallerKind::User(name) => judge_documents(&user_documents(aws, name), None, action, matter),
        CallerKind::Session { role_arn, policy, tags } => {
            let (documents, boundary) = aws.role_by_arn(role_arn).map_or((Vec::new(), None), |role| role_documents(aws, role));
            let mut matter = matter.clone();
            for (key, value) in tags {
                matter.context.insert(format!("aws:principaltag/{}", key.to_lowercase()), vec![value.clone()]);
            }
            let verdict = judge_documents(&documents, boundary.as_ref(), action, &matter);
            let Some(policy) = policy.as_ref().filter(|_| verdict == Verdict::Allowed) else {
                return verdict;
            };
            let policy: Value = serde_json::from_str(policy).unwrap_or_default();
            match judge_documents(&[policy], None, action, &matter) {
                Verdict::NotAllowed => Verdict::BeyondSession,
                verdict => verdict,
            }
        }
    }
}

pub(crate) fn judge_documents(documents: &[Value], boundary: Option<&Value>, action: &str, matter: &Matter) -> Verdict {
    let question = Question { asker: Asker::Holder, action, resource: Some(&matter.resource), context: &matter.context };
    match (decide(documents, &question), boundary.map(|it| decide([it], &question))) {
        (Decision::Denied, _) | (_, Some(Decision::Denied)) => Verdict::Denied,
        (Decision::Silent, _) => Verdict::NotAllowed,
        (Decision::Allowed, Some(Decision::Silent)) => Verdict::BeyondBoundary,
        (Decision::Allowed, _) => Verdict::Allowed,
    }
}

pub(crate) fn user_documents(aws: &Aws, name: &str) -> Vec<Value> {
    let texts = aws.users.get(name).into_iter().flat_map(|user| user.inline.values());
    texts.filter_map(|text| serde_json::from_str(text).ok()).collect()
}

/// The policies of a role, and its boundary.
pub(crate) fn role_documents(aws: &Aws, role: &Role) -> (Vec<Value>, Option<Value>) {
    let mut documents: Vec<Value> = role.inline.values().filter_map(|text| serde_json::from_str(text).ok()).collect();
    documents.extend(role.attached.iter().filter_map(|arn| managed_document(aws, arn)));
    // A boundary whose policy cannot be read allows nothing.
    let boundary = role.boundary.as_ref().map(|arn| managed_document(aws, arn).unwrap_or(Value::Null));
    (documents, boundary)
}

fn managed_document(aws: &Aws, arn: &str) -> Option<Value> {
    match aws.policies.get(arn) {
        Some(policy) => serde_json::from_str(policy.document()).ok(),
        None => managed::document(managed::path_and_name(arn, &aws.partition)?),
    }
}

fn iam_matter(aws: &Aws, action: &str, parameters: &Parameters) -> Matter {
    let text = |name: &str| parameters.text(name).unwrap_or_default();
    let mut matter = match action {
        "CreateRole" => {
            let path = parameters.text("Path").unwrap_or("/");
            Matter::of(aws.iam_arn(&format!("role{path}{}", text("RoleName"))))
        }
        "ListRoles" => {
            let prefix = parameters.text("PathPrefix").unwrap_or("/");
            Matter::of(aws.iam_arn(&format!("role{prefix}")))
        }
        "CreateOpenIDConnectProvider" => {
            let url = text("Url").trim_start_matches("https://");
            Matter::of(aws.iam_arn(&format!("oidc-provider/{url}")))
        }
        "ListOpenIDConnectProviders" => Matter::of(aws.iam_arn("oidc-provider/*")),
        "GetAccountSummary" => Matter::of("*"),
        "CreatePolicy" => {
            let path = parameters.text("Path").unwrap_or("/");
            Matter::of(aws.iam_arn(&format!("policy{path}{}", text("PolicyName"))))
        }
        "GetPolicy"
        | "GetPolicyVersion"
        | "DeletePolicy"
        | "CreatePolicyVersion"
        | "ListPolicyVersions"
        | "DeletePolicyVersion"
        | "SetDefaultPolicyVersion"
        | "TagPolicy"
        | "UntagPolicy"
        | "ListPolicyTags"
        | "ListEntitiesForPolicy" => policy_matter(aws, text("PolicyArn")),
        "SimulatePrincipalPolicy" => Matter::of(text("PolicySourceArn")),
        _ if parameters.has("OpenIDConnectProviderArn") => Matter::of(text("OpenIDConnectProviderArn")),
        _ if parameters.has("UserName") => Matter::of(aws.iam_arn(&format!("user/{}", text("UserName")))),
        _ => role_matter(aws, text("RoleName")),
    };
    add_context(&mut matter.context, parameters);
    // Only what attaches and detaches has this key.
    if !matches!(action, "AttachRolePolicy" | "DetachRolePolicy") {
        matter.context.remove("iam:policyarn");
    }
    matter
}

/// A policy of the account with its tags as condition keys.
fn policy_matter(aws: &Aws, arn: &str) -> Matter {
    let mut matter = Matter::of(arn);
    for (key, value) in aws.policies.get(arn).into_iter().flat_map(|policy| &policy.tags) {
        for prefix in ["aws:resourcetag", "iam:resourcetag"] {
            matter.context.insert(format!("{prefix}/{}", key.to_lowercase()), vec![value.clone()]);
        }
    }
    matter
}

/// A role that is there, with its tags and boundary as condition keys; or only its name.
pub(crate) fn role_matter(aws: &Aws, name: &str) -> Matter {
    let Some(role) = aws.role_key(name).and_then(|key| aws.roles.get(&key)) else {
        let mut matter = Matter::of(aws.iam_arn(&format!("role/{name}")));
        matter.shown = Some(format!("role {name}"));
        return matter;
    };
    let mut matter = Matter::of(aws.role_arn(role));
    for (key, value) in &role.tags {
        for prefix in ["aws:resourcetag", "iam:resourcetag"] {
            let key = format!("{prefix}/{}", key.to_lowercase());
            matter.context.insert(key, vec![value.clone()]);
        }
    }
    if let Some(boundary) = &role.boundary {
        let key = "iam:permissionsboundary".to_owned();
        matter.context.insert(key, vec![boundary.clone()]);
    }
    matter
}

fn add_context(context: &mut Context, parameters: &Parameters) {
    let tags = parameters.list("Tags").iter().filter_map(|tag| Some((tag.get("Key")?.as_str()?, tag.get("Value")?.as_str()?)));
    let mut keys = parameters.texts("TagKeys");
    for (key, value) in tags {
        let name = format!("aws:requesttag/{}", key.to_lowercase());
        context.insert(name, vec![value.to_owned()]);
        keys.push(key.to_owned());
    }
    if !keys.is_empty() {
        context.insert("aws:tagkeys".to_owned(), keys);
    }
    for (parameter, key) in [("PermissionsBoundary", "iam:permissionsboundary"), ("PolicyArn", "iam:policyarn")] {
        if let Some(arn) = parameters.text(parameter) {
            context.insert(key.to_owned(), vec![arn.to_owned()]);
        }
    }
}
