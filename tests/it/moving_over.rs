//! From each way in which services got their roles before: what the first plan shows, and that no pod is without its role on the way.
//!
//! The manifests and plans are those of `docs/moving-over.md`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use qovery_irsa_sandbox::{Sandbox, aws::evaluate::who_may_assume};
use serde_json::{Value, json};

use crate::{
    harness::NAMESPACE,
    qovery::{BOUND, Deployed, Shop},
};

const OLD: &str = "my-s3-role";
const NEW: &str = "shop-s3";
const POLICY: &str = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess";

/// What the page shows under this name, as `manifest: console`.
fn shown(name: &str) -> String {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/moving-over.md")).unwrap();
    let (_, rest) = page.split_once(&format!("<!-- {name} -->\n")).unwrap_or_else(|| panic!("{name} is not on the page"));
    rest.split("```").nth(1).unwrap().split_once('\n').unwrap().1.to_owned()
}

/// The page's manifest with the job that installs it, and perhaps with services bound.
fn manifest(name: &str, binds: bool) -> String {
    let (_, job) = BOUND.split_once("job:").unwrap();
    let bound = if binds {
        format!("serviceAccount: {NEW}\n    bindServices: [api, worker]\n    takeOver: true")
    } else {
        format!("serviceAccount: {NEW}")
    };
    format!("{}\njob:{job}", shown(name).replace(&format!("serviceAccount: {NEW}"), &bound))
}

fn issuer(sandbox: &Sandbox) -> String {
    sandbox.cluster().issuer().strip_prefix("https://").unwrap().to_owned()
}

fn provider(sandbox: &Sandbox) -> String {
    format!("arn:aws:iam::123456789012:oidc-provider/{}", issuer(sandbox))
}

/// A trust policy with one statement for web identities, under this condition.
fn trust(sandbox: &Sandbox, condition: &Value) -> String {
    let principal = json!({ "Federated": provider(sandbox) });
    json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRoleWithWebIdentity", "Condition": condition }] })
        .to_string()
}

/// What stands before the first step: the provider, the old role, the old ServiceAccount, and services that run with it.
struct Old {
    role: &'static str,
    path: &'static str,
    condition: fn(&str) -> Value,
    labels: Value,
    manager: &'static str,
    operation: &'static str,
}

impl Old {
    fn shop(&self, manifest: &str) -> Shop {
        let shop = Shop::installed(manifest);
        let sandbox = &shop.environment.sandbox;
        let trust = trust(sandbox, &(self.condition)(&issuer(sandbox)));
        let url = sandbox.cluster().issuer().to_owned();
        sandbox.aws(|aws| {
            // On clusters of Qovery the provider is Qovery's.
            aws.call("CreateOpenIDConnectProvider", &[("Url", &url), ("ClientIDList.member.1", "sts.amazonaws.com")]).unwrap();
            aws.add_role(self.role, self.path, &trust);
            aws.role_mut(self.role).unwrap().attached.insert(POLICY.to_owned());
            let document = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:PutObject","Resource":"*"}]}"#;
            aws.call("CreatePolicy", &[("PolicyName", "shop-bucket"), ("PolicyDocument", document)]).unwrap();
        });
        let arn = self.arn();
        sandbox.kubernetes(|kubernetes| {
            kubernetes.put_object(json!({
                "apiVersion": "v1", "kind": "ServiceAccount", "automountServiceAccountToken": true,
                "metadata": {
                    "name": OLD, "namespace": NAMESPACE, "labels": self.labels, "annotations": {"eks.amazonaws.com/role-arn": arn},
                    "managedFields": [{
                        "manager": self.manager, "operation": self.operation, "time": "2026-01-01T00:00:00Z", "apiVersion": "v1", "fieldsType": "FieldsV1",
                        "fieldsV1": {"f:metadata": {"f:annotations": {".": {}, "f:eks.amazonaws.com/role-arn": {}}}, "f:automountServiceAccountToken": {}},
                    }],
                },
            }))
        });
        for service in ["api", "worker"] {
            shop.set(service, "security.service_account_name", json!(OLD));
        }
        pods_have_their_role(sandbox, OLD);
        shop
    }

    fn arn(&self) -> String {
        format!("arn:aws:iam::123456789012:role{}{}", self.path, self.role)
    }
}

/// A pod of this ServiceAccount, created now, gets a role that may read the bucket.
fn pods_have_their_role(sandbox: &Sandbox, service_account: &str) {
    if let Err(why) = have_their_role(sandbox, service_account) {
        panic!("pods of {service_account} are without their role: {why}");
    }
}

fn have_their_role(sandbox: &Sandbox, service_account: &str) -> Result<(), String> {
    let account = sandbox.kubernetes(|kubernetes| kubernetes.object("serviceaccounts", NAMESPACE, service_account).cloned());
    let account = account.ok_or("there is no such ServiceAccount")?;
    let arn = account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"].as_str().ok_or("it names no role")?.to_owned();
    let name = arn.rsplit('/').next().unwrap_or_default();
    let (provider, issuer) = (provider(sandbox), issuer(sandbox));
    let role = sandbox.aws(|aws| aws.roles().get(name).cloned()).ok_or("the role is gone")?;
    let subject = format!("system:serviceaccount:{NAMESPACE}:{service_account}");
    let document: Value = serde_json::from_str(&role.trust).map_err(|error| error.to_string())?;
    if who_may_assume(&document, &provider, &issuer, "sts.amazonaws.com", &[subject]).is_empty() {
        return Err(format!("the trust policy does not let it in: {}", role.trust));
    }
    if !role.attached.contains(POLICY) {
        return Err("the role lacks its policy".to_owned());
    }
    Ok(())
}

/// Does it while somebody looks all the time whether the pods that run have their role.
fn watched<T>(shop: &Shop, running: &str, step: impl FnOnce(&Shop) -> T) -> T {
    let ended = Arc::new(AtomicBool::new(false));
    let sandbox = &shop.environment.sandbox;
    let (done, seen) = thread::scope(|scope| {
        let until = Arc::clone(&ended);
        let watcher = scope.spawn(move || {
            let mut seen = Vec::new();
            while !until.load(Ordering::Relaxed) {
                seen.extend(have_their_role(sandbox, running).err());
                thread::sleep(Duration::from_millis(1));
            }
            seen
        });
        let done = step(shop);
        ended.store(true, Ordering::Relaxed);
        (done, watcher.join().unwrap())
    });
    assert_eq!(seen, [] as [String; 0], "while it ran");
    pods_have_their_role(sandbox, running);
    done
}

fn green(deployed: &Deployed) {
    assert!(deployed.runs.iter().all(|run| run.code == 0), "{}{}", deployed.runs[0].out, deployed.runs[0].err);
}

fn running(deployed: &Deployed) -> Vec<&str> {
    ["api", "worker"].map(|service| deployed.started[service].as_str()).into()
}

/// The five steps of the page, from the plan to the new alone.
fn move_over(old: &Old, page: &str, plan: &str, remove_the_old: impl FnOnce(&Shop)) -> Shop {
    let shop = old.shop(&manifest(page, false));
    let planned = shop.environment.run(&["plan"]).ended(10);
    assert_eq!(planned.planned().join("\n"), shown(plan).trim_end(), "{plan}");

    let first = watched(&shop, OLD, Shop::deploy);
    green(&first);
    assert_eq!(running(&first), [OLD, OLD]);
    pods_have_their_role(&shop.environment.sandbox, NEW);

    shop.environment.write_manifest(&manifest(page, true));
    let bound = watched(&shop, OLD, Shop::deploy);
    green(&bound);
    assert_eq!(running(&bound), [OLD, OLD], "the settings were read before");
    // Old pods run on until the new ones are ready.
    pods_have_their_role(&shop.environment.sandbox, NEW);
    let rolled = watched(&shop, OLD, |shop| watched(shop, NEW, Shop::deploy));
    green(&rolled);
    assert_eq!(running(&rolled), [NEW, NEW]);

    watched(&shop, NEW, remove_the_old);
    let last = watched(&shop, NEW, Shop::deploy);
    green(&last);
    assert_eq!((last.runs[0].writes, running(&last)), (0, vec![NEW, NEW]));
    shop
}

fn delete_service_account(shop: &Shop) {
    shop.environment.sandbox.kubernetes(|kubernetes| kubernetes.remove_object("serviceaccounts", NAMESPACE, OLD));
}

fn delete_role(shop: &Shop, name: &str) {
    shop.environment.sandbox.aws(|aws| {
        aws.role_mut(name).unwrap().attached.clear();
        aws.call("DeleteRole", &[("RoleName", name)]).unwrap();
    });
}

/// Removes the statements of the old trust policy that others wrote.
fn remove_the_old_statement(shop: &Shop, role: &str) {
    shop.environment.sandbox.aws(|aws| {
        let role = aws.role_mut(role).unwrap();
        let mut document: Value = serde_json::from_str(&role.trust).unwrap();
        document["Statement"].as_array_mut().unwrap().retain(|statement| statement.get("Sid").is_some());
        role.trust = document.to_string();
    });
}

/// As the tutorial's first tab has it: the subject in place of the audience.
fn by_subject(issuer: &str) -> Value {
    json!({ "StringEquals": { format!("{issuer}:sub"): format!("system:serviceaccount:{NAMESPACE}:{OLD}") } })
}

/// As the tutorial's second tab has it.
fn by_pattern(issuer: &str) -> Value {
    json!({ "StringLike": { format!("{issuer}:sub"): format!("system:serviceaccount:z*:{OLD}") } })
}

fn by_both(issuer: &str) -> Value {
    json!({ "StringEquals": { format!("{issuer}:sub"): [format!("system:serviceaccount:{NAMESPACE}:{OLD}")], format!("{issuer}:aud"): ["sts.amazonaws.com"] } })
}

fn of_the_tutorial(condition: fn(&str) -> Value) -> Old {
    // The tutorial makes the ServiceAccount by the chart; by hand it is the same but for who holds it.
    Old { role: "my-s3-role", path: "/", condition, labels: json!({}), manager: "kubectl-client-side-apply", operation: "Update" }
}

#[test]
fn from_the_tutorial_to_a_role_of_its_own() {
    for condition in [by_subject as fn(&str) -> Value, by_pattern] {
        let shop = move_over(&of_the_tutorial(condition), "manifest: console", "plan: console", |shop| {
            delete_service_account(shop);
            delete_role(shop, "my-s3-role");
        });
        assert_eq!(shop.environment.roles(), 1);
    }
}

#[test]
fn from_the_tutorial_with_the_role_that_is_there() {
    for condition in [by_subject as fn(&str) -> Value, by_pattern] {
        let shop = move_over(&of_the_tutorial(condition), "manifest: console-arn", "plan: console-arn", |shop| {
            delete_service_account(shop);
            remove_the_old_statement(shop, "my-s3-role");
        });
        let trust = shop.environment.sandbox.aws(|aws| aws.roles()["my-s3-role"].trust.clone());
        assert!(!trust.contains('*') && trust.contains(":aud"), "{trust}");
    }
}

#[test]
fn with_the_same_name_the_job_writes_its_own_statement_beside_one_without_an_audience() {
    for condition in [by_subject as fn(&str) -> Value, by_pattern] {
        let shop = of_the_tutorial(condition).shop(&manifest("manifest: console-arn", false).replace(NEW, OLD));
        green(&watched(&shop, OLD, Shop::deploy));
        watched(&shop, OLD, |shop| remove_the_old_statement(shop, "my-s3-role"));
        let again = watched(&shop, OLD, Shop::deploy);
        assert_eq!(again.runs[0].writes, 0);
    }
}

#[test]
fn with_the_same_name_the_job_adds_nothing_to_a_statement_that_checks_the_audience_and_misses_it_once_it_is_gone() {
    let old = of_the_tutorial(by_both);
    let shop = old.shop(&manifest("manifest: console-arn", false).replace(NEW, OLD));
    green(&watched(&shop, OLD, Shop::deploy));
    let after = shop.environment.sandbox.aws(|aws| aws.roles()["my-s3-role"].clone());
    assert!(after.tags.is_empty() && !after.trust.contains("Sid"), "{}", after.trust);
    shop.environment.sandbox.aws(|aws| {
        let other = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
        other.clone_into(&mut aws.role_mut("my-s3-role").unwrap().trust);
    });
    assert!(have_their_role(&shop.environment.sandbox, OLD).is_err(), "as the page says");
    green(&shop.deploy());
    pods_have_their_role(&shop.environment.sandbox, OLD);
}

#[test]
fn from_the_script_in_place() {
    let old = of_the_tutorial(by_subject);
    let mut shop = old.shop(BOUND);
    shop.environment.without_manifest(&[("SERVICE_ACCOUNT_NAME", OLD), ("AWS_ROLE_ARN", &old.arn())]);
    let planned = shop.environment.run(&["plan"]).ended(10);
    assert_eq!(planned.planned().join("\n"), shown("plan: script").trim_end());
    let uid = |shop: &Shop| {
        let account = shop.environment.sandbox.kubernetes(|kubernetes| kubernetes.object("serviceaccounts", NAMESPACE, OLD).cloned());
        account.unwrap()["metadata"]["uid"].clone()
    };
    let before = uid(&shop);
    green(&watched(&shop, OLD, Shop::deploy));
    assert_eq!(uid(&shop), before, "the same object");
    let again = watched(&shop, OLD, Shop::deploy);
    assert_eq!((again.runs[0].writes, running(&again)), (0, vec![OLD, OLD]));
    // `delete` lets go of it.
    shop.environment.delete();
    pods_have_their_role(&shop.environment.sandbox, OLD);
}

#[test]
fn from_the_chart() {
    let labels = json!({ "app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/name": "qovery-sa-helper", "helm.sh/chart": "qovery-sa-helper-0.1.0" });
    let old = Old { role: "my-s3-role", path: "/", condition: by_subject, labels, manager: "helm", operation: "Update" };
    move_over(&old, "manifest: console-arn", "plan: chart", |shop| {
        // Helm deletes what stands in its release.
        delete_service_account(shop);
        remove_the_old_statement(shop, "my-s3-role");
    });
}

#[test]
fn from_the_chart_with_the_same_name_the_uninstall_takes_the_service_account_as_the_page_warns() {
    let labels = json!({ "app.kubernetes.io/managed-by": "Helm" });
    let old = Old { role: "my-s3-role", path: "/", condition: by_subject, labels, manager: "helm", operation: "Update" };
    let shop = old.shop(&manifest("manifest: console-arn", false).replace(NEW, OLD));
    green(&watched(&shop, OLD, Shop::deploy));
    delete_service_account(&shop);
    assert!(have_their_role(&shop.environment.sandbox, OLD).is_err());
}

#[test]
fn from_the_terraform_module() {
    let labels = json!({ "app.kubernetes.io/managed-by": "Terraform" });
    let old = Old { role: "shop-20260101", path: "/", condition: by_both, labels, manager: "Terraform", operation: "Apply" };
    move_over(&old, "manifest: terraform", "plan: terraform", |shop| {
        delete_service_account(shop);
        delete_role(shop, "shop-20260101");
    });
}

#[test]
fn from_eksctl() {
    let labels = json!({ "app.kubernetes.io/managed-by": "eksctl" });
    let role = "eksctl-demo-addon-iamserviceaccount-z1a2-Role1-abc";
    let old = Old { role, path: "/", condition: by_both, labels, manager: "eksctl", operation: "Update" };
    move_over(&old, "manifest: console", "plan: eksctl", |shop| {
        delete_service_account(shop);
        delete_role(shop, role);
    });
}
