//! What the manifest and the variables say of an association, and what EKS has then.

use serde_json::{Value, json};

use crate::support::{
    environment::Environment,
    fixtures::{NAMESPACE, subject},
    pod_identity::{add_agent, associations},
};

const POLICY: &str = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}"#;

#[test]
fn each_key_of_the_manifest_is_in_the_association_and_its_external_id_is_an_output() {
    let manifest = r"
defaults: {podIdentity: true}
identities:
  - serviceAccount: app
    podIdentity:
      targetRoleArn: arn:aws:iam::210987654321:role/data
      disableSessionTags: true
      sessionPolicy: {file: policies/session.json}
      tags: {team: shop}
    role: {inlinePolicies: {own: {file: policies/own.json}}}
";
    let environment = Environment::of_pod_identity(manifest);
    add_agent(&environment);
    let directory = environment.sandbox.files().join("policies");
    let run = environment.run(&["start"]).ended(2);
    let missing = format!("role.inlinePolicies.own.file: `{}` cannot be read: ", directory.join("own.json").display());
    assert!(run.err.contains("manifest.yml:10: identities[0].") && run.err.contains(&missing), "{}", run.err);
    std::fs::create_dir(&directory).unwrap();
    for name in ["session.json", "own.json"] {
        std::fs::write(directory.join(name), POLICY).unwrap();
    }
    environment.start();
    let [found] = &associations(&environment)[..] else { panic!() };
    assert_eq!(found.target_role_arn.as_deref(), Some("arn:aws:iam::210987654321:role/data"));
    assert!(found.disable_session_tags);
    let session: Value = serde_json::from_str(found.policy.as_ref().unwrap()).unwrap();
    assert_eq!(session, serde_json::from_str::<Value>(POLICY).unwrap());
    assert_eq!((found.tags["team"].as_str(), found.tags["qovery-irsa/owner"].as_str()), ("shop", "z1a2b3c4-shop/app"));
    let outputs = environment.outputs();
    assert!(outputs["IDENTITY_APP_EXTERNAL_ID"]["value"].as_str().is_some_and(|id| !id.is_empty()), "{outputs}");
    let name = environment.role_name();
    let own = environment.sandbox.aws(|aws| aws.roles()[&name].inline["own"].clone());
    assert_eq!(serde_json::from_str::<Value>(&own).unwrap(), serde_json::from_str::<Value>(POLICY).unwrap());
    assert_eq!(environment.start().writes, 0);
}

/// Pods that run keep their role all the while: it is the same association.
#[test]
fn a_target_role_that_leaves_the_manifest_leaves_the_association_in_place() {
    let manifest = |of_pods: &str| format!("identities: [{{serviceAccount: app, podIdentity: {of_pods}, role: {{}}}}]");
    let environment = Environment::of_pod_identity(&manifest("{targetRoleArn: \"arn:aws:iam::210987654321:role/data\"}"));
    add_agent(&environment);
    environment.start();
    let cluster = environment.sandbox.cluster().name().to_owned();
    let ids = || environment.sandbox.aws(|aws| aws.clusters()[&cluster].associations.keys().cloned().collect::<Vec<_>>());
    let before = ids();
    environment.write_manifest(&manifest("true"));
    let run = environment.start();
    assert!(run.out.contains("done: update the association of ServiceAccount") && run.writes == 1, "{}", run.out);
    assert_eq!((ids(), associations(&environment)[0].target_role_arn.as_deref()), (before, None));
    assert_eq!(environment.start().writes, 0);
}

#[test]
fn the_one_identity_of_variables_gets_an_association() {
    let mut environment = Environment::of_pod_identity("");
    add_agent(&environment);
    let policy = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess";
    environment.without_manifest(&[("SERVICE_ACCOUNT_NAME", "app"), ("IRSA_POLICY_ARNS", policy), ("IRSA_BINDING", "podIdentity")]);
    environment.start();
    let found = associations(&environment);
    assert_eq!(
        found.iter().map(|found| (found.namespace.as_str(), found.service_account.as_str())).collect::<Vec<_>>(),
        [(NAMESPACE, "app")]
    );
    let account = environment.service_account().unwrap();
    assert_eq!(account["metadata"]["annotations"].get("eks.amazonaws.com/role-arn"), None, "{account}");
    assert!(environment.outputs().get("IDENTITY_APP_EXTERNAL_ID").is_none());
    assert_eq!(environment.outputs()["IDENTITY_APP_SERVICE_ACCOUNT"]["value"], json!("app"));
    // Nothing is proven by EKS Pod Identity before a pod runs.
    assert_eq!(environment.outputs()["IDENTITY_APP_PROVEN"]["value"], json!("false"));
}

#[test]
fn two_identities_of_one_shared_role_may_have_a_binding_each() {
    let role = "role: {scope: shared, name: together, policies: [\"arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess\"]}";
    let environment = Environment::of_pod_identity(&format!(
        "identities: [{{serviceAccount: app, {role}}}, {{serviceAccount: pods, podIdentity: true, {role}}}]"
    ));
    add_agent(&environment);
    environment.start();
    assert_eq!(environment.start().writes, 0);
    let trust = environment.sandbox.aws(|aws| aws.roles()["together"].trust.clone());
    assert!(trust.contains(&subject(NAMESPACE)) && trust.contains("pods.eks.amazonaws.com"), "{trust}");
    environment.delete();
    assert_eq!(environment.delete().writes, 0);
}

/// Opening it would wait for somebody who writes.
#[test]
fn a_pipe_is_no_policy_file_and_no_manifest() {
    let environment = Environment::new("identities: [{serviceAccount: app, role: {inlinePolicies: {own: {file: pipe}}}}]");
    let pipe = environment.sandbox.files().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let said = format!("`{}` cannot be read: it is no regular file", pipe.display());
    let run = environment.run(&["start"]).ended(2);
    assert!(run.err.contains(&said), "{}", run.err);
    let run = environment.run(&["start", "--manifest", &pipe.display().to_string()]).ended(2);
    assert!(run.err.contains("cannot be read: it is no regular file"), "{}", run.err);
}

#[test]
fn a_role_of_another_account_is_refused_with_the_way_that_eks_has_for_it() {
    let environment = Environment::of_pod_identity(
        "identities: [{serviceAccount: app, podIdentity: true, role: {arn: 'arn:aws:iam::210987654321:role/x'}}]",
    );
    let run = environment.run(&["start"]).ended(2);
    assert!(run.err.contains("takes only roles of the cluster's account, `123456789012`"), "{}", run.err);
    assert!(run.err.contains("`podIdentity.targetRoleArn`") && !run.err.contains("IRSA_ASSUME_ROLE_ARN"), "{}", run.err);
}
