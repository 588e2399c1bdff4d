//! The job itself: an environment in sync, one change, the plan as the installer reads it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::{
    model::{
        job::{
            BindWhen, BoundService, JobArguments, JobSource, JobSpec, Named, ObservedEnvironment, ObservedJob, RegistryRef, Runs, Stage,
        },
        qovery::QoveryId,
        service::{Service, ServiceKind, ServiceRef},
        variable::{ObservedVariable, VariableName, VariableScope},
    },
    plan::{
        Call as _, Refusals,
        install::{InstallPlan, JobAction, Wanted, install as plan_install},
    },
};

pub(super) fn id(number: u8) -> QoveryId {
    format!("00000000-0000-4000-8000-0000000000{number:02}").parse().unwrap()
}

pub(super) const JOB: u8 = 9;

pub(super) fn spec() -> JobSpec {
    let arguments = |word: &str| vec![word.to_owned()];
    JobSpec {
        name: "aws-identity".parse().unwrap(),
        description: None,
        source: JobSource::Image {
            registry: RegistryRef::Named("GHCR".parse().unwrap()),
            name: "acme/qovery-irsa".to_owned(),
            tag: "1.0".to_owned(),
        },
        account: None,
        runs: Runs::OnEvents,
        arguments: JobArguments { start: arguments("start"), stop: arguments("stop"), delete: arguments("delete") },
        cpu: 100,
        memory: 64,
        max_duration: 900,
        restarts: 1,
        auto_deploy: None,
        stage: "identities".parse().ok(),
        files: Vec::new(),
        variables: BTreeMap::from([("IRSA_PROOF".parse().unwrap(), "required".to_owned())]),
        secrets: BTreeSet::from(["AWS_SECRET_ACCESS_KEY".parse().unwrap()]),
        advanced_settings: BTreeMap::from([("security.read_only_root_filesystem".to_owned(), json!(true))]),
    }
}

/// An environment with a database, a job and an application in their stages, and no job of ours.
pub(super) fn empty() -> ObservedEnvironment {
    let service = |number, name: &str, kind: &str| Service { id: id(number), name: name.to_owned(), kind: ServiceKind::of(kind) };
    let stage = |number: u8, name: &str, services: &[u8]| Stage {
        id: id(number),
        name: name.to_owned(),
        services: services.iter().map(|number| id(*number)).collect(),
        skipped: BTreeSet::new(),
    };
    ObservedEnvironment {
        id: id(1),
        name: "shop".to_owned(),
        organization: id(2),
        project: id(3),
        services: vec![service(11, "db", "DATABASE"), service(12, "seed", "JOB"), service(13, "api", "APPLICATION")],
        job: None,
        stages: vec![stage(21, "DATABASE DEFAULT", &[11]), stage(22, "JOB DEFAULT", &[12]), stage(23, "APPLICATION DEFAULT", &[13])],
        variables: Vec::new(),
        bound: Vec::new(),
        account: None,
        deployed: None,
        helm_repositories: vec![Named { id: id(42), name: "charts".to_owned(), url: None }],
        registries: vec![Named { id: id(31), name: "ghcr".to_owned(), url: Some("https://ghcr.io".to_owned()) }],
        git_tokens: vec![Named { id: id(41), name: "bot".to_owned(), url: None }],
    }
}

/// The plan where no identity binds a service that is known here.
fn install(
    job: &JobSpec,
    binds: &BTreeSet<ServiceRef>,
    observed: &ObservedEnvironment,
    at_hand: &BTreeSet<VariableName>,
) -> Result<InstallPlan, Refusals> {
    plan_install(&Wanted { job, binds, bindings: &[], bind: BindWhen::default(), at_hand }, observed)
}

pub(super) fn at_hand() -> BTreeSet<VariableName> {
    BTreeSet::from(["AWS_SECRET_ACCESS_KEY".parse().unwrap()])
}

pub(super) fn variable(number: u8, name: &str, value: Option<&str>, scope: VariableScope) -> ObservedVariable {
    ObservedVariable {
        id: id(number),
        name: name.to_owned(),
        value: value.map(str::to_owned),
        scope,
        is_secret: value.is_none(),
        mount_path: None,
    }
}

/// The same with the job as the manifest wants it, and something that people set in the console.
pub(super) fn in_sync() -> ObservedEnvironment {
    let mut observed = empty();
    let JobAction::CreateJob { mut request, .. } = install(&spec(), &BTreeSet::new(), &observed, &at_hand()).unwrap().actions.remove(0)
    else {
        panic!()
    };
    request.insert("auto_preview".to_owned(), json!(true));
    request.insert("labels_groups".to_owned(), json!([{ "id": "g" }]));
    let settings = json!({ "security.read_only_root_filesystem": true, "build.timeout_max_sec": 1800 });
    observed.job = Some(ObservedJob { id: id(JOB), is_lifecycle: true, request, settings: map(settings) });
    observed.services.push(Service { id: id(JOB), name: "AWS-Identity".to_owned(), kind: ServiceKind::Job });
    observed
        .stages
        .insert(0, Stage { id: id(24), name: "Identities".to_owned(), services: BTreeSet::from([id(JOB)]), skipped: BTreeSet::new() });
    observed.variables = vec![
        variable(51, "AWS_SECRET_ACCESS_KEY", None, VariableScope::Service),
        variable(52, "IRSA_PROOF", Some("off"), VariableScope::Project),
        variable(53, "IRSA_PROOF", Some("required"), VariableScope::Service),
    ];
    observed
}

pub(super) fn map(value: Value) -> Map<String, Value> {
    if let Value::Object(map) = value { map } else { panic!() }
}

fn lines(spec: &JobSpec, observed: &ObservedEnvironment) -> String {
    binding(spec, &[], observed)
}

/// The same where the manifest binds these services.
fn binding(spec: &JobSpec, binds: &[&str], observed: &ObservedEnvironment) -> String {
    let binds: BTreeSet<ServiceRef> = binds.iter().map(|service| service.parse().unwrap()).collect();
    match install(spec, &binds, observed, &BTreeSet::new()) {
        Ok(plan) => {
            let notes = plan.notes.iter().map(|note| format!("note: {note}"));
            plan.actions.iter().map(ToString::to_string).chain(notes).collect::<Vec<_>>().join("\n")
        }
        Err(refusals) => format!("{refusals}\nhint: {}", refusals.hint()),
    }
}

#[test]
fn an_environment_without_the_job_gets_it_with_all_that_belongs_to_it() {
    let plan = install(&spec(), &BTreeSet::new(), &empty(), &at_hand()).unwrap();
    insta::assert_snapshot!(plan.actions.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"), @"
    create lifecycle job `aws-identity`
    create secret `AWS_SECRET_ACCESS_KEY` of the job
    create variable `IRSA_PROOF` of the job
    set advanced settings of the job: `security.read_only_root_filesystem` to `true`
    create deployment stage `identities`
    move deployment stage `identities` before `DATABASE DEFAULT`
    put the job into deployment stage `identities`
    ");
    let JobAction::CreateJob { request, .. } = &plan.actions[0] else { panic!() };
    assert_eq!(
        Value::Object(request.clone()),
        json!({
            "name": "aws-identity", "cpu": 100, "memory": 64, "max_duration_seconds": 900, "max_nb_restart": 1, "healthchecks": {},
            "schedule": {
                "lifecycle_type": "GENERIC",
                "on_start": {"arguments": ["start"]}, "on_stop": {"arguments": ["stop"]}, "on_delete": {"arguments": ["delete"]},
            },
            "source": {"image": {"registry_id": id(31).as_str(), "image_name": "acme/qovery-irsa", "tag": "1.0"}},
        })
    );
    assert!(plan.actions.iter().all(|action| action.call().starts_with("qovery:P")));
}

#[test]
fn an_environment_in_sync_has_nothing_to_do() {
    assert_eq!(lines(&spec(), &in_sync()), "");
}

/// As a console does it, for an image of one's own.
#[test]
fn an_entrypoint_of_the_console_stays_until_the_image_is_another() {
    let with_entrypoint = || {
        let mut observed = in_sync();
        let request = &mut observed.job.as_mut().unwrap().request;
        for event in ["on_start", "on_stop", "on_delete"] {
            request["schedule"][event]["entrypoint"] = json!("/wrapper");
        }
        observed
    };
    assert_eq!(lines(&spec(), &with_entrypoint()), "");
    let edited = |change: Change| {
        let mut spec = spec();
        change(&mut spec);
        let plan = install(&spec, &BTreeSet::new(), &with_entrypoint(), &at_hand()).unwrap();
        let [edit @ JobAction::EditJob { request, .. }] = plan.actions.as_slice() else { panic!("{:?}", plan.actions) };
        (edit.to_string(), ["on_start", "on_stop", "on_delete"].map(|event| request["schedule"][event].clone()))
    };
    let with = |arguments: &str| json!({"arguments": [arguments], "entrypoint": "/wrapper"});
    let (edit, events) = edited(|spec| spec.memory = 128);
    assert_eq!(edit, "edit lifecycle job `aws-identity`: `memory`");
    assert_eq!(events, ["start", "stop", "delete"].map(with));
    let (_, events) = edited(|spec| spec.arguments.stop = vec!["plan".to_owned()]);
    assert_eq!(events, ["start", "plan", "delete"].map(with));
    let other: Change = |spec| {
        if let JobSource::Image { name, .. } = &mut spec.source {
            *name = "acme/another".to_owned();
        }
    };
    let (edit, events) = edited(other);
    assert_eq!(edit, "edit lifecycle job `aws-identity`: `image.name`, `entrypoint`");
    assert_eq!(events, ["start", "stop", "delete"].map(|arguments| json!({"arguments": [arguments]})));
}

type Change = fn(&mut JobSpec);

#[test]
fn each_change_of_the_manifest_changes_just_that() {
    let cases: Vec<(Change, &str)> = vec![
        (|spec| spec.cpu = 200, "edit lifecycle job `aws-identity`: `cpu`"),
        (|spec| spec.memory = 128, "edit lifecycle job `aws-identity`: `memory`"),
        (|spec| spec.max_duration = 60, "edit lifecycle job `aws-identity`: `maxDuration`"),
        (|spec| spec.restarts = 0, "edit lifecycle job `aws-identity`: `restarts`"),
        (|spec| spec.auto_deploy = Some(true), "edit lifecycle job `aws-identity`: `autoDeploy`"),
        (|spec| spec.description = Some("x".to_owned()), "edit lifecycle job `aws-identity`: `description`"),
        (|spec| spec.arguments.stop = vec!["stop".to_owned(), "x".to_owned()], "edit lifecycle job `aws-identity`: `arguments.stop`"),
        (
            |spec| {
                let JobSource::Image { tag, .. } = &mut spec.source else { panic!() };
                "1.1".clone_into(tag);
            },
            "edit lifecycle job `aws-identity`: `image.tag`",
        ),
        (|spec| drop(spec.variables.insert("IRSA_PROOF".parse().unwrap(), "off".to_owned())), "edit variable `IRSA_PROOF` of the job"),
        (|spec| drop(spec.variables.insert("IRSA_SETTLE".parse().unwrap(), "9s".to_owned())), "create variable `IRSA_SETTLE` of the job"),
        (
            |spec| drop(spec.advanced_settings.insert("build.timeout_max_sec".to_owned(), json!(600))),
            "set advanced settings of the job: `build.timeout_max_sec` to `600`",
        ),
        (|spec| spec.stage = "JOB DEFAULT".parse().ok(), "put the job into deployment stage `JOB DEFAULT`"),
        (|spec| spec.stage = None, ""),
    ];
    for (change, expected) in cases {
        let mut spec = spec();
        change(&mut spec);
        assert_eq!(lines(&spec, &in_sync()), expected);
    }
}

#[test]
fn what_people_set_in_the_console_survives_an_edit() {
    let mut spec = spec();
    spec.cpu = 200;
    let plan = install(&spec, &BTreeSet::new(), &in_sync(), &BTreeSet::new()).unwrap();
    let JobAction::EditJob { job, request, changed, .. } = &plan.actions[0] else { panic!() };
    assert_eq!((job, changed.as_slice()), (&id(JOB), &["cpu"][..]));
    assert_eq!(
        (&request["auto_preview"], &request["labels_groups"], &request["cpu"]),
        (&json!(true), &json!([{ "id": "g" }]), &json!(200))
    );
}

#[test]
fn another_source_replaces_the_one_before_and_a_repositorys_ending_is_no_change() {
    let mut spec = spec();
    spec.source = JobSource::Git {
        url: "https://github.com/acme/identity".to_owned(),
        provider: crate::model::job::GitProvider::GitHub,
        branch: None,
        root_path: "/".to_owned(),
        dockerfile: "Dockerfile".to_owned(),
        token: "bot".parse().ok(),
    };
    let mut observed = in_sync();
    let plan = install(&spec, &BTreeSet::new(), &observed, &BTreeSet::new()).unwrap();
    let JobAction::EditJob { request, .. } = &plan.actions[0] else { panic!() };
    assert_eq!(
        request["source"],
        json!({"docker": {"dockerfile_path": "Dockerfile", "git_repository": {
            "url": "https://github.com/acme/identity", "provider": "GITHUB", "root_path": "/", "git_token_id": id(41).as_str()}}})
    );
    let job = observed.job.as_mut().unwrap();
    job.request.clone_from(request);
    job.request["source"]["docker"]["git_repository"]["url"] = json!("https://github.com/acme/identity.git");
    job.request["source"]["docker"]["git_repository"]["branch"] = json!("main");
    assert_eq!(lines(&spec, &observed), "");
}

#[test]
fn a_name_that_something_else_has_is_a_refusal() {
    let mut observed = in_sync();
    observed.job.as_mut().unwrap().is_lifecycle = false;
    assert_eq!(
        lines(&spec(), &observed),
        "refused: job `AWS-Identity` has the name of the job, and is no lifecycle job\nhint: give the job another `name` in the manifest"
    );
    let mut observed = empty();
    observed.services[2].name = "aws-identity".to_owned();
    assert!(lines(&spec(), &observed).contains("application `aws-identity` has the name of the job"));
}

#[test]
fn what_the_organization_does_not_have_is_a_refusal_that_names_what_it_has() {
    let mut observed = in_sync();
    observed.registries[0].name = "ecr".to_owned();
    insta::assert_snapshot!(lines(&spec(), &observed), @"
    refused: the organization has no container registry `GHCR`; there are `ecr`
    hint: add the registry in the console (organization settings, container registries), or correct `image.registry`
    ");
}

#[test]
fn a_secret_that_is_missing_or_readable_is_a_refusal_and_one_that_is_there_stays() {
    let mut observed = in_sync();
    observed.variables.remove(0);
    insta::assert_snapshot!(lines(&spec(), &observed), @"
    refused: the job would not see secret `AWS_SECRET_ACCESS_KEY`: it has none of that name, and the value is not known here
    hint: run `install` with the variable `IRSA_SECRET_AWS_SECRET_ACCESS_KEY` set: that makes it a secret of the job itself, which clones copy and no other service can read
    ");
    observed.variables.push(variable(54, "AWS_SECRET_ACCESS_KEY", Some("readable"), VariableScope::Service));
    let refused = lines(&spec(), &observed);
    assert!(
        refused.contains("should be a secret, but is a variable that everybody may read") && !refused.contains("readable\""),
        "{refused}"
    );
    assert!(install(&spec(), &BTreeSet::new(), &in_sync(), &at_hand()).unwrap().actions.is_empty(), "its value cannot be compared");
}

#[test]
fn a_variable_that_is_inherited_with_another_value_or_hidden_is_a_refusal() {
    let mut observed = in_sync();
    observed.variables.remove(2);
    insta::assert_snapshot!(lines(&spec(), &observed), @"
    refused: variable `IRSA_PROOF` is set above the job with another value
    hint: change or delete `IRSA_PROOF` where it is set, or say in `variables` what it should be
    ");
    observed.variables[1].value = Some("required".to_owned());
    assert_eq!(lines(&spec(), &observed), "");
    observed.variables[1] = variable(52, "IRSA_PROOF", None, VariableScope::Project);
    assert!(lines(&spec(), &observed).contains("variable `IRSA_PROOF` is a secret already"));
}

#[test]
fn a_stage_that_comes_too_late_is_a_refusal_if_it_is_named_and_else_a_note() {
    let mut spec = spec();
    spec.stage = "application default".parse().ok();
    insta::assert_snapshot!(lines(&spec, &in_sync()), @"
    refused: deployment stage `application default` comes after or with `APPLICATION DEFAULT`, in which application `api` may use the role already
    hint: move the stage in the console, or name another one: one that does not exist is created first
    ");
    spec.stage = None;
    let mut observed = in_sync();
    let late = observed.stages.remove(0);
    observed.stages.push(late);
    assert_eq!(
        lines(&spec, &observed),
        "note: the job is in deployment stage `Identities`, after or with `APPLICATION DEFAULT`, in which application `api` may use the role already: name a `stage` for it"
    );
}

#[test]
fn a_stage_of_nobody_else_that_comes_too_late_is_moved_first() {
    let mut observed = in_sync();
    let late = observed.stages.remove(0);
    observed.stages.push(late);
    assert_eq!(lines(&spec(), &observed), "move deployment stage `identities` before `DATABASE DEFAULT`");
    observed.stages[3].services.clear();
    assert_eq!(
        lines(&spec(), &observed),
        "move deployment stage `identities` before `DATABASE DEFAULT`\nput the job into deployment stage `identities`"
    );
}

#[test]
fn all_refusals_are_told_at_once() {
    let mut observed = empty();
    observed.registries.clear();
    let refused = lines(&spec(), &observed);
    assert!(refused.starts_with("refused for 2 reasons\n"), "{refused}");
}

#[test]
fn a_job_that_is_skipped_is_said_and_mended_wherever_it_is() {
    let mut observed = in_sync();
    observed.stages[0].skipped.insert(id(JOB));
    let mended = "let the job run in deployment stage `identities`: it is skipped there";
    assert_eq!(lines(&spec(), &observed), mended);
    let plan = install(&spec(), &BTreeSet::new(), &observed, &BTreeSet::new()).unwrap();
    assert_eq!(plan.actions[0].call(), "qovery:PUT /deploymentStage/{id}/service/{id}");
    let mut unnamed = spec();
    unnamed.stage = None;
    assert_eq!(lines(&unnamed, &observed), "let the job run in deployment stage `Identities`: it is skipped there");
    let mut elsewhere = spec();
    elsewhere.stage = "JOB DEFAULT".parse().ok();
    assert_eq!(
        lines(&elsewhere, &observed),
        "put the job into deployment stage `JOB DEFAULT`\nlet the job run in deployment stage `JOB DEFAULT`: it is skipped there"
    );
    elsewhere.stage = "new".parse().ok();
    assert!(lines(&elsewhere, &observed).ends_with("let the job run in deployment stage `new`: it is skipped there"));
    observed.stages[0].skipped = BTreeSet::from([id(12)]);
    assert_eq!(lines(&spec(), &observed), "", "another service that is skipped is nobody's business");
}

const KEYS: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/// In sync, and application `api` sees what the job does: it inherits this key.
fn with_key(name: &str, value: Option<&str>, scope: VariableScope) -> ObservedEnvironment {
    let mut observed = in_sync();
    observed.variables.push(variable(61, name, value, scope));
    let api = observed.services[2].clone();
    let seen = observed.variables.iter().filter(|variable| variable.scope.is_inherited()).cloned().collect();
    observed.bound = vec![BoundService { service: api, variables: seen, service_account: None }];
    observed
}

#[test]
fn keys_that_a_bound_service_inherits_are_a_refusal_with_the_reason_and_the_way() {
    insta::assert_snapshot!(binding(&spec(), &["api"], &with_key("AWS_ACCESS_KEY_ID", None, VariableScope::Project)), @"
    refused: application `api` would have secret `AWS_ACCESS_KEY_ID` of the project, which AWS SDKs take before a role
    hint: delete `AWS_ACCESS_KEY_ID` of the project, and give it to the job itself: name it in `secrets` and run `install` with the variable `IRSA_SECRET_AWS_ACCESS_KEY_ID` set, which makes it a secret of the job
    ");
    for (scope, shown) in [(VariableScope::Project, " of the project"), (VariableScope::Environment, " of the environment")] {
        for name in KEYS {
            for (value, kind) in [(None, "secret"), (Some("AKIA"), "variable")] {
                let refused = binding(&spec(), &["API"], &with_key(name, value, scope));
                assert!(refused.starts_with(&format!("refused: application `api` would have {kind} `{name}`{shown}, ")), "{refused}");
                assert!(!refused.contains("AKIA"));
            }
        }
    }
}

#[test]
fn a_key_that_several_inherit_is_told_once_and_one_that_is_not_there_yet_inherits_too() {
    let observed = with_key("AWS_SESSION_TOKEN", None, VariableScope::Environment);
    let refused = binding(&spec(), &["api", "later"], &observed);
    assert!(
        refused.starts_with("refused: application `api`, service `later` would have secret `AWS_SESSION_TOKEN` of the environment"),
        "{refused}"
    );
    let refused = binding(&spec(), &["later"], &observed);
    assert!(refused.starts_with("refused: service `later` would have"), "{refused}");
}

#[test]
fn a_key_of_the_service_itself_is_a_refusal_and_the_jobs_own_is_none() {
    let mut observed = in_sync();
    let own = variable(62, "AWS_ACCESS_KEY_ID", None, VariableScope::Service);
    observed.variables.push(own.clone());
    let api = observed.services[2].clone();
    observed.bound = vec![BoundService { service: api, variables: Vec::new(), service_account: None }];
    assert_eq!(binding(&spec(), &["api", "AWS-Identity", "db"], &observed), "", "keys of the job itself are what is asked for");
    observed.bound[0].variables.push(own);
    insta::assert_snapshot!(binding(&spec(), &["api"], &observed), @"
    refused: application `api` has a secret `AWS_ACCESS_KEY_ID` of its own, which AWS SDKs take before a role
    hint: delete `AWS_ACCESS_KEY_ID` of application `api` in the console: the role takes its place
    ");
}

#[test]
fn a_key_that_the_service_sets_to_nothing_is_none() {
    let mut observed = with_key("AWS_ACCESS_KEY_ID", None, VariableScope::Project);
    observed.bound[0].variables.push(variable(62, "AWS_ACCESS_KEY_ID", Some(""), VariableScope::Service));
    assert!(binding(&spec(), &["api"], &observed).starts_with("note: "), "{}", binding(&spec(), &["api"], &observed));
}

#[test]
fn a_variable_that_keeps_eks_from_giving_a_role_is_a_note_where_the_service_is_to_be_bound() {
    for name in ["AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"] {
        // The job may read it: it is a setting of older scripts. EKS goes by the name.
        for value in ["arn:aws:iam::123456789012:role/app", ""] {
            let observed = with_key(name, Some(value), VariableScope::Environment);
            let expected = format!(
                "note: application `api` has variable `{name}` of the environment: EKS then gives its pods neither role nor token. Delete it there, and deploy. If the job needs it, give it to the job itself"
            );
            assert_eq!(binding(&spec(), &["api", "API"], &observed), expected);
            assert_eq!(lines(&spec(), &observed), "");
        }
    }
}

#[test]
fn keys_and_tokens_that_only_others_have_are_notes() {
    let mut observed = with_key("AWS_ACCESS_KEY_ID", None, VariableScope::Project);
    observed.variables.push(variable(62, "AWS_SESSION_TOKEN", Some("x"), VariableScope::Environment));
    observed.bound.clear();
    insta::assert_snapshot!(lines(&spec(), &observed), @"note: every service of the environment inherits secret `AWS_ACCESS_KEY_ID` of the project, variable `AWS_SESSION_TOKEN` of the environment, and AWS SDKs take such keys before a role of the service. Delete that there, and run `install` with `IRSA_SECRET_<name>` set for each name in `secrets`, which makes secrets of the job itself");
    for name in ["IRSA_QOVERY_TOKEN", "QOVERY_API_TOKEN", "QOVERY_CLI_ACCESS_TOKEN"] {
        let mut observed = in_sync();
        observed.variables.push(variable(63, name, None, VariableScope::Service));
        assert_eq!(lines(&spec(), &observed), "", "{name}: of the job itself");
        observed.variables[3].scope = VariableScope::Environment;
        let noted = lines(&spec(), &observed);
        let expected = format!("note: every service of the environment can read secret `{name}` of the environment, an API token");
        assert!(noted.starts_with(&expected), "{noted}");
    }
}

#[test]
fn a_bound_service_of_any_kind_must_come_after_the_job() {
    let mut observed = in_sync();
    let infra = Service { id: id(14), name: "infra".to_owned(), kind: ServiceKind::Terraform };
    observed.services.push(infra.clone());
    observed.stages[2].services.insert(id(14));
    let late = observed.stages.remove(0);
    observed.stages.insert(2, late);
    let mut spec = spec();
    spec.stage = None;
    assert_eq!(lines(&spec, &observed), "");
    observed.bound = vec![BoundService { service: infra, variables: Vec::new(), service_account: None }];
    assert!(binding(&spec, &["infra"], &observed).contains("in which Terraform service `infra` may use the role already"));
}
