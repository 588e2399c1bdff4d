//! The `job:` section, which only `install` reads.

use super::{keyless::IMAGE, *};
use crate::model::job::{GitProvider, JobSource};

const JOB: &str = r#"
identities: [{serviceAccount: "${NOT_SET}", role: {}}]
job:
  name: aws-identity
  description: Gives the services their AWS permissions
  image: {registry: ghcr, name: acme/qovery-irsa, tag: "${TAG}"}
  arguments: {start: [start, --timeout, 10m]}
  cpu: "${CPU:-200}"
  memory: 128
  maxDuration: 30m
  restarts: 0
  autoDeploy: false
  stage: identities
  variables: {IRSA_PROOF: required}
  secrets: [AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY]
  advancedSettings: {security.read_only_root_filesystem: true, deployment.termination_grace_period_seconds: 60}
"#;

fn installing(flags: &Flags, variables: &[(&str, &str)], manifest: &str) -> Result<InstallConfig, Problems> {
    load_install(flags, with(variables), |_| Ok(manifest.as_bytes().to_vec()), None)
}

fn of_job(keys: &str) -> String {
    let manifest = format!("job: {{name: a, image: {{registry: r, name: n, tag: t}}, {keys}}}");
    let problems = installing(&Flags::default(), &[], &manifest).expect_err("problems").to_string();
    problems.lines().skip(1).map(|line| line.trim_start().trim_start_matches("qovery.yml:1: ")).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_key_of_the_job_is_read_and_a_variable_that_only_the_job_has_is_no_problem() {
    let config = installing(
        &Flags::default(),
        &[("TAG", "1.2"), ("IRSA_SECRET_AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", "the installer's own")],
        JOB,
    )
    .unwrap();
    let job = config.job;
    assert_eq!((job.name.as_str(), job.stage.as_ref().unwrap().as_str()), ("aws-identity", "identities"));
    assert_eq!((job.cpu, job.memory, job.max_duration, job.restarts, job.auto_deploy), (200, 128, 1800, 0, Some(false)));
    assert_eq!(job.arguments.start, ["start", "--timeout", "10m"]);
    assert_eq!((job.arguments.stop, job.arguments.delete), (vec!["stop".to_owned()], vec!["delete".to_owned()]));
    let JobSource::Image { registry, name, tag } = job.source else { panic!() };
    assert_eq!((registry.to_string().as_str(), name.as_str(), tag.as_str()), ("ghcr", "acme/qovery-irsa", "1.2"));
    assert_eq!(
        job.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>(),
        [("IRSA_MANIFEST", "/qovery-irsa/qovery.yml"), ("IRSA_PROOF", "required")]
    );
    assert_eq!(job.secrets.len(), 2);
    assert_eq!(job.advanced_settings["deployment.termination_grace_period_seconds"], 60);
    assert_eq!(
        config.secrets.keys().map(crate::model::variable::VariableName::as_str).collect::<Vec<_>>(),
        ["AWS_ACCESS_KEY_ID"],
        "the installer's own keys are not the job's"
    );
    assert_eq!(config.qovery.unwrap().environment.as_str(), "1a2b3c4d-0000-4000-8000-000000000000");
}

#[test]
fn what_is_left_out_has_its_default_and_git_is_told_by_its_host() {
    let manifest = "job: {name: a, git: {url: 'https://gitlab.acme.example/a/b', token: t}}";
    let job = installing(&Flags::default(), &[], manifest).unwrap().job;
    assert_eq!((job.cpu, job.memory, job.max_duration, job.restarts, job.auto_deploy), (100, 64, 900, 1, None));
    let JobSource::Git { provider, branch, root_path, dockerfile, token, .. } = job.source else { panic!() };
    assert_eq!((provider, branch, root_path.as_str(), dockerfile.as_str()), (GitProvider::GitLab, None, "/", "Dockerfile"));
    assert_eq!(token.unwrap().as_str(), "t");
}

#[test]
fn a_flag_names_the_environment_and_printing_needs_none() {
    let manifest = "job: {name: a, image: {registry: r, name: n, tag: t}}";
    let other = "2a2b3c4d-0000-4000-8000-000000000000";
    let flags = Flags { environment: Some(other.to_owned()), ..Flags::default() };
    assert_eq!(installing(&flags, &[], manifest).unwrap().qovery.unwrap().environment.as_str(), other);
    let flags = Flags { prints: true, ..Flags::default() };
    let none = [("IRSA_QOVERY_TOKEN", ""), ("QOVERY_ENVIRONMENT_ID", ""), ("QOVERY_KUBERNETES_NAMESPACE_NAME", "")];
    assert_eq!(installing(&flags, &none, manifest).unwrap().qovery, None);
    insta::assert_snapshot!(installing(&Flags::default(), &none, manifest).unwrap_err(), @"
    2 problems in the configuration
      `--environment` is not set: the id of the environment, which its address in the console ends with
      `QOVERY_API_TOKEN` is not set: the job is installed through Qovery's API; make an API token in the console, and give it by this name
    ");
}

#[test]
fn a_flag_with_a_mistake_says_what_is_legal() {
    let manifest = "identities: [{serviceAccount: app, role: {policies: [arn:aws:iam::aws:policy/ReadOnlyAccess]}}]\njob: {name: a, image: {registry: r, name: n, tag: t}}";
    let flags = Flags {
        format: Some("yaml".to_owned()),
        install: InstallFlags { boundary: Some("none".to_owned()), ..InstallFlags::default() },
        ..Flags::default()
    };
    insta::assert_snapshot!(installing(&flags, &[], manifest).unwrap_err(), @"
    2 problems in the configuration
      `--format`: `yaml` is not known: use `text` or `json`
      `--boundary`: `none` is a choice of `bootstrap`: here it is the ARN that `bootstrap` printed, and the flag is left out where it printed none
    ");
}

#[test]
fn a_job_with_a_mistake_says_what_is_legal() {
    for (keys, expected) in [
        ("cpu: 5", "job.cpu: `5` is not usable here: use a whole number from 10 to 64000"),
        ("memory: many", "job.memory: `many` is not usable here: use a whole number from 32 to 65536"),
        ("restarts: -1", "job.restarts: must be a whole number, not the number `-1`"),
        ("maxDuration: 10s", "job.maxDuration: `10s` is out of bounds: use 1m to 24h"),
        ("git: {url: 'https://github.com/a/b'}", "job: `image` and `git` are both given: its image is pulled or built"),
        (
            "variables: {QOVERY_API_TOKEN: x}",
            "job.variables.QOVERY_API_TOKEN: `QOVERY_API_TOKEN` is not the name of a variable: use letters, digits and `_`, not beginning with a digit, and no name that begins with `QOVERY_`",
        ),
        ("variables: {A: }", "job.variables.A: has no value"),
        ("variables: {A: x}, secrets: [A]", "job.secrets[0]: `A` stands in `variables` too: it is readable there"),
        ("arguments: {start: []}", "job.arguments.start: is empty: the job would not know what to do, use `[start]`"),
        ("arguments: {begin: [x]}", "job.arguments.begin: unknown key, use `start`, `stop` or `delete`"),
        (
            "stage: \" \"",
            "job.stage: ` ` is not a name for Qovery: use 1 to 255 characters, none of them a control character, and no space at the ends",
        ),
    ] {
        assert_eq!(of_job(keys), expected, "{keys}");
    }
    for (manifest, expected) in [
        ("identities: []", "qovery.yml:1: `job` is missing: it says what `install` makes"),
        (
            "job: {name: a}",
            "qovery.yml:1: job: neither `image` nor `git` is given, and this program was built without the name of a released image: say with `image` where it is, or with `git` what Qovery builds it from",
        ),
        ("job: {name: a, image: {registry: r, name: 'n:1', tag: t}}", "qovery.yml:1: job.image.name: `n:1` holds a tag: give it as `tag`"),
        (
            "job: {name: a, git: {url: 'git@github.com:a/b'}}",
            "qovery.yml:1: job.git.url: `git@github.com:a/b` is not the URL of a repository: use `https://`, without credentials",
        ),
        (
            "job: {name: a, git: {url: 'https://git.example/a/b'}}",
            "qovery.yml:1: job.git: `provider` is missing, and the host of `url` does not tell it: use `github`, `gitlab` or `bitbucket`",
        ),
    ] {
        let problems = installing(&Flags::default(), &[], manifest).expect_err("problems").to_string();
        assert_eq!(problems.lines().nth(1).unwrap().trim(), expected, "{manifest}");
    }
}

#[test]
fn other_commands_do_not_look_at_the_job() {
    let manifest = format!("job: {{tag: \"${{NOT_SET}}\", nonsense: 1}}\n{SMALLEST}");
    assert_eq!(loaded(&[], &manifest).unwrap().identities.len(), 1);
    let problems = shown(loaded(&[], &format!("jobs: {{}}\n{SMALLEST}")));
    assert!(problems.contains("jobs: unknown key, did you mean `job`?"), "{problems}");
}

#[test]
fn a_manifest_that_cannot_be_read_is_one_problem() {
    let read = |_: &Path| Err(io::Error::new(io::ErrorKind::NotFound, "no such file"));
    let problems = load_install(&Flags::default(), with(&[]), read, None).unwrap_err().to_string();
    assert_eq!(problems, "1 problem in the configuration\n  qovery.yml: cannot be read: no such file");
}

#[test]
fn the_services_that_identities_bind_are_known_with_what_they_are_bound_to() {
    let manifest = format!(
        "identities: [{{serviceAccount: app, bindServices: [api, worker], takeOver: true, role: {{}}}}, {{serviceAccount: b, bindServices: [\"${{SERVICE}}\"], role: {{}}}}, {{serviceAccount: \"${{NOT_SET}}\", bindServices: [other, \"${{NOT_SET}}\"], role: {{}}}}]\n{IMAGE}"
    );
    let config = installing(&Flags::default(), &[("SERVICE", "cron")], &manifest).unwrap();
    assert_eq!(config.binds.iter().map(ServiceRef::as_str).collect::<Vec<_>>(), ["api", "cron", "other", "worker"]);
    let bindings: Vec<_> =
        config.bindings.iter().map(|binding| (binding.service.as_str(), binding.service_account.as_str(), binding.take_over)).collect();
    assert_eq!(bindings, [("api", "app", true), ("worker", "app", true), ("cron", "b", false)]);
    assert!(installing(&Flags::default(), &[], IMAGE).unwrap().binds.is_empty());
}
