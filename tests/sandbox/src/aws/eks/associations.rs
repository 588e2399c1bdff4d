//! Pod Identity associations: which role the pods of a `ServiceAccount` get, and how.
//!
//! How long EKS takes to notice roles and its own deletions is `Aws::delay_eks`. What an association is worth is in `eks_auth.rs`.
//! The words of refusals that no public source shows are ours.
//! <https://docs.aws.amazon.com/eks/latest/APIReference/API_CreatePodIdentityAssociation.html>

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use super::{
    super::{
        Aws, Outcome,
        authorize::{self, Matter},
        documents,
        error::AwsError,
        evaluate::{Asker, Context, Decision, Question, decide},
        time,
    },
    Call, arn, field, in_use, invalid, named, named_mut, not_found,
    pages::Page,
    state::{Cluster, DeletedAssociation, PodIdentityAssociation},
    text, unreadable,
};

/// The principal that roles of pods trust, and the audience of their tokens.
pub(in super::super) const POD_IDENTITY: &str = "pods.eks.amazonaws.com";
/// Characters of a session policy.
const POLICY_SIZE: usize = 2_048;
/// What a new one is made from.
const OF_CREATION: [&str; 8] =
    ["namespace", "serviceAccount", "roleArn", "targetRoleArn", "disableSessionTags", "policy", "tags", "clientRequestToken"];
/// What an update may change.
const CHANGEABLE: [&str; 4] = ["roleArn", "targetRoleArn", "disableSessionTags", "policy"];
/// What a list shows of an association.
const SUMMARY: [&str; 6] = ["clusterName", "namespace", "serviceAccount", "associationArn", "associationId", "ownerArn"];

pub(super) fn create(aws: &mut Aws, call: &Call<'_>) -> Result<Outcome, AwsError> {
    let body = call.body_of(&OF_CREATION)?;
    let cluster = call.cluster();
    named(aws, cluster)?;
    let mut association =
        PodIdentityAssociation::new(field(&body, "namespace")?, field(&body, "serviceAccount")?, field(&body, "roleArn")?, call.now);
    association.tags = super::tags(&body)?;
    association.client_request_token = text(&body, "clientRequestToken")?.map(str::to_owned);
    set(aws, &mut association, &body)?;
    super::may_tag(aws, call, &format!("podidentityassociation/{cluster}/*"), &association.tags)?;
    check_role(aws, call, &association.role_arn)?;
    let key = association.key();
    let found = named(aws, cluster)?;
    if let Some((id, existing)) = found.associations.iter().find(|(_, existing)| existing.key() == key) {
        if existing.was_asked_for_by(&association) {
            return Ok(Outcome::json(json!({"association": show(aws, found, id, existing)}), false));
        }
        return Err(in_use(format!("Association already exists: {id}")));
    }
    if let Some(deleted) = found.recently_deleted.get(&key).filter(|deleted| deleted.at + aws.eks_world.delay > call.now) {
        return Err(in_use(format!("Association already exists: {}", deleted.id)));
    }
    let quota = aws.quotas.associations;
    if found.associations.len() >= quota {
        let message = format!("Cannot exceed quota for pod identity associations per cluster: {quota}");
        return Err(AwsError::new(400, "ResourceLimitExceededException", message));
    }
    let id = format!("a-{}", aws.unique_id("").to_lowercase());
    let shown = show(aws, named(aws, cluster)?, &id, &association);
    named_mut(aws, cluster)?.associations.insert(id, association);
    Ok(Outcome::json(json!({"association": shown}), true))
}

pub(super) fn describe(aws: &mut Aws, call: &Call<'_>) -> Result<Outcome, AwsError> {
    let cluster = named(aws, call.cluster())?;
    let association = shown(aws, cluster, call.now).remove(call.item()).ok_or_else(|| missing(call.item()))?;
    Ok(Outcome::json(json!({"association": show(aws, cluster, call.item(), association)}), false))
}

/// What is not given stays; namespace and `ServiceAccount` always do. An empty target role takes it away:
/// <https://github.com/aws-controllers-k8s/eks-controller/blob/main/templates/hooks/pod_identity_association/sdk_update_post_build_request.go.tpl>
pub(super) fn update(aws: &mut Aws, call: &Call<'_>) -> Result<Outcome, AwsError> {
    let mut body = call.body_of(&[&CHANGEABLE[..], &["clientRequestToken"]].concat())?;
    let (cluster, id) = (call.cluster(), call.item());
    let before = named(aws, cluster)?.associations.get(id).ok_or_else(|| missing(id))?.clone();
    not_owned(&before)?;
    if CHANGEABLE.iter().all(|member| body.get(*member).is_none_or(Value::is_null)) {
        return Err(invalid("At least one of roleArn, targetRoleArn, disableSessionTags and policy is required"));
    }
    let mut association = before.clone();
    if body.get("targetRoleArn").is_some_and(|value| value == "") {
        association.target_role_arn = None;
        body["targetRoleArn"] = Value::Null;
    }
    if body.get("roleArn").is_some_and(|value| !value.is_null()) {
        field(&body, "roleArn")?.clone_into(&mut association.role_arn);
        check_role(aws, call, &association.role_arn)?;
    }
    set(aws, &mut association, &body)?;
    let changed = association != before;
    if changed {
        association.modified = call.now;
        association.before = Some(Box::new(PodIdentityAssociation { before: None, ..before }));
    }
    let shown = show(aws, named(aws, cluster)?, id, &association);
    named_mut(aws, cluster)?.associations.insert(id.to_owned(), association);
    Ok(Outcome::json(json!({"association": shown}), changed))
}

pub(super) fn delete(aws: &mut Aws, call: &Call<'_>) -> Result<Outcome, AwsError> {
    let cluster = named_mut(aws, call.cluster())?;
    let association = cluster.associations.get(call.item()).ok_or_else(|| missing(call.item()))?.clone();
    not_owned(&association)?;
    cluster.associations.remove(call.item());
    let deleted = DeletedAssociation { id: call.item().to_owned(), association: association.clone(), at: call.now };
    cluster.recently_deleted.insert(association.key(), deleted);
    let shown = show(aws, named(aws, call.cluster())?, call.item(), &association);
    Ok(Outcome::json(json!({"association": shown}), true))
}

pub(super) fn list(aws: &mut Aws, call: &Call<'_>) -> Result<Outcome, AwsError> {
    call.has_no_query_but(&["namespace", "serviceAccount", "maxResults", "nextToken"])?;
    let cluster = named(aws, call.cluster())?;
    let wanted = [call.request.query_value("namespace"), call.request.query_value("serviceAccount")];
    let fits = |found: &PodIdentityAssociation| {
        let mut both = wanted.iter().zip([&found.namespace, &found.service_account]);
        both.all(|(wanted, found)| wanted.as_ref().is_none_or(|wanted| wanted == found))
    };
    let found = shown(aws, cluster, call.now).into_iter().filter(|(_, found)| fits(found)).map(|(id, association)| {
        let mut shown = show(aws, cluster, id, association);
        if let Some(summary) = shown.as_object_mut() {
            summary.retain(|key, _| SUMMARY.contains(&key.as_str()));
        }
        (id.to_owned(), shown)
    });
    let page = Page::of(found, call.request)?;
    Ok(Outcome::json(json!({"associations": page.items, "nextToken": page.next}), false))
}

/// The association that a path names, as policies see it.
pub(super) fn matter(aws: &Aws, call: &Call<'_>) -> Matter {
    let (cluster, id) = (call.cluster(), call.item());
    let mut matter = Matter::of(arn(aws, &format!("podidentityassociation/{cluster}/{id}")));
    let association = aws.clusters.get(cluster).and_then(|cluster| cluster.associations.get(id));
    matter.add_resource_tags(association.iter().flat_map(|association| &association.tags));
    matter
}

/// The cluster that is to have one, with its tags.
pub(super) fn creation_matter(aws: &Aws, call: &Call<'_>) -> Matter {
    let mut matter = Matter::of(arn(aws, &format!("cluster/{}", call.cluster())));
    let body = call.body().unwrap_or_default();
    matter.add_request_tags(body["tags"].as_object().into_iter().flatten().filter_map(|(key, value)| Some((key, value.as_str()?))));
    matter
}

/// Target role, session tags and session policy as a body has them, and whether they go together.
fn set(aws: &Aws, association: &mut PodIdentityAssociation, body: &Value) -> Result<(), AwsError> {
    if let Some(target) = text(body, "targetRoleArn")? {
        account_of_role(aws, target).ok_or_else(|| invalid(format!("Invalid target role ARN: {target}")))?;
        association.target_role_arn = Some(target.to_owned());
    }
    match &body["disableSessionTags"] {
        Value::Null => {}
        Value::Bool(disable) => association.disable_session_tags = *disable,
        _ => return Err(unreadable("disableSessionTags is no boolean")),
    }
    if let Some(policy) = text(body, "policy")? {
        if policy.chars().count() > POLICY_SIZE {
            return Err(invalid(format!("policy can have at most {POLICY_SIZE} characters")));
        }
        documents::check_permissions(policy, &aws.partition).map_err(|error| invalid(format!("policy is invalid: {}", error.message)))?;
        association.policy = Some(policy.to_owned());
    }
    if association.policy.is_some() && !association.disable_session_tags {
        return Err(invalid("disableSessionTags must be true when a policy is given"));
    }
    Ok(())
}

/// The caller has to be allowed to pass and to see the role; the role has to be there and to trust EKS Pod Identity. Conditions of the
/// trust are a matter of each session.
fn check_role(aws: &Aws, call: &Call<'_>, role_arn: &str) -> Result<(), AwsError> {
    let account = account_of_role(aws, role_arn).ok_or_else(|| invalid(format!("Invalid role ARN: {role_arn}")))?;
    if account != aws.account {
        return Err(AwsError::access_denied("Cross-account pass role is not allowed."));
    }
    let mut passing = Matter::of(role_arn);
    let service = ("iam:passedtoservice".to_owned(), vec![POD_IDENTITY.to_owned()]);
    passing.context = Context::from([service]);
    authorize::check(aws, call.caller, "iam:PassRole", &passing)?;
    let role = aws.role_by_arn(role_arn);
    // Unlike the right to pass a role, this one can depend on its tags.
    let reading = role.map_or_else(|| Matter::of(role_arn), |role| authorize::role_matter(aws, &role.name));
    authorize::check(aws, call.caller, "iam:GetRole", &reading)?;
    let seen = role.filter(|role| role.created + aws.eks_world.delay <= call.now);
    let role = seen.ok_or_else(|| invalid("Role provided in the request does not exist."))?;
    let trust = match &role.previous_trust {
        Some((before, until)) if *until + aws.eks_world.delay > call.now => before,
        _ => &role.trust,
    };
    if trusts(trust, "sts:AssumeRole") && trusts(trust, "sts:TagSession") {
        return Ok(());
    }
    Err(invalid(
        "Trust policy of role is invalid. Verify that the role trusts pods.eks.amazonaws.com for sts:AssumeRole and sts:TagSession.",
    ))
}

/// Whether a trust policy allows EKS Pod Identity an action under some condition.
fn trusts(trust: &str, action: &str) -> bool {
    let document: Value = serde_json::from_str(trust).unwrap_or_default();
    let question = Question { asker: Asker::Service(POD_IDENTITY), action, resource: None, context: &Context::new() };
    documents::statements(&document).unwrap_or_default().into_iter().any(|statement| {
        let mut statement = statement.clone();
        statement.remove("Condition");
        decide([&json!({"Statement": [statement]})], &question) == Decision::Allowed
    })
}

fn account_of_role<'a>(aws: &Aws, arn: &'a str) -> Option<&'a str> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, "iam", "", account, resource] = parts[..] else {
        return None;
    };
    let named = resource.strip_prefix("role/").is_some_and(|name| !name.is_empty());
    (partition == aws.partition && documents::is_account(account) && named).then_some(account)
}

/// What an add-on has made is changed through the add-on.
fn not_owned(association: &PodIdentityAssociation) -> Result<(), AwsError> {
    let Some(owner) = &association.owner_arn else {
        return Ok(());
    };
    Err(AwsError::new(400, "InvalidRequestException", format!("The association is owned by the add-on {owner}")))
}

fn missing(id: &str) -> AwsError {
    not_found(format!("No association found with associationId: {id}"))
}

/// What a target role may ask for as `sts:ExternalId`.
/// <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-assign-target-role.html>
pub(in super::super) fn external_id(aws: &Aws, cluster: &Cluster, association: &PodIdentityAssociation) -> String {
    format!("{}/{}/{}/{}/{}", aws.region, aws.account, cluster.name, association.namespace, association.service_account)
}

pub(in super::super) fn association_arn(aws: &Aws, cluster: &Cluster, id: &str) -> String {
    arn(aws, &format!("podidentityassociation/{}/{id}", cluster.name))
}

fn show(aws: &Aws, cluster: &Cluster, id: &str, association: &PodIdentityAssociation) -> Value {
    let mut shown = json!({
        "clusterName": cluster.name,
        "namespace": association.namespace,
        "serviceAccount": association.service_account,
        "roleArn": association.role_arn,
        "associationArn": association_arn(aws, cluster, id),
        "associationId": id,
        "tags": association.tags,
        "createdAt": time::unix_seconds(association.created),
        "modifiedAt": time::unix_seconds(association.modified),
        "disableSessionTags": association.disable_session_tags,
    });
    if let Some(target) = &association.target_role_arn {
        shown["targetRoleArn"] = json!(target);
        shown["externalId"] = json!(external_id(aws, cluster, association));
    }
    for (member, value) in [("policy", &association.policy), ("ownerArn", &association.owner_arn)] {
        if let Some(value) = value {
            shown[member] = json!(value);
        }
    }
    shown
}

/// The associations as lists and descriptions show them. Whether these are as late as their effect is known to nobody outside.
fn shown<'a>(aws: &'a Aws, cluster: &'a Cluster, now: SystemTime) -> BTreeMap<&'a str, &'a PodIdentityAssociation> {
    let delay = if aws.eks_world.shows_associations_late { aws.eks_world.delay } else { Duration::ZERO };
    as_of(cluster, now, delay)
}

/// The associations as they were so long ago, those among them that are gone by now.
fn as_of(cluster: &Cluster, now: SystemTime, delay: Duration) -> BTreeMap<&str, &PodIdentityAssociation> {
    let then = now.checked_sub(delay).unwrap_or(SystemTime::UNIX_EPOCH);
    let gone = cluster.recently_deleted.values().filter(|deleted| deleted.at > then);
    let all = gone.map(|deleted| (&deleted.id, &deleted.association)).chain(&cluster.associations);
    all.filter_map(|(id, association)| Some((id.as_str(), association.as_of(then)?))).collect()
}

impl Aws {
    /// The association of a `ServiceAccount` with its id, as far as it is in effect: what was changed or deleted a moment ago still is as before.
    #[must_use]
    pub fn association_of(
        &self,
        cluster: &str,
        namespace: &str,
        service_account: &str,
        now: SystemTime,
    ) -> Option<(&str, &PodIdentityAssociation)> {
        let found = as_of(self.clusters.get(cluster)?, now, self.eks_world.delay);
        found.into_iter().find(|(_, found)| found.namespace == namespace && found.service_account == service_account)
    }
}
