//! A laptop whose administrator also gives one namespace access to the whole cluster.

use std::collections::BTreeMap;

use qovery_irsa_sandbox::{
    Setup,
    aws::{AccessEntry, Aws, Credentials},
};
use serde_json::Value;

use crate::support::{
    environment::Run,
    repository::read,
    zone::{Laptop, ZONE},
};

/// The namespace that gets it.
pub(super) const OPS: &str = "ops";
/// Its role.
pub(super) const ACCESS: &str = "qovery-irsa-demo-access";
pub(super) const ROLE_ARN: &str = "arn:aws:iam::123456789012:role/qovery-irsa-demo-access";
/// The group of its access entry.
pub(super) const ENTRY_GROUP: &str = "qovery-irsa";
const ADMINISTRATOR: &str = "arn:aws:iam::123456789012:user/administrator";

pub(super) struct Reaching {
    pub(super) laptop: Laptop,
    more: BTreeMap<String, String>,
}

impl Reaching {
    /// In a cluster of which nobody has made anything, with a zone that is there already.
    #[track_caller]
    pub(super) fn new() -> Self {
        let reaching = Self::new_unmade();
        reaching.laptop.bootstrap(&[]).ended(0);
        reaching
    }

    /// The same without the zone.
    pub(super) fn new_unmade() -> Self {
        Self::unmade_in(Setup::default())
    }

    /// The same in this sandbox.
    pub(super) fn unmade_in(setup: Setup) -> Self {
        let mut laptop = Laptop::with(setup, ZONE);
        let sandbox = &laptop.environment.sandbox;
        sandbox.kubernetes(|kubernetes| {
            // What stands for an administrator by hand, elsewhere.
            for kind in ["validatingadmissionpolicies", "validatingadmissionpolicybindings", "clusterroles", "clusterrolebindings"] {
                kubernetes.remove_object(kind, "", "qovery-irsa");
            }
            for kind in ["roles", "rolebindings"] {
                kubernetes.remove_object(kind, "kube-system", "qovery-irsa-agent");
            }
            kubernetes.add_namespace(OPS);
        });
        let both: Value = {
            let mut policy: Value = serde_json::from_str(&read("docs/permissions/bootstrap-policy.json")).unwrap();
            let more: Value = serde_json::from_str(&read("docs/permissions/bootstrap-cluster-access-policy.json")).unwrap();
            policy["Statement"].as_array_mut().unwrap().extend(more["Statement"].as_array().unwrap().clone());
            policy
        };
        let Credentials { access_key_id, secret_access_key, .. } = sandbox.aws(|aws: &mut Aws| aws.add_user("administrator", Some(both)));
        laptop.variables.insert("AWS_ACCESS_KEY_ID".to_owned(), access_key_id);
        laptop.variables.insert("AWS_SECRET_ACCESS_KEY".to_owned(), secret_access_key);
        let reaching = Self { laptop, more: BTreeMap::from([("IRSA_TIMEOUT".to_owned(), "15s".to_owned())]) };
        reaching.administrator_in(&["system:masters"]);
        reaching
    }

    /// With cluster access.
    #[track_caller]
    pub(super) fn made() -> Self {
        let reaching = Self::new();
        reaching.bootstrap(&[]).ended(0);
        reaching
    }

    /// The administrator is in these groups of the cluster.
    pub(super) fn administrator_in(&self, groups: &[&str]) {
        self.laptop.environment.sandbox.aws(|aws| aws.add_access_entry("demo", ADMINISTRATOR, "administrator", groups));
    }

    /// With a further variable.
    pub(super) fn with(&self, name: &str, value: &str) -> Variables<'_> {
        let mut more = self.more.clone();
        more.insert(name.to_owned(), value.to_owned());
        Variables { reaching: self, more }
    }

    pub(super) fn bootstrap(&self, arguments: &[&str]) -> Run {
        Variables { reaching: self, more: self.more.clone() }.bootstrap(arguments)
    }

    pub(super) fn entry(&self) -> Option<AccessEntry> {
        self.laptop.environment.sandbox.aws(|aws| aws.clusters()["demo"].access_entries.get(ROLE_ARN).cloned())
    }

    pub(super) fn object(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        self.laptop.environment.sandbox.kubernetes(|kubernetes| kubernetes.object(kind, namespace, name).cloned())
    }

    /// The zone is there, and nothing of cluster access.
    #[track_caller]
    pub(super) fn reset(&self) {
        self.bootstrap(&["--delete"]).ended(0);
        self.laptop.bootstrap(&[]).ended(0);
    }
}

/// A run with further variables.
pub(super) struct Variables<'a> {
    reaching: &'a Reaching,
    more: BTreeMap<String, String>,
}

impl Variables<'_> {
    pub(super) fn bootstrap(&self, arguments: &[&str]) -> Run {
        let laptop = &self.reaching.laptop;
        let variables = laptop.variables.iter().chain(&self.more).map(|(name, value)| (name.clone(), value.clone())).collect();
        laptop.environment.run_with(&[&["bootstrap", "--cluster-access", OPS], arguments].concat(), &variables)
    }
}
