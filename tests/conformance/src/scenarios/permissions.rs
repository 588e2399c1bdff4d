//! What `docs/permissions/` gives suffices, everywhere else, and what it does not give is missed in the service's own words.

use serde_json::json;

use crate::{
    failure::{Failure, check, equal},
    world::{World, manifest, name_of},
};

pub(super) async fn given(world: &World) -> Result<(), Failure> {
    let theirs = world.aws.create_role_by_hand(&format!("conformance-by-hand-{}", world.id)).await?;
    let name = name_of(&theirs.arn);
    let environment = world.environment("given", &manifest(&format!("role: {{arn: \"{}\"}}", theirs.arn))).await?;
    let denied = environment.run(&["start"])?.ended(1)?;
    denied.says("is not authorized to perform: iam:TagRole")?;
    denied.says("hint: ")?;
    equal(&world.aws.role(name).await?.as_ref(), &Some(&theirs), "a role that the job may not change")?;

    world.allow_trust_of(&theirs.arn).await?;
    environment.run(&["start"])?.ended(0)?;
    let joined = world.aws.role(name).await?.ok_or_else(|| Failure::new("the given role is gone"))?;
    equal(&joined.trust["Statement"][0], &theirs.trust["Statement"][0], "the statement of somebody else")?;
    equal(&joined.trust["Statement"].as_array().map(Vec::len), &Some(2), "statements of a role that was joined")?;
    environment.run_without_writes(&["start"])?.ended(0)?.found_nothing()?;
    environment.run(&["delete"])?.ended(0)?;
    equal(&world.aws.role(name).await?.as_ref(), &Some(&theirs), "the given role after delete")?;
    world.aws.delete_role(name).await?;
    environment.remove().await
}

pub(super) async fn outside(world: &World) -> Result<(), Failure> {
    let manifest = manifest("role: {}").replace("/qovery/conformance-<ID>/", "/elsewhere-<ID>/");
    let environment = world.environment("outside", &manifest).await?;
    let denied = environment.run(&["start"])?.ended(1)?;
    denied.says("is not authorized to perform: iam:CreateRole")?;
    denied.says("hint: ")?;
    check(world.aws.roles_below(&format!("/elsewhere-{}/", world.id)).await?.is_empty(), || "a role was made outside".to_owned())?;
    check(environment.service_account().await?.is_none(), || "a ServiceAccount names a role that is not there".to_owned())?;
    environment.remove().await
}

pub(super) async fn bounded(world: &World) -> Result<(), Failure> {
    let (key, boundary) = world.bounded_user().await?;
    let role = "role: {policies: [arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess]}";
    let mut environment = world.environment("bounded", &manifest(role)).await?;
    environment.act_as(&key);
    environment.run(&["start"])?.ended(1)?.says("is not authorized to perform: iam:CreateRole")?;
    environment.set("IRSA_PERMISSIONS_BOUNDARY", &boundary);
    environment.run(&["start"])?.ended(0)?;
    let arn = environment.role_arn("app").await?;
    let made = world.aws.role(name_of(&arn)).await?.ok_or_else(|| Failure::new("the role is not there"))?;
    equal(&made.boundary.as_deref(), &Some(boundary.as_str()), "boundary")?;
    environment.run_without_writes(&["start"])?.ended(0)?.found_nothing()?;
    environment.set("IRSA_PERMISSIONS_BOUNDARY", "");
    environment.run(&["start"])?.ended(1)?.says("not authorized to perform: iam:DeleteRolePermissionsBoundary")?;
    equal(&world.aws.role(name_of(&arn)).await?.and_then(|role| role.boundary).as_deref(), &Some(boundary.as_str()), "boundary after all")?;
    environment.set("IRSA_PERMISSIONS_BOUNDARY", &boundary);
    environment.run(&["delete"])?.ended(0)?;
    check(world.aws.role(name_of(&arn)).await?.is_none(), || format!("role `{arn}` is left"))?;
    environment.remove().await
}

pub(super) async fn no_rbac(world: &World) -> Result<(), Failure> {
    let mut environment = world.environment("no-rbac", &manifest("role: {}")).await?;
    environment.set("KUBECONFIG", &world.kubeconfig_of_nobody()?);
    environment.set("IRSA_OIDC_ISSUER", &world.issuer);
    let run = environment.run_without_writes(&["start"])?.ended(1)?;
    run.says("failed to read ServiceAccount")?;
    run.says("Forbidden")?;
    run.says("hint: ")?;

    // What the file gives, and no more.
    let secrets = format!("/api/v1/namespaces/{}/secrets", environment.namespace);
    for (path, verb, allowed) in [
        (environment.service_account_path(), "get", true),
        (environment.service_account_path(), "patch", true),
        (environment.service_account_path(), "delete", true),
        (environment.service_account_path(), "list", true),
        (secrets, "get", false),
    ] {
        let resource = if path.contains("/secrets") { "secrets" } else { "serviceaccounts" };
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {"user": "somebody", "groups": ["qovery-irsa"],
            "resourceAttributes": {"namespace": environment.namespace, "verb": verb, "resource": resource}}});
        if world.has_the_published_group() {
            let answer = world.kubernetes.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", &review).await?;
            equal(&answer["status"]["allowed"], &json!(allowed), &format!("{verb} {resource} of the group of rbac.yaml"))?;
        }
    }
    environment.remove().await
}
