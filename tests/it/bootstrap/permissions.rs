//! The role that `bootstrap` makes is enough for the jobs, and for no more than their zone.

use crate::support::{
    environment::Run,
    fixtures::{GIVEN, MANIFEST, NAMESPACE, by_hand},
    pod_identity::{ASSOCIATED, add_pod},
    zone::{BOUNDARY, Laptop, ROLE, ZONE},
};

/// Runs the job as its pod would: with the web identity of its ServiceAccount and no key.
fn job(laptop: &Laptop, command: &str, variables: &[(&str, &str)]) -> Run {
    let mut all = laptop.environment.variables.clone();
    all.retain(|name, _| !["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"].contains(&name.as_str()));
    let token = laptop.environment.sandbox.files().join("job-token");
    std::fs::write(&token, laptop.environment.sandbox.cluster().token(NAMESPACE, "qovery-irsa", "sts.amazonaws.com")).unwrap();
    let role = format!("arn:aws:iam::123456789012:role/{ROLE}");
    let file = token.display().to_string();
    let own = [("AWS_ROLE_ARN", role.as_str()), ("AWS_WEB_IDENTITY_TOKEN_FILE", &file), ("QOVERY_KUBERNETES_CLUSTER_NAME", "demo")];
    all.extend(own.iter().chain(variables).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    laptop.environment.run_with(&[command], &all)
}

/// The zone of a manifest's jobs: with a boundary, or without.
fn zone(bounded: bool, keys: &str) -> String {
    let zone =
        if bounded { ZONE.to_owned() } else { "cluster:\n  name: demo\n  namespaces: [z*]\n  permissionsBoundary: none\n".to_owned() };
    format!("{zone}  {keys}\n")
}

#[test]
fn the_jobs_can_deploy_and_delete_with_the_role_alone() {
    let boundary = "arn:aws:iam::aws:policy/PowerUserAccess";
    let bounded = |manifest: &str| format!("defaults: {{permissionsBoundary: \"{BOUNDARY}\"}}\n{manifest}");
    let given = "roles: [\"arn:aws:iam::123456789012:role/by-hand\"]";
    for (zone, manifest) in [
        (zone(true, ""), MANIFEST.replace(boundary, BOUNDARY)),
        (zone(false, ""), MANIFEST.to_owned()),
        (zone(true, given), GIVEN.to_owned()),
        (zone(true, "podIdentity: true"), bounded(ASSOCIATED)),
        (
            zone(true, "roles: [\"arn:aws:iam::123456789012:role/qovery/together\"]"),
            bounded("identities: [{serviceAccount: app, role: {scope: shared, name: together, tags: {cost: x}}}]"),
        ),
    ] {
        let laptop = Laptop::new(&format!("{zone}{manifest}"));
        laptop.environment.sandbox.aws(by_hand);
        add_pod(&laptop.environment, NAMESPACE, "app", "app-1");
        laptop.bootstrap(&[]).ended(0);
        laptop.environment.write_manifest(&manifest);
        job(&laptop, "start", &[]).ended(0);
        assert_eq!(job(&laptop, "start", &[]).ended(0).writes, 0, "{manifest}");
        job(&laptop, "delete", &[]).ended(0);
    }
}

#[test]
fn the_jobs_can_do_nothing_outside_their_zone() {
    let laptop = Laptop::bootstrapped(ZONE);
    laptop.environment.guard("rolePatterns", "['^arn:aws:iam::[0-9]{12}:role/']");
    laptop.environment.write_manifest("identities: [{serviceAccount: app, role: {path: /other/}}]");
    let run = job(&laptop, "start", &[]).ended(1);
    assert!(run.err.contains("AccessDenied"), "{}", run.err);
    // Without the boundary.
    laptop.environment.write_manifest("identities: [{serviceAccount: app, role: {}}]");
    let run = job(&laptop, "start", &[]).ended(1);
    assert!(run.err.contains("AccessDenied"), "{}", run.err);
    // A namespace that no pattern matches.
    laptop.environment.write_manifest(&ZONE.replace("[z*]", "[y*]"));
    laptop.bootstrap(&[]).ended(0);
    laptop.environment.write_manifest("identities: [{serviceAccount: app, role: {}}]");
    let run = job(&laptop, "start", &[]).ended(1);
    assert!(run.err.contains("sts:AssumeRoleWithWebIdentity"), "{}", run.err);
}
