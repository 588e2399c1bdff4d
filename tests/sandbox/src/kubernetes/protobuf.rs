//! Documents in the API's protobuf form, which typed clients such as `kubectl create` send: read into JSON.
//!
//! Reading only, and only the kinds that such clients send here; answers are JSON, which they accept.

use serde_json::{Map, Value, json};

/// What every document in this form begins with.
const MAGIC: &[u8] = b"k8s\0";

/// A member of a message: its number, its name and its type.
struct Member(u64, &'static str, Type);

enum Type {
    Text,
    Number,
    Flag,
    Texts,
    TextMap,
    Message(&'static [Member]),
    Messages(&'static [Member]),
    /// What the server sets itself.
    Ignored,
}

use Type::{Flag, Ignored, Message, Messages, Number, TextMap, Texts};

const fn text(number: u64, name: &'static str) -> Member {
    Member(number, name, Type::Text)
}

static OWNER: &[Member] = &[
    text(1, "kind"),
    text(3, "name"),
    text(4, "uid"),
    text(5, "apiVersion"),
    Member(6, "controller", Flag),
    Member(7, "blockOwnerDeletion", Flag),
];

static METADATA: &[Member] = &[
    text(1, "name"),
    text(2, "generateName"),
    text(3, "namespace"),
    text(4, "selfLink"),
    text(5, "uid"),
    text(6, "resourceVersion"),
    Member(7, "generation", Ignored),
    Member(8, "creationTimestamp", Ignored),
    Member(11, "labels", TextMap),
    Member(12, "annotations", TextMap),
    Member(13, "ownerReferences", Messages(OWNER)),
    Member(14, "finalizers", Texts),
];

const META: Member = Member(1, "metadata", Message(METADATA));

static REFERENCE: &[Member] = &[
    text(1, "kind"),
    text(2, "namespace"),
    text(3, "name"),
    text(4, "uid"),
    text(5, "apiVersion"),
    text(6, "resourceVersion"),
    text(7, "fieldPath"),
];

static SERVICE_ACCOUNT: &[Member] = &[
    META,
    Member(2, "secrets", Messages(REFERENCE)),
    Member(3, "imagePullSecrets", Messages(&[text(1, "name")])),
    Member(4, "automountServiceAccountToken", Flag),
];

static NAMESPACE: &[Member] = &[META, Member(2, "spec", Message(&[Member(1, "finalizers", Texts)])), Member(3, "status", Ignored)];

static BOUND: &[Member] = &[text(1, "kind"), text(2, "apiVersion"), text(3, "name"), text(4, "uid")];

static TOKEN_REQUEST: &[Member] = &[
    META,
    Member(
        2,
        "spec",
        Message(&[Member(1, "audiences", Texts), Member(3, "boundObjectRef", Message(BOUND)), Member(4, "expirationSeconds", Number)]),
    ),
    Member(3, "status", Ignored),
];

static RULE: &[Member] = &[
    Member(1, "verbs", Texts),
    Member(2, "apiGroups", Texts),
    Member(3, "resources", Texts),
    Member(4, "resourceNames", Texts),
    Member(5, "nonResourceURLs", Texts),
];

static ROLE: &[Member] = &[META, Member(2, "rules", Messages(RULE))];

static SUBJECT: &[Member] = &[text(1, "kind"), text(2, "apiGroup"), text(3, "name"), text(4, "namespace")];

static BINDING: &[Member] = &[
    META,
    Member(2, "subjects", Messages(SUBJECT)),
    Member(3, "roleRef", Message(&[text(1, "apiGroup"), text(2, "kind"), text(3, "name")])),
];

static RESOURCE_ATTRIBUTES: &[Member] = &[
    text(1, "namespace"),
    text(2, "verb"),
    text(3, "group"),
    text(4, "version"),
    text(5, "resource"),
    text(6, "subresource"),
    text(7, "name"),
];

static ACCESS_REVIEW: &[Member] = &[
    META,
    Member(
        2,
        "spec",
        Message(&[
            Member(1, "resourceAttributes", Message(RESOURCE_ATTRIBUTES)),
            Member(2, "nonResourceAttributes", Message(&[text(1, "path"), text(2, "verb")])),
        ]),
    ),
    Member(3, "status", Ignored),
];

static SUBJECT_REVIEW: &[Member] = &[META, Member(2, "status", Ignored)];

/// The envelope of a document.
static UNKNOWN: &[Member] = &[Member(1, "typeMeta", Message(&[text(1, "apiVersion"), text(2, "kind")]))];

fn members_of(kind: &str) -> Option<&'static [Member]> {
    Some(match kind {
        "ServiceAccount" => SERVICE_ACCOUNT,
        "Namespace" => NAMESPACE,
        "TokenRequest" => TOKEN_REQUEST,
        "Role" | "ClusterRole" => ROLE,
        "RoleBinding" | "ClusterRoleBinding" => BINDING,
        "SelfSubjectAccessReview" => ACCESS_REVIEW,
        "SelfSubjectReview" => SUBJECT_REVIEW,
        _ => return None,
    })
}

/// The document as JSON, or what of it cannot be read here.
pub(super) fn read(body: &[u8]) -> Result<Value, String> {
    let envelope = body.strip_prefix(MAGIC).ok_or("a document without the prefix of its form")?;
    let mut header = Map::new();
    let mut content: &[u8] = &[];
    for part in Parts(envelope) {
        match part? {
            (2, Wire::Bytes(bytes)) => content = bytes,
            (1, wire) => add(&mut header, 1, wire, UNKNOWN)?,
            _ => {}
        }
    }
    let meta = &header.get("typeMeta").cloned().unwrap_or_default();
    let kind = meta["kind"].as_str().unwrap_or_default();
    let members = members_of(kind).ok_or_else(|| format!("protobuf of a {kind}"))?;
    let mut document = message(content, members)?;
    document["kind"] = meta["kind"].clone();
    document["apiVersion"] = meta["apiVersion"].clone();
    Ok(document)
}

fn message(bytes: &[u8], members: &'static [Member]) -> Result<Value, String> {
    let mut object = Map::new();
    for part in Parts(bytes) {
        let (number, wire) = part?;
        add(&mut object, number, wire, members)?;
    }
    Ok(object.into())
}

fn add(object: &mut Map<String, Value>, number: u64, wire: Wire<'_>, members: &'static [Member]) -> Result<(), String> {
    let known = members.iter().find(|member| member.0 == number);
    let Member(_, name, kind) = known.ok_or_else(|| format!("protobuf member {number}"))?;
    let string = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match (kind, wire) {
        // A client of this form writes text that is not set as empty text.
        (Ignored, _) | (Type::Text, Wire::Bytes([])) => {}
        (Type::Text, Wire::Bytes(bytes)) => {
            object.insert((*name).to_owned(), string(bytes).into());
        }
        (Number, Wire::Varint(number)) => {
            object.insert((*name).to_owned(), number.cast_signed().into());
        }
        (Flag, Wire::Varint(flag)) => {
            object.insert((*name).to_owned(), (flag != 0).into());
        }
        (Message(inner), Wire::Bytes(bytes)) => {
            object.insert((*name).to_owned(), message(bytes, inner)?);
        }
        (Texts, Wire::Bytes(bytes)) => push(object, name, string(bytes).into()),
        (Messages(inner), Wire::Bytes(bytes)) => push(object, name, message(bytes, inner)?),
        (TextMap, Wire::Bytes(bytes)) => {
            let (mut key, mut value) = (String::new(), String::new());
            for part in Parts(bytes) {
                match part? {
                    (1, Wire::Bytes(bytes)) => key = string(bytes),
                    (2, Wire::Bytes(bytes)) => value = string(bytes),
                    _ => return Err(format!("the protobuf of {name}")),
                }
            }
            object.entry(*name).or_insert_with(|| json!({}))[key] = value.into();
        }
        _ => return Err(format!("the protobuf of {name}")),
    }
    Ok(())
}

fn push(object: &mut Map<String, Value>, name: &str, item: Value) {
    if let Value::Array(items) = object.entry(name).or_insert_with(|| json!([])) {
        items.push(item);
    }
}

/// A value on the wire.
enum Wire<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

/// The parts of a message, each with its number.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn part(&mut self) -> Option<(u64, Wire<'a>)> {
        let key = self.varint()?;
        let wire = match key & 7 {
            0 => Wire::Varint(self.varint()?),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                let (bytes, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                Wire::Bytes(bytes)
            }
            _ => return None,
        };
        Some((key >> 3, wire))
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Result<(u64, Wire<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let part = self.part();
        if part.is_none() {
            self.0 = &[];
        }
        Some(part.ok_or_else(|| "protobuf that breaks off".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        [&[number << 3 | 2, length], content].concat()
    }

    #[test]
    fn a_token_request_is_read() {
        let spec = [field(1, b"sts.amazonaws.com"), vec![4 << 3, 0x90, 0x1c]].concat();
        let metadata = [field(1, b""), field(8, b"")].concat();
        let raw = [field(1, &metadata), field(2, &spec), field(3, &field(1, b""))].concat();
        let kind = [field(1, b"authentication.k8s.io/v1"), field(2, b"TokenRequest")].concat();
        let body = [MAGIC, &field(1, &kind), &field(2, &raw), &field(3, b"")].concat();
        assert_eq!(
            read(&body).unwrap(),
            json!({
                "kind": "TokenRequest",
                "apiVersion": "authentication.k8s.io/v1",
                "metadata": {},
                "spec": {"audiences": ["sts.amazonaws.com"], "expirationSeconds": 3600},
            })
        );
        assert!(read(&body[..body.len() - 3]).is_err());
        assert!(read(b"{}").is_err());
    }

    #[test]
    fn labels_are_a_map() {
        let entry = [field(1, b"app"), field(2, b"x")].concat();
        let found = message(&field(11, &entry), METADATA).unwrap();
        assert_eq!(found, json!({"labels": {"app": "x"}}));
    }
}
