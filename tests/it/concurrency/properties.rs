//! What holds after any sequence of runs: exactly those may assume the role whom a foreign statement lets in, or who is alive.

use std::{collections::BTreeSet, rc::Rc, time::Duration};

use proptest::prelude::*;
use qovery_irsa::{model::identity::Identity, plan::Goal};
use qovery_irsa_sandbox::aws::evaluate::who_may_assume;
use serde_json::{Value, json};

use crate::support::{
    extent::extent,
    virtual_world::{ISSUER, World, given, place, run},
};

const PROVIDER: &str = "arn:aws:iam::123456789012:oidc-provider/oidc.example.com/id/A";
const ENVIRONMENTS: usize = 4;
const ACCOUNTS: [&str; 2] = ["app", "worker"];

fn issuer() -> &'static str {
    ISSUER.strip_prefix("https://").unwrap()
}

/// Statements that somebody else may have written.
fn foreign() -> impl Strategy<Value = Value> {
    let (sub, aud) = (format!("{}:sub", issuer()), format!("{}:aud", issuer()));
    let web = move |condition: Value| json!({"Effect": "Allow", "Principal": {"Federated": PROVIDER}, "Action": "sts:AssumeRoleWithWebIdentity", "Condition": condition});
    let subject = |environment: usize, account: &str| format!("system:serviceaccount:{}:{account}", place(environment).namespace);
    prop_oneof![
        Just(json!({"Sid": "Ec2", "Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"})),
        Just(json!({"Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam::123456789012:root"], "Service": "pods.eks.amazonaws.com"}, "Action": ["sts:AssumeRole", "sts:TagSession"]})),
        Just(json!({"Effect": "Deny", "NotPrincipal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "sts:TagSession"})),
        Just(json!({"Sid": "QoveryIrsaOfAnotherCluster", "Effect": "Allow", "Principal": {"Federated": "arn:aws:iam::123456789012:oidc-provider/oidc.example.com/id/B"},
            "Action": "sts:AssumeRoleWithWebIdentity", "Condition": {"StringEquals": {"oidc.example.com/id/B:sub": "system:serviceaccount:z9:app"}}})),
        (0..ENVIRONMENTS, 0..ACCOUNTS.len()).prop_map({
            let (sub, aud) = (sub.clone(), aud.clone());
            move |(environment, account)| web(json!({"StringEquals": {&aud: "sts.amazonaws.com", &sub: [subject(environment, ACCOUNTS[account])]}}))
        }),
        (0..ENVIRONMENTS).prop_map({
            let (sub, aud) = (sub.clone(), aud.clone());
            move |environment| web(json!({"StringEquals": {&aud: "sts.amazonaws.com"}, "StringLike": {&sub: format!("system:serviceaccount:{}:*", place(environment).namespace)}}))
        }),
        Just(web(json!({"StringEquals": {&aud: "somebody-else", &sub: "system:serviceaccount:z00000000-env:app"}}))),
    ]
}

fn identity(account: usize) -> Identity {
    let mut identity = given();
    identity.service_account.name = ACCOUNTS[account].parse().unwrap();
    identity
}

fn candidates() -> Vec<String> {
    let environments = (0..ENVIRONMENTS).map(|number| place(number).namespace.to_string()).chain(["kube-system".to_owned()]);
    environments.flat_map(|namespace| ACCOUNTS.map(|account| format!("system:serviceaccount:{namespace}:{account}"))).collect()
}

fn may_assume(trust: &Value) -> BTreeSet<String> {
    who_may_assume(trust, PROVIDER, issuer(), "sts.amazonaws.com", &candidates()).into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: extent(30, 150), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn exactly_foreign_and_alive_subjects_may_assume_the_role(
        others in proptest::collection::vec(foreign(), 0..4),
        runs in proptest::collection::vec((0..ENVIRONMENTS, 0..ACCOUNTS.len(), any::<bool>()), 1..14),
    ) {
        // IAM wants a statement, and one more of somebody else's changes nothing here.
        // No two statements of one document have the same Sid.
        let mut others: Vec<Value> = others.into_iter().fold(Vec::new(), |mut kept, statement| {
            if !kept.contains(&statement) {
                kept.push(statement);
            }
            kept
        });
        if others.is_empty() {
            others.push(json!({"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}));
        }
        let before = json!({"Version": "2012-10-17", "Statement": others});
        let by_foreign = may_assume(&before);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let trust = runtime.block_on(async {
            let world = Rc::new(World::new(1, Duration::ZERO));
            world.arrange(|aws| aws.role_mut("given").unwrap().trust = before.to_string());
            let mut alive = BTreeSet::new();
            let trust = |world: &World| -> Value { world.now(|aws| serde_json::from_str(&aws.roles()["given"].trust).unwrap()) };
            for (environment, account, starts) in runs {
                let goal = if starts { Goal::Start } else { Goal::Delete };
                run(world.clone(), identity(account), place(environment), goal, Duration::from_secs(8)).await.unwrap();
                let subject = place(environment).subject(&identity(account)).claim();
                if starts {
                    alive.insert(subject);
                } else {
                    // A delete removes all that the job made in the environment, whatever its manifest says by then.
                    let namespace = format!("system:serviceaccount:{}:", place(environment).namespace);
                    alive.retain(|subject: &String| !subject.starts_with(&namespace));
                }
                let wanted: BTreeSet<String> = by_foreign.union(&alive).cloned().collect();
                prop_assert_eq!(may_assume(&trust(&world)), wanted, "{}", trust(&world));
                // Foreign statements stand as they stood, in order.
                let stand: Vec<Value> = trust(&world)["Statement"].as_array().unwrap().iter().filter(|statement| others.contains(statement)).cloned().collect();
                prop_assert_eq!(&stand, &others);
            }
            Ok(trust(&world))
        })?;
        prop_assert!(trust["Statement"].as_array().is_some_and(|statements| !statements.is_empty()));
    }
}
