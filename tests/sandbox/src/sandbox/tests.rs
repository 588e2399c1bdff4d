//! The sandbox as a test meets it: its parts are wired, its files are its own, its record is whole.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use super::*;
use crate::aws::PodIdentityAssociation;

/// The status of a plain request.
fn get(url: &str, path: &str, token: Option<&str>) -> u16 {
    let address = url.trim_start_matches("https://");
    let mut stream = TcpStream::connect(address).unwrap();
    let authorization = token.map_or_else(String::new, |token| format!("authorization: Bearer {token}\r\n"));
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{authorization}\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn the_cluster_is_known_to_aws_and_knows_its_tokens() {
    let sandbox = Sandbox::start();
    let url = sandbox.kubernetes_url();
    let (endpoint, issuer) = sandbox.aws(|aws| {
        let cluster = &aws.clusters()["demo"];
        (cluster.endpoint.clone(), cluster.issuer.clone())
    });
    assert_eq!((endpoint, issuer), (url.clone(), sandbox.setup().issuer.clone()));
    for (token, status) in [(Some(ADMIN_TOKEN), 200), (Some(NOBODY_TOKEN), 403), (Some("another"), 401), (None, 403)] {
        assert_eq!(get(&url, "/api/v1/namespaces", token), status, "{token:?}");
    }
    assert_eq!(sandbox.witness().count("kubernetes:list namespaces"), 4);
}

#[test]
fn its_files_are_its_own_and_go_with_it() {
    let one = Sandbox::start();
    let two = Sandbox::start();
    assert_ne!(one.files(), two.files());
    assert_ne!(one.aws_url(), two.aws_url());
    let files = one.files().to_owned();
    let mounted = one.cluster().mount_token("team", "app").unwrap();
    for file in ["ca.pem", "kubeconfig", "serviceaccount/token", "serviceaccount/ca.crt"] {
        assert!(files.join(file).exists(), "{file}");
    }
    assert_eq!(std::fs::read_to_string(mounted.join("namespace")).unwrap(), "team");
    drop(one);
    assert!(!files.exists());
}

#[test]
fn the_environment_points_only_into_the_sandbox() {
    let sandbox = Sandbox::start();
    let with_kubeconfig = sandbox.environment();
    let with_eks_token = sandbox.environment_with_eks_token();
    assert!(with_kubeconfig.contains_key("KUBECONFIG"));
    assert!(!with_eks_token.contains_key("KUBECONFIG"));
    assert_eq!(with_eks_token["AWS_ENDPOINT_URL"], sandbox.aws_url());
    assert!(std::path::Path::new(&with_eks_token["SSL_CERT_FILE"]).exists());
    for absent in ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"] {
        let path = std::path::Path::new(&with_eks_token[absent]);
        assert!(path.starts_with(sandbox.files()) && !path.exists(), "{absent}");
    }
}

#[test]
fn a_token_is_signed_by_the_cluster_for_its_service_account() {
    let sandbox = Sandbox::start();
    let token = sandbox.cluster().token("team", "app", "sts.amazonaws.com");
    let claims = ClusterKey::first().verify(&token).unwrap();
    assert_eq!(claims["iss"], sandbox.setup().issuer.as_str());
    assert_eq!(claims["sub"], "system:serviceaccount:team:app");
    assert_eq!(claims["aud"], json!(["sts.amazonaws.com"]));
    assert!(ClusterKey::second().verify(&token).is_none());
}

#[test]
fn asking_for_what_is_not_implemented_fails_the_test() {
    let ask = |setup: Setup| {
        let sandbox = setup.start().unwrap();
        assert_eq!(get(&sandbox.kubernetes_url(), "/apis/no/v1/such", Some(ADMIN_TOKEN)), 501);
        drop(sandbox);
    };
    let strict = std::panic::catch_unwind(|| ask(Setup::default()));
    let message = strict.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("does not implement kubernetes:"), "{message}");
    ask(Setup { strict: false, ..Setup::default() });
}

#[test]
fn equal_sandboxes_have_equal_states() {
    let (one, two) = (Sandbox::start(), Sandbox::start());
    let arrange = |sandbox: &Sandbox| sandbox.kubernetes(|kubernetes| kubernetes.add_namespace("team"));
    arrange(&one);
    assert_ne!(one.state(), two.state());
    arrange(&two);
    assert_eq!(one.state(), two.state());
}

#[test]
fn a_second_cluster_shares_the_account_and_nothing_else() {
    let issuer = "https://oidc.eks.eu-west-3.amazonaws.com/id/SECOND4633E53DE1B71EXAMPLESECOND";
    let second_cluster = Some(("other".to_owned(), issuer.to_owned()));
    let sandbox = Setup { second_cluster, ..Setup::default() }.start().unwrap();
    let other = sandbox.second_cluster().unwrap();
    assert!(sandbox.aws(|aws| aws.clusters().contains_key("other")));
    assert_ne!(other.url(), sandbox.kubernetes_url());
    assert_ne!(sandbox.environment_of(other)["KUBECONFIG"], sandbox.environment()["KUBECONFIG"]);
    let token = other.token("team", "app", "sts.amazonaws.com");
    assert!(ClusterKey::first().verify(&token).is_none());
    assert!(ClusterKey::second().verify(&token).is_some());
    get(&other.url(), "/api/v1/namespaces", Some(ADMIN_TOKEN));
    assert_eq!(sandbox.witness().calls()[0].server, "kubernetes-2");
}

#[test]
fn a_pod_of_an_association_gets_pod_identity_as_soon_as_eks_knows_it() {
    let sandbox = Sandbox::start();
    let admit = |name: &str| {
        sandbox.kubernetes(|kubernetes| {
            kubernetes.put_admitted_pod(json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "team"},
                "spec": {"serviceAccountName": "app", "nodeName": "n", "containers": [{"name": "main"}]},
            }));
            kubernetes.object("pods", "team", name).unwrap()["spec"]["containers"][0]["env"].is_array()
        })
    };
    assert!(!admit("before"));
    sandbox.aws(|aws| {
        let association = PodIdentityAssociation::new("team", "app", "arn:aws:iam::123456789012:role/app", sandbox.clock().now());
        aws.cluster_mut("demo").unwrap().associations.insert("a-1".to_owned(), association);
        aws.delay_eks(Duration::from_mins(1));
    });
    assert!(!admit("early"));
    sandbox.aws(|aws| aws.delay_eks(Duration::ZERO));
    assert!(admit("after"));
    let claims =
        |pod: &str| ClusterKey::first().verify(&sandbox.cluster().pod_token("team", "app", pod, "pods.eks.amazonaws.com")).unwrap();
    let uid = sandbox.kubernetes(|kubernetes| kubernetes.object("pods", "team", "after").unwrap()["metadata"]["uid"].clone());
    assert_eq!(claims("after")["kubernetes.io"]["pod"], json!({"name": "after", "uid": uid}));
    assert_eq!(claims("after")["kubernetes.io"]["node"], json!({"name": "n"}));
    assert!(claims("none")["kubernetes.io"].get("node").is_none());
}
