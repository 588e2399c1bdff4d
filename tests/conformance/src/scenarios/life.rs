//! One environment: made, again, drifted, asked for less, deleted; and what is not its own.

use serde_json::{Value, json};

use crate::{
    aws::Role,
    failure::{Doing as _, Failure, check, equal},
    world::{Environment, World, manifest, name_of},
};

/// Everything that a role can have.
const ROLE: &str = r#"labels: {tier: backend}
    automount: false
    role:
      policies: [arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess]
      inlinePolicies:
        own-bucket: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "s3:*", Resource: "arn:aws:s3:::app-${QOVERY_ENVIRONMENT_ID}/*"}]}
      permissionsBoundary: arn:aws:iam::aws:policy/PowerUserAccess
      maxSessionDuration: 2h
      tags: {team: platform}"#;

async fn role_of(environment: &Environment<'_>) -> Result<Role, Failure> {
    let arn = environment.role_arn("app").await?;
    let role = environment.world.aws.role(name_of(&arn)).await?;
    role.ok_or_else(|| Failure::new(format!("the ServiceAccount names role `{arn}`, which is not there")))
}

/// The one subject, by whom it is signed and for whom.
fn trust(world: &World, sid: &Value, namespace: &str) -> Value {
    let issuer = world.issuer.trim_start_matches("https://");
    let condition = json!({"StringEquals": {
        format!("{issuer}:aud"): "sts.amazonaws.com",
        format!("{issuer}:sub"): format!("system:serviceaccount:{namespace}:app"),
    }});
    json!({"Version": "2012-10-17", "Statement": [{"Sid": sid, "Effect": "Allow", "Principal": {"Federated": world.aws.provider(&world.issuer)},
        "Action": "sts:AssumeRoleWithWebIdentity", "Condition": condition}]})
}

pub(super) async fn start(world: &World) -> Result<(), Failure> {
    let environment = world.environment("start", &manifest(ROLE)).await?;
    let before = world.aws.audiences(&world.issuer).await?;
    let planned = environment.run_without_writes(&["plan"])?.ended(10)?;
    equal(&world.aws.audiences(&world.issuer).await?, &before, "the provider after `plan`")?;
    check(environment.service_account().await?.is_none(), || "`plan` made the ServiceAccount".to_owned())?;
    let started = environment.run(&["start"])?.ended(0)?;
    equal(&started.planned(), &planned.planned(), "the plan of `start`")?;

    let audiences = world.aws.audiences(&world.issuer).await?.unwrap_or_default();
    check(audiences.contains("sts.amazonaws.com"), || format!("the provider has the audiences {audiences:?}"))?;
    let role = role_of(&environment).await?;
    check(role.arn.contains(&format!(":role/qovery/conformance-{}/", world.id)), || format!("the role is `{}`", role.arn))?;
    equal(&role.trust, &trust(world, &role.trust["Statement"][0]["Sid"], &environment.namespace), "trust policy")?;
    equal(
        &role.attached.iter().map(String::as_str).collect::<Vec<_>>(),
        &vec!["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"],
        "attached policies",
    )?;
    equal(&role.inline["own-bucket"]["Statement"][0]["Resource"], &json!("arn:aws:s3:::app-e1/*"), "inline policy")?;
    equal(&role.boundary.as_deref(), &Some("arn:aws:iam::aws:policy/PowerUserAccess"), "boundary")?;
    equal(&(role.max_session, role.tags.get("team").map(String::as_str)), &(Some(7200), Some("platform")), "session duration and tag")?;
    let account = environment.service_account().await?.unwrap_or_default();
    equal(&account["metadata"]["labels"]["tier"], &json!("backend"), "label of the ServiceAccount")?;
    equal(&account["automountServiceAccountToken"], &json!(false), "automount of the ServiceAccount")?;

    environment.run_without_writes(&["start"])?.ended(0)?.found_nothing()?;
    environment.run_without_writes(&["plan"])?.ended(0)?;
    equal(&role_of(&environment).await?, &role, "the role after a second start")?;
    // With its resource version: it changes with any write, even one of the same.
    equal(&environment.service_account().await?, &Some(account), "the ServiceAccount after a second start")?;
    environment.run(&["delete"])?.ended(0)?;
    environment.remove().await
}

/// What the drift of one field is.
enum Drift {
    Policy,
    Inline,
    Trust,
    Boundary,
    Description,
    Tag,
    Annotation,
    ServiceAccount,
}

impl Drift {
    async fn happen(&self, environment: &Environment<'_>, role: &Role) -> Result<(), Failure> {
        let (iam, kubernetes) = (&environment.world.aws.iam, &environment.world.kubernetes);
        let name = name_of(&role.arn);
        let doing = || "the drift cannot be made".to_owned();
        match self {
            Self::Policy => {
                let detach = iam.detach_role_policy().role_name(name).policy_arn("arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess");
                detach.send().await.doing(doing)?;
            }
            Self::Inline => {
                let document = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
                iam.put_role_policy().role_name(name).policy_name("own-bucket").policy_document(document).send().await.doing(doing)?;
            }
            Self::Trust => {
                let document = role.trust.to_string().replace("StringEquals", "StringLike").replace(&environment.namespace, "*");
                iam.update_assume_role_policy().role_name(name).policy_document(document).send().await.doing(doing)?;
            }
            Self::Boundary => {
                iam.delete_role_permissions_boundary().role_name(name).send().await.doing(doing)?;
            }
            Self::Description => {
                iam.update_role().role_name(name).description("by hand").max_session_duration(3600).send().await.doing(doing)?;
            }
            Self::Tag => {
                let tag = aws_sdk_iam::types::Tag::builder().key("team").value("other").build().doing(doing)?;
                iam.tag_role().role_name(name).tags(tag).send().await.doing(doing)?;
            }
            Self::Annotation => {
                let patch = json!({"metadata": {"annotations": {"eks.amazonaws.com/role-arn": null}}});
                kubernetes.merge(&environment.service_account_path(), &patch).await?;
            }
            Self::ServiceAccount => kubernetes.delete(&environment.service_account_path()).await?,
        }
        Ok(())
    }
}

pub(super) async fn drift(world: &World) -> Result<(), Failure> {
    let environment = world.environment("drift", &manifest(ROLE)).await?;
    environment.run(&["start"])?.ended(0)?;
    let (made, account) = (role_of(&environment).await?, environment.service_account().await?.unwrap_or_default());
    for (name, drift, actions) in [
        ("a policy detached", Drift::Policy, 1),
        ("an inline policy widened", Drift::Inline, 1),
        ("the trust policy widened", Drift::Trust, 1),
        ("the boundary taken off", Drift::Boundary, 1),
        ("description and session duration changed", Drift::Description, 1),
        ("a tag changed", Drift::Tag, 1),
        ("the annotation taken off", Drift::Annotation, 1),
        ("the ServiceAccount deleted", Drift::ServiceAccount, 1),
    ] {
        drift.happen(&environment, &made).await?;
        world.shows().await;
        let planned = environment.run_without_writes(&["plan"])?.ended(10).doing(|| name.to_owned())?;
        equal(&planned.planned().len(), &actions, name)?;
        environment.run(&["start"])?.ended(0).doing(|| name.to_owned())?;
        equal(&role_of(&environment).await?, &made, name)?;
        let repaired = environment.service_account().await?.unwrap_or_default();
        for field in ["labels", "annotations"] {
            equal(&repaired["metadata"][field], &account["metadata"][field], name)?;
        }
        equal(&repaired["automountServiceAccountToken"], &json!(false), name)?;
        environment.run_without_writes(&["start"])?.ended(0)?.found_nothing().doing(|| name.to_owned())?;
    }
    environment.run(&["delete"])?.ended(0)?;
    environment.remove().await
}

pub(super) async fn less(world: &World) -> Result<(), Failure> {
    let mut environment = world.environment("less", &manifest(ROLE)).await?;
    environment.run(&["start"])?.ended(0)?;
    let name = name_of(&environment.role_arn("app").await?).to_owned();
    let tag = aws_sdk_iam::types::Tag::builder().key("theirs").value("kept").build().doing(|| "a tag".to_owned())?;
    world.aws.iam.tag_role().role_name(&name).tags(tag).send().await.doing(|| "cannot tag".to_owned())?;
    environment.write_manifest(&manifest("role: {policies: [arn:aws:iam::aws:policy/AmazonSQSFullAccess]}"))?;
    environment.run(&["start"])?.ended(0)?;
    let role = role_of(&environment).await?;
    equal(
        &role.attached.iter().map(String::as_str).collect::<Vec<_>>(),
        &vec!["arn:aws:iam::aws:policy/AmazonSQSFullAccess"],
        "attached policies",
    )?;
    check(role.inline.is_empty() && role.boundary.is_none() && !role.tags.contains_key("team"), || format!("left on the role: {role:#?}"))?;
    equal(&role.tags.get("theirs").map(String::as_str), &Some("kept"), "the tag of somebody else")?;
    let account = environment.service_account().await?.unwrap_or_default();
    check(account["metadata"]["labels"]["tier"].is_null() && account["automountServiceAccountToken"].is_null(), || {
        format!("left on the ServiceAccount: {account:#}")
    })?;
    environment.run_without_writes(&["start"])?.ended(0)?.found_nothing()?;
    environment.run(&["delete"])?.ended(0)?;
    environment.remove().await
}

pub(super) async fn delete(world: &World) -> Result<(), Failure> {
    let environment = world.environment("delete", &manifest(ROLE)).await?;
    // Somebody else's ServiceAccount, which only gets the annotation.
    let theirs = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "app", "namespace": environment.namespace,
        "annotations": {"theirs": "kept"}, "labels": {"app": "theirs"}}});
    world.kubernetes.apply(&environment.service_account_path(), &theirs).await?;
    environment.run(&["start"])?.ended(0)?;
    let role = environment.role_arn("app").await?;
    let attach = world.aws.iam.attach_role_policy().role_name(name_of(&role)).policy_arn("arn:aws:iam::aws:policy/ReadOnlyAccess");
    attach.send().await.doing(|| "cannot attach a policy".to_owned())?;
    world.shows().await;
    environment.run_without_writes(&["plan", "delete"])?.ended(10)?;
    let deleted = environment.run(&["delete"])?.ended(0)?;
    deleted.says("policy `arn:aws:iam::aws:policy/ReadOnlyAccess` was attached by somebody else")?;
    check(world.aws.role(name_of(&role)).await?.is_some(), || format!("role `{role}` is gone, and somebody else relies on it"))?;
    world.aws.delete_role(name_of(&role)).await?;
    world.shows().await;
    check(world.aws.audiences(&world.issuer).await?.is_some(), || "the provider is gone; it is the cluster's".to_owned())?;
    let account = environment.service_account().await?.unwrap_or_default();
    equal(&account["metadata"]["annotations"], &json!({"theirs": "kept"}), "annotations of somebody else's ServiceAccount")?;
    equal(&account["metadata"]["labels"], &json!({"app": "theirs"}), "labels of somebody else's ServiceAccount")?;
    environment.run_without_writes(&["delete"])?.ended(0)?.found_nothing()?;
    environment.run_without_writes(&["plan", "delete"])?.ended(0)?;

    // One that the job makes goes as a whole.
    world.kubernetes.delete(&environment.service_account_path()).await?;
    environment.run(&["start"])?.ended(0)?;
    environment.run(&["delete"])?.ended(0)?;
    check(environment.service_account().await?.is_none(), || "the ServiceAccount that the job made is left".to_owned())?;
    environment.remove().await
}

async fn refused(world: &World, environment: Environment<'_>, theirs: Role) -> Result<(), Failure> {
    let name = name_of(&theirs.arn);
    for command in [&["start"][..], &["plan"]] {
        let run = environment.run_without_writes(command)?.ended(3)?;
        run.says(&format!("refused: role `{}` exists and was not made by this tool", theirs.arn))?;
    }
    // The refusal is the last word also for what would come before and after.
    check(environment.service_account().await?.is_none(), || "a ServiceAccount was made for a role that was refused".to_owned())?;
    environment.run_without_writes(&["delete"])?.ended(0)?;
    equal(&world.aws.role(name).await?.as_ref(), &Some(&theirs), "the role of somebody else")?;
    world.aws.delete_role(name).await?;
    environment.remove().await
}

pub(super) async fn foreign(world: &World) -> Result<(), Failure> {
    let name = format!("conformance-foreign-{}", world.id);
    let theirs = world.aws.create_role_by_hand(&name).await?;
    let environment = world.environment("foreign", &manifest(&format!("role: {{name: {name}}}"))).await?;
    refused(world, environment, theirs).await
}

pub(super) async fn foreign_by_case(world: &World) -> Result<(), Failure> {
    let name = format!("conformance-Case-{}", world.id);
    let theirs = world.aws.create_role_by_hand(&name).await?;
    let environment = world.environment("case", &manifest(&format!("role: {{name: {}}}", name.to_lowercase()))).await?;
    refused(world, environment, theirs).await
}

pub(super) async fn held(world: &World) -> Result<(), Failure> {
    let environment = world.environment("held", &manifest("role: {}")).await?;
    let theirs = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "app", "namespace": environment.namespace,
        "annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/theirs"}}});
    let before = world.kubernetes.apply(&environment.service_account_path(), &theirs).await?;
    let run = environment.run_without_writes(&["start"])?.ended(3)?;
    run.says("annotation `eks.amazonaws.com/role-arn` is `arn:aws:iam::123456789012:role/theirs`, held by field manager `conformance`")?;
    equal(
        &environment.service_account().await?.unwrap_or_default()["metadata"],
        &before["metadata"],
        "the ServiceAccount of somebody else",
    )?;
    environment.run_without_writes(&["delete"])?.ended(0)?;
    environment.remove().await
}

pub(super) async fn no_policy(world: &World) -> Result<(), Failure> {
    let environment =
        world.environment("no-policy", &manifest("role: {policies: [\"arn:aws:iam::<ACCOUNT>:policy/conformance-none\"]}")).await?;
    let run = environment.run(&["start"])?.ended(1)?;
    run.says("caused by: NoSuchEntity: ")?;
    run.says("hint: check the ARN of that policy")?;
    check(environment.service_account().await?.is_none(), || "a ServiceAccount names a role that is not ready".to_owned())?;
    environment.run(&["delete"])?.ended(0)?;
    environment.remove().await
}

pub(super) async fn malformed_policy(world: &World) -> Result<(), Failure> {
    let role = r#"role: {inlinePolicies: {odd: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: nonsense, Resource: "*"}]}}}"#;
    let environment = world.environment("malformed", &manifest(role)).await?;
    environment.run_without_writes(&["start"])?.ended(2)?.says("Statement[0].Action: `nonsense` is not an action")?;
    check(environment.service_account().await?.is_none(), || "a ServiceAccount is there without a role".to_owned())?;
    environment.remove().await
}

pub(super) async fn namespace_gone(world: &World) -> Result<(), Failure> {
    let environment = world.environment("no-more", &manifest(ROLE)).await?;
    environment.run(&["start"])?.ended(0)?;
    let role = environment.role_arn("app").await?;
    world.remove_namespace(&environment.namespace).await?;
    let run = environment.run(&["start"])?.ended(1)?;
    run.says("caused by: ")?;
    environment.run(&["delete"])?.ended(0)?;
    check(world.aws.role(name_of(&role)).await?.is_none(), || format!("role `{role}` is left"))?;
    environment.run_without_writes(&["delete"])?.ended(0)?.found_nothing()
}

/// Another audience, further subjects, a pattern, and the statement that stands in when nobody is left.
pub(super) async fn trust_policies(world: &World) -> Result<(), Failure> {
    let mut environment = world.environment("trust", &manifest("role: {extraSubjects: [kube-system/keda-operator]}")).await?;
    environment.run(&["start"])?.ended(0)?;
    environment.run_without_writes(&["start"])?.ended(0)?.found_nothing()?;
    environment.write_manifest(&manifest("audience: somebody\n    role: {extraSubjects: [kube-system/keda-operator]}"))?;
    environment.run(&["start"])?.ended(0)?;
    environment.run_without_writes(&["start"])?.ended(0)?.found_nothing()?;
    environment.run(&["delete"])?.ended(0)?;
    environment.write_manifest(&manifest("role: {scope: cluster, name: conformance-<ID>-cluster, namespaces: [conformance-<ID>-*]}"))?;
    environment.run(&["start"])?.ended(0)?;
    environment.run(&["delete"])?.ended(0)?;
    environment.remove().await
}
