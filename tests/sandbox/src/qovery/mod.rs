//! A local Qovery: environments with services, jobs, deployment stages and variables, as its public API shows them, and the events
//! that deployments are.
//!
//! Here: who asks and for what. What the operations do is in `operations.rs`, how things look in `render.rs`, what happens in an event
//! in `events.rs`, what tests may arrange in `arrange.rs`, what Helm makes of a chart in `chart.rs`. `description.rs` holds every request and answer against Qovery's own
//! description of its API. It runs nothing: a deployment is a list of steps, and the engine or a test carries them out.

mod arrange;
pub mod chart;
mod description;
mod events;
mod operations;
mod policy_token;
mod render;
mod states;
#[cfg(test)]
mod tests;
mod world;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use http::Method;
use serde_json::{Map, Value, json};

use self::{description::Description, policy_token::PolicyToken};
pub use self::{
    description::{operations, schema},
    events::{Deployment, Event, Step},
    world::{Aliases, Chart, DeleteEvent, LeftOut, LoneDelete, Put, SettingsRead, World},
};
use crate::service::{Answer, Request, Response, Service};

/// The API token of somebody who may do everything.
pub const TOKEN: &str = "qov_local_admin_0000000000000000";
/// The API token of somebody who may only read.
pub const READER_TOKEN: &str = "qov_local_reader_000000000000000";

/// The deployment stages that each new environment has, and in this order.
const STAGES: [&str; 4] = ["DATABASE DEFAULT", "JOB DEFAULT", "CONTAINER DEFAULT", "APPLICATION DEFAULT"];

/// Everything that Qovery knows.
#[derive(Clone, Debug)]
pub struct Qovery {
    description: Arc<Description>,
    /// Counts what was made, for ids that are never used twice and always the same.
    serial: u32,
    organization: String,
    project: String,
    region: String,
    cluster: String,
    environments: BTreeMap<String, Environment>,
    variables: Vec<Variable>,
    registries: Vec<(String, String)>,
    git_tokens: Vec<(String, String)>,
    helm_repositories: Vec<(String, String)>,
    /// Whether it shows the contents of files to nobody.
    hides_files: bool,
    deployments: Vec<Deployment>,
    world: World,
    shows: Shows,
    /// Tokens that answer 401 to some calls.
    policy_tokens: BTreeMap<String, PolicyToken>,
}

/// An environment.
#[derive(Clone, Debug)]
struct Environment {
    name: String,
    namespace: String,
    services: BTreeMap<String, AService>,
    stages: Vec<AStage>,
    /// The services that never run with the environment.
    skipped: BTreeSet<String>,
    /// One of Qovery's words for it.
    state: &'static str,
    /// Its state before the last deployment.
    before: &'static str,
    /// What the last deployment is, the one that is under way if there is one.
    event: Event,
    /// Whether that deployment is of the environment, and not of some of its services.
    whole: bool,
    /// How many deployments there were.
    deployments: u32,
    /// For how many looks what was asked for last is not shown yet.
    hidden_for: u32,
}

/// A service of an environment.
#[derive(Clone, Debug)]
struct AService {
    kind: Kind,
    name: String,
    settings: Map<String, Value>,
    /// Of a job or a Helm service: the request that made it. Of the others: what is not as it is by default.
    request: Map<String, Value>,
    /// One of Qovery's words for it.
    state: &'static str,
    /// Its state before the last deployment that it is part of.
    before: &'static str,
    /// Whether it is part of the last deployment of the environment, the one that is under way if there is one.
    takes_part: bool,
    /// Which deployment of the environment its state is of, and which its last state was.
    deployment: u32,
    deployment_before: u32,
}

/// What a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An application.
    Application,
    /// A container.
    Container,
    /// A database.
    Database,
    /// A lifecycle job or a cron job.
    Job,
    /// A Terraform service.
    Terraform,
    /// A Helm service.
    Helm,
    /// An Argo CD application.
    ArgoCd,
    /// An agentic workflow.
    AgenticWorkflow,
}

impl Kind {
    /// The stage where Qovery puts one of this kind. Of the newer kinds nothing says which; these are as good as any.
    fn stage(self) -> &'static str {
        match self {
            Self::Database => STAGES[0],
            Self::Job | Self::Terraform => STAGES[1],
            Self::Container | Self::Helm | Self::ArgoCd | Self::AgenticWorkflow => STAGES[2],
            Self::Application => STAGES[3],
        }
    }
}

#[derive(Clone, Debug)]
struct AStage {
    id: String,
    name: String,
    services: Vec<String>,
}

/// What statuses show of deployments: nothing public says when a request is to be seen in them, and the ids may be left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shows {
    /// For how many looks a deployment that was asked for is not shown: the states are those of the one before.
    pub late: u32,
    /// Whether these looks show at least that one was asked for.
    pub requests: bool,
    /// Whether no status says which deployment it is of.
    pub no_ids: bool,
}

/// A variable, an alias or a secret.
#[derive(Clone, Debug)]
struct Variable {
    id: String,
    key: String,
    value: String,
    scope: &'static str,
    parent: String,
    is_secret: bool,
    /// The variable that it is another name of.
    alias_of: Option<String>,
    /// The job whose output it is.
    output_of: Option<String>,
    /// Whether Qovery made it, and not a person: an alias of an output.
    by_qovery: bool,
    /// Whether its value is kept in AWS: then nobody is shown it, and it is said to be no secret.
    external: bool,
    /// Where its value is a file, if it is one: then its value in the container is that path.
    mount_path: Option<String>,
    /// The variable of a wider scope that it stands in for.
    overrides: Option<String>,
}

impl Variable {
    /// One that a person sets: a value, and no secret.
    fn set(id: String, scope: &'static str, parent: &str, key: &str, value: &str) -> Self {
        Self {
            id,
            key: key.to_owned(),
            value: value.to_owned(),
            scope,
            parent: parent.to_owned(),
            is_secret: false,
            alias_of: None,
            output_of: None,
            by_qovery: false,
            external: false,
            mount_path: None,
            overrides: None,
        }
    }
}

/// Why an operation is refused.
struct Refused {
    status: u16,
    message: String,
}

impl Refused {
    fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

/// What an operation answers: status, body, and whether it changed anything.
type Outcome = Result<(u16, Value, bool), Refused>;

impl Qovery {
    /// An organization with one project and no environment.
    ///
    /// # Panics
    /// When the vendored description is not readable, which a test of this crate would show.
    #[must_use]
    pub fn new(region: &str, cluster: &str) -> Self {
        let mut qovery = Self {
            description: Arc::new(Description::vendored()),
            serial: 0,
            organization: String::new(),
            project: String::new(),
            region: region.to_owned(),
            cluster: cluster.to_owned(),
            environments: BTreeMap::new(),
            variables: Vec::new(),
            registries: Vec::new(),
            git_tokens: Vec::new(),
            helm_repositories: Vec::new(),
            hides_files: false,
            deployments: Vec::new(),
            world: World::default(),
            shows: Shows::default(),
            policy_tokens: BTreeMap::new(),
        };
        qovery.organization = qovery.id();
        qovery.project = qovery.id();
        qovery
    }

    fn id(&mut self) -> String {
        self.serial += 1;
        // The first digits differ, since Qovery makes names of them.
        format!("{:08x}-0000-4000-8000-{:012x}", 0xa1b2_0000_u32 + self.serial, self.serial)
    }

    fn dispatch(&mut self, request: &Request) -> Outcome {
        let writes = request.method != Method::GET;
        match request.header("authorization") {
            given if given == format!("Token {TOKEN}") => {}
            given if given.strip_prefix("Token ").is_some_and(|token| self.policy_tokens.contains_key(token)) => {
                let name = given.trim_start_matches("Token ");
                if !self.allows(&self.policy_tokens[name], name, request) {
                    return Err(Refused::new(401, "the token does not allow this call"));
                }
            }
            given if given == format!("Token {READER_TOKEN}") => {
                if writes {
                    return Err(Refused::new(403, "you do not have the permission to do this"));
                }
            }
            _ => return Err(Refused::new(401, "the token is missing or not valid")),
        }
        self.carry_out(request)
    }

    fn answer_of(&mut self, request: &Request) -> (Response, bool) {
        let description = Arc::clone(&self.description);
        let Some(operation) = description.operation(&request.method, &request.path) else {
            return (unfit(&format!("no such operation: {} {}", request.method, request.path)), false);
        };
        if let Err(reason) = operation.check_request(request) {
            return (unfit(&reason), false);
        }
        match self.dispatch(request) {
            Ok((status, body, changed)) => match operation.check_answer(status, &body) {
                Ok(()) if body.is_null() => (Response { body: bytes::Bytes::new(), ..Response::json(status, &body) }, changed),
                Ok(()) => (Response::json(status, &body), changed),
                Err(reason) => (unfit(&reason), changed),
            },
            Err(refused) => (refusal(refused.status, &refused.message, &request.path), false),
        }
    }
}

/// The body that the API's framework gives to errors; no description says so.
pub(crate) fn refusal(status: u16, message: &str, path: &str) -> Response {
    let error = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Error");
    Response::json(
        status,
        &json!({ "timestamp": "2026-01-01T00:00:00.000+00:00", "status": status, "error": error, "message": message, "path": path }),
    )
}

/// What does not fit the description fails the test that caused it, as what is not implemented does.
fn unfit(reason: &str) -> Response {
    refusal(501, &format!("not as Qovery's description has it: {reason}"), "")
}

impl Service for Qovery {
    fn operation(&self, request: &Request) -> String {
        match self.description.operation(&request.method, &request.path) {
            Some(operation) => format!("qovery:{}", operation.id()),
            None => format!("qovery:{} {}", request.method, request.path),
        }
    }

    fn answer(&mut self, request: &Request, _: SystemTime) -> Answer {
        let (response, changed) = self.answer_of(request);
        let sent: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        // A secret is nobody's business, not even a witness's.
        let hidden = sent["is_secret"] == true;
        let mut parameters = json!({ "path": request.path, "query": request.query, "body": sent });
        if hidden {
            parameters["body"]["value"] = Value::Null;
        }
        Answer { response, changed, parameters }
    }

    fn snapshot(&self) -> Box<dyn Service> {
        Box::new(self.clone())
    }
}
