//! The Helm service that makes the job's ServiceAccount with its rights: as a request of Qovery's API, and what differs.
//!
//! <https://api-doc.qovery.com/#tag/Helms>

use serde_json::{Value, json};

use super::{
    action::JobAction,
    request::{Field, find, object},
};
use crate::{
    model::{
        job::{ChartSource, JobAccount, JobSpec, ObservedEnvironment},
        service::{ServiceKind, is_same_name},
    },
    plan::refusal::{InstallRefusal, Lookup},
};

/// What the chart takes.
const VALUES: [&str; 2] = ["serviceAccount", "roleArn"];

/// Creates the Helm service, or edits it where it differs.
pub(super) fn account(account: &JobAccount, observed: &ObservedEnvironment) -> Result<Vec<JobAction>, Vec<InstallRefusal>> {
    let name = account.service.as_str();
    let taken = observed.services.iter().find(|service| is_same_name(&service.name, name) && service.kind != ServiceKind::of("HELM"));
    if let Some(service) = taken {
        return Err(vec![InstallRefusal::AccountNameTaken { service: Box::new(service.clone()) }]);
    }
    let fields = source(account, observed).map_err(|refusal| vec![refusal])?;
    let values = values(account);
    let Some(found) = &observed.account else {
        let mut request = json!({
            "name": name, "auto_deploy": false, "allow_cluster_wide_resources": false, "arguments": ["--wait", "--atomic", "--debug"],
            "values_override": { "file": values },
        });
        for field in fields {
            field.set(&mut request);
        }
        return Ok(vec![JobAction::CreateHelm { name: account.service.clone(), request: object(request) }]);
    };
    let mut request = Value::Object(found.request.clone());
    let mut changed: Vec<&'static str> = fields.iter().filter(|field| !field.is_in(&request)).map(|field| field.key).collect();
    let other = if matches!(account.chart, ChartSource::Git { .. }) { "helm_repository" } else { "git_repository" };
    request["source"].as_object_mut().map(|source| source.remove(other));
    for field in fields {
        field.set(&mut request);
    }
    if !says(&request["values_override"]["file"], &values) {
        request["values_override"]["file"] = values;
        changed.push("values");
    }
    if clear_overriding(&mut request["values_override"]) && !changed.contains(&"values") {
        changed.push("values");
    }
    if changed.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![JobAction::EditHelm { helm: found.id.clone(), name: account.service.clone(), request: object(request), changed }])
}

/// What people should know when the Helm service is new.
pub(super) fn note(spec: &JobSpec, observed: &ObservedEnvironment) -> Option<String> {
    let account = spec.account.as_ref().filter(|_| observed.account.is_none())?;
    Some(format!(
        "Helm service `{}` makes a Role and a RoleBinding in the environment's namespace. Should Qovery refuse them, the other way is an EKS access entry for the job's own user or role: docs/troubleshooting.md",
        account.service
    ))
}

fn source(account: &JobAccount, observed: &ObservedEnvironment) -> Result<Vec<Field>, InstallRefusal> {
    let field = |key, path, value| Field { key, path, value };
    match &account.chart {
        ChartSource::Git { url, provider: _, branch, root_path, token } => {
            let mut fields = vec![
                field("chart.git.url", &["source", "git_repository", "url"][..], json!(url)),
                field("chart.git.rootPath", &["source", "git_repository", "root_path"], json!(root_path)),
            ];
            if let Some(branch) = branch {
                fields.push(field("chart.git.branch", &["source", "git_repository", "branch"], json!(branch)));
            }
            if let Some(token) = token {
                let token = find(Lookup::ChartToken, &observed.git_tokens, token)?;
                fields.push(field("chart.git.token", &["source", "git_repository", "git_token_id"], json!(token.as_str())));
            }
            Ok(fields)
        }
        ChartSource::Repository { repository, name, version } => {
            let repository = find(Lookup::HelmRepository, &observed.helm_repositories, repository)?;
            Ok(vec![
                field("chart.repository", &["source", "helm_repository", "repository"], json!(repository.as_str())),
                field("chart.name", &["source", "helm_repository", "chart_name"], json!(name)),
                field("chart.version", &["source", "helm_repository", "chart_version"], json!(version)),
            ])
        }
    }
}

/// The values as a file. JSON is YAML.
fn values(account: &JobAccount) -> Value {
    json!({ "raw": { "values": [{ "name": "values.yaml", "content": content(account).to_string() }] } })
}

fn content(account: &JobAccount) -> Value {
    json!({ VALUES[0]: account.name.as_str(), VALUES[1]: account.role.to_string() })
}

/// Whether files of values say the same: one file with these values, whatever it is called and however it is written in JSON.
fn says(present: &Value, wanted: &Value) -> bool {
    let content = |file: &Value| {
        let [only] = file.pointer("/raw/values")?.as_array()?.as_slice() else { return None };
        serde_json::from_str::<Value>(only["content"].as_str()?).ok()
    };
    let said = content(present);
    said.is_some() && said == content(wanted) && present.get("git").is_none_or(Value::is_null)
}

/// Takes out what Helm would take instead of the file, if there was any.
fn clear_overriding(values: &mut Value) -> bool {
    let mut cleared = false;
    for set in ["set", "set_string", "set_json"] {
        if let Some(Value::Array(pairs)) = values.get_mut(set) {
            let before = pairs.len();
            pairs.retain(|pair| !pair.get(0).and_then(Value::as_str).is_some_and(|key| VALUES.contains(&key)));
            cleared |= pairs.len() < before;
        }
    }
    cleared
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_compared_by_what_they_say() {
        let file = |content: &str| json!({ "raw": { "values": [{ "name": "x", "content": content }] } });
        let wanted = file(r#"{"roleArn":"r","serviceAccount":"s"}"#);
        for (content, same) in [
            ("{ \"serviceAccount\": \"s\",\n  \"roleArn\": \"r\" }", true),
            (r#"{"roleArn":"r"}"#, false),
            (r#"{"roleArn":"r","serviceAccount":"s","more":1}"#, false),
            ("not JSON", false),
        ] {
            assert_eq!(says(&file(content), &wanted), same, "{content}");
        }
        assert!(!says(&json!(null), &wanted) && !says(&json!({ "raw": null, "git": {} }), &wanted));
        let mut both = file(r#"{"roleArn":"r","serviceAccount":"s"}"#);
        both["git"] = json!({ "paths": [] });
        assert!(!says(&both, &wanted), "files of Git would be taken too");
    }

    #[test]
    fn a_value_that_wins_over_the_file_goes_and_others_stay() {
        let mut values = json!({ "set": [["roleArn", "other"], ["global.x", "1"]], "set_json": null });
        assert!(clear_overriding(&mut values));
        assert_eq!(values, json!({ "set": [["global.x", "1"]], "set_json": null }));
        assert!(!clear_overriding(&mut values));
    }
}
