//! Who the job is for AWS: region, the SDK's default chain of credentials, a role assumed on top of it, endpoints.

use std::sync::{Arc, OnceLock};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, environment::EnvironmentVariableRegionProvider, meta::region::RegionProviderChain,
    profile::ProfileFileRegionProvider, retry::RetryConfig, stalled_stream_protection::StalledStreamProtectionConfig,
    sts::AssumeRoleProvider,
};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use thiserror::Error;

use super::error;
use crate::{
    clients::{
        call::{CallError, CredentialFault, ErrorKind, TokenFault},
        http::SdkHttpClient,
    },
    model::{
        arn::{Account, ExternalId, RoleArn},
        names,
        sessions::AssumedRole,
    },
};

/// Why the job cannot speak to AWS.
#[derive(Debug, Error)]
pub enum AwsProblem {
    /// It is not known which region to speak to.
    #[error("no AWS region is known")]
    NoRegion,
}

/// The AWS of the job.
#[derive(Clone, Debug)]
pub struct Aws {
    pub(super) iam: aws_sdk_iam::Client,
    sts: aws_sdk_sts::Client,
    /// With the job's own credentials, also where a role is assumed for IAM: the cluster is theirs.
    pub(super) eks: aws_sdk_eks::Client,
    pub(super) eks_auth: aws_sdk_eksauth::Client,
    pub(super) own: SdkConfig,
    pub(super) region: String,
    /// The account of the job's own role, once STS has given a session of it.
    session: Arc<OnceLock<Account>>,
}

impl Aws {
    /// Sets up the clients; nothing is sent, but profile files are read.
    ///
    /// # Errors
    /// No region is known.
    pub async fn new(
        region: Option<&names::Region>,
        assume_role: Option<&RoleArn>,
        external_id: Option<&ExternalId>,
        http: &reqwest::Client,
    ) -> Result<Self, AwsProblem> {
        // Left to itself the SDK would go on to ask the machine, and wait for it where there is none. A job of Qovery is told.
        let region = RegionProviderChain::first_try(region.map(|region| Region::new(region.as_str().to_owned())))
            .or_else(EnvironmentVariableRegionProvider::new())
            .or_else(ProfileFileRegionProvider::new());
        let region = region.region().await.ok_or(AwsProblem::NoRegion)?;
        let loader = aws_config::defaults(BehaviorVersion::latest())
            .region(region.clone())
            .http_client(SdkHttpClient(http.clone()))
            // For what the providers of credentials ask: nobody else sees these calls.
            .retry_config(RetryConfig::standard().with_max_attempts(5))
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        let own = loader.load().await;
        let session = Arc::default();
        let own = match (own.credentials_provider(), web_identity_role()) {
            (Some(provider), Some(role)) if assume_role.is_none() => {
                let provider = Noting { provider, role, session: Arc::clone(&session) };
                own.to_builder().credentials_provider(SharedCredentialsProvider::new(provider)).build()
            }
            _ => own,
        };
        let acting = match assume_role {
            None => own.clone(),
            Some(role) => {
                let mut provider = AssumeRoleProvider::builder(role.to_string()).session_name("qovery-irsa").configure(&own);
                if let Some(id) = external_id {
                    provider = provider.external_id(id.as_str());
                }
                let provider = provider.build().await;
                own.to_builder().credentials_provider(SharedCredentialsProvider::new(provider)).build()
            }
        };
        // One rule for trying again, `Patience::call`, for what the job itself asks.
        let iam = aws_sdk_iam::config::Builder::from(&acting).retry_config(RetryConfig::disabled()).build();
        let sts = aws_sdk_sts::config::Builder::from(&acting).retry_config(RetryConfig::disabled()).build();
        let eks_auth = aws_sdk_eksauth::config::Builder::from(&own).retry_config(RetryConfig::disabled()).build();
        let eks = aws_sdk_eks::config::Builder::from(&own).retry_config(RetryConfig::disabled()).build();
        Ok(Self {
            iam: aws_sdk_iam::Client::from_conf(iam),
            sts: aws_sdk_sts::Client::from_conf(sts),
            eks: aws_sdk_eks::Client::from_conf(eks),
            eks_auth: aws_sdk_eksauth::Client::from_conf(eks_auth),
            own,
            region: region.as_ref().to_owned(),
            session,
        })
    }

    /// The account that the credentials act in. Nobody is asked where STS has said it with the session of the job's own web identity.
    ///
    /// # Errors
    /// STS does not answer, or in an unknown form.
    pub async fn account(&self) -> Result<Account, CallError> {
        match self.session.get() {
            Some(account) => Ok(account.clone()),
            None => account_of(&self.sts).await,
        }
    }

    /// The account of the job's own credentials, also where a role is assumed for IAM: that of the cluster.
    ///
    /// # Errors
    /// STS does not answer, or in an unknown form.
    pub async fn own_account(&self) -> Result<Account, CallError> {
        let config = aws_sdk_sts::config::Builder::from(&self.own).retry_config(RetryConfig::disabled()).build();
        account_of(&aws_sdk_sts::Client::from_conf(config)).await
    }

    /// The region of the cluster.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// `AssumeRoleWithWebIdentity`, as a pod does it: with nothing but the token. Answers the ARN of the session's role and session.
    /// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>
    ///
    /// # Errors
    /// STS refuses or does not answer.
    pub async fn assume_with_token(&self, role: &RoleArn, token: &str) -> Result<AssumedRole, CallError> {
        let call = self.sts.assume_role_with_web_identity().role_arn(role.to_string()).role_session_name("qovery-irsa-proof");
        let answer = call.web_identity_token(token).duration_seconds(900).send().await;
        let session = answer.map_err(|error| of_token(error::of_sdk(&error)))?;
        // The credentials are dropped unread: that STS gave them is the proof.
        Ok(AssumedRole::read(session.assumed_role_user().map(aws_sdk_sts::types::AssumedRoleUser::arn).unwrap_or_default()))
    }

    /// The job's own credentials, to sign the token for the cluster.
    pub(super) async fn credentials(&self) -> Result<aws_credential_types::Credentials, CallError> {
        let none = || CallError::new(ErrorKind::Credentials(CredentialFault::None), "NoCredentials", "no provider of credentials");
        let provider = self.own.credentials_provider().ok_or_else(none)?;
        provider.provide_credentials().await.map_err(|error| error::no_credentials(&error))
    }
}

/// The role of the job's own web identity, where the variables name one.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-assume-role-credentials.html>
fn web_identity_role() -> Option<RoleArn> {
    std::env::var_os("AWS_WEB_IDENTITY_TOKEN_FILE").filter(|file| !file.is_empty())?;
    std::env::var("AWS_ROLE_ARN").ok()?.parse().ok()
}

/// Hands credentials on, and notes the account of the role if they are a session of its account.
#[derive(Debug)]
struct Noting {
    provider: SharedCredentialsProvider,
    role: RoleArn,
    session: Arc<OnceLock<Account>>,
}

impl ProvideCredentials for Noting {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let credentials = self.provider.provide_credentials().await?;
            let is_session = credentials.session_token().is_some();
            if is_session && credentials.account_id().is_some_and(|id| id.as_str() == self.role.account.id.as_str()) {
                self.session.get_or_init(|| self.role.account.clone());
            }
            Ok(credentials)
        })
    }
}

async fn account_of(sts: &aws_sdk_sts::Client) -> Result<Account, CallError> {
    let identity = sts.get_caller_identity().send().await.map_err(|error| error::of_sdk(&error))?;
    Account::of_arn(identity.arn().unwrap_or_default())
        .map_err(|problem| CallError::new(ErrorKind::Other, "OddCaller", problem.to_string()))
}

/// The call shows no credentials but the token: what has expired is that.
fn of_token(error: CallError) -> CallError {
    match error.kind {
        ErrorKind::Credentials(CredentialFault::Expired) => CallError { kind: ErrorKind::Token(TokenFault::Expired), ..error },
        _ => error,
    }
}
