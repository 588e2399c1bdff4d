//! The namespaces of a Qovery project, and what they say about the patterns of the zone.

use std::collections::BTreeSet;

use super::error::BootstrapError;
use crate::{
    clients::{
        call::{Failed, Patience},
        qovery::Project,
    },
    config::BootstrapConfig,
    model::bootstrap::{NamespaceAdvice, ProjectNamespaces, namespace_advice},
    report::Report,
};

/// Says which pattern is for the project alone, if one is named and that is narrower than those that are given.
///
/// # Errors
/// No namespaces are given; the error names the pattern. Or Qovery cannot be reached or refuses.
pub(super) async fn proposal(
    config: &BootstrapConfig,
    http: &reqwest::Client,
    patience: &Patience,
    report: &mut Report<'_>,
) -> Result<(), BootstrapError> {
    let Some(access) = &config.project else { return Ok(()) };
    let project = Project::new(access, http);
    let call = "qovery:GET /project/{id}/environment";
    let listed = patience.call(call, async || project.environments().await).await;
    let environments = listed.map_err(Failed::to("list the environments of the project", call))?;
    let mut found = ProjectNamespaces { project: access.project.to_string(), namespaces: BTreeSet::new() };
    for environment in &environments {
        let call = "qovery:GET /variable";
        let doing = format!("read the namespace of environment `{environment}`");
        let namespace = patience.call(call, async || project.namespace(environment).await).await.map_err(Failed::to(doing, call))?;
        found.namespaces.extend(namespace);
    }
    match namespace_advice(&found, &config.spec.namespaces) {
        NamespaceAdvice::None => {}
        NamespaceAdvice::Note(note) => report.note(&note),
        NamespaceAdvice::Missing(said) => return Err(BootstrapError::NoNamespaces { said }),
    }
    Ok(())
}
