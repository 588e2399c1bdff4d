//! What many tests begin with: manifests, things made by hand, and questions about what is there.

use std::collections::BTreeSet;

use qovery_irsa::model::date::Date;
use qovery_irsa_sandbox::aws::{Aws, PodIdentityAssociation, evaluate::who_may_assume};
use serde_json::Value;

use crate::support::environment::Environment;

/// The namespace of the sandbox's environment.
pub(crate) const NAMESPACE: &str = "z1a2b3c4-shop";

/// One identity with everything that a role can have.
pub(crate) const MANIFEST: &str = r#"
defaults:
  tags: {team: platform}
identities:
  - serviceAccount: app
    labels: {tier: backend}
    automount: false
    role:
      policies: [arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess]
      inlinePolicies:
        own-bucket: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "s3:*", Resource: "arn:aws:s3:::app-${QOVERY_ENVIRONMENT_ID}/*"}]}
      permissionsBoundary: arn:aws:iam::aws:policy/PowerUserAccess
      maxSessionDuration: 2h
"#;

/// An identity whose role is given by ARN.
pub(crate) const GIVEN: &str = r#"
identities:
  - serviceAccount: app
    role: {arn: "arn:aws:iam::123456789012:role/by-hand"}
"#;

/// A trust policy that somebody else wrote: an EC2 instance may have the role. Its keys are in order, as the job writes them.
pub(crate) const EC2_TRUST: &str =
    r#"{"Statement":[{"Action":"sts:AssumeRole","Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"}}],"Version":"2012-10-17"}"#;

const LONG_AGO: &str = "2026-01-01T00.00.00Z";

/// A role that somebody made by hand, trusted by an EC2 instance.
pub(crate) fn by_hand(aws: &mut Aws) {
    aws.add_role("by-hand", "/", EC2_TRUST);
}

/// That of the ServiceAccount `app` with a role.
pub(crate) fn association(role: &str) -> PodIdentityAssociation {
    PodIdentityAssociation::new(NAMESPACE, "app", role, std::time::SystemTime::UNIX_EPOCH)
}

/// The subject of the ServiceAccount `app` in this namespace.
pub(crate) fn subject(namespace: &str) -> String {
    format!("system:serviceaccount:{namespace}:app")
}

/// Who of these may assume a role, by an evaluator that is not the job's.
pub(crate) fn may_assume(environment: &Environment, role: &str, namespaces: &[String]) -> BTreeSet<String> {
    let issuer = environment.issuer();
    let trust: Value = environment.sandbox.aws(|aws| serde_json::from_str(&aws.roles()[role].trust).unwrap());
    let provider = format!("arn:aws:iam::123456789012:oidc-provider/{issuer}");
    let subjects: Vec<String> = namespaces.iter().map(|namespace| subject(namespace)).collect();
    who_may_assume(&trust, &provider, &issuer, "sts.amazonaws.com", &subjects).into_iter().collect()
}

/// Makes this many namespaces beside that of the environment.
pub(crate) fn namespaces(environment: &Environment, count: usize) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|number| format!("z{number}-clone")).collect();
    environment.sandbox.kubernetes(|kubernetes| names.iter().for_each(|name| kubernetes.add_namespace(name)));
    names
}

/// Runs the job in all these namespaces at once, until all have done it.
#[track_caller]
pub(crate) fn all_at_once(environment: &Environment, namespaces: &[String], command: &str) {
    let running: Vec<_> = namespaces.iter().map(|namespace| environment.spawn_in(namespace, &[command])).collect();
    for run in running {
        run.end().ended(0);
    }
}

/// Which of the ServiceAccounts of these tests exist.
pub(crate) fn service_accounts(environment: &Environment) -> Vec<String> {
    let names = ["app", "old", "worker", "new"];
    let there = |name: &&&str| environment.sandbox.kubernetes(|kubernetes| kubernetes.object("serviceaccounts", NAMESPACE, name).is_some());
    names.iter().filter(there).map(|name| (*name).to_owned()).collect()
}

/// Makes all that is dated an old date.
pub(crate) fn an_hour_passes(environment: &Environment) {
    let older = |text: &str| -> String {
        let words = text.split(' ').map(|word| if word.parse::<Date>().is_ok() { LONG_AGO } else { word });
        words.collect::<Vec<_>>().join(" ")
    };
    let cluster = environment.sandbox.cluster().name().to_owned();
    environment.sandbox.aws(|aws| {
        let names: Vec<String> = aws.roles().keys().cloned().collect();
        for name in names {
            let tags = &mut aws.role_mut(&name).unwrap().tags;
            tags.iter_mut().filter(|(key, _)| key.starts_with("qovery-irsa/job/")).for_each(|(_, value)| *value = older(value));
        }
        for association in aws.cluster_mut(&cluster).unwrap().associations.values_mut() {
            association.tags.values_mut().for_each(|value| *value = older(value));
        }
    });
    for name in service_accounts(environment) {
        environment.sandbox.kubernetes(|kubernetes| {
            let mut account = kubernetes.object("serviceaccounts", NAMESPACE, &name).cloned().unwrap();
            for field in ["labels", "annotations"] {
                let all = account["metadata"][field].as_object_mut().into_iter().flatten();
                all.for_each(|(_, value)| *value = Value::String(older(value.as_str().unwrap())));
            }
            kubernetes.put_object(account);
        });
    }
}
