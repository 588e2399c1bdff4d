//! The files of the repository as tests read them: documents, published permissions, sources.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde_json::Value;

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a file, by its path from the root.
pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The documents of a YAML file of Kubernetes objects.
pub(crate) fn objects(path: &str) -> Vec<Value> {
    let text = read(path);
    serde_yaml::Deserializer::from_str(&text).map(|document| serde::Deserialize::deserialize(document).unwrap()).collect()
}

/// The Rust files below a folder: their paths from the root, and their texts.
pub(crate) fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root().join(folder)).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let path = format!("{folder}/{name}");
        if root().join(&path).is_dir() {
            found.extend(sources(&path));
        } else if Path::new(&name).extension().is_some_and(|extension| extension == "rs") {
            let text = read(&path);
            found.push((path, text));
        }
    }
    found
}

/// The actions that a policy allows.
pub(crate) fn actions(policy: &Value) -> BTreeSet<String> {
    policy["Statement"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|statement| statement["Effect"] == "Allow")
        .flat_map(|statement| match &statement["Action"] {
            Value::Array(actions) => actions.iter().map(|action| action.as_str().unwrap().to_owned()).collect(),
            action => vec![action.as_str().unwrap().to_owned()],
        })
        .collect()
}

/// The addition for roles outside the path, from the text.
pub(crate) fn given_roles_statement() -> Value {
    let text = read("docs/permissions.md");
    let block = text.split("```json\n").skip(1).find(|block| block.contains("iam:UpdateAssumeRolePolicy")).unwrap();
    serde_json::from_str(block.split("```").next().unwrap()).unwrap()
}
