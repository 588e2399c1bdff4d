//! AWS, a cluster, the job's identity in both, and what these servers cannot show.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::Path,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use kube::config::Kubeconfig;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    api_server::{ADMIN_TOKEN, ApiServer, JOB_TOKEN, NOBODY_TOKEN},
    aws::{Assumed, Aws, Key},
    failure::{Doing as _, Failure, check},
    job::{Job, Run, Running},
    kubernetes::{self, Kubernetes},
    third_party_iam::{ADMIN_KEY, REGION, ThirdPartyIam},
};

const POLICY: &str = include_str!("../../../docs/permissions/iam-policy.json");
const POLICY_WITH_BOUNDARY: &str = include_str!("../../../docs/permissions/iam-policy-with-boundary.json");
/// The issuer in that file, for which everybody writes their own.
const EXAMPLE_ISSUER: &str = "oidc.eks.eu-west-3.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE";
const RBAC: &str = include_str!("../../../docs/permissions/rbac.yaml");
const GUARD: &str = include_str!("../../../docs/permissions/admission-guard.yaml");
const BOUNDARY: &str = "policy/qovery-irsa-boundary";

/// What a server does not do, so that what depends on it is not proven by a run against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lack {
    /// STS gives a role for a token that nobody signed.
    TokenSignature,
    /// STS refuses every token of this cluster, which it cannot verify or does not know.
    Tokens,
    /// STS gives a role to whom its trust policy does not name.
    TrustPolicies,
    /// IAM tells names apart that differ only by case.
    CaseOfNames,
    /// IAM takes a trust policy that is none.
    TrustPolicyCheck,
    /// IAM lets a user do what no policy allows.
    CallerPermissions,
    /// IAM is out of reach between two calls of the job.
    Moments,
    /// The API server is older than 1.30, or somebody else's, whose other callers the guard would bound as well.
    AdmissionPolicies,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TokenSignature => "STS does not verify signatures: that a forged token gets no role",
            Self::Tokens => "STS does not know this cluster's tokens: that a pod gets the role, and nobody else",
            Self::TrustPolicies => "STS does not read trust policies: that nobody else gets the role",
            Self::CaseOfNames => "IAM tells names apart by case: that a role whose name differs only by case is refused",
            Self::TrustPolicyCheck => "IAM takes any text for a trust policy: that IAM accepts those which the job writes",
            Self::CallerPermissions => "IAM lets everybody do everything: that the published policy suffices, and what happens without it",
            Self::AdmissionPolicies => "the API server has no admission policies (Kubernetes 1.30), or is not this program's own: what the guard refuses, and that the job passes it",
            Self::Moments => "IAM is not in this process: what happens when others change a role between two calls of the job",
        })
    }
}

/// Which servers are somebody else's to start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Given {
    pub(crate) aws: bool,
    pub(crate) cluster: bool,
}

pub(crate) struct World {
    pub(crate) aws: Aws,
    pub(crate) kubernetes: Kubernetes,
    pub(crate) issuer: String,
    /// Different in every run, for all names of things that others could have as well.
    pub(crate) id: String,
    pub(crate) lacks: BTreeSet<Lack>,
    pub(crate) servers: String,
    job: Job,
    variables: BTreeMap<String, String>,
    files: TempDir,
    third_party_iam: Option<ThirdPartyIam>,
    api_server: Option<ApiServer>,
    nobody_token: String,
    provider_was_there: bool,
}

/// A policy of `docs/permissions/`, narrowed as `docs/permissions.md` says it can be: to the account, and for EKS to the region.
fn filled_in(policy: &str, aws: &Aws) -> String {
    policy
        .replace("arn:aws:iam::*:", &format!("arn:aws:iam::{}:", aws.account))
        .replace("arn:aws:eks:*:*:", &format!("arn:aws:eks:{}:{}:", aws.region, aws.account))
}

/// Its letters alone count for IAM's quota, but not every server knows that.
fn compact(document: &str) -> Result<String, Failure> {
    let document: Value = serde_json::from_str(document).doing(|| "a policy of docs/permissions/ is no JSON".to_owned())?;
    Ok(document.to_string())
}

impl World {
    /// Starts what is not given, and changes nothing in what is.
    ///
    /// # Errors
    /// A server is missing, does not start or refuses.
    pub(crate) async fn new(given: Given) -> Result<Self, Failure> {
        let job = Job::find()?;
        let files = tempfile::tempdir().doing(|| "cannot make a temporary folder".to_owned())?;
        let id = format!("{:x}", std::process::id());

        let (third_party_iam, aws) = if given.aws {
            (None, Aws::new(None).await?)
        } else {
            let server = ThirdPartyIam::start().await?;
            let aws = Aws::new(Some((&server.url, REGION, ADMIN_KEY))).await?;
            (Some(server), aws)
        };
        let (api_server, kubernetes) = if given.cluster {
            check(std::env::var_os("KUBECONFIG").is_some(), || "`KUBECONFIG` does not say which cluster is given".to_owned())?;
            let kubeconfig = Kubeconfig::read().doing(|| "the kubeconfig cannot be read".to_owned())?;
            (None, Kubernetes::new(kubeconfig).await?)
        } else {
            let (server, kubernetes) = own_cluster(files.path()).await?;
            (Some(server), kubernetes)
        };
        let issuer = kubernetes.issuer().await?;
        let provider_was_there = aws.audiences(&issuer).await?.is_some();

        let servers = format!(
            "AWS: {}\nKubernetes: {}",
            third_party_iam.as_ref().map_or_else(|| "given".to_owned(), |_| "fakecloud, in this process".to_owned()),
            api_server.as_ref().map_or_else(|| "given".to_owned(), |server| server.version.clone()),
        );
        Ok(Self {
            aws,
            kubernetes,
            issuer,
            id,
            lacks: BTreeSet::new(),
            servers,
            job,
            variables: BTreeMap::new(),
            files,
            third_party_iam,
            api_server,
            nobody_token: NOBODY_TOKEN.to_owned(),
            provider_was_there,
        })
    }

    /// Makes the job somebody in both, with exactly what `docs/permissions/` gives. What this makes, `clean_up` takes away.
    ///
    /// # Errors
    /// A server refuses.
    pub(crate) async fn admit_the_job(&mut self) -> Result<(), Failure> {
        let user = format!("qovery-irsa-conformance-{}", self.id);
        let key = self.aws.create_user(&user, &[("published", &compact(&filled_in(POLICY, &self.aws))?)]).await?;
        let token = if self.api_server.is_some() {
            // In the order that the documents say.
            let guarded = self.apply_guard().await?;
            apply_rbac(&self.kubernetes, RBAC, |_| ()).await?;
            if !guarded {
                self.lacks.insert(Lack::AdmissionPolicies);
            }
            JOB_TOKEN.to_owned()
        } else {
            let (job, nobody) = as_service_accounts(&self.kubernetes, &self.id).await?;
            self.nobody_token = nobody;
            self.lacks.insert(Lack::AdmissionPolicies);
            job
        };
        kubernetes::write_kubeconfig(&self.files.path().join("kubeconfig"), self.kubernetes.cluster(), &token)?;
        self.variables = self.variables_of_the_job(&key);
        if self.can(Lack::AdmissionPolicies) { self.guard_is_up().await } else { Ok(()) }
    }

    /// Applies the published guard, changed as its comments say for the namespaces, the audience and the given role of this program; false
    /// if the API server knows no such policies.
    async fn apply_guard(&self) -> Result<bool, Failure> {
        let group = "/apis/admissionregistration.k8s.io/v1";
        if self.kubernetes.get(&format!("{group}/validatingadmissionpolicies")).await?.is_none() {
            return Ok(false);
        }
        for document in GUARD.split("\n---\n") {
            let mut object: Value =
                serde_yaml::from_str(document).doing(|| "docs/permissions/admission-guard.yaml is no YAML".to_owned())?;
            for variable in object.pointer_mut("/spec/variables").and_then(Value::as_array_mut).into_iter().flatten() {
                let changed = match variable["name"].as_str() {
                    Some("namespaces") => "['^conformance-']".to_owned(),
                    Some("audiences") => "['sts.amazonaws.com', 'pods.eks.amazonaws.com', 'somebody']".to_owned(),
                    Some("furtherRoles") => {
                        format!("['arn:aws:iam::{}:role/conformance-by-hand-{}']", self.aws.account, self.id)
                    }
                    _ => continue,
                };
                variable["expression"] = json!(changed);
            }
            let plural = if object["kind"] == "ValidatingAdmissionPolicy" {
                "validatingadmissionpolicies"
            } else {
                "validatingadmissionpolicybindings"
            };
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            self.kubernetes.apply(&format!("{group}/{plural}/{name}"), &object).await?;
        }
        Ok(true)
    }

    /// Waits until the API server asks the guard: it hears of new policies a while later.
    async fn guard_is_up(&self) -> Result<(), Failure> {
        let job = self.job_in_the_cluster().await?;
        let object = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "conformance"}});
        let started = Instant::now();
        while job
            .refused("POST", "/api/v1/namespaces/default/serviceaccounts?dryRun=All", &object)
            .await?
            .is_none_or(|said| said.code != 422)
        {
            check(started.elapsed() < Duration::from_mins(1), || "the guard does not refuse anything after a minute".to_owned())?;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(())
    }

    /// The API server as the job's group sees it.
    ///
    /// # Errors
    /// The job's kubeconfig cannot be used.
    pub(crate) async fn job_in_the_cluster(&self) -> Result<Kubernetes, Failure> {
        self.bearer_in_the_cluster(JOB_TOKEN).await
    }

    /// The API server as the bearer of a token sees it.
    ///
    /// # Errors
    /// The kubeconfig cannot be used.
    pub(crate) async fn bearer_in_the_cluster(&self, token: &str) -> Result<Kubernetes, Failure> {
        let path = self.files.path().join("bearer");
        kubernetes::write_kubeconfig(&path, self.kubernetes.cluster(), token)?;
        Kubernetes::new(Kubeconfig::read_from(&path).doing(|| "the kubeconfig cannot be read".to_owned())?).await
    }

    fn variables_of_the_job(&self, key: &Key) -> BTreeMap<String, String> {
        let mut variables = BTreeMap::new();
        let mut set = |name: &str, value: String| drop(variables.insert(name.to_owned(), value));
        set("AWS_ACCESS_KEY_ID", key.id.clone());
        set("AWS_SECRET_ACCESS_KEY", key.secret.clone());
        set("QOVERY_CLOUD_PROVIDER_REGION", self.aws.region.clone());
        set("QOVERY_ENVIRONMENT_ID", "e1".to_owned());
        set("KUBECONFIG", self.files.path().join("kubeconfig").display().to_string());
        set("IRSA_TIMEOUT", "2m".to_owned());
        set("IRSA_TERMINATION_LOG", self.files.path().join("termination-log").display().to_string());
        if self.api_server.is_some() {
            // The users of the own cluster are people; those may not read the discovery document by default.
            set("IRSA_OIDC_ISSUER", self.issuer.clone());
        }
        match &self.third_party_iam {
            Some(server) => {
                set("AWS_ENDPOINT_URL", server.url.clone());
                // Its reads show no past.
                set("IRSA_SETTLE", "0".to_owned());
            }
            None => {
                for name in
                    ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_IAM", "AWS_ENDPOINT_URL_STS", "AWS_CA_BUNDLE", "SSL_CERT_FILE", "IRSA_SETTLE"]
                {
                    if let Ok(value) = std::env::var(name) {
                        set(name, value);
                    }
                }
            }
        }
        variables
    }

    /// Asks the servers what they can show, rather than knowing it by their names.
    ///
    /// # Errors
    /// They refuse what is asked of them.
    pub(crate) async fn examine(&mut self) -> Result<(), Failure> {
        if self.third_party_iam.is_none() {
            self.lacks.insert(Lack::Moments);
        }
        let name = format!("Conformance-Case-{}", self.id);
        self.aws.create_role_by_hand(&name).await?;
        if self.aws.role(&name.to_lowercase()).await?.is_none() {
            self.lacks.insert(Lack::CaseOfNames);
        }
        let trust = self.aws.iam.update_assume_role_policy().role_name(&name);
        if trust.policy_document(r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Perhaps"}]}"#).send().await.is_ok() {
            self.lacks.insert(Lack::TrustPolicyCheck);
        }
        self.aws.delete_role(&name).await?;

        let user = format!("qovery-irsa-nobody-{}", self.id);
        let nobody = self.aws.create_user(&user, &[]).await?;
        if self.aws.iam_with(&nobody).list_roles().send().await.is_ok() {
            self.lacks.insert(Lack::CallerPermissions);
        }
        self.aws.delete_user(&user).await?;
        self.examine_tokens().await
    }

    async fn examine_tokens(&mut self) -> Result<(), Failure> {
        let mut environment = self.environment("tokens", &manifest("role: {}")).await?;
        environment.set("IRSA_PROOF", "off");
        environment.run(&["start"])?.ended(0)?;
        let role = environment.role_arn("app").await?;
        let token = self.kubernetes.token(&environment.namespace, "app", Some("sts.amazonaws.com"), 600).await?;
        let asked = Instant::now();
        let answer = loop {
            match self.aws.assume(&role, &token).await? {
                // AWS needs a while until STS knows a new role.
                Assumed::Refused(code) if self.is_slow() && code != "InvalidIdentityToken" && asked.elapsed() < Duration::from_secs(30) => {
                    tokio::time::sleep(Duration::from_secs(2)).await;
                }
                answer => break answer,
            }
        };
        let mut lacks = BTreeSet::new();
        if let Assumed::Refused(_) = answer {
            lacks.insert(Lack::Tokens);
        } else {
            let path = format!("/api/v1/namespaces/{}/serviceaccounts/other", environment.namespace);
            let other =
                json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "other", "namespace": environment.namespace}});
            self.kubernetes.apply(&path, &other).await?;
            let others = self.kubernetes.token(&environment.namespace, "other", Some("sts.amazonaws.com"), 600).await?;
            for (token, lack) in [(others, Lack::TrustPolicies), (forged(&token), Lack::TokenSignature)] {
                if let Assumed::Session(_) = self.aws.assume(&role, &token).await? {
                    lacks.insert(lack);
                }
            }
            self.kubernetes.delete(&path).await?;
        }
        environment.run(&["delete"])?.ended(0)?;
        environment.remove().await?;
        let proof = if lacks.contains(&Lack::Tokens) { "off" } else { "required" };
        self.variables.insert("IRSA_PROOF".to_owned(), proof.to_owned());
        self.lacks.extend(lacks);
        Ok(())
    }

    pub(crate) fn can(&self, lack: Lack) -> bool {
        !self.lacks.contains(&lack)
    }

    /// A namespace, and the job in it with this manifest.
    ///
    /// # Errors
    /// The namespace cannot be made.
    pub(crate) async fn environment(&self, name: &str, manifest: &str) -> Result<Environment<'_>, Failure> {
        let namespace = format!("conformance-{}-{name}", self.id);
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        self.kubernetes.apply(&format!("/api/v1/namespaces/{namespace}"), &object).await?;
        let mut environment = Environment { world: self, variables: self.variables.clone(), namespace };
        environment.write_manifest(manifest)?;
        let namespace = environment.namespace.clone();
        environment.set("QOVERY_KUBERNETES_NAMESPACE_NAME", &namespace);
        environment.set("IRSA_OUTPUT", &self.files.path().join(format!("{namespace}.json")).display().to_string());
        Ok(environment)
    }

    /// The text of a manifest with what differs between runs filled in.
    pub(crate) fn filled(&self, text: &str) -> String {
        text.replace("<ID>", &self.id).replace("<ACCOUNT>", &self.aws.account)
    }

    /// A user with the policy for jobs with a boundary, and that boundary.
    ///
    /// # Errors
    /// AWS refuses.
    pub(crate) async fn bounded_user(&self) -> Result<(Key, String), Failure> {
        let boundary = format!("qovery-irsa-boundary-{}", self.id);
        let document = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;
        let create = self.aws.iam.create_policy().policy_name(&boundary).policy_document(document);
        create.send().await.doing(|| format!("cannot create policy `{boundary}`"))?;
        let policy = filled_in(POLICY_WITH_BOUNDARY, &self.aws)
            .replace(BOUNDARY, &format!("policy/{boundary}"))
            .replace(EXAMPLE_ISSUER, self.issuer.trim_start_matches("https://"));
        let key = self.aws.create_user(&self.bounded_name(), &[("published", &compact(&policy)?)]).await?;
        Ok((key, format!("arn:aws:iam::{}:policy/{boundary}", self.aws.account)))
    }

    fn bounded_name(&self) -> String {
        format!("qovery-irsa-bounded-{}", self.id)
    }

    /// The statement that `docs/permissions.md` adds for a role given by ARN.
    ///
    /// # Errors
    /// AWS refuses.
    pub(crate) async fn allow_trust_of(&self, role: &str) -> Result<(), Failure> {
        let actions = ["iam:TagRole", "iam:UntagRole", "iam:UpdateAssumeRolePolicy"];
        let document = json!({"Version": "2012-10-17", "Statement": [{"Sid": "TrustOfRolesGivenByArn", "Effect": "Allow", "Action": actions, "Resource": [role]}]});
        let put = self.aws.iam.put_user_policy().user_name(format!("qovery-irsa-conformance-{}", self.id)).policy_name("given");
        put.policy_document(document.to_string()).send().await.doing(|| "cannot put a policy on the job's user".to_owned())?;
        self.shows().await;
        Ok(())
    }

    /// A kubeconfig of somebody who may do nothing.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn kubeconfig_of_nobody(&self) -> Result<String, Failure> {
        let path = self.files.path().join("nobody");
        kubernetes::write_kubeconfig(&path, self.kubernetes.cluster(), &self.nobody_token)?;
        Ok(path.display().to_string())
    }

    /// Removes the namespace as the cluster would, and waits until it is gone.
    ///
    /// # Errors
    /// It stays.
    pub(crate) async fn remove_namespace(&self, namespace: &str) -> Result<(), Failure> {
        let path = format!("/api/v1/namespaces/{namespace}");
        if self.api_server.is_some() {
            // There is no controller that empties it.
            self.kubernetes.delete(&format!("{path}/serviceaccounts/app")).await?;
        }
        self.kubernetes.delete(&path).await?;
        let started = Instant::now();
        while let Some(mut left) = self.kubernetes.get(&path).await? {
            check(started.elapsed() < Duration::from_mins(2), || format!("namespace `{namespace}` does not go"))?;
            if self.api_server.is_some() {
                left["spec"]["finalizers"] = json!([]);
                self.kubernetes.put(&format!("{path}/finalize"), &left).await?;
            } else {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        Ok(())
    }

    /// Takes away what a run has made or left, as far as that goes. Of servers of its own nothing needs to go.
    pub(crate) async fn clean_up(&self) -> Vec<Failure> {
        let mut left = Vec::new();
        let mut note = |result: Result<(), Failure>| left.extend(result.err());
        if self.third_party_iam.is_none() {
            let mut roles = self.aws.roles_below(&format!("/qovery/conformance-{}/", self.id)).await.unwrap_or_default();
            roles.extend(["by-hand", "foreign", "Case"].map(|name| format!("conformance-{name}-{}", self.id)));
            for role in roles {
                note(self.aws.delete_role(&role).await);
            }
            for user in [format!("qovery-irsa-conformance-{}", self.id), format!("qovery-irsa-nobody-{}", self.id), self.bounded_name()] {
                note(self.aws.delete_user(&user).await);
            }
            let boundary = format!("arn:aws:iam::{}:policy/qovery-irsa-boundary-{}", self.aws.account, self.id);
            let _ = self.aws.iam.delete_policy().policy_arn(boundary).send().await;
            if !self.provider_was_there {
                let provider = self.aws.provider(&self.issuer);
                let _ = self.aws.iam.delete_open_id_connect_provider().open_id_connect_provider_arn(provider).send().await;
            }
        }
        if self.api_server.is_none() {
            for path in given_rbac_paths(&self.id) {
                note(self.kubernetes.delete(&path).await);
            }
            let namespaces = self.kubernetes.get("/api/v1/namespaces").await.ok().flatten().unwrap_or_default();
            for namespace in namespaces["items"].as_array().into_iter().flatten().filter_map(|item| item["metadata"]["name"].as_str()) {
                if namespace.starts_with(&format!("conformance-{}-", self.id)) {
                    note(self.kubernetes.delete(&format!("/api/v1/namespaces/{namespace}")).await);
                }
            }
        }
        left
    }

    /// Deletes a role in the moment in which the job asks for this change of it.
    ///
    /// # Errors
    /// IAM is not in this process.
    pub(crate) fn lose_role_before(&self, role: &str, action: &str) -> Result<(), Failure> {
        let iam = self.third_party_iam.as_ref().ok_or_else(|| Failure::new("IAM is not in this process"))?;
        iam.lose_role_before(role, action);
        Ok(())
    }

    /// Whether IAM may show the past, as AWS does.
    pub(crate) fn is_slow(&self) -> bool {
        self.third_party_iam.is_none()
    }

    /// Whether `rbac.yaml` was applied as it is, with its group.
    pub(crate) fn has_the_published_group(&self) -> bool {
        self.api_server.is_some()
    }

    /// Until a change made past the job is seen by it.
    pub(crate) async fn shows(&self) {
        if self.is_slow() {
            tokio::time::sleep(Duration::from_secs(15)).await;
        }
    }

    pub(crate) fn job_path(&self) -> &Path {
        self.job.path()
    }
}

async fn own_cluster(files: &Path) -> Result<(ApiServer, Kubernetes), Failure> {
    let mut server = ApiServer::start(files)?;
    let path = files.join("admin");
    kubernetes::write_kubeconfig(&path, &kubernetes::cluster(&server.url, &server.authority), ADMIN_TOKEN)?;
    let kubeconfig = Kubeconfig::read_from(&path).doing(|| "the kubeconfig cannot be read".to_owned())?;
    let kubernetes = Kubernetes::new(kubeconfig).await?;
    let started = Instant::now();
    // Until the roles that every cluster has are made, RBAC knows nobody.
    while !matches!(
        kubernetes.get("/apis/rbac.authorization.k8s.io/v1/clusterroles/system:service-account-issuer-discovery").await,
        Ok(Some(_))
    ) {
        server.check_running(files)?;
        check(started.elapsed() < Duration::from_mins(1), || "kube-apiserver is not ready after a minute".to_owned())?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok((server, kubernetes))
}

/// Applies the documents of `rbac.yaml`, each after a change; what is nothing after it is left out.
async fn apply_rbac(kubernetes: &Kubernetes, documents: &str, change: impl Fn(&mut Value)) -> Result<(), Failure> {
    for document in documents.split("\n---\n") {
        let mut object: Value = serde_yaml::from_str(document).doing(|| "docs/permissions/rbac.yaml is no YAML".to_owned())?;
        change(&mut object);
        if object.is_null() {
            continue;
        }
        let within = object["metadata"]["namespace"].as_str().map(|namespace| format!("namespaces/{namespace}/")).unwrap_or_default();
        let kind = format!("{}s", object["kind"].as_str().unwrap_or_default().to_lowercase());
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        kubernetes.apply(&format!("/apis/rbac.authorization.k8s.io/v1/{within}{kind}/{name}"), &object).await?;
    }
    Ok(())
}

fn given_rbac_paths(id: &str) -> [String; 2] {
    ["clusterroles", "clusterrolebindings"].map(|kind| format!("/apis/rbac.authorization.k8s.io/v1/{kind}/qovery-irsa-conformance-{id}"))
}

/// In a cluster of somebody else: `rbac.yaml` under a name of its own and, as its last lines say, for a ServiceAccount.
async fn as_service_accounts(kubernetes: &Kubernetes, id: &str) -> Result<(String, String), Failure> {
    let namespace = format!("conformance-{id}-job");
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    kubernetes.apply(&format!("/api/v1/namespaces/{namespace}"), &object).await?;
    for name in ["job", "nobody"] {
        let object = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}});
        kubernetes.apply(&format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}"), &object).await?;
    }
    let name = format!("qovery-irsa-conformance-{id}");
    let subject = json!([{"kind": "ServiceAccount", "name": "job", "namespace": namespace}]);
    apply_rbac(kubernetes, RBAC, |object| {
        // What may be left out of it, in a namespace of others.
        if object["metadata"]["namespace"].is_string() {
            *object = Value::Null;
            return;
        }
        object["metadata"]["name"] = json!(name);
        if object.get("roleRef").is_some() {
            object["roleRef"]["name"] = json!(name);
            object["subjects"] = subject.clone();
        }
    })
    .await?;
    Ok((kubernetes.token(&namespace, "job", None, 3600).await?, kubernetes.token(&namespace, "nobody", None, 3600).await?))
}

/// One identity `app`, with this role below the path of this run.
pub(crate) fn manifest(role: &str) -> String {
    format!("defaults: {{path: /qovery/conformance-<ID>/}}\nidentities:\n  - serviceAccount: app\n    {role}\n")
}

/// The token with other letters for a signature.
pub(crate) fn forged(token: &str) -> String {
    let unsigned = token.rsplit_once('.').map_or(token, |(unsigned, _)| unsigned);
    format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode([7; 64]))
}

/// A namespace with the job in it.
pub(crate) struct Environment<'a> {
    pub(crate) world: &'a World,
    pub(crate) namespace: String,
    variables: BTreeMap<String, String>,
}

impl Environment<'_> {
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    /// The job with other AWS credentials.
    pub(crate) fn act_as(&mut self, key: &Key) {
        self.set("AWS_ACCESS_KEY_ID", &key.id);
        self.set("AWS_SECRET_ACCESS_KEY", &key.secret);
    }

    /// # Errors
    /// It cannot be written.
    pub(crate) fn write_manifest(&mut self, manifest: &str) -> Result<(), Failure> {
        let path = self.world.files.path().join(format!("{}.yml", self.namespace));
        std::fs::write(&path, self.world.filled(manifest)).doing(|| "cannot write a manifest".to_owned())?;
        self.set("IRSA_MANIFEST", &path.display().to_string());
        Ok(())
    }

    /// # Errors
    /// It cannot be started.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Result<Running, Failure> {
        self.world.job.spawn(arguments, &self.variables, self.world.files.path())
    }

    /// # Errors
    /// It cannot be started.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<Run, Failure> {
        self.spawn(arguments)?.end()
    }

    /// A run that must write nothing. Only where AWS is in this process is that seen call by call.
    ///
    /// # Errors
    /// It did.
    pub(crate) fn run_without_writes(&self, arguments: &[&str]) -> Result<Run, Failure> {
        let key = self.variables.get("AWS_ACCESS_KEY_ID").cloned().unwrap_or_default();
        let writes = || self.world.third_party_iam.as_ref().map(|iam| iam.take_writes(&key)).unwrap_or_default();
        writes();
        let run = self.run(arguments)?;
        let written = writes();
        check(written.is_empty(), || format!("`{}` was to write nothing, and called {}", run.command, written.join(", ")))?;
        Ok(run)
    }

    pub(crate) fn service_account_path(&self) -> String {
        format!("/api/v1/namespaces/{}/serviceaccounts/app", self.namespace)
    }

    /// # Errors
    /// The API server refuses.
    pub(crate) async fn service_account(&self) -> Result<Option<Value>, Failure> {
        self.world.kubernetes.get(&self.service_account_path()).await
    }

    /// The role that the ServiceAccount names.
    ///
    /// # Errors
    /// It names none.
    pub(crate) async fn role_arn(&self, service_account: &str) -> Result<String, Failure> {
        let path = format!("/api/v1/namespaces/{}/serviceaccounts/{service_account}", self.namespace);
        let account = self.world.kubernetes.get(&path).await?.unwrap_or_default();
        let role = account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"].as_str();
        role.map(str::to_owned).ok_or_else(|| Failure::new(format!("ServiceAccount `{service_account}` names no role: {account}")))
    }

    /// # Errors
    /// It cannot be deleted.
    pub(crate) async fn remove(self) -> Result<(), Failure> {
        self.world.remove_namespace(&self.namespace).await
    }
}

/// The last part of a role's ARN.
pub(crate) fn name_of(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}
