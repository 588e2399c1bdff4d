//! A job with a mounted token: what its ServiceAccount is spared, and what is done and said where the token or the role of its pod are not
//! what they should be.

use std::path::Path;

use qovery_irsa_sandbox::qovery::chart;
use serde_json::{Value, json};

use crate::support::{
    environment::Environment,
    fixtures::{MANIFEST, NAMESPACE},
};

/// The ServiceAccount that the chart makes.
const OWN: &str = "qovery-irsa";
const OWN_ROLE: &str = "arn:aws:iam::123456789012:role/qovery-irsa-demo";

/// An environment whose job has the token of the chart's ServiceAccount, with the chart's Role if it is `bound`, and AWS keys still.
fn mounted(manifest: &str, bound: bool) -> Environment {
    let mut environment = Environment::new(manifest);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/qovery-irsa");
    let values = json!({ "serviceAccount": OWN, "roleArn": OWN_ROLE });
    let release = chart::Release { name: "account".to_owned(), namespace: NAMESPACE.to_owned() };
    for mut object in chart::render_for(&folder, &values, &release).unwrap() {
        object["metadata"]["namespace"] = NAMESPACE.into();
        object["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "Helm".into();
        if bound || object["kind"] == "ServiceAccount" {
            environment.sandbox.kubernetes(|kubernetes| kubernetes.put_object(object)).unwrap();
        }
    }
    let directory = environment.sandbox.cluster().mount_token(NAMESPACE, OWN).unwrap();
    let address = environment.sandbox.kubernetes_url().trim_start_matches("https://").to_owned();
    let (host, port) = address.split_once(':').unwrap();
    environment.unset("KUBECONFIG");
    environment.set("IRSA_KUBE_TOKEN_DIR", &directory.display().to_string());
    environment.set("KUBERNETES_SERVICE_HOST", host);
    environment.set("KUBERNETES_SERVICE_PORT", port);
    environment
}

fn own_account(environment: &Environment) -> Value {
    environment.sandbox.kubernetes(|kubernetes| kubernetes.object("serviceaccounts", NAMESPACE, OWN).cloned()).unwrap()
}

#[test]
fn an_identity_with_the_jobs_own_service_account_is_refused_before_anything() {
    let environment = mounted(&MANIFEST.replace("serviceAccount: app", "serviceAccount: qovery-irsa"), true);
    let before = own_account(&environment);
    for command in [&["start"][..], &["plan"]] {
        let mark = environment.sandbox.witness().mark();
        let run = environment.run(command).ended(3);
        assert_eq!(
            run.err.lines().next().unwrap(),
            format!(
                "error: refused: ServiceAccount `{NAMESPACE}/{OWN}` is the one that the job itself runs as: with another role it would lose its own"
            )
        );
        assert!(run.err.contains("hint: give the identity another `serviceAccount`"), "{}", run.err);
        assert_eq!(environment.sandbox.witness().since(mark).len(), 0, "nothing was asked of anybody");
    }
    // A delete event that failed would keep the environment.
    environment.delete();
    environment.run(&["plan", "delete"]).ended(0);
    assert_eq!(own_account(&environment), before);
}

#[test]
fn the_jobs_own_service_account_is_neither_adopted_nor_removed() {
    let mut environment = mounted(MANIFEST, true);
    let before = own_account(&environment);
    environment.start();
    environment.write_manifest("identities: [{serviceAccount: other, role: {}}]");
    environment.start();
    environment.run(&["doctor", "--service-account", OWN]);
    environment.write_manifest(MANIFEST);
    environment.start();
    environment.delete();
    assert_eq!(own_account(&environment), before);
    // By the other way, which may see all namespaces.
    environment.unset("IRSA_KUBE_TOKEN_DIR");
    environment.start();
    environment.run(&["sweep"]).ended(0);
    environment.delete();
    assert_eq!(own_account(&environment), before);
    // All that the sweep of a deleted environment could take.
    environment.sandbox.kubernetes(|kubernetes| kubernetes.add_namespace("z2-other"));
    environment.spawn_in("z2-other", &["sweep"]).end().ended(0);
    assert_eq!(own_account(&environment), before);
}

#[test]
fn a_forbidden_token_is_made_up_for_by_an_access_entry_with_one_note() {
    let environment = mounted(MANIFEST, false);
    let run = environment.start();
    let note = format!(
        "note: the mounted token of ServiceAccount `{NAMESPACE}/{OWN}` may not read ServiceAccounts: the API server is reached by an EKS token"
    );
    assert_eq!(run.out.matches(&note).count(), 1, "{}", run.out);
    assert!(run.out.contains("or set `IRSA_KUBE_AUTH=eks`") && run.out.contains("proven: "), "{}", run.out);
    assert_eq!(environment.sandbox.witness().count("eks:DescribeCluster"), 1);
    assert_eq!(environment.start().writes, 0);
    assert!(environment.run(&["plan"]).ended(0).out.contains(&note));
    assert!(environment.delete().out.contains(&note));
    assert_eq!((environment.roles(), environment.service_account()), (0, None));
    // The job's own ServiceAccount is spared this way as well.
    environment.write_manifest(&MANIFEST.replace("serviceAccount: app", "serviceAccount: qovery-irsa"));
    environment.run(&["start"]).ended(3);
}

#[test]
fn a_token_that_works_costs_no_call_of_eks() {
    let environment = mounted(MANIFEST, true);
    let run = environment.start();
    assert!(!run.out.contains("EKS token"), "{}", run.out);
    environment.delete();
    assert_eq!(environment.sandbox.witness().count("eks:DescribeCluster"), 0);
}

#[test]
fn where_no_way_works_the_refusal_of_the_token_is_the_error() {
    let forbidden = format!("caused by: Forbidden: serviceaccounts \"app\" is forbidden: User \"system:serviceaccount:{NAMESPACE}:{OWN}\"");
    let refused = |environment: &Environment| {
        let run = environment.run(&["start"]).ended(1);
        assert!(run.err.contains(&forbidden) && run.writes == 0, "{}", run.err);
        assert!(run.err.contains("if the job's IAM role has an EKS access entry, set `IRSA_KUBE_AUTH=eks`"), "{}", run.err);
        run.out
    };
    // Chosen by a person.
    let mut environment = mounted(MANIFEST, false);
    environment.set("IRSA_KUBE_AUTH", "token");
    assert!(!refused(&environment).contains("does not work either"));
    assert_eq!(environment.sandbox.witness().count("eks:*"), 0);
    // The name of the cluster is not known.
    let mut environment = mounted(MANIFEST, false);
    environment.unset("QOVERY_KUBERNETES_CLUSTER_NAME");
    refused(&environment);
    assert_eq!(environment.sandbox.witness().count("eks:*"), 0);
    // The AWS credentials have no access entry.
    let environment = mounted(MANIFEST, false);
    let name = environment.sandbox.cluster().name().to_owned();
    environment.sandbox.aws(|aws| aws.cluster_mut(&name).unwrap().access_entries.clear());
    let out = refused(&environment);
    assert!(
        out.contains(
            "note: the mounted token may not read ServiceAccounts, and by the job's AWS credentials it does not work either: Unauthorized"
        ),
        "{out}"
    );
}

#[test]
fn a_pod_that_eks_gave_no_role_is_told_to_be_made_anew() {
    let mut environment = mounted(MANIFEST, true);
    environment.unset("AWS_ACCESS_KEY_ID");
    environment.unset("AWS_SECRET_ACCESS_KEY");
    let err = environment.run(&["start"]).ended(1).err;
    assert!(err.contains("caused by: NoCredentials: "), "{err}");
    assert!(
        err.contains("hint: EKS gave the job's pod no role. If the job runs as a ServiceAccount with a role (`job.role`), the pod was created before EKS knew that: restarts keep the pod, so deploy again."),
        "{err}"
    );
}

#[test]
fn a_web_identity_of_the_job_that_is_refused_names_bootstrap_and_the_namespace() {
    let mut environment = mounted(MANIFEST, true);
    environment.unset("AWS_ACCESS_KEY_ID");
    environment.unset("AWS_SECRET_ACCESS_KEY");
    let issuer = environment.issuer();
    let token = environment.sandbox.files().join("own-token");
    std::fs::write(&token, environment.sandbox.cluster().token(NAMESPACE, OWN, "sts.amazonaws.com")).unwrap();
    environment.set("AWS_ROLE_ARN", OWN_ROLE);
    environment.set("AWS_WEB_IDENTITY_TOKEN_FILE", &token.display().to_string());
    // Nobody has bootstrapped.
    let err = environment.run(&["start"]).ended(1).err;
    assert!(err.contains("caused by: NoCredentials: InvalidIdentityToken: No OpenIDConnect provider found"), "{err}");
    assert!(
        err.contains(&format!(
            "hint: IAM does not take tokens of this cluster: run `bootstrap` for it in the account of role `{OWN_ROLE}`"
        )),
        "{err}"
    );
    // It was for other namespaces.
    let trust = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity",
        "Principal": {"Federated": format!("arn:aws:iam::123456789012:oidc-provider/{issuer}")},
        "Condition": {"StringLike": {format!("{issuer}:sub"): format!("system:serviceaccount:zprod*:{OWN}")}},
    }]});
    environment.sandbox.aws(|aws| {
        let url = format!("https://{issuer}");
        aws.call("CreateOpenIDConnectProvider", &[("Url", &url), ("ClientIDList.member.1", "sts.amazonaws.com")]).unwrap();
        aws.add_role("qovery-irsa-demo", "/", &trust.to_string());
    });
    let err = environment.run(&["start"]).ended(1).err;
    assert!(err.contains("caused by: NoCredentials: AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity"), "{err}");
    let said = format!(
        "hint: role `{OWN_ROLE}` does not let in the job's ServiceAccount in namespace `{NAMESPACE}`: run `bootstrap` with a pattern of namespaces that matches it"
    );
    assert!(err.contains(&said) && !err.contains("IRSA_ASSUME_ROLE_ARN"), "{err}");
}
