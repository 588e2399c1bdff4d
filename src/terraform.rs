//! The job as a `qovery_job` resource, for those who use the Terraform provider of Qovery instead of `install`.
//!
//! What only the user's account knows, as ids and secrets, becomes an input variable.
//! <https://registry.terraform.io/providers/Qovery/qovery/latest/docs/resources/job>

use std::fmt::Write as _;

use crate::model::{
    job::{JobSource, JobSpec, QoveryName},
    service::QoveryId,
};

/// The resource and its input variables, in the language of Terraform.
#[must_use]
pub fn render(job: &JobSpec) -> String {
    let mut inputs = vec![Input::new("environment_id", "Id of the environment that the job belongs to", false)];
    let mut body = Body::default();
    body.raw("environment_id", "var.environment_id");
    body.text("name", job.name.as_str());
    if let Some(description) = &job.description {
        // The provider has no such attribute.
        body.comment(description);
    }
    source(&mut body, &job.source, &mut inputs);
    body.block("schedule", |body| {
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
    if let Some(stage) = &job.stage {
        body.raw("deployment_stage_id", "var.deployment_stage_id");
        inputs.push(Input::new("deployment_stage_id", &format!("Id of deployment stage {stage}, before those of the services"), false));
    }
    body.pairs("environment_variables", job.variables.iter().map(|(name, value)| (name.as_str(), quoted(value))));
    let secret = |name: &str| name.to_lowercase();
    body.pairs("secrets", job.secrets.iter().map(|name| (name.as_str(), format!("var.{}", secret(name.as_str())))));
    inputs.extend(job.secrets.iter().map(|name| Input::new(&secret(name.as_str()), &format!("Value of secret {name}"), true)));
    if !job.advanced_settings.is_empty() {
        let settings = serde_json::to_string(&job.advanced_settings).unwrap_or_default();
        body.raw("advanced_settings_json", &quoted(&settings));
    }
    let inputs: String = inputs.iter().map(Input::render).collect();
    format!("{inputs}resource \"qovery_job\" {} {{\n{}}}\n", quoted(&identifier(job.name.as_str())), body.text)
}

fn source(body: &mut Body, source: &JobSource, inputs: &mut Vec<Input>) {
    // A name cannot be looked up there: only an id can be written.
    let mut id_of = |named: &QoveryName, input: &str, what: &str| {
        if named.as_str().parse::<QoveryId>().is_ok() {
            return quoted(named.as_str());
        }
        inputs.push(Input::new(input, &format!("Id of {what} {named}"), false));
        format!("var.{input}")
    };
    match source {
        JobSource::Image { registry, name, tag } => {
            let registry = id_of(registry, "registry_id", "container registry");
            body.block("source", |body| {
                body.block("image", |body| {
                    body.raw("registry_id", &registry);
                    body.text("name", name);
                    body.text("tag", tag);
                });
            });
        }
        JobSource::Git { url, branch, root_path, dockerfile, token, provider: _ } => {
            let token = token.as_ref().map(|token| id_of(token, "git_token_id", "Git token"));
            body.block("source", |body| {
                body.block("docker", |body| {
                    body.block("git_repository", |body| {
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

/// An input variable of the module.
struct Input {
    name: String,
    description: String,
    sensitive: bool,
}

impl Input {
    fn new(name: &str, description: &str, sensitive: bool) -> Self {
        Self { name: name.to_owned(), description: description.to_owned(), sensitive }
    }

    fn render(&self) -> String {
        let mut body = Body::default();
        body.raw("type", "string");
        body.text("description", &self.description);
        if self.sensitive {
            body.raw("sensitive", "true");
        }
        format!("variable {} {{\n{}}}\n\n", quoted(&self.name), body.text)
    }
}

/// The attributes of a block, one a line.
#[derive(Default)]
struct Body {
    text: String,
    depth: usize,
}

impl Body {
    fn line(&mut self, line: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{}{line}", "  ".repeat(self.depth + 1));
    }

    fn raw(&mut self, name: &str, value: &str) {
        self.line(&format!("{name} = {value}"));
    }

    fn text(&mut self, name: &str, value: &str) {
        self.raw(name, &quoted(value));
    }

    fn comment(&mut self, text: &str) {
        text.lines().for_each(|line| self.line(&format!("# {line}")));
    }

    fn block(&mut self, name: &str, fill: impl FnOnce(&mut Self)) {
        self.line(&format!("{name} = {{"));
        self.depth += 1;
        fill(self);
        self.depth -= 1;
        self.line("}");
    }

    fn pairs<'a>(&mut self, name: &str, pairs: impl Iterator<Item = (&'a str, String)>) {
        let mut pairs = pairs.peekable();
        if pairs.peek().is_none() {
            return;
        }
        self.line(&format!("{name} = ["));
        self.depth += 1;
        for (key, value) in pairs {
            self.line(&format!("{{ key = {}, value = {value} }},", quoted(key)));
        }
        self.depth -= 1;
        self.line("]");
    }
}

/// A quoted template of HCL: `${` and `%{` would begin an expression.
/// <https://developer.hashicorp.com/terraform/language/expressions/strings>
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '$' | '%' if characters.peek() == Some(&'{') => quoted.extend([character, character]),
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// The name of a resource: letters, digits and `_`, not beginning with a digit.
fn identifier(name: &str) -> String {
    let name: String =
        name.chars().map(|character| if character.is_ascii_alphanumeric() { character.to_ascii_lowercase() } else { '_' }).collect();
    if name.starts_with(|first: char| first.is_ascii_digit()) { format!("_{name}") } else { name }
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
            variables: BTreeMap::from([("IRSA_PROOF".parse().unwrap(), "required".to_owned())]),
            secrets: BTreeSet::from(["AWS_SECRET_ACCESS_KEY".parse().unwrap()]),
            advanced_settings: BTreeMap::from([("security.read_only_root_filesystem".to_owned(), json!(true))]),
        }
    }

    fn image() -> JobSource {
        JobSource::Image { registry: "ghcr".parse().unwrap(), name: "acme/qovery-irsa".to_owned(), tag: "1.0".to_owned() }
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
        variable "environment_id" {
          type = string
          description = "Id of the environment that the job belongs to"
        }

        variable "registry_id" {
          type = string
          description = "Id of container registry ghcr"
        }

        variable "deployment_stage_id" {
          type = string
          description = "Id of deployment stage identities, before those of the services"
        }

        variable "aws_secret_access_key" {
          type = string
          description = "Value of secret AWS_SECRET_ACCESS_KEY"
          sensitive = true
        }

        resource "qovery_job" "aws_identity" {
          environment_id = var.environment_id
          name = "AWS identity"
          source = {
            image = {
              registry_id = var.registry_id
              name = "acme/qovery-irsa"
              tag = "1.0"
            }
          }
          schedule = {
            lifecycle_type = "GENERIC"
            on_start = { arguments = ["start"] }
            on_stop = { arguments = ["stop"] }
            on_delete = { arguments = ["delete"] }
          }
          healthchecks = {}
          cpu = 100
          memory = 64
          max_duration_seconds = 900
          max_nb_restart = 1
          auto_deploy = false
          deployment_stage_id = var.deployment_stage_id
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
        assert!(text.contains("  # what\n  # it does\n"));
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
