//! One cluster of the sandbox: its API server, its key, its kubeconfig.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::{
    aws::{Aws, ClusterUser},
    clock::Clock,
    files,
    keys::ClusterKey,
    kubernetes::{API_AUDIENCE, ControlPlane, Kubernetes, User},
    sandbox::{ADMIN_TOKEN, NOBODY_TOKEN},
    server::{Server, Surroundings, lock},
};

/// A cluster that AWS knows.
pub struct Cluster {
    name: String,
    issuer: String,
    key: ClusterKey,
    surroundings: Surroundings,
    service: Arc<Mutex<Kubernetes>>,
    server: Server,
    directory: PathBuf,
}

/// What a cluster is made from.
pub(crate) struct Plan<'a> {
    pub(crate) server: &'static str,
    pub(crate) name: &'a str,
    pub(crate) issuer: &'a str,
    pub(crate) key: ClusterKey,
    pub(crate) directory: PathBuf,
}

/// What EKS knows for the API server of one of its clusters. It locks AWS, so nobody who holds AWS may ask the API server.
struct Plane {
    aws: Arc<Mutex<Aws>>,
    cluster: String,
    clock: Clock,
}

impl ControlPlane for Plane {
    fn authenticate(&self, token: &str, now: SystemTime) -> Option<User> {
        let ClusterUser { username, uid, groups, extra } = lock(&self.aws).user_of_cluster(&self.cluster, token, now)?;
        Some(User { name: username, uid, groups, extra })
    }

    fn is_associated(&self, namespace: &str, service_account: &str) -> bool {
        let now = self.clock.now();
        lock(&self.aws).association_of(&self.cluster, namespace, service_account, now).is_some()
    }
}

impl Cluster {
    /// Starts its API server and makes it known to AWS: `DescribeCluster`, the keys of its issuer, the administrator's access entry.
    pub(crate) fn start(plan: Plan<'_>, aws: &Arc<Mutex<Aws>>, surroundings: &Surroundings) -> io::Result<Self> {
        let Plan { server, name, issuer, key, directory } = plan;
        let plane = Plane { aws: Arc::clone(aws), cluster: name.to_owned(), clock: surroundings.clock.clone() };
        let mut kubernetes = Kubernetes::new(issuer, key.clone()).with_control_plane(Arc::new(plane));
        kubernetes.add_token(ADMIN_TOKEN, "admin", &["system:masters"]);
        kubernetes.add_token(NOBODY_TOKEN, "nobody", &["nobodies"]);
        let service = Arc::new(Mutex::new(kubernetes));
        let server = Server::start(server, service.clone(), surroundings.clone())?;

        let pem = surroundings.authority.pem();
        let mut known = lock(aws);
        known.trust_issuer(issuer, key.clone());
        known.add_cluster(name, &server.https(), pem, issuer);
        let admin = known.admin_arn();
        known.add_access_entry(name, &admin, "admin", &["system:masters"]);
        drop(known);
        files::write_kubeconfig(&directory, pem, &server.https(), name)?;
        Ok(Self { name: name.to_owned(), issuer: issuer.to_owned(), key, surroundings: surroundings.clone(), service, server, directory })
    }

    /// Its name in EKS.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The issuer of its tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `https://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.https()
    }

    /// The file in which its administrator's access stands.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        files::kubeconfig(&self.directory)
    }

    /// Reads or arranges its state, see [`Sandbox::kubernetes`](crate::Sandbox::kubernetes).
    pub fn kubernetes<R>(&self, arrange: impl FnOnce(&mut Kubernetes) -> R) -> R {
        let result = arrange(&mut lock(&self.service));
        self.server.arranged();
        result
    }

    /// A token of a `ServiceAccount` for an audience, as the cluster signs it, good for an hour.
    #[must_use]
    pub fn token(&self, namespace: &str, service_account: &str, audience: &str) -> String {
        self.sign(namespace, service_account, audience, &json!({}))
    }

    /// The same, bound to a pod that need not be there. One on a node says so.
    #[must_use]
    pub fn pod_token(&self, namespace: &str, service_account: &str, pod: &str, audience: &str) -> String {
        let found = lock(&self.service).object("pods", namespace, pod).cloned().unwrap_or_default();
        let uid = found["metadata"]["uid"].as_str().unwrap_or("00000000-0000-4000-8000-000000000000");
        let mut bound = json!({ "pod": { "name": pod, "uid": uid } });
        if found["spec"]["nodeName"].is_string() {
            bound["node"] = json!({ "name": found["spec"]["nodeName"] });
        }
        self.sign(namespace, service_account, audience, &bound)
    }

    fn sign(&self, namespace: &str, service_account: &str, audience: &str, bound: &Value) -> String {
        let now = self.surroundings.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let uid = lock(&self.service).object("serviceaccounts", namespace, service_account).map(|object| object["metadata"]["uid"].clone());
        let mut private = json!({ "namespace": namespace, "serviceaccount": { "name": service_account, "uid": uid } });
        for (member, value) in bound.as_object().into_iter().flatten() {
            private[member] = value.clone();
        }
        self.key.sign(&json!({
            "iss": self.issuer,
            "sub": format!("system:serviceaccount:{namespace}:{service_account}"),
            "aud": [audience],
            "iat": now.as_secs(),
            "nbf": now.as_secs(),
            "exp": (now + Duration::from_hours(1)).as_secs(),
            "kubernetes.io": private,
        }))
    }

    /// Writes `token`, `namespace` and `ca.crt` as they are mounted into a pod of this `ServiceAccount`, and answers their directory.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn mount_token(&self, namespace: &str, service_account: &str) -> io::Result<PathBuf> {
        let token = self.token(namespace, service_account, API_AUDIENCE);
        files::mount(&self.directory, namespace, &token, self.surroundings.authority.pem())
    }

    pub(crate) fn settle(&self) {
        self.server.settle();
    }

    pub(crate) fn state(&self) -> serde_json::Value {
        lock(&self.service).state()
    }
}
