//! The job as resources of Terraform, for those who use the Terraform provider of Qovery instead of `install`.
//!
//! What only the user's account knows, as ids and secrets, becomes an input variable. The text has the form of `terraform fmt`.
//! <https://registry.terraform.io/providers/Qovery/qovery/latest/docs/resources/job>

use std::collections::BTreeSet;

use crate::{
    hcl::{Body, block, identifier, quoted},
    model::{
        job::{ChartSource, JobAccount, JobFile, JobSource, JobSpec, RegistryRef},
        qovery::{QoveryId, QoveryName},
    },
};

/// The oldest version of the provider that is known to have every attribute printed here: its change log names all that was added since, and
/// none of these is among it, while the reference of `qovery_job` has them all. Versions before are not in that log.
/// <https://github.com/Qovery/terraform-provider-qovery/blob/main/CHANGELOG.md>
const PROVIDER: &str = ">= 0.87.0";
/// What no input variable may be called. <https://developer.hashicorp.com/terraform/language/block/variable>
const RESERVED: [&str; 8] = ["source", "version", "providers", "count", "for_each", "lifecycle", "depends_on", "locals"];

/// The job, the Helm service and the stages that belong to it, their input variables and the provider they need, in the language of Terraform.
/// A secret is set on the job and on nothing else.
#[must_use]
pub fn render(job: &JobSpec) -> String {
    let mut inputs = Inputs::default();
    let environment = inputs.add("environment_id", "Id of the environment that the job belongs to", false);
    let stages = job.stage.as_ref().map(|stage| stages(stage, job.account.as_ref(), &environment, &mut inputs));
    let mut body = Body::default();
    body.raw("environment_id", &environment);
    body.text("name", job.name.as_str());
    if let Some(description) = &job.description {
        // The provider has no such attribute.
        body.comment(description);
    }
    source(&mut body, &job.source, &mut inputs);
    body.object("schedule", |body| {
        body.text("lifecycle_type", "GENERIC");
        for (event, arguments) in
            [("on_start", &job.arguments.start), ("on_stop", &job.arguments.stop), ("on_delete", &job.arguments.delete)]
        {
            let arguments: Vec<String> = arguments.iter().map(|argument| quoted(argument)).collect();
            body.raw(event, &format!("{{ arguments = [{}] }}", arguments.join(", ")));
        }
    });
    body.raw("healthchecks", "{}");
    for (name, value) in
        [("cpu", job.cpu), ("memory", job.memory), ("max_duration_seconds", job.max_duration), ("max_nb_restart", job.restarts)]
    {
        body.raw(name, &value.to_string());
    }
    if let Some(auto_deploy) = job.auto_deploy {
        body.raw("auto_deploy", &auto_deploy.to_string());
    }
    if let Some(stages) = &stages {
        body.raw("deployment_stage_id", &stages.of_job);
    }
    body.pairs("environment_variables", job.variables.iter().map(|(name, value)| (name.as_str(), quoted(value))));
    files(&mut body, &job.files);
    let secrets: Vec<(&str, String)> = job
        .secrets
        .iter()
        .map(|name| (name.as_str(), inputs.add(&name.as_str().to_lowercase(), &format!("Value of secret {name}"), true)))
        .collect();
    body.pairs("secrets", secrets.into_iter());
    if !job.advanced_settings.is_empty() {
        let settings = serde_json::to_string(&job.advanced_settings).unwrap_or_default();
        body.raw("advanced_settings_json", &quoted(&settings));
    }
    let helm = job.account.as_ref().zip(stages.as_ref()).map(|(account, stages)| helm(account, stages, &environment, &mut inputs));
    let resource = block(&format!("resource \"qovery_job\" {}", quoted(&identifier(job.name.as_str()))), &body);
    let stages = stages.map(|stages| stages.blocks).unwrap_or_default();
    [required_providers()].into_iter().chain(inputs.blocks).chain(stages).chain(helm).chain([resource]).collect::<Vec<_>>().join("\n")
}

/// The deployment stages, before those of the services.
struct Stages {
    blocks: Vec<String>,
    /// What reads the id of the job's.
    of_job: String,
    /// What reads the id of the Helm service's.
    of_account: Option<String>,
}

/// <https://registry.terraform.io/providers/Qovery/qovery/latest/docs/resources/deployment_stage>
fn stages(stage: &QoveryName, account: Option<&JobAccount>, environment: &str, inputs: &mut Inputs) -> Stages {
    let first = inputs.add("first_stage_id", "Id of the first deployment stage that has services", false);
    let read = |name: &QoveryName| format!("qovery_deployment_stage.{}.id", identifier(name.as_str()));
    let one = |name: &QoveryName, before: &str| {
        let mut body = Body::default();
        body.raw("environment_id", environment);
        body.text("name", name.as_str());
        body.raw("is_before", before);
        block(&format!("resource \"qovery_deployment_stage\" {}", quoted(&identifier(name.as_str()))), &body)
    };
    let of_job = read(stage);
    let of_account = account.map(|account| one(&account.stage, &of_job));
    Stages {
        blocks: of_account.into_iter().chain([one(stage, &first)]).collect(),
        of_account: account.map(|account| read(&account.stage)),
        of_job,
    }
}

/// <https://registry.terraform.io/providers/Qovery/qovery/latest/docs/resources/helm>
fn helm(account: &JobAccount, stages: &Stages, environment: &str, inputs: &mut Inputs) -> String {
    let mut body = Body::default();
    body.raw("environment_id", environment);
    body.text("name", account.service.as_str());
    // The provider wants one.
    body.text("description", "The ServiceAccount that qovery-irsa runs as, and its rights in the namespace");
    body.raw("allow_cluster_wide_resources", "false");
    match &account.chart {
        ChartSource::Git { url, branch, root_path, token, provider: _ } => {
            let token = token.as_ref().map(|token| inputs.id_of(token, "chart_git_token_id", "Git token"));
            body.object("source", |body| {
                body.object("git_repository", |body| {
                    body.text("url", url);
                    if let Some(branch) = branch {
                        body.text("branch", branch);
                    }
                    body.text("root_path", root_path);
                    if let Some(token) = &token {
                        body.raw("git_token_id", token);
                    }
                });
            });
        }
        ChartSource::Repository { repository, name, version } => {
            let repository = inputs.id_of(repository, "helm_repository_id", "Helm repository");
            body.object("source", |body| {
                body.object("helm_repository", |body| {
                    body.raw("helm_repository_id", &repository);
                    body.text("chart_name", name);
                    body.text("chart_version", version);
                });
            });
        }
    }
    let values = serde_json::json!({ "serviceAccount": account.name.as_str(), "roleArn": account.role.to_string() });
    body.object("values_override", |body| {
        body.object("file", |body| {
            body.object("raw", |body| {
                body.object("\"values.yaml\"", |body| body.text("content", &values.to_string()));
            });
        });
    });
    if let Some(stage) = &stages.of_account {
        body.raw("deployment_stage_id", stage);
    }
    block(&format!("resource \"qovery_helm\" {}", quoted(&identifier(account.service.as_str()))), &body)
}

/// The files of the job, with their contents.
fn files(body: &mut Body, files: &[JobFile]) {
    if files.is_empty() {
        return;
    }
    let mut taken = BTreeSet::new();
    body.list("environment_variable_files", |body| {
        for file in files {
            let mut keys = (1_u32..).map(|number| if number == 1 { file.key() } else { format!("{}_{number}", file.key()) });
            let key = keys.find(|key| taken.insert(key.clone())).unwrap_or_default();
            let (key, path, content) = (quoted(&key), quoted(&file.mount_path()), quoted(&file.content));
            body.line(&format!("{{ key = {key}, mount_path = {path}, value = {content} }},"));
        }
    });
}

/// Where nothing names the provider's source, Terraform looks below `hashicorp/`.
fn required_providers() -> String {
    let mut body = Body::default();
    body.nested("required_providers", |body| {
        body.object("qovery", |body| {
            body.text("source", "qovery/qovery");
            body.text("version", PROVIDER);
        });
    });
    block("terraform", &body)
}

fn source(body: &mut Body, source: &JobSource, inputs: &mut Inputs) {
    match source {
        JobSource::Image { registry, name, tag } => {
            let registry = match registry {
                RegistryRef::Named(name) => inputs.id_of(name, "registry_id", "container registry"),
                RegistryRef::Host(host) => inputs.add("registry_id", &format!("Id of the container registry on {host}"), false),
            };
            body.object("source", |body| {
                body.object("image", |body| {
                    body.raw("registry_id", &registry);
                    body.text("name", name);
                    body.text("tag", tag);
                });
            });
        }
        JobSource::Git { url, branch, root_path, dockerfile, token, provider: _ } => {
            let token = token.as_ref().map(|token| inputs.id_of(token, "git_token_id", "Git token"));
            body.object("source", |body| {
                body.object("docker", |body| {
                    body.object("git_repository", |body| {
                        body.text("url", url);
                        // The provider wants one.
                        body.text("branch", branch.as_deref().unwrap_or("main"));
                        body.text("root_path", root_path);
                        if let Some(token) = &token {
                            body.raw("git_token_id", token);
                        }
                    });
                    body.text("dockerfile_path", dockerfile);
                });
            });
        }
    }
}

/// The input variables of the module.
#[derive(Default)]
struct Inputs {
    names: BTreeSet<String>,
    blocks: Vec<String>,
}

impl Inputs {
    /// What reads an id. A name cannot be looked up there: only an id can be written.
    fn id_of(&mut self, named: &QoveryName, input: &str, what: &str) -> String {
        if named.as_str().parse::<QoveryId>().is_ok() {
            return quoted(named.as_str());
        }
        self.add(input, &format!("Id of {what} {named}"), false)
    }

    /// Adds one, and answers the expression that reads it. It gets another name where this one is taken or reserved.
    fn add(&mut self, name: &str, description: &str, sensitive: bool) -> String {
        let mut free = name.to_owned();
        while RESERVED.contains(&free.as_str()) || self.names.contains(&free) {
            free = format!("secret_{free}");
        }
        let mut body = Body::default();
        body.raw("type", "string");
        body.text("description", description);
        if sensitive {
            body.raw("sensitive", "true");
        }
        self.blocks.push(block(&format!("variable {}", quoted(&free)), &body));
        let read = format!("var.{free}");
        self.names.insert(free);
        read
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::{Value, json};

    use super::*;
    use crate::model::job::{GitProvider, JobArguments};

    fn job(source: JobSource) -> JobSpec {
        let arguments = |word: &str| vec![word.to_owned()];
        JobSpec {
            name: "AWS identity".parse().unwrap(),
            description: Some("what\nit does".to_owned()),
            source,
            runs: crate::model::job::Runs::OnEvents,
            account: None,
            arguments: JobArguments {
                start: vec!["start".to_owned(), "${X} \"%{y}\\".to_owned()],
                stop: arguments("stop"),
                delete: arguments("delete"),
            },
            cpu: 100,
            memory: 64,
            max_duration: 900,
            restarts: 1,
            auto_deploy: Some(false),
            stage: "identities".parse().ok(),
            files: Vec::new(),
            variables: BTreeMap::from([("IRSA_PROOF".parse().unwrap(), "required".to_owned())]),
            secrets: BTreeSet::from(["AWS_SECRET_ACCESS_KEY".parse().unwrap()]),
            advanced_settings: BTreeMap::from([("security.read_only_root_filesystem".to_owned(), json!(true))]),
        }
    }

    fn image() -> JobSource {
        JobSource::Image {
            registry: RegistryRef::Named("ghcr".parse().unwrap()),
            name: "acme/qovery-irsa".to_owned(),
            tag: "1.0".to_owned(),
        }
    }

    /// What a parser of the language makes of it.
    fn parsed(text: &str) -> Value {
        hcl::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    #[test]
    fn a_job_reads_as_people_write_it() {
        let mut job = job(image());
        job.arguments.start = vec!["start".to_owned()];
        job.description = None;
        insta::assert_snapshot!(render(&job), @r#"
        terraform {
          required_providers {
            qovery = {
              source  = "qovery/qovery"
              version = ">= 0.87.0"
            }
          }
        }

        variable "environment_id" {
          type        = string
          description = "Id of the environment that the job belongs to"
        }

        variable "first_stage_id" {
          type        = string
          description = "Id of the first deployment stage that has services"
        }

        variable "registry_id" {
          type        = string
          description = "Id of container registry ghcr"
        }

        variable "aws_secret_access_key" {
          type        = string
          description = "Value of secret AWS_SECRET_ACCESS_KEY"
          sensitive   = true
        }

        resource "qovery_deployment_stage" "identities" {
          environment_id = var.environment_id
          name           = "identities"
          is_before      = var.first_stage_id
        }

        resource "qovery_job" "aws_identity" {
          environment_id = var.environment_id
          name           = "AWS identity"
          source = {
            image = {
              registry_id = var.registry_id
              name        = "acme/qovery-irsa"
              tag         = "1.0"
            }
          }
          schedule = {
            lifecycle_type = "GENERIC"
            on_start       = { arguments = ["start"] }
            on_stop        = { arguments = ["stop"] }
            on_delete      = { arguments = ["delete"] }
          }
          healthchecks         = {}
          cpu                  = 100
          memory               = 64
          max_duration_seconds = 900
          max_nb_restart       = 1
          auto_deploy          = false
          deployment_stage_id  = qovery_deployment_stage.identities.id
          environment_variables = [
            { key = "IRSA_PROOF", value = "required" },
          ]
          secrets = [
            { key = "AWS_SECRET_ACCESS_KEY", value = var.aws_secret_access_key },
          ]
          advanced_settings_json = "{\"security.read_only_root_filesystem\":true}"
        }
        "#);
    }

    #[test]
    fn what_the_job_says_stands_in_the_resource_and_no_secret_does() {
        let text = render(&job(image()));
        let module = parsed(&text);
        let resource = &module["resource"]["qovery_job"]["aws_identity"];
        assert_eq!(resource["name"], "AWS identity");
        assert_eq!(resource["environment_id"], "${var.environment_id}");
        assert_eq!(resource["source"]["image"], json!({"registry_id": "${var.registry_id}", "name": "acme/qovery-irsa", "tag": "1.0"}));
        assert_eq!(resource["schedule"]["on_start"]["arguments"], json!(["start", "${X} \"%{y}\\"]));
        assert!(text.contains("$${X}") && text.contains("%%{y}"), "no template begins: {text}");
        assert_eq!(resource["schedule"]["on_delete"]["arguments"], json!(["delete"]));
        let settings = resource["advanced_settings_json"].as_str().unwrap();
        assert_eq!(serde_json::from_str::<Value>(settings).unwrap(), json!({"security.read_only_root_filesystem": true}));
        assert_eq!(resource["secrets"], json!([{"key": "AWS_SECRET_ACCESS_KEY", "value": "${var.aws_secret_access_key}"}]));
        assert_eq!(module["variable"]["aws_secret_access_key"]["sensitive"], true);
        assert_eq!(module["variable"].as_object().unwrap().len(), 4);
        let other = &module["resource"]["qovery_deployment_stage"];
        assert_eq!(module["resource"].as_object().unwrap().len(), 2, "a secret is set on nothing but the job: {other}");
        assert_eq!(module["resource"]["qovery_job"].as_object().unwrap().len(), 1);
        assert_eq!(text.matches("var.aws_secret_access_key").count(), 1);
        assert!(text.contains("  # what\n  # it does\n"));
    }

    fn keyless(chart: ChartSource) -> JobSpec {
        let mut job = job(image());
        job.files = [("qovery.yml", "a: \"${X}\"\n"), ("a.b", "1"), ("a-b", "2")]
            .map(|(path, content)| JobFile { path: path.to_owned(), content: content.to_owned() })
            .into();
        job.account = Some(JobAccount {
            name: "qovery-irsa".parse().unwrap(),
            role: "arn:aws:iam::123456789012:role/r".parse().unwrap(),
            chart,
            service: "AWS identity-account".parse().unwrap(),
            stage: "identities-account".parse().unwrap(),
        });
        job
    }

    #[test]
    fn a_keyless_job_has_its_helm_service_in_a_stage_before_and_its_files() {
        let git = ChartSource::Git {
            url: "https://github.com/acme/qovery-irsa".to_owned(),
            provider: GitProvider::GitHub,
            branch: Some("v1".to_owned()),
            root_path: "/charts/qovery-irsa".to_owned(),
            token: "bot".parse().ok(),
        };
        let module = parsed(&render(&keyless(git)));
        let resources = &module["resource"];
        let helm = &resources["qovery_helm"]["aws_identity_account"];
        keys(
            helm,
            &["environment_id", "name", "description", "allow_cluster_wide_resources", "source", "values_override", "deployment_stage_id"],
        );
        assert_eq!(
            helm["source"]["git_repository"],
            json!({"url": "https://github.com/acme/qovery-irsa", "branch": "v1", "root_path": "/charts/qovery-irsa", "git_token_id": "${var.chart_git_token_id}"})
        );
        let values = helm["values_override"]["file"]["raw"]["values.yaml"]["content"].as_str().unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(values).unwrap(),
            json!({"serviceAccount": "qovery-irsa", "roleArn": "arn:aws:iam::123456789012:role/r"})
        );
        assert_eq!(helm["deployment_stage_id"], "${qovery_deployment_stage.identities_account.id}");
        let stages = &resources["qovery_deployment_stage"];
        assert_eq!(stages["identities_account"]["is_before"], "${qovery_deployment_stage.identities.id}");
        assert_eq!(stages["identities"]["is_before"], "${var.first_stage_id}");
        assert_eq!(
            resources["qovery_job"]["aws_identity"]["environment_variable_files"],
            json!([
                {"key": "JOB_FILE_QOVERY_YML", "mount_path": "/qovery-irsa/qovery.yml", "value": "a: \"${X}\"\n"},
                {"key": "JOB_FILE_A_B", "mount_path": "/qovery-irsa/a.b", "value": "1"},
                {"key": "JOB_FILE_A_B_2", "mount_path": "/qovery-irsa/a-b", "value": "2"},
            ])
        );
        let repository = ChartSource::Repository {
            repository: "1a2b3c4d-0000-4000-8000-000000000000".parse().unwrap(),
            name: "qovery-irsa".to_owned(),
            version: "1.0".to_owned(),
        };
        let module = parsed(&render(&keyless(repository)));
        assert_eq!(
            module["resource"]["qovery_helm"]["aws_identity_account"]["source"],
            json!({"helm_repository": {"helm_repository_id": "1a2b3c4d-0000-4000-8000-000000000000", "chart_name": "qovery-irsa", "chart_version": "1.0"}})
        );
    }

    #[test]
    fn the_provider_and_its_oldest_version_are_named() {
        let module = parsed(&render(&job(image())));
        assert_eq!(module["terraform"]["required_providers"]["qovery"], json!({"source": "qovery/qovery", "version": ">= 0.87.0"}));
    }

    #[test]
    fn a_secret_whose_name_is_taken_or_reserved_gets_an_input_of_another_name() {
        let mut job = job(image());
        job.secrets = ["ENVIRONMENT_ID", "VERSION", "Twice", "TWICE", "_X"].iter().map(|name| name.parse().unwrap()).collect();
        let module = parsed(&render(&job));
        let secrets = module["resource"]["qovery_job"]["aws_identity"]["secrets"].as_array().unwrap();
        let read: BTreeSet<&str> = secrets.iter().map(|secret| secret["value"].as_str().unwrap()).collect();
        assert_eq!(
            read,
            BTreeSet::from(["${var.secret_environment_id}", "${var.secret_version}", "${var.twice}", "${var.secret_twice}", "${var._x}"])
        );
        let inputs = module["variable"].as_object().unwrap();
        assert!(read.iter().all(|read| inputs[read.trim_start_matches("${var.").trim_end_matches('}')]["sensitive"] == true));
        assert_eq!(inputs.len(), 3 + 5, "none stands for two");
    }

    #[test]
    fn every_attribute_is_one_that_the_provider_knows() {
        let git = JobSource::Git {
            url: "https://github.com/acme/identity".to_owned(),
            provider: GitProvider::GitHub,
            branch: None,
            root_path: "/".to_owned(),
            dockerfile: "Dockerfile".to_owned(),
            token: "1a2b3c4d-0000-4000-8000-000000000000".parse().ok(),
        };
        for source in [image(), git] {
            let module = parsed(&render(&job(source)));
            let resource = &module["resource"]["qovery_job"]["aws_identity"];
            keys(
                resource,
                &[
                    "environment_id",
                    "name",
                    "source",
                    "schedule",
                    "healthchecks",
                    "cpu",
                    "memory",
                    "max_duration_seconds",
                    "max_nb_restart",
                    "auto_deploy",
                    "deployment_stage_id",
                    "environment_variables",
                    "secrets",
                    "advanced_settings_json",
                ],
            );
            keys(&resource["schedule"], &["lifecycle_type", "on_start", "on_stop", "on_delete"]);
            if let Some(image) = resource["source"].get("image") {
                keys(image, &["registry_id", "name", "tag"]);
            } else {
                keys(&resource["source"]["docker"], &["git_repository", "dockerfile_path"]);
                keys(&resource["source"]["docker"]["git_repository"], &["url", "branch", "root_path", "git_token_id"]);
                assert_eq!(resource["source"]["docker"]["git_repository"]["git_token_id"], "1a2b3c4d-0000-4000-8000-000000000000");
            }
        }
    }

    /// As the provider's reference names them, version 1.
    fn keys(of: &Value, known: &[&str]) {
        let found: BTreeSet<&str> = of.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(found, known.iter().copied().collect());
    }
}
