//! AWS keys above the job: every service inherits them, and its SDK takes them before the role. Each command that can see them says so.

use qovery_irsa_sandbox::{
    faults::{Fault, When},
    qovery::Qovery,
};

use crate::support::{
    environment::Run,
    shop::{BOUND, Shop},
};

const KEYS: [&str; 2] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];

fn doctor(shop: &Shop) -> Run {
    shop.environment.run(&["doctor"])
}

#[test]
fn keys_of_a_project_are_said_by_install_by_start_and_by_doctor_until_they_are_gone() {
    let shop = Shop::installed(BOUND);
    let project = |change: fn(&mut Qovery, &str)| shop.environment.sandbox.qovery(|qovery| KEYS.iter().for_each(|key| change(qovery, key)));
    project(|qovery, key| qovery.set_project_variable(key, "AKIA-of-the-project", true));

    let refused = shop.environment.run(&["install"]).ended(3);
    for key in KEYS {
        let said =
            format!("application `api`, container `worker` would have secret `{key}` of the project, which AWS SDKs take before a role");
        assert!(refused.err.contains(&said) && refused.writes == 0, "{}", refused.err);
    }

    // The job has its own keys in these tests: those of the project would take their place.
    for key in KEYS {
        shop.set_of_job(&shop.id, key, &shop.environment.variables[key]);
    }
    // Two deployments: in the first the services may start without their role.
    for _ in 0..2 {
        let deployed = shop.deploy();
        let start = &deployed.runs[0];
        assert_eq!(start.code, 0, "{}{}", start.out, start.err);
        for key in KEYS {
            let note = format!(
                "note: application `api`, container `worker` have secret `{key}` of the project: AWS SDKs take it before the role. Delete it there, and deploy"
            );
            assert!(start.out.contains(&note), "{}", start.out);
        }
        assert!(!start.out.contains("AKIA-of"));
    }

    let broken = doctor(&shop).ended(1);
    assert_eq!(broken.out.matches("has `AWS_ACCESS_KEY_ID` (from Secret `").count(), 2, "{}", broken.out);
    assert!(!broken.out.contains("with the role"), "{}", broken.out);
    // A deploy that changes something looks at the pods too.
    shop.environment.change_role(|role| role.attached.clear());
    let start = shop.environment.start();
    assert!(start.out.contains("has `AWS_ACCESS_KEY_ID` (from Secret `"), "{}", start.out);

    project(Qovery::remove_project_variable);
    let start = &shop.deploy().runs[0];
    assert!(start.code == 0 && !start.out.contains("AWS_ACCESS_KEY_ID"), "{}", start.out);
    let healthy = doctor(&shop).ended(0);
    assert!(healthy.out.contains("pods: 2 containers of 2 pods with the role"), "{}", healthy.out);
    shop.environment.run(&["install"]).ended(0);
}

#[test]
fn a_role_of_the_environments_own_is_said_by_all_three() {
    let shop = Shop::installed(BOUND);
    shop.environment
        .sandbox
        .qovery(|qovery| qovery.set_variable(&shop.id, "ENVIRONMENT", "AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/x", false));
    let note = "note: application `api`, container `worker` have variable `AWS_ROLE_ARN` of the environment: EKS then gives its pods neither role nor token.";
    let install = shop.environment.run(&["install"]).ended(0);
    assert!(install.out.contains(note), "{}", install.out);
    let deployed = shop.deploy();
    assert!(deployed.runs[0].out.contains(note), "{}", deployed.runs[0].out);
    shop.deploy();
    let broken = doctor(&shop).ended(1);
    assert!(broken.out.contains("has its own `AWS_ROLE_ARN` (from Secret `"), "{}", broken.out);
}

#[test]
fn variables_that_cannot_be_seen_cost_a_note_and_no_deploy() {
    let shop = Shop::new(BOUND);
    shop.environment.sandbox.faults().add("qovery:listVariables", When::Always, Fault::error(403, "no"));
    let start = shop.environment.start();
    assert!(
        start.out.contains("note: whether application `api` has AWS keys that win over its role is not known: Forbidden"),
        "{}",
        start.out
    );
    assert_eq!(shop.account_of("api"), "app");
}
