//! `install --sweep`: the cron job in the environment whose namespace has cluster access, and what its run does with that alone.

use std::collections::BTreeMap;

use qovery_irsa_sandbox::{
    aws::Aws,
    qovery::{Kind, TOKEN},
};
use serde_json::json;

use super::reaching::{OPS, ROLE_ARN, Reaching};
use crate::support::{environment::Run, fixtures::MANIFEST, zone::ZONE};

const JOB: &str = "
job:
  name: aws-identity
  image: {registry: ghcr, name: acme/qovery-irsa, tag: \"1.0\"}
";

/// A cluster with access, and the environment of the namespace that has it.
struct Operations {
    reaching: Reaching,
    id: String,
}

impl Operations {
    fn new() -> Self {
        let reaching = Reaching::made();
        let environment = &reaching.laptop.environment;
        environment.write_manifest(&format!("{ZONE}  access: {{namespace: {OPS}}}\n{JOB}"));
        let id = environment.sandbox.qovery(|qovery| {
            let id = qovery.add_environment("operations", OPS);
            qovery.add_registry("ghcr");
            id
        });
        Self { reaching, id }
    }

    fn install(&self, arguments: &[&str]) -> Run {
        let laptop = &self.reaching.laptop;
        let mut variables = laptop.variables.clone();
        variables.insert("QOVERY_API_TOKEN".to_owned(), TOKEN.to_owned());
        variables.insert("QOVERY_ENVIRONMENT_ID".to_owned(), self.id.clone());
        laptop.environment.run_with(&[&["install", "--sweep"], arguments].concat(), &variables)
    }

    /// What the container of the cron job sees: Qovery's variables, and what the webhook of EKS gives its ServiceAccount.
    fn variables_of_run(&self) -> BTreeMap<String, String> {
        let environment = &self.reaching.laptop.environment;
        let (mut variables, account) = environment.sandbox.qovery(|qovery| {
            let job = qovery.service_named(&self.id, "aws-identity-sweep").unwrap();
            let settings = qovery.settings(&job).unwrap();
            (qovery.variables_of_run(&job), settings["security.service_account_name"].as_str().unwrap().to_owned())
        });
        let role = self.reaching.object("serviceaccounts", OPS, &account).unwrap()["metadata"]["annotations"]["eks.amazonaws.com/role-arn"]
            .as_str()
            .unwrap()
            .to_owned();
        let token = environment.sandbox.files().join("sweep-token");
        std::fs::write(&token, environment.sandbox.cluster().token(OPS, &account, "sts.amazonaws.com")).unwrap();
        variables.insert("AWS_ROLE_ARN".to_owned(), role);
        variables.insert("AWS_WEB_IDENTITY_TOKEN_FILE".to_owned(), token.display().to_string());
        for name in ["AWS_ENDPOINT_URL", "AWS_EC2_METADATA_DISABLED", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "SSL_CERT_FILE"] {
            variables.insert(name.to_owned(), environment.variables[name].clone());
        }
        variables
    }
}

#[test]
fn the_cron_job_is_installed_by_one_command_and_again_changes_nothing() {
    let operations = Operations::new();
    assert_eq!(operations.install(&["--dry-run"]).ended(10).writes, 0);
    let first = operations.install(&[]).ended(0);
    assert_eq!(
        first.done(),
        [
            "create cron job `aws-identity-sweep`",
            "create variable `IRSA_KUBE_AUTH` of the job",
            "set advanced settings of the job: `security.service_account_name` to `\"qovery-irsa-sweep\"`",
        ]
    );
    assert!(first.out.contains("Deploy it once: Qovery then runs it every day"), "{}", first.out);
    let sandbox = &operations.reaching.laptop.environment.sandbox;
    let id = sandbox.qovery(|qovery| qovery.service_named(&operations.id, "aws-identity-sweep")).unwrap();
    let job = sandbox.qovery(|qovery| qovery.job(&id)).unwrap();
    assert_eq!(job["schedule"], json!({"cronjob": {"arguments": ["sweep"], "scheduled_at": "0 4 * * *", "timezone": "Etc/UTC"}}));
    assert_eq!(operations.install(&[]).ended(0).writes, 0);

    sandbox.qovery(|qovery| {
        qovery.set_job(&id, "schedule", json!({"cronjob": {"arguments": ["sweep"], "scheduled_at": "0 5 * * *", "timezone": "Etc/UTC"}}));
    });
    assert_eq!(operations.install(&[]).ended(0).done(), ["edit cron job `aws-identity-sweep`: `schedule`"]);
}

#[test]
fn elsewhere_or_beside_keys_it_is_refused() {
    let mut operations = Operations::new();
    let sandbox = &operations.reaching.laptop.environment.sandbox;
    operations.id = sandbox.qovery(|qovery| qovery.add_environment("other", "z2-other"));
    sandbox.qovery(|qovery| {
        qovery.set_variable(&operations.id, "ENVIRONMENT", "AWS_ACCESS_KEY_ID", "AKIA", false);
        qovery.add_service(&operations.id, Kind::Application, "aws-identity-sweep");
    });
    let refused = operations.install(&[]).ended(3);
    for said in [
        "the environment's namespace is `z2-other`, and cluster access is given to namespace `ops`",
        "`AWS_ACCESS_KEY_ID`",
        "has the name of the cron job, and is none",
    ] {
        assert!(refused.err.contains(said), "{said} in {}", refused.err);
    }
    assert_eq!(refused.writes, 0);
    operations.reaching.laptop.environment.write_manifest(&format!("{ZONE}{JOB}"));
    let failed = operations.install(&[]).ended(2);
    assert!(failed.err.contains("`cluster.access.namespace` is missing"), "{}", failed.err);
}

#[test]
fn its_run_removes_what_a_vanished_environment_has_left_with_its_own_role_alone() {
    let operations = Operations::new();
    operations.install(&[]).ended(0);
    let environment = &operations.reaching.laptop.environment;
    environment.sandbox.kubernetes(|kubernetes| kubernetes.add_namespace("z9-gone"));
    environment.write_manifest(MANIFEST);
    let mut job = environment.variables.clone();
    let admin = Aws::admin();
    for (name, value) in [
        ("QOVERY_KUBERNETES_NAMESPACE_NAME", "z9-gone".to_owned()),
        ("AWS_ACCESS_KEY_ID", admin.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", admin.secret_access_key),
        ("KUBECONFIG", environment.sandbox.cluster().kubeconfig().display().to_string()),
    ] {
        job.insert(name.to_owned(), value);
    }
    environment.run_with(&["start"], &job).ended(0);
    let below = || environment.sandbox.aws(|aws| aws.roles().values().filter(|role| role.path.starts_with("/qovery/")).count());
    assert_eq!(below(), 1);
    let cron = operations.variables_of_run();
    assert_eq!(cron["AWS_ROLE_ARN"], ROLE_ARN);
    let kept = environment.run_with(&["sweep"], &cron).ended(0);
    assert_eq!((kept.writes, below()), (0, 1), "{}", kept.out);
    environment.sandbox.kubernetes(|kubernetes| kubernetes.delete_namespace("z9-gone"));
    let mark = environment.sandbox.witness().mark();
    let swept = environment.run_with(&["sweep"], &cron).ended(0);
    assert_eq!(below(), 0, "{}", swept.out);
    let calls = environment.sandbox.witness().since(mark);
    assert!(calls.iter().all(|call| call.status != Some(403)), "its role lacks nothing");
    assert!(calls.iter().all(|call| call.service != "qovery"), "and nothing is asked of Qovery");
}
