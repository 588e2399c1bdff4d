//! Services of the environment, and the ServiceAccounts they run with.

use std::collections::BTreeSet;

use super::{start, world::World};
use crate::model::{
    identity::Identity,
    service::{ObservedService, Service, ServiceKind},
    variable::{ObservedVariable, VariableScope},
};

const API: &str = "00000000-0000-4000-8000-000000000001";
const WORKER: &str = "00000000-0000-4000-8000-000000000002";

fn binding(services: &[&str]) -> Vec<Identity> {
    let mut identities = World::identity();
    identities[0].services.services = services.iter().map(|service| service.parse().unwrap()).collect();
    identities
}

fn service(id: &str, kind: &str, name: &str, service_account: Option<&str>) -> ObservedService {
    let service = Service { id: id.parse().unwrap(), name: name.to_owned(), kind: ServiceKind::of(kind) };
    ObservedService { service, service_account: service_account.map(str::to_owned), variables: None }
}

/// A world in sync, with an unbound application `api`, a job `worker` and a database.
fn world(services: &[&str]) -> World {
    let mut world = World::in_sync(World::identity());
    world.identities = binding(services);
    world.observed.services = vec![
        service(API, "APPLICATION", "api", None),
        service(WORKER, "JOB", "worker", None),
        service("00000000-0000-4000-8000-000000000003", "DATABASE", "db", None),
    ];
    world
}

#[test]
fn services_are_bound_by_name_or_id_and_then_there_is_nothing_to_do() {
    let mut world = world(&["API", WORKER]);
    insta::assert_snapshot!(start(&world), @"
    bind job `worker` to ServiceAccount `app`
    bind application `api` to ServiceAccount `app`
    ");
    world.apply(super::Goal::Start);
    assert_eq!(start(&world), "");
    assert_eq!(world.observed.services[2].service_account, None);
}

#[test]
fn a_service_is_bound_after_its_service_account_is_there() {
    let mut world = World::empty(binding(&["api"]));
    world.observed.services = vec![service(API, "APPLICATION", "api", None)];
    let plan = start(&world);
    let last: Vec<&str> = plan.lines().rev().take(3).collect();
    assert!(last[0].starts_with("bind application `api`") && last[2].starts_with("create ServiceAccount `z1/app`"), "{plan}");
}

#[test]
fn a_service_of_another_service_account_is_taken_over_only_if_that_is_said() {
    let mut world = world(&["api"]);
    world.observed.services[0].service_account = Some("theirs".to_owned());
    insta::assert_snapshot!(start(&world), @"
    refused: application `api` runs with ServiceAccount `theirs`; it should be `app`
    hint: with `takeOver: true` beside `bindServices` it is taken from there; or clear `security.service_account_name` in its advanced settings
    ");
    world.identities[0].services.take_over = true;
    insta::assert_snapshot!(start(&world), @"bind application `api` to ServiceAccount `app`, no longer to `theirs`");
}

#[test]
fn a_service_that_is_not_there_or_there_twice_is_a_refusal_that_names_those_that_are() {
    insta::assert_snapshot!(start(&world(&["web"])), @"
    refused: the environment has no service `web`; there are application `api`, job `worker`
    hint: correct `bindServices`, or create the service before
    ");
    let mut world = world(&["api"]);
    world.observed.services.push(service("00000000-0000-4000-8000-000000000004", "CONTAINER", "Api", None));
    insta::assert_snapshot!(start(&world), @"
    refused: `api` can be any of application `api` (id `00000000-0000-4000-8000-000000000001`), container `Api` (id `00000000-0000-4000-8000-000000000004`)
    hint: write the id instead of the name into `bindServices`
    ");
    world.observed.services.clear();
    insta::assert_snapshot!(start(&world), @"
    refused: the environment has no service `api` that could be bound
    hint: correct `bindServices`, or create the service before
    ");
}

#[test]
fn a_service_without_such_a_setting_is_a_refusal() {
    insta::assert_snapshot!(start(&world(&["db"])), @"
    refused: database `db` cannot be bound: Qovery has no setting for its ServiceAccount
    hint: take it out of `bindServices`, and name the ServiceAccount where the service is defined: in the chart's values
    ");
}

#[test]
fn one_service_once_by_name_and_once_by_id_is_a_refusal() {
    let mut world = world(&["api"]);
    let mut other = world.identities[0].clone();
    other.service_account.name = "other".parse().unwrap();
    other.services.services = BTreeSet::from([API.parse().unwrap()]);
    world.identities.push(other);
    let plan = start(&world);
    assert!(plan.contains("application `api` is bound twice, to ServiceAccounts `app` and `other`"), "{plan}");
}

#[test]
fn delete_and_sweep_leave_services_alone() {
    let mut world = world(&["api", "nobody"]);
    world.observed.services[0].service_account = Some("app".to_owned());
    assert!(!super::delete(&world).contains("bind"), "{}", super::delete(&world));
}

#[test]
fn the_note_is_right_whether_or_not_this_deployment_uses_the_binding_already() {
    let plan = world(&["api"]).plan(super::Goal::Start).unwrap();
    let applied: Vec<_> = plan.actions().cloned().collect();
    insta::assert_snapshot!(super::super::binding_notes(&applied).join("\n"), @"left to do once this deployment has ended: deploy application `api` again. Qovery may have read their settings before they were bound now, and then their pods have no role. If their pods have it, deploying again restarts none of them");
    assert!(super::super::binding_notes(&[]).is_empty());
}

#[test]
fn a_terraform_service_is_bound_and_its_traps_are_named() {
    let mut world = world(&["infra"]);
    world.observed.services.push(service("00000000-0000-4000-8000-000000000005", "TERRAFORM", "infra", None));
    let plan = world.plan(super::Goal::Start).unwrap();
    let applied: Vec<_> = plan.actions().cloned().collect();
    assert_eq!(applied.last().unwrap().to_string(), "bind Terraform service `infra` to ServiceAccount `app`");
    assert_eq!(super::super::Call::call(applied.last().unwrap()), "qovery:PUT /terraform/{id}/advancedSettings");
    let notes = super::super::binding_notes(&applied);
    insta::assert_snapshot!(notes[1], @"Terraform service `infra`: with the Kubernetes state backend, give ServiceAccount `app` a Role for secrets and leases in the namespace, as Qovery's own ServiceAccount of the service has it. And turn off the use of the cluster's credentials in the service: they are AWS keys, and win over the role");
    assert_eq!(notes.len(), 2);
    world.apply(super::Goal::Start);
    assert_eq!(start(&world), "");
}

#[test]
fn the_kinds_without_the_setting_stay_refusals() {
    for (kind, shown) in [("HELM", "helm"), ("ARGOCD_APP", "argocd app"), ("AGENTIC_WORKFLOW", "agentic workflow")] {
        let mut world = world(&["infra"]);
        world.observed.services.push(service("00000000-0000-4000-8000-000000000005", kind, "infra", None));
        let plan = start(&world);
        assert!(plan.starts_with(&format!("refused: {shown} `infra` cannot be bound")), "{plan}");
    }
}

fn variable(name: &str, value: Option<&str>, scope: VariableScope) -> ObservedVariable {
    let id = "00000000-0000-4000-8000-0000000000ff".parse().unwrap();
    ObservedVariable { id, name: name.to_owned(), value: value.map(str::to_owned), scope, is_secret: value.is_none(), mount_path: None }
}

#[test]
fn variables_that_keep_a_bound_service_from_its_role_are_said_and_change_nothing() {
    let key = |scope| variable("AWS_ACCESS_KEY_ID", None, scope);
    let role = variable("AWS_ROLE_ARN", Some("arn"), VariableScope::Environment);
    let seen = |api: Vec<ObservedVariable>, worker: Vec<ObservedVariable>| {
        let mut world = world(&["api", "worker"]);
        world.apply(super::Goal::Start);
        world.observed.services[0].variables = Some(Ok(api));
        world.observed.services[1].variables = Some(Ok(worker));
        world
    };
    assert_eq!(start(&seen(vec![variable("A", None, VariableScope::Project)], Vec::new())), "");
    insta::assert_snapshot!(start(&seen(vec![key(VariableScope::Project)], vec![key(VariableScope::Project)])), @"note: application `api`, job `worker` have secret `AWS_ACCESS_KEY_ID` of the project: AWS SDKs take it before the role. Delete it there, and deploy. If the job needs it, make it a secret of the job itself");
    insta::assert_snapshot!(start(&seen(vec![key(VariableScope::Service)], vec![role])), @"
    note: application `api` has secret `AWS_ACCESS_KEY_ID` of its own: AWS SDKs take it before the role. Delete it of application `api`, and deploy
    note: job `worker` has variable `AWS_ROLE_ARN` of the environment: EKS then gives its pods neither role nor token. Delete it there, and deploy. If the job needs it, give it to the job itself
    ");
    let profile = variable("AWS_PROFILE", Some("prod"), VariableScope::Service);
    insta::assert_snapshot!(start(&seen(vec![profile], Vec::new())), @"note: application `api` has variable `AWS_PROFILE` of its own: some AWS SDKs take what a profile says before the role. Delete it of application `api`, and deploy, unless its profile is meant");
    // One that is set to nothing further in is none.
    assert_eq!(
        start(&seen(vec![key(VariableScope::Project), variable("AWS_ACCESS_KEY_ID", Some(""), VariableScope::Service)], Vec::new())),
        ""
    );
    // The database is bound by nobody.
    let mut world = seen(Vec::new(), Vec::new());
    world.observed.services[2].variables = Some(Ok(vec![key(VariableScope::Project)]));
    assert_eq!(start(&world), "");
    world.observed.services[0].variables = Some(Err("Unauthorized: no".to_owned()));
    insta::assert_snapshot!(start(&world), @"note: whether application `api` has AWS keys that win over its role is not known: Unauthorized: no");
}
