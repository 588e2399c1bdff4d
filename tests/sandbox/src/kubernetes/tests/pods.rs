//! Pods through the API: what they are filled in with, the tokens that are bound to them, the policies that are asked, and how they go.

use super::*;

const PODS: &str = "/api/v1/namespaces/team/pods";

/// EKS, with an association of `team/app`.
struct Plane;

impl ControlPlane for Plane {
    fn authenticate(&self, _: &str, _: SystemTime) -> Option<User> {
        None
    }

    fn is_associated(&self, namespace: &str, service_account: &str) -> bool {
        (namespace, service_account) == ("team", "app")
    }
}

/// With the ServiceAccounts `app`, which has an association and an annotation, `other`, which has an annotation, and `plain`.
fn eks() -> Kubernetes {
    let mut cluster = cluster().with_control_plane(Arc::new(Plane));
    let annotated = r#","annotations":{"eks.amazonaws.com/role-arn":"arn"}"#;
    for (name, metadata) in [("app", annotated), ("other", annotated), ("plain", "")] {
        assert_eq!(admin(&mut cluster, &format!("POST {ACCOUNTS}"), JSON, &account(name, metadata)).0, 201);
    }
    cluster
}

/// A pod; the specification of `app` with some members changed.
fn pod(metadata: &Value, spec: &Value) -> String {
    let mut whole = json!({"serviceAccountName": "app", "containers": [{"name": "main", "image": "none"}]});
    for (member, value) in spec.as_object().unwrap() {
        whole[member] = value.clone();
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": whole}).to_string()
}

fn create(cluster: &mut Kubernetes, metadata: &Value, spec: &Value) -> (u16, Value, bool) {
    admin(cluster, &format!("POST {PODS}"), JSON, &pod(metadata, spec))
}

fn variables(pod: &Value) -> Vec<&str> {
    let variables = pod["spec"]["containers"][0]["env"].as_array().into_iter().flatten();
    variables.map(|variable| variable["name"].as_str().unwrap()).collect()
}

#[test]
fn a_pod_gets_what_the_webhook_gives_its_service_account_and_the_association_wins() {
    let mut cluster = eks();
    let by_association = ["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"];
    let by_annotation = ["AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"];
    for (service_account, wanted) in [("app", &by_association[..]), ("other", &by_annotation), ("plain", &[])] {
        let (code, made, changed) =
            create(&mut cluster, &json!({"name": service_account}), &json!({"serviceAccountName": service_account}));
        assert_eq!((code, changed), (201, true), "{made}");
        assert_eq!(variables(&made), wanted);
        assert_eq!(cluster.object("pods", "team", service_account), Some(&made));
    }
    // A dry run shows it too, and makes nothing.
    let (code, shown, changed) = admin(&mut cluster, &format!("POST {PODS}?dryRun=All"), JSON, &pod(&json!({"name": "dry"}), &json!({})));
    assert_eq!((code, changed, variables(&shown)), (201, false, by_association.to_vec()));
    assert_eq!(cluster.object("pods", "team", "dry"), None);
}

#[test]
fn a_pod_without_a_node_stays_pending_and_a_gate_says_why() {
    let mut cluster = eks();
    let (_, plain, _) = create(&mut cluster, &json!({"name": "plain"}), &json!({}));
    assert_eq!(plain["status"], json!({"phase": "Pending"}));
    let gates = json!([{"name": "qovery-irsa/proof"}]);
    let (_, waiting, _) = create(&mut cluster, &json!({"name": "gated"}), &json!({"schedulingGates": gates}));
    assert_eq!((&waiting["status"]["phase"], &waiting["spec"]["nodeName"]), (&json!("Pending"), &Value::Null));
    let condition = &waiting["status"]["conditions"][0];
    assert_eq!((&condition["type"], &condition["reason"]), (&json!("PodScheduled"), &json!("SchedulingGated")));
    let refused = create(&mut cluster, &json!({"name": "a"}), &json!({"schedulingGates": gates, "nodeName": "n"}));
    assert_eq!(
        summary(&refused),
        "422 Invalid | Pod \"a\" is invalid: spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"
    );
    assert_eq!(create(&mut cluster, &json!({"name": "a"}), &json!({"containers": []})).0, 422);
    let refused = create(&mut cluster, &json!({"name": "a"}), &json!({"serviceAccountName": "none"}));
    assert_eq!(
        summary(&refused),
        "403 Forbidden | pods \"a\" is forbidden: error looking up service account team/none: serviceaccount \"none\" not found"
    );
    let refused = create(&mut cluster, &json!({"name": "a"}), &json!({"serviceAccountName": null}));
    assert!(summary(&refused).contains("service account team/default"), "{}", summary(&refused));
}

#[test]
fn a_token_is_bound_to_a_pod_of_its_service_account_and_to_no_other() {
    let mut cluster = eks();
    let (_, made, _) = create(&mut cluster, &json!({"name": "app-1"}), &json!({"schedulingGates": [{"name": "g"}]}));
    let uid = made["metadata"]["uid"].as_str().unwrap().to_owned();
    create(&mut cluster, &json!({"name": "other-1"}), &json!({"serviceAccountName": "other", "nodeName": "n"}));
    let token = |cluster: &mut Kubernetes, account: &str, bound: Value| {
        let spec = json!({"audiences": ["pods.eks.amazonaws.com"], "boundObjectRef": bound});
        admin(cluster, &format!("POST {ACCOUNTS}/{account}/token"), JSON, &json!({"spec": spec}).to_string())
    };
    let claims = |answer: &Value| {
        let token = answer["status"]["token"].as_str().unwrap().split('.').nth(1).unwrap().to_owned();
        let bytes = base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, token).unwrap();
        serde_json::from_slice::<Value>(&bytes).unwrap()
    };
    let given = |name: &str, uid: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid});
    let (code, answer, _) = token(&mut cluster, "app", given("app-1", &uid));
    assert_eq!(code, 201, "{answer}");
    let bound = claims(&answer)["kubernetes.io"].clone();
    assert_eq!((&bound["pod"], &bound["node"]), (&json!({"name": "app-1", "uid": uid}), &Value::Null), "never scheduled");
    let (_, answer, _) = token(&mut cluster, "other", given("other-1", ""));
    assert_eq!(claims(&answer)["kubernetes.io"]["node"]["name"], "n");

    for (bound, said) in [
        (given("none", &uid), "404 NotFound | pods \"none\" not found"),
        (
            given("app-1", "another"),
            "409 Conflict | Operation cannot be fulfilled on Pod \"app-1\": the UID in the bound object reference (another) does not match the UID in record. The object might have been deleted and then recreated",
        ),
        // Whose pod it is comes before which.
        (
            given("other-1", "another"),
            "400 BadRequest | cannot bind token for serviceaccount \"app\" to pod running with different serviceaccount name.",
        ),
        (
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "app-1"}),
            "400 BadRequest | cannot bind token for object of type apps/v1, Kind=Deployment",
        ),
        (
            json!({"apiVersion": "v1", "kind": "Secret", "name": "a"}),
            "501 NotImplemented | not implemented by the local API: a token bound to a Secret",
        ),
    ] {
        assert_eq!(summary(&token(&mut cluster, "app", bound)), said);
    }
    admin(&mut cluster, &format!("DELETE {PODS}/app-1"), JSON, "");
    assert_eq!(token(&mut cluster, "app", given("app-1", &uid)).0, 404);
}

/// Policies for pods that demand the gate and the label.
fn guard(cluster: &mut Kubernetes) {
    let put = |cluster: &mut Kubernetes, kind: &str, spec: Value| {
        let object = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": "guard"}, "spec": spec});
        cluster.put_object(object).unwrap();
    };
    put(
        cluster,
        "ValidatingAdmissionPolicy",
        json!({
            "matchConstraints": {"resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "DELETE"], "resources": ["pods"]},
            ]},
            "variables": [{"name": "pod", "expression": "request.operation == 'DELETE' ? oldObject : object"}],
            "validations": [
                {"expression": "has(variables.pod.spec.schedulingGates) && variables.pod.spec.schedulingGates.exists(gate, gate.name == 'g')", "message": "no gate"},
                {"expression": "has(variables.pod.metadata.labels) && 'proof' in variables.pod.metadata.labels", "message": "no label"},
                {"expression": "!has(request.name) || request.name == variables.pod.metadata.name", "message": "no name"},
                {"expression": "variables.pod.spec.containers.all(it, has(it.env) && it.env.exists(v, v.name == 'AWS_CONTAINER_CREDENTIALS_FULL_URI'))", "message": "no role"},
            ],
        }),
    );
    put(cluster, "ValidatingAdmissionPolicyBinding", json!({"policyName": "guard", "validationActions": ["Deny"]}));
}

#[test]
fn a_policy_is_asked_about_pods_as_they_are_to_be_stored_and_a_dry_run_too() {
    let mut cluster = eks();
    create(&mut cluster, &json!({"name": "workload"}), &json!({}));
    guard(&mut cluster);
    let (gated, label) = (json!({"schedulingGates": [{"name": "g"}]}), json!({"proof": ""}));
    for query in ["", "?dryRun=All"] {
        for (metadata, spec, said) in [
            (json!({"name": "a", "labels": label}), json!({}), Some("no gate")),
            (json!({"generateName": "a-", "labels": label}), json!({"schedulingGates": [{"name": "other"}]}), Some("no gate")),
            (json!({"name": "a"}), gated.clone(), Some("no label")),
            (
                json!({"name": "a", "labels": label}),
                json!({"serviceAccountName": "plain", "schedulingGates": [{"name": "g"}]}),
                Some("no role"),
            ),
            (json!({"generateName": "a-", "labels": label}), gated.clone(), None),
        ] {
            let (code, document, changed) = admin(&mut cluster, &format!("POST {PODS}{query}"), JSON, &pod(&metadata, &spec));
            let message = document["message"].as_str().unwrap_or_default();
            match said {
                Some(said) => assert!(code == 422 && !changed && message.ends_with(said), "{code} {message}"),
                None => assert_eq!((code, changed), (201, query.is_empty()), "{document}"),
            }
        }
    }
    let refused = admin(&mut cluster, &format!("DELETE {PODS}/workload"), JSON, "");
    assert!(summary(&refused).ends_with("no gate"), "{}", summary(&refused));
}

#[test]
fn a_name_that_the_server_makes_is_in_the_object_and_not_in_the_request() {
    let mut cluster = eks();
    let spec = json!({
        "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]},
        "validations": [{"expression": "false", "messageExpression": "(has(request.name) ? request.name : '-') + ' ' + object.metadata.name"}],
    });
    for (kind, spec) in [
        ("ValidatingAdmissionPolicy", spec),
        ("ValidatingAdmissionPolicyBinding", json!({"policyName": "guard", "validationActions": ["Deny"]})),
    ] {
        cluster.put_object(
            json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": "guard"}, "spec": spec}),
        );
    }
    let said = |answer: (u16, Value, bool)| answer.1["message"].as_str().unwrap().rsplit(": ").next().unwrap().to_owned();
    let generated = said(create(&mut cluster, &json!({"generateName": "a-"}), &json!({})));
    assert!(generated.starts_with("- a-") && generated.len() == "- a-".len() + 5, "{generated}");
    assert_eq!(said(create(&mut cluster, &json!({"generateName": "a-", "name": "b"}), &json!({}))), "b b");
}

#[test]
fn pods_are_listed_by_label_and_go_by_name_and_as_a_collection() {
    let mut cluster = eks();
    create(&mut cluster, &json!({"name": "workload"}), &json!({"nodeName": "n"}));
    for _ in 0..3 {
        create(&mut cluster, &json!({"generateName": "proof-", "labels": {"qovery-irsa/proof": ""}}), &json!({}));
    }
    let selector = "labelSelector=qovery-irsa%2Fproof";
    let names = |cluster: &mut Kubernetes| {
        let (_, list, _) = admin(cluster, &format!("GET {PODS}?{selector}"), JSON, "");
        let items = list["items"].as_array().unwrap().iter();
        items.map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let found = names(&mut cluster);
    assert!(found.len() == 3 && found.iter().all(|name| name.starts_with("proof-")), "{found:?}");
    let (code, gone, changed) = admin(&mut cluster, &format!("DELETE {PODS}/{}", found[0]), JSON, r#"{"gracePeriodSeconds":0}"#);
    assert_eq!((code, &gone["kind"], changed), (200, &json!("Pod"), true));
    let (code, refused, _) = admin(&mut cluster, &format!("DELETE {PODS}/{}", found[1]), JSON, r#"{"preconditions":{"uid":"another"}}"#);
    assert_eq!((code, &refused["reason"]), (409, &json!("Conflict")));
    // A dry run may stand in the body, where kube-rs and client-go write it.
    let (code, list, changed) = admin(&mut cluster, &format!("DELETE {PODS}?{selector}"), JSON, r#"{"dryRun":["All"]}"#);
    assert_eq!((code, list["items"].as_array().unwrap().len(), changed), (200, 2, false));
    assert_eq!(names(&mut cluster).len(), 2);
    let (code, _, changed) = admin(&mut cluster, &format!("DELETE {PODS}?{selector}"), JSON, "");
    assert_eq!((code, changed), (200, true));
    assert_eq!(names(&mut cluster), [] as [&str; 0]);
    assert!(cluster.object("pods", "team", "workload").is_some());
}

#[test]
fn the_agents_daemon_set_can_be_read_and_listed() {
    let mut cluster = eks();
    let agent = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "eks-pod-identity-agent", "namespace": "kube-system"},
        "status": {"numberReady": 2}});
    cluster.put_object(agent);
    let path = "/apis/apps/v1/namespaces/kube-system/daemonsets";
    let (code, found, _) = admin(&mut cluster, &format!("GET {path}/eks-pod-identity-agent"), JSON, "");
    assert_eq!((code, &found["status"]["numberReady"]), (200, &json!(2)));
    assert_eq!(admin(&mut cluster, &format!("GET {path}"), JSON, "").1["items"].as_array().unwrap().len(), 1);
    let refused = ask(&mut cluster, &format!("GET {path}/eks-pod-identity-agent"), "nobody-token", JSON, "");
    assert_eq!(refused.0, 403);
}
