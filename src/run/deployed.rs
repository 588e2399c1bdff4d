//! After `install`, with `--deploy`: the deployments, and how the run ends by what is proven then.

use super::error::RunError;
use crate::{
    clients::{call::Patience, qovery::Qovery},
    config::InstallConfig,
    install::{
        self,
        deploy::{self, Proofs},
    },
    model::{deployment::Target, line::counted},
    plan::{Mode, install::Deploy},
    report::{
        Report,
        exit::{End, Exit},
    },
};

/// Deploys the job and what belongs to it, binds what is not bound yet before the services are deployed, and says what is proven then.
pub(super) async fn deployed(
    config: &InstallConfig,
    mode: Mode,
    http: &reqwest::Client,
    patience: &Patience,
    report: &mut Report<'_>,
) -> Result<End, RunError> {
    let Some(access) = &config.qovery else { return Ok(End::printed()) };
    if mode == Mode::DryRun {
        report.note("`--deploy` then deploys the job and the environment");
        return Ok(End::new(Exit::ToDo, format!("{} to do before the deployments", counted(report.planned_count(), "action"))));
    }
    let qovery = Qovery::new(access, http);
    let targets = deploy::targets(config, &access.environment, &qovery, patience).await?;
    report.planned(targets.iter().cloned().map(Deploy).collect::<Vec<_>>().iter());
    let unproven = |identity: &str| {
        format!(
            "identity `{identity}` is not proven: by EKS Pod Identity nothing is before a pod of it runs, so run the job again once one does; else the job's log says why"
        )
    };
    let is_last = |target: &Target| matches!(target, Target::Environment(_));
    let (last, first): (Vec<Target>, Vec<Target>) = targets.iter().cloned().partition(is_last);
    deploy::deploy(&first, &qovery, patience, report).await?;
    // Not before the job has made the ServiceAccounts: had it failed, a service that is deployed alone could not start.
    install::bind(config, http, patience, report).await?;
    deploy::deploy(&last, &qovery, patience, report).await?;
    Ok(match deploy::proofs(&targets, &qovery, patience, report).await? {
        Proofs::Unsaid(why) => {
            report.note(&format!("it cannot be seen in Qovery which identities are proven: {why}. The job's log tells"));
            End::new(Exit::Unknown, "deployed, and it is not known whether the services get their roles")
        }
        Proofs::Said(said) => {
            said.iter().filter(|(_, proven)| !proven).for_each(|(identity, _)| report.note(&unproven(identity)));
            let proven = said.iter().filter(|(_, proven)| *proven).count();
            let of = counted(said.len(), "identity");
            match said.len() - proven {
                0 => End::new(Exit::Done, format!("deployed and proven: {of}")),
                left => End::new(Exit::Done, format!("deployed; not proven yet: {left} of {of}")),
            }
        }
    })
}
