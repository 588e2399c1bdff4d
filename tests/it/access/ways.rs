//! The ways to AWS and Kubernetes, and where the cluster's issuer is learnt.

use qovery_irsa_sandbox::{
    Setup,
    faults::{Fault, When},
};
use serde_json::{Value, json};

use crate::support::{
    environment::Environment,
    fixtures::{MANIFEST, NAMESPACE},
};

const JOB: &str = "arn:aws:iam::123456789012:user/job";
const POLICY: &str = "docs/permissions/iam-policy.json";

/// What the job's own credentials need where it acts in another role.
fn assume_deployer() -> Value {
    json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "arn:aws:iam::123456789012:role/deployer"})
}

#[test]
fn an_eks_token_is_made_in_the_binary_when_there_is_no_other_way() {
    let mut environment = Environment::new(MANIFEST);
    environment.unset("KUBECONFIG");
    environment.start();
    let witness = environment.sandbox.witness();
    assert_eq!(witness.count("eks:DescribeCluster"), 1);
    assert_eq!(witness.count("kubernetes:get /.well-known/openid-configuration"), 0, "EKS has said who the issuer is");
    assert_eq!(environment.start().writes, 0);
}

#[test]
fn a_mounted_token_is_used_and_its_issuer_taken() {
    let mut environment = Environment::new(MANIFEST);
    environment.unset("KUBECONFIG");
    environment.unset("QOVERY_KUBERNETES_CLUSTER_NAME");
    environment.sandbox.kubernetes(|kubernetes| {
        let verbs = ["get", "create", "patch", "delete"];
        let meta = json!({"name": "qovery-irsa", "namespace": NAMESPACE});
        kubernetes.put_object(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "job", "namespace": NAMESPACE}}));
        kubernetes.put_object(json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta,
            "rules": [{"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": verbs}]}));
        kubernetes.put_object(json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": meta,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "qovery-irsa"},
            "subjects": [{"kind": "ServiceAccount", "name": "job", "namespace": NAMESPACE}]}));
    });
    let directory = environment.sandbox.cluster().mount_token(NAMESPACE, "job").unwrap();
    environment.set("IRSA_KUBE_TOKEN_DIR", &directory.display().to_string());
    let (host, port) = environment
        .sandbox
        .kubernetes_url()
        .trim_start_matches("https://")
        .split_once(':')
        .map(|(host, port)| (host.to_owned(), port.to_owned()))
        .unwrap();
    environment.set("KUBERNETES_SERVICE_HOST", &host);
    environment.set("KUBERNETES_SERVICE_PORT", &port);
    environment.start();
    let witness = environment.sandbox.witness();
    assert_eq!((witness.count("eks:*"), witness.count("kubernetes:get /.well-known/openid-configuration")), (0, 0));
    // Without the cluster's name the issuer's id stands in the path.
    assert!(
        environment
            .sandbox
            .aws(|aws| aws.roles().values().any(|role| role.path == format!("/qovery/EXAMPLED539D4633E53DE1B71EXAMPLE/{NAMESPACE}/")))
    );
    // Another namespace than that of the token is none of its business.
    environment.sandbox.kubernetes(|kubernetes| kubernetes.add_namespace("z2-other"));
    for command in ["start", "delete", "plan", "doctor"] {
        let run = environment.spawn_in("z2-other", &[command]).end().ended(2);
        let said = format!("error: the job runs in namespace `{NAMESPACE}`, as its mounted token says, and not in `z2-other`");
        assert!(run.writes == 0 && run.err.starts_with(&said), "{}", run.err);
    }
    environment.delete();
}

#[test]
fn a_kubeconfig_asks_the_cluster_for_its_issuer_unless_it_is_given() {
    let mut environment = Environment::new(MANIFEST);
    environment.start();
    assert_eq!(environment.sandbox.witness().count("kubernetes:get /.well-known/openid-configuration"), 1);
    environment.sandbox.witness().clear();
    environment.set("IRSA_OIDC_ISSUER", environment.sandbox.cluster().issuer().to_owned().as_str());
    assert_eq!(environment.start().writes, 0);
    assert_eq!(environment.sandbox.witness().count("kubernetes:get /.well-known/openid-configuration"), 0);
}

/// As a stock API server does it: only ServiceAccounts may read the discovery document.
#[test]
fn a_cluster_that_hides_its_issuer_from_the_job_is_made_up_for_by_eks_or_by_the_variable() {
    let mut environment = Environment::new(MANIFEST);
    environment.start();
    assert_eq!(environment.sandbox.witness().count("eks:DescribeCluster"), 1);
    // Without the cluster's name roles have another path.
    environment.delete();
    environment.unset("QOVERY_KUBERNETES_CLUSTER_NAME");
    let run = environment.run(&["start"]).ended(1);
    assert!(
        run.err.contains("failed to read the cluster's OIDC issuer\n  caused by: Forbidden: forbidden: User \"job\" cannot get path \"/.well-known/openid-configuration\"\n")
            && run.err.contains("hint: set `IRSA_OIDC_ISSUER` to the cluster's issuer, or `QOVERY_KUBERNETES_CLUSTER_NAME`")
            && !run.err.contains("rbac.yaml"),
        "{}",
        run.err
    );
    environment.set("IRSA_OIDC_ISSUER", environment.sandbox.cluster().issuer().to_owned().as_str());
    environment.start();
}

/// What every cluster has of roles is made after the API server has begun to serve.
#[test]
fn an_api_server_that_starts_refuses_for_a_second_and_the_run_goes_on() {
    let environment = Environment::new(MANIFEST);
    let role = environment.sandbox.kubernetes(|kubernetes| kubernetes.remove_object("clusterroles", "", "qovery-irsa")).unwrap();
    let mark = environment.sandbox.witness().mark();
    let running = environment.spawn_in(NAMESPACE, &["start"]);
    while !environment.sandbox.witness().since(mark).iter().any(|call| call.operation.contains("serviceaccounts")) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    std::thread::sleep(std::time::Duration::from_millis(600));
    environment.sandbox.kubernetes(|kubernetes| kubernetes.put_object(role));
    let run = running.end().ended(0);
    assert!(run.out.contains("proven: "), "{}", run.out);
}

#[test]
fn issuers_that_contradict_each_other_are_an_error_that_shows_both() {
    let mut environment = Environment::new(MANIFEST);
    environment.unset("KUBECONFIG");
    environment.set("IRSA_OIDC_ISSUER", "https://oidc.eks.eu-west-3.amazonaws.com/id/OTHER");
    let run = environment.run(&["start"]).ended(2);
    assert!(
        run.err.starts_with(
            "error: the cluster's OIDC issuer is contradictory: `IRSA_OIDC_ISSUER` says `https://oidc.eks.eu-west-3.amazonaws.com/id/OTHER`, \
             EKS says `https://oidc.eks.eu-west-3.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE`\n"
        ),
        "{}",
        run.err
    );
    assert_eq!(run.writes, 0);
}

#[test]
fn a_way_that_is_not_there_says_what_to_set() {
    let mut environment = Environment::new(MANIFEST);
    environment.unset("KUBECONFIG");
    environment.unset("QOVERY_KUBERNETES_CLUSTER_NAME");
    let run = environment.run(&["start"]).ended(2);
    assert!(run.err.contains("`QOVERY_KUBERNETES_CLUSTER_NAME` is not set") && run.err.contains("hint: "), "{}", run.err);
    environment.set("IRSA_KUBE_AUTH", "token");
    let run = environment.run(&["start"]).ended(2);
    assert!(run.err.contains("no token is mounted") && run.err.contains("security.automount_service_account_token"), "{}", run.err);
    environment.set("IRSA_KUBE_AUTH", "kubeconfig");
    environment.set("KUBECONFIG", "/nowhere/kubeconfig");
    let run = environment.run(&["start"]).ended(2);
    assert!(run.err.contains("the kubeconfig cannot be used"), "{}", run.err);
    environment.unset("IRSA_KUBE_AUTH");
    environment.unset("KUBECONFIG");
    environment.set("QOVERY_KUBERNETES_CLUSTER_NAME", "none");
    let run = environment.run(&["start"]).ended(1);
    assert!(run.err.contains("failed to describe EKS cluster `none`") && run.err.contains("ResourceNotFoundException"), "{}", run.err);
}

#[test]
fn without_credentials_the_error_says_how_to_give_some() {
    let mut environment = Environment::new(MANIFEST);
    environment.unset("AWS_ACCESS_KEY_ID");
    environment.unset("AWS_SECRET_ACCESS_KEY");
    let run = environment.run(&["start"]).ended(1);
    assert!(run.err.contains("caused by: NoCredentials: ") && run.err.contains("hint: give the job AWS credentials"), "{}", run.err);
    assert!(run.err.lines().all(|line| line.len() < 300 && !line.contains("\\n")), "{}", run.err);
    assert_eq!(run.writes, 0);
}

#[test]
fn credentials_that_are_refused_are_named_with_the_reason() {
    let mut environment = Environment::new(MANIFEST);
    environment.set("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7UNKNOWN");
    let unknown = environment.run(&["start"]).ended(1).err;
    assert!(
        unknown.contains("UnrecognizedClientException")
            && unknown.contains("hint: AWS does not know the credentials of the job, `AWS_ACCESS_KEY_ID` (`AKIA…NOWN`)"),
        "{unknown}"
    );
    let mut environment = Environment::new(MANIFEST);
    environment.set("AWS_SECRET_ACCESS_KEY", "a-secret-of-another-key");
    let wrong = environment.run(&["start"]).ended(1).err;
    assert!(wrong.contains("InvalidSignatureException") && wrong.contains("hint: the secret and `AWS_ACCESS_KEY_ID` (`AKIA"), "{wrong}");
    for told in [unknown, wrong] {
        assert!(!told.contains("give the job AWS credentials"), "{told}");
    }
}

#[test]
fn a_role_can_be_assumed_and_the_cluster_is_still_described_with_the_jobs_own_credentials() {
    let mut environment = Environment::new(MANIFEST).with_permissions(POLICY, &[assume_deployer()]);
    environment.unset("KUBECONFIG");
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": JOB}, "Action": "sts:AssumeRole"}]});
    environment.sandbox.aws(|aws| {
        aws.add_role("deployer", "/", &trust.to_string());
        let role = aws.role_mut("deployer").unwrap();
        role.attached.insert("arn:aws:iam::aws:policy/AdministratorAccess".to_owned());
    });
    environment.set("IRSA_ASSUME_ROLE_ARN", "arn:aws:iam::123456789012:role/deployer");
    environment.start();
    assert_eq!(environment.sandbox.witness().count("sts:AssumeRole"), 1);
    environment.set("IRSA_ASSUME_ROLE_ARN", "arn:aws:iam::123456789012:role/none");
    let run = environment.run(&["start"]).ended(1);
    assert!(run.err.contains("caused by: NoCredentials: AccessDenied: User: ") && !run.err.contains("Error {"), "{}", run.err);
    assert!(run.err.contains("hint: allow the job's own credentials `sts:AssumeRole`"), "{}", run.err);
}

#[test]
fn a_role_that_asks_for_an_external_id_is_assumed_with_it_and_only_so() {
    let mut environment = Environment::new(MANIFEST).with_permissions(POLICY, &[assume_deployer()]);
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": JOB}, "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": "acme:1"}}}]});
    environment.sandbox.aws(|aws| {
        aws.add_role("deployer", "/", &trust.to_string());
        aws.role_mut("deployer").unwrap().attached.insert("arn:aws:iam::aws:policy/AdministratorAccess".to_owned());
    });
    environment.set("IRSA_ASSUME_ROLE_ARN", "arn:aws:iam::123456789012:role/deployer");
    for external_id in [None, Some("acme:2")] {
        if let Some(id) = external_id {
            environment.set("IRSA_ASSUME_ROLE_EXTERNAL_ID", id);
        }
        let run = environment.run(&["start"]).ended(1);
        assert!(run.err.contains("if it asks for an external ID, set `IRSA_ASSUME_ROLE_EXTERNAL_ID`"), "{}", run.err);
        assert_eq!(run.writes, 0);
    }
    environment.set("IRSA_ASSUME_ROLE_EXTERNAL_ID", "acme:1");
    environment.start();
    environment.delete();
}

#[test]
fn the_jobs_own_web_identity_is_its_credentials_and_not_the_role_of_an_identity() {
    let mut environment = Environment::new(MANIFEST);
    environment.start();
    // The role that was just made becomes the job's own, with all permissions.
    environment.change_role(|role| {
        role.attached = ["arn:aws:iam::aws:policy/AdministratorAccess".to_owned()].into();
        role.boundary = None;
    });
    let role = format!("arn:aws:iam::123456789012:role/qovery/demo/{NAMESPACE}/{}", environment.role_name());
    let token = environment.sandbox.files().join("own-token");
    std::fs::write(&token, environment.sandbox.cluster().token(NAMESPACE, "app", "sts.amazonaws.com")).unwrap();
    environment.unset("AWS_ACCESS_KEY_ID");
    environment.unset("AWS_SECRET_ACCESS_KEY");
    environment.set("AWS_ROLE_ARN", &role);
    environment.set("AWS_WEB_IDENTITY_TOKEN_FILE", &token.display().to_string());
    environment
        .without_manifest(&[("SERVICE_ACCOUNT_NAME", "second"), ("IRSA_POLICY_ARNS", "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")]);
    environment.start();
    assert_eq!(environment.roles(), 2);
    assert!(environment.sandbox.witness().count("sts:AssumeRoleWithWebIdentity") >= 1);
}

#[test]
fn other_partitions_have_arns_and_an_sts_of_their_own() {
    for (partition, region, suffix) in [
        ("aws-cn", "cn-north-1", "amazonaws.com.cn"),
        ("aws-us-gov", "us-gov-west-1", "amazonaws.com"),
        ("aws-eusc", "eusc-de-east-1", "amazonaws.eu"),
        ("aws-iso-b", "us-isob-east-1", "sc2s.sgov.gov"),
        // One that AWS makes tomorrow: nothing but a token for the cluster needs to know it.
        ("aws-moon-2", "moon-south-1", "amazonaws.moon"),
    ] {
        let issuer = format!("oidc.eks.{region}.{suffix}/id/EXAMPLE");
        let setup =
            Setup { partition: partition.to_owned(), region: region.to_owned(), issuer: format!("https://{issuer}"), ..Setup::default() };
        let mut environment = Environment::with(setup, &MANIFEST.replace("arn:aws:", &format!("arn:{partition}:")));
        if partition != "aws-moon-2" {
            environment.unset("KUBECONFIG");
        }
        environment.start();
        let trust = environment.sandbox.aws(|aws| aws.roles().values().next().unwrap().trust.clone());
        assert!(trust.contains(&format!("arn:{partition}:iam::123456789012:oidc-provider/{issuer}")), "{trust}");
        assert_eq!(environment.start().writes, 0);
        environment.run(&["doctor"]).ended(0);
        environment.delete();
    }
}

/// By the SDK's own rules: the addresses that a proxy is asked for.
#[test]
fn eks_is_asked_at_the_endpoint_of_its_partition_with_fips_and_dual_stack() {
    for (region, settings, host) in [
        ("eu-west-3", &[] as &[&str], "eks.eu-west-3.amazonaws.com"),
        ("us-east-1", &["AWS_USE_FIPS_ENDPOINT"], "fips.eks.us-east-1.amazonaws.com"),
        ("us-east-1", &["AWS_USE_DUALSTACK_ENDPOINT"], "eks.us-east-1.api.aws"),
        ("us-east-1", &["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"], "eks-fips.us-east-1.api.aws"),
        ("cn-north-1", &[], "eks.cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1", &[], "eks.us-gov-west-1.amazonaws.com"),
        ("eusc-de-east-1", &[], "eks.eusc-de-east-1.amazonaws.eu"),
        ("us-iso-east-1", &[], "eks.us-iso-east-1.c2s.ic.gov"),
        ("us-isob-east-1", &[], "eks.us-isob-east-1.sc2s.sgov.gov"),
    ] {
        let mut environment = Environment::new(MANIFEST);
        environment.unset("KUBECONFIG");
        let endpoints: Vec<String> = environment.variables.keys().filter(|name| name.starts_with("AWS_ENDPOINT_URL")).cloned().collect();
        for name in &endpoints {
            environment.unset(name);
        }
        let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        environment.set("HTTPS_PROXY", &format!("http://{}", proxy.local_addr().unwrap()));
        environment.set("QOVERY_CLOUD_PROVIDER_REGION", region);
        for name in settings {
            environment.set(name, "true");
        }
        let mut running = environment.spawn_in(NAMESPACE, &["plan"]);
        let (client, _) = proxy.accept().unwrap();
        let mut asked = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(client), &mut asked).unwrap();
        // Nobody answers: what it does then is no matter here.
        running.child.kill().unwrap();
        running.end();
        assert_eq!(asked.trim_end(), format!("CONNECT {host}:443 HTTP/1.1"), "{region} {settings:?}");
    }
}

#[test]
fn a_server_with_another_certificate_is_not_trusted_and_not_tried_again() {
    let mut environment = Environment::new(MANIFEST);
    environment.unset("SSL_CERT_FILE");
    let started = std::time::Instant::now();
    let run = environment.run(&["start"]).ended(1);
    assert!(
        run.err.contains("caused by: UntrustedCertificate: ") && run.err.contains("hint: if a proxy stands between, set `SSL_CERT_FILE`"),
        "{}",
        run.err
    );
    assert!(started.elapsed() < std::time::Duration::from_secs(20));
    environment.set("SSL_CERT_FILE", "/nowhere.pem");
    let run = environment.run(&["start"]).ended(2);
    assert!(run.err.contains("`SSL_CERT_FILE`: cannot read certificates from `/nowhere.pem`"), "{}", run.err);
}

#[test]
fn a_discovery_document_that_may_not_be_read_is_made_up_for_by_eks() {
    let environment = Environment::new(MANIFEST);
    let discovery = "kubernetes:get /.well-known/openid-configuration";
    environment.sandbox.faults().add(discovery, When::Always, Fault::denied(discovery));
    environment.start();
    assert_eq!(environment.sandbox.witness().count("eks:DescribeCluster"), 1);
}

#[test]
fn a_kubeconfig_that_cannot_be_read_shows_nothing_of_what_stands_in_it() {
    let mut environment = Environment::new(MANIFEST);
    let path = environment.sandbox.files().join("broken-kubeconfig");
    let text = "apiVersion: v1\nkind: Config\nusers:\n- name: a\n  user: {token: planted-secret-token\nclusters: [";
    std::fs::write(&path, text).unwrap();
    environment.set("KUBECONFIG", &path.display().to_string());
    let run = environment.run(&["start"]).ended(2);
    assert!(
        run.err.starts_with("error: the kubeconfig cannot be used: it is not the YAML of a kubeconfig\nhint: correct `KUBECONFIG`"),
        "{}",
        run.err
    );
    assert!(!run.err.contains("planted"), "{}", run.err);
}

/// Nobody listens at that address: what is sent there takes longer than a refusal.
const ELSEWHERE: &str = "192.0.2.1";

#[test]
fn no_token_for_the_api_server_goes_where_there_is_no_tls() {
    let mut environment = Environment::new(MANIFEST);
    let text = std::fs::read_to_string(&environment.variables["KUBECONFIG"]).unwrap();
    let (asked, path) = (environment.sandbox.files().join("asked"), environment.sandbox.files().join("plain-kubeconfig"));
    let program =
        json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "touch", "args": [asked], "interactiveMode": "Never"}});
    environment.set("KUBECONFIG", &path.display().to_string());
    let write = |server: &str, change: &dyn Fn(&mut Value)| {
        let mut kubeconfig: Value = serde_json::from_str(&text).unwrap();
        kubeconfig["clusters"][0]["cluster"] = json!({ "server": server });
        change(&mut kubeconfig);
        std::fs::write(&path, kubeconfig.to_string()).unwrap();
    };
    for server in [format!("http://{ELSEWHERE}:8080"), format!("http://job:planted-secret@{ELSEWHERE}:8080/path")] {
        for user in [None, Some(&program)] {
            write(&server, &|kubeconfig| {
                if let Some(user) = user {
                    kubeconfig["users"][0]["user"] = user.clone();
                }
            });
            let run = environment.run(&["start"]).ended(2);
            assert!(
                run.err.starts_with(&format!("error: the API server `http://{ELSEWHERE}:8080` is not reached by TLS: nothing was sent"))
                    && run.err.contains("hint: write the address of the API server with `https://`"),
                "{}",
                run.err
            );
            assert!(!run.err.contains("planted"), "{}", run.err);
        }
    }
    assert!(!asked.exists(), "no program was asked for a token");
    // On the machine itself nobody stands between, unless a proxy does.
    let local = "http://127.0.0.1:9";
    write(local, &|kubeconfig| kubeconfig["clusters"][0]["cluster"]["proxy-url"] = format!("http://{ELSEWHERE}:3128").into());
    let run = environment.run(&["start"]).ended(2);
    assert!(run.err.contains("is not reached by TLS"), "{}", run.err);
    write(local, &|_| ());
    environment.set("IRSA_TIMEOUT", "10s");
    let run = environment.run(&["start"]).ended(1);
    assert!(run.err.contains("caused by: NoConnection: "), "{}", run.err);
}

#[test]
fn no_eks_token_goes_where_there_is_no_tls() {
    let mut environment = Environment::new(MANIFEST);
    environment.unset("KUBECONFIG");
    environment.sandbox.aws(|aws| aws.cluster_mut("demo").unwrap().endpoint = format!("http://{ELSEWHERE}:8080"));
    let run = environment.run(&["start"]).ended(2);
    assert!(run.err.contains(&format!("the API server `http://{ELSEWHERE}:8080` is not reached by TLS")), "{}", run.err);
}

#[test]
fn no_token_for_qovery_goes_where_there_is_no_tls() {
    let mut environment = Environment::new("identities: [{serviceAccount: app, role: {}, bindServices: [api]}]");
    environment.set("IRSA_QOVERY_TOKEN", "planted");
    for url in ["http://192.0.2.1", "http://127.0.0.1@192.0.2.1", "http://127.0.0.1.example.com", "http://localhost.example.com"] {
        environment.set("IRSA_QOVERY_API_URL", url);
        let run = environment.run(&["start"]).ended(2);
        assert!(run.err.contains(&format!("`IRSA_QOVERY_API_URL`: `{url}` is not the URL of an API: use `https://`")), "{}", run.err);
    }
}

#[test]
fn no_web_identity_token_goes_where_there_is_no_tls() {
    let mut environment = Environment::new(MANIFEST);
    environment.start();
    environment.set("AWS_ENDPOINT_URL_STS", &format!("http://{ELSEWHERE}"));
    let run = environment.run(&["start"]).ended(4);
    let said = format!("nothing was sent to `http://{ELSEWHERE}`: a web identity token goes over `https://` only");
    assert!(run.err.contains("caused by: NoTls: ") && run.err.contains(&said), "{}", run.err);
    // The job's own token is one as well.
    let token = environment.sandbox.files().join("own-token");
    std::fs::write(&token, environment.sandbox.cluster().token(NAMESPACE, "app", "sts.amazonaws.com")).unwrap();
    environment.unset("AWS_ACCESS_KEY_ID");
    environment.unset("AWS_SECRET_ACCESS_KEY");
    environment.set("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/job");
    environment.set("AWS_WEB_IDENTITY_TOKEN_FILE", &token.display().to_string());
    let run = environment.run(&["start"]).ended(1);
    assert!(run.err.contains("caused by: NoTls: ") && run.err.contains(&said), "{}", run.err);
}

#[test]
fn credentials_that_fail_once_are_asked_for_again() {
    let mut environment = Environment::new(MANIFEST).with_permissions(POLICY, &[assume_deployer()]);
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": JOB}, "Action": "sts:AssumeRole"}]});
    environment.sandbox.aws(|aws| {
        aws.add_role("deployer", "/", &trust.to_string());
        aws.role_mut("deployer").unwrap().attached.insert("arn:aws:iam::aws:policy/AdministratorAccess".to_owned());
    });
    environment.set("IRSA_ASSUME_ROLE_ARN", "arn:aws:iam::123456789012:role/deployer");
    environment.sandbox.faults().add("sts:AssumeRole", When::Nth(1), Fault::Throttle);
    environment.start();
    assert_eq!(environment.sandbox.witness().count("sts:AssumeRole"), 2);
}

/// Where there is no instance metadata, as in most pods, whoever asks for it waits for seconds.
#[test]
fn the_instance_metadata_is_not_asked_where_region_or_credentials_are_known_from_elsewhere() {
    let metadata = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    metadata.set_nonblocking(true).unwrap();
    let asked = || metadata.accept().is_ok();
    let mut environment = Environment::new(MANIFEST);
    environment.unset("AWS_EC2_METADATA_DISABLED");
    environment.set("AWS_EC2_METADATA_SERVICE_ENDPOINT", &format!("http://{}", metadata.local_addr().unwrap()));
    environment.start();
    assert!(!asked());
    environment.unset("QOVERY_CLOUD_PROVIDER_REGION");
    environment.start();
    environment.unset("AWS_REGION");
    let run = environment.run(&["start"]).ended(2);
    assert!(
        run.err.starts_with("error: no AWS region is known")
            && run.err.contains("hint: set `QOVERY_CLOUD_PROVIDER_REGION` or `AWS_REGION`"),
        "{}",
        run.err
    );
    assert!(!asked());
    // It is the last that is asked for credentials.
    environment.set("QOVERY_CLOUD_PROVIDER_REGION", "eu-west-3");
    environment.unset("AWS_ACCESS_KEY_ID");
    environment.set("IRSA_TIMEOUT", "10s");
    environment.run(&["start"]).ended(1);
    assert!(asked());
}
