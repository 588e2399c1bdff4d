//! That a pod gets the role, shown by the tokens of the cluster and the STS of the account.

use serde_json::json;

use crate::{
    aws::Assumed,
    failure::{Doing as _, Failure, check},
    world::{World, forged, manifest, name_of},
};

fn refused(answer: &Assumed, whose: &str) -> Result<(), Failure> {
    check(matches!(answer, Assumed::Refused(_)), || format!("STS gave the role to {whose}: {answer:?}"))
}

pub(super) async fn pod(world: &World) -> Result<(), Failure> {
    let mut environment = world.environment("pod", &manifest("role: {}")).await?;
    environment.set("IRSA_PROOF", "required");
    let started = environment.run(&["start"])?.ended(0)?;
    started.says(&format!("proven: pods of ServiceAccount `{}/app` get role `", environment.namespace))?;
    let role = environment.role_arn("app").await?;
    let namespace = &environment.namespace;
    let other = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "other", "namespace": namespace}});
    world.kubernetes.apply(&format!("/api/v1/namespaces/{namespace}/serviceaccounts/other"), &other).await?;

    let token = |name: &'static str, audience: Option<&'static str>| world.kubernetes.token(namespace, name, audience, 600);
    let answer = world.aws.assume(&role, &token("app", Some("sts.amazonaws.com")).await?).await?;
    let session = format!(":assumed-role/{}/", name_of(&role));
    check(matches!(&answer, Assumed::Session(arn) if arn.contains(&session)), || format!("STS gave a pod: {answer:?}"))?;
    refused(&world.aws.assume(&role, &token("other", Some("sts.amazonaws.com")).await?).await?, "another ServiceAccount")?;
    refused(&world.aws.assume(&role, &token("app", None).await?).await?, "a token for the API server")?;
    refused(&world.aws.assume(&role, &token("app", Some("somebody")).await?).await?, "a token for somebody else")?;
    environment.run(&["delete"])?.ended(0)?;
    refused(&world.aws.assume(&role, &token("other", Some("sts.amazonaws.com")).await?).await?, "a ServiceAccount after delete")?;
    world.kubernetes.delete(&format!("/api/v1/namespaces/{namespace}/serviceaccounts/other")).await?;
    environment.remove().await
}

pub(super) async fn forgery(world: &World) -> Result<(), Failure> {
    let environment = world.environment("forgery", &manifest("role: {}")).await?;
    environment.run(&["start"])?.ended(0)?;
    let token = world.kubernetes.token(&environment.namespace, "app", Some("sts.amazonaws.com"), 600).await?;
    refused(&world.aws.assume(&environment.role_arn("app").await?, &forged(&token)).await?, "a forged token")?;
    environment.run(&["delete"])?.ended(0)?;
    environment.remove().await
}

pub(super) async fn doctor(world: &World) -> Result<(), Failure> {
    let environment = world.environment("doctor", &manifest("role: {}")).await?;
    environment.run(&["start"])?.ended(0)?;
    environment.run_without_writes(&["doctor"])?.ended(0)?;
    let role = environment.role_arn("app").await?;
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]});
    let update = world.aws.iam.update_assume_role_policy().role_name(name_of(&role)).policy_document(trust.to_string());
    update.send().await.doing(|| "the trust policy cannot be changed".to_owned())?;
    world.shows().await;
    environment.run_without_writes(&["doctor"])?.ended(1)?.says("BROKEN  trust")?;
    environment.run(&["delete"])?.ended(0)?;
    environment.remove().await
}
