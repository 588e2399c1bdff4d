//! Acting as somebody else.

use super::*;

const WHOAMI: &str = "POST /apis/authentication.k8s.io/v1/selfsubjectreviews";

/// The answer to a request with these further headers.
fn as_somebody(cluster: &mut Kubernetes, line: &str, token: &str, headers: &[(&'static str, &str)]) -> (u16, Value, bool) {
    let mut request = request(line, token, JSON, if line.starts_with("POST") { "{}" } else { "" });
    for (name, value) in headers {
        request.headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    let answer = cluster.answer(&request, now());
    (answer.response.status, serde_json::from_slice(&answer.response.body).unwrap(), answer.changed)
}

/// Lets `nobodies` impersonate what the rules say, everywhere.
fn allow(cluster: &mut Kubernetes, rules: &Value) {
    cluster.put_object(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "acting"}, "rules": rules,
    }));
    cluster.put_object(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "acting"},
        "subjects": [{"kind": "Group", "name": "nobodies"}], "roleRef": {"kind": "ClusterRole", "name": "acting"},
    }));
}

#[test]
fn who_may_do_everything_may_act_as_anybody_and_then_may_no_more_than_they() {
    let mut cluster = cluster();
    let user = |groups: &[&str]| json!({"username": "ann", "groups": groups});
    for (headers, wanted) in [
        (vec![("impersonate-user", "ann")], user(&["system:authenticated"])),
        (
            vec![("impersonate-user", "ann"), ("impersonate-group", "a"), ("impersonate-group", "b")],
            user(&["a", "b", "system:authenticated"]),
        ),
        (vec![("impersonate-user", "ann"), ("impersonate-group", "system:authenticated")], user(&["system:authenticated"])),
        (
            vec![("impersonate-user", "system:serviceaccount:team:app")],
            json!({"username": "system:serviceaccount:team:app", "groups": ["system:serviceaccounts", "system:serviceaccounts:team", "system:authenticated"]}),
        ),
        (
            vec![("impersonate-user", "ann"), ("impersonate-uid", "7"), ("impersonate-extra-a%2fb", "x"), ("impersonate-extra-a%2fb", "y")],
            json!({"username": "ann", "groups": ["system:authenticated"], "uid": "7", "extra": {"a/b": ["x", "y"]}}),
        ),
    ] {
        let (code, review, _) = as_somebody(&mut cluster, WHOAMI, "admin-token", &headers);
        assert_eq!((code, &review["status"]["userInfo"]), (201, &wanted), "{headers:?}");
    }
    let refused = as_somebody(&mut cluster, &format!("GET {ACCOUNTS}"), "admin-token", &[("impersonate-user", "ann")]);
    let why = r#"User "ann" cannot list resource "serviceaccounts" in API group "" in the namespace "team""#;
    assert_eq!(summary(&refused), format!("403 Forbidden | serviceaccounts is forbidden: {why}"));
    // Whom nobody knows may not even ask who they are.
    for claims in
        [vec![("impersonate-user", "system:anonymous")], vec![("impersonate-user", "ann"), ("impersonate-group", "system:unauthenticated")]]
    {
        assert_eq!(as_somebody(&mut cluster, WHOAMI, "admin-token", &claims).0, 403, "{claims:?}");
    }
}

#[test]
fn each_claim_takes_the_verb_impersonate_on_it() {
    let mut cluster = cluster();
    let ann = ("impersonate-user", "ann");
    let cases = [
        (vec![ann], r#"users "ann" is forbidden: User "nobody" cannot impersonate resource "users" in API group "" at the cluster scope"#),
        (
            vec![ann, ("impersonate-group", "system:masters")],
            r#"groups "system:masters" is forbidden: User "nobody" cannot impersonate resource "groups" in API group "" at the cluster scope"#,
        ),
        (
            vec![("impersonate-user", "system:serviceaccount:team:app")],
            r#"serviceaccounts "app" is forbidden: User "nobody" cannot impersonate resource "serviceaccounts" in API group "" in the namespace "team""#,
        ),
        (
            vec![ann, ("impersonate-uid", "7")],
            r#"uids.authentication.k8s.io "7" is forbidden: User "nobody" cannot impersonate resource "uids" in API group "authentication.k8s.io" at the cluster scope"#,
        ),
        (
            vec![ann, ("impersonate-extra-scopes", "view")],
            r#"userextras.authentication.k8s.io "view" is forbidden: User "nobody" cannot impersonate resource "userextras/scopes" in API group "authentication.k8s.io" at the cluster scope"#,
        ),
    ];
    for (number, (headers, why)) in cases.iter().enumerate() {
        // The first claim alone is not even that: who may be `ann` may not be in a group for it.
        if number > 0 {
            allow(&mut cluster, &json!([{"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"], "resourceNames": ["ann"]}]));
        }
        assert_eq!(summary(&as_somebody(&mut cluster, WHOAMI, "nobody-token", headers)), format!("403 Forbidden | {why}"));
    }
    allow(
        &mut cluster,
        &json!([
            {"apiGroups": [""], "resources": ["users", "groups", "serviceaccounts"], "verbs": ["impersonate"]},
            {"apiGroups": ["authentication.k8s.io"], "resources": ["uids", "userextras/scopes"], "verbs": ["impersonate"]},
        ]),
    );
    for (headers, _) in cases {
        assert_eq!(as_somebody(&mut cluster, WHOAMI, "nobody-token", &headers).0, 201, "{headers:?}");
    }
}

#[test]
fn claims_without_a_user_are_a_bad_request() {
    let mut cluster = cluster();
    let refused = as_somebody(&mut cluster, WHOAMI, "admin-token", &[("impersonate-group", "a"), ("impersonate-uid", "7")]);
    assert_eq!(
        summary(&refused),
        "400 BadRequest | requested [{Group  a    } {UID  7  authentication.k8s.io/v1  }] without impersonating a user"
    );
    // Who nobody knows is refused before.
    assert_eq!(as_somebody(&mut cluster, WHOAMI, "another", &[("impersonate-user", "ann")]).0, 401);
}
