//! What tests may arrange in the account and read from it, past the API and its rules.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::Value;

use super::{
    Aws, Cluster, Credentials, OidcProvider, Policy, Quotas, Role, User,
    answer::Body,
    authorize,
    credentials::{self, ADMIN_NAME, Caller, CallerKind},
    eks::{self, state::EksWorld},
    eks_auth,
    error::AwsError,
    iam,
    query::Parameters,
    state,
    target::Target,
};
use crate::{keys::ClusterKey, service::Request};

impl Aws {
    /// An empty account in partition `aws`.
    #[must_use]
    pub fn new(account: &str, region: &str) -> Self {
        Self {
            account: account.to_owned(),
            region: region.to_owned(),
            partition: "aws".to_owned(),
            roles: BTreeMap::new(),
            roles_elsewhere: BTreeMap::new(),
            providers: BTreeMap::new(),
            policies: BTreeMap::new(),
            users: BTreeMap::new(),
            clusters: BTreeMap::new(),
            issuers: BTreeMap::new(),
            request_keys: BTreeMap::new(),
            denies_web_identity: false,
            eks_world: EksWorld::default(),
            quotas: Quotas::default(),
            equivalent_documents: false,
            exact_case: false,
            serial: 0,
            requests: 0,
        }
    }

    /// The keys of the administrator, who may do everything: user `admin` of the account.
    #[must_use]
    pub fn admin() -> Credentials {
        Credentials::admin()
    }

    /// The administrator's ARN.
    #[must_use]
    pub fn admin_arn(&self) -> String {
        self.iam_arn(&format!("user/{ADMIN_NAME}"))
    }

    /// The account id.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// `aws`, `aws-cn` or `aws-us-gov`. To be set before anything is made.
    pub fn set_partition(&mut self, partition: &str) {
        partition.clone_into(&mut self.partition);
    }

    /// From now on IAM shows documents in an equivalent form, not as they were written.
    pub fn show_equivalent_documents(&mut self, yes: bool) {
        self.equivalent_documents = yes;
    }

    /// Whether a role is found only by its name as written. AWS documents that names are unique ignoring case,
    /// not how they are looked up; by default case is ignored in both.
    pub fn look_up_exact_case(&mut self, yes: bool) {
        self.exact_case = yes;
    }

    /// Tells STS a key of an issuer (with `https://`); a second key is accepted beside the first.
    pub fn trust_issuer(&mut self, issuer: &str, key: ClusterKey) {
        self.issuers.entry(issuer.to_owned()).or_default().push(key);
    }

    /// What the requests of those who show a token have as condition key, as `aws:SourceIp`; without values the key is absent. The region
    /// and the name of the session are there unless they are set.
    pub fn set_request_key(&mut self, key: &str, values: &[&str]) {
        self.request_keys.insert(key.to_lowercase(), values.iter().map(|value| (*value).to_owned()).collect());
    }

    /// From now on a policy of the organization denies every session by a token: nothing in the account shows it.
    pub fn deny_web_identity(&mut self, yes: bool) {
        self.denies_web_identity = yes;
    }

    /// Forgets the keys of an issuer: STS cannot fetch them any more.
    pub fn forget_issuer(&mut self, issuer: &str) {
        self.issuers.remove(issuer);
    }

    /// An active cluster. The issuer begins with `https://`.
    pub fn add_cluster(&mut self, name: &str, endpoint: &str, certificate_authority_pem: &str, issuer: &str) {
        let cluster = Cluster {
            name: name.to_owned(),
            endpoint: endpoint.to_owned(),
            certificate_authority_pem: certificate_authority_pem.to_owned(),
            issuer: issuer.to_owned(),
            status: "ACTIVE".to_owned(),
            version: "1.33".to_owned(),
            role_arn: self.iam_arn(&format!("role/{name}-control-plane")),
            created: SystemTime::UNIX_EPOCH,
            authentication_mode: "API_AND_CONFIG_MAP".to_owned(),
            auto_mode: false,
            addons: BTreeMap::new(),
            access_entries: BTreeMap::new(),
            associations: BTreeMap::new(),
            recently_deleted: BTreeMap::new(),
        };
        self.clusters.insert(name.to_owned(), cluster);
    }

    /// A user with one access key, who may do what the policy allows; without one, nothing.
    pub fn add_user(&mut self, name: &str, policy: Option<Value>) -> Credentials {
        let created = SystemTime::UNIX_EPOCH;
        if !self.users.contains_key(name) {
            let user = User { name: name.to_owned(), id: self.unique_id("AIDA"), created, keys: BTreeMap::new(), inline: BTreeMap::new() };
            self.users.insert(name.to_owned(), user);
        }
        let access_key_id = self.unique_id("AKIA").chars().take(20).collect::<String>();
        let secret_access_key = credentials::user_secret(&access_key_id);
        if let Some(user) = self.users.get_mut(name) {
            user.keys.insert(access_key_id.clone(), secret_access_key.clone());
            if let Some(policy) = policy {
                user.inline.insert("given".to_owned(), policy.to_string());
            }
        }
        Credentials { access_key_id, secret_access_key, session_token: None }
    }

    /// From now on every user may do what this document allows and nothing else. The administrator is never limited.
    #[allow(clippy::needless_pass_by_value, reason = "a caller writes the document in place")]
    pub fn require_policy(&mut self, document: Value) {
        let text = document.to_string();
        for user in self.users.values_mut() {
            user.inline = BTreeMap::from([("required".to_owned(), text.clone())]);
        }
    }

    /// The roles by name.
    #[must_use]
    pub fn roles(&self) -> &BTreeMap<String, Role> {
        &self.roles
    }

    /// A role that somebody made by hand: this trust policy, no tags, no policies.
    pub fn add_role(&mut self, name: &str, path: &str, trust: &str) {
        let role = made_by_hand(name, path, trust, self.roles.len());
        self.roles.insert(name.to_owned(), role);
    }

    /// A role of another account, which only its sessions make known here.
    pub fn add_role_elsewhere(&mut self, arn: &str, trust: &str) {
        let name = arn.rsplit('/').next().unwrap_or_default();
        let role = made_by_hand(name, "/", trust, self.roles_elsewhere.len());
        self.roles_elsewhere.insert(arn.to_owned(), role);
    }

    /// From now on EKS sees roles and trust policies that late; for as long, an association is in effect as it was before it was made, changed
    /// or deleted, and a deleted one stands in the way of another.
    pub fn delay_eks(&mut self, delay: Duration) {
        self.eks_world.delay = delay;
    }

    /// Whether lists and descriptions show associations as late as they take effect. They show them at once unless a test says otherwise.
    pub fn show_associations_late(&mut self, yes: bool) {
        self.eks_world.shows_associations_late = yes;
    }

    /// Whether EKS Pod Identity takes a token of a pod that has no node. It does unless a test says otherwise.
    pub fn take_unscheduled_pods(&mut self, yes: bool) {
        self.eks_world.takes_unscheduled_pods = yes;
    }

    /// A role, to be changed behind the API's back.
    pub fn role_mut(&mut self, name: &str) -> Option<&mut Role> {
        let key = self.role_key(name)?;
        self.roles.get_mut(&key)
    }

    /// Performs one operation of IAM as the administrator, past HTTP and signatures, with its parameters as they stand in a form:
    /// for tests whose time is not the machine's. Errors are status, code and message.
    ///
    /// # Errors
    /// What IAM would refuse, or 501 for an operation that is not implemented.
    pub fn call(&mut self, operation: &str, parameters: &[(&str, &str)]) -> Result<(), (u16, String, String)> {
        self.call_at(SystemTime::now(), operation, parameters)
    }

    /// The same at that time.
    ///
    /// # Errors
    /// What IAM would refuse, or 501 for an operation that is not implemented.
    pub fn call_at(&mut self, now: SystemTime, operation: &str, parameters: &[(&str, &str)]) -> Result<(), (u16, String, String)> {
        let Some(perform) = iam::operation(operation) else {
            return Err((501, "NotImplemented".to_owned(), operation.to_owned()));
        };
        perform(self, &Parameters::of_pairs(parameters), now).map(drop).map_err(refused)
    }

    /// Performs one operation of EKS as the administrator, past HTTP and signatures, with the path and query it has and its body: for tests
    /// whose time is not the machine's. Errors are status, code and message.
    ///
    /// # Errors
    /// What EKS would refuse, or 501 for what is not implemented.
    pub fn call_eks(&mut self, now: SystemTime, method: &Method, path: &str, body: &Value) -> Result<Value, (u16, String, String)> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let request = Request { method: method.clone(), path: path.to_owned(), query: query.to_owned(), headers: HeaderMap::new(), body };
        let caller = Caller { arn: self.admin_arn(), user_id: String::new(), kind: CallerKind::Admin };
        let outcome = eks::perform(self, &caller, &Target::of(&request), &request, now).map_err(refused)?;
        Ok(match outcome.body {
            Body::Json(body) => body,
            Body::Xml(_) => Value::Null,
        })
    }

    /// The same as one of the users, with the permissions of that user.
    ///
    /// # Errors
    /// What IAM would refuse, or 501 for an operation that is not implemented.
    pub fn call_as(&mut self, user: &str, operation: &str, parameters: &[(&str, &str)]) -> Result<(), (u16, String, String)> {
        let caller = Caller {
            arn: self.iam_arn(&format!("user/{user}")),
            user_id: self.users.get(user).map(|user| user.id.clone()).unwrap_or_default(),
            kind: CallerKind::User(user.to_owned()),
        };
        authorize::iam(self, &caller, operation, &Parameters::of_pairs(parameters)).map_err(refused)?;
        self.call(operation, parameters)
    }

    /// Whether a session of a role may make a call of IAM: by the role's policies and boundary, and nothing is done. Errors are status, code
    /// and message.
    ///
    /// # Errors
    /// What IAM would refuse for want of a permission.
    pub fn permits(&self, role_arn: &str, operation: &str, parameters: &[(&str, &str)]) -> Result<(), (u16, String, String)> {
        authorize::iam(self, &Self::session_of(role_arn), operation, &Parameters::of_pairs(parameters)).map_err(refused)
    }

    /// The same of any action on a resource, with these condition keys: for services that are not here.
    ///
    /// # Errors
    /// What AWS would refuse for want of a permission.
    pub fn permits_action(&self, role_arn: &str, action: &str, resource: &str, keys: &[(&str, &str)]) -> Result<(), (u16, String, String)> {
        let mut matter = authorize::Matter::of(resource);
        matter.context.extend(keys.iter().map(|(key, value)| (key.to_lowercase(), vec![(*value).to_owned()])));
        authorize::check(self, &Self::session_of(role_arn), action, &matter).map_err(refused)
    }

    fn session_of(role_arn: &str) -> Caller {
        let role = role_arn.rsplit('/').next().unwrap_or_default();
        let arn = format!("{}/session", role_arn.replace(":iam::", ":sts::").replace(":role/", ":assumed-role/"));
        let kind = CallerKind::Session { role_arn: role_arn.to_owned(), policy: None, tags: BTreeMap::new() };
        Caller { arn, user_id: format!("{role}:session"), kind }
    }

    /// What EKS Pod Identity gives a pod, by its name and uid: the ARN of the session. No token is asked for. Errors are as those of
    /// [`call_eks`](Self::call_eks).
    ///
    /// # Errors
    /// Why the pod gets none.
    pub fn session_of_pod(
        &self,
        now: SystemTime,
        cluster: &str,
        namespace: &str,
        service_account: &str,
        pod: (&str, &str),
    ) -> Result<String, (u16, String, String)> {
        eks_auth::session_of_pod(self, now, cluster, [namespace, service_account, pod.0, pod.1]).map_err(refused)
    }

    /// Whether the policies of a user allow an action on a resource, with these condition keys: for calls past the API.
    #[must_use]
    pub fn allows(&self, user: &str, action: &str, resource: &str, keys: &[(&str, &str)]) -> bool {
        let mut matter = authorize::Matter::of(resource);
        matter.context.extend(keys.iter().map(|(key, value)| (key.to_lowercase(), vec![(*value).to_owned()])));
        let documents = authorize::user_documents(self, user);
        authorize::judge_documents(&documents, None, action, &matter) == authorize::Verdict::Allowed
    }

    /// The OIDC providers by issuer without `https://`.
    #[must_use]
    pub fn providers(&self) -> &BTreeMap<String, OidcProvider> {
        &self.providers
    }

    /// An OIDC provider (by issuer without `https://`), to be changed behind the API's back.
    pub fn provider_mut(&mut self, url: &str) -> Option<&mut OidcProvider> {
        self.providers.get_mut(url)
    }

    /// The managed policies of the account by ARN.
    #[must_use]
    pub fn policies(&self) -> &BTreeMap<String, Policy> {
        &self.policies
    }

    /// The users by name, without the administrator.
    #[must_use]
    pub fn users(&self) -> &BTreeMap<String, User> {
        &self.users
    }

    /// The clusters by name.
    #[must_use]
    pub fn clusters(&self) -> &BTreeMap<String, Cluster> {
        &self.clusters
    }

    /// A cluster, to be changed behind the API's back.
    pub fn cluster_mut(&mut self, name: &str) -> Option<&mut Cluster> {
        self.clusters.get_mut(name)
    }

    /// The limits, to be set.
    pub fn quotas_mut(&mut self) -> &mut Quotas {
        &mut self.quotas
    }

    /// Everything that a client may have made, without ids and dates: equal for equal end states.
    #[must_use]
    pub fn state(&self) -> Value {
        state::dump(&self.roles, &self.providers, &self.policies, &self.clusters)
    }
}

fn refused(error: AwsError) -> (u16, String, String) {
    (error.status, error.code.to_owned(), error.message)
}

fn made_by_hand(name: &str, path: &str, trust: &str, number: usize) -> Role {
    Role {
        name: name.to_owned(),
        path: path.to_owned(),
        id: format!("AROA{number:0>17}"),
        created: SystemTime::UNIX_EPOCH,
        trust: trust.to_owned(),
        previous_trust: None,
        description: None,
        max_session_duration: 3600,
        tags: BTreeMap::new(),
        attached: BTreeSet::new(),
        inline: BTreeMap::new(),
        boundary: None,
        instance_profiles: BTreeSet::new(),
        last_used: None,
    }
}
