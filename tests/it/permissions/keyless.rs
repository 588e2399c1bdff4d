//! The trust zone, shown call by call: what somebody may do who deploys any service in a namespace that `bootstrap` lets in, and so can run
//! a pod as the job's ServiceAccount. Every row is a call that is made here, and `docs/trust-zone.md` shows the same rows.

use std::collections::BTreeSet;

use http::{HeaderMap, Method};
use qovery_irsa_sandbox::{
    aws::evaluate::who_may_assume,
    kubernetes::API_AUDIENCE,
    qovery::{World, chart::render},
    service::{Request, Service as _},
};
use serde_json::{Value, json};

use crate::support::{
    fixtures::{EC2_TRUST, NAMESPACE, an_hour_passes, service_accounts},
    keyless::{ACCOUNT, JOB_ROLE, KEYLESS},
    repository::{read, root},
    shop::{Shop, ended_well},
};

const BOUNDARY: &str = "arn:aws:iam::123456789012:policy/qovery-irsa-demo-boundary";
/// Where no environment of the zone is.
const FOREIGN: &str = "payments";
/// The policy that nobody may give beyond the boundary.
const EVERYTHING: (&str, &str) = ("PolicyArn", "arn:aws:iam::aws:policy/AdministratorAccess");

/// A call of IAM: the operation, on what, and its parameters.
type Call<'c> = (&'c str, &'c str, Vec<(&'c str, &'c str)>);
/// A row: what is tried, on what, and whether it may be done.
type Row = (String, String, bool);

/// An environment and its clone in one zone with a boundary, beside what belongs to others.
fn zone() -> (Shop, String) {
    let shop = Shop::of_nothing(World::default(), KEYLESS);
    let boundary = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*", "sqs:*"], "Resource": "*"}]});
    let file = shop.environment.sandbox.files().join("boundary.json");
    std::fs::write(&file, boundary.to_string()).unwrap();
    shop.bootstrap(&["--boundary", &file.display().to_string()]).ended(0);
    shop.install_keyless(&["--boundary", BOUNDARY]).ended(0);
    ended_well(&shop.deploy());
    let clone = shop.clone_named("shop-clone");
    ended_well(&shop.event(&clone, "deploy"));
    let other = shop.environment.sandbox.qovery(|qovery| qovery.namespace_of(&clone)).unwrap();
    shop.environment.sandbox.aws(|aws| {
        aws.add_role("by-hand", "/", EC2_TRUST);
        aws.add_role("unbounded", "/qovery/demo/z0/", EC2_TRUST);
    });
    shop.environment.sandbox.kubernetes(|kubernetes| {
        kubernetes.add_namespace(FOREIGN);
        for (name, namespace) in [("app", FOREIGN), ("theirs", NAMESPACE)] {
            kubernetes
                .put_object(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}));
        }
    });
    (shop, other)
}

/// The name of the role of an environment of the zone.
fn role_of(shop: &Shop, namespace: &str) -> String {
    let roles = shop.environment.sandbox.aws(|aws| aws.roles().clone());
    let found = roles.values().find(|role| role.path == format!("/qovery/demo/{namespace}/"));
    found.unwrap_or_else(|| panic!("no role of {namespace}: {:?}", roles.keys())).name.clone()
}

/// What a session of the job's role may do in AWS.
fn in_aws(shop: &Shop, other: &str) -> Vec<Row> {
    let (own, theirs) = (role_of(shop, NAMESPACE), role_of(shop, other));
    let issuer = shop.environment.sandbox.cluster().issuer().to_owned();
    let provider = format!("arn:aws:iam::123456789012:oidc-provider/{}", shop.environment.issuer());
    let (name, theirs_name) = (("RoleName", own.as_str()), ("RoleName", theirs.as_str()));
    let trust = ("AssumeRolePolicyDocument", EC2_TRUST);
    let document = ("PolicyDocument", "{}");
    let below = ("Path", "/qovery/demo/z9/");
    let bounded = ("PermissionsBoundary", BOUNDARY);
    let (new, of_job, by_hand, unbounded) =
        (("RoleName", "new"), ("RoleName", "qovery-irsa-demo"), ("RoleName", "by-hand"), ("RoleName", "unbounded"));
    let own_provider = ("OpenIDConnectProviderArn", provider.as_str());
    let audience = ("ClientID", "sts.amazonaws.com");
    let policy = ("PolicyArn", BOUNDARY);
    let calls: Vec<Call<'_>> = vec![
        ("CreateRole", "below the path of the cluster, with the boundary", vec![new, below, trust, bounded]),
        ("UpdateAssumeRolePolicy", "the role of another environment of the zone", vec![theirs_name, ("PolicyDocument", EC2_TRUST)]),
        ("AttachRolePolicy", "any policy, to the role of another environment, within its boundary", vec![theirs_name, EVERYTHING]),
        ("DeleteRole", "the role of another environment of the zone", vec![theirs_name]),
        ("GetRole", "any role of the account", vec![by_hand]),
        ("CreateRole", "below the path of the cluster, without a boundary", vec![new, below, trust]),
        (
            "CreateRole",
            "below the path of the cluster, with another boundary",
            vec![new, below, trust, ("PermissionsBoundary", EVERYTHING.1)],
        ),
        ("CreateRole", "outside the path, with the boundary", vec![new, trust, bounded]),
        ("CreateRole", "below the path of another cluster, with the boundary", vec![new, ("Path", "/qovery/other/z9/"), trust, bounded]),
        ("PutRolePermissionsBoundary", "another boundary, on a role of the zone", vec![name, ("PermissionsBoundary", EVERYTHING.1)]),
        ("DeleteRolePermissionsBoundary", "a role of the zone", vec![name]),
        ("AttachRolePolicy", "a role without a boundary below the path", vec![unbounded, EVERYTHING]),
        ("PutRolePolicy", "a role without a boundary below the path", vec![unbounded, ("PolicyName", "p"), document]),
        ("AttachRolePolicy", "a role outside the path", vec![by_hand, EVERYTHING]),
        ("UpdateAssumeRolePolicy", "a role outside the path", vec![by_hand, ("PolicyDocument", EC2_TRUST)]),
        ("UpdateAssumeRolePolicy", "the job's own role", vec![of_job, ("PolicyDocument", EC2_TRUST)]),
        ("PutRolePolicy", "the job's own role", vec![of_job, ("PolicyName", "qovery-irsa"), document]),
        ("AttachRolePolicy", "the job's own role", vec![of_job, EVERYTHING]),
        ("DeleteRole", "the job's own role", vec![of_job]),
        ("CreatePolicyVersion", "the boundary", vec![policy, document, ("SetAsDefault", "true")]),
        ("SetDefaultPolicyVersion", "the boundary", vec![policy, ("VersionId", "v1")]),
        ("DeletePolicy", "the boundary", vec![policy]),
        ("CreatePolicy", "any policy", vec![("PolicyName", "p"), document]),
        ("AddClientIDToOpenIDConnectProvider", "the provider of the cluster", vec![own_provider, audience]),
        (
            "CreateOpenIDConnectProvider",
            "the provider of another issuer",
            vec![("Url", "https://oidc.eks.eu-west-3.amazonaws.com/id/ANOTHER"), ("ClientIDList.member.1", "sts.amazonaws.com")],
        ),
        (
            "AddClientIDToOpenIDConnectProvider",
            "the provider of another issuer",
            vec![
                ("OpenIDConnectProviderArn", "arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-west-3.amazonaws.com/id/ANOTHER"),
                audience,
            ],
        ),
        ("DeleteOpenIDConnectProvider", "the provider of the cluster", vec![own_provider]),
        ("CreateUser", "any user", vec![("UserName", "u")]),
        ("CreateAccessKey", "any user", vec![("UserName", "u")]),
    ];
    assert!(issuer.ends_with(&provider[provider.find('/').unwrap() + 1..]));
    let mut rows: Vec<Row> = calls
        .into_iter()
        .map(|(operation, on, parameters)| {
            let answer = shop.environment.sandbox.aws(|aws| aws.permits(JOB_ROLE, operation, &parameters));
            (format!("`iam:{operation}`"), on.to_owned(), allowed(answer, operation))
        })
        .collect();
    let own_arn = format!("arn:aws:iam::123456789012:role/qovery/demo/{NAMESPACE}/{own}");
    let cluster = |name: &str| format!("arn:aws:eks:eu-west-3:123456789012:cluster/{name}");
    for (action, on, resource) in [
        ("iam:PassRole", "a role of the zone, without `podIdentity`", own_arn.clone()),
        ("sts:AssumeRole", "any role", "arn:aws:iam::123456789012:role/by-hand".to_owned()),
        ("eks:DescribeCluster", "the cluster", cluster("demo")),
        ("eks:DescribeCluster", "another cluster", cluster("other")),
        ("eks:CreateAccessEntry", "the cluster", cluster("demo")),
        ("eks:CreatePodIdentityAssociation", "the cluster, without `podIdentity`", cluster("demo")),
        ("s3:GetObject", "any bucket", "arn:aws:s3:::bucket/key".to_owned()),
        ("secretsmanager:GetSecretValue", "any secret", "arn:aws:secretsmanager:eu-west-3:123456789012:secret:s".to_owned()),
    ] {
        let answer = shop.environment.sandbox.aws(|aws| aws.permits_action(JOB_ROLE, action, &resource, &[]));
        rows.push((format!("`{action}`"), on.to_owned(), allowed(answer, action)));
    }
    rows
}

/// A refusal for want of a permission, and for nothing else.
#[track_caller]
fn allowed(answer: Result<(), (u16, String, String)>, what: &str) -> bool {
    match answer {
        Ok(()) => true,
        Err((403, code, _)) if code.starts_with("AccessDenied") => false,
        Err(other) => panic!("{what}: {other:?}"),
    }
}

/// What the mounted token of the job's ServiceAccount may do in Kubernetes.
fn in_kubernetes(shop: &Shop, other: &str) -> Vec<Row> {
    let token = shop.environment.sandbox.cluster().token(NAMESPACE, ACCOUNT, API_AUDIENCE);
    let ask = |line: &str, body: &Value| -> u16 {
        let (method, path) = line.split_once(' ').unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        let media = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        headers.insert("content-type", media.parse().unwrap());
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = Request {
            method: method.parse::<Method>().unwrap(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers,
            body: body.into(),
        };
        let now = shop.environment.sandbox.clock().now();
        shop.environment.sandbox.kubernetes(|kubernetes| kubernetes.answer(&request, now)).response.status
    };
    let within = |namespace: &str, rest: &str| format!("/api/v1/namespaces/{namespace}/{rest}");
    let rbac = |rest: &str| format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}/{rest}");
    let of_token =
        |audience: &str| json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": [audience]}});
    let patch = json!({"metadata": {"annotations": {"x": "y"}}});
    let pod =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "main", "image": "i"}]}});
    let (nothing, dry) = (Value::Null, "?dryRun=All");
    let calls: Vec<(&str, String, String, &Value)> = vec![
        (
            "create a token for AWS",
            "of another ServiceAccount of the namespace".into(),
            format!("POST {}", within(NAMESPACE, "serviceaccounts/theirs/token")),
            &nothing,
        ),
        (
            "create a token for the API server",
            "of another ServiceAccount of the namespace".into(),
            format!("POST {}", within(NAMESPACE, "serviceaccounts/theirs/token")),
            &nothing,
        ),
        ("list ServiceAccounts", "in the namespace".into(), format!("GET {}", within(NAMESPACE, "serviceaccounts")), &nothing),
        (
            "change a ServiceAccount",
            "in the namespace".into(),
            format!("PATCH {}{dry}", within(NAMESPACE, "serviceaccounts/theirs")),
            &patch,
        ),
        (
            "delete a ServiceAccount",
            "in the namespace".into(),
            format!("DELETE {}{dry}", within(NAMESPACE, "serviceaccounts/theirs")),
            &nothing,
        ),
        ("list pods", "in the namespace".into(), format!("GET {}", within(NAMESPACE, "pods")), &nothing),
        (
            "create a token",
            "in another namespace of the zone".into(),
            format!("POST {}", within(other, "serviceaccounts/app/token")),
            &nothing,
        ),
        (
            "create a token",
            "in a namespace outside the zone".into(),
            format!("POST {}", within(FOREIGN, "serviceaccounts/app/token")),
            &nothing,
        ),
        ("list ServiceAccounts", "in another namespace of the zone".into(), format!("GET {}", within(other, "serviceaccounts")), &nothing),
        ("list ServiceAccounts", "in all namespaces".into(), "GET /api/v1/serviceaccounts".into(), &nothing),
        (
            "change a ServiceAccount",
            "in another namespace of the zone".into(),
            format!("PATCH {}{dry}", within(other, "serviceaccounts/app")),
            &patch,
        ),
        ("list pods", "in another namespace of the zone".into(), format!("GET {}", within(other, "pods")), &nothing),
        ("read secrets", "in the namespace".into(), format!("GET {}", within(NAMESPACE, "secrets")), &nothing),
        ("create a pod", "in the namespace".into(), format!("POST {}{dry}", within(NAMESPACE, "pods")), &pod),
        ("delete a pod", "in the namespace".into(), format!("DELETE {}{dry}", within(NAMESPACE, "pods/api")), &nothing),
        ("run a command in a pod", "in the namespace".into(), format!("POST {}", within(NAMESPACE, "pods/api/exec")), &nothing),
        ("change its own Role", "in the namespace".into(), format!("PATCH {}{dry}", rbac("roles/qovery-irsa")), &patch),
        ("create a RoleBinding", "in the namespace".into(), format!("POST {}{dry}", rbac("rolebindings")), &nothing),
        ("list namespaces", "of the cluster".into(), "GET /api/v1/namespaces".into(), &nothing),
        ("list nodes", "of the cluster".into(), "GET /api/v1/nodes".into(), &nothing),
    ];
    let (for_aws, for_api) = (of_token("sts.amazonaws.com"), of_token(API_AUDIENCE));
    calls
        .into_iter()
        .map(|(what, on, line, body)| {
            let body = match what {
                "create a token for the API server" => &for_api,
                _ if what.starts_with("create a token") => &for_aws,
                _ => body,
            };
            let status = ask(&line, body);
            assert!(status < 300 || status == 403, "{what} {on}: {status}");
            (what.to_owned(), on, status < 300)
        })
        .collect()
}

fn table(head: &str, rows: &[Row]) -> String {
    let row = |(what, on, allowed): &Row| format!("| {what} | {on} | {} |\n", if *allowed { "allowed" } else { "refused" });
    format!("| {head} | on | |\n|---|---|---|\n{}", rows.iter().map(row).collect::<String>())
}

/// Who can have the session that these tables are about: every pod of the ServiceAccount in a namespace of the patterns, and nobody else.
#[test]
fn the_session_is_for_the_jobs_service_account_in_the_namespaces_of_the_zone() {
    let shop = Shop::of_nothing(World::default(), KEYLESS);
    shop.bootstrap(&["--namespaces", "z1a2b3c4-*,z5-*"]).ended(0);
    let trust: Value = shop.environment.sandbox.aws(|aws| serde_json::from_str(&aws.roles()["qovery-irsa-demo"].trust).unwrap());
    let issuer = shop.environment.issuer();
    let provider = format!("arn:aws:iam::123456789012:oidc-provider/{issuer}");
    let subjects: Vec<String> = [
        (NAMESPACE, ACCOUNT),
        ("z5-x", ACCOUNT),
        ("z1a2b3c4", ACCOUNT),
        ("z1a2b3c5-shop", ACCOUNT),
        (FOREIGN, ACCOUNT),
        ("kube-system", ACCOUNT),
        (NAMESPACE, "app"),
        (NAMESPACE, "qovery-irsa-2"),
        (NAMESPACE, "default"),
    ]
    .map(|(namespace, name)| format!("system:serviceaccount:{namespace}:{name}"))
    .into();
    let may = who_may_assume(&trust, &provider, &issuer, "sts.amazonaws.com", &subjects);
    assert_eq!(may, subjects[..2]);
    assert_eq!(who_may_assume(&trust, &provider, &issuer, "https://kubernetes.default.svc", &subjects), [] as [String; 0], "the audience");
}

#[test]
#[allow(clippy::print_stdout, reason = "the tables are what somebody copies to the page")]
fn the_page_shows_what_somebody_can_do_who_runs_as_the_job_and_what_not() {
    let (shop, other) = zone();
    let (aws, kubernetes) = (in_aws(&shop, &other), in_kubernetes(&shop, &other));
    let (aws_table, kubernetes_table) =
        (table("in AWS, with a session of the job's role", &aws), table("in Kubernetes, with its token", &kubernetes));
    println!("{aws_table}\n{kubernetes_table}");
    // Whoever writes the page anew must not take over what has become possible.
    let allowed = |rows: &[Row]| rows.iter().filter(|row| row.2).map(|row| format!("{} {}", row.0, row.1)).collect::<Vec<_>>();
    assert_eq!(
        allowed(&aws),
        [
            "`iam:CreateRole` below the path of the cluster, with the boundary",
            "`iam:UpdateAssumeRolePolicy` the role of another environment of the zone",
            "`iam:AttachRolePolicy` any policy, to the role of another environment, within its boundary",
            "`iam:DeleteRole` the role of another environment of the zone",
            "`iam:GetRole` any role of the account",
            "`iam:AddClientIDToOpenIDConnectProvider` the provider of the cluster",
            "`eks:DescribeCluster` the cluster",
        ]
    );
    assert_eq!(
        allowed(&kubernetes),
        [
            "create a token for AWS of another ServiceAccount of the namespace",
            "create a token for the API server of another ServiceAccount of the namespace",
            "list ServiceAccounts in the namespace",
            "change a ServiceAccount in the namespace",
            "delete a ServiceAccount in the namespace",
            "list pods in the namespace",
        ]
    );
    let page = read("docs/trust-zone.md");
    for table in [aws_table, kubernetes_table] {
        assert!(page.contains(&table), "docs/trust-zone.md shows another table than\n{table}");
    }
}

/// Each right of the chart's Role is one that the life of an environment uses, and it uses no other.
#[test]
fn the_role_of_the_chart_allows_what_a_life_takes_and_no_more() {
    let two = KEYLESS.replace("identities:\n", "identities:\n  - serviceAccount: old\n    role: {}\n");
    let shop = Shop::keyless_in(World::default(), &two);
    let before = shop.environment.sandbox.witness().mark();
    ended_well(&shop.deploy());
    // One leaves the manifest: it is dated, and removed after an hour.
    shop.environment.write_manifest(KEYLESS);
    shop.install_keyless(&[]).ended(0);
    ended_well(&shop.deploy());
    an_hour_passes(&shop.environment);
    ended_well(&shop.deploy());
    assert_eq!(service_accounts(&shop.environment), ["app"]);
    // Somebody looks, in the job's pod.
    assert_eq!(shop.engine().run(&shop.id, &shop.service(&shop.id, "aws-identity"), &["doctor"]), Ok(0));
    ended_well(&shop.delete(&shop.id));
    let calls = shop.environment.sandbox.witness().since(before);
    let used: BTreeSet<String> = calls.iter().filter_map(|call| call.operation.strip_prefix("kubernetes:")).map(str::to_owned).collect();
    let values = json!({"serviceAccount": ACCOUNT, "roleArn": JOB_ROLE});
    let rendered = render(&root().join("charts/qovery-irsa"), &values).unwrap();
    let role = rendered.iter().find(|object| object["kind"] == "Role").unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let list = |value: &Value| value.as_array().unwrap().iter().map(text).collect::<Vec<_>>();
    let rules = role["rules"].as_array().unwrap().iter();
    let pairs = rules.flat_map(|rule| {
        let resources = list(&rule["resources"]);
        list(&rule["verbs"])
            .into_iter()
            .flat_map(move |verb| resources.clone().into_iter().map(move |resource| format!("{verb} {resource}")))
    });
    // What creates a ServiceAccount is a patch, which takes this right too; the API server asks for it.
    let mut allowed: BTreeSet<String> = pairs.collect();
    assert!(allowed.remove("create serviceaccounts"));
    assert_eq!(used, allowed);
}
