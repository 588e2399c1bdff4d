//! What travels with the job: the manifest, the files that it names, and the variables that go with it. `install` reads all as the job will.
//!
//! What Qovery has of it already is not known here.

use std::{collections::BTreeMap, io, path::Path};

use super::{
    fallbacks::Fallbacks,
    identities, manifest,
    policies::Files,
    settings::DEFAULT_MANIFEST,
    source::{IDENTITIES, Source},
    text::{
        problems::{At, ProblemLog, quoted},
        reader::Typed,
    },
};
use crate::model::{
    arn::PolicyArn,
    identity::Identity,
    job::{FILES, JobFile, JobSpec, LARGEST_FILES},
    names::{RolePath, ServiceAccountName},
    service::DesiredService,
};

/// The variables that the one-identity form needs, and the one that names a manifest: with one of them the job needs none from here.
const INSTEAD: [&str; 2] = ["IRSA_MANIFEST", "SERVICE_ACCOUNT_NAME"];

/// The manifest as it is here.
pub(super) struct Travelling<'a> {
    pub(super) source: &'a Source,
    pub(super) path: &'a Path,
    pub(super) text: String,
    pub(super) read_file: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
}

/// What the job gets of it.
#[derive(Default)]
pub(super) struct Travels {
    /// Which services run with which ServiceAccount.
    pub(super) bindings: Vec<DesiredService>,
    files: Vec<JobFile>,
    path: Option<RolePath>,
    boundary: Option<PolicyArn>,
    notes: Vec<String>,
}

impl Travelling<'_> {
    /// What the job gets; every problem that it would have with it goes to the log. `variables` are those that are known here, the job's own
    /// among them.
    pub(super) fn travels(
        self,
        job: &JobSpec,
        variables: &BTreeMap<String, String>,
        boundary: Option<&PolicyArn>,
        log: &ProblemLog,
    ) -> Travels {
        let mut travels = Travels { boundary: boundary.cloned(), ..Travels::default() };
        if !self.source.has("identities") {
            if !job.variables.keys().any(|name| INSTEAD.contains(&name.as_str())) {
                travels.notes.push(format!("`{}` names no identities, so the job gets no manifest", self.path.display()));
            }
            return travels;
        }
        let Some(typed) = self.source.typed_as_far(&IDENTITIES, variables, log) else { return travels };
        if let Some(account) = &job.account {
            report_own(&typed, &account.name, log);
        }
        let stated = stated_boundary(&typed);
        if let (Some(stated), Some(given)) = (&stated, boundary) {
            if stated != given.as_str() {
                log.setting(
                    "--boundary",
                    format_args!("is not what `defaults.permissionsBoundary` says, {}: make them the same", quoted(stated)),
                );
            }
            // The manifest says it to the job.
            travels.boundary = None;
        }
        let files = Files::collecting(self.path, self.read_file);
        let meant = identities::meant(typed, &Fallbacks { permissions_boundary: boundary.cloned(), path: None }, &files, &At::root(log));
        travels.path = meant.path;
        travels.bindings = meant.identities.iter().flat_map(Identity::bindings).collect();
        travels.files.push(JobFile { path: DEFAULT_MANIFEST.to_owned(), content: self.text });
        for (path, content) in files.collected() {
            if path == DEFAULT_MANIFEST {
                log.file(format_args!(
                    "names the policy file {}: in the job the manifest itself is called so, rename the file",
                    quoted(&path)
                ));
            }
            travels.files.push(JobFile { path, content });
        }
        report_size(&travels.files, log);
        travels
    }
}

impl Travels {
    /// Gives it to the job, as far as its own variables do not say otherwise. What people should know.
    pub(super) fn give(self, job: &mut JobSpec) -> Vec<String> {
        let Self { files, path, boundary, notes, .. } = self;
        let own = |job: &JobSpec, name: &str| job.variables.keys().chain(&job.secrets).any(|known| known.as_str() == name);
        if !files.is_empty() && !own(job, "IRSA_MANIFEST") {
            give(job, "IRSA_MANIFEST", format!("{FILES}{DEFAULT_MANIFEST}"));
            job.files = files;
        }
        for (name, value) in
            [("IRSA_PATH", path.map(|path| path.to_string())), ("IRSA_PERMISSIONS_BOUNDARY", boundary.map(|arn| arn.to_string()))]
        {
            if let Some(value) = value.filter(|_| !own(job, name)) {
                give(job, name, value);
            }
        }
        notes
    }
}

fn give(job: &mut JobSpec, name: &str, value: String) {
    job.variables.extend(name.parse().ok().map(|name| (name, value)));
}

/// The boundary that the manifest gives to every role.
fn stated_boundary(typed: &manifest::Manifest) -> Option<String> {
    let Typed::Value(defaults) = &typed.defaults else { return None };
    let Typed::Value(boundary) = &defaults.permissions_boundary else { return None };
    Some(boundary.clone())
}

/// An identity of the job's own ServiceAccount would take the job's role from under it.
fn report_own(typed: &manifest::Manifest, account: &ServiceAccountName, log: &ProblemLog) {
    let root = At::root(log);
    let at = root.key("identities");
    let Typed::Value(identities) = &typed.identities else { return };
    for (index, identity) in (0..).zip(identities) {
        if let Typed::Value(manifest::Identity { service_account: Typed::Value(name), .. }) = identity
            && name == account.as_str()
        {
            at.index(index).key("serviceAccount").report(format_args!(
                "{} is the ServiceAccount of the job itself, which would lose its own role: choose another name, here or as `job.serviceAccount`",
                quoted(name)
            ));
        }
    }
}

fn report_size(files: &[JobFile], log: &ProblemLog) {
    let size: usize = files.iter().map(|file| file.content.len()).sum();
    if size > LARGEST_FILES {
        let sizes: Vec<String> = files.iter().map(|file| format!("{} {}", quoted(&file.path), file.content.len())).collect();
        log.file(format_args!(
            "has {size} bytes with its policy files, and a job takes {LARGEST_FILES} in all ({} KiB): {}",
            LARGEST_FILES >> 10,
            sizes.join(", ")
        ));
    }
}
