//! What `install` gives the job besides: its role and ServiceAccount, the manifest and its files.

use super::*;
use crate::model::job::{ChartSource, JobAccount, JobSource, JobSpec, RegistryRef};

pub(super) const IMAGE: &str = "job: {name: a, image: {registry: r, name: n, tag: t}}";
const ROLE: &str = "arn:aws:iam::123456789012:role/qovery-irsa-prod";
const CHART: &str = "chart: {git: {url: 'https://github.com/acme/qovery-irsa'}}";
const POLICY: &str = r#"{"Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}"#;

fn flags(install: InstallFlags) -> Flags {
    Flags { install, ..Flags::default() }
}

/// Loads this manifest, beside which all other files hold a policy.
fn with_flags(flags: &Flags, variables: &[(&str, &str)], manifest: &str, released: Option<&str>) -> Result<InstallConfig, Problems> {
    let read = |path: &Path| Ok(if path == Path::new(DEFAULT_MANIFEST) { manifest.into() } else { POLICY.into() });
    load_install(flags, with(variables), read, released)
}

fn installed(manifest: &str) -> JobSpec {
    with_flags(&Flags::default(), &[], manifest, None).unwrap_or_else(|problems| panic!("{problems}")).job
}

fn problems(manifest: &str) -> String {
    let problems = with_flags(&Flags::default(), &[], manifest, None).expect_err("problems").to_string();
    problems.lines().skip(1).map(str::trim_start).collect::<Vec<_>>().join("\n")
}

/// A manifest with one identity and this in its job.
fn job(keys: &str) -> String {
    format!("identities: [{{serviceAccount: app, role: {{}}}}]\njob: {{name: a, image: {{registry: r, name: n, tag: t}}, {keys}}}")
}

fn account(job: JobSpec) -> JobAccount {
    job.account.expect("an account")
}

#[test]
fn a_job_with_a_role_runs_as_its_serviceaccount_in_a_stage_of_its_own() {
    let job_spec = installed(&job(&format!("role: '{ROLE}', {CHART}")));
    assert_eq!(job_spec.stage.as_ref().unwrap().as_str(), "identities");
    assert_eq!(job_spec.advanced_settings["security.service_account_name"], "qovery-irsa");
    assert_eq!(job_spec.advanced_settings["security.automount_service_account_token"], true);
    let JobAccount { name, role, chart, service, stage } = account(job_spec);
    assert_eq!(
        (name.as_str(), role.to_string().as_str(), service.as_str(), stage.as_str()),
        ("qovery-irsa", ROLE, "a-account", "identities-account")
    );
    let ChartSource::Git { root_path, branch: None, token: None, .. } = chart else { panic!("{chart:?}") };
    assert_eq!(root_path, "/charts/qovery-irsa");

    let named = installed(&job(&format!("role: '{ROLE}', serviceAccount: bot, stage: Early, chart: {{repository: charts, version: '1'}}")));
    assert_eq!(named.advanced_settings["security.service_account_name"], "bot");
    let JobAccount { name, chart, stage, .. } = account(named);
    assert_eq!((name.as_str(), stage.as_str()), ("bot", "Early-account"));
    let ChartSource::Repository { name, .. } = chart else { panic!("{chart:?}") };
    assert_eq!(name, "qovery-irsa");
}

#[test]
fn the_flag_gives_the_role_and_wins_over_the_key() {
    let flag = |role: &str| flags(InstallFlags { role: Some(role.to_owned()), ..InstallFlags::default() });
    let other = "arn:aws:iam::123456789012:role/other";
    for manifest in [job(CHART), job(&format!("role: '{ROLE}', {CHART}"))] {
        let config = with_flags(&flag(other), &[], &manifest, None).unwrap();
        assert_eq!(account(config.job).role.to_string(), other);
    }
    let manifest = job(CHART);
    assert!(installed(&manifest).account.is_none(), "without a role it is as it was");
    let wrong = with_flags(&flag("nonsense"), &[], &manifest, None).unwrap_err().to_string();
    assert!(wrong.contains("`--role`: `nonsense` is not"), "{wrong}");
    let none = with_flags(&flag(other), &[], &job(""), None).unwrap_err().to_string();
    assert!(none.contains("job: `chart` is missing"), "{none}");
}

#[test]
fn what_would_keep_the_job_from_its_role_is_a_problem_each() {
    let role = format!("role: '{ROLE}', {CHART}");
    for (manifest, expected) in [
        (
            job(&format!("{role}, secrets: [AWS_ACCESS_KEY_ID]")),
            "job.secrets: `AWS_ACCESS_KEY_ID` keeps the job from its role: leave it out, the job needs no key",
        ),
        (
            job(&format!("{role}, variables: {{AWS_ROLE_ARN: x}}")),
            "job.variables: `AWS_ROLE_ARN` keeps the job from its role: leave it out, the job needs no key",
        ),
        (
            job(&format!("{role}, advancedSettings: {{security.service_account_name: other}}")),
            "job.advancedSettings[\"security.service_account_name\"]: must be `\"qovery-irsa\"`, or left out: the job runs with its role",
        ),
        (
            job(&format!("{role}, advancedSettings: {{security.automount_service_account_token: false}}")),
            "job.advancedSettings[\"security.automount_service_account_token\"]: must be `true`, or left out: the job runs with its role",
        ),
        (
            job(&format!("{role}, serviceAccount: app")),
            "identities[0].serviceAccount: `app` is the ServiceAccount of the job itself, which would lose its own role: choose another name, here or as `job.serviceAccount`",
        ),
        (job(&format!("role: '{ROLE}'")), "job: `chart` is missing: with a role the job runs as a ServiceAccount, which the chart makes"),
        (job(&format!("{role}, stage: {}", "s".repeat(250))), "is too long: `-account` must fit behind it"),
    ] {
        let problems = problems(&manifest);
        assert!(problems.contains(expected) && problems.lines().count() == 1, "{expected}\n{problems}");
    }
    let same = job(&format!(
        "{role}, advancedSettings: {{security.service_account_name: qovery-irsa, security.automount_service_account_token: true}}"
    ));
    assert_eq!(installed(&same).advanced_settings.len(), 2);
    assert_eq!(installed(&job("secrets: [AWS_ACCESS_KEY_ID]")).secrets.len(), 1, "without a role keys are what the job has");
}

#[test]
fn the_manifest_travels_with_the_files_that_it_names_word_for_word() {
    let manifest = format!(
        "# A comment\ndefaults: {{path: /acme/}}\nidentities:\n  - serviceAccount: app\n    role:\n      inlinePolicies:\n        a: {{file: policies/a.json}}\n        b: {{file: ./b.json}}\n        c: {{file: b.json}}\n        d: {{Statement: [{{Effect: Allow, Action: 's3:*', Resource: '${{ONLY_THE_JOB_HAS}}'}}]}}\n{IMAGE}\n"
    );
    let job = installed(&manifest);
    let files: Vec<_> = job.files.iter().map(|file| (file.path.as_str(), file.content.as_str())).collect();
    assert_eq!(files, [("qovery.yml", manifest.as_str()), ("b.json", POLICY), ("policies/a.json", POLICY)]);
    let variables: Vec<_> = job.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(variables, [("IRSA_MANIFEST", "/qovery-irsa/qovery.yml"), ("IRSA_PATH", "/acme/")]);
}

#[test]
fn a_manifest_of_another_name_and_place_is_called_the_same_in_the_job() {
    let manifest = format!("identities: [{{serviceAccount: app, role: {{inlinePolicies: {{a: {{file: a.json}}}}}}}}]\n{IMAGE}");
    let read = |path: &Path| match path.to_str() {
        Some("infra/prod.yml") => Ok(manifest.clone().into_bytes()),
        Some("infra/a.json") => Ok(POLICY.into()),
        other => panic!("{other:?}"),
    };
    let flags = Flags { manifest: Some("infra/prod.yml".into()), ..Flags::default() };
    let files = load_install(&flags, with(&[]), read, None).unwrap().job.files;
    assert_eq!(files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["qovery.yml", "a.json"]);
}

#[test]
fn a_job_that_says_where_its_manifest_is_gets_none_and_one_without_identities_neither() {
    let own = installed(&job("variables: {IRSA_MANIFEST: /etc/irsa.yml, IRSA_PATH: /mine/}"));
    assert!(own.files.is_empty());
    assert_eq!(own.variables.len(), 2);
    // Where the installer's manifest is says nothing about the job's.
    let config = with_flags(&Flags::default(), &[("IRSA_MANIFEST", DEFAULT_MANIFEST)], IMAGE, None).unwrap();
    assert!(config.job.files.is_empty() && config.job.variables.is_empty());
    assert_eq!(config.notes, ["`qovery.yml` names no identities, so the job gets no manifest"]);
    let one = "job: {name: a, image: {registry: r, name: n, tag: t}, variables: {SERVICE_ACCOUNT_NAME: app}}";
    assert!(with_flags(&Flags::default(), &[], one, None).unwrap().notes.is_empty());
}

#[test]
fn problems_of_identities_are_told_before_anything_is_sent_and_what_only_the_job_knows_is_none() {
    let with = |identities: &str| format!("identities: {identities}\n{IMAGE}");
    assert!(
        problems(&with("[{serviceAccount: Bad_Name, role: {}}, {serviceAccount: b}]"))
            .contains("identities[0].serviceAccount: `Bad_Name` is not")
    );
    assert!(problems(&with("[{serviceAccount: b, role: {polices: []}}]")).contains("did you mean `policies`?"));
    assert!(problems(&with("[{serviceAccount: b, role: {policies: ['${not a name}']}}]")).contains("is not a variable"));
    for unknown in [
        "[{serviceAccount: '${X}', role: {}}, {serviceAccount: '${X}', role: {}}]",
        "[{serviceAccount: a, role: {scope: '${X}', name: '${Y}', policies: ['${Z}'], tags: {a: '${T}'}, retain: '${R}'}}]",
        "[{serviceAccount: a, roleOnly: '${X}', podIdentity: '${Y}', role: {arn: '${Z}'}}]",
        "[{serviceAccount: a, role: {inlinePolicies: {p: {Statement: '${X}'}}}}]",
    ] {
        installed(&with(unknown));
    }
    let named = with("[{serviceAccount: a, role: {inlinePolicies: {p: {file: '${X}.json'}}}}]");
    assert_eq!(
        problems(&named),
        "qovery.yml:1: identities[0].role.inlinePolicies.p.file: names a file by a variable that only the job has: `install` cannot read the file"
    );
    let known = format!("{named}\n").replace("tag: t}", "tag: t}, variables: {X: y}");
    assert_eq!(installed(&known).files[1].path, "y.json", "a variable that the manifest gives to the job is known");
}

#[test]
fn a_file_that_the_job_would_not_find_is_a_problem() {
    for file in ["../shared.json", "/etc/policy.json", "policies/../own.json"] {
        let manifest = format!("identities: [{{serviceAccount: a, role: {{inlinePolicies: {{p: {{file: {file}}}}}}}}}]\n{IMAGE}");
        let problems = problems(&manifest);
        assert!(problems.ends_with("is outside the manifest's folder: the job gets files in it and below it"), "{problems}");
        assert!(problems.contains("identities[0].role.inlinePolicies.p.file: "), "{problems}");
        let read = |path: &Path| Ok(if path == Path::new(DEFAULT_MANIFEST) { manifest.clone().into_bytes() } else { POLICY.into() });
        load(&Flags::default(), with(&[]), read).unwrap_or_else(|problems| panic!("other commands read it: {problems}"));
    }
}

#[test]
fn more_than_a_job_can_have_is_a_problem_that_names_the_sizes() {
    let manifest = format!("{}\n# {}\n", job("cpu: 100"), "x".repeat(LARGEST - 300));
    assert_eq!(installed(&manifest).files.len(), 1);
    let larger = format!("{manifest}# {}\n", "x".repeat(300));
    let problems = problems(&larger);
    assert_eq!(
        problems,
        format!("qovery.yml: has {0} bytes with its policy files, and a job takes 262144 in all (256 KiB): `qovery.yml` {0}", larger.len())
    );
}

const LARGEST: usize = crate::model::job::LARGEST_FILES;

#[test]
fn the_boundary_is_said_to_the_job_once() {
    let arn = "arn:aws:iam::123456789012:policy/limits";
    let flag = flags(InstallFlags { boundary: Some(arn.to_owned()), ..InstallFlags::default() });
    let boundary = |manifest: &str| {
        let job = with_flags(&flag, &[], manifest, None).unwrap().job;
        job.variables.get(&"IRSA_PERMISSIONS_BOUNDARY".parse().unwrap()).cloned()
    };
    assert_eq!(boundary(&job("cpu: 100")).as_deref(), Some(arn));
    assert_eq!(boundary(&format!("defaults: {{permissionsBoundary: '{arn}'}}\n{}", job("cpu: 100"))), None, "the manifest says it");
    assert_eq!(
        boundary(&job("variables: {IRSA_PERMISSIONS_BOUNDARY: 'arn:aws:iam::1:policy/x'}")).as_deref(),
        Some("arn:aws:iam::1:policy/x")
    );
    let other = format!("defaults: {{permissionsBoundary: '{arn}2'}}\n{}", job("cpu: 100"));
    let problems = with_flags(&flag, &[], &other, None).unwrap_err().to_string();
    assert!(
        problems.contains(
            "`--boundary` is not what `defaults.permissionsBoundary` says, `arn:aws:iam::123456789012:policy/limits2`: make them the same"
        ),
        "{problems}"
    );
}

#[test]
fn the_image_is_the_released_one_where_the_manifest_names_none() {
    let version = env!("CARGO_PKG_VERSION");
    let source = |keys: &str, released| {
        let manifest = format!("identities: [{{serviceAccount: app, role: {{}}}}]\njob: {{name: a{keys}}}");
        with_flags(&Flags::default(), &[], &manifest, released).map(|config| config.job.source)
    };
    let released = Some("ghcr.io/acme/qovery-irsa");
    let image = |registry, name: &str, tag: &str| JobSource::Image { registry, name: name.to_owned(), tag: tag.to_owned() };
    let named = || RegistryRef::Named("mine".parse().unwrap());
    assert_eq!(source("", released).unwrap(), image(RegistryRef::Host("ghcr.io".to_owned()), "acme/qovery-irsa", version));
    assert_eq!(source(", image: {registry: mine}", released).unwrap(), image(named(), "acme/qovery-irsa", version));
    assert_eq!(source(", image: {registry: mine, tag: '2'}", released).unwrap(), image(named(), "acme/qovery-irsa", "2"));
    assert_eq!(source(", image: {registry: mine, name: n, tag: '2'}", released).unwrap(), image(named(), "n", "2"));
    let missing = source(", image: {registry: mine, name: n}", released).unwrap_err().to_string();
    assert!(missing.contains("job.image: `tag` is missing"), "the tag of one image is none of another: {missing}");
    let missing = source(", image: {registry: mine}", None).unwrap_err().to_string();
    assert!(missing.contains("job.image: `name` is missing") && missing.contains("job.image: `tag` is missing"), "{missing}");
    assert!(source("", None).unwrap_err().to_string().contains("neither `image` nor `git` is given"));
}
