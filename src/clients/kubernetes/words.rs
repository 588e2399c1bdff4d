//! What an API server says in sentences: who may not do what, and which part of the cluster does not want an object.
//!
//! A sentence that is not known says nothing.

use crate::clients::call::{Admission, Denial, DeniedBy};

/// What RBAC, or another authorizer, does not permit: `serviceaccounts "app" is forbidden: User "job" cannot patch resource
/// "serviceaccounts" in API group "" in the namespace "z1"`. Nothing if the message is another: then it is no authorizer's.
/// <https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/errors.go>
pub(super) fn denial(message: &str) -> Option<Denial> {
    // A patch that would create is asked about once more, and then only the authorizer's reason is told: RBAC gives none, or says which of its rules it could not read.
    // <https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/apiserver/pkg/endpoints/handlers/create.go>
    let create =
        message.split_once("is forbidden:").filter(|(_, reason)| reason.trim().is_empty() || reason.trim_start().starts_with("RBAC: "));
    if let Some((resource, _)) = create.and_then(|(thing, _)| thing.split_once(' ')) {
        return Some(Denial { action: Some(format!("create {resource}")), by: DeniedBy::Rbac, is_explicit: false, caller: None });
    }
    let (_, rest) = message.split_once("User \"")?;
    let (caller, rest) = rest.split_once("\" cannot ")?;
    let (verb, rest) = rest.split_once(' ')?;
    let what = match rest.strip_prefix("resource \"") {
        Some(rest) => rest.split_once('"')?.0,
        // Of what is no resource: `cannot get path "/.well-known/openid-configuration"`.
        None => rest.strip_prefix("path \"")?.split_once('"')?.0,
    };
    let is_plain = |text: &str| !text.is_empty() && text.chars().all(|character| character.is_ascii_graphic());
    let action = (is_plain(verb) && is_plain(what)).then(|| format!("{verb} {what}"));
    Some(Denial { action, by: DeniedBy::Rbac, is_explicit: false, caller: Some(caller.to_owned()) })
}

/// Which part of the cluster refuses with status 403.
pub(super) fn admission(message: &str) -> Admission {
    if message.contains("because it is being terminated") {
        return Admission::Terminating;
    }
    if let Some((_, rest)) = message.split_once("exceeded quota: ") {
        return Admission::Quota(rest.split(',').next().unwrap_or_default().trim().to_owned());
    }
    refusal(message).unwrap_or(Admission::Other)
}

/// Which webhook or policy refuses, whatever its status.
/// <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/>,
/// <https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/>
pub(super) fn refusal(message: &str) -> Option<Admission> {
    let quoted = |start: &str, quote: char| {
        let (_, rest) = message.split_once(start)?;
        rest.split_once(quote).map(|(name, _)| name.to_owned())
    };
    if message.contains("does not support dry run") {
        return Some(Admission::NoDryRun);
    }
    if let Some(name) = quoted("failed calling webhook \"", '"') {
        return Some(Admission::BrokenWebhook(name));
    }
    if let Some(name) = quoted("admission webhook \"", '"') {
        return Some(Admission::Webhook(name));
    }
    if let Some(name) = quoted("ValidatingAdmissionPolicy '", '\'') {
        return Some(Admission::Policy(name));
    }
    quoted("MutatingAdmissionPolicy '", '\'').map(Admission::BrokenPolicy)
}

/// The manager of `conflict with "kubectl-annotate" using v1`.
pub(super) fn manager(message: &str) -> String {
    let named = message.split_once("conflict with \"").and_then(|(_, rest)| rest.split_once('"'));
    named.map_or(message, |(manager, _)| manager).to_owned()
}

/// Whether a conflict is that of a precondition on the uid, or of the uid of what a token is to be bound to.
/// <https://github.com/kubernetes/kubernetes/blob/master/pkg/registry/core/serviceaccount/storage/token.go>
pub(super) fn is_of_uid(message: &str) -> bool {
    let said = message.to_ascii_lowercase();
    ["uid in precondition", "uid mismatch", "does not match the uid in record"].iter().any(|words| said.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_authorizer_names_a_user_that_cannot() {
        let denied = |message: &str| denial(message).and_then(|denial| denial.action);
        for (message, action) in [
            (
                r#"serviceaccounts "app" is forbidden: User "nobody" cannot create resource "serviceaccounts/token" in API group "" in the namespace "team""#,
                Some("create serviceaccounts/token"),
            ),
            (
                r#"namespaces is forbidden: User "u" cannot list resource "namespaces" in API group "" at the cluster scope"#,
                Some("list namespaces"),
            ),
            (r#"forbidden: User "u" cannot get path "/.well-known/openid-configuration""#, Some("get /.well-known/openid-configuration")),
            (r#"admission webhook "v.gatekeeper.sh" denied the request: [must-have-team] you must provide labels: {"team"}"#, None),
            (r#"serviceaccounts "b" is forbidden: unable to create new content in namespace p2 because it is being terminated"#, None),
            (r#"serviceaccounts "app" is forbidden: "#, Some("create serviceaccounts")),
            (
                r#"serviceaccounts "app" is forbidden: RBAC: clusterrole.rbac.authorization.k8s.io "x" not found"#,
                Some("create serviceaccounts"),
            ),
            (r#"User "u" cannot"#, None),
            ("", None),
        ] {
            assert_eq!(denied(message).as_deref(), action, "{message}");
        }
    }

    #[test]
    fn who_refuses_is_named() {
        for (message, by) in [
            (
                r#"admission webhook "v.gatekeeper.sh" denied the request: [must-have-team] no"#,
                Admission::Webhook("v.gatekeeper.sh".to_owned()),
            ),
            (
                "serviceaccounts \"app\" is forbidden: ValidatingAdmissionPolicy 'teams' with binding 'all' denied request: failed expression: false",
                Admission::Policy("teams".to_owned()),
            ),
            (
                r#"serviceaccounts "app" is forbidden: exceeded quota: none, requested: count/serviceaccounts=1, used: count/serviceaccounts=1, limited: count/serviceaccounts=0"#,
                Admission::Quota("none".to_owned()),
            ),
            ("unable to create new content in namespace p2 because it is being terminated", Admission::Terminating),
            (
                r#"Internal error occurred: failed calling webhook "w.example.com": failed to call webhook: connection refused"#,
                Admission::BrokenWebhook("w.example.com".to_owned()),
            ),
            ("no", Admission::Other),
        ] {
            assert_eq!(admission(message), by, "{message}");
        }
        assert_eq!(refusal("Invalid value: 60"), None);
        assert_eq!(refusal(r#"admission webhook "w" does not support dry run"#), Some(Admission::NoDryRun));
    }

    #[test]
    fn a_conflict_of_the_uid_is_not_one_of_an_object_whose_name_has_these_letters() {
        assert!(is_of_uid(
            "the UID in the bound object reference (a) does not match the UID in record. The object might have been deleted"
        ));
        assert!(is_of_uid("Precondition failed: UID in precondition: a, UID in object meta: b"));
        assert!(is_of_uid(r#"Operation cannot be fulfilled on serviceaccounts "app": uid mismatch: the provided object specified uid a"#));
        assert!(!is_of_uid(r#"Operation cannot be fulfilled on serviceaccounts "druid": the object has been modified"#));
    }
}
