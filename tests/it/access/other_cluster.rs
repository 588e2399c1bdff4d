//! A kubeconfig, a cluster's name and an issuer that are not of one cluster: nothing is changed in either.

use qovery_irsa_sandbox::{
    Setup,
    faults::{Fault, When},
};
use serde_json::{Value, json};

use crate::support::{
    environment::{Environment, job_kubeconfig, open_discovery},
    fixtures::{MANIFEST, NAMESPACE},
};

const OTHER: &str = "https://oidc.eks.eu-west-3.amazonaws.com/id/OTHER";
const DISCOVERY: &str = "kubernetes:get /.well-known/openid-configuration";
const TOKEN: &str = "kubernetes:create serviceaccounts/token";

/// An environment in place in the first cluster, and beside it another cluster with a namespace of the same name.
fn in_place() -> Environment {
    let setup = Setup { second_cluster: Some(("other".to_owned(), OTHER.to_owned())), ..Setup::default() };
    let environment = Environment::with(setup, MANIFEST);
    for cluster in [environment.sandbox.cluster(), environment.sandbox.second_cluster().unwrap()] {
        cluster.kubernetes(|kubernetes| {
            kubernetes.default_service_accounts = true;
            kubernetes.add_namespace(NAMESPACE);
        });
    }
    environment.start();
    environment
}

/// The same, with the kubeconfig of the second cluster from now on.
fn with_the_other_kubeconfig() -> Environment {
    let mut environment = in_place();
    let kubeconfig = job_kubeconfig(environment.sandbox.second_cluster().unwrap());
    environment.set("KUBECONFIG", &kubeconfig);
    environment
}

fn close_discovery(environment: &Environment) {
    environment.sandbox.faults().add(DISCOVERY, When::Always, Fault::denied(DISCOVERY));
}

/// Everything that changes something or says what would be changed: refused, and nothing was.
#[track_caller]
fn refused(environment: &Environment, message: &str) {
    for arguments in [&["start"] as &[_], &["delete"], &["plan"], &["plan", "delete"]] {
        let run = environment.run(arguments).ended(2);
        assert!(run.err.starts_with(&format!("error: {message}")) && run.err.contains("hint: "), "{arguments:?}: {}", run.err);
        assert_eq!((run.writes, environment.roles()), (0, 1), "{arguments:?}");
    }
    let gone = environment.service_account().is_none();
    assert!(!gone, "the first cluster's ServiceAccount stays");
}

#[test]
fn a_kubeconfig_of_another_cluster_than_the_named_one_is_refused_by_the_clusters_own_token() {
    let environment = with_the_other_kubeconfig();
    close_discovery(&environment);
    let first = environment.sandbox.cluster().issuer();
    refused(
        &environment,
        &format!("the cluster's OIDC issuer is contradictory: EKS says `{first}`, a token of the cluster says `{OTHER}`"),
    );
}

#[test]
fn a_kubeconfig_of_another_cluster_than_the_named_one_is_refused_where_it_gives_no_token() {
    let environment = with_the_other_kubeconfig();
    close_discovery(&environment);
    environment.sandbox.faults().add(TOKEN, When::Always, Fault::error(403, "Forbidden"));
    let url = environment.sandbox.kubernetes_url();
    refused(&environment, &format!("the kubeconfig does not lead to EKS cluster `demo`, which is at `{url}`"));
}

/// The authority alone tells two clusters apart: nobody is asked for a token.
#[test]
fn a_kubeconfig_with_another_authority_is_of_another_cluster() {
    let environment = in_place();
    close_discovery(&environment);
    let (endpoint, issuer) = ("https://A1.gr7.eu-west-3.eks.amazonaws.com", environment.sandbox.cluster().issuer().to_owned());
    let authority = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    environment.sandbox.aws(|aws| aws.add_cluster("demo", endpoint, authority, &issuer));
    environment.sandbox.witness().clear();
    refused(&environment, &format!("the kubeconfig does not lead to EKS cluster `demo`, which is at `{endpoint}`"));
    assert_eq!(environment.sandbox.witness().count(TOKEN), 0);
}

#[test]
fn a_tunnel_to_the_named_cluster_is_that_cluster() {
    let mut environment = in_place();
    close_discovery(&environment);
    let mut kubeconfig: Value = serde_json::from_slice(&std::fs::read(job_kubeconfig(environment.sandbox.cluster())).unwrap()).unwrap();
    let server = environment.sandbox.kubernetes_url().replace("127.0.0.1", "localhost");
    kubeconfig["clusters"][0]["cluster"]["server"] = json!(server);
    let path = environment.sandbox.files().join("tunnel-kubeconfig");
    std::fs::write(&path, kubeconfig.to_string()).unwrap();
    environment.set("KUBECONFIG", &path.display().to_string());
    assert_eq!(environment.start().writes, 0);
    // Without a token nobody can tell.
    environment.sandbox.faults().add(TOKEN, When::Always, Fault::error(403, "Forbidden"));
    environment.run(&["delete"]).ended(2);
    environment.sandbox.faults().clear();
    environment.delete();
    assert_eq!(environment.roles(), 0);
}

#[test]
fn an_issuer_of_another_cluster_is_refused_by_discovery_before_anything_is_made() {
    let mut environment = with_the_other_kubeconfig();
    open_discovery(environment.sandbox.second_cluster().unwrap());
    let first = environment.sandbox.cluster().issuer().to_owned();
    environment.set("IRSA_OIDC_ISSUER", &first);
    refused(
        &environment,
        &format!(
            "the cluster's OIDC issuer is contradictory: `IRSA_OIDC_ISSUER` says `{first}`, the cluster's discovery document says `{OTHER}`"
        ),
    );
}

/// The namespaces of the one cluster are not those of the other: every other environment would look gone.
#[test]
fn nothing_is_swept_by_the_namespaces_of_another_cluster() {
    let mut environment = in_place();
    environment.sandbox.kubernetes(|kubernetes| kubernetes.add_namespace("z2-clone"));
    environment.spawn_in("z2-clone", &["start"]).end().ended(0);
    environment.set("IRSA_OIDC_ISSUER", environment.sandbox.cluster().issuer().to_owned().as_str());
    let kubeconfig = job_kubeconfig(environment.sandbox.second_cluster().unwrap());
    environment.set("KUBECONFIG", &kubeconfig);
    let run = environment.run(&["sweep"]).ended(2);
    assert!(run.err.contains("the cluster's OIDC issuer is contradictory"), "{}", run.err);
    close_discovery(&environment);
    environment.run(&["sweep"]).ended(2);
    environment.unset("IRSA_OIDC_ISSUER");
    environment.run(&["sweep"]).ended(2);
    assert_eq!(environment.roles(), 2);
}

#[test]
fn an_issuer_of_another_cluster_is_refused_by_a_token_where_discovery_is_closed() {
    let mut environment = with_the_other_kubeconfig();
    let first = environment.sandbox.cluster().issuer().to_owned();
    environment.set("IRSA_OIDC_ISSUER", &first);
    close_discovery(&environment);
    refused(
        &environment,
        &format!("the cluster's OIDC issuer is contradictory: `IRSA_OIDC_ISSUER` says `{first}`, a token of the cluster says `{OTHER}`"),
    );
}

#[test]
fn an_issuer_of_nobody_makes_no_provider() {
    let mut environment = Environment::new(MANIFEST);
    environment.set("IRSA_OIDC_ISSUER", "https://oidc.example.com/id/ANOTHER");
    let run = environment.run(&["start"]).ended(2);
    assert!(run.err.contains("the cluster's OIDC issuer is contradictory"), "{}", run.err);
    assert_eq!((run.writes, environment.roles()), (0, 0));
    // Neither where only EKS can tell.
    close_discovery(&environment);
    environment.sandbox.faults().add(TOKEN, When::Always, Fault::error(403, "Forbidden"));
    let run = environment.run(&["start"]).ended(2);
    assert!(run.err.contains("`IRSA_OIDC_ISSUER` says `https://oidc.example.com/id/ANOTHER`, EKS says"), "{}", run.err);
    assert_eq!((run.writes, environment.roles()), (0, 0));
}

#[test]
fn an_issuer_that_nobody_can_confirm_is_taken_with_a_note() {
    let mut environment = Environment::new(MANIFEST);
    let issuer = environment.sandbox.cluster().issuer().to_owned();
    environment.set("IRSA_OIDC_ISSUER", &issuer);
    environment.unset("QOVERY_KUBERNETES_CLUSTER_NAME");
    close_discovery(&environment);
    environment.sandbox.faults().add(TOKEN, When::Always, Fault::error(403, "Forbidden"));
    let run = environment.start();
    assert!(
        run.out.contains("note: `IRSA_OIDC_ISSUER` is taken as it is, since the cluster does not say its issuer: Forbidden"),
        "{}",
        run.out
    );
    assert_eq!(environment.roles(), 1);
}

#[test]
fn an_issuer_is_confirmed_only_where_something_is_to_be_changed() {
    let mut environment = Environment::new(MANIFEST);
    let issuer = environment.sandbox.cluster().issuer().to_owned();
    environment.set("IRSA_OIDC_ISSUER", &issuer);
    environment.start();
    assert_eq!(environment.sandbox.witness().count(DISCOVERY), 1);
    environment.sandbox.witness().clear();
    environment.start();
    assert_eq!(environment.sandbox.witness().count(DISCOVERY), 0);
}

/// What speaks no Kubernetes is a stranger, not another cluster: its own words are told.
#[test]
fn a_stranger_at_the_kubeconfigs_address_is_told_in_its_words() {
    let mut environment = with_the_other_kubeconfig();
    environment.sandbox.faults().add(DISCOVERY, When::Always, Fault::error(403, "BlockedByPolicy"));
    environment.sandbox.faults().add(TOKEN, When::Always, Fault::error(403, "BlockedByPolicy"));
    for command in ["start", "delete"] {
        let run = environment.run(&[command]).ended(1);
        assert!(run.writes == 0 && run.err.contains("BlockedByPolicy"), "{}", run.err);
    }
    environment.set("IRSA_OIDC_ISSUER", OTHER);
    assert_eq!(environment.run(&["delete"]).writes, 0);
}
