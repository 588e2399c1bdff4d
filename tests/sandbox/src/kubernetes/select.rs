//! Selectors and pages of a list.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use serde_json::{Value, json};

use super::{resources::Resource, status::Failure};
use crate::service::Request;

/// Which objects of a list are wanted, and how many at a time.
#[derive(Debug)]
pub(super) struct Selection {
    labels: Vec<Requirement>,
    fields: Vec<(String, bool, String)>,
    limit: usize,
    after: Option<(String, String)>,
}

#[derive(Debug, PartialEq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

/// One page: the items, the token of the next, and how many are left.
pub(super) struct Page {
    pub(super) items: Vec<Value>,
    pub(super) next: Option<(String, usize)>,
}

impl Selection {
    /// Reads the query of a list.
    pub(super) fn of(request: &Request, resource: &Resource) -> Result<Self, Failure> {
        let value = |name: &str| request.query_value(name).unwrap_or_default();
        let limit = value("limit");
        let after = match value("continue") {
            token if token.is_empty() => None,
            token => Some(read_token(&token)?),
        };
        Ok(Self {
            labels: label_requirements(&value("labelSelector"))?,
            fields: field_requirements(&value("fieldSelector"), resource)?,
            limit: limit.parse().unwrap_or(0),
            after,
        })
    }

    /// The page of this selection from objects in order.
    pub(super) fn page<'v>(&self, objects: impl Iterator<Item = &'v Value>, version: &str) -> Page {
        let position = |object: &Value| {
            let text = |member: &str| object["metadata"][member].as_str().unwrap_or_default().to_owned();
            (text("namespace"), text("name"))
        };
        let mut matching =
            objects.filter(|object| self.after.as_ref().is_none_or(|after| position(object) > *after) && self.matches(object));
        let count = if self.limit == 0 { usize::MAX } else { self.limit };
        let items: Vec<Value> = matching.by_ref().take(count).cloned().collect();
        let left = matching.count();
        let next = items.last().filter(|_| left > 0).map(|last| {
            let (namespace, name) = position(last);
            let token = json!({"v": "meta.k8s.io/v1", "rv": version, "start": [namespace, name]});
            (BASE64URL.encode(token.to_string()), left)
        });
        Page { items, next }
    }

    fn matches(&self, object: &Value) -> bool {
        let label = |key: &str| object["metadata"]["labels"][key].as_str();
        let labels = self.labels.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => label(key).is_some_and(|value| values.iter().any(|wanted| wanted == value)),
            Requirement::NotIn(key, values) => label(key).is_none_or(|value| values.iter().all(|unwanted| unwanted != value)),
            Requirement::Exists(key) => label(key).is_some(),
            Requirement::Absent(key) => label(key).is_none(),
        });
        labels
            && self.fields.iter().all(|(path, equal, wanted)| {
                let field = path.split('.').fold(object, |value, member| &value[member]);
                (field.as_str().unwrap_or_default() == wanted) == *equal
            })
    }
}

fn read_token(token: &str) -> Result<(String, String), Failure> {
    let decoded = BASE64URL.decode(token).ok();
    let value: Option<Value> = decoded.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let start = value.as_ref().map(|value| &value["start"]);
    match start.and_then(Value::as_array).map(Vec::as_slice) {
        Some([Value::String(namespace), Value::String(name)]) => Ok((namespace.clone(), name.clone())),
        _ => Err(Failure::bad_request("invalid continue token: continue key is not valid")),
    }
}

fn field_requirements(selector: &str, resource: &Resource) -> Result<Vec<(String, bool, String)>, Failure> {
    let terms = selector.split(',').filter(|term| !term.is_empty());
    let read = terms.map(|term| {
        let (path, equal, value) = if let Some((path, value)) = term.split_once("!=") {
            (path, false, value)
        } else if let Some((path, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
            (path, true, value)
        } else {
            return Err(Failure::bad_request(format!("invalid selector: '{selector}'; can't understand '{term}'")));
        };
        let common = ["metadata.name", "metadata.namespace"];
        let others: &[&str] = match resource.plural {
            "pods" => &["spec.serviceAccountName", "spec.nodeName", "status.phase"],
            "namespaces" => &["status.phase"],
            _ => &[],
        };
        if !common.contains(&path) && !others.contains(&path) {
            return Err(Failure::bad_request(if others.is_empty() {
                format!("{path:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
            } else {
                format!("field label not supported: {path}")
            }));
        }
        Ok((path.to_owned(), equal, value.to_owned()))
    });
    read.collect()
}

fn label_requirements(selector: &str) -> Result<Vec<Requirement>, Failure> {
    let mut terms = Vec::new();
    let (mut term, mut depth) = (String::new(), 0_u32);
    for character in selector.chars() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                terms.push(std::mem::take(&mut term));
                continue;
            }
            _ => {}
        }
        term.push(character);
    }
    terms.push(term);
    terms.iter().map(|term| term.trim()).filter(|term| !term.is_empty()).map(requirement).collect()
}

fn requirement(term: &str) -> Result<Requirement, Failure> {
    let one = |key: &str, value: &str| (key.trim().to_owned(), vec![value.trim().to_owned()]);
    if let Some((key, value)) = term.split_once("!=") {
        let (key, values) = one(key, value);
        return Ok(Requirement::NotIn(key, values));
    }
    if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        let (key, values) = one(key, value);
        return Ok(Requirement::In(key, values));
    }
    if let Some(key) = term.strip_prefix('!') {
        return Ok(Requirement::Absent(key.trim().to_owned()));
    }
    let set = term.strip_suffix(')').and_then(|term| term.split_once('('));
    match (set, term.split_whitespace().collect::<Vec<_>>().as_slice()) {
        (Some((head, values)), _) => {
            let values = values.split(',').map(|value| value.trim().to_owned()).collect();
            match head.split_whitespace().collect::<Vec<_>>().as_slice() {
                [key, "in"] => Ok(Requirement::In((*key).to_owned(), values)),
                [key, "notin"] => Ok(Requirement::NotIn((*key).to_owned(), values)),
                _ => Err(Failure::bad_request(format!("unable to parse requirement: {term}"))),
            }
        }
        (None, [key]) => Ok(Requirement::Exists((*key).to_owned())),
        _ => Err(Failure::bad_request(format!("unable to parse requirement: {term}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_selectors_select() {
        let object = json!({"metadata": {"labels": {"app": "x", "tier": "web"}}});
        let cases = [
            ("app=x", true),
            ("app==x,tier=web", true),
            ("app!=x", false),
            ("other!=x", true),
            ("app in (x, y),tier", true),
            ("app notin (x)", false),
            ("!app", false),
            ("!other", true),
        ];
        for (selector, selected) in cases {
            let labels = label_requirements(selector).unwrap();
            let selection = Selection { labels, fields: Vec::new(), limit: 0, after: None };
            assert_eq!(selection.matches(&object), selected, "{selector}");
        }
        assert!(label_requirements("a b").is_err());
    }

    #[test]
    fn pages_follow_one_another() {
        let objects: Vec<Value> = ["a", "b", "c"].iter().map(|name| json!({"metadata": {"name": name}})).collect();
        let mut selection = Selection { labels: Vec::new(), fields: Vec::new(), limit: 2, after: None };
        let first = selection.page(objects.iter(), "7");
        let (token, left) = first.next.unwrap();
        assert_eq!((first.items.len(), left), (2, 1));
        selection.after = Some(read_token(&token).unwrap());
        let second = selection.page(objects.iter(), "7");
        assert_eq!(second.items, objects[2..]);
        assert!(second.next.is_none());
    }
}
