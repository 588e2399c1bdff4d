//! Who comes in, and what they may do.

use super::*;

#[test]
fn a_token_proves_its_service_account_until_it_expires_or_the_account_is_gone() {
    let mut cluster = cluster();
    admin(&mut cluster, &format!("POST {ACCOUNTS}"), JSON, &account("a", ""));
    let mint = |cluster: &mut Kubernetes, audience: &str| {
        let body = format!(r#"{{"spec":{{"audiences":["{audience}"]}}}}"#);
        let (_, answer, _) = admin(cluster, &format!("POST {ACCOUNTS}/a/token"), JSON, &body);
        answer["status"]["token"].as_str().unwrap().to_owned()
    };
    let token = mint(&mut cluster, "sts.amazonaws.com");
    let claims = cluster.key().verify(&token).unwrap();
    let members: Vec<&String> = claims.as_object().unwrap().keys().collect();
    assert_eq!(members, ["aud", "exp", "iat", "iss", "jti", "kubernetes.io", "nbf", "sub"]);
    assert_eq!(claims["sub"], "system:serviceaccount:team:a");
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 3_600);
    assert_eq!(cluster.answer(&request("GET /version", &token, JSON, ""), now()).response.status, 401);

    let token = mint(&mut cluster, API_AUDIENCE);
    let get = request("GET /version", &token, JSON, "");
    assert_eq!(cluster.answer(&get, now()).response.status, 200);
    let later = now() + Duration::from_secs(3_601);
    assert_eq!(cluster.answer(&get, later).response.status, 401);
    admin(&mut cluster, &format!("DELETE {ACCOUNTS}/a"), JSON, "");
    admin(&mut cluster, &format!("POST {ACCOUNTS}"), JSON, &account("a", ""));
    assert_eq!(cluster.answer(&get, now()).response.status, 401);
}

#[test]
fn an_apply_that_creates_needs_the_right_to_create() {
    let mut cluster = cluster();
    let role = |verbs: &[&str]| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": "r", "namespace": "team"},
            "rules": [{"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": verbs}],
        })
    };
    cluster.put_object(role(&["patch"]));
    cluster.put_object(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "r", "namespace": "team"},
        "subjects": [{"kind": "Group", "name": "nobodies"}],
        "roleRef": {"kind": "Role", "name": "r"},
    }));
    let line = format!("PATCH {ACCOUNTS}/a?fieldManager=irsa");
    let refused = ask(&mut cluster, &line, "nobody-token", APPLY, &account("a", ""));
    assert_eq!(summary(&refused), r#"403 Forbidden | serviceaccounts "a" is forbidden: "#);
    cluster.put_object(role(&["patch", "create"]));
    let accepted = ask(&mut cluster, &line, "nobody-token", APPLY, &account("a", ""));
    assert_eq!(accepted.0, 201);
    let elsewhere = "GET /api/v1/namespaces/default/serviceaccounts/a";
    assert_eq!(ask(&mut cluster, elsewhere, "nobody-token", JSON, "").0, 403);
}

/// Lets one token in.
struct Plane;

impl ControlPlane for Plane {
    fn authenticate(&self, token: &str, _: SystemTime) -> Option<User> {
        let groups = vec!["irsa".to_owned()];
        (token == "k8s-aws-v1.good").then(|| User { name: "deployer:job-1".to_owned(), groups, ..User::default() })
    }

    fn is_associated(&self, namespace: &str, service_account: &str) -> bool {
        (namespace, service_account) == ("team", "app")
    }
}

#[test]
fn iam_principals_come_in_as_the_control_plane_says() {
    let mut cluster = cluster().with_control_plane(Arc::new(Plane));
    let whoami = "POST /apis/authentication.k8s.io/v1/selfsubjectreviews";
    let (_, review, _) = ask(&mut cluster, whoami, "k8s-aws-v1.good", JSON, "{}");
    assert_eq!(review["status"]["userInfo"]["username"], "deployer:job-1");
    assert_eq!(review["status"]["userInfo"]["groups"], json!(["irsa", "system:authenticated"]));
    assert_eq!(ask(&mut cluster, whoami, "k8s-aws-v1.bad", JSON, "{}").0, 401);
}

#[test]
fn a_pod_gets_pod_identity_for_an_association_and_else_what_the_annotation_says() {
    let mut cluster = cluster().with_control_plane(Arc::new(Plane));
    for name in ["app", "other", "none"] {
        let annotations = if name == "none" { json!({}) } else { json!({"eks.amazonaws.com/role-arn": "arn"}) };
        cluster.put_object(json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "team", "annotations": annotations},
        }));
        cluster.put_admitted_pod(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "team"},
            "spec": {"serviceAccountName": name, "containers": [{"name": "main"}]},
        }));
    }
    let variables = |name: &str| {
        let pod = cluster.object("pods", "team", name).unwrap();
        let variables = pod["spec"]["containers"][0]["env"].as_array().into_iter().flatten();
        variables.map(|variable| variable["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(variables("app"), ["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]);
    assert_eq!(variables("other"), ["AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"]);
    assert_eq!(variables("none"), [] as [&str; 0]);
}

#[test]
fn the_issuer_is_open_to_service_accounts_and_the_administrator_and_to_nobody_else() {
    let mut cluster = cluster();
    for (token, user) in [("", "system:anonymous"), ("nobody-token", "nobody")] {
        for path in ["/.well-known/openid-configuration", "/openid/v1/jwks"] {
            let refused = ask(&mut cluster, &format!("GET {path}"), token, JSON, "");
            assert_eq!(summary(&refused), format!("403 Forbidden | forbidden: User {user:?} cannot get path {path:?}"));
        }
    }
    admin(&mut cluster, &format!("POST {ACCOUNTS}"), JSON, &account("a", ""));
    let (_, answer, _) = admin(&mut cluster, &format!("POST {ACCOUNTS}/a/token"), JSON, "{}");
    for token in [answer["status"]["token"].as_str().unwrap(), "admin-token"] {
        let (code, document, _) = ask(&mut cluster, "GET /.well-known/openid-configuration", token, JSON, "");
        assert_eq!((code, &document["issuer"]), (200, &json!(ISSUER)));
        assert_eq!(ask(&mut cluster, "GET /openid/v1/jwks", token, JSON, "").0, 200);
    }
    let refused = ask(&mut cluster, "GET /api", "", JSON, "");
    assert_eq!(summary(&refused), "403 Forbidden | forbidden: User \"system:anonymous\" cannot get path \"/api\"");
    assert_eq!(ask(&mut cluster, "GET /version", "", JSON, "").1["gitVersion"], "v1.36.2");
}
