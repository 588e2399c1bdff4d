//! The manifest as meant: identities from what was typed.
//!
//! Every problem is reported at its node and the rest is still looked at. What an identity becomes in an account is not
//! known here, nor is YAML.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use serde_json::Value;

use super::{
    fallbacks::{DEFAULT_PATH, Fallbacks},
    manifest, pod_identity,
    policies::{self, Files},
    scope::ScopeWord,
    tags::{Tagged, tags, too_many},
    text::{
        limits::LONGEST_GUESSED,
        pieces::{entries, name, names, present, required, seconds, text},
        problems::{At, quoted},
        reader::{Document, Mapping, Typed},
    },
    twice,
};
use crate::model::{
    advice::READ_BY_EKS,
    arn::{PolicyArn, RoleArn},
    conditions::Conditions,
    identity::{
        Binding, BoundServices, Identity, Keeper, ManagedRole, PodIdentity, Prune, RoleOrigin, RoleSpec, Scope, ServiceAccountSpec,
    },
    names::{LabelValue, MetadataKey, NamespacePattern, PolicyName, RolePath, TagKey, TagValue},
    role::{RoleAttributes, RoleSettings},
};

/// IAM's bounds of it. <https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html>
const SESSION: RangeInclusive<u32> = 3600..=43_200;
/// Kubernetes gives no token shorter than ten minutes, EKS none longer than a day.
const TOKEN_EXPIRATION: RangeInclusive<u32> = 600..=86_400;
/// Keys and values of all annotations of a ServiceAccount, in bytes, less what the tool's own may take: ARNs of roles, above all.
/// <https://github.com/kubernetes/apimachinery/blob/master/pkg/api/validation/objectmeta.go>
const LARGEST_ANNOTATIONS: usize = 256 * 1024 - 8 * 1024;
/// What all inline policies of a role may hold together, in characters without white space between them.
const LARGEST_INLINE_POLICIES: usize = 10_240;
const LONGEST_DESCRIPTION: usize = 1000;
/// The label by which the tool marks what it made.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Annotations that the tool sets itself, and the key of the manifest that decides them.
const OWN_ANNOTATIONS: [(&str, &str); 3] = [
    ("eks.amazonaws.com/role-arn", "role"),
    ("eks.amazonaws.com/audience", "audience"),
    ("eks.amazonaws.com/token-expiration", "tokenExpiration"),
];

/// What a manifest says beside the job.
#[derive(Default)]
pub(super) struct Meant {
    /// In its order.
    pub(super) identities: Vec<Identity>,
    pub(super) prune: Prune,
    /// The path of roles that do not say otherwise, if the manifest says it.
    pub(super) path: Option<RolePath>,
}

/// The identities of a manifest. If the log got a problem they are not all of them.
pub(super) fn meant(manifest: manifest::Manifest, fallbacks: &Fallbacks, files: &Files<'_>, at: &At<'_>) -> Meant {
    let manifest::Manifest { defaults: typed_defaults, identities, prune: typed_prune, job: _, cluster: _ } = manifest;
    let prune = prune(typed_prune, &at.key("prune"));
    let defaults = defaults(typed_defaults.value().unwrap_or_default(), fallbacks, files, &at.key("defaults"));
    required(&identities, "identities", at);
    let identities = identities.value().map(|typed| all(typed, &defaults, files, at)).unwrap_or_default();
    Meant { identities, prune, path: defaults.stated_path }
}

fn prune(typed: Typed<String>, at: &At<'_>) -> Prune {
    match typed.value().as_deref() {
        None | Some("on") => Prune::On,
        Some("off") => Prune::Off,
        Some(other) => {
            at.report(format_args!("{} is not known: use `on` or `off`", quoted(other)));
            Prune::Off
        }
    }
}

fn all(typed: Vec<Typed<manifest::Identity>>, defaults: &Defaults, files: &Files<'_>, at: &At<'_>) -> Vec<Identity> {
    let at = &at.key("identities");
    if typed.is_empty() {
        at.report("is empty: add at least one identity");
    }
    twice::report_shared_names(&typed, at);
    let meant: Vec<(usize, Identity)> = (0..)
        .zip(typed)
        .filter_map(|(index, typed)| Some((index, identity(present(typed, &at.index(index))?, defaults, files, &at.index(index))?)))
        .collect();
    twice::report_roles_in_two_ways(&meant, at);
    meant.into_iter().map(|(_, identity)| identity).collect()
}

/// What holds for every role that does not say otherwise.
struct Defaults {
    /// That of the manifest.
    stated_path: Option<RolePath>,
    path: Option<RolePath>,
    permissions_boundary: Option<PolicyArn>,
    tags: BTreeMap<TagKey, TagValue>,
    max_session_duration: u32,
    pod_identity: pod_identity::Said,
}

fn defaults(typed: manifest::Defaults, fallbacks: &Fallbacks, files: &Files<'_>, at: &At<'_>) -> Defaults {
    let manifest::Defaults { path, permissions_boundary, tags: typed_tags, max_session_duration, pod_identity: typed_pods } = typed;
    let tags = tags(typed_tags, Tagged::Role, &BTreeMap::new(), &at.key("tags"));
    if let Some(problem) = too_many(&tags, Tagged::Role) {
        at.key("tags").report(problem);
    }
    let stated_path: Option<RolePath> = name(path, &at.key("path"));
    if let Some(path) = &stated_path {
        unprotected(path, &at.key("path"));
    }
    Defaults {
        path: stated_path.clone().or_else(|| fallbacks.path.clone()).or_else(|| DEFAULT_PATH.parse().ok()),
        stated_path,
        permissions_boundary: name(permissions_boundary, &at.key("permissionsBoundary")).or_else(|| fallbacks.permissions_boundary.clone()),
        tags,
        max_session_duration: seconds(max_session_duration, &SESSION, &at.key("maxSessionDuration"))
            .unwrap_or(RoleSettings::default().max_session_duration),
        pod_identity: pod_identity::said(typed_pods, files, &at.key("podIdentity")),
    }
}

fn identity(typed: manifest::Identity, defaults: &Defaults, files: &Files<'_>, at: &At<'_>) -> Option<Identity> {
    let manifest::Identity {
        service_account,
        audience,
        token_expiration,
        labels: typed_labels,
        annotations: typed_annotations,
        automount,
        pod_identity: typed_pods,
        role_only,
        role: typed_role,
        bind_services,
        take_over,
    } = typed;
    required(&service_account, "serviceAccount", at);
    required(&typed_role, "role", at);
    let pods = pod_identity::said(typed_pods, files, &at.key("podIdentity")).or(&defaults.pod_identity);
    let keeper = if role_only.value() == Some(true) { Keeper::Other } else { Keeper::Tool };
    for (key, _) in [("audience", audience.is_absent()), ("tokenExpiration", token_expiration.is_absent())]
        .into_iter()
        .filter(|(_, absent)| pods.is_some() && !absent)
    {
        at.key(key).report("cannot stand beside `podIdentity`: EKS decides these tokens. Remove it, or set `podIdentity: false`");
    }
    let of_kept_accounts = [
        ("labels", typed_labels.is_absent()),
        ("annotations", typed_annotations.is_absent()),
        ("automount", automount.is_absent()),
        // An annotation of the ServiceAccount, and told already beside `podIdentity`.
        ("tokenExpiration", token_expiration.is_absent() || pods.is_some()),
    ];
    for (key, _) in of_kept_accounts.into_iter().filter(|(_, absent)| keeper == Keeper::Other && !absent) {
        at.key(key).report("cannot stand beside `roleOnly`: the tool does not write the ServiceAccount. Say it where that is made");
    }
    // All parts before the first `?`: each reports its own problems.
    let service_account = name(service_account, &at.key("serviceAccount"));
    let audience = name(audience, &at.key("audience")).unwrap_or_default();
    let token_expiration = seconds(token_expiration, &TOKEN_EXPIRATION, &at.key("tokenExpiration"));
    let labels = labels(typed_labels, &at.key("labels"));
    let annotations = annotations(typed_annotations, &at.key("annotations"));
    if bind_services.is_absent() && !take_over.is_absent() {
        at.key("takeOver").report("belongs to `bindServices`");
    }
    let services =
        BoundServices { services: names(bind_services, &at.key("bindServices")), take_over: take_over.value().unwrap_or_default() };
    let role = typed_role.value().and_then(|typed| role(typed, defaults, pods.as_deref(), files, &at.key("role")));
    Some(Identity {
        service_account: ServiceAccountSpec {
            name: service_account?,
            token_expiration,
            labels,
            annotations,
            automount: automount.value(),
            keeper,
        },
        role: role?,
        binding: pods.map_or(Binding::Irsa { audience }, Binding::PodIdentity),
        services,
    })
}

fn role(typed: manifest::Role, defaults: &Defaults, pods: Option<&PodIdentity>, files: &Files<'_>, at: &At<'_>) -> Option<RoleSpec> {
    let manifest::Role {
        scope: typed_scope,
        namespaces,
        retain,
        name: role_name,
        path,
        arn,
        policies,
        inline_policies: typed_policies,
        permissions_boundary,
        max_session_duration,
        description: typed_description,
        tags: typed_tags,
        conditions: typed_conditions,
        extra_subjects,
    } = typed;
    let given = !arn.is_absent();
    let of_made_roles = [
        ("name", role_name.is_absent()),
        ("path", path.is_absent()),
        ("policies", policies.is_absent()),
        ("inlinePolicies", typed_policies.is_absent()),
        ("permissionsBoundary", permissions_boundary.is_absent()),
        ("maxSessionDuration", max_session_duration.is_absent()),
        ("description", typed_description.is_absent()),
        ("tags", typed_tags.is_absent()),
        ("retain", retain.is_absent()),
    ];
    for (key, _) in of_made_roles.into_iter().filter(|(_, absent)| given && !absent) {
        at.key(key).report("cannot stand beside `arn`: only the trust of a given role is managed");
    }
    let word = scope_word(typed_scope, given, at);
    if !given && !retain.is_absent() && !matches!(word, None | Some(ScopeWord::Shared)) {
        at.key("retain").report("belongs to scope `shared`");
    }
    let scope = scope(word, namespaces, retain, at);
    if pods.is_some() && !extra_subjects.is_absent() {
        at.key("extraSubjects")
            .report("cannot stand beside `podIdentity`: an association is for one ServiceAccount. Give each an identity of its own");
    }
    let extra_subjects = names(extra_subjects, &at.key("extraSubjects"));
    let conditions = conditions(typed_conditions, &at.key("conditions"));
    if let Some(pods) = pods {
        pod_identity::report_role(pods, scope.as_ref(), &conditions, at);
    }
    if given {
        let arn: Option<RoleArn> = name(arn, &at.key("arn"));
        if let Some(arn) = &arn {
            unprotected(&arn.path, &at.key("arn"));
        }
        return Some(RoleSpec { origin: RoleOrigin::Given(arn?), scope: scope?, extra_subjects, conditions });
    }
    if role_name.is_absent() && word.is_some_and(ScopeWord::is_together) {
        at.report("`name` is missing: environments that have a role together must call it by one name");
    }
    let mut all_tags = defaults.tags.clone();
    all_tags.extend(tags(typed_tags, Tagged::Role, &defaults.tags, &at.key("tags")));
    // Too many defaults are reported once, where they stand.
    if let Some(problem) = too_many(&all_tags, Tagged::Role).filter(|_| too_many(&defaults.tags, Tagged::Role).is_none()) {
        at.key("tags").report(problem);
    }
    let path = name(path, &at.key("path"));
    if let Some(path) = &path {
        unprotected(path, &at.key("path"));
    }
    let path = path.or_else(|| defaults.path.clone());
    let managed = ManagedRole {
        name: name(role_name, &at.key("name")),
        attributes: RoleAttributes {
            policies: names(policies, &at.key("policies")),
            inline_policies: inline_policies(typed_policies, files, &at.key("inlinePolicies")),
            permissions_boundary: name(permissions_boundary, &at.key("permissionsBoundary"))
                .or_else(|| defaults.permissions_boundary.clone()),
            settings: RoleSettings {
                max_session_duration: seconds(max_session_duration, &SESSION, &at.key("maxSessionDuration"))
                    .unwrap_or(defaults.max_session_duration),
                description: description(typed_description, &at.key("description")),
            },
            tags: all_tags,
        },
        path: path?,
    };
    Some(RoleSpec { origin: RoleOrigin::Managed(Box::new(managed)), scope: scope?, extra_subjects, conditions })
}

/// Paths of AWS itself: nobody else can change a role there.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_create-service-linked-role.html>
const PROTECTED: [&str; 2] = ["/aws-reserved/", "/aws-service-role/"];

fn unprotected(path: &RolePath, at: &At<'_>) {
    if let Some(protected) = PROTECTED.iter().find(|protected| path.as_str().starts_with(*protected)) {
        at.report(format_args!("roles below `{protected}` are AWS's own: nobody else can change them"));
    }
}

/// Whose role it is; nothing after it has reported why not.
fn scope_word(typed: Typed<String>, given: bool, at: &At<'_>) -> Option<ScopeWord> {
    if typed.is_absent() {
        return Some(ScopeWord::of_silent(given));
    }
    let word = name(typed, &at.key("scope"))?;
    if given && word == ScopeWord::Environment {
        at.key("scope").report("a role given by `arn` cannot be one environment's: use `shared` or `cluster`");
        return None;
    }
    Some(word)
}

/// The scope with what belongs to it.
fn scope(word: Option<ScopeWord>, namespaces: Typed<Vec<Typed<String>>>, retain: Typed<bool>, at: &At<'_>) -> Option<Scope> {
    const WRITE_OUT: &str = "write out which namespaces may use the role, as `namespaces: [z*]`";
    let (absent, empty) = (namespaces.is_absent(), matches!(&namespaces, Typed::Value(list) if list.is_empty()));
    let namespaces: BTreeSet<NamespacePattern> = names(namespaces, &at.key("namespaces"));
    let word = word?;
    match word {
        ScopeWord::Environment | ScopeWord::Shared if !absent => at.key("namespaces").report("belongs to scope `cluster`"),
        ScopeWord::Cluster if absent => at.report(format_args!("`namespaces` is missing: {WRITE_OUT}")),
        ScopeWord::Cluster if empty => at.key("namespaces").report(format_args!("is empty: {WRITE_OUT}")),
        _ => {}
    }
    Some(match word {
        ScopeWord::Environment => Scope::Environment,
        ScopeWord::Shared => Scope::Shared { retain: retain.value().unwrap_or_default() },
        ScopeWord::Cluster => Scope::Cluster { namespaces },
    })
}

fn labels(typed: Typed<BTreeMap<String, Typed<String>>>, at: &At<'_>) -> BTreeMap<MetadataKey, LabelValue> {
    entries(typed, at, |key, value, at| {
        if key == MANAGED_BY {
            at.report("is the tool's own label");
            return None;
        }
        let key = text(key, at);
        Some((key?, name(value, at)?))
    })
}

fn annotations(typed: Typed<BTreeMap<String, Typed<String>>>, at: &At<'_>) -> BTreeMap<MetadataKey, String> {
    let annotations: BTreeMap<MetadataKey, String> = entries(typed, at, |key, value, at| {
        if let Some((_, instead)) = OWN_ANNOTATIONS.iter().find(|(own, _)| *own == key) {
            at.report(format_args!("is set by the tool: use the identity's `{instead}` instead"));
            return None;
        }
        if let Some(meant) =
            READ_BY_EKS.iter().find(|known| **known != key && key.len() <= LONGEST_GUESSED && strsim::osa_distance(key, known) <= 2)
        {
            let instead = OWN_ANNOTATIONS.iter().find(|(own, _)| own == meant);
            let instead = instead.map(|(_, instead)| format!(", which is the identity's `{instead}`")).unwrap_or_default();
            at.report(format_args!("is read by nobody: did you mean `{meant}`{instead}?"));
            return None;
        }
        let key = text(key, at);
        Some((key?, value.value()?))
    });
    let size: usize = annotations.iter().map(|(key, value)| key.as_str().len() + value.len()).sum();
    if size > LARGEST_ANNOTATIONS {
        at.report(format_args!(
            "{size} bytes in all annotations: Kubernetes takes 256 KiB, of which {LARGEST_ANNOTATIONS} are left beside the tool's own"
        ));
    }
    annotations
}

fn inline_policies(typed: Typed<BTreeMap<String, Typed<Document>>>, files: &Files<'_>, at: &At<'_>) -> BTreeMap<PolicyName, Value> {
    let policies = entries(typed, at, |key, value, at| {
        let key = text(key, at);
        let document = policies::document(value.value()?, files, at);
        Some((key?, document?))
    });
    let size: usize = policies.values().map(|document| document.to_string().chars().count()).sum();
    if size > LARGEST_INLINE_POLICIES {
        at.report(format_args!(
            "{size} characters in all inline policies of the role: IAM takes {LARGEST_INLINE_POLICIES}, use a managed policy"
        ));
    }
    policies
}

fn conditions(typed: Typed<Mapping>, at: &At<'_>) -> Conditions {
    let Some(Mapping(value)) = typed.value() else { return Conditions::default() };
    Conditions::read(&value).unwrap_or_else(|problems| {
        for problem in problems {
            match problem.path.as_slice() {
                [] => at.report(problem.text),
                [operator] => at.key(operator).report(problem.text),
                [operator, key, ..] => at.key(operator).key(key).report(problem.text),
            }
        }
        Conditions::default()
    })
}

fn description(typed: Typed<String>, at: &At<'_>) -> Option<String> {
    let text = typed.value()?;
    // <https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html>
    let legal = |character| matches!(character, '\t' | '\n' | '\r' | ' '..='~' | '\u{a1}'..='\u{ff}');
    let length = text.chars().count();
    if length > LONGEST_DESCRIPTION {
        at.report(format_args!("{length} characters: IAM takes {LONGEST_DESCRIPTION}"));
    }
    if let Some(character) = text.chars().find(|character| !legal(*character)) {
        at.report(format_args!("{} cannot stand in a description: IAM takes Latin-1 characters", quoted(&character.to_string())));
    }
    Some(text)
}
