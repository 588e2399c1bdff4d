//! Roles that many environments have together: joining, leaving, at once, what is left behind.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    aws::Role,
    failure::{Failure, check, equal},
    world::{World, manifest, name_of},
};

const SHARED: &str = "role: {scope: shared, name: conformance-<ID>-NAME, policies: [arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess]}";

fn shared(name: &str) -> String {
    manifest(&SHARED.replace("NAME", name))
}

/// Whom the trust policy names, in no order.
fn subjects(role: &Role) -> BTreeSet<String> {
    let mut subjects = BTreeSet::new();
    for statement in role.trust["Statement"].as_array().into_iter().flatten() {
        for conditions in statement["Condition"].as_object().into_iter().flat_map(serde_json::Map::values) {
            for (_, values) in conditions.as_object().into_iter().flatten().filter(|(key, _)| key.ends_with(":sub")) {
                match values {
                    Value::Array(values) => subjects.extend(values.iter().filter_map(Value::as_str).map(str::to_owned)),
                    value => subjects.extend(value.as_str().map(str::to_owned)),
                }
            }
        }
    }
    subjects
}

fn subject(namespace: &str) -> String {
    format!("system:serviceaccount:{namespace}:app")
}

async fn role(world: &World, name: &str) -> Result<Role, Failure> {
    world.aws.role(name).await?.ok_or_else(|| Failure::new(format!("role `{name}` is not there")))
}

pub(super) async fn leaving(world: &World) -> Result<(), Failure> {
    let (one, two) = (world.environment("one", &shared("pair")).await?, world.environment("two", &shared("pair")).await?);
    one.run(&["start"])?.ended(0)?;
    two.run(&["start"])?.ended(0)?;
    let arn = two.role_arn("app").await?;
    equal(&one.role_arn("app").await?, &arn, "the role of both")?;
    let name = name_of(&arn);
    let both = role(world, name).await?;
    equal(&subjects(&both), &[subject(&one.namespace), subject(&two.namespace)].into(), "subjects of two environments")?;
    for environment in [&one, &two] {
        environment.run_without_writes(&["start"])?.ended(0)?.found_nothing()?;
    }

    one.run(&["delete"])?.ended(0)?;
    let left = role(world, name).await?;
    equal(&subjects(&left), &[subject(&two.namespace)].into(), "subjects after one has left")?;
    equal(&left.attached, &both.attached, "policies after one has left")?;
    check(!left.tags.values().any(|value| value.contains(&one.namespace)), || format!("tags of who has left: {:?}", left.tags))?;
    check(one.service_account().await?.is_none(), || "the ServiceAccount of who has left is there".to_owned())?;
    equal(&two.role_arn("app").await?, &arn, "the role of who stays")?;
    two.run_without_writes(&["start"])?.ended(0)?.found_nothing()?;
    one.run_without_writes(&["delete"])?.ended(0)?.found_nothing()?;

    two.run(&["delete"])?.ended(0)?;
    check(world.aws.role(name).await?.is_none(), || format!("role `{name}` is left when nobody uses it"))?;
    one.remove().await?;
    two.remove().await
}

pub(super) async fn at_once(world: &World) -> Result<(), Failure> {
    let mut environments = Vec::new();
    for number in 0..4 {
        environments.push(world.environment(&format!("clone-{number}"), &shared("clones")).await?);
    }
    let running: Vec<_> = environments.iter().map(|environment| environment.spawn(&["start"])).collect::<Result<_, _>>()?;
    for run in running {
        run.end()?.ended(0)?;
    }
    let name = format!("conformance-{}-clones", world.id);
    let all: BTreeSet<String> = environments.iter().map(|environment| subject(&environment.namespace)).collect();
    equal(&subjects(&role(world, &name).await?), &all, "subjects after four starts at once")?;
    let running: Vec<_> = environments.iter().map(|environment| environment.spawn(&["delete"])).collect::<Result<_, _>>()?;
    for run in running {
        run.end()?.ended(0)?;
    }
    check(world.aws.role(&name).await?.is_none(), || format!("role `{name}` is left when nobody uses it"))?;
    for environment in environments {
        environment.remove().await?;
    }
    Ok(())
}

pub(super) async fn sweep(world: &World) -> Result<(), Failure> {
    let text = |own: &str| {
        let shared = SHARED.replace("NAME", "swept");
        format!("{}  - serviceAccount: app-shared\n    {shared}\n", manifest(own))
    };
    let text = text("role: {}");
    let (gone, stays) = (world.environment("gone", &text).await?, world.environment("stays", &text).await?);
    gone.run(&["start"])?.ended(0)?;
    stays.run(&["start"])?.ended(0)?;
    let (lost, kept) = (gone.role_arn("app").await?, stays.role_arn("app").await?);
    let namespace = gone.namespace.clone();
    world.kubernetes.delete(&format!("/api/v1/namespaces/{namespace}/serviceaccounts/app-shared")).await?;
    gone.remove().await?;

    let dry = stays.run_without_writes(&["sweep", "--dry-run"])?.ended(10)?;
    dry.says(&format!("delete role `{}`", name_of(&lost)))?;
    check(world.aws.role(name_of(&lost)).await?.is_some(), || "`sweep --dry-run` deleted a role".to_owned())?;
    stays.run(&["sweep"])?.ended(0)?;
    check(world.aws.role(name_of(&lost)).await?.is_none(), || format!("role `{lost}` is left"))?;
    check(world.aws.role(name_of(&kept)).await?.is_some(), || format!("role `{kept}` is gone"))?;
    let together = role(world, &format!("conformance-{}-swept", world.id)).await?;
    let staying = format!("system:serviceaccount:{}:app-shared", stays.namespace);
    equal(&subjects(&together), &[staying].into(), "subjects of the shared role after a sweep")?;
    stays.run_without_writes(&["sweep"])?.ended(0)?.found_nothing()?;
    stays.run(&["delete"])?.ended(0)?;
    stays.remove().await
}

pub(super) async fn full(world: &World) -> Result<(), Failure> {
    let subjects: Vec<String> = (0..40).map(|number| format!("some-namespace-of-a-clone-{number}/some-service-account-{number}")).collect();
    let environment = world.environment("full", &manifest(&format!("role: {{extraSubjects: [{}]}}", subjects.join(", ")))).await?;
    let run = environment.run_without_writes(&["start"])?.ended(3)?;
    run.says("refused: the trust policy of role `")?;
    run.says("characters")?;
    check(environment.service_account().await?.is_none(), || "a ServiceAccount was made for a role that was refused".to_owned())?;
    environment.remove().await
}

/// Others may be the last one out at the same moment. Of a role that is gone IAM knows no path, so the published policy does not allow to
/// delete it: the answer is then a denial, and not that there is no such role.
pub(super) async fn gone_first(world: &World) -> Result<(), Failure> {
    let environment = world.environment("last", &shared("last")).await?;
    environment.run(&["start"])?.ended(0)?;
    let name = format!("conformance-{}-last", world.id);
    world.lose_role_before(&name, "DeleteRole")?;
    environment.run(&["delete"])?.ended(0)?;
    check(world.aws.role(&name).await?.is_none(), || "the role is there, and was to go in the middle of the run".to_owned())?;

    environment.run(&["start"])?.ended(0)?;
    world.lose_role_before(&name, "UntagRole")?;
    environment.run(&["delete"])?.ended(0)?;
    check(world.aws.role(&name).await?.is_none(), || "the role is there, and was to go in the middle of the run".to_owned())?;
    environment.remove().await
}

/// The last one out deletes the role while another comes in: that one makes it again.
pub(super) async fn gone_meanwhile(world: &World) -> Result<(), Failure> {
    let (one, two) = (world.environment("before", &shared("again")).await?, world.environment("after", &shared("again")).await?);
    one.run(&["start"])?.ended(0)?;
    let name = format!("conformance-{}-again", world.id);
    world.lose_role_before(&name, "TagRole")?;
    two.run(&["start"])?.ended(0)?;
    check(subjects(&role(world, &name).await?).contains(&subject(&two.namespace)), || "who came in is not in".to_owned())?;
    two.run(&["delete"])?.ended(0)?;
    one.run(&["delete"])?.ended(0)?;
    one.remove().await?;
    two.remove().await
}
