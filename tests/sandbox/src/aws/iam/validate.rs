//! What names, paths, descriptions and tags may look like, and IAM's words when they do not.

use std::{collections::BTreeMap, sync::LazyLock};

use regex::Regex;

use super::super::{
    error::AwsError,
    query::{Parameters, member},
};

const TAGS_PER_RESOURCE: usize = 50;

#[allow(clippy::expect_used, reason = "a constant pattern, compiled by every test")]
static TAG_TEXT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$").expect("the pattern is a constant"));

/// A name of `most` characters at the most.
pub(super) fn name<'p>(parameters: &'p Parameters, parameter: &str, most: usize) -> Result<&'p str, AwsError> {
    let name = parameters.required(parameter)?;
    length(name, parameter, 1, most)?;
    let known = |character: char| character.is_ascii_alphanumeric() || "_+=,.@-".contains(character);
    if !name.chars().all(known) {
        return Err(AwsError::validation(format!(
            "The specified value for {} is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-",
            member(parameter)
        )));
    }
    Ok(name)
}

/// A path, `/` if none is given.
pub(super) fn path(parameters: &Parameters) -> Result<String, AwsError> {
    let path = parameters.text("Path").unwrap_or("/");
    length(path, "Path", 1, 512)?;
    let graphic = path.chars().all(|character| character.is_ascii_graphic());
    if !graphic || !path.starts_with('/') || !path.ends_with('/') || path == "//" {
        return Err(AwsError::validation(
            "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters.",
        ));
    }
    Ok(path.to_owned())
}

/// A description; an empty one is none.
pub(super) fn description(parameters: &Parameters) -> Result<Option<String>, AwsError> {
    let Some(text) = parameters.text("Description") else {
        return Ok(None);
    };
    length(text, "Description", 0, 1_000)?;
    let known = |character| matches!(character, '\t' | '\n' | '\r' | '\u{20}'..='\u{7e}' | '\u{a1}'..='\u{ff}');
    if !text.chars().all(known) {
        return Err(AwsError::constraint(
            text,
            "description",
            r"satisfy regular expression pattern: [\u0009\u000A\u000D\u0020-\u007E\u00A1-\u00FF]*",
        ));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// Characters within bounds.
pub(super) fn length(text: &str, parameter: &str, least: usize, most: usize) -> Result<(), AwsError> {
    let count = text.chars().count();
    let broken = |bound: &str, limit: usize| {
        let constraint = format!("have length {bound} than or equal to {limit}");
        Err(AwsError::constraint(text, &member(parameter), &constraint))
    };
    if count < least {
        return broken("greater", least);
    }
    if count > most {
        return broken("less", most);
    }
    Ok(())
}

/// The shape of an ARN.
pub(super) fn arn(parameters: &Parameters, parameter: &str) -> Result<String, AwsError> {
    let arn = parameters.required(parameter)?;
    length(arn, parameter, 20, 2_048)?;
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    if parts.len() < 6 || parts[0] != "arn" || parts[5].is_empty() {
        return Err(AwsError::invalid_input(format!("ARN {arn} is not valid.")));
    }
    Ok(arn.to_owned())
}

/// The tags of a request.
pub(super) fn tags(parameters: &Parameters) -> Result<BTreeMap<String, String>, AwsError> {
    let mut tags: BTreeMap<String, String> = BTreeMap::new();
    let given = parameters.list("Tags");
    if given.len() > TAGS_PER_RESOURCE {
        return Err(AwsError::constraint(&format!("{} tags", given.len()), "tags", "have length less than or equal to 50"));
    }
    for (index, tag) in given.iter().enumerate() {
        let text = |field: &str| tag.get(field).and_then(serde_json::Value::as_str);
        let at = |field: &str| format!("tags.{}.member.{field}", index + 1);
        let key = text("Key").ok_or_else(|| AwsError::missing(&at("key")))?;
        let value = text("Value").ok_or_else(|| AwsError::missing(&at("value")))?;
        tag_key(key, &at("key"))?;
        tag_text(value, &at("value"), 0, 256)?;
        if tags.keys().any(|other| same_key(other, key)) {
            return Err(AwsError::invalid_input("Duplicate tag keys found. Please note that Tag keys are case insensitive."));
        }
        tags.insert(key.to_owned(), value.to_owned());
    }
    Ok(tags)
}

/// A key of a tag.
pub(super) fn tag_key(key: &str, at: &str) -> Result<(), AwsError> {
    tag_text(key, at, 1, 128)?;
    if key.to_lowercase().starts_with("aws:") {
        return Err(AwsError::invalid_input("System tags cannot be added/updated by requester"));
    }
    Ok(())
}

/// Keys of tags are the same ignoring case.
pub(super) fn same_key(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// Sets tags among those that are there. A key in other case replaces the old one. Says whether anything changed.
pub(super) fn merge_tags(tags: &mut BTreeMap<String, String>, new: BTreeMap<String, String>) -> Result<bool, AwsError> {
    let mut merged = tags.clone();
    for (key, value) in new {
        merged.retain(|other, _| !same_key(other, &key));
        merged.insert(key, value);
    }
    if merged.len() > TAGS_PER_RESOURCE {
        return Err(AwsError::limit_exceeded("Cannot exceed quota for TagsPerRole: 50"));
    }
    Ok(super::replace(tags, merged))
}

fn tag_text(text: &str, at: &str, least: usize, most: usize) -> Result<(), AwsError> {
    let count = text.chars().count();
    if count < least || count > most {
        let bound = if count < least { "greater" } else { "less" };
        let limit = if count < least { least } else { most };
        let constraint = format!("have length {bound} than or equal to {limit}");
        return Err(AwsError::constraint(text, at, &constraint));
    }
    if !TAG_TEXT.is_match(text) {
        return Err(AwsError::constraint(text, at, r"satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]*"));
    }
    Ok(())
}
