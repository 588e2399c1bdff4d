//! `bootstrap`: sees what AWS has of a cluster's trust zone, plans, carries out, and looks again until it is so. What differs is decided in
//! `plan/bootstrap`.

mod access;
mod apply;
mod converge;
mod error;
mod observe;
mod project;
mod terraform;

use std::time::Duration;

pub use self::error::BootstrapError;
use self::{
    converge::{Part, converge},
    observe::Bench,
    project::proposal,
};
use crate::{
    clients::{aws::Aws, call::Patience, http},
    config::BootstrapConfig,
    model::bootstrap::{BoundaryChoice, DesiredAccess, DesiredBootstrap, access_role},
    plan::{
        Mode,
        bootstrap::{BootstrapAction, BootstrapPlan, Direction, plan},
    },
    report::Report,
    steps::{StepError, connect::ConnectError},
};

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrapped {
    /// How many actions a dry run has found.
    pub to_do: usize,
    /// What the administrator does next.
    pub next: Option<String>,
}

/// Makes the trust zone of a cluster, takes it away, or only says what that takes.
///
/// # Errors
/// AWS or Qovery cannot be reached or refuses, the zone cannot be in this account, or something may not be touched.
pub async fn run(
    config: &BootstrapConfig,
    direction: Direction,
    mode: Mode,
    patience: &Patience,
    report: &mut Report<'_>,
) -> Result<Bootstrapped, BootstrapError> {
    http::install_crypto();
    let http = http::client().map_err(ConnectError::from)?;
    tokio::select! {
        proposed = proposal(config, &http, patience, report) => proposed?,
        () = patience.interruption() => return Err(StepError::Interrupted.into()),
    }
    let aws = Aws::new(config.spec.region.as_ref(), None, None, &http).await.map_err(ConnectError::from)?;
    let bench = Bench { aws, spec: &config.spec, direction, patience };
    let zone = tokio::select! {
        zone = bench.zone() => zone?,
        () = patience.interruption() => return Err(StepError::Interrupted.into()),
    };
    let desired = DesiredBootstrap::new(&config.spec, &zone)?;
    report.zone(desired.cluster_arn.as_str(), zone.issuer.as_str());
    let reaching = access_of(config, &desired)?;
    let gate = match &reaching {
        Some(reaching) => Some(Box::pin(access::open(&bench, reaching, report)).await?),
        None => None,
    };
    let part = ZonePart { bench: &bench, desired: &desired };
    // What keeps the zone from being taken away is said before anything goes.
    if gate.is_some() && direction == Direction::Remove {
        part.plan(report).await?;
    }
    let mut to_do = 0;
    // It rests on the zone: it is made last and goes first.
    if let Some(gate) = gate.as_ref().filter(|_| direction == Direction::Remove) {
        to_do += Box::pin(gate.run(mode, config.settle, report)).await?;
    }
    to_do += converge(&part, mode, config.settle, report).await?;
    match &gate {
        Some(gate) if direction == Direction::Make => to_do += Box::pin(gate.run(mode, config.settle, report)).await?,
        None => bench.say_what_reaches(&desired, report).await?,
        Some(_) => {}
    }
    Ok(Bootstrapped { to_do, next: (direction == Direction::Make).then(|| next(config, &desired)) })
}

/// Cluster access, if the spec has it.
fn access_of(config: &BootstrapConfig, desired: &DesiredBootstrap) -> Result<Option<DesiredAccess>, BootstrapError> {
    match DesiredAccess::new(&config.spec, desired) {
        None if config.spec.access.is_some() => Err(BootstrapError::LongName(config.spec.role.clone())),
        reaching => Ok(reaching),
    }
}

/// The trust zone as resources of Terraform, with cluster access if the spec has it, and with what is there already. Nothing is changed.
///
/// # Errors
/// AWS or the cluster cannot be reached or refuses, the zone cannot be in this account, or something may not be touched.
pub async fn print(config: &BootstrapConfig, patience: &Patience) -> Result<String, BootstrapError> {
    http::install_crypto();
    let http = http::client().map_err(ConnectError::from)?;
    let aws = Aws::new(config.spec.region.as_ref(), None, None, &http).await.map_err(ConnectError::from)?;
    let bench = Bench { aws, spec: &config.spec, direction: Direction::Make, patience };
    let (desired, observed, reaching) = tokio::select! {
        seen = async {
            let desired = DesiredBootstrap::new(&config.spec, &bench.zone().await?)?;
            let observed = bench.observe(&desired).await?;
            let reaching = match access_of(config, &desired)? {
                Some(reaching) => Some((access::look(&bench, &reaching).await?, reaching)),
                None => None,
            };
            Ok::<_, BootstrapError>((desired, observed, reaching))
        } => seen?,
        () = patience.interruption() => return Err(StepError::Interrupted.into()),
    };
    // What may not be touched is not printed either.
    plan(Direction::Make, &desired, &observed).map_err(StepError::from)?;
    let reaching = reaching.as_ref().map(|(observed, desired)| (desired, observed));
    Ok(terraform::render(&desired, &observed, reaching))
}

/// The trust zone without its cluster access.
struct ZonePart<'a> {
    bench: &'a Bench<'a>,
    desired: &'a DesiredBootstrap,
}

impl Part for ZonePart<'_> {
    type Action = BootstrapAction;

    fn patience(&self) -> &Patience {
        self.bench.patience
    }

    async fn plan(&self, report: &mut Report<'_>) -> Result<BootstrapPlan, BootstrapError> {
        let observed = tokio::select! {
            observed = self.bench.observe(self.desired) => observed?,
            () = self.bench.patience.interruption() => return Err(StepError::Interrupted.into()),
        };
        let plan = plan(self.bench.direction, self.desired, &observed).map_err(StepError::from)?;
        plan.notes.iter().for_each(|note| report.note(note));
        Ok(plan)
    }

    async fn apply(&self, plan: &BootstrapPlan, _: Duration, report: &mut Report<'_>) -> Result<(), BootstrapError> {
        self.bench.apply(plan, report).await
    }
}

impl Bench<'_> {
    /// Names the role for cluster access, which a removal leaves and a change does not reach unless it is asked for too. Where it changes
    /// nothing it may be unknown whether there is one.
    async fn say_what_reaches(&self, desired: &DesiredBootstrap, report: &mut Report<'_>) -> Result<(), BootstrapError> {
        let Some(name) = access_role(&self.spec.role) else { return Ok(()) };
        let found = match self.direction {
            Direction::Remove => self.call(&format!("read role `{name}`"), "iam:GetRole", async || self.aws.role(&name).await).await?,
            Direction::Make => {
                self.patience.for_advice().call("iam:GetRole", async || self.aws.role(&name).await).await.unwrap_or_default()
            }
        };
        if found.is_none_or(|role| !desired.is_own(&role.tags)) {
            return Ok(());
        }
        match self.direction {
            Direction::Remove => report.left(&format!(
                "role `{name}`, with its access to the cluster: `bootstrap --delete --cluster-access NAMESPACE` takes both away"
            )),
            Direction::Make => report.note(&format!(
                "cluster access (role `{name}`, the guard) was not looked at, and keeps namespaces, path and boundary of before: `--cluster-access NAMESPACE` compares it too"
            )),
        }
        Ok(())
    }
}

/// The command that installs the job with what was made.
fn next(config: &BootstrapConfig, desired: &DesiredBootstrap) -> String {
    let boundary = match (&config.spec.boundary, &desired.boundary) {
        (BoundaryChoice::None, _) | (_, None) => String::new(),
        (_, Some(policy)) => format!(" --boundary {}", policy.arn),
    };
    format!("qovery-irsa install --environment ENVIRONMENT_ID --role {}{boundary} --deploy", desired.role)
}
