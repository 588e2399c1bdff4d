//! Pods that are made for a proof and never run: their scheduling gate keeps them from every node, so that they are no more than what a token
//! can be bound to.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    date::Date,
    marks::JobMark,
    names::Subject,
    pods::{Phase, PodRef},
};

/// The label of such pods; its value is the mark of the job that made it.
pub const LABEL: &str = "qovery-irsa/proof";
/// The gate, which nobody takes off.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/pod-scheduling-readiness/>
pub const GATE: &str = "qovery-irsa/proof";

/// The value of the label where the job has no mark.
const NO_JOB: &str = "none";
/// Longer than any run: whoever made an older one has ended.
const OLD: Duration = Duration::from_hours(2);
/// Never pulled. A pod has to name one.
const IMAGE: &str = "registry.k8s.io/pause:3.10";

/// A pod for a proof, as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofPod {
    /// Namespace and ServiceAccount.
    pub subject: Subject,
    /// Its name. It is given, not generated, so that a call whose answer was lost can be made again.
    pub name: String,
    /// The job that makes it.
    pub job: Option<JobMark>,
}

/// Whether a pod has the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It has, and never runs.
    Closed,
    /// It has not: only to ask whether the cluster would take it.
    None,
}

impl ProofPod {
    /// One whose name nobody else has: by a random number.
    #[must_use]
    pub fn new(subject: &Subject, job: Option<&JobMark>, number: u64) -> Self {
        Self { subject: subject.clone(), name: format!("qovery-irsa-proof-{number:016x}"), job: job.cloned() }
    }

    /// What a token is bound to.
    #[must_use]
    pub fn reference(&self) -> PodRef {
        PodRef { name: self.name.clone(), uid: String::new(), phase: Phase::Pending }
    }

    /// The object. It is such that the strictest of Kubernetes' own standards takes it, and asks for next to nothing.
    /// <https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>
    #[must_use]
    pub fn object(&self, gate: Gate) -> Value {
        let least = json!({ "cpu": "1m", "memory": "1Mi" });
        let mut object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": self.name, "labels": { LABEL: value(self.job.as_ref()) } },
            "spec": {
                "serviceAccountName": self.subject.service_account.as_str(),
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 0,
                "securityContext": { "runAsNonRoot": true, "runAsUser": 65535, "seccompProfile": { "type": "RuntimeDefault" } },
                "containers": [{
                    "name": "none",
                    "image": IMAGE,
                    "resources": { "requests": least, "limits": least },
                    "securityContext": {
                        "allowPrivilegeEscalation": false,
                        "readOnlyRootFilesystem": true,
                        "capabilities": { "drop": ["ALL"] },
                    },
                }],
            },
        });
        if gate == Gate::Closed {
            object["spec"]["schedulingGates"] = json!([{ "name": GATE }]);
        }
        object
    }
}

fn value(job: Option<&JobMark>) -> String {
    job.map_or_else(|| NO_JOB.to_owned(), ToString::to_string)
}

/// A pod of a proof that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundProofPod {
    /// Its name.
    pub name: String,
    /// The value of its label.
    pub label: String,
    /// When it was made.
    pub created: Date,
}

impl FoundProofPod {
    /// Whether a run has left it that was killed: of one's own job, of which one run follows the other, each; of others what is old.
    #[must_use]
    pub fn is_left(&self, job: Option<&JobMark>, now: Date) -> bool {
        job.is_some_and(|job| self.label == value(Some(job))) || self.created.after(OLD) <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_of_ones_own_job_is_left_and_one_of_others_when_it_is_old() {
        let (job, at) = ("1a2b3c4d".parse::<JobMark>().unwrap(), |minutes| Date::since_1970(Duration::from_mins(minutes)));
        for (label, made, expected) in
            [("1a2b3c4d", 1000, true), ("none", 1000, false), ("22222222", 1000, false), ("22222222", 880, true), ("none", 881, false)]
        {
            let found = FoundProofPod { name: "p".to_owned(), label: label.to_owned(), created: at(made) };
            assert_eq!(found.is_left(Some(&job), at(1000)), expected, "{label} {made}");
        }
        // Without a mark a job does not know its own.
        let found = FoundProofPod { name: "p".to_owned(), label: "none".to_owned(), created: at(1000) };
        assert!(!found.is_left(None, at(1000)));
    }

    #[test]
    fn only_the_gate_tells_the_pod_that_never_runs_from_the_one_that_is_asked_for() {
        let pod = ProofPod::new(&"z1/app".parse().unwrap(), None, 1);
        let (mut gated, ungated) = (pod.object(Gate::Closed), pod.object(Gate::None));
        assert_eq!(gated["spec"]["schedulingGates"], json!([{ "name": "qovery-irsa/proof" }]));
        gated["spec"].as_object_mut().unwrap().remove("schedulingGates");
        assert_eq!(gated, ungated);
        assert_eq!(
            (pod.name.as_str(), ungated["metadata"]["labels"][LABEL].as_str()),
            ("qovery-irsa-proof-0000000000000001", Some("none"))
        );
    }
}
