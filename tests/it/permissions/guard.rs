//! The published admission policy: what the group of the job cannot do, whatever the published RBAC allows it, and that the job can do its
//! work. The local API server evaluates the expressions of the file itself.

use http::{Method, Request};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use qovery_irsa_sandbox::{cluster::Cluster, kubernetes::API_AUDIENCE};
use serde_json::{Value, json};

use crate::support::{
    environment::Environment,
    fixtures::{GIVEN, MANIFEST, NAMESPACE, by_hand},
    repository::{objects, read},
};

const GUARD: &str = "docs/permissions/admission-guard.yaml";
const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";
const JSON: &str = "application/json";
const ADMINISTRATOR: &str = "arn:aws:iam::123456789012:role/administrator";
const OWN: &str = "arn:aws:iam::123456789012:role/qovery/demo/z1/app";

/// Somebody at the API server, as any client is.
struct Caller {
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl Caller {
    /// The job itself: who a kubeconfig says.
    fn of(kubeconfig: &str) -> Self {
        qovery_irsa::clients::http::install_crypto();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(async {
            let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
            let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
            Client::try_from(config).unwrap()
        });
        Self { client, runtime }
    }

    /// The bearer of a token.
    fn with_token(cluster: &Cluster, token: &str) -> Self {
        let mut document: Value = serde_json::from_slice(&std::fs::read(cluster.kubeconfig()).unwrap()).unwrap();
        document["users"][0]["user"] = json!({ "token": token });
        let path = cluster.kubeconfig().with_file_name("bearer-kubeconfig");
        std::fs::write(&path, document.to_string()).unwrap();
        Self::of(&path.display().to_string())
    }

    /// The code, and the object or what is said.
    fn send(&self, line: &str, media: &str, body: &Value) -> (u16, Value) {
        let (method, path) = line.split_once(' ').unwrap();
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request =
            Request::builder().method(method.parse::<Method>().unwrap()).uri(path).header("content-type", media).body(body).unwrap();
        match self.runtime.block_on(self.client.request::<Value>(request)) {
            Ok(object) => (200, object),
            Err(kube::Error::Api(status)) => (status.code, json!({"reason": status.reason, "message": status.message})),
            Err(error) => panic!("{line}: {error}"),
        }
    }

    fn token(&self, namespace: &str, name: &str, spec: &Value) -> (u16, Value) {
        self.send(&format!("POST /api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"), JSON, &json!({ "spec": spec }))
    }
}

fn account(metadata: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
}

fn with_role(name: &str, role: &str) -> Value {
    account(&json!({"name": name, "annotations": {"eks.amazonaws.com/role-arn": role}}))
}

/// A cluster with ServiceAccounts in two namespaces of Qovery and in one that is none.
fn environment() -> Environment {
    let environment = Environment::new(MANIFEST);
    environment.sandbox.kubernetes(|kubernetes| {
        kubernetes.add_namespace("z2-other");
        for (namespace, name, labels) in [
            (NAMESPACE, "chart", json!({"app.kubernetes.io/managed-by": "Helm"})),
            (NAMESPACE, "own", json!({"app.kubernetes.io/managed-by": "qovery-irsa"})),
            ("z2-other", "own", json!({"app.kubernetes.io/managed-by": "qovery-irsa"})),
            ("kube-system", "controller", json!({"app.kubernetes.io/managed-by": "qovery-irsa"})),
        ] {
            kubernetes.put_object(account(&json!({"name": name, "namespace": namespace, "labels": labels})));
        }
    });
    environment
}

/// More than the published RBAC gives: the guard does not rely on it.
fn allow_everything_with_service_accounts(environment: &Environment) {
    environment.sandbox.kubernetes(|kubernetes| {
        let mut role = objects("docs/permissions/rbac.yaml").remove(0);
        role["rules"][0] = json!({"apiGroups": [""], "resources": ["serviceaccounts", "serviceaccounts/token"], "verbs": ["*"]});
        kubernetes.put_object(role);
    });
}

fn without_guard(environment: &Environment) {
    environment.sandbox.kubernetes(|kubernetes| {
        kubernetes.remove_object("validatingadmissionpolicybindings", "", "qovery-irsa").unwrap();
    });
}

#[test]
fn without_the_guard_the_group_is_every_service_account_of_the_cluster() {
    let environment = environment();
    without_guard(&environment);
    let job = Caller::of(&environment.variables["KUBECONFIG"]);
    let (code, answer) = job.token("kube-system", "controller", &json!({}));
    assert_eq!(code, 200, "{answer}");
    let controller = Caller::with_token(environment.sandbox.cluster(), answer["status"]["token"].as_str().unwrap());
    let (code, review) = controller.send("POST /apis/authentication.k8s.io/v1/selfsubjectreviews", JSON, &json!({}));
    assert_eq!((code, &review["status"]["userInfo"]["username"]), (200, &json!("system:serviceaccount:kube-system:controller")));
}

#[test]
fn no_token_that_the_group_can_get_is_taken_by_the_api_server() {
    let environment = environment();
    allow_everything_with_service_accounts(&environment);
    let job = Caller::of(&environment.variables["KUBECONFIG"]);
    let sts = "sts.amazonaws.com";
    for (namespace, name) in [(NAMESPACE, "chart"), (NAMESPACE, "own"), ("z2-other", "own"), ("kube-system", "controller")] {
        for audiences in
            [json!([]), json!([API_AUDIENCE]), json!([sts, API_AUDIENCE]), json!([API_AUDIENCE, sts]), json!(["STS.amazonaws.com"])]
        {
            let (code, answer) = job.token(namespace, name, &json!({ "audiences": audiences }));
            assert_eq!((code, &answer["reason"]), (422, &json!("Invalid")), "{namespace}/{name} {audiences}: {answer}");
        }
        assert_eq!(job.token(namespace, name, &json!({})).0, 422);
    }
    // What it gets is for AWS, and for nobody else.
    for audiences in [json!([sts]), json!(["pods.eks.amazonaws.com"]), json!([sts, "pods.eks.amazonaws.com"])] {
        let (code, answer) = job.token(NAMESPACE, "own", &json!({ "audiences": audiences, "expirationSeconds": 600 }));
        assert_eq!(code, 200, "{answer}");
        let bearer = Caller::with_token(environment.sandbox.cluster(), answer["status"]["token"].as_str().unwrap());
        assert_eq!(bearer.send("GET /version", JSON, &Value::Null).0, 401, "{audiences}");
    }
    let (code, answer) = job.token(NAMESPACE, "own", &json!({"audiences": [sts], "expirationSeconds": 86400}));
    assert_eq!(code, 422, "{answer}");
    let (_, answer) = job.token("kube-system", "controller", &json!({"audiences": [sts]}));
    assert_eq!(
        answer["message"],
        "serviceaccounts \"controller\" is forbidden: ValidatingAdmissionPolicy 'qovery-irsa' with binding 'qovery-irsa' denied request: \
         namespace `kube-system` matches no pattern in `namespaces` of this policy"
    );
}

#[test]
fn the_group_changes_no_service_account_but_as_the_job_does() {
    let environment = environment();
    allow_everything_with_service_accounts(&environment);
    let before = environment.sandbox.kubernetes(|kubernetes| kubernetes.state());
    let job = Caller::of(&environment.variables["KUBECONFIG"]);
    let at = |namespace: &str, rest: &str| format!("/api/v1/namespaces/{namespace}/serviceaccounts{rest}");
    let here = |method: &str, rest: &str| format!("{method} {}", at(NAMESPACE, rest));
    let manager = "?fieldManager=qovery-irsa";
    let label = |name: &str| account(&json!({"name": name, "labels": {"app.kubernetes.io/managed-by": "qovery-irsa"}}));
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "none", "uid": "1"}]);
    let none = Value::Null;
    for (line, media, body, said) in [
        // Outside the namespaces of Qovery.
        (format!("POST {}", at("kube-system", "")), JSON, with_role("new", OWN), "namespace `kube-system` matches no pattern"),
        (
            format!("PATCH {}", at("kube-system", &format!("/new{manager}"))),
            APPLY,
            with_role("new", OWN),
            "namespace `kube-system` matches",
        ),
        (format!("PATCH {}", at("kube-system", "/controller")), MERGE, json!({"metadata": {"labels": null}}), "namespace `kube-system`"),
        (format!("PUT {}", at("kube-system", "/controller")), JSON, with_role("controller", OWN), "namespace `kube-system` matches"),
        (format!("DELETE {}", at("kube-system", "/controller")), JSON, none.clone(), "namespace `kube-system` matches no pattern"),
        (format!("DELETE {}", at("kube-system", "")), JSON, none.clone(), "namespace `kube-system` matches no pattern"),
        (format!("PATCH {}", at("default", &format!("/z{manager}"))), APPLY, with_role("z", OWN), "namespace `default` matches no pattern"),
        // Another role than one below the path.
        (here("POST", ""), JSON, with_role("new", ADMINISTRATOR), "role `arn:aws:iam::123456789012:role/administrator` is in neither"),
        (here("PATCH", &format!("/new{manager}")), APPLY, with_role("new", ADMINISTRATOR), "is in neither `rolePatterns`"),
        (here("PATCH", &format!("/chart{manager}")), APPLY, with_role("chart", ADMINISTRATOR), "is in neither `rolePatterns`"),
        (here("PATCH", "/chart"), MERGE, with_role("chart", ADMINISTRATOR), "is in neither `rolePatterns`"),
        (here("PUT", "/own"), JSON, with_role("own", ADMINISTRATOR), "is in neither `rolePatterns`"),
        (here("PATCH", "/chart"), MERGE, with_role("chart", &format!("{ADMINISTRATOR}\n{OWN}")), "the job may name only roles"),
        (here("PATCH", "/chart"), MERGE, with_role("chart", &format!("{OWN}\n{ADMINISTRATOR}")), "the job may name only roles"),
        (here("PATCH", "/chart"), MERGE, with_role("chart", "arn:aws:iam::123456789012:role/qoveryx/a"), "is in neither"),
        // What it has not created.
        (here("DELETE", "/chart"), JSON, none.clone(), "the job may delete only ServiceAccounts that it has created"),
        (here("DELETE", ""), JSON, none.clone(), "the job may delete only ServiceAccounts that it has created"),
        (here("PATCH", &format!("/chart{manager}&force=true")), APPLY, label("chart"), "may not put its label"),
        (here("PATCH", "/chart"), MERGE, label("chart"), "may not put its label"),
        (here("PATCH", "/chart"), MERGE, json!({"metadata": {"ownerReferences": owner}}), "and nothing else"),
        (here("PATCH", "/chart"), MERGE, json!({"metadata": {"finalizers": ["example.com/never"]}}), "and nothing else"),
        // What no run does.
        (here("PATCH", "/chart"), MERGE, json!({"imagePullSecrets": [{"name": "theirs"}]}), "and nothing else"),
        (here("PATCH", "/own"), MERGE, json!({"secrets": [{"name": "theirs"}]}), "and nothing else"),
        (here("POST", ""), JSON, account(&json!({"name": "new", "finalizers": ["example.com/never"]})), "and nothing else"),
        (here("POST", "?dryRun=All"), JSON, with_role("new", ADMINISTRATOR), "is in neither `rolePatterns`"),
    ] {
        let (code, answer) = job.send(&line, media, &body);
        let message = answer["message"].as_str().unwrap_or_default();
        let denied = "is forbidden: ValidatingAdmissionPolicy 'qovery-irsa' with binding 'qovery-irsa' denied request: ";
        assert_eq!((code, &answer["reason"]), (422, &json!("Invalid")), "{line} {body}: {answer}");
        assert!(
            message.starts_with("serviceaccounts \"") && message.contains(denied) && message.contains(said),
            "{line} {body}: {message}"
        );
    }
    assert_eq!(environment.sandbox.kubernetes(|kubernetes| kubernetes.state()), before);
    // The same by somebody else is none of the guard's business.
    let administrator = Caller::of(&environment.sandbox.cluster().kubeconfig().display().to_string());
    assert_eq!(administrator.send(&here("PATCH", "/chart"), MERGE, &with_role("chart", ADMINISTRATOR)).0, 200);
    // A role that somebody else has set stays, and is no reason to let nothing else be changed.
    assert_eq!(job.send(&here("PATCH", "/chart"), MERGE, &json!({"metadata": {"labels": {"a": "b"}}})).0, 200);
    assert_eq!(job.send(&here("PATCH", "/chart"), MERGE, &with_role("chart", OWN)).0, 200);
    assert_eq!(job.send(&here("PATCH", "/chart"), MERGE, &with_role("chart", ADMINISTRATOR)).0, 422, "it is not there any more");
    assert_eq!(job.send(&here("DELETE", "/own"), JSON, &none).0, 200);
}

#[test]
fn a_job_with_a_mounted_token_does_its_work_and_is_bounded_to_its_own_namespace() {
    let mut environment = environment();
    environment.unset("KUBECONFIG");
    environment.unset("QOVERY_KUBERNETES_CLUSTER_NAME");
    environment.sandbox.kubernetes(|kubernetes| {
        kubernetes.put_object(account(&json!({"name": "qovery-irsa", "namespace": NAMESPACE})));
        let mut binding = objects("docs/permissions/rbac.yaml").remove(1);
        binding["subjects"] = json!([{"kind": "ServiceAccount", "name": "qovery-irsa", "namespace": NAMESPACE}]);
        kubernetes.put_object(binding);
    });
    let directory = environment.sandbox.cluster().mount_token(NAMESPACE, "qovery-irsa").unwrap();
    environment.set("IRSA_KUBE_TOKEN_DIR", &directory.display().to_string());
    let address = environment.sandbox.kubernetes_url();
    let (host, port) = address.trim_start_matches("https://").split_once(':').unwrap();
    environment.set("KUBERNETES_SERVICE_HOST", host);
    environment.set("KUBERNETES_SERVICE_PORT", port);
    let run = environment.start();
    assert!(run.out.contains("proven: "), "{}", run.out);
    let token = std::fs::read_to_string(directory.join("token")).unwrap();
    let job = Caller::with_token(environment.sandbox.cluster(), &token);
    let sts = json!({"audiences": ["sts.amazonaws.com"], "expirationSeconds": 600});
    assert_eq!(job.token(NAMESPACE, "own", &sts).0, 200);
    for (code, answer) in [
        job.token("z2-other", "own", &sts),
        job.send("DELETE /api/v1/namespaces/z2-other/serviceaccounts/own", JSON, &Value::Null),
        job.token("kube-system", "controller", &sts),
        job.token(NAMESPACE, "own", &json!({})),
    ] {
        assert_eq!(code, 422, "{answer}");
    }
    environment.delete();
    assert_eq!(environment.service_account(), None);
}

#[test]
fn a_run_that_the_guard_refuses_says_so_in_its_words_and_leads_to_no_wider_permission() {
    let environment = Environment::new(&MANIFEST.replace("defaults:\n", "defaults:\n  path: /other/\n")).with_permissions(
        "docs/permissions/iam-policy.json",
        &[json!({"Effect": "Allow", "Action": "iam:*", "Resource": "arn:aws:iam::123456789012:role/other/*"})],
    );
    let run = environment.run(&["start"]).ended(1);
    assert!(
        run.err.contains(
            "caused by: Invalid: serviceaccounts \"app\" is forbidden: ValidatingAdmissionPolicy 'qovery-irsa' with binding 'qovery-irsa' \
             denied request: role `arn:aws:iam::123456789012:role/other/demo/"
        ) && run.err.contains("is in neither `rolePatterns` nor `furtherRoles` of this policy"),
        "{}",
        run.err
    );
    assert!(!run.err.contains("rbac.yaml"), "{}", run.err);
    assert_eq!(environment.service_account(), None);
    // As its comments say.
    environment.guard("rolePatterns", "['^arn:aws[a-z-]*:iam::[0-9]{12}:role/other/']");
    environment.start();
    assert!(environment.service_account().is_some());
}

#[test]
fn a_role_given_by_arn_must_be_listed() {
    let environment = Environment::new(GIVEN);
    environment.sandbox.aws(by_hand);
    environment.guard("furtherRoles", "[]");
    let run = environment.run(&["start"]).ended(1);
    assert!(run.err.contains("role `arn:aws:iam::123456789012:role/by-hand` is in neither"), "{}", run.err);
    environment.guard("furtherRoles", "['arn:aws:iam::123456789012:role/by-hand']");
    environment.start();
    environment.delete();
}

#[test]
fn an_audience_that_is_not_listed_gets_no_token() {
    let mut environment = Environment::new("identities: [{serviceAccount: app, audience: vault, role: {}}]");
    let says = "the job may request tokens only for audiences that are in `audiences` of this policy";
    let run = environment.start();
    assert!(run.out.contains("note: not proven: the cluster does not let the job") && run.out.contains(says), "{}", run.out);
    environment.set("IRSA_PROOF", "required");
    let run = environment.run(&["start"]).ended(4);
    assert!(run.err.contains(says) && run.err.contains("hint: the guard of the cluster refuses it"), "{}", run.err);
    assert!(!run.err.contains("rbac"), "{}", run.err);
    environment.guard("audiences", "['sts.amazonaws.com', 'vault']");
    assert!(environment.start().out.contains("proven: "));
}

const GUARD_OF_PODS: &str = "docs/permissions/admission-guard-pods.yaml";
const PODS: &str = "/api/v1/namespaces/z1a2b3c4-shop/pods";

/// The permissions for a proof before the first pod, with the guard or without.
fn with_proof_pods(guarded: bool) -> Environment {
    let environment = environment();
    environment.sandbox.kubernetes(|kubernetes| {
        let files = ["docs/permissions/rbac-proof-pod.yaml", GUARD_OF_PODS];
        for object in files.into_iter().take(if guarded { 2 } else { 1 }).flat_map(objects) {
            kubernetes.put_object(object);
        }
    });
    environment
}

/// A pod that never runs, as the job makes one.
fn proof_pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"qovery-irsa/proof": "app"}},
        "spec": {"serviceAccountName": "own", "schedulingGates": [{"name": "qovery-irsa/proof"}],
            "containers": [{"name": "none", "image": "registry.k8s.io/pause:3.10"}]}})
}

/// The same, with one thing different.
fn proof_pod_with(pointer: &str, value: Value) -> Value {
    let (mut pod, (parent, key)) = (proof_pod("changed"), pointer.rsplit_once('/').unwrap());
    pod.pointer_mut(parent).unwrap()[key.replace("~1", "/")] = value;
    pod
}

#[test]
fn without_its_guard_the_right_to_create_pods_is_the_right_to_run_anything() {
    let environment = with_proof_pods(false);
    let job = Caller::of(&environment.variables["KUBECONFIG"]);
    let (code, answer) = job.send(&format!("POST {PODS}"), JSON, &proof_pod_with("/spec/schedulingGates", json!([])));
    assert_eq!(code, 200, "{answer}");
}

#[test]
fn the_group_creates_no_pod_that_could_run_and_deletes_no_other() {
    let environment = with_proof_pods(true);
    let job = Caller::of(&environment.variables["KUBECONFIG"]);
    let running = proof_pod_with("/spec/schedulingGates", json!([]));
    let foreign = |name: &str, gates: Value, labels: Value| {
        let mut pod = proof_pod(name);
        pod["spec"]["schedulingGates"] = gates;
        pod["metadata"]["labels"] = labels;
        pod
    };
    let gate = json!([{"name": "qovery-irsa/proof"}]);
    environment.sandbox.kubernetes(|kubernetes| {
        // A pod without its ServiceAccount is refused before a policy is asked.
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "own", "namespace": "kube-system"}});
        kubernetes.put_object(account);
        kubernetes.put_object(foreign("service", json!([]), json!({"app": "api"})));
        kubernetes.put_object(foreign("labelled", json!([]), json!({"qovery-irsa/proof": "app"})));
        kubernetes.put_object(foreign("gated", gate.clone(), json!({})));
    });
    let before = environment.sandbox.kubernetes(|kubernetes| kubernetes.state());
    let never_runs = "the job may create only pods that never run";
    let only_own = "the job may delete only pods of the proof";
    // Beside a gate the API server takes no node, before it asks a policy.
    let mut bound = proof_pod_with("/spec/schedulingGates", json!([]));
    bound["spec"]["nodeName"] = json!("node-1");
    let mut elsewhere = proof_pod("changed");
    elsewhere["metadata"]["namespace"] = json!("kube-system");
    for (line, body, said) in [
        (format!("POST {PODS}"), running.clone(), never_runs),
        // What the job asks first, to see whether the guard stands.
        (format!("POST {PODS}?dryRun=All"), running, never_runs),
        (format!("POST {PODS}"), proof_pod_with("/spec/schedulingGates", json!([{"name": "example.com/other"}])), never_runs),
        (format!("POST {PODS}"), bound, never_runs),
        (format!("POST {PODS}"), proof_pod_with("/metadata/labels", json!({})), "only pods with label `qovery-irsa/proof`"),
        (
            format!("POST {PODS}"),
            proof_pod_with("/metadata/labels/pod-template-hash", json!("5d4f")),
            "only pods whose labels match `labels` of this policy",
        ),
        (format!("POST {PODS}"), proof_pod_with("/metadata/finalizers", json!(["example.com/never"])), "without owner and finalizers"),
        ("POST /api/v1/namespaces/kube-system/pods".to_owned(), elsewhere, "namespace `kube-system` matches no pattern"),
        (format!("DELETE {PODS}/service"), Value::Null, only_own),
        (format!("DELETE {PODS}/labelled"), Value::Null, only_own),
        (format!("DELETE {PODS}/gated"), Value::Null, only_own),
    ] {
        let (code, answer) = job.send(&line, JSON, &body);
        let message = answer["message"].as_str().unwrap_or_default();
        assert_eq!(code, 422, "{line} {body}: {answer}");
        assert!(message.contains("ValidatingAdmissionPolicy 'qovery-irsa-pods'") && message.contains(said), "{line} {body}: {message}");
    }
    assert_eq!(environment.sandbox.kubernetes(|kubernetes| kubernetes.state()), before);
    let (code, answer) = job.send(&format!("POST {PODS}"), JSON, &proof_pod("proof-1"));
    assert_eq!(code, 200, "{answer}");
    assert_eq!(job.send(&format!("DELETE {PODS}/proof-1"), JSON, &Value::Null).0, 200);
}

/// Not by RBAC, which has no such verb, and not by a wider one either.
#[test]
fn the_gate_of_a_pod_cannot_be_taken_off_whatever_rbac_allows() {
    let environment = with_proof_pods(true);
    environment.sandbox.kubernetes(|kubernetes| {
        let mut role = objects("docs/permissions/rbac-proof-pod.yaml").remove(0);
        role["rules"] = json!([{"apiGroups": [""], "resources": ["pods", "pods/*"], "verbs": ["*"]}]);
        kubernetes.put_object(role);
        kubernetes.put_object(proof_pod("proof-1"));
    });
    let job = Caller::of(&environment.variables["KUBECONFIG"]);
    for (line, media, body) in [
        (format!("PATCH {PODS}/proof-1"), MERGE, json!({"spec": {"schedulingGates": null}})),
        (format!("PATCH {PODS}/proof-1"), MERGE, json!({"metadata": {"labels": {"app": "api"}}})),
        (format!("PUT {PODS}/proof-1"), JSON, proof_pod("proof-1")),
        (format!("DELETE {PODS}"), JSON, Value::Null),
    ] {
        let (code, answer) = job.send(&line, media, &body);
        let message = answer["message"].as_str().unwrap_or_default();
        assert_eq!(code, 422, "{line}: {answer}");
        assert!(message.contains("ValidatingAdmissionPolicy 'qovery-irsa-pods'"), "{line}: {message}");
    }
    assert_eq!(job.send(&format!("DELETE {PODS}/proof-1"), JSON, &Value::Null).0, 200);
}

/// A token that is bound to such a pod is for AWS, and for no pod of another ServiceAccount.
#[test]
fn a_token_bound_to_a_pod_of_the_proof_is_for_aws_alone() {
    let environment = with_proof_pods(true);
    let job = Caller::of(&environment.variables["KUBECONFIG"]);
    let (code, pod) = job.send(&format!("POST {PODS}"), JSON, &proof_pod("proof-1"));
    assert_eq!(code, 200, "{pod}");
    let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": "proof-1", "uid": pod["metadata"]["uid"]});
    let token = |account: &str, audience: &str| {
        job.token(NAMESPACE, account, &json!({"audiences": [audience], "expirationSeconds": 600, "boundObjectRef": bound})).0
    };
    assert_eq!(token("own", "pods.eks.amazonaws.com"), 200);
    assert_ne!(token("chart", "pods.eks.amazonaws.com"), 200);
    assert_eq!(token("own", API_AUDIENCE), 422);
}

#[test]
fn the_guard_of_pods_names_whom_the_other_guard_names() {
    let [policy, binding] = objects(GUARD_OF_PODS).try_into().unwrap();
    let other = objects(GUARD).remove(0);
    assert_eq!(policy["spec"]["matchConditions"], other["spec"]["matchConditions"]);
    let namespaces = |policy: &Value| policy["spec"]["variables"].as_array().unwrap().iter().find(|v| v["name"] == "namespaces").cloned();
    assert_eq!(namespaces(&policy), namespaces(&other));
    assert_eq!(binding["spec"]["policyName"], policy["metadata"]["name"]);
    assert_eq!((&policy["spec"]["failurePolicy"], &binding["spec"]["validationActions"]), (&json!("Fail"), &json!(["Deny"])));
    let role = objects("docs/permissions/rbac-proof-pod.yaml").remove(0);
    assert_eq!(role["rules"], json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["create", "delete"]}]));
    let subjects = |file: &str| objects(file)[1]["subjects"].clone();
    assert_eq!(subjects("docs/permissions/rbac-proof-pod.yaml"), subjects("docs/permissions/rbac.yaml"));
}

#[test]
fn the_guard_alone_allows_nothing() {
    let environment = environment();
    environment.sandbox.kubernetes(|kubernetes| {
        kubernetes.remove_object("clusterrolebindings", "", "qovery-irsa").unwrap();
    });
    let job = Caller::of(&environment.variables["KUBECONFIG"]);
    let (code, answer) = job.token(NAMESPACE, "own", &json!({"audiences": ["sts.amazonaws.com"]}));
    assert_eq!((code, &answer["reason"]), (403, &json!("Forbidden")), "{answer}");
}

/// The names in the file are those of the code and of the other files.
#[test]
fn the_guard_names_what_the_job_writes_and_whom_rbac_binds() {
    let text = read(GUARD);
    let subjects = objects("docs/permissions/rbac.yaml").remove(1)["subjects"].clone();
    let group = format!("'{}' in request.userInfo.groups", subjects[0]["name"].as_str().unwrap());
    for part in [group.as_str(), qovery_irsa::model::observed::ROLE_ANNOTATION, ":role/qovery/", "'sts.amazonaws.com'"] {
        assert!(text.contains(part), "{part}");
    }
    assert!(read("docs/permissions/rbac.yaml").contains("# - kind: ServiceAccount\n  #   name: qovery-irsa\n"));
    let [policy, binding] = objects(GUARD).try_into().unwrap();
    assert_eq!(binding["spec"]["policyName"], policy["metadata"]["name"]);
    assert_eq!((&policy["spec"]["failurePolicy"], &binding["spec"]["validationActions"]), (&json!("Fail"), &json!(["Deny"])));
}

#[test]
fn the_role_without_a_proof_lacks_the_right_to_request_tokens_and_nothing_else() {
    let mut with = objects("docs/permissions/rbac.yaml");
    let rules = with[0]["rules"].as_array_mut().unwrap();
    rules.retain(|rule| rule["resources"] != json!(["serviceaccounts/token"]));
    assert_eq!(objects("docs/permissions/rbac-without-proof.yaml"), with);
}

#[test]
fn without_the_right_to_request_tokens_a_deploy_says_that_nothing_is_proven() {
    let mut environment = Environment::new(MANIFEST);
    environment.sandbox.kubernetes(|kubernetes| {
        for object in objects("docs/permissions/rbac-without-proof.yaml") {
            kubernetes.put_object(object);
        }
    });
    let run = environment.start();
    let said = "not proven: the job may not request a token of ServiceAccount `z1a2b3c4-shop/app`";
    assert!(run.out.contains(said) && !run.out.contains("proven: pods"), "{}", run.out);
    assert!(run.out.contains("docs/permissions/admission-guard.yaml, then docs/permissions/rbac.yaml"), "{}", run.out);
    let again = environment.start();
    assert!(again.writes == 0 && again.out.contains(said), "{}", again.out);
    environment.set("IRSA_PROOF", "required");
    let run = environment.run(&["start"]).ended(4);
    assert!(run.err.contains("cannot create resource \"serviceaccounts/token\""), "{}", run.err);
    assert!(run.err.contains("docs/permissions/admission-guard.yaml"), "{}", run.err);
    environment.set("IRSA_PROOF", "off");
    let run = environment.start();
    assert!(!run.out.contains("proven"), "{}", run.out);
    environment.delete();
    assert_eq!((environment.service_account(), environment.roles()), (None, 0));
}
