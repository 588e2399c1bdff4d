//! What the pod of a job gets: Qovery's variables and files, the token of its `ServiceAccount`, and what the webhook of EKS adds.
//!
//! There is no container here. Files are written below the directory of the run, and variables with their paths point there.
//! <https://github.com/Qovery/engine>, `lib/common/charts/q-job/templates/job.j2.yaml`

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use serde_json::{Value, json};

use super::{Engine, JobRun};
use crate::{files, kubernetes::API_AUDIENCE};

/// The output file of a run in its directory.
pub(super) const OUTPUT: &str = "qovery-output.json";

impl Engine<'_> {
    /// All that a run of a job needs.
    ///
    /// # Errors
    /// Why its pod cannot be made.
    pub(super) fn prepare(&self, environment: &str, job: &str, namespace: &str, arguments: &[String]) -> Result<JobRun, String> {
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let directory = self.sandbox.files().join(format!("run-{}-{number}", job.get(..8).unwrap_or_default()));
        let (given, mounted, settings) =
            self.sandbox.qovery(|qovery| (qovery.variables_of_run(job), qovery.files_of(job), qovery.settings(job).unwrap_or_default()));
        let mut variables = self.sandbox.environment_of_pod();
        variables.extend(given.clone());
        let written = write_files(&directory, &mounted).map_err(|error| error.to_string())?;
        for value in variables.values_mut() {
            if let Some((path, file)) = written.iter().find(|(path, _)| value.starts_with(path.as_str())) {
                *value = value.replacen(path.as_str(), &file.display().to_string(), 1);
            }
        }
        variables.insert("IRSA_OUTPUT".into(), directory.join(OUTPUT).display().to_string());
        variables.insert("IRSA_TERMINATION_LOG".into(), directory.join("termination-log").display().to_string());

        // A job with a `ServiceAccount` has its token mounted whatever the other setting says.
        let account = match settings.get("security.service_account_name").and_then(Value::as_str) {
            Some(name) if !name.is_empty() => Some(name.to_owned()),
            _ if settings.get("security.automount_service_account_token") == Some(&Value::Bool(true)) => Some("default".to_owned()),
            _ => None,
        };
        if let Some(account) = &account {
            let pod = self.admitted(job, namespace, account, &given)?;
            self.give(&directory, namespace, account, &pod, &mut variables).map_err(|error| error.to_string())?;
        }
        let (environment, job) = (environment.to_owned(), job.to_owned());
        Ok(JobRun { environment, job, namespace: namespace.to_owned(), account, arguments: arguments.to_vec(), variables, directory })
    }

    /// The pod of the run, as the API server and the webhook of EKS make it. That of the run before is gone.
    fn admitted(&self, job: &str, namespace: &str, account: &str, given: &BTreeMap<String, String>) -> Result<Value, String> {
        let name = pod_name(job);
        self.sandbox.kubernetes(|kubernetes| {
            if kubernetes.object("serviceaccounts", namespace, account).is_none() {
                return Err(format!(
                    "Error creating: pods \"{name}-\" is forbidden: error looking up service account {namespace}/{account}: serviceaccount \"{account}\" not found"
                ));
            }
            kubernetes.remove_object("pods", namespace, &name);
            kubernetes.put_admitted_pod(json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": namespace },
                "spec": {
                    "serviceAccountName": account, "nodeName": "node-1",
                    "containers": [{ "name": "job", "image": "qovery-irsa", "env": entries(job, given.keys()) }],
                },
                "status": { "phase": "Running" },
            }));
            kubernetes.object("pods", namespace, &name).cloned().ok_or_else(|| "the pod is not there".to_owned())
        })
    }

    /// The token of the `ServiceAccount` where the kubelet mounts it, and what the webhook gave.
    fn give(
        &self,
        directory: &Path,
        namespace: &str,
        account: &str,
        pod: &Value,
        variables: &mut BTreeMap<String, String>,
    ) -> io::Result<()> {
        let (sandbox, cluster) = (self.sandbox, self.sandbox.cluster());
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let token = cluster.pod_token(namespace, account, name, API_AUDIENCE);
        let authority = fs::read_to_string(sandbox.files().join("ca.pem"))?;
        let mounted = files::mount(directory, namespace, &token, &authority)?;
        let address = sandbox.kubernetes_url();
        let (host, port) = address.trim_start_matches("https://").split_once(':').unwrap_or_default();
        for (name, value) in [
            ("IRSA_KUBE_TOKEN_DIR", mounted.display().to_string()),
            ("KUBERNETES_SERVICE_HOST", host.to_owned()),
            ("KUBERNETES_SERVICE_PORT", port.to_owned()),
        ] {
            variables.insert(name.to_owned(), value);
        }
        for entry in pod["spec"]["containers"][0]["env"].as_array().into_iter().flatten() {
            if let (Some(name), Some(value)) = (entry["name"].as_str(), entry["value"].as_str()) {
                variables.insert(name.to_owned(), value.to_owned());
            }
        }
        // Each projected token in a file, and the variable that names it.
        for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
            let projected = &volume["projected"]["sources"][0]["serviceAccountToken"];
            let (Some(audience), Some(path)) = (projected["audience"].as_str(), projected["path"].as_str()) else { continue };
            let file = directory.join(format!("{}-{path}", volume["name"].as_str().unwrap_or_default()));
            fs::write(&file, cluster.pod_token(namespace, account, name, audience))?;
            for mount in pod["spec"]["containers"][0]["volumeMounts"].as_array().into_iter().flatten() {
                let inside = format!("{}/{path}", mount["mountPath"].as_str().unwrap_or_default());
                if mount["name"] == volume["name"] {
                    variables.values_mut().filter(|value| **value == inside).for_each(|value| *value = file.display().to_string());
                }
            }
        }
        Ok(())
    }

    /// The pod of a run has ended. Whoever deletes the job deletes it too.
    pub(super) fn pod_ended(&self, run: &JobRun, well: bool, goes: bool) {
        let name = pod_name(&run.job);
        self.sandbox.kubernetes(|kubernetes| {
            let Some(mut pod) = kubernetes.remove_object("pods", &run.namespace, &name) else { return };
            if !goes {
                pod["status"]["phase"] = if well { "Succeeded" } else { "Failed" }.into();
                kubernetes.put_object(pod);
            }
        });
    }
}

fn pod_name(job: &str) -> String {
    format!("job-z{}", job.get(..8).unwrap_or_default())
}

/// Variables as Qovery's charts have them: their names can be seen in the pod, their values stand in a secret.
pub(super) fn entries<'n>(secret: &str, names: impl Iterator<Item = &'n String>) -> Vec<Value> {
    names.map(|name| json!({ "name": name, "valueFrom": { "secretKeyRef": { "name": secret, "key": name } } })).collect()
}

/// Writes the files that are mounted into a container, and answers where each is now. The longest path comes first.
fn write_files(directory: &Path, mounted: &BTreeMap<String, String>) -> io::Result<Vec<(String, PathBuf)>> {
    fs::create_dir_all(directory)?;
    let mut written = Vec::new();
    for (path, content) in mounted {
        let file = directory.join("mounted").join(path.trim_start_matches('/'));
        fs::create_dir_all(file.parent().unwrap_or(directory))?;
        fs::write(&file, content)?;
        written.push((path.clone(), file));
    }
    written.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
    Ok(written)
}
