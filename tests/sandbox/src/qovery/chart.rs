//! What Helm makes of a chart whose templates only substitute: `{{ .Values.name | quote }}`, `{{ .Values.name }}`,
//! `{{ .Release.Namespace }}` and `{{ .Release.Name }}`, these two quoted or not.
//!
//! Anything else in a template is an error, never a guess. `.ci/chart` compares the result with Helm's own.
//! <https://helm.sh/docs/chart_template_guide/getting_started>

use std::{fs, path::Path};

use serde::Deserialize as _;
use serde_json::{Map, Value};

/// Under which name and where a chart is installed.
#[derive(Clone, Debug)]
pub struct Release {
    /// `.Release.Name`.
    pub name: String,
    /// `.Release.Namespace`.
    pub namespace: String,
}

/// The objects of a chart with these values over its own, by template in the order of their names, as `helm template` prints them for the
/// release `release-name` in the namespace `default`.
///
/// # Errors
/// What Helm would refuse, and what is not known here.
pub fn render(chart: &Path, values: &Value) -> Result<Vec<Value>, String> {
    render_for(chart, values, &Release { name: "release-name".to_owned(), namespace: "default".to_owned() })
}

/// The same for a release.
///
/// # Errors
/// What Helm would refuse, and what is not known here.
pub fn render_for(chart: &Path, values: &Value, release: &Release) -> Result<Vec<Value>, String> {
    for known in ["name", "version", "apiVersion"] {
        if !one_document(&read(&chart.join("Chart.yaml"))?)?[known].is_string() {
            return Err(format!("Chart.yaml: `{known}` is missing"));
        }
    }
    let defaults = match fs::read_to_string(chart.join("values.yaml")) {
        Ok(text) => one_document(&text)?,
        Err(_) => Value::Object(Map::new()),
    };
    let values = over(defaults, values);
    if let Ok(schema) = fs::read_to_string(chart.join("values.schema.json")) {
        let schema = serde_json::from_str(&schema).map_err(|error| format!("values.schema.json: {error}"))?;
        let validator = jsonschema::validator_for(&schema).map_err(|error| format!("values.schema.json: {error}"))?;
        validator.validate(&values).map_err(|error| format!("values do not meet the schema: {}: {error}", error.instance_path()))?;
    }
    let mut objects = Vec::new();
    for (name, template) in templates(chart)? {
        let text = substitute(&template, &values, release).map_err(|reason| format!("templates/{name}: {reason}"))?;
        objects.extend(documents(&text).map_err(|reason| format!("templates/{name}: {reason}"))?);
    }
    Ok(objects)
}

/// The YAML files of `templates`, by name. Files whose names begin with `_` and `NOTES.txt` make no objects.
fn templates(chart: &Path) -> Result<Vec<(String, String)>, String> {
    let folder = chart.join("templates");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))? {
        let entry = entry.map_err(|error| error.to_string())?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            return Err(format!("templates/{name}: a folder in `templates` is not known here"));
        }
        if !name.starts_with('_') && name != "NOTES.txt" {
            names.push(name);
        }
    }
    names.sort();
    names.into_iter().map(|name| read(&folder.join(&name)).map(|text| (name, text))).collect()
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn substitute(template: &str, values: &Value, release: &Release) -> Result<String, String> {
    let mut parts = template.split("{{");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (action, rest) = part.split_once("}}").ok_or("`{{` without `}}`")?;
        text.push_str(&evaluate(action, values, release)?);
        text.push_str(rest);
    }
    Ok(text)
}

fn evaluate(action: &str, values: &Value, release: &Release) -> Result<String, String> {
    let unknown = || format!("`{{{{{action}}}}}` is not known here");
    let (subject, quoted) = match action.trim().split_once('|') {
        Some((subject, function)) if function.trim() == "quote" => (subject.trim(), true),
        Some(_) => return Err(unknown()),
        None => (action.trim(), false),
    };
    let text = match subject.strip_prefix(".Values.") {
        Some(name) if name.bytes().all(|byte| byte.is_ascii_alphanumeric()) => match &values[name] {
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) => values[name].to_string(),
            Value::Null => return Err(format!("value `{name}` is not set")),
            _ => return Err(format!("value `{name}` is no text")),
        },
        _ if subject == ".Release.Namespace" => release.namespace.clone(),
        _ if subject == ".Release.Name" => release.name.clone(),
        _ => return Err(unknown()),
    };
    // Go's `%q` and JSON write the same for what ends up in names and ARNs.
    Ok(if quoted { Value::from(text).to_string() } else { text })
}

/// The values that are given over those of the chart, members of objects one by one.
fn over(mut below: Value, above: &Value) -> Value {
    match (below.as_object_mut(), above) {
        (Some(members), Value::Object(given)) => {
            for (key, value) in given {
                let merged = over(members.remove(key).unwrap_or_default(), value);
                members.insert(key.clone(), merged);
            }
            below
        }
        (_, above) => above.clone(),
    }
}

/// The documents of a YAML text. Qovery's engine takes no document that is no object, not even an empty one.
pub(crate) fn documents(text: &str) -> Result<Vec<Value>, String> {
    let parsed = serde_yaml::Deserializer::from_str(text).map(|document| Value::deserialize(document).map_err(|error| error.to_string()));
    let documents: Vec<Value> = parsed.collect::<Result<_, _>>()?;
    match documents.iter().find(|document| !document.is_object()) {
        Some(other) => Err(format!("a document is no object: {other}")),
        None => Ok(documents),
    }
}

fn one_document(text: &str) -> Result<Value, String> {
    // A file of comments alone has no values.
    Ok(serde_yaml::from_str::<Option<Value>>(text).map_err(|error| error.to_string())?.unwrap_or_else(|| Value::Object(Map::new())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn chart(template: &str) -> tempfile::TempDir {
        let chart = tempfile::tempdir().unwrap();
        fs::create_dir(chart.path().join("templates")).unwrap();
        for (name, text) in [
            ("Chart.yaml", "apiVersion: v2\nname: test\nversion: 1.0.0\n"),
            ("values.yaml", "account: qovery-irsa\nrole:\n"),
            ("values.schema.json", r#"{"properties": {"role": {"type": ["string", "null"], "pattern": "^arn:"}}}"#),
            ("templates/one.yaml", template),
        ] {
            fs::write(chart.path().join(name), text).unwrap();
        }
        chart
    }

    #[test]
    fn values_stand_where_templates_ask_for_them() {
        let chart = chart("kind: A\nname: {{ .Values.account | quote }}\nrole: {{ .Values.role }}\nin: {{ .Release.Namespace }}\n");
        let release = Release { name: "r".into(), namespace: "z1".into() };
        let rendered = render_for(chart.path(), &json!({ "role": "arn:x" }), &release).unwrap();
        assert_eq!(rendered, [json!({ "kind": "A", "name": "qovery-irsa", "role": "arn:x", "in": "z1" })]);
        let rendered = render(chart.path(), &json!({ "role": "arn:x", "account": "7" })).unwrap();
        assert_eq!((&rendered[0]["name"], &rendered[0]["in"]), (&json!("7"), &json!("default")));
    }

    #[test]
    fn what_helm_refuses_or_nobody_here_knows_is_an_error() {
        let given = json!({ "role": "arn:x" });
        for (template, values, reason) in [
            ("name: {{ .Values.role }}", json!({}), "templates/one.yaml: value `role` is not set"),
            ("name: {{ .Values.role }}", json!({ "role": "x" }), "values do not meet the schema: /role"),
            ("{{- if .Values.role }}\na: b\n{{- end }}", given.clone(), "templates/one.yaml: `{{- if .Values.role }}` is not known here"),
            ("name: {{ .Values.role | upper }}", given.clone(), "is not known here"),
            ("name: {{ .Values.role", given.clone(), "`{{` without `}}`"),
            ("kind: A\n---\n# nothing\n", given.clone(), "a document is no object: null"),
            ("kind: [", given, "templates/one.yaml: "),
        ] {
            let error = render(chart(template).path(), &values).unwrap_err();
            assert!(error.contains(reason), "{template}: {error}");
        }
    }
}
