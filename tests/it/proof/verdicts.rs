//! What a trust policy says to a token where not everything can be judged from here: STS is asked, and believed.

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use proptest::prelude::*;
use qovery_irsa::model::{
    explain::{Verdict, explain, verdict},
    oidc::Provider,
    token::Claims,
    trust::TrustPolicy,
};
use qovery_irsa_sandbox::{
    aws::evaluate::who_may_assume_under,
    faults::{Fault, When},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{
    environment::Environment,
    fixtures::{GIVEN, NAMESPACE},
    virtual_world::{ISSUER, World, given, place, run_and_prove},
};

const PROVIDER: &str = "arn:aws:iam::123456789012:oidc-provider/";

/// Lets a subject in, and what somebody has put beside it.
fn trust(issuer: &str, subject: &str, beside: &[Value]) -> Value {
    let host = issuer.trim_start_matches("https://");
    let allow = json!({
        "Sid": "AppOfShop",
        "Effect": "Allow",
        "Principal": {"Federated": format!("{PROVIDER}{host}")},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {format!("{host}:aud"): "sts.amazonaws.com", format!("{host}:sub"): subject}},
    });
    let statements: Vec<Value> = std::iter::once(allow).chain(beside.iter().cloned()).collect();
    json!({"Version": "2012-10-17", "Statement": statements})
}

/// Perimeters, the condition key that they look at, a value that they let pass, and one that they do not.
fn perimeters() -> [(Value, &'static str, &'static str, &'static str); 3] {
    let deny =
        |condition: Value| json!({"Effect": "Deny", "Action": "sts:AssumeRoleWithWebIdentity", "Principal": "*", "Condition": condition});
    [
        (deny(json!({"StringNotEquals": {"aws:RequestedRegion": ["eu-west-3"]}})), "aws:RequestedRegion", "eu-west-3", "us-east-1"),
        (deny(json!({"NotIpAddress": {"aws:SourceIp": ["10.0.0.0/8", "203.0.113.0/24"]}})), "aws:SourceIp", "10.1.2.3", "192.0.2.1"),
        (deny(json!({"StringNotEqualsIfExists": {"aws:SourceVpc": "vpc-0example"}})), "aws:SourceVpc", "vpc-0example", "vpc-else"),
    ]
}

/// Denials that hold for every token.
fn certain() -> [Value; 3] {
    [
        json!({"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "sts:*"}),
        json!({"Effect": "Deny", "NotPrincipal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "sts:AssumeRoleWithWebIdentity"}),
        json!({"Effect": "Deny", "Principal": "*", "NotAction": "sts:AssumeRole"}),
    ]
}

/// A role made by hand, with this beside the statement that lets the ServiceAccount in, and the ServiceAccount annotated with it.
fn environment(beside: &[Value]) -> Environment {
    let environment = Environment::new(GIVEN);
    let issuer = environment.sandbox.cluster().issuer().to_owned();
    let trusting = |beside: &[Value]| trust(&issuer, &format!("system:serviceaccount:{NAMESPACE}:app"), beside).to_string();
    environment.sandbox.aws(|aws| aws.add_role("by-hand", "/", &trusting(&[])));
    environment.start();
    environment.sandbox.aws(|aws| aws.role_mut("by-hand").unwrap().trust = trusting(beside));
    environment
}

fn check(environment: &Environment, link: &str) -> (i32, String, String, String) {
    let run = environment.run(&["doctor", "--format=json"]);
    let document = run.json();
    let checks = document["examined"][0]["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["link"] == link).unwrap_or_else(|| panic!("{checks:?}"));
    let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
    (run.code, text("state"), text("evidence"), text("remedy"))
}

#[test]
fn a_perimeter_that_cannot_be_judged_is_said_and_sts_is_believed() {
    for (perimeter, key, inside, outside) in perimeters() {
        let environment = environment(&[perimeter]);
        environment.sandbox.aws(|aws| aws.set_request_key(key, &[inside]));
        let (code, state, evidence, _) = check(&environment, "trust");
        let said = format!("statement 2 may deny it; cannot be judged from here: `{key}`; STS lets the token in");
        assert_eq!((code, state.as_str(), evidence.as_str()), (0, "ok", said.as_str()), "{key}");
        // Where STS says no, the statement is the first thing to look at.
        environment.sandbox.aws(|aws| aws.set_request_key(key, &[outside]));
        let (code, state, evidence, _) = check(&environment, "trust");
        assert_eq!((code, state.as_str()), (1, "unknown"), "{key}: {evidence}");
        let (_, state, _, remedy) = check(&environment, "session");
        assert!(
            state == "broken" && remedy.contains("cannot be judged from here") && remedy.contains("service control policy"),
            "{remedy}"
        );
    }
}

#[test]
fn a_start_waits_where_a_perimeter_may_be_why_sts_says_no() {
    let (perimeter, key, inside, _) = perimeters()[1].clone();
    let environment = environment(&[perimeter]);
    environment.sandbox.aws(|aws| aws.set_request_key(key, &[inside]));
    let denied = || Fault::Error {
        status: 403,
        code: "AccessDenied".to_owned(),
        message: "Not authorized to perform sts:AssumeRoleWithWebIdentity".to_owned(),
    };
    for number in 1..=2 {
        environment.sandbox.faults().add("sts:AssumeRoleWithWebIdentity", When::Nth(number), denied());
    }
    let run = environment.start();
    assert!(run.out.contains("proven: "), "{}", run.out);
}

#[test]
fn a_certain_denial_is_named_at_once() {
    for denial in certain() {
        let environment = environment(std::slice::from_ref(&denial));
        let started = std::time::Instant::now();
        let run = environment.run(&["start"]).ended(4);
        assert!(started.elapsed() < Duration::from_secs(8), "{:?} for {denial}", started.elapsed());
        assert!(run.err.contains("\n  trust: statement 2 denies it, whatever the others allow\n"), "{denial}: {}", run.err);
        assert!(run.err.contains("hint: remove or narrow that statement of the trust policy by hand"), "{}", run.err);
    }
}

#[test]
fn conditions_of_ones_own_are_written_proven_and_a_perimeter_that_is_asked_for() {
    let environment = Environment::new(
        "identities:\n- serviceAccount: app\n  role:\n    conditions: {IpAddress: {\"aws:SourceIp\": [10.0.0.0/8]}, StringNotEquals: {\"aws:RequestedRegion\": us-east-1}}\n",
    );
    environment.sandbox.aws(|aws| aws.set_request_key("aws:SourceIp", &["10.1.2.3"]));
    let run = environment.start();
    assert!(run.out.contains("proven: "), "{}", run.out);
    assert_eq!(environment.run(&["plan"]).ended(0).writes, 0);
    let trust: Value = serde_json::from_str(&environment.sandbox.aws(|aws| aws.roles()[&environment_role(aws)].trust.clone())).unwrap();
    assert_eq!(trust["Statement"][0]["Condition"]["IpAddress"], json!({"aws:SourceIp": "10.0.0.0/8"}));
    let (code, state, evidence, _) = check(&environment, "trust");
    assert_eq!((code, state.as_str()), (0, "ok"), "{evidence}");
    environment.sandbox.aws(|aws| aws.set_request_key("aws:SourceIp", &["192.0.2.1"]));
    let (code, state, evidence, _) = check(&environment, "trust");
    assert_eq!((code, state.as_str()), (1, "unknown"));
    assert!(evidence.contains("may let it in; cannot be judged from here: `aws:SourceIp`, `aws:RequestedRegion`"), "{evidence}");
}

fn environment_role(aws: &qovery_irsa_sandbox::aws::Aws) -> String {
    aws.roles().keys().next().unwrap().clone()
}

fn in_virtual_time<T>(run: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(run)
}

fn world(beside: &[Value]) -> Rc<World> {
    let world = World::new(1, Duration::ZERO);
    let subject = place(1).subject(&given()).claim();
    world.arrange(|aws| aws.role_mut("given").unwrap().trust = trust(ISSUER, &subject, beside).to_string());
    Rc::new(world)
}

#[test]
fn a_run_that_changed_nothing_waits_a_minute_and_names_the_other_causes() {
    in_virtual_time(async {
        let world = world(&[]);
        world.denied.set(true);
        let began = Instant::now();
        let error = run_and_prove(world, given(), place(1), Duration::from_mins(10)).await.unwrap_err();
        assert!((55..80).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
        for cause in ["SCP", "RCP", "VPC endpoint", "region"] {
            assert!(error.contains(cause), "{error}");
        }
    });
}

#[test]
fn a_perimeter_that_keeps_the_pods_out_is_named_as_what_cannot_be_judged() {
    for (perimeter, key, _, outside) in perimeters() {
        in_virtual_time(async {
            let world = world(&[perimeter]);
            world.request_keys.borrow_mut().insert(key.to_owned(), vec![outside.to_owned()]);
            let error = run_and_prove(world, given(), place(1), Duration::from_mins(10)).await.unwrap_err();
            assert!(error.contains(&format!("trust: statement 2 may deny it; cannot be judged from here: `{key}`")), "{error}");
        });
    }
}

#[test]
fn a_run_that_changed_the_trust_waits_for_it_longer_than_a_minute() {
    in_virtual_time(async {
        let world = Rc::new(World::new(3, Duration::ZERO));
        world.propagation.set(Duration::from_secs(90));
        tokio::time::sleep(Duration::from_mins(2)).await;
        run_and_prove(world, given(), place(1), Duration::from_mins(5)).await.unwrap();
    });
}

/// One condition: operator, key, values.
fn condition() -> impl Strategy<Value = (String, String, Value)> {
    let host = ISSUER.trim_start_matches("https://");
    let quantifier = prop_oneof![4 => Just(""), 1 => Just("ForAnyValue:"), 1 => Just("ForAllValues:")];
    let base = proptest::sample::select(vec![
        "StringEquals",
        "StringNotEquals",
        "StringLike",
        "StringNotLike",
        "StringEqualsIgnoreCase",
        "StringNotEqualsIgnoreCase",
        "ArnLike",
        "ArnNotEquals",
        "Null",
        "Bool",
        "IpAddress",
        "NotIpAddress",
        "NumericLessThan",
        "DateGreaterThan",
        "Odd",
    ]);
    let suffix = prop_oneof![3 => Just(""), 1 => Just("IfExists")];
    let of_token = vec![format!("{host}:sub"), format!("{host}:aud"), format!("{}:SUB", host.to_uppercase()), format!("{host}:amr")];
    let others = ["aws:SourceIp", "AWS:sourcevpc", "sts:RoleSessionName", "aws:RequestedRegion", "aws:PrincipalOrgID"];
    let keys: Vec<String> = of_token.into_iter().chain(others.map(str::to_owned)).chain(["oidc.example.com/id/B:sub".to_owned()]).collect();
    let value = proptest::sample::select(vec![
        json!("system:serviceaccount:z1:app"),
        json!("system:serviceaccount:z1:*"),
        json!("SYSTEM:serviceaccount:Z1:app"),
        json!("*"),
        json!("sts.amazonaws.com"),
        json!("vault"),
        json!("10.0.0.0/8"),
        json!("true"),
        json!(false),
        json!("${aws:username}"),
        json!("eu-west-3"),
    ]);
    let values = prop_oneof![value.clone(), proptest::collection::vec(value, 0..3).prop_map(Value::Array)];
    (quantifier, base, suffix, proptest::sample::select(keys), values)
        .prop_map(|(quantifier, base, suffix, key, values)| (format!("{quantifier}{base}{suffix}"), key, values))
}

fn statement() -> impl Strategy<Value = Value> {
    let arn = format!("{PROVIDER}{}", ISSUER.trim_start_matches("https://"));
    let principals = vec![
        json!({"Principal": {"Federated": arn}}),
        json!({"Principal": {"Federated": ["x", arn]}}),
        json!({"Principal": "*"}),
        json!({"Principal": {"AWS": "*"}}),
        json!({"Principal": {"Federated": "*"}}),
        json!({"Principal": {"AWS": "arn:aws:iam::123456789012:root"}}),
        json!({"Principal": {"Service": "ec2.amazonaws.com"}}),
        json!({"NotPrincipal": {"AWS": "arn:aws:iam::123456789012:root"}}),
        json!({"NotPrincipal": {"Federated": arn}}),
        json!({"NotPrincipal": "*"}),
        json!({"Principal": {"Federated": format!("{PROVIDER}*")}}),
        json!({}),
    ];
    let actions = vec![
        json!({"Action": "sts:AssumeRoleWithWebIdentity"}),
        json!({"Action": ["sts:TagSession", "STS:Assume*"]}),
        json!({"Action": "*"}),
        json!({"Action": "sts:AssumeRole"}),
        json!({"NotAction": "sts:AssumeRole"}),
        json!({"NotAction": ["sts:*"]}),
        json!({}),
    ];
    let effect = prop_oneof![5 => Just("Allow"), 3 => Just("Deny"), 1 => Just("allow")];
    let conditions = proptest::collection::vec(condition(), 0..3);
    (effect, proptest::sample::select(principals), proptest::sample::select(actions), conditions, any::<bool>()).prop_map(
        |(effect, principal, action, conditions, has_conditions)| {
            let mut statement = json!({"Effect": effect});
            for part in [&principal, &action] {
                statement.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
            }
            for (operator, key, values) in conditions {
                statement["Condition"][operator][key] = values;
            }
            if has_conditions && statement.get("Condition").is_none() {
                statement["Condition"] = json!({});
            }
            statement
        },
    )
}

/// What a request may have beside the claims of its token.
fn others() -> impl Strategy<Value = BTreeMap<String, Vec<String>>> {
    let value = proptest::sample::select(vec!["10.1.2.3", "192.0.2.1", "eu-west-3", "true", "system:serviceaccount:z1:app", "vault"]);
    let key = proptest::sample::select(vec!["aws:SourceIp", "aws:SourceVpc", "sts:RoleSessionName", "aws:RequestedRegion"]);
    let values = proptest::collection::vec(value.prop_map(str::to_owned), 1..3);
    proptest::collection::btree_map(key.prop_map(str::to_owned), values, 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_certain_is_as_iam_decides_whatever_else_a_request_has(
        statements in proptest::collection::vec(statement(), 1..4),
        settings in proptest::collection::vec(others(), 4),
    ) {
        let provider = Provider { arn: format!("{PROVIDER}{}", ISSUER.trim_start_matches("https://")), issuer: ISSUER.parse().unwrap() };
        let claims = Claims {
            issuer: ISSUER.to_owned(),
            audiences: vec!["sts.amazonaws.com".to_owned()],
            subject: "system:serviceaccount:z1:app".to_owned(),
            methods: Vec::new(),
        };
        let document = json!({"Version": "2012-10-17", "Statement": statements});
        let policy = TrustPolicy::parse(&document.to_string()).unwrap();
        let verdict = verdict(&explain(&policy, &provider, &claims));
        for others in settings.into_iter().chain([BTreeMap::new()]) {
            let subject = std::slice::from_ref(&claims.subject);
            let host = provider.issuer.host_and_path();
            let allowed = !who_may_assume_under(&document, &provider.arn, host, "sts.amazonaws.com", subject, &others).is_empty();
            match verdict {
                Verdict::Allowed => prop_assert!(allowed, "said to be let in, under {:?}: {}", others, document),
                Verdict::Refused => prop_assert!(!allowed, "said to be kept out, under {:?}: {}", others, document),
                Verdict::Unknown => {}
            }
        }
    }
}
