//! What the API server makes of a pod before it stores it: defaults, its `ServiceAccount`, the webhook of EKS, scheduling gates.
//!
//! There is no scheduler and no kubelet: a pod without a node stays `Pending`, with a scheduling gate or without, and a deleted one is gone
//! at once. Of its specification nothing else is checked.
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/pod-scheduling-readiness/>

use serde_json::{Value, json};

use super::{
    Kubernetes,
    metadata::text,
    resources::by_plural,
    status::{Failure, FieldError},
};

impl Kubernetes {
    /// Fills in a new pod.
    ///
    /// # Errors
    /// Its `ServiceAccount` is not there.
    pub(super) fn prepare_pod(&self, pod: &mut Value) -> Result<(), Failure> {
        let spec = &mut pod["spec"];
        let mut account = text(spec, "serviceAccountName");
        if account.is_empty() {
            // The member's old name.
            account = text(spec, "serviceAccount");
        }
        if account.is_empty() {
            "default".clone_into(&mut account);
        }
        for member in ["serviceAccountName", "serviceAccount"] {
            spec[member] = account.as_str().into();
        }
        let gated = has_gates(spec);
        let mut status = json!({"phase": "Pending"});
        if gated {
            status["conditions"] = json!([{
                "type": "PodScheduled",
                "status": "False",
                "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
            }]);
        }
        pod["status"] = status;
        let (namespace, name) = (text(&pod["metadata"], "namespace"), text(&pod["metadata"], "name"));
        if by_plural("serviceaccounts").is_some_and(|accounts| self.store.get(accounts, &namespace, &account).is_none()) {
            let why = format!("error looking up service account {namespace}/{account}: serviceaccount {account:?} not found");
            return Err(Failure::forbidden("", "pods", &name, &why));
        }
        self.give_role(pod);
        Ok(())
    }
}

/// What is wrong with a new pod.
pub(super) fn errors(pod: &Value) -> Vec<FieldError> {
    let spec = &pod["spec"];
    let mut errors = Vec::new();
    if spec["containers"].as_array().is_none_or(Vec::is_empty) {
        errors.push(FieldError::required("spec.containers", ""));
    }
    if has_gates(spec) && !text(spec, "nodeName").is_empty() {
        errors.push(FieldError::forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared"));
    }
    errors
}

fn has_gates(spec: &Value) -> bool {
    spec["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty())
}
