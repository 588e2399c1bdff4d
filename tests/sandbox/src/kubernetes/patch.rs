//! The three kinds of patch: merge (RFC 7396), JSON (RFC 6902) and strategic merge, in which lists of objects are merged by key.

use serde_json::{Map, Value};

/// The document with a JSON merge patch applied.
pub(super) fn merge(target: &Value, patch: &Value) -> Value {
    let Some(changes) = patch.as_object() else {
        return patch.clone();
    };
    let mut merged = target.as_object().cloned().unwrap_or_default();
    for (name, change) in changes {
        if change.is_null() {
            merged.remove(name);
        } else {
            let value = merge(merged.get(name).unwrap_or(&Value::Null), change);
            merged.insert(name.clone(), value);
        }
    }
    merged.into()
}

/// The document with a JSON patch applied, or why it cannot be.
pub(super) fn json(target: &Value, steps: &Value) -> Result<Value, String> {
    let mut document = target.clone();
    for step in steps.as_array().ok_or("a JSON patch is a list of operations")? {
        let text = |member: &str| step[member].as_str().unwrap_or_default();
        let (name, path) = (text("op"), text("path"));
        let missing = || format!("{name} operation does not apply: doc is missing path: {path:?}");
        match name {
            "test" => {
                if document.pointer(path).unwrap_or(&Value::Null) != &step["value"] {
                    return Err(format!("testing value {path:?} failed"));
                }
            }
            "add" => put(&mut document, path, step["value"].clone()).ok_or_else(missing)?,
            "replace" => {
                *document.pointer_mut(path).ok_or_else(missing)? = step["value"].clone();
            }
            "remove" => {
                take(&mut document, path).ok_or_else(missing)?;
            }
            "move" => {
                let value = take(&mut document, text("from")).ok_or_else(missing)?;
                put(&mut document, path, value).ok_or_else(missing)?;
            }
            "copy" => {
                let value = document.pointer(text("from")).cloned().ok_or_else(missing)?;
                put(&mut document, path, value).ok_or_else(missing)?;
            }
            other => return Err(format!("unexpected kind: {other}")),
        }
    }
    Ok(document)
}

fn holder<'d>(document: &'d mut Value, path: &str) -> Option<(&'d mut Value, String)> {
    let (holder, member) = path.rsplit_once('/')?;
    Some((document.pointer_mut(holder)?, member.replace("~1", "/").replace("~0", "~")))
}

fn put(document: &mut Value, path: &str, value: Value) -> Option<()> {
    if path.is_empty() {
        *document = value;
        return Some(());
    }
    match holder(document, path)? {
        (Value::Object(members), name) => {
            members.insert(name, value);
        }
        (Value::Array(items), end) if end == "-" => items.push(value),
        (Value::Array(items), index) => {
            let index = index.parse().ok().filter(|index| *index <= items.len())?;
            items.insert(index, value);
        }
        _ => return None,
    }
    Some(())
}

fn take(document: &mut Value, path: &str) -> Option<Value> {
    match holder(document, path)? {
        (Value::Object(members), name) => members.remove(&name),
        (Value::Array(items), index) => {
            let index = index.parse().ok().filter(|index| *index < items.len())?;
            Some(items.remove(index))
        }
        _ => None,
    }
}

/// The key by which the items of a list are told apart, or `None` for a list that is replaced.
fn merge_key(list: &str) -> Option<&'static str> {
    Some(match list {
        "secrets" | "imagePullSecrets" | "containers" | "initContainers" | "env" | "volumes" => "name",
        "ownerReferences" => "uid",
        "ports" => "containerPort",
        "volumeMounts" => "mountPath",
        "conditions" => "type",
        _ => return None,
    })
}

/// The document with a strategic merge patch applied.
pub(super) fn strategic(target: &Value, patch: &Value) -> Value {
    let Some(changes) = patch.as_object() else {
        return patch.clone();
    };
    if changes.get("$patch").is_some_and(|directive| directive == "replace") {
        return without_directives(changes);
    }
    let mut merged = target.as_object().cloned().unwrap_or_default();
    for (name, change) in changes {
        if name.starts_with('$') {
            let list = name.strip_prefix("$deleteFromPrimitiveList/");
            if let (Some(list), Some(gone)) = (list, change.as_array())
                && let Some(items) = merged.get_mut(list).and_then(Value::as_array_mut)
            {
                items.retain(|item| !gone.contains(item));
            }
            continue;
        }
        let below = merged.get(name).cloned().unwrap_or(Value::Null);
        match change {
            Value::Null => {
                merged.remove(name);
            }
            Value::Object(inner) if inner.get("$patch").is_some_and(|what| what == "delete") => {
                merged.remove(name);
            }
            Value::Array(items) => {
                merged.insert(name.clone(), merge_list(name, &below, items));
            }
            other => {
                merged.insert(name.clone(), strategic(&below, other));
            }
        }
    }
    merged.into()
}

fn merge_list(name: &str, target: &Value, changes: &[Value]) -> Value {
    let mut items = target.as_array().cloned().unwrap_or_default();
    if name == "finalizers" {
        let new: Vec<Value> = changes.iter().filter(|change| !items.contains(change)).cloned().collect();
        items.extend(new);
        return items.into();
    }
    let Some(key) = merge_key(name) else {
        return changes.to_vec().into();
    };
    if changes.iter().any(|change| change["$patch"] == "replace") {
        let kept = changes.iter().filter(|change| change["$patch"].is_null());
        return kept.cloned().collect();
    }
    for change in changes {
        let at = items.iter().position(|item| item[key] == change[key]);
        match (at, change["$patch"] == "delete") {
            (Some(at), true) => {
                items.remove(at);
            }
            (Some(at), false) => items[at] = strategic(&items[at], change),
            (None, true) => {}
            (None, false) => items.push(change.clone()),
        }
    }
    items.into()
}

fn without_directives(changes: &Map<String, Value>) -> Value {
    let kept = changes.iter().filter(|(name, _)| !name.starts_with('$'));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_merge_patch_sets_and_removes_members() {
        let target = json!({"a": {"b": "1", "c": "2"}, "l": [1, 2]});
        let patch = json!({"a": {"b": null, "d": {"e": null}}, "l": [3]});
        assert_eq!(merge(&target, &patch), json!({"a": {"c": "2", "d": {}}, "l": [3]}));
    }

    #[test]
    fn a_json_patch_goes_step_by_step() {
        let target = json!({"a": {"b/c": 1}, "l": [1, 3]});
        let patch = json!([
            {"op": "test", "path": "/a/b~1c", "value": 1},
            {"op": "add", "path": "/l/1", "value": 2},
            {"op": "add", "path": "/l/-", "value": 4},
            {"op": "move", "from": "/a/b~1c", "path": "/d"},
            {"op": "replace", "path": "/a", "value": "x"},
            {"op": "remove", "path": "/l/0"},
        ]);
        assert_eq!(json(&target, &patch).unwrap(), json!({"a": "x", "d": 1, "l": [2, 3, 4]}));
        let cases = [
            json!([{"op": "test", "path": "/a", "value": 1}]),
            json!([{"op": "remove", "path": "/z"}]),
            json!([{"op": "add", "path": "/l/9", "value": 1}]),
            json!([{"op": "odd", "path": "/l"}]),
        ];
        for patch in cases {
            assert!(json(&target, &patch).is_err(), "{patch}");
        }
    }

    #[test]
    fn a_strategic_patch_merges_lists_by_key() {
        let target = json!({"imagePullSecrets": [{"name": "a"}, {"name": "b"}], "args": ["x"]});
        let patch = json!({
            "imagePullSecrets": [{"name": "a", "$patch": "delete"}, {"name": "c"}],
            "$setElementOrder/imagePullSecrets": [{"name": "b"}, {"name": "c"}],
            "args": ["y"],
        });
        assert_eq!(strategic(&target, &patch), json!({"imagePullSecrets": [{"name": "b"}, {"name": "c"}], "args": ["y"]}));
    }
}
