//! The files of the job: the manifest and what it names, as variables that Qovery mounts.
//!
//! A file is known by where it is mounted. The name of its variable is chosen once, and kept.

use std::collections::BTreeSet;

use super::action::JobAction;
use crate::model::{
    gather::Gather as _,
    job::{FILES, JobFile, JobSpec, ObservedEnvironment, is_file_of_job},
    variable::{ObservedVariable, VariableScope},
};

/// What makes the files of the job those that are wanted. No other file of the job is touched.
///
/// Whether Qovery answers the content of a file is not confirmed. One whose content it does not show is uploaded again.
pub(super) fn files(spec: &JobSpec, observed: &ObservedEnvironment) -> Vec<JobAction> {
    let job = observed.job.as_ref().map(|job| job.id.clone());
    let present: Vec<(&ObservedVariable, &str)> = observed.variables.iter().filter_map(of_job).collect();
    let (mut kept, mut deleted): (Vec<(&ObservedVariable, &str)>, Vec<_>) = (Vec::new(), Vec::new());
    for (variable, path) in present {
        let is_wanted = spec.files.iter().any(|file| file.mount_path() == path) && !kept.iter().any(|(_, known)| *known == path);
        if is_wanted { &mut kept } else { &mut deleted }.push((variable, path));
    }
    let mut actions: Vec<JobAction> =
        deleted.iter().map(|(variable, path)| JobAction::DeleteFile { id: variable.id.clone(), mount_path: (*path).to_owned() }).collect();
    let stays = |variable: &&ObservedVariable| !deleted.iter().any(|(gone, _)| gone.id == variable.id);
    let mut taken: BTreeSet<String> = observed.variables.iter().filter(stays).map(|variable| variable.name.clone()).gather();
    for file in &spec.files {
        let path = file.mount_path();
        match kept.iter().find(|(_, known)| *known == path) {
            Some((variable, _)) if variable.value.as_ref() == Some(&file.content) => {}
            Some((variable, _)) => {
                actions.push(JobAction::EditFile { id: variable.id.clone(), key: variable.name.clone(), file: file.clone() });
            }
            None => {
                let key = free(file, &taken);
                taken.insert(key.clone());
                actions.push(JobAction::CreateFile { job: job.clone(), key, file: file.clone() });
            }
        }
    }
    actions.extend(manifest_that_is_gone(spec, observed));
    actions
}

/// The job's own variable that still names a manifest which is no longer uploaded.
fn manifest_that_is_gone(spec: &JobSpec, observed: &ObservedEnvironment) -> Option<JobAction> {
    if spec.variables.keys().any(|name| name.as_str() == "IRSA_MANIFEST") {
        return None;
    }
    let is_left = |variable: &&ObservedVariable| {
        variable.name == "IRSA_MANIFEST"
            && variable.scope == VariableScope::Service
            && variable.value.as_ref().is_some_and(|value| value.starts_with(FILES))
    };
    let left = observed.variables.iter().find(is_left)?;
    Some(JobAction::DeleteVariable { id: left.id.clone(), name: left.name.clone() })
}

/// A variable that holds a file of ours, and where that is mounted.
fn of_job(variable: &ObservedVariable) -> Option<(&ObservedVariable, &str)> {
    let path = variable.mount_path.as_deref()?;
    (variable.scope == VariableScope::Service && is_file_of_job(&variable.name, path)).then_some((variable, path))
}

/// A name that no variable has which the job sees.
fn free(file: &JobFile, taken: &BTreeSet<String>) -> String {
    let key = file.key();
    let numbered = (2_u32..).map(|number| format!("{key}_{number}"));
    std::iter::once(key.clone()).chain(numbered).find(|key| !taken.contains(key)).unwrap_or(key)
}
