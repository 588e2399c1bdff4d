//! fakecloud's IAM and STS, in this process and on loopback, with signatures verified and the permissions of callers enforced.
//!
//! The answers are fakecloud's. What stands around it here is the wiring that its own server does, and the three things that
//! fakecloud leaves out when it asks whether a caller may do something; each says so.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use axum::{Extension, Router};
use fakecloud_core::{
    auth::{IamAction, IamMode, ResourcePolicyProvider},
    dispatch::{DispatchConfig, dispatch},
    multi_account::MultiAccountState,
    quota::{FixedQuotas, IAM_SERVICE_CODE, IAM_SUMMARY_QUOTAS},
    registry::ServiceRegistry,
    service::{AwsRequest, AwsResponse, AwsService, AwsServiceError},
};
use fakecloud_iam::{
    IamState, SharedIamState, credential_resolver::IamCredentialResolver, iam_service::IamService,
    policy_evaluator::IamPolicyEvaluatorImpl, sts_service::StsService,
};
use parking_lot::RwLock;

use crate::failure::{Doing as _, Failure};

const ACCOUNT: &str = "123456789012";
pub(crate) const REGION: &str = "eu-west-3";
/// fakecloud takes any key that begins so as the account's root.
pub(crate) const ADMIN_KEY: &str = "test";

/// Who asked for what, in order.
type Log = Arc<Mutex<Vec<(String, String)>>>;
/// A role that goes when this is about to be done to it.
type Loss = Arc<Mutex<Option<(String, String)>>>;

/// The servers; they end with the process.
pub(crate) struct ThirdPartyIam {
    pub(crate) url: String,
    log: Log,
    loss: Loss,
}

impl ThirdPartyIam {
    /// Starts them on a port of their own.
    ///
    /// # Errors
    /// There is no port.
    pub(crate) async fn start() -> Result<Self, Failure> {
        let state: SharedIamState = Arc::new(RwLock::new(MultiAccountState::<IamState>::new(ACCOUNT, REGION, "")));
        let quotas = IAM_SUMMARY_QUOTAS
            .iter()
            .fold(FixedQuotas::default(), |quotas, quota| quotas.with(IAM_SERVICE_CODE, quota.quota_code, quota.default));
        let (log, loss) = (Log::default(), Loss::default());
        let iam = IamService::new(state.clone()).with_quota_provider(Some(Arc::new(quotas)));
        let mut registry = ServiceRegistry::new();
        registry.register(Arc::new(WithPaths { iam, state: state.clone(), log: log.clone(), loss: loss.clone() }));
        registry.register(Arc::new(StsService::new(state.clone())));
        let mut config = DispatchConfig::new(REGION, ACCOUNT);
        config.verify_sigv4 = true;
        config.iam_mode = IamMode::Strict;
        config.credential_resolver = Some(IamCredentialResolver::shared(state.clone()));
        config.policy_evaluator = Some(IamPolicyEvaluatorImpl::shared(state));
        config.resource_policy_provider = Some(Arc::new(TokensAreEnough));

        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.doing(|| "cannot listen on loopback".to_owned())?;
        let address = listener.local_addr().doing(|| "cannot listen on loopback".to_owned())?;
        let app = Router::new().fallback(dispatch).layer(Extension(Arc::new(registry))).layer(Extension(Arc::new(config)));
        tokio::spawn(async move { axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await });
        Ok(Self { url: format!("http://{address}"), log, loss })
    }

    /// Deletes a role when this action is next asked for it, before it is decided whether that is allowed: as if somebody else had been faster.
    pub(crate) fn lose_role_before(&self, role: &str, action: &str) {
        *self.loss.lock().unwrap_or_else(PoisonError::into_inner) = Some((role.to_owned(), action.to_owned()));
    }

    /// The calls to IAM that were let in and could have changed something, of this access key, since the last question.
    pub(crate) fn take_writes(&self, key: &str) -> Vec<String> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let writes = log.drain(..).filter(|(caller, action)| caller == key && !action.starts_with("Get") && !action.starts_with("List"));
        writes.map(|(_, action)| action).collect()
    }
}

/// Nobody signs `AssumeRoleWithWebIdentity`: the token is the credential, and the trust policy decides. fakecloud's strict mode asks
/// for a resource policy that lets the caller try; what it then decides by the trust policy stays its own.
struct TokensAreEnough;

impl ResourcePolicyProvider for TokensAreEnough {
    fn resource_policy(&self, service: &str, _: &str) -> Option<String> {
        let policy = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRoleWithWebIdentity", "Resource": "*"}]}"#;
        (service == "sts").then(|| policy.to_owned())
    }
}

/// fakecloud asks for permissions on `role/NAME`. AWS asks for them on the ARN of the role, which has its path, and on `role/NAME` only
/// where there is no such role; a policy that ends in `role/qovery/*` means nothing without that. And the key that
/// `iam-policy-with-boundary.json` asks for is not among those that fakecloud offers.
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html>
struct WithPaths {
    iam: IamService,
    state: SharedIamState,
    log: Log,
    loss: Loss,
}

impl WithPaths {
    fn lose(&self, name: &str, action: &str) {
        let mut loss = self.loss.lock().unwrap_or_else(PoisonError::into_inner);
        if loss.as_ref().is_some_and(|(role, before)| role == name && before == action) {
            *loss = None;
            if let Some(account) = self.state.write().get_mut(ACCOUNT) {
                account.roles.remove(name);
                account.role_policies.remove(name);
                account.role_inline_policies.remove(name);
            }
        }
    }
}

#[async_trait]
impl AwsService for WithPaths {
    fn service_name(&self) -> &str {
        self.iam.service_name()
    }

    async fn handle(&self, request: AwsRequest) -> Result<AwsResponse, AwsServiceError> {
        let caller = request.access_key_id.clone().unwrap_or_default();
        self.log.lock().unwrap_or_else(PoisonError::into_inner).push((caller, request.action.clone()));
        self.iam.handle(request).await
    }

    fn supported_actions(&self) -> &[&str] {
        self.iam.supported_actions()
    }

    fn iam_enforceable(&self) -> bool {
        self.iam.iam_enforceable()
    }

    fn iam_action_for(&self, request: &AwsRequest) -> Option<IamAction> {
        let mut action = self.iam.iam_action_for(request)?;
        let Some(name) = request.query_params.get("RoleName") else { return Some(action) };
        self.lose(name, action.action);
        if action.action == "CreateRole" {
            let path = request.query_params.get("Path").map_or("/", String::as_str);
            action.resource = format!("arn:aws:iam::{ACCOUNT}:role{path}{name}");
        } else if let Some(role) = self.state.read().get(ACCOUNT).and_then(|account| account.roles.get(name)) {
            action.resource.clone_from(&role.arn);
        }
        Some(action)
    }

    // `iam_actions_for` is left as it is: with it fakecloud would name the role without its path again.

    fn iam_condition_keys_for(&self, request: &AwsRequest, action: &IamAction) -> BTreeMap<String, Vec<String>> {
        let mut keys = self.iam.iam_condition_keys_for(request, action);
        // Of the request where it sets the boundary, otherwise of the role.
        let boundary = match action.action {
            "CreateRole" | "PutRolePermissionsBoundary" => request.query_params.get("PermissionsBoundary").cloned(),
            _ => {
                let state = self.state.read();
                let role = request.query_params.get("RoleName").and_then(|name| state.get(ACCOUNT)?.roles.get(name));
                role.and_then(|role| role.permissions_boundary.clone())
            }
        };
        if let Some(boundary) = boundary {
            keys.insert("iam:permissionsboundary".to_owned(), vec![boundary]);
        }
        keys
    }

    fn iam_resource_in_caller_account(&self, request: &AwsRequest) -> bool {
        self.iam.iam_resource_in_caller_account(request)
    }

    fn resource_tags_for(&self, resource: &str) -> Option<std::collections::HashMap<String, String>> {
        self.iam.resource_tags_for(resource)
    }

    fn request_tags_from(&self, request: &AwsRequest, action: &str) -> Option<std::collections::HashMap<String, String>> {
        self.iam.request_tags_from(request, action)
    }
}
