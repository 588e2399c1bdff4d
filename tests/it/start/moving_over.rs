//! From each way in which services got their roles before: what the first plan shows, and that no pod is without its role on the way.
//!
//! The manifests and plans are those of `docs/moving-over.md`.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use qovery_irsa_sandbox::{
    Sandbox,
    aws::{Role, evaluate::who_may_assume},
};
use serde_json::{Value, json};

use crate::support::{
    environment::Run,
    fixtures::{EC2_TRUST, NAMESPACE},
    repository::read,
    shop::{BOUND, Deployed, Shop},
};

const OLD: &str = "my-s3-role";
const NEW: &str = "shop-s3";
const POLICY: &str = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess";

/// What the page shows under this name, as `manifest: console`.
fn shown(name: &str) -> String {
    let page = read("docs/moving-over.md");
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
    tags: &'static [(&'static str, &'static str)],
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
            let role = aws.role_mut(self.role).unwrap();
            role.attached.insert(POLICY.to_owned());
            role.tags = self.tags();
            let document = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:PutObject","Resource":"*"}]}"#;
            aws.call("CreatePolicy", &[("PolicyName", "shop-bucket"), ("PolicyDocument", document)]).unwrap();
        });
        self.put_service_account(sandbox, &self.arn());
        for service in ["api", "worker"] {
            shop.set(service, "security.service_account_name", json!(OLD));
        }
        pods_have_their_role(sandbox, OLD);
        shop
    }

    fn arn(&self) -> String {
        format!("arn:aws:iam::123456789012:role{}{}", self.path, self.role)
    }

    /// Whoever made the ServiceAccount makes it, or sets its annotation anew.
    fn put_service_account(&self, sandbox: &Sandbox, arn: &str) {
        let mut annotations = json!({ "eks.amazonaws.com/role-arn": arn });
        if self.manager == "helm" {
            // Helm writes them on everything that it installs.
            // <https://github.com/helm/helm/blob/v3.18.0/pkg/action/validate.go>
            annotations["meta.helm.sh/release-name"] = json!("helm-z0f1e2d3c-sa");
            annotations["meta.helm.sh/release-namespace"] = json!(NAMESPACE);
        }
        let fields =
            |written: &Value| -> Value { written.as_object().unwrap().keys().map(|key| (format!("f:{key}"), json!({}))).collect() };
        // The API server stores no empty map, and nobody holds one.
        let has_labels = self.labels.as_object().is_some_and(|labels| !labels.is_empty());
        let mut held = json!({"f:annotations": fields(&annotations)});
        if has_labels {
            held["f:labels"] = fields(&self.labels);
        }
        sandbox.kubernetes(|kubernetes| {
            let uid = kubernetes.object("serviceaccounts", NAMESPACE, OLD).map(|object| object["metadata"]["uid"].clone());
            let mut account = json!({
                "apiVersion": "v1", "kind": "ServiceAccount", "automountServiceAccountToken": true,
                "metadata": {
                    "name": OLD, "namespace": NAMESPACE, "uid": uid, "annotations": annotations,
                    "managedFields": [{
                        "manager": self.manager, "operation": self.operation, "time": "2026-01-01T00:00:00Z", "apiVersion": "v1", "fieldsType": "FieldsV1",
                        "fieldsV1": {
                            "f:metadata": held,
                            "f:automountServiceAccountToken": {},
                        },
                    }],
                },
            });
            if has_labels {
                account["metadata"]["labels"] = self.labels.clone();
            }
            kubernetes.put_object(account)
        });
    }

    fn tags(&self) -> BTreeMap<String, String> {
        self.tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// The role as Terraform's configuration says: exactly this trust policy and these tags.
    /// <https://registry.terraform.io/providers/hashicorp/aws/latest/docs/resources/iam_role>
    fn configured(&self, shop: &Shop) -> Role {
        let sandbox = &shop.environment.sandbox;
        let is = sandbox.aws(|aws| aws.roles()[self.role].clone());
        Role { trust: trust(sandbox, &(self.condition)(&issuer(sandbox))), tags: self.tags(), attached: [POLICY.to_owned()].into(), ..is }
    }

    /// Applies the Terraform service once more, as a deployment of its environment does.
    fn apply_terraform(&self, shop: &Shop) {
        let configured = self.configured(shop);
        shop.environment.sandbox.aws(|aws| *aws.role_mut(self.role).unwrap() = configured);
    }

    #[track_caller]
    fn is_as_terraform_made_it(&self, shop: &Shop) {
        assert_eq!(shop.environment.sandbox.aws(|aws| aws.roles()[self.role].clone()), self.configured(shop));
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
    if !sandbox.aws(|aws| aws.providers().contains_key(&issuer)) {
        return Err("the provider is gone".to_owned());
    }
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

    shop.write_manifest(&manifest(page, true));
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
    Old {
        role: "my-s3-role",
        path: "/",
        tags: &[],
        condition,
        labels: json!({}),
        manager: "kubectl-client-side-apply",
        operation: "Update",
    }
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
        EC2_TRUST.clone_into(&mut aws.role_mut("my-s3-role").unwrap().trust);
    });
    assert!(have_their_role(&shop.environment.sandbox, OLD).is_err(), "as the page says");
    green(&shop.deploy());
    pods_have_their_role(&shop.environment.sandbox, OLD);
}

#[test]
fn from_the_script_in_place() {
    let old = of_the_tutorial(by_subject);
    let mut shop = old.shop(&BOUND.replace("variables: {", "variables: {IRSA_MANIFEST: none, "));
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
    let old = Old { role: "my-s3-role", path: "/", tags: &[], condition: by_subject, labels, manager: "helm", operation: "Update" };
    move_over(&old, "manifest: console-arn", "plan: chart", |shop| {
        // Helm deletes what stands in its release.
        delete_service_account(shop);
        remove_the_old_statement(shop, "my-s3-role");
    });
}

#[test]
fn from_the_chart_with_the_same_name_the_uninstall_takes_the_service_account_as_the_page_warns() {
    let labels = json!({ "app.kubernetes.io/managed-by": "Helm" });
    let old = Old { role: "my-s3-role", path: "/", tags: &[], condition: by_subject, labels, manager: "helm", operation: "Update" };
    let shop = old.shop(&manifest("manifest: console-arn", false).replace(NEW, OLD));
    green(&watched(&shop, OLD, Shop::deploy));
    delete_service_account(&shop);
    assert!(have_their_role(&shop.environment.sandbox, OLD).is_err());
}

#[test]
fn from_the_terraform_module() {
    let labels = json!({ "app.kubernetes.io/managed-by": "Terraform" });
    let old = Old { role: "shop-20260101", path: "/", tags: &[], condition: by_both, labels, manager: "Terraform", operation: "Apply" };
    move_over(&old, "manifest: terraform", "plan: terraform", |shop| {
        delete_service_account(shop);
        delete_role(shop, "shop-20260101");
    });
}

#[test]
fn from_eksctl() {
    let labels = json!({ "app.kubernetes.io/managed-by": "eksctl" });
    let role = "eksctl-demo-addon-iamserviceaccount-z1a2-Role1-abc";
    let old = Old { role, path: "/", tags: &[], condition: by_both, labels, manager: "eksctl", operation: "Update" };
    move_over(&old, "manifest: console", "plan: eksctl", |shop| {
        delete_service_account(shop);
        delete_role(shop, role);
    });
}

fn by_pattern_and_audience(issuer: &str) -> Value {
    let mut condition = by_pattern(issuer);
    condition["StringEquals"] = json!({ format!("{issuer}:aud"): "sts.amazonaws.com" });
    condition
}

/// What the tutorial of August 2026 leaves: provider and role of a Terraform service with an empty `TF_VAR_namespace`, so that the trust is
/// for `z*`, and the ServiceAccount of the chart `qovery-sa-helper` 0.2.0.
///
/// Neither the module nor that version of the chart is published where this could be read, so both are played in each form that they may
/// have. The statement may check the audience, as the IAM console writes it, or not, as the tutorial before it had it:
/// <https://github.com/Qovery/documentation/blob/0cd66dd/docs/getting-started/guides/advanced-tutorials/aws-iam-roles.mdx>.
/// Helm may have written the ServiceAccount by an update (version 3) or by server-side apply (version 4):
/// <https://github.com/helm/community/blob/main/hips/hip-0023.md>. The labels are those of the chart's version 0.1.0:
/// <https://github.com/Qovery/create_service_account/blob/f515d9c/chart/qovery-service-account/templates/serviceaccount.yaml>.
fn of_august(condition: fn(&str) -> Value, operation: &'static str) -> Old {
    let labels = json!({
        "app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/name": "qovery-sa-helper", "app.kubernetes.io/instance": "helm-z0f1e2d3c-sa",
        "app.kubernetes.io/version": "0.2.0", "helm.sh/chart": "qovery-sa-helper-0.2.0",
    });
    Old { role: "my-s3-role", path: "/", tags: &[("ManagedBy", "Terraform")], condition, labels, manager: "helm", operation }
}

/// In each form that is possible, all at once.
fn in_forms_of_august(play: impl Fn(&Old) + Sync) {
    let forms = [by_pattern as fn(&str) -> Value, by_pattern_and_audience]
        .into_iter()
        .flat_map(|condition| ["Update", "Apply"].map(|operation| of_august(condition, operation)));
    thread::scope(|scope| {
        for form in forms {
            let play = &play;
            scope.spawn(move || play(&form));
        }
    });
}

/// The destruction of the Terraform service takes away all that its state has.
fn destroy_terraform(shop: &Shop) {
    delete_role(shop, "my-s3-role");
    let arn = provider(&shop.environment.sandbox);
    shop.environment.sandbox.aws(|aws| aws.call("DeleteOpenIDConnectProvider", &[("OpenIDConnectProviderArn", &arn)])).unwrap();
}

/// The one run of the job in a deployment.
#[track_caller]
fn ended(deployed: &Deployed, code: i32) -> &Run {
    let [run] = deployed.runs.as_slice() else { panic!("one run") };
    assert_eq!(run.code, code, "{}{}", run.out, run.err);
    run
}

/// The page's manifest with the ServiceAccount that the chart made.
fn with_the_same_name(page: &str) -> String {
    manifest(page, false).replace(NEW, OLD)
}

fn trust_of(shop: &Shop, role: &str) -> Value {
    serde_json::from_str(&shop.environment.sandbox.aws(|aws| aws.roles()[role].trust.clone())).unwrap()
}

#[test]
fn from_the_tutorial_of_august_to_a_role_for_each_environment_and_the_role_of_terraform_stays_as_it_was() {
    in_forms_of_august(|old| {
        let shop = move_over(old, "manifest: august", "plan: august", |shop| {
            // What was not touched has nothing to be put right.
            old.is_as_terraform_made_it(shop);
            // Helm deletes what stands in its release.
            delete_service_account(shop);
        });
        // No clone needs `z*`.
        let clone = shop.clone_named("shop-clone");
        ended(&shop.event(&clone, "deploy"), 0);
        assert_eq!(shop.environment.roles(), 3);
        ended(&shop.delete(&clone), 0);
        ended(&shop.delete(&shop.id), 0);
        assert_eq!(shop.environment.roles(), 1);
        old.is_as_terraform_made_it(&shop);
    });
}

#[test]
fn a_role_of_its_own_under_the_name_of_the_chart_is_refused_until_the_chart_is_uninstalled() {
    in_forms_of_august(|old| {
        let shop = old.shop(&with_the_same_name("manifest: august"));
        let refused = watched(&shop, OLD, Shop::deploy);
        let run = ended(&refused, 3);
        assert!(run.err.contains("held by field manager `helm`"), "{}", run.err);
        assert_eq!((run.writes, shop.environment.roles(), refused.started.len()), (0, 1, 0), "nothing is made, no service is deployed");
        // Between the uninstall and the deployment a new pod has no ServiceAccount to start with, as the page says.
        delete_service_account(&shop);
        assert_eq!(have_their_role(&shop.environment.sandbox, OLD), Err("there is no such ServiceAccount".to_owned()));
        ended(&shop.deploy(), 0);
        pods_have_their_role(&shop.environment.sandbox, OLD);
        assert_eq!(ended(&watched(&shop, OLD, Shop::deploy), 0).writes, 0);
        ended(&shop.delete(&shop.id), 0);
        assert_eq!(shop.environment.roles(), 1);
        old.is_as_terraform_made_it(&shop);
    });
}

#[test]
fn a_role_of_its_own_under_the_name_of_the_chart_is_taken_once_the_annotation_of_the_chart_names_it() {
    in_forms_of_august(|old| {
        let shop = old.shop(&with_the_same_name("manifest: august"));
        let run = shop.environment.run(&["plan"]).ended(3);
        let wanted = run.err.split('`').find(|word| word.contains(":role/qovery/")).unwrap().to_owned();
        // The chart's value `awsRoleArn`.
        old.put_service_account(&shop.environment.sandbox, &wanted);
        assert_eq!(have_their_role(&shop.environment.sandbox, OLD), Err("the role is gone".to_owned()), "not there yet, as the page says");
        ended(&shop.deploy(), 0);
        pods_have_their_role(&shop.environment.sandbox, OLD);
        ended(&shop.delete(&shop.id), 0);
        old.is_as_terraform_made_it(&shop);
    });
}

#[test]
fn from_the_tutorial_of_august_with_the_role_that_is_there() {
    in_forms_of_august(|old| {
        let shop = move_over(old, "manifest: august-arn", "plan: august-arn", |shop| {
            delete_service_account(shop);
            // The Terraform service was deleted without `terraform destroy`: nobody undoes this.
            remove_the_old_statement(shop, "my-s3-role");
        });
        let trust = trust_of(&shop, "my-s3-role").to_string();
        assert!(!trust.contains('*') && trust.contains(":aud"), "{trust}");
        // A clone is let in by name, and goes as it came.
        let clone = shop.clone_named("shop-clone");
        ended(&shop.event(&clone, "deploy"), 0);
        assert_eq!((shop.environment.roles(), trust_of(&shop, "my-s3-role").to_string().matches("system:serviceaccount:").count()), (1, 2));
        ended(&shop.delete(&clone), 0);
        assert_eq!(trust_of(&shop, "my-s3-role").to_string(), trust);
        // The role stays when the last environment goes, and lets nobody in.
        ended(&shop.delete(&shop.id), 0);
        let statements = trust_of(&shop, "my-s3-role")["Statement"].clone();
        assert!(statements.as_array().unwrap().iter().all(|statement| statement["Effect"] == "Deny"), "{statements}");
        assert_eq!(shop.environment.sandbox.aws(|aws| aws.roles()["my-s3-role"].tags.clone()), old.tags());
    });
}

#[test]
fn a_terraform_service_that_is_still_deployed_takes_the_subject_of_the_job_away_and_the_next_deployment_puts_it_back() {
    in_forms_of_august(|old| {
        let shop = old.shop(&manifest("manifest: august-arn", false));
        ended(&watched(&shop, OLD, Shop::deploy), 0);
        pods_have_their_role(&shop.environment.sandbox, NEW);
        old.apply_terraform(&shop);
        let why = have_their_role(&shop.environment.sandbox, NEW).unwrap_err();
        assert!(why.starts_with("the trust policy does not let it in"), "{why}");
        let again = watched(&shop, OLD, Shop::deploy);
        assert_eq!(ended(&again, 0).writes, 2, "tag and statement");
        pods_have_their_role(&shop.environment.sandbox, NEW);
    });
}

#[test]
fn under_the_name_of_the_chart_a_statement_for_z_that_checks_the_audience_lets_the_subject_in_and_nothing_is_added_to_the_role() {
    for operation in ["Update", "Apply"] {
        let old = of_august(by_pattern_and_audience, operation);
        let shop = old.shop(&with_the_same_name("manifest: august-arn"));
        assert_eq!(ended(&watched(&shop, OLD, Shop::deploy), 0).writes, 2, "the ServiceAccount and its mark");
        old.is_as_terraform_made_it(&shop);
        // So Terraform and the job do not undo each other's work, and a clone is let in by `z*`.
        old.apply_terraform(&shop);
        assert_eq!(ended(&watched(&shop, OLD, Shop::deploy), 0).writes, 0);
        let clone = shop.clone_named("shop-clone");
        ended(&shop.event(&clone, "deploy"), 0);
        old.is_as_terraform_made_it(&shop);
        ended(&shop.delete(&clone), 0);
        ended(&watched(&shop, OLD, |shop| shop.event(&shop.id, "stop")), 0);
        ended(&shop.delete(&shop.id), 0);
        old.is_as_terraform_made_it(&shop);
    }
}

#[test]
fn under_the_name_of_the_chart_the_job_writes_its_own_entry_beside_a_statement_for_z_without_an_audience_and_takes_it_away() {
    for operation in ["Update", "Apply"] {
        let old = of_august(by_pattern, operation);
        let shop = old.shop(&with_the_same_name("manifest: august-arn"));
        let before = trust_of(&shop, "my-s3-role");
        assert_eq!(ended(&watched(&shop, OLD, Shop::deploy), 0).writes, 4, "ServiceAccount, its mark, tag and statement");
        let after = trust_of(&shop, "my-s3-role");
        assert_eq!((after["Statement"].as_array().unwrap().len(), &after["Statement"][0]), (2, &before["Statement"][0]), "{after}");
        // Terraform takes it away again. Pods are let in by `z*` meanwhile.
        watched(&shop, OLD, |shop| old.apply_terraform(shop));
        assert_eq!(ended(&watched(&shop, OLD, Shop::deploy), 0).writes, 2, "tag and statement");
        ended(&shop.delete(&shop.id), 0);
        assert_eq!(trust_of(&shop, "my-s3-role"), before);
        assert_eq!(shop.environment.sandbox.aws(|aws| aws.roles()["my-s3-role"].tags.clone()), old.tags());
    }
}

#[test]
fn a_service_account_that_the_uninstall_keeps_goes_on_with_the_job_and_another_role_for_it_is_refused() {
    in_forms_of_august(|old| {
        let shop = old.shop(&with_the_same_name("manifest: august-arn"));
        // The chart's value `serviceAccount.annotations` with `helm.sh/resource-policy: keep`, deployed: so it stands in the release.
        ended(&watched(&shop, OLD, Shop::deploy), 0);
        // The uninstall leaves the object as it is, fields of Helm included: nothing to play.
        let again = watched(&shop, OLD, Shop::deploy);
        assert_eq!((ended(&again, 0).writes, running(&again)), (0, vec![OLD, OLD]));
        // Another role later is refused for as long as these fields say Helm's.
        shop.write_manifest(&with_the_same_name("manifest: august"));
        let refused = watched(&shop, OLD, Shop::deploy);
        assert!(ended(&refused, 3).err.contains("held by field manager `helm`"), "{}", refused.runs[0].err);
    });
}

#[test]
fn scope_cluster_keeps_the_patterns_of_the_role_that_is_there_for_every_clone_and_no_delete_takes_them_away() {
    in_forms_of_august(|old| {
        let shop = move_over(old, "manifest: august-cluster", "plan: august-cluster", |shop| {
            delete_service_account(shop);
            remove_the_old_statement(shop, "my-s3-role");
        });
        let role = |shop: &Shop| shop.environment.sandbox.aws(|aws| aws.roles()["my-s3-role"].clone());
        let before = role(&shop);
        assert!(before.trust.contains("system:serviceaccount:z*:shop-s3") && before.trust.contains(":aud"), "{}", before.trust);
        assert_eq!(before.tags, old.tags(), "no entry for each environment");
        let clone = shop.clone_named("shop-clone");
        ended(&shop.event(&clone, "deploy"), 0);
        ended(&shop.delete(&clone), 0);
        assert_eq!(role(&shop), before, "a clone is let in by the pattern");
        ended(&shop.delete(&shop.id), 0);
        assert_eq!(role(&shop), before);
    });
}

#[test]
fn a_terraform_service_that_is_destroyed_takes_provider_and_role_away_under_pods_as_the_page_warns() {
    // With the role that is there: nobody can put it back but Terraform.
    let old = of_august(by_pattern_and_audience, "Apply");
    let shop = old.shop(&manifest("manifest: august-arn", false));
    ended(&shop.deploy(), 0);
    destroy_terraform(&shop);
    assert!(have_their_role(&shop.environment.sandbox, NEW).is_err());
    ended(&shop.deploy(), 3);
    // With a role of its own: the next deployment puts the provider back, and all pods are without their role until then.
    let shop = old.shop(&manifest("manifest: august", false));
    ended(&shop.deploy(), 0);
    destroy_terraform(&shop);
    assert_eq!(have_their_role(&shop.environment.sandbox, NEW), Err("the provider is gone".to_owned()));
    ended(&shop.deploy(), 0);
    pods_have_their_role(&shop.environment.sandbox, NEW);
}

#[test]
fn the_blocks_that_make_terraform_forget_destroy_nothing() {
    let body = hcl::parse(&shown("removed: august")).unwrap();
    let forgotten: Vec<(String, String)> = body
        .blocks()
        .map(|block| {
            assert_eq!(block.identifier(), "removed");
            let lifecycle = block.body().blocks().find(|inner| inner.identifier() == "lifecycle").unwrap();
            let destroy = lifecycle.body().attributes().find(|attribute| attribute.key() == "destroy").unwrap();
            let from = block.body().attributes().find(|attribute| attribute.key() == "from").unwrap();
            (from.expr().to_string(), destroy.expr().to_string())
        })
        .collect();
    let of = |resource: &str| (format!("{resource}.this"), "false".to_owned());
    assert_eq!(forgotten, ["aws_iam_openid_connect_provider", "aws_iam_role", "aws_iam_role_policy_attachment"].map(of));
}
