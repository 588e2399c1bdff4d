//! What two identities of a manifest have in common: one ServiceAccount, or one role.
//!
//! Whether an identity by itself is any good is not looked at here.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    mem::discriminant,
};

use super::{
    manifest,
    text::{
        problems::{At, quoted},
        reader::Typed,
    },
};
use crate::model::{
    identity::{Binding, Identity, ManagedRole, RoleOrigin, RoleSpec, Scope},
    names::RoleName,
    role::{RoleAttributes, RoleSettings},
};

/// Two identities cannot have one ServiceAccount, nor one service, nor two roles of one environment one name.
///
/// This looks at what was typed, so that an identity with another problem counts too.
pub(super) fn report_shared_names(identities: &[Typed<manifest::Identity>], at: &At<'_>) {
    let (mut accounts, mut roles, mut services) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (index, identity) in identities.iter().enumerate() {
        let Typed::Value(identity) = identity else { continue };
        if let Typed::Value(name) = &identity.service_account
            && let Some(first) = first_with(&mut accounts, name.clone(), index)
        {
            at.index(index)
                .key("serviceAccount")
                .report(format_args!("{} is the ServiceAccount of `identities[{first}]` too", quoted(name)));
        }
        let typed = match &identity.bind_services {
            Typed::Value(services) => services.as_slice(),
            Typed::Absent | Typed::Wrong => &[],
        };
        for (number, service) in typed.iter().enumerate() {
            if let Typed::Value(name) = service
                && let Some(first) = first_with(&mut services, name.to_lowercase(), index)
            {
                let whose = if first == index { "here twice".to_owned() } else { format!("bound by `identities[{first}]` too") };
                at.index(index).key("bindServices").index(number).report(format_args!("{} is {whose}", quoted(name)));
            }
        }
        if let Typed::Value(manifest::Role { arn: Typed::Absent, name: Typed::Value(name), scope, .. }) = &identity.role
            && is_alone(scope)
            && let Some(first) = first_with(&mut roles, name.to_lowercase(), index)
        {
            let text = format_args!("{} is the name of the role of `identities[{first}]` too: IAM ignores case", quoted(name));
            at.index(index).key("role").key("name").report(text);
        }
    }
}

/// Whether a role that is made is one environment's; of an unknown scope nobody knows.
fn is_alone(scope: &Typed<String>) -> bool {
    match scope {
        Typed::Absent => true,
        Typed::Value(scope) => scope == "environment",
        Typed::Wrong => false,
    }
}

/// The index that has the name already; otherwise `index` has it from now on.
fn first_with(names: &mut BTreeMap<String, usize>, name: String, index: usize) -> Option<usize> {
    match names.entry(name) {
        Entry::Occupied(first) => Some(*first.get()),
        Entry::Vacant(entry) => {
            entry.insert(index);
            None
        }
    }
}

/// Identities that name one role must say the same of it, or no two runs would agree on what it is.
///
/// Each comes with its index in the manifest. Two roles of one environment are [`report_shared_names`]' matter.
pub(super) fn report_roles_in_two_ways(identities: &[(usize, Identity)], at: &At<'_>) {
    let mut firsts: BTreeMap<String, (usize, &Identity)> = BTreeMap::new();
    for (index, identity) in identities {
        let Some(name) = name_of(&identity.role) else { continue };
        let (first, other) = *firsts.entry(name.as_str().to_lowercase()).or_insert((*index, identity));
        let both_alone = [other, identity].iter().all(|identity| identity.role.scope == Scope::Environment);
        let differs = difference(&other.role, &identity.role).or_else(|| difference_of_bindings(other, identity));
        if !both_alone && let Some(key) = differs {
            let text =
                format_args!("`{name}` is the role of `identities[{first}]` too, but `{key}` differs: of one role both must say the same");
            at.index(*index).key("role").report(text);
        }
    }
}

/// The name of a role, unless it is made from an identity's own names.
fn name_of(role: &RoleSpec) -> Option<&RoleName> {
    match &role.origin {
        RoleOrigin::Given(arn) => Some(&arn.name),
        RoleOrigin::Managed(made) => made.name.as_ref(),
    }
}

/// The key of a binding in which the trust of one role cannot be two things.
fn difference_of_bindings(one: &Identity, other: &Identity) -> Option<&'static str> {
    let are_shared = [one, other].iter().all(|identity| matches!(identity.role.scope, Scope::Shared { .. }));
    match (&one.binding, &other.binding) {
        (Binding::Irsa { .. }, Binding::Irsa { .. }) => None,
        (Binding::PodIdentity(one), Binding::PodIdentity(other)) => {
            (one.session_tags != other.session_tags).then_some("disableSessionTags")
        }
        // A shared role lets in both: by name, and whoever has an association.
        (Binding::Irsa { .. }, Binding::PodIdentity(_)) | (Binding::PodIdentity(_), Binding::Irsa { .. }) => {
            (!are_shared).then_some("podIdentity")
        }
    }
}

/// The first key in which two roles differ that can only be one thing. Namespaces and subjects add up.
fn difference(one: &RoleSpec, other: &RoleSpec) -> Option<&'static str> {
    let mut same = Vec::new();
    match (&one.origin, &other.origin) {
        (RoleOrigin::Given(one), RoleOrigin::Given(other)) => same.push(("arn", one == other)),
        (RoleOrigin::Managed(one), RoleOrigin::Managed(other)) => {
            let ManagedRole { name, path, attributes } = &**one;
            same.extend([("name", *name == other.name), ("path", *path == other.path)]);
            let RoleAttributes { settings, permissions_boundary, policies, inline_policies, tags } = attributes;
            let RoleSettings { description, max_session_duration } = settings;
            let other = &other.attributes;
            same.extend([
                ("policies", *policies == other.policies),
                ("inlinePolicies", *inline_policies == other.inline_policies),
                ("permissionsBoundary", *permissions_boundary == other.permissions_boundary),
                ("maxSessionDuration", *max_session_duration == other.settings.max_session_duration),
                ("description", *description == other.settings.description),
                ("tags", *tags == other.tags),
            ]);
        }
        (RoleOrigin::Given(_), RoleOrigin::Managed(_)) | (RoleOrigin::Managed(_), RoleOrigin::Given(_)) => same.push(("arn", false)),
    }
    same.push(("scope", discriminant(&one.scope) == discriminant(&other.scope)));
    if let (Scope::Shared { retain }, Scope::Shared { retain: other }) = (&one.scope, &other.scope) {
        same.push(("retain", retain == other));
    }
    same.into_iter().find(|(_, same)| !same).map(|(key, _)| key)
}
