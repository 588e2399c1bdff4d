//! The whole sandbox: AWS and a cluster that know each other, on two ports, with files and an environment for a job.
//!
//! Rules of the services stay in `aws` and `kubernetes`; this only puts them together.

use std::{
    collections::BTreeMap,
    fs, io, iter,
    path::Path,
    sync::{Arc, Mutex},
};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::{
    aws::Aws,
    clock::Clock,
    cluster::{Cluster, Plan},
    faults::Faults,
    keys::ClusterKey,
    kubernetes::Kubernetes,
    qovery::Qovery,
    server::{Server, Surroundings, lock},
    witness::Witness,
};

/// The file with the authority's certificate.
const CA: &str = "ca.pem";
/// The bearer token of a member of `system:masters`.
pub const ADMIN_TOKEN: &str = "admin-token";
/// The bearer token of a user without permissions.
pub const NOBODY_TOKEN: &str = "nobody-token";

/// What a sandbox is made of; take the default and change what matters.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The AWS account id.
    pub account: String,
    /// `aws`, `aws-cn` or `aws-us-gov`.
    pub partition: String,
    /// The AWS region.
    pub region: String,
    /// The issuer of the cluster's tokens.
    pub issuer: String,
    /// The name of the EKS cluster.
    pub cluster: String,
    /// Name and issuer of another cluster in the same account, with a key of its own.
    pub second_cluster: Option<(String, String)>,
    /// From which the faults follow.
    pub seed: u64,
    /// The time of the services.
    pub clock: Clock,
    /// Whether dropping the sandbox panics if something was answered with 501: the test asked for what is not there and proves nothing.
    pub strict: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            account: "123456789012".into(),
            partition: "aws".into(),
            region: "eu-west-3".into(),
            issuer: "https://oidc.eks.eu-west-3.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE".into(),
            cluster: "demo".into(),
            second_cluster: None,
            seed: 1,
            clock: Clock::real(),
            strict: true,
        }
    }
}

impl Setup {
    /// Starts the servers.
    ///
    /// # Errors
    /// When a port, a thread, a certificate or the directory cannot be had.
    pub fn start(self) -> io::Result<Sandbox> {
        Sandbox::build(self)
    }
}

/// A running sandbox. Dropping it closes the ports and removes the files.
pub struct Sandbox {
    setup: Setup,
    surroundings: Surroundings,
    aws: Arc<Mutex<Aws>>,
    aws_server: Server,
    cluster: Cluster,
    second: Option<Cluster>,
    qovery: Arc<Mutex<Qovery>>,
    qovery_server: Server,
    files: TempDir,
}

impl Sandbox {
    /// Starts one as [`Setup::default`] describes it.
    ///
    /// # Panics
    /// When the machine refuses a port, a thread or a directory.
    #[must_use]
    #[allow(clippy::expect_used, reason = "a test without its sandbox cannot go on")]
    pub fn start() -> Self {
        Setup::default().start().expect("loopback ports and a temporary directory")
    }

    fn build(setup: Setup) -> io::Result<Self> {
        let mut surroundings = Surroundings::new(setup.seed)?;
        surroundings.clock = setup.clock.clone();
        let files = tempfile::Builder::new().prefix("qovery-irsa-sandbox-").tempdir()?;
        fs::write(files.path().join(CA), surroundings.authority.pem())?;

        let mut aws = Aws::new(&setup.account, &setup.region);
        aws.set_partition(&setup.partition);
        let aws = Arc::new(Mutex::new(aws));
        let aws_server = Server::start("aws", aws.clone(), surroundings.clone())?;

        let plan = Plan {
            server: "kubernetes",
            name: &setup.cluster,
            issuer: &setup.issuer,
            key: ClusterKey::first(),
            directory: files.path().to_owned(),
        };
        let cluster = Cluster::start(plan, &aws, &surroundings)?;
        let second = setup.second_cluster.as_ref().map(|(name, issuer)| {
            let plan = Plan { server: "kubernetes-2", name, issuer, key: ClusterKey::second(), directory: files.path().join("second") };
            Cluster::start(plan, &aws, &surroundings)
        });
        let second = second.transpose()?;
        aws_server.settle();
        let qovery = Arc::new(Mutex::new(Qovery::new(&setup.region, &setup.cluster)));
        let qovery_server = Server::start("qovery", qovery.clone(), surroundings.clone())?;
        Ok(Self { setup, surroundings, aws, aws_server, cluster, second, qovery, qovery_server, files })
    }

    /// Reads or arranges the state of AWS. A change counts as made now, or as having always been so before the first request.
    ///
    /// Do not call [`kubernetes`](Self::kubernetes) from inside: its authenticator asks AWS, so the other order is the safe one.
    pub fn aws<R>(&self, arrange: impl FnOnce(&mut Aws) -> R) -> R {
        let result = arrange(&mut lock(&self.aws));
        self.aws_server.arranged();
        result
    }

    /// Reads or arranges the state of Kubernetes, as [`aws`](Self::aws) does for AWS.
    pub fn kubernetes<R>(&self, arrange: impl FnOnce(&mut Kubernetes) -> R) -> R {
        self.cluster.kubernetes(arrange)
    }

    /// Reads or arranges the state of Qovery, as [`aws`](Self::aws) does for AWS.
    pub fn qovery<R>(&self, arrange: impl FnOnce(&mut Qovery) -> R) -> R {
        let result = arrange(&mut lock(&self.qovery));
        self.qovery_server.arranged();
        result
    }

    /// `https://127.0.0.1:<port>` of Qovery's API.
    #[must_use]
    pub fn qovery_url(&self) -> String {
        self.qovery_server.https()
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The other cluster of the account, if the setup asks for one.
    #[must_use]
    pub fn second_cluster(&self) -> Option<&Cluster> {
        self.second.as_ref()
    }

    /// Makes the present states the only past, so that no read can be older.
    pub fn settle(&self) {
        self.aws_server.settle();
        self.qovery_server.settle();
        self.clusters().for_each(Cluster::settle);
    }

    fn clusters(&self) -> impl Iterator<Item = &Cluster> {
        iter::once(&self.cluster).chain(&self.second)
    }

    /// Every request so far.
    #[must_use]
    pub fn witness(&self) -> &Witness {
        &self.surroundings.witness
    }

    /// What goes wrong from now on.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.surroundings.faults
    }

    /// The time of the services.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.surroundings.clock
    }

    /// What it was made from.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// `https://127.0.0.1:<port>` of IAM, STS and EKS.
    #[must_use]
    pub fn aws_url(&self) -> String {
        self.aws_server.https()
    }

    /// `https://127.0.0.1:<port>` of the cluster.
    #[must_use]
    pub fn kubernetes_url(&self) -> String {
        self.cluster.url()
    }

    /// All states without ids and times, to be compared as a whole.
    #[must_use]
    pub fn state(&self) -> Value {
        let clusters = self.clusters().map(|cluster| (cluster.name().to_owned(), cluster.state()));
        json!({ "aws": lock(&self.aws).state(), "kubernetes": clusters.collect::<Map<_, _>>(), "qovery": lock(&self.qovery).state() })
    }

    /// A directory of its own with `ca.pem`, `kubeconfig` and what [`Cluster::mount_token`] puts there.
    #[must_use]
    pub fn files(&self) -> &Path {
        self.files.path()
    }

    /// Whatever a job needs in an otherwise empty environment, but for `QOVERY_KUBERNETES_NAMESPACE_NAME`.
    #[must_use]
    pub fn environment(&self) -> BTreeMap<String, String> {
        self.environment_of(&self.cluster)
    }

    /// The same for a job in that cluster.
    #[must_use]
    pub fn environment_of(&self, cluster: &Cluster) -> BTreeMap<String, String> {
        let mut environment = self.environment_with_eks_token();
        let kubeconfig = cluster.kubeconfig().display().to_string();
        environment.insert("KUBECONFIG".into(), kubeconfig);
        environment.insert("QOVERY_KUBERNETES_CLUSTER_NAME".into(), cluster.name().to_owned());
        environment
    }

    /// What a pod has to be told of this sandbox where the real one has public names and certificates. No credentials and no region are among it.
    #[must_use]
    pub fn environment_of_pod(&self) -> BTreeMap<String, String> {
        let all = self.environment_with_eks_token();
        let own = |name: &str| {
            name.starts_with("AWS_ACCESS") || name.starts_with("AWS_SECRET") || name.starts_with("QOVERY_") || name == "AWS_REGION"
        };
        all.into_iter().filter(|(name, _)| !own(name)).collect()
    }

    /// The same without `KUBECONFIG`: Kubernetes is reached through `DescribeCluster` and a pre-signed token.
    #[must_use]
    pub fn environment_with_eks_token(&self) -> BTreeMap<String, String> {
        let admin = Aws::admin();
        [
            ("AWS_ACCESS_KEY_ID", admin.access_key_id),
            ("AWS_SECRET_ACCESS_KEY", admin.secret_access_key),
            ("AWS_REGION", self.setup.region.clone()),
            ("AWS_ENDPOINT_URL", self.aws_url()),
            ("AWS_EC2_METADATA_DISABLED", "true".into()),
            // Nothing of the machine's own AWS configuration may be read.
            ("AWS_CONFIG_FILE", self.path("no-aws-config")),
            ("AWS_SHARED_CREDENTIALS_FILE", self.path("no-aws-credentials")),
            ("SSL_CERT_FILE", self.path(CA)),
            ("IRSA_QOVERY_API_URL", self.qovery_url()),
            ("QOVERY_CLOUD_PROVIDER_REGION", self.setup.region.clone()),
            ("QOVERY_KUBERNETES_CLUSTER_NAME", self.setup.cluster.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    fn path(&self, name: &str) -> String {
        self.files().join(name).display().to_string()
    }
}

impl Drop for Sandbox {
    /// What is not implemented must fail the test that asked for it.
    fn drop(&mut self) {
        let unimplemented = self.witness().unimplemented();
        let fine = unimplemented.is_empty() || !self.setup.strict || std::thread::panicking();
        assert!(fine, "the sandbox does not implement {}", unimplemented.join(", "));
    }
}

#[cfg(test)]
mod tests;
