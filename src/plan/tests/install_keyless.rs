//! A job without a key: an environment in sync, one change, the plan as the installer reads it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::install::{JOB, empty, id, in_sync, map, spec, variable};
use crate::{
    model::{
        job::{
            BindWhen, BoundService, ChartSource, Deployed, GitProvider, JobAccount, JobFile, JobSpec, ObservedEnvironment, ObservedHelm,
            RegistryRef, Stage,
        },
        qovery::QoveryId,
        service::{DesiredService, Service, ServiceKind},
        variable::VariableScope,
    },
    plan::{
        Call as _,
        install::{InstallPlan, JobAction, Wanted, install},
    },
};

const HELM: u8 = 8;
const ROLE: &str = "arn:aws:iam::123456789012:role/qovery-irsa-prod";

fn git() -> ChartSource {
    ChartSource::Git {
        url: "https://github.com/acme/qovery-irsa".to_owned(),
        provider: GitProvider::GitHub,
        branch: None,
        root_path: "/charts/qovery-irsa".to_owned(),
        token: None,
    }
}

fn keyless() -> JobSpec {
    let mut spec = spec();
    spec.secrets.clear();
    spec.account = Some(JobAccount {
        name: "qovery-irsa".parse().unwrap(),
        role: ROLE.parse().unwrap(),
        chart: git(),
        service: "aws-identity-account".parse().unwrap(),
        stage: "identities-account".parse().unwrap(),
    });
    spec
}

fn planned(spec: &JobSpec, observed: &ObservedEnvironment) -> Result<InstallPlan, String> {
    binding(spec, &[], BindWhen::NothingDeployed, observed)
}

fn binding(spec: &JobSpec, bindings: &[DesiredService], bind: BindWhen, observed: &ObservedEnvironment) -> Result<InstallPlan, String> {
    let wanted = Wanted { job: spec, binds: &BTreeSet::new(), bindings, bind, at_hand: &BTreeSet::new() };
    install(&wanted, observed).map_err(|refusals| format!("{refusals}\nhint: {}", refusals.hint()))
}

fn lines(plan: Result<InstallPlan, String>) -> String {
    match plan {
        Ok(plan) => {
            let notes = plan.notes.iter().map(|note| format!("note: {note}"));
            plan.actions.iter().map(ToString::to_string).chain(notes).collect::<Vec<_>>().join("\n")
        }
        Err(refused) => refused,
    }
}

fn helm_request(plan: &InstallPlan) -> Value {
    let request = plan.actions.iter().find_map(|action| match action {
        JobAction::CreateHelm { request, .. } | JobAction::EditHelm { request, .. } => Some(request.clone()),
        _ => None,
    });
    Value::Object(request.unwrap())
}

/// An environment in which job and Helm service are as they should be.
fn settled() -> ObservedEnvironment {
    let mut observed = in_sync();
    observed.variables.retain(|variable| variable.name != "AWS_SECRET_ACCESS_KEY");
    let mut request = map(helm_request(&planned(&keyless(), &observed).unwrap()));
    // Set in the console.
    request.insert("timeout_sec".to_owned(), json!(900));
    observed.account = Some(ObservedHelm { id: id(HELM), request });
    observed.services.push(Service { id: id(HELM), name: "aws-identity-account".to_owned(), kind: ServiceKind::of("HELM") });
    observed.stages.insert(0, stage(25, "identities-account", &[HELM]));
    observed
}

fn stage(number: u8, name: &str, services: &[u8]) -> Stage {
    let services: BTreeSet<QoveryId> = services.iter().map(|number| id(*number)).collect();
    Stage { id: id(number), name: name.to_owned(), services, skipped: BTreeSet::new() }
}

#[test]
fn an_environment_without_anything_gets_job_and_helm_service_in_two_stages_before_all_others() {
    let plan = planned(&keyless(), &empty()).unwrap();
    insta::assert_snapshot!(lines(Ok(plan.clone())), @"
    create lifecycle job `aws-identity`
    create variable `IRSA_PROOF` of the job
    set advanced settings of the job: `security.read_only_root_filesystem` to `true`
    create Helm service `aws-identity-account`, which makes the job's ServiceAccount
    create deployment stage `identities-account`
    move deployment stage `identities-account` before `DATABASE DEFAULT`
    put the Helm service into deployment stage `identities-account`
    create deployment stage `identities`
    move deployment stage `identities` before `DATABASE DEFAULT`
    put the job into deployment stage `identities`
    note: Helm service `aws-identity-account` makes a Role and a RoleBinding in the environment's namespace. Should Qovery refuse them, the other way is an EKS access entry for the job's own user or role: docs/troubleshooting.md
    ");
    assert_eq!(
        helm_request(&plan),
        json!({
            "name": "aws-identity-account", "auto_deploy": false, "allow_cluster_wide_resources": false, "arguments": ["--wait", "--atomic", "--debug"],
            "source": { "git_repository": { "url": "https://github.com/acme/qovery-irsa", "root_path": "/charts/qovery-irsa" } },
            "values_override": { "file": { "raw": { "values": [{
                "name": "values.yaml", "content": format!("{{\"roleArn\":\"{ROLE}\",\"serviceAccount\":\"qovery-irsa\"}}"),
            }] } } },
        })
    );
}

#[test]
fn what_is_in_place_is_left_alone_and_what_the_console_set_stays() {
    assert_eq!(lines(planned(&keyless(), &settled())), "");
    let mut other = keyless();
    other.account.as_mut().unwrap().role = "arn:aws:iam::123456789012:role/other".parse().unwrap();
    let plan = planned(&other, &settled()).unwrap();
    insta::assert_snapshot!(lines(Ok(plan.clone())), @"edit Helm service `aws-identity-account`: `values`");
    let request = helm_request(&plan);
    assert_eq!(request["timeout_sec"], 900);
    assert!(request["values_override"]["file"]["raw"]["values"][0]["content"].as_str().unwrap().contains("role/other"));
}

#[test]
fn each_difference_of_the_helm_service_is_one_edit() {
    let changed = |spec: &JobSpec, observed: &ObservedEnvironment| {
        lines(planned(spec, observed)).replace("edit Helm service `aws-identity-account`: ", "")
    };
    let mut spec = keyless();
    let chart = |spec: &mut JobSpec, chart| spec.account.as_mut().unwrap().chart = chart;
    let ChartSource::Git { url, provider, .. } = git() else { panic!() };
    chart(
        &mut spec,
        ChartSource::Git {
            url: format!("{url}.git"),
            provider,
            branch: Some("v1".to_owned()),
            root_path: "/x".to_owned(),
            token: "bot".parse().ok(),
        },
    );
    assert_eq!(changed(&spec, &settled()), "`chart.git.rootPath`, `chart.git.branch`, `chart.git.token`");
    let repository =
        ChartSource::Repository { repository: "Charts".parse().unwrap(), name: "qovery-irsa".to_owned(), version: "1".to_owned() };
    chart(&mut spec, repository);
    let plan = planned(&spec, &settled()).unwrap();
    assert_eq!(lines(Ok(plan.clone())), "edit Helm service `aws-identity-account`: `chart.repository`, `chart.name`, `chart.version`");
    assert_eq!(
        helm_request(&plan)["source"],
        json!({ "helm_repository": { "repository": id(42).as_str(), "chart_name": "qovery-irsa", "chart_version": "1" } })
    );
    let mut observed = settled();
    observed.account.as_mut().unwrap().request["values_override"]["set"] = json!([["roleArn", "mine"]]);
    assert_eq!(changed(&keyless(), &observed), "`values`", "Helm would take it instead of the file");
}

#[test]
fn what_the_organization_does_not_have_is_a_refusal_that_names_what_it_has() {
    let mut spec = keyless();
    spec.account.as_mut().unwrap().chart =
        ChartSource::Repository { repository: "nowhere".parse().unwrap(), name: "qovery-irsa".to_owned(), version: "1".to_owned() };
    insta::assert_snapshot!(lines(planned(&spec, &empty())), @"
    refused: the organization has no Helm repository `nowhere`; there are `charts`
    hint: add the repository in the console (organization settings, Helm repositories), or correct `chart.repository`
    ");
    let ChartSource::Git { url, provider, branch, root_path, .. } = git() else { panic!() };
    spec.account.as_mut().unwrap().chart = ChartSource::Git { url, provider, branch, root_path, token: "none".parse().ok() };
    insta::assert_snapshot!(lines(planned(&spec, &empty())), @"
    refused: the organization has no Git token `none`; there are `bot`
    hint: add the token in the console (organization settings, Git repository access), or correct `chart.git.token`
    ");
    let mut spec = keyless();
    spec.source = crate::model::job::JobSource::Image {
        registry: RegistryRef::Host("quay.io".to_owned()),
        name: "acme/qovery-irsa".to_owned(),
        tag: "1".to_owned(),
    };
    insta::assert_snapshot!(lines(planned(&spec, &empty())), @"
    refused: the organization has no container registry on `quay.io`; there are `ghcr`
    hint: add a registry with the URL `https://quay.io` in the console (organization settings, container registries), or name another by `image.registry`
    ");
    let mut observed = empty();
    observed.registries[0].url = Some("https://quay.io/".to_owned());
    assert!(planned(&spec, &observed).is_ok());
}

#[test]
fn another_service_of_that_name_is_a_refusal() {
    let mut observed = empty();
    observed.services.push(Service { id: id(7), name: "AWS-identity-account".to_owned(), kind: ServiceKind::Container });
    insta::assert_snapshot!(lines(planned(&keyless(), &observed)), @"
    refused: container `AWS-identity-account` has the name of the Helm service that makes the job's ServiceAccount, and is none
    hint: give the job another `name` in the manifest, or rename that service
    ");
}

#[test]
fn the_helm_services_stage_comes_before_the_jobs_wherever_that_is() {
    let names = |observed: &ObservedEnvironment| observed.stages.iter().map(|stage| stage.name.clone()).collect::<Vec<_>>();
    for (case, arrange) in [
        (
            "the job's stage is there and right",
            (|observed| observed.stages.retain(|stage| stage.name != "identities-account")) as fn(&mut ObservedEnvironment),
        ),
        ("the stages are the wrong way round", |observed| observed.stages.swap(0, 1)),
        ("both come too late", |observed| observed.stages.rotate_left(2)),
        ("both come too late, the wrong way round", |observed| {
            observed.stages.swap(0, 1);
            observed.stages.rotate_left(2);
        }),
        ("only the job's comes too late", |observed| {
            let job = observed.stages.remove(1);
            observed.stages.push(job);
        }),
        ("only the Helm service's comes too late", |observed| observed.stages.rotate_left(1)),
        ("neither is there", |observed| observed.stages.drain(..2).for_each(drop)),
        ("only the Helm service's is there, last", |observed| {
            observed.stages.remove(1);
            observed.stages.rotate_left(1);
        }),
        ("the services are elsewhere", |observed| {
            for stage in &mut observed.stages[..2] {
                stage.services.clear();
            }
        }),
        ("both are skipped", |observed| {
            for stage in &mut observed.stages[..2] {
                stage.skipped = stage.services.clone();
            }
        }),
    ] {
        let mut observed = settled();
        arrange(&mut observed);
        let plan = planned(&keyless(), &observed).unwrap();
        assert!(!plan.actions.is_empty(), "{case}");
        carry_out(&plan, &mut observed);
        let (account, job) = (place(&observed, "identities-account"), place(&observed, "Identities"));
        assert!(account < job && job < place(&observed, "DATABASE DEFAULT"), "{case}: {:?}", names(&observed));
        assert!(observed.stages[account].services.contains(&id(HELM)) && observed.stages[job].services.contains(&id(JOB)), "{case}");
        assert_eq!(lines(planned(&keyless(), &observed)), "", "{case}: again");
    }
}

fn place(observed: &ObservedEnvironment, name: &str) -> usize {
    observed.stages.iter().position(|stage| stage.name.eq_ignore_ascii_case(name)).unwrap()
}

/// What Qovery does with the stages.
fn carry_out(plan: &InstallPlan, observed: &mut ObservedEnvironment) {
    let mut created = id(60);
    for (number, action) in (61..).zip(&plan.actions) {
        match action {
            JobAction::CreateStage { name } => {
                created = id(number);
                observed.stages.push(stage(number, name.as_str(), &[]));
            }
            JobAction::MoveStage { stage, before, .. } => {
                let from = stage.as_ref().unwrap_or(&created);
                let at = |observed: &ObservedEnvironment, id: &QoveryId| observed.stages.iter().position(|stage| stage.id == *id).unwrap();
                let moved = observed.stages.remove(at(observed, from));
                observed.stages.insert(at(observed, before), moved);
            }
            JobAction::AttachToStage { id: service, stage, .. } => {
                let stage = stage.as_ref().unwrap_or(&created);
                for known in &mut observed.stages {
                    known.services.remove(service.as_ref().unwrap());
                    if known.id == *stage {
                        known.services.insert(service.clone().unwrap());
                    }
                }
            }
            JobAction::Unskip { id: service, .. } => observed.stages.iter_mut().for_each(|stage| {
                stage.skipped.remove(service);
            }),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_stage_with_others_that_comes_too_late_is_not_moved() {
    let mut observed = settled();
    observed.stages.swap(0, 1);
    observed.stages[1].services.insert(id(12));
    insta::assert_snapshot!(lines(planned(&keyless(), &observed)), @"
    refused: deployment stage `identities-account` comes after the job's stage, and has other services: the job's ServiceAccount would not be there in time
    hint: move the stage before the job's in the console, or give the job another `stage`
    ");
}

#[test]
fn keys_that_the_job_would_take_before_its_role_are_refused_wherever_they_are() {
    for (name, value, scope, way) in [
        ("AWS_ACCESS_KEY_ID", None, VariableScope::Project, "delete `AWS_ACCESS_KEY_ID` of the project: "),
        ("AWS_SECRET_ACCESS_KEY", None, VariableScope::Service, "delete `AWS_SECRET_ACCESS_KEY` of the job in the console: "),
        ("AWS_ROLE_ARN", Some(""), VariableScope::Environment, "delete `AWS_ROLE_ARN` of the environment: "),
    ] {
        let mut observed = settled();
        observed.variables.push(variable(70, name, value, scope));
        let refused = planned(&keyless(), &observed).unwrap_err();
        assert!(
            refused.contains(name) && refused.contains("which keeps it from its own role\nhint: ") && refused.contains(way),
            "{refused}"
        );
    }
    let mut observed = settled();
    observed.variables.push(variable(70, "AWS_ACCESS_KEY_ID", Some(""), VariableScope::Project));
    assert!(planned(&keyless(), &observed).is_ok(), "a key that is set to nothing is none");
}

#[test]
fn a_job_without_role_and_keys_is_told_what_is_missing() {
    let mut spec = spec();
    spec.secrets.clear();
    let mut observed = in_sync();
    observed.variables.retain(|variable| variable.name != "AWS_SECRET_ACCESS_KEY");
    insta::assert_snapshot!(lines(planned(&spec, &observed)), @"note: the job has neither a `role` nor AWS keys, so it cannot reach AWS: run `bootstrap` once for the cluster, then `install` with `--role`, and name a `chart` in `job`");
    spec.advanced_settings.insert("security.service_account_name".to_owned(), json!("mine"));
    assert!(!lines(planned(&spec, &observed)).contains("note"), "somebody else's ServiceAccount may have a role");
    spec.advanced_settings.remove("security.service_account_name");
    observed.job.as_mut().unwrap().settings.insert("security.service_account_name".to_owned(), json!("qovery-irsa"));
    assert!(!lines(planned(&spec, &observed)).contains("note"), "`install --role` gave it before");
}

fn file(path: &str, content: &str) -> JobFile {
    JobFile { path: path.to_owned(), content: content.to_owned() }
}

fn mounted(number: u8, key: &str, path: &str, value: Option<&str>) -> crate::model::variable::ObservedVariable {
    crate::model::variable::ObservedVariable {
        mount_path: Some(path.to_owned()),
        is_secret: false,
        ..variable(number, key, value, VariableScope::Service)
    }
}

#[test]
fn files_are_uploaded_changed_and_deleted_and_foreign_ones_left_alone() {
    let mut spec = keyless();
    spec.files = vec![file("qovery.yml", "new"), file("a.b.json", "1"), file("a-b.json", "2"), file("policies/c.json", "same")];
    let mut observed = settled();
    observed.variables.extend([
        mounted(81, "JOB_FILE_QOVERY_YML", "/qovery-irsa/qovery.yml", Some("old")),
        mounted(82, "JOB_FILE_A_B_JSON", "/qovery-irsa/a-b.json", None),
        mounted(83, "JOB_FILE_POLICIES_C_JSON", "/qovery-irsa/policies/c.json", Some("same")),
        mounted(84, "JOB_FILE_GONE_JSON", "/qovery-irsa/gone.json", Some("x")),
        mounted(85, "JOB_FILE_MINE", "/etc/mine", Some("x")),
        mounted(86, "MY_FILE", "/qovery-irsa/mine", Some("x")),
    ]);
    let plan = planned(&spec, &observed).unwrap();
    insta::assert_snapshot!(lines(Ok(plan.clone())), @"
    delete file `/qovery-irsa/gone.json` of the job
    upload `qovery.yml` again to `/qovery-irsa/qovery.yml` of the job
    upload `a.b.json` to `/qovery-irsa/a.b.json` of the job
    upload `a-b.json` again to `/qovery-irsa/a-b.json` of the job
    ");
    let created = plan.actions.iter().find_map(|action| match action {
        JobAction::CreateFile { key, job, .. } => Some((key.as_str(), job.clone())),
        _ => None,
    });
    assert_eq!(created, Some(("JOB_FILE_A_B_JSON_2", Some(id(JOB)))), "the other keeps the name that it has");
    let calls: Vec<_> = plan.actions.iter().map(JobAction::call).collect();
    assert_eq!(calls, ["qovery:DELETE /variable/{id}", "qovery:PUT /variable/{id}", "qovery:POST /variable", "qovery:PUT /variable/{id}"]);
}

#[test]
fn a_variable_that_names_a_manifest_which_is_gone_goes_too() {
    let mut observed = settled();
    observed.variables.push(variable(87, "IRSA_MANIFEST", Some("/qovery-irsa/qovery.yml"), VariableScope::Service));
    assert_eq!(lines(planned(&keyless(), &observed)), "delete variable `IRSA_MANIFEST` of the job");
    observed.variables.last_mut().unwrap().value = Some("/mine.yml".to_owned());
    assert_eq!(lines(planned(&keyless(), &observed)), "");
}

fn desired(service: &str, account: &str) -> DesiredService {
    DesiredService { service: service.parse().unwrap(), service_account: account.parse().unwrap(), take_over: false }
}

fn with_api(deployed: Deployed, account: Option<&str>) -> ObservedEnvironment {
    let mut observed = settled();
    let service = observed.services.iter().find(|service| service.name == "api").unwrap().clone();
    observed.bound = vec![BoundService { service, variables: Vec::new(), service_account: account.map(str::to_owned) }];
    observed.deployed = Some(deployed);
    observed
}

#[test]
fn services_are_bound_where_nothing_was_deployed_yet_or_when_asked() {
    let wanted = [desired("api", "app")];
    let of = |bind, deployed, account| lines(binding(&keyless(), &wanted, bind, &with_api(deployed, account)));
    assert_eq!(of(BindWhen::NothingDeployed, Deployed::Never, None), "bind application `api` to ServiceAccount `app`");
    assert_eq!(of(BindWhen::Always, Deployed::Before, None), "bind application `api` to ServiceAccount `app`");
    for deployed in [Deployed::Never, Deployed::Before] {
        assert_eq!(of(BindWhen::NothingDeployed, deployed, Some("app")), "", "it is bound");
    }
    insta::assert_snapshot!(of(BindWhen::NothingDeployed, Deployed::Before, None), @"note: application `api`: not bound, for something was deployed before, and the job has no API token with which it could. Run `install --bind`, then deploy; `install --deploy` does both");
    let with_token = JobSpec { secrets: BTreeSet::from(["IRSA_QOVERY_TOKEN".parse().unwrap()]), ..keyless() };
    let mut observed = with_api(Deployed::Before, None);
    observed.variables.push(variable(88, "IRSA_QOVERY_TOKEN", None, VariableScope::Service));
    insta::assert_snapshot!(lines(binding(&with_token, &wanted, BindWhen::NothingDeployed, &observed)), @"note: application `api`: the job binds what is not bound yet on its next run, and pods get the role from the deployment after that. `install --bind` binds now, and one deployment is enough");
}

/// It ends with "deployed and proven": then no service may be left without its role unsaid.
#[test]
fn a_run_that_deploys_binds_at_once_or_after_the_job_and_refuses_what_is_not_there() {
    let wanted = [desired("api", "app")];
    let of = |deployed| lines(binding(&keyless(), &wanted, BindWhen::AfterJob, &with_api(deployed, None)));
    assert_eq!(of(Deployed::Never), "bind application `api` to ServiceAccount `app`");
    assert_eq!(of(Deployed::Before), "note: application `api`: `--deploy` binds what is not bound yet once the job has run");
    let refused = lines(binding(&keyless(), &[desired("apy", "app")], BindWhen::AfterJob, &settled()));
    assert!(refused.starts_with("refused: the environment has no service `apy`"), "{refused}");
    assert!(refused.ends_with("hint: correct `bindServices`, or create the service before"), "{refused}");
}

#[test]
fn what_the_job_would_refuse_to_bind_is_refused_here() {
    let other = with_api(Deployed::Never, Some("mine"));
    let refused = lines(binding(&keyless(), &[desired("api", "app")], BindWhen::NothingDeployed, &other));
    assert!(
        refused.starts_with("refused: application `api` runs with ServiceAccount `mine`; it should be `app`\nhint: with `takeOver: true`"),
        "{refused}"
    );
    let taken = DesiredService { take_over: true, ..desired("api", "app") };
    assert_eq!(
        lines(binding(&keyless(), &[taken], BindWhen::NothingDeployed, &other)),
        "bind application `api` to ServiceAccount `app`, no longer to `mine`"
    );
    let twice = [desired("api", "app"), desired("API", "other")];
    assert!(
        lines(binding(&keyless(), &twice, BindWhen::Always, &with_api(Deployed::Never, None))).contains("application `api` is bound twice")
    );
    insta::assert_snapshot!(lines(binding(&keyless(), &[desired("later", "app"), desired("aws-identity", "app")], BindWhen::Always, &settled())), @"note: `bindServices` names `later`, `aws-identity`, which the environment does not have: create it, then run `install` again, which binds it. The job has no API token with which it could");
}

#[test]
fn without_a_stage_only_what_comes_after_the_job_is_bound() {
    let spec = JobSpec { account: None, stage: None, ..keyless() };
    let wanted = [desired("api", "app")];
    let observed = with_api(Deployed::Never, None);
    assert!(lines(binding(&spec, &wanted, BindWhen::Always, &observed)).starts_with("bind application `api`"));
    let mut behind = observed.clone();
    behind.stages.rotate_left(2);
    assert!(!lines(binding(&spec, &wanted, BindWhen::Always, &behind)).contains("bind application"));
    let none = ObservedEnvironment { job: None, ..observed };
    let none = ObservedEnvironment { services: none.services.iter().filter(|service| service.id != id(JOB)).cloned().collect(), ..none };
    assert!(
        !lines(binding(&spec, &wanted, BindWhen::Always, &none)).contains("bind application"),
        "where the job will be is not known yet"
    );
}
