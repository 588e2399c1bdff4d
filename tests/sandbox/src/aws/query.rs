//! The parameters of the Query protocol: `Tags.member.1.Key=a` becomes `{"Tags": [{"Key": "a"}]}`.
//!
//! Only their shape; what a parameter may hold is checked by the call that takes it.

use serde_json::{Map, Value};

use super::error::AwsError;
use crate::service::{Request, form_pairs};

/// A list longer than this is a mistake, not a request.
const LONGEST_LIST: usize = 2_000;

/// Signature and protocol, not parameters.
const NOT_PARAMETERS: [&str; 2] = ["Action", "Version"];

/// The parameters of one call, texts at the leaves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameters(Map<String, Value>);

impl Parameters {
    /// Of the form body and the query together.
    pub(crate) fn of(request: &Request) -> Self {
        Self::of_tree(pairs(request).into_iter().filter(|(name, _)| !NOT_PARAMETERS.contains(&name.as_str()) && !is_signature(name)))
    }

    /// Of a form's pairs.
    pub(crate) fn of_pairs(pairs: &[(&str, &str)]) -> Self {
        Self::of_tree(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    fn of_tree(pairs: impl Iterator<Item = (String, String)>) -> Self {
        let mut tree = Value::Object(Map::new());
        for (name, value) in pairs {
            let path: Vec<&str> = name.split('.').filter(|part| *part != "member").collect();
            insert(&mut tree, &path, value);
        }
        match tree {
            Value::Object(map) => Self(map),
            _ => Self::default(),
        }
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    pub(crate) fn required(&self, name: &str) -> Result<&str, AwsError> {
        self.text(name).ok_or_else(|| AwsError::missing(&member(name)))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The items of a list. `Name=` is how clients send an empty one.
    pub(crate) fn list(&self, name: &str) -> &[Value] {
        self.0.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        self.list(name).iter().map(|item| item.as_str().unwrap_or_default().to_owned()).collect()
    }

    /// A whole number within its bounds.
    pub(crate) fn number(&self, name: &str, least: u32, most: u32) -> Result<Option<u32>, AwsError> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let broken =
            |bound: &str, limit: u32| AwsError::constraint(text, &member(name), &format!("have value {bound} than or equal to {limit}"));
        match text.parse::<i64>() {
            Err(_) => Err(AwsError::new(400, "MalformedInput", format!("Value '{text}' at '{}' is not a number", member(name)))),
            Ok(number) if number < i64::from(least) => Err(broken("greater", least)),
            Ok(number) => match u32::try_from(number) {
                Ok(number) if number <= most => Ok(Some(number)),
                _ => Err(broken("less", most)),
            },
        }
    }

    /// For the witness: documents as JSON, a web identity token as its claims.
    pub(crate) fn described(&self) -> Value {
        let described = self.0.iter().map(|(name, value)| {
            let read = match value.as_str() {
                Some(text) if name.ends_with("PolicyDocument") => serde_json::from_str(text).ok(),
                Some(text) if name == "WebIdentityToken" => super::web_identity::claims(text),
                _ => None,
            };
            (name.clone(), read.unwrap_or_else(|| value.clone()))
        });
        Value::Object(described.collect())
    }
}

/// `Action` of a Query request, if it is one.
pub(crate) fn action(request: &Request) -> Option<String> {
    value(request, "Action")
}

/// `Version` of a Query request: it tells IAM from STS.
pub(crate) fn version(request: &Request) -> Option<String> {
    value(request, "Version")
}

/// How the service's messages call a parameter: `RoleName` is `roleName`.
pub(crate) fn member(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

fn value(request: &Request, name: &str) -> Option<String> {
    pairs(request).into_iter().find_map(|(key, value)| (key == name).then_some(value))
}

fn pairs(request: &Request) -> Vec<(String, String)> {
    let mut pairs = request.query_pairs();
    let form = request.header("content-type").to_ascii_lowercase().starts_with("application/x-www-form-urlencoded");
    if form && let Ok(body) = std::str::from_utf8(&request.body) {
        pairs.extend(form_pairs(body));
    }
    pairs
}

fn is_signature(name: &str) -> bool {
    name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"))
}

fn insert(node: &mut Value, path: &[&str], leaf: String) {
    let Some((first, rest)) = path.split_first() else {
        *node = Value::String(leaf);
        return;
    };
    let index = first.parse::<usize>().ok().filter(|index| (1..=LONGEST_LIST).contains(index));
    if let Some(index) = index {
        if !node.is_array() {
            *node = Value::Array(Vec::new());
        }
        if let Value::Array(items) = node {
            if items.len() < index {
                items.resize(index, Value::Null);
            }
            insert(&mut items[index - 1], rest, leaf);
        }
        return;
    }
    if !node.is_object() {
        *node = Value::Object(Map::new());
    }
    if let Value::Object(map) = node {
        insert(map.entry(*first).or_insert(Value::Null), rest, leaf);
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};
    use serde_json::json;

    use super::*;

    fn form(body: &str) -> Parameters {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/x-www-form-urlencoded; charset=utf-8".parse().unwrap());
        Parameters::of(&Request { method: Method::POST, path: "/".into(), query: String::new(), headers, body: body.to_owned().into() })
    }

    #[test]
    fn lists_and_structures_are_rebuilt_in_order() {
        let parameters = form(
            "Action=TagRole&Version=2010-05-08&RoleName=a&Tags.member.2.Key=k2&Tags.member.2.Value=&Tags.member.1.Key=k+1&Tags.member.1.Value=v%2B",
        );
        assert_eq!(parameters.described(), json!({"RoleName": "a", "Tags": [{"Key": "k 1", "Value": "v+"}, {"Key": "k2", "Value": ""}]}));
    }

    #[test]
    fn an_empty_list_and_a_missing_one_have_no_items() {
        let parameters = form("Action=X&ClientIDList=");
        assert!(parameters.list("ClientIDList").is_empty());
        assert!(parameters.list("ThumbprintList").is_empty());
    }

    #[test]
    fn a_document_is_shown_as_json() {
        let parameters = form("Action=X&PolicyDocument=%7B%22Version%22%3A%221%22%7D&Name=%7B%7D");
        assert_eq!(parameters.described(), json!({"Name": "{}", "PolicyDocument": {"Version": "1"}}));
    }

    #[test]
    fn a_number_out_of_bounds_is_named_as_aws_names_it() {
        let parameters = form("Action=X&MaxSessionDuration=100");
        let error = parameters.number("MaxSessionDuration", 3600, 43_200).unwrap_err();
        assert_eq!(
            error.message,
            "1 validation error detected: Value '100' at 'maxSessionDuration' failed to satisfy constraint: Member must have value greater than or equal to 3600"
        );
    }
}
