//! Pod Identity associations: which role the pods of a `ServiceAccount` get.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    super::{
        Aws, Outcome,
        authorize::{self, Matter},
        error::AwsError,
        evaluate::{Asker, Context, Decision, Question, decide},
        time,
    },
    Call, arn, field, in_use, invalid, named, named_mut, not_found,
    pages::Page,
    state::{Cluster, PodIdentityAssociation},
};

const POD_IDENTITY: &str = "pods.eks.amazonaws.com";

pub(super) fn create(aws: &mut Aws, call: &Call<'_>) -> Result<Outcome, AwsError> {
    let body = call.body()?;
    let cluster = call.cluster();
    named(aws, cluster)?;
    let namespace = field(&body, "namespace")?;
    let service_account = field(&body, "serviceAccount")?;
    let role_arn = field(&body, "roleArn")?;
    for unsupported in ["targetRoleArn", "disableSessionTags", "policy"] {
        if body.get(unsupported).is_some_and(|value| !value.is_null()) {
            return Err(AwsError::not_implemented(&format!("{unsupported} of CreatePodIdentityAssociation")));
        }
    }
    let mut passing = Matter::of(role_arn);
    let service = ("iam:passedtoservice".to_owned(), vec![POD_IDENTITY.to_owned()]);
    passing.context = Context::from([service]);
    authorize::check(aws, call.caller, "iam:PassRole", &passing)?;
    check_role(aws, role_arn)?;
    let same = |association: &PodIdentityAssociation| association.namespace == namespace && association.service_account == service_account;
    let mut existing = named(aws, cluster)?.associations.iter();
    if let Some((id, _)) = existing.find(|(_, association)| same(association)) {
        return Err(in_use(format!("Association already exists: {id}")));
    }
    let tags = body.get("tags").and_then(Value::as_object);
    let tags: BTreeMap<String, String> =
        tags.into_iter().flatten().map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect();
    let association = PodIdentityAssociation {
        namespace: namespace.to_owned(),
        service_account: service_account.to_owned(),
        role_arn: role_arn.to_owned(),
        tags,
        created: call.now,
    };
    let id = format!("a-{}", aws.unique_id("").to_lowercase());
    let shown = show(aws, named(aws, cluster)?, &id, &association);
    named_mut(aws, cluster)?.associations.insert(id, association);
    Ok(Outcome::json(json!({"association": shown}), true))
}

pub(super) fn describe(aws: &mut Aws, call: &Call<'_>) -> Result<Outcome, AwsError> {
    let cluster = named(aws, call.cluster())?;
    let association = cluster.associations.get(call.item()).ok_or_else(|| missing(call.item()))?;
    Ok(Outcome::json(json!({"association": show(aws, cluster, call.item(), association)}), false))
}

pub(super) fn delete(aws: &mut Aws, call: &Call<'_>) -> Result<Outcome, AwsError> {
    let removed = named_mut(aws, call.cluster())?.associations.remove_entry(call.item());
    let (id, association) = removed.ok_or_else(|| missing(call.item()))?;
    let shown = show(aws, named(aws, call.cluster())?, &id, &association);
    Ok(Outcome::json(json!({"association": shown}), true))
}

pub(super) fn list(aws: &mut Aws, call: &Call<'_>) -> Result<Outcome, AwsError> {
    let cluster = named(aws, call.cluster())?;
    let fits = |name: &str, value: &str| call.request.query_value(name).is_none_or(|wanted| wanted == value);
    let found = cluster
        .associations
        .iter()
        .filter(|(_, found)| fits("namespace", &found.namespace) && fits("serviceAccount", &found.service_account))
        .map(|(id, association)| {
            let mut shown = show(aws, cluster, id, association);
            if let Some(summary) = shown.as_object_mut() {
                summary.retain(|key, _| SUMMARY.contains(&key.as_str()));
            }
            (id.clone(), shown)
        });
    let page = Page::of(found, call.request)?;
    Ok(Outcome::json(json!({"associations": page.items, "nextToken": page.next}), false))
}

/// The role has to be there and to trust EKS Pod Identity.
fn check_role(aws: &Aws, role_arn: &str) -> Result<(), AwsError> {
    let role = aws.role_by_arn(role_arn).ok_or_else(|| invalid("Role provided in the request does not exist."))?;
    let trust: Value = serde_json::from_str(&role.trust).unwrap_or_default();
    let trusts = |action: &str| {
        let question = Question { asker: Asker::Service(POD_IDENTITY), action, resource: None, context: &Context::new() };
        decide([&trust], &question) == Decision::Allowed
    };
    if trusts("sts:AssumeRole") && trusts("sts:TagSession") {
        return Ok(());
    }
    Err(invalid(
        "Trust policy of role is invalid. Verify that the role trusts pods.eks.amazonaws.com for sts:AssumeRole and sts:TagSession.",
    ))
}

fn missing(id: &str) -> AwsError {
    not_found(format!("No association found with associationId: {id}"))
}

/// What a list shows of an association.
const SUMMARY: [&str; 5] = ["clusterName", "namespace", "serviceAccount", "associationArn", "associationId"];

fn show(aws: &Aws, cluster: &Cluster, id: &str, association: &PodIdentityAssociation) -> Value {
    let resource = format!("podidentityassociation/{}/{id}", cluster.name);
    json!({
        "clusterName": cluster.name,
        "namespace": association.namespace,
        "serviceAccount": association.service_account,
        "roleArn": association.role_arn,
        "associationArn": arn(aws, &resource),
        "associationId": id,
        "tags": association.tags,
        "createdAt": time::unix_seconds(association.created),
        "modifiedAt": time::unix_seconds(association.created),
    })
}
