//! An account and a cluster in virtual time: the local AWS with all its past states, reached without HTTP.
//!
//! What a call meets follows from a seed: how long it takes, whether it is throttled, whether its answer is lost, how old a read is.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use http::Method;
use qovery_irsa::{
    clients::call::{CallError, Denial, DeniedBy, ErrorKind, Failed, Missing, Patience},
    config::{Format, Proof},
    model::{
        applied::AppliedServiceAccount,
        arn::{Account, RoleArn},
        association::{AssociationId, AssociationSettings, KnownAgent, ObservedAssociation, SessionTags},
        conditions::Conditions,
        date::Date,
        identity::{Binding, BoundServices, Identity, Keeper, ManagedRole, Prune, RoleOrigin, RoleSpec, Scope, ServiceAccountSpec},
        marks::{JobMark, Jobs, Mark},
        names::{ClusterName, Namespace, RoleName, ServiceAccountName, Subject},
        observed::{FIELD_MANAGER, Field, KnownProvider, Limits, Observed, ObservedProvider, ObservedRole, ObservedServiceAccount},
        oidc::Audience,
        place::Place,
        pods::{Credentials, Phase, PodRef, Use},
        role::{RoleAttributes, RoleSettings},
        sessions::AssumedRole,
        trust::TrustPolicy,
    },
    plan::{Action, Call as _, Goal},
    report::Report,
    steps::{
        converge::{Converged, Work},
        prove::prove,
        world::{self, Look},
    },
};
use qovery_irsa_sandbox::aws::{
    Aws, PodIdentityAssociation,
    evaluate::{Context, who_may_assume_under},
};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::support::fixtures::EC2_TRUST;

pub(crate) const ISSUER: &str = "https://oidc.example.com/id/A";
/// The cluster of all environments.
pub(crate) const CLUSTER: &str = "demo";

/// What is looked at whenever the account has changed.
type Watch = Box<dyn Fn(&Aws)>;

/// The account: all its past states, and the chance that decides what a call meets.
pub(crate) struct World {
    began: Instant,
    states: RefCell<Vec<(Instant, Aws)>>,
    /// How long past states are kept, where there are too many to keep them all.
    pub(crate) remembers: Cell<Option<Duration>>,
    watch: RefCell<Option<Watch>>,
    /// Whether nothing goes wrong: no call is throttled, no answer lost, no read old.
    pub(crate) calm: Cell<bool>,
    chance: RefCell<fastrand::Rng>,
    /// How old a read can be.
    lag: Duration,
    pub(crate) calls: Cell<usize>,
    /// How long STS decides by what was.
    pub(crate) propagation: Cell<Duration>,
    /// What requests to STS have beside the claims of their tokens.
    pub(crate) request_keys: RefCell<Context>,
    /// Whether a policy outside the account denies every session.
    pub(crate) denied: Cell<bool>,
    /// The ServiceAccounts of the cluster with their versions; Kubernetes shows no past.
    pub(crate) service_accounts: RefCell<BTreeMap<Subject, ServiceAccount>>,
    /// The pods that run, by namespace.
    pods: RefCell<BTreeMap<Namespace, Vec<Use>>>,
    /// How often each namespace's job made which call, where that is looked at.
    made: RefCell<BTreeMap<Namespace, BTreeMap<&'static str, usize>>>,
}

impl World {
    pub(crate) fn new(seed: u64, lag: Duration) -> Self {
        let mut aws = Aws::new("123456789012", "eu-west-3");
        aws.quotas_mut().trust_policy_size = 8192;
        aws.add_role("given", "/", EC2_TRUST);
        aws.add_cluster(CLUSTER, "https://127.0.0.1:1", "", ISSUER);
        Self {
            began: Instant::now(),
            states: RefCell::new(vec![(Instant::now(), aws)]),
            remembers: Cell::default(),
            watch: RefCell::default(),
            calm: Cell::default(),
            chance: RefCell::new(fastrand::Rng::with_seed(seed)),
            lag,
            calls: Cell::new(0),
            propagation: Cell::default(),
            request_keys: RefCell::default(),
            denied: Cell::default(),
            service_accounts: RefCell::default(),
            pods: RefCell::default(),
            made: RefCell::default(),
        }
    }

    /// The time of the services: it begins with the world, long before the machine's.
    pub(crate) fn time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.began.elapsed()
    }

    /// Something of this probability has gone wrong.
    fn goes_wrong(&self, probability: f64) -> bool {
        !self.calm.get() && self.happens(probability)
    }

    /// From now on this is looked at whenever the account has changed.
    pub(crate) fn watch(&self, watch: impl Fn(&Aws) + 'static) {
        *self.watch.borrow_mut() = Some(Box::new(watch));
    }

    /// The calls that the job of a namespace has made since this was last asked.
    pub(crate) fn take_calls(&self, namespace: &Namespace) -> BTreeMap<&'static str, usize> {
        self.made.borrow_mut().remove(namespace).unwrap_or_default()
    }

    /// The associations of a namespace now.
    pub(crate) fn associations(&self, namespace: &Namespace) -> Vec<PodIdentityAssociation> {
        let here = |found: &&PodIdentityAssociation| found.namespace == namespace.as_str();
        self.now(|aws| aws.clusters()[CLUSTER].associations.values().filter(here).cloned().collect())
    }

    /// A pod that runs from now on, with what the webhook gives it now.
    pub(crate) fn run_pod(&self, subject: &Subject, name: &str) {
        let (namespace, account) = (subject.namespace.as_str(), subject.service_account.as_str());
        let associated = self.now(|aws| aws.association_of(CLUSTER, namespace, account, self.time()).is_some());
        let pod = Use {
            user: format!("pod `{name}`"),
            service_account: account.to_owned(),
            roles: BTreeSet::new(),
            ends: false,
            pod: Some(PodRef { name: name.to_owned(), uid: format!("{namespace}-{name}"), phase: Phase::Running }),
            credentials: associated.then_some(Credentials::PodIdentity).into_iter().collect(),
        };
        self.pods.borrow_mut().entry(subject.namespace.clone()).or_default().push(pod);
    }

    /// The pods of a namespace have ended.
    pub(crate) fn end_pods(&self, namespace: &Namespace) {
        self.pods.borrow_mut().remove(namespace);
    }

    pub(crate) fn happens(&self, probability: f64) -> bool {
        self.chance.borrow_mut().f64() < probability
    }

    pub(crate) fn up_to(&self, longest: Duration) -> Duration {
        longest.mul_f64(self.chance.borrow_mut().f64())
    }

    /// A call takes this long: exponentially distributed around 80 ms.
    pub(crate) fn latency(&self) -> Duration {
        Duration::from_millis(80).mul_f64(-(1.0 - self.chance.borrow_mut().f64()).ln())
    }

    /// The account as it was then.
    fn as_of<T>(&self, age: Duration, read: impl FnOnce(&Aws) -> T) -> T {
        let at = Instant::now().checked_sub(age);
        let states = self.states.borrow();
        let state = states.iter().rev().find(|(since, _)| at.is_some_and(|at| *since <= at)).unwrap_or(&states[0]);
        read(&state.1)
    }

    /// The account as a read shows it now.
    pub(crate) fn shown<T>(&self, read: impl FnOnce(&Aws) -> T) -> T {
        let age = self.up_to(self.lag);
        self.as_of(if self.calm.get() { Duration::ZERO } else { age }, read)
    }

    pub(crate) fn now<T>(&self, read: impl FnOnce(&Aws) -> T) -> T {
        read(&self.states.borrow().last().unwrap().1)
    }

    /// Changes the account before the first call.
    pub(crate) fn arrange(&self, arrange: impl FnOnce(&mut Aws)) {
        arrange(&mut self.states.borrow_mut()[0].1);
    }

    /// Changes the account now, past its API.
    pub(crate) fn change_now(&self, change: impl FnOnce(&mut Aws)) {
        let changed = self.change(|aws| {
            change(aws);
            Ok(())
        });
        changed.unwrap();
    }

    fn change<T>(&self, change: impl FnOnce(&mut Aws) -> Result<T, Refused>) -> Result<T, CallError> {
        let mut states = self.states.borrow_mut();
        let mut next = states.last().unwrap().1.clone();
        let changed = change(&mut next).map_err(of_refused)?;
        if let Some(watch) = &*self.watch.borrow() {
            watch(&next);
        }
        states.push((Instant::now(), next));
        if let Some(oldest) = self.remembers.get() {
            let old = states.windows(2).take_while(|pair| pair[1].0.elapsed() > oldest).count();
            states.drain(..old);
        }
        Ok(changed)
    }

    fn write(&self, operation: &str, parameters: &[(&str, &str)]) -> Result<(), CallError> {
        self.change(|aws| aws.call_at(self.time(), operation, parameters))
    }

    fn write_eks(&self, method: &Method, path: &str, body: &Value) -> Result<(), CallError> {
        self.change(|aws| aws.call_eks(self.time(), method, path, body)).map(drop)
    }

    fn write_association(&self, action: &Action) -> Result<(), CallError> {
        match action {
            Action::CreateAssociation(wanted) => {
                let mut body = body_of(&wanted.settings);
                body["namespace"] = wanted.subject.namespace.as_str().into();
                body["serviceAccount"] = wanted.subject.service_account.as_str().into();
                body["tags"] = json!(wanted.all_tags());
                self.write_eks(&Method::POST, &format!("/clusters/{}/pod-identity-associations", wanted.cluster), &body)
            }
            Action::UpdateAssociation { cluster, id, settings, .. } => {
                let mut body = body_of(settings);
                body["targetRoleArn"] = settings.target.as_ref().map(ToString::to_string).unwrap_or_default().into();
                self.write_eks(&Method::POST, &format!("/clusters/{cluster}/pod-identity-associations/{id}"), &body)
            }
            Action::DeleteAssociation { cluster, id, .. } => {
                self.write_eks(&Method::DELETE, &format!("/clusters/{cluster}/pod-identity-associations/{id}"), &Value::Null)
            }
            Action::TagAssociation { arn, tags, .. } => {
                self.write_eks(&Method::POST, &format!("/tags/{}", arn.replace('/', "%2F")), &json!({ "tags": tags }))
            }
            Action::UntagAssociation { arn, keys, .. } => {
                let keys: Vec<String> = keys.iter().map(|key| format!("tagKeys={}", key.replace('/', "%2F"))).collect();
                self.write_eks(&Method::DELETE, &format!("/tags/{}?{}", arn.replace('/', "%2F"), keys.join("&")), &Value::Null)
            }
            other => panic!("no association: {other}"),
        }
    }
}

/// Status, code and message.
type Refused = (u16, String, String);

/// As the adapters read it.
fn of_refused((status, code, message): Refused) -> CallError {
    let kind = match (status, code.as_str()) {
        (404, _) => ErrorKind::NotFound(Missing::Thing),
        (_, "EntityAlreadyExists" | "ResourceInUseException") => ErrorKind::AlreadyExists,
        (_, "InvalidParameterException") => ErrorKind::Invalid,
        (_, "AccessDenied") => {
            let action = Some("sts:AssumeRole".to_owned());
            ErrorKind::Denied(Denial { action, by: DeniedBy::Unsaid, is_explicit: false, caller: None })
        }
        _ => ErrorKind::Other,
    };
    CallError::new(kind, &code, message)
}

/// A ServiceAccount of the cluster: what the tool holds of it, and the marks of the jobs.
#[derive(Clone)]
pub(crate) struct ServiceAccount {
    pub(crate) version: u32,
    pub(crate) applied: AppliedServiceAccount,
    pub(crate) marks: BTreeMap<JobMark, Mark>,
}

/// The account and the cluster as one environment's job reaches them.
pub(crate) struct Reached {
    pub(crate) world: Rc<World>,
    pub(crate) place: Place,
}

pub(crate) fn account() -> Account {
    Account { partition: "aws".parse().unwrap(), id: "123456789012".parse().unwrap() }
}

pub(crate) fn observed_role(aws: &Aws, name: &RoleName) -> Option<ObservedRole> {
    let role = aws.roles().get(name.as_str())?;
    Some(ObservedRole {
        arn: format!("arn:aws:iam::123456789012:role{}{}", role.path, role.name).parse().unwrap(),
        settings: RoleSettings {
            description: role.description.clone().filter(|text| !text.is_empty()),
            max_session_duration: role.max_session_duration,
        },
        permissions_boundary: None,
        tags: role.tags.clone(),
        trust: TrustPolicy::parse(&role.trust).unwrap(),
        attached: BTreeSet::new(),
        inline_policies: [].into(),
        instance_profiles: BTreeSet::new(),
    })
}

/// An association as `DescribePodIdentityAssociation` shows it.
fn observed_association(aws: &Aws, id: &str) -> Option<ObservedAssociation> {
    let found = aws.clusters()[CLUSTER].associations.get(id)?;
    let since = found.created.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Some(ObservedAssociation {
        id: AssociationId::read(id),
        arn: format!("arn:aws:eks:eu-west-3:123456789012:podidentityassociation/{CLUSTER}/{id}"),
        subject: Subject { namespace: found.namespace.parse().unwrap(), service_account: found.service_account.parse().unwrap() },
        settings: AssociationSettings {
            role: found.role_arn.parse().unwrap(),
            target: found.target_role_arn.as_ref().map(|arn| arn.parse().unwrap()),
            session_tags: if found.disable_session_tags { SessionTags::Off } else { SessionTags::On },
            session_policy: found.policy.as_ref().map(|policy| serde_json::from_str(policy).unwrap()),
        },
        external_id: None,
        tags: found.tags.clone(),
        add_on: found.owner_arn.clone(),
        created: Date::since_1970(since),
        changed: Date::since_1970(found.modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()),
    })
}

/// What an association is made from or changed to.
fn body_of(settings: &AssociationSettings) -> Value {
    let AssociationSettings { role, target, session_tags, session_policy } = settings;
    json!({
        "roleArn": role.to_string(),
        "targetRoleArn": target.as_ref().map(ToString::to_string),
        "disableSessionTags": *session_tags == SessionTags::Off,
        "policy": session_policy.as_ref().map(ToString::to_string),
    })
}

impl Reached {
    fn calls(&self, call: &'static str) {
        let mut made = self.world.made.borrow_mut();
        *made.entry(self.place.namespace.clone()).or_default().entry(call).or_default() += 1;
    }

    /// A read of EKS, as old as it likes; it may be throttled.
    async fn read<T>(&self, call: &'static str, patience: &Patience, read: impl Fn(&Aws) -> T) -> Result<T, Failed> {
        let attempt = async || {
            self.calls(call);
            sleep(self.world.latency()).await;
            if self.world.goes_wrong(0.05) { Err(throttled()) } else { Ok(self.world.shown(&read)) }
        };
        patience.call(call, attempt).await.map_err(Failed::to(format!("ask {call}"), call))
    }

    /// The associations of the namespace: first the list, then each of them.
    async fn associations(&self, patience: &Patience) -> Result<BTreeMap<ServiceAccountName, ObservedAssociation>, Failed> {
        let namespace = self.place.namespace.as_str();
        let listed = |aws: &Aws| {
            let all = aws.clusters()[CLUSTER].associations.iter();
            all.filter(|(_, found)| found.namespace == namespace).map(|(id, _)| id.clone()).collect::<Vec<_>>()
        };
        let mut found = BTreeMap::new();
        for id in self.read("eks:ListPodIdentityAssociations", patience, listed).await? {
            let described = self.read("eks:DescribePodIdentityAssociation", patience, |aws| observed_association(aws, &id)).await?;
            found.extend(described.map(|found| (found.subject.service_account.clone(), found)));
        }
        Ok(found)
    }

    /// Whether a ServiceAccount of the namespace records that it has a role by an association.
    fn is_associated(&self) -> bool {
        let accounts = self.world.service_accounts.borrow();
        let mut here = accounts.iter().filter(|(subject, _)| subject.namespace == self.place.namespace);
        here.any(|(_, account)| account.applied.annotations.contains_key("qovery-irsa/associated-role"))
    }

    /// The pods of the namespace.
    fn pods(&self) -> Vec<Use> {
        self.world.pods.borrow().get(&self.place.namespace).cloned().unwrap_or_default()
    }

    /// A role as reads show it: each is as old as it likes.
    fn role(&self, name: &RoleName) -> Option<ObservedRole> {
        let role = self.world.shown(|aws| observed_role(aws, name))?;
        let attached = self.world.shown(|aws| aws.roles().get(name.as_str()).map(|role| role.attached.clone())).unwrap_or_default();
        Some(ObservedRole { attached: attached.iter().map(|arn| arn.parse().unwrap()).collect(), ..role })
    }

    /// The roles below these paths, as a list shows them.
    fn below(&self, paths: &BTreeSet<String>) -> Vec<RoleName> {
        let below = |aws: &Aws| {
            let roles = aws.roles().values().filter(|role| paths.iter().any(|path| role.path.starts_with(path)));
            roles.map(|role| role.name.parse().unwrap()).collect()
        };
        self.world.shown(below)
    }

    /// The names of the roles that are looked at: those of identities, and the ledger's.
    fn names(&self, identities: &[Identity], accounts: &BTreeMap<ServiceAccountName, ObservedServiceAccount>) -> BTreeSet<RoleName> {
        let named = identities.iter().map(|identity| self.place.role_name(identity));
        let recorded = accounts.values().flat_map(|account| {
            let earlier = account.earlier_roles();
            account.role().into_iter().chain(earlier.iter().map(|(role, _)| role.clone()).collect::<Vec<_>>()).map(|role| role.name)
        });
        named.chain(self.below(&self.place.all_environment_paths())).chain(recorded).collect()
    }

    fn service_accounts(&self) -> BTreeMap<ServiceAccountName, ObservedServiceAccount> {
        let applied = self.world.service_accounts.borrow();
        let here = applied.iter().filter(|(subject, _)| subject.namespace == self.place.namespace);
        let found = here.map(|(subject, ServiceAccount { version, applied, marks })| {
            let annotations = applied.annotations.iter().map(|(key, value)| (Field::Annotation(key.clone()), value.clone()));
            let labels = applied.labels.iter().map(|(key, value)| (Field::Label(key.clone()), value.clone()));
            let values: BTreeMap<Field, String> = annotations.chain(labels).collect();
            let mut managers: BTreeMap<Field, BTreeSet<String>> =
                values.keys().map(|field| (field.clone(), [FIELD_MANAGER.to_owned()].into())).collect();
            let mut values = values;
            for (job, mark) in marks {
                let field = Field::Label(job.label());
                managers.entry(field.clone()).or_default().insert(job.field_manager());
                values.insert(field, mark.value());
            }
            let (namespace, version) = (subject.namespace.clone(), version.to_string());
            let observed = ObservedServiceAccount { namespace, uid: "uid".to_owned(), version, ends: false, values, managers };
            (subject.service_account.clone(), observed)
        });
        found.collect()
    }
}

impl world::World for Reached {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn observe(&self, look: Look, identities: &[Identity], patience: &Patience) -> Result<Observed, Failed> {
        let world = &self.world;
        world.calls.set(world.calls.get() + 2);
        self.calls("look");
        sleep(world.latency()).await;
        let service_accounts = self.service_accounts();
        let left = matches!(look, Look::Left | Look::Retired);
        let names = if left {
            identities.iter().map(|identity| self.place.role_name(identity)).collect()
        } else {
            self.names(identities, &service_accounts)
        };
        let roles: BTreeMap<RoleName, ObservedRole> =
            names.into_iter().filter_map(|name| Some((name.clone(), self.role(&name)?))).collect();
        let mut sessions = Vec::new();
        for identity in identities.iter().filter(|_| look == Look::WantedAndSessions) {
            let (name, subject) = (identity.service_account.name.clone(), self.place.subject(identity));
            let session = if let Some(audience) = identity.binding.audience() {
                let Some(role) = roles.get(&self.place.role_name(identity)) else { continue };
                let token = self.token(&subject, audience).await.unwrap();
                self.assume(&role.arn, &token).await
            } else {
                let pods = self.pods();
                let pod = pods.iter().find(|used| used.service_account == name.as_str()).and_then(|used| used.pod.as_ref());
                let Some(pod) = pod else { continue };
                let token = self.token_of_pod(&subject, pod).await.unwrap();
                self.assume_for_pod(&CLUSTER.parse().unwrap(), &token).await
            };
            sessions.extend(session.ok().map(|session| (name, session)));
        }
        let by_association = !left && (identities.iter().any(|identity| identity.binding.audience().is_none()) || self.is_associated());
        let associations = if by_association { Some(Box::pin(self.associations(patience)).await?) } else { None };
        let left_behind = if left { self.below(&self.place.all_cluster_paths()) } else { Vec::new() };
        Ok(Observed {
            at: Date::since_1970(world.began.elapsed()),
            associations,
            pods: by_association.then(|| self.pods()),
            sessions: sessions.into_iter().collect(),
            provider: KnownProvider::Read(Some(ObservedProvider { audiences: ["sts.amazonaws.com".to_owned()].into(), is_own: false })),
            roles,
            service_accounts,
            uses: (look == Look::Leaving).then(|| self.pods()),
            left_behind: left_behind.iter().filter_map(|name| self.role(name)).collect(),
            // Every namespace is gone but the one that sweeps.
            limits: Limits { trust_policy: None, attached_policies: None, namespaces: left.then(|| [self.place.namespace.clone()].into()) },
            ..Observed::nothing(account())
        })
    }

    /// Nothing in this cluster refuses anything.
    async fn rehearse(&self, _: &AppliedServiceAccount) -> Result<(), CallError> {
        Ok(())
    }

    async fn limits(&self, _: &Patience) -> Result<Limits, Failed> {
        Ok(Limits { trust_policy: Some(8192), attached_policies: Some(10), namespaces: None })
    }

    async fn token(&self, subject: &Subject, audience: &Audience) -> Result<String, CallError> {
        let claims = json!({ "iss": ISSUER, "sub": subject.claim(), "aud": [audience.as_str()] }).to_string();
        Ok(format!("e30.{}.c2ln", BASE64URL.encode(claims)))
    }

    async fn agent(&self, _: &Patience) -> Result<KnownAgent, Failed> {
        Ok(KnownAgent::Runs("add-on".to_owned()))
    }

    /// The API server binds a token to a pod that is there and runs with this ServiceAccount.
    async fn token_of_pod(&self, subject: &Subject, pod: &PodRef) -> Result<String, CallError> {
        self.calls("kubernetes:create serviceaccounts/token");
        let there = |used: &Use| used.service_account == subject.service_account.as_str() && used.pod.as_ref() == Some(pod);
        if subject.namespace != self.place.namespace || !self.pods().iter().any(there) {
            return Err(CallError::new(ErrorKind::NotFound(Missing::Thing), "NotFound", format!("pods \"{}\" not found", pod.name)));
        }
        let (namespace, account) = (subject.namespace.as_str(), subject.service_account.as_str());
        let bound = json!({ "namespace": namespace, "serviceaccount": { "name": account }, "pod": { "name": pod.name, "uid": pod.uid } });
        let claims = json!({ "iss": ISSUER, "sub": subject.claim(), "aud": ["pods.eks.amazonaws.com"], "kubernetes.io": bound });
        Ok(format!("e30.{}.c2ln", BASE64URL.encode(claims.to_string())))
    }

    /// As EKS decides where the change has not arrived yet.
    async fn assume_for_pod(&self, cluster: &ClusterName, token: &str) -> Result<AssumedRole, CallError> {
        let world = &self.world;
        self.calls("eks-auth:AssumeRoleForPodIdentity");
        sleep(world.latency()).await;
        if world.goes_wrong(0.05) {
            return Err(throttled());
        }
        let claims: Value = serde_json::from_slice(&BASE64URL.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap();
        let text = |pointer: &str| claims.pointer(pointer).unwrap().as_str().unwrap();
        let bound = ["/kubernetes.io/namespace", "/kubernetes.io/serviceaccount/name", "/kubernetes.io/pod/name", "/kubernetes.io/pod/uid"];
        let [namespace, account, name, uid] = bound.map(text);
        let session =
            world.as_of(world.propagation.get(), |aws| aws.session_of_pod(world.time(), cluster.as_str(), namespace, account, (name, uid)));
        session.map(|session| AssumedRole::read(&session)).map_err(of_refused)
    }

    /// As STS decides where the change has not arrived yet.
    async fn assume(&self, role: &RoleArn, token: &str) -> Result<AssumedRole, CallError> {
        let world = &self.world;
        sleep(world.latency()).await;
        let claims = qovery_irsa::model::token::Claims::of(token).unwrap();
        let trust = world.as_of(world.propagation.get(), |aws| aws.roles().get(role.name.as_str()).map(|role| role.trust.clone()));
        let issuer = ISSUER.strip_prefix("https://").unwrap();
        let trust = trust.map(|trust| serde_json::from_str(&trust).unwrap()).unwrap_or_default();
        let provider = format!("arn:aws:iam::123456789012:oidc-provider/{issuer}");
        let (subject, others) = (std::slice::from_ref(&claims.subject), world.request_keys.borrow());
        if world.denied.get() || who_may_assume_under(&trust, &provider, issuer, &claims.audiences[0], subject, &others).is_empty() {
            let action = Some("sts:AssumeRoleWithWebIdentity".to_owned());
            let denial = Denial { action, by: DeniedBy::Unsaid, is_explicit: false, caller: None };
            Err(CallError::new(ErrorKind::Denied(denial), "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"))
        } else {
            Ok(AssumedRole::read(&format!("arn:aws:sts::123456789012:assumed-role/{}/session", role.name)))
        }
    }

    async fn carry_out(&self, action: &Action) -> Result<(), CallError> {
        let world = &self.world;
        world.calls.set(world.calls.get() + 1);
        self.calls(action.call());
        sleep(world.latency()).await;
        if world.goes_wrong(0.05) {
            return Err(throttled());
        }
        let written = match action {
            Action::CreateRole(role) => {
                let trust = role.trust.minified();
                let mut parameters =
                    vec![("RoleName", role.arn.name.as_str()), ("Path", role.arn.path.as_str()), ("AssumeRolePolicyDocument", &trust)];
                let seconds = role.settings.max_session_duration.to_string();
                parameters
                    .extend([("Description", role.settings.description.as_deref().unwrap_or_default()), ("MaxSessionDuration", &seconds)]);
                let tags = pairs(&role.tags);
                parameters.extend(tags.iter().map(|(key, value)| (key.as_str(), value.as_str())));
                world.write("CreateRole", &parameters)
            }
            Action::TagRole { role, tags } => {
                let tags = pairs(tags);
                let tags = tags.iter().map(|(key, value)| (key.as_str(), value.as_str()));
                world.write("TagRole", &[("RoleName", role.as_str())].into_iter().chain(tags).collect::<Vec<_>>())
            }
            Action::UntagRole { role, keys } => {
                let keys: Vec<(String, &str)> =
                    keys.iter().zip(1..).map(|(key, number)| (format!("TagKeys.member.{number}"), key.as_str())).collect();
                let keys = keys.iter().map(|(name, key)| (name.as_str(), *key));
                world.write("UntagRole", &[("RoleName", role.as_str())].into_iter().chain(keys).collect::<Vec<_>>())
            }
            Action::UpdateTrust { role, trust, .. } => {
                world.write("UpdateAssumeRolePolicy", &[("RoleName", role.as_str()), ("PolicyDocument", &trust.minified())])
            }
            Action::AttachPolicy { role, policy } => {
                world.write("AttachRolePolicy", &[("RoleName", role.as_str()), ("PolicyArn", policy.as_str())])
            }
            Action::DetachPolicy { role, policy } => {
                world.write("DetachRolePolicy", &[("RoleName", role.as_str()), ("PolicyArn", policy.as_str())])
            }
            Action::DeleteRole { role } => world.write("DeleteRole", &[("RoleName", role.as_str())]),
            Action::CreateAssociation(_)
            | Action::UpdateAssociation { .. }
            | Action::DeleteAssociation { .. }
            | Action::TagAssociation { .. }
            | Action::UntagAssociation { .. } => world.write_association(action),
            Action::ApplyServiceAccount(applied) => {
                let mut accounts = world.service_accounts.borrow_mut();
                let present = accounts.get(&applied.subject).cloned();
                let version = present.as_ref().map_or(0, |present| present.version);
                if applied.seen.as_ref().is_some_and(|seen| version > 0 && seen.version != version.to_string()) {
                    return Err(CallError::new(ErrorKind::AlreadyExists, "Conflict", "the object has been modified"));
                }
                let marks = present.map(|present| present.marks).unwrap_or_default();
                let account = ServiceAccount { version: version + 1, applied: (**applied).clone(), marks };
                accounts.insert(applied.subject.clone(), account);
                Ok(())
            }
            Action::MarkServiceAccount { subject, job, mark, uid, .. } => {
                let mut accounts = world.service_accounts.borrow_mut();
                let Some(account) = accounts.get_mut(subject) else {
                    assert!(uid.is_some() || mark.is_some(), "an apply of nothing would create");
                    let code = if mark.is_some() { ErrorKind::AlreadyExists } else { return Ok(()) };
                    return Err(CallError::new(code, "Conflict", "uid"));
                };
                account.version += 1;
                match mark {
                    Some(mark) => drop(account.marks.insert(job.clone(), *mark)),
                    None => drop(account.marks.remove(job)),
                }
                Ok(())
            }
            Action::DeleteServiceAccount { subject, seen } => {
                let mut accounts = world.service_accounts.borrow_mut();
                if accounts.get(subject).is_some_and(|present| present.version.to_string() != seen.version) {
                    return Err(CallError::new(ErrorKind::AlreadyExists, "Conflict", "the object has been modified"));
                }
                accounts.remove(subject);
                Ok(())
            }
            other => panic!("a call nobody expected: {other}"),
        };
        // As the adapters: nothing to take away is as good.
        let gone = matches!(
            action,
            Action::UntagRole { .. } | Action::DetachPolicy { .. } | Action::DeleteRole { .. } | Action::DeleteAssociation { .. }
        );
        match written {
            Err(error) if gone && error.kind.is_missing() => Ok(()),
            Ok(()) if world.goes_wrong(0.03) => Err(CallError::new(ErrorKind::Transient, "NoConnection", "the answer was lost")),
            written => written,
        }
    }
}

fn throttled() -> CallError {
    CallError::new(ErrorKind::Throttled, "Throttling", "Rate exceeded")
}

fn pairs(tags: &BTreeMap<String, String>) -> Vec<(String, String)> {
    tags.iter()
        .zip(1..)
        .flat_map(|((key, value), number)| {
            [(format!("Tags.member.{number}.Key"), key.clone()), (format!("Tags.member.{number}.Value"), value.clone())]
        })
        .collect()
}

pub(crate) fn identity(scope: Scope, origin: RoleOrigin) -> Identity {
    Identity {
        service_account: ServiceAccountSpec {
            name: "app".parse().unwrap(),
            token_expiration: None,
            labels: [].into(),
            annotations: [].into(),
            automount: None,
            keeper: Keeper::Tool,
        },
        role: RoleSpec { origin, scope, extra_subjects: BTreeSet::new(), conditions: Conditions::default() },
        binding: Binding::default(),
        services: BoundServices::default(),
    }
}

pub(crate) fn given() -> Identity {
    identity(Scope::Shared { retain: false }, RoleOrigin::Given("arn:aws:iam::123456789012:role/given".parse().unwrap()))
}

pub(crate) fn shared() -> Identity {
    let made = ManagedRole {
        name: "together".parse().ok(),
        path: "/qovery/".parse().unwrap(),
        attributes: RoleAttributes {
            policies: ["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess".parse().unwrap()].into(),
            ..RoleAttributes::default()
        },
    };
    identity(Scope::Shared { retain: false }, RoleOrigin::Managed(Box::new(made)))
}

/// The same role, by EKS Pod Identity.
pub(crate) fn associated() -> Identity {
    Identity { binding: Binding::PodIdentity(Box::default()), ..shared() }
}

pub(crate) fn place(number: usize) -> Place {
    Place {
        namespace: format!("z{number:0>8}-env").parse().unwrap(),
        issuer: ISSUER.parse().unwrap(),
        cluster: CLUSTER.parse().ok(),
        region: "eu-west-3".parse().ok(),
        cluster_account: None,
        paths: ["/qovery/".parse().unwrap()].into(),
        job: format!("{number:0>8x}").parse().ok(),
        project: None,
    }
}

/// The job's own loop, to its end.
pub(crate) async fn run(world: Rc<World>, identity: Identity, place: Place, goal: Goal, settle: Duration) -> Result<(), String> {
    run_all(world, &[identity], place, goal, settle).await.map(drop)
}

/// The same with these identities.
pub(crate) async fn run_all(
    world: Rc<World>,
    identities: &[Identity],
    place: Place,
    goal: Goal,
    settle: Duration,
) -> Result<Converged, String> {
    run_knowing(world, identities, place, goal, settle, Jobs::Unknown).await
}

/// The same, where so much is known of the jobs that exist.
pub(crate) async fn run_knowing(
    world: Rc<World>,
    identities: &[Identity],
    place: Place,
    goal: Goal,
    settle: Duration,
    jobs: Jobs,
) -> Result<Converged, String> {
    let cloud = Reached { world, place };
    let (_interrupt, interrupted) = watch::channel(false);
    let patience = Patience::new(Duration::from_mins(30), interrupted);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut report = Report::new("start", Format::Text, &mut out, &mut err);
    let work = Work { jobs, ..work(goal, Look::of(goal, Proof::Off), identities, &cloud, &patience, settle) };
    work.converge(&mut report).await.map_err(|error| error.to_string())
}

fn work<'a>(
    goal: Goal,
    look: Look,
    identities: &'a [Identity],
    cloud: &'a Reached,
    patience: &'a Patience,
    settle: Duration,
) -> Work<'a, Reached> {
    Work { goal, look, identities, prune: Prune::On, jobs: Jobs::Unknown, world: cloud, patience, settle }
}

/// The job's own loop and its proof: how long the proof took.
pub(crate) async fn run_and_prove(world: Rc<World>, identity: Identity, place: Place, limit: Duration) -> Result<Duration, String> {
    let cloud = Reached { world, place };
    let (_interrupt, interrupted) = watch::channel(false);
    let patience = Patience::new(limit, interrupted);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut report = Report::new("start", Format::Text, &mut out, &mut err);
    let identities = [identity];
    let proof = Proof::Required;
    let look = Look::of(Goal::Start, proof);
    let work = work(Goal::Start, look, &identities, &cloud, &patience, Duration::ZERO);
    let Converged { desired, observed, applied, .. } = work.converge(&mut report).await.map_err(|error| error.to_string())?;
    let started = Instant::now();
    let proven = prove(&identities, &desired, &observed, &applied, &cloud, &patience, proof, &mut report).await;
    proven.map(|_| started.elapsed()).map_err(|failed| format!("{}\nhint: {}", failed[0], failed[0].hint().unwrap_or_default()))
}
