//! AWS as an administrator of the account sees it: what the scenarios put there, look at and take away.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, stalled_stream_protection::StalledStreamProtectionConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_iam::error::ProvideErrorMetadata as _;
use qovery_irsa::clients::http::SdkHttpClient;
use serde_json::{Value, json};

use crate::failure::{Doing as _, Failure};

/// A role with everything that the job writes, documents by meaning.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Role {
    pub(crate) arn: String,
    pub(crate) trust: Value,
    pub(crate) description: Option<String>,
    pub(crate) max_session: Option<i32>,
    pub(crate) boundary: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) attached: BTreeSet<String>,
    pub(crate) inline: BTreeMap<String, Value>,
}

/// An access key.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// What STS said to a token.
#[derive(Debug)]
pub(crate) enum Assumed {
    /// The ARN of the session.
    Session(String),
    /// The code of the error.
    Refused(String),
}

pub(crate) struct Aws {
    pub(crate) iam: aws_sdk_iam::Client,
    sts: aws_sdk_sts::Client,
    config: SdkConfig,
    pub(crate) account: String,
    pub(crate) region: String,
}

fn document(text: &str) -> Result<Value, Failure> {
    // Documents come percent-encoded; some servers that are not AWS leave them plain.
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8_lossy();
    serde_json::from_str(&decoded).doing(|| format!("`{decoded}` is no document"))
}

impl Aws {
    /// With the usual variables and profiles, or at this address with this key.
    ///
    /// # Errors
    /// No region is known, or STS does not say whose account it is.
    pub(crate) async fn new(given: Option<(&str, &str, &str)>) -> Result<Self, Failure> {
        let http = qovery_irsa::clients::http::client().doing(|| "cannot set up the HTTP client".to_owned())?;
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(SdkHttpClient(http))
            .retry_config(RetryConfig::standard().with_max_attempts(8))
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some((url, region, key)) = given {
            let credentials = Credentials::from_keys(key, key, None);
            loader = loader.endpoint_url(url).region(Region::new(region.to_owned())).credentials_provider(credentials);
        }
        let config = loader.load().await;
        let region = config.region().ok_or_else(|| Failure::new("no AWS region is known: set `AWS_REGION`"))?.to_string();
        let (iam, sts) = (aws_sdk_iam::Client::new(&config), aws_sdk_sts::Client::new(&config));
        let identity = sts.get_caller_identity().send().await.doing(|| "cannot ask STS who the administrator is".to_owned())?;
        let account = identity.account().unwrap_or_default().to_owned();
        Ok(Self { iam, sts, config, account, region })
    }

    /// A user with these inline policies and a key that works.
    ///
    /// # Errors
    /// AWS refuses, or the key does not work within a minute.
    pub(crate) async fn create_user(&self, name: &str, policies: &[(&str, &str)]) -> Result<Key, Failure> {
        let doing = |what: &str| format!("cannot {what} user `{name}`");
        self.iam.create_user().user_name(name).send().await.doing(|| doing("create"))?;
        for (policy, document) in policies {
            let put = self.iam.put_user_policy().user_name(name).policy_name(*policy).policy_document(*document);
            put.send().await.doing(|| doing("put a policy on"))?;
        }
        let made = self.iam.create_access_key().user_name(name).send().await.doing(|| doing("create an access key of"))?;
        let key = made.access_key().map(|key| Key { id: key.access_key_id().to_owned(), secret: key.secret_access_key().to_owned() });
        let key = key.ok_or_else(|| Failure::new(doing("create an access key of")))?;
        let started = Instant::now();
        while let Err(error) = self.sts_with(&key).get_caller_identity().send().await {
            // AWS allows this to everyone. fakecloud does not, but then it knows the key.
            if error.code().is_some_and(|code| code.starts_with("AccessDenied")) {
                break;
            }
            if started.elapsed() > Duration::from_mins(1) {
                return Err(error).doing(|| format!("the access key of user `{name}` does not work"));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok(key)
    }

    /// What is not there is as good as deleted.
    ///
    /// # Errors
    /// AWS refuses.
    pub(crate) async fn delete_user(&self, name: &str) -> Result<(), Failure> {
        let doing = || format!("cannot delete user `{name}`");
        let Ok(keys) = self.iam.list_access_keys().user_name(name).send().await else { return Ok(()) };
        for key in keys.access_key_metadata().iter().filter_map(|key| key.access_key_id()) {
            self.iam.delete_access_key().user_name(name).access_key_id(key).send().await.doing(doing)?;
        }
        for policy in self.iam.list_user_policies().user_name(name).send().await.doing(doing)?.policy_names() {
            self.iam.delete_user_policy().user_name(name).policy_name(policy).send().await.doing(doing)?;
        }
        self.iam.delete_user().user_name(name).send().await.doing(doing)?;
        Ok(())
    }

    fn with(&self, key: &Key) -> SdkConfig {
        let credentials = Credentials::from_keys(&key.id, &key.secret, None);
        self.config.to_builder().credentials_provider(SharedCredentialsProvider::new(credentials)).build()
    }

    fn sts_with(&self, key: &Key) -> aws_sdk_sts::Client {
        aws_sdk_sts::Client::new(&self.with(key))
    }

    /// IAM as somebody else.
    pub(crate) fn iam_with(&self, key: &Key) -> aws_sdk_iam::Client {
        aws_sdk_iam::Client::new(&self.with(key))
    }

    /// A role as it is.
    ///
    /// # Errors
    /// AWS refuses.
    pub(crate) async fn role(&self, name: &str) -> Result<Option<Role>, Failure> {
        let doing = || format!("cannot look at role `{name}`");
        let found = match self.iam.get_role().role_name(name).send().await {
            Err(error) if error.code() == Some("NoSuchEntity") => return Ok(None),
            found => found.doing(doing)?,
        };
        let Some(role) = found.role() else { return Ok(None) };
        let attached = self.iam.list_attached_role_policies().role_name(name).send().await.doing(doing)?;
        let mut inline = BTreeMap::new();
        for policy in self.iam.list_role_policies().role_name(name).send().await.doing(doing)?.policy_names() {
            let got = self.iam.get_role_policy().role_name(name).policy_name(policy).send().await.doing(doing)?;
            inline.insert(policy.clone(), document(got.policy_document())?);
        }
        Ok(Some(Role {
            arn: role.arn().to_owned(),
            trust: document(role.assume_role_policy_document().unwrap_or_default())?,
            description: role.description().map(str::to_owned),
            max_session: role.max_session_duration(),
            boundary: role.permissions_boundary().and_then(|boundary| boundary.permissions_boundary_arn()).map(str::to_owned),
            tags: role.tags().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect(),
            attached: attached.attached_policies().iter().filter_map(|policy| policy.policy_arn()).map(str::to_owned).collect(),
            inline,
        }))
    }

    /// A role made by hand, which an EC2 instance may assume.
    ///
    /// # Errors
    /// AWS refuses.
    pub(crate) async fn create_role_by_hand(&self, name: &str) -> Result<Role, Failure> {
        let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]});
        let create = self.iam.create_role().role_name(name).assume_role_policy_document(trust.to_string()).description("made by hand");
        create.send().await.doing(|| format!("cannot create role `{name}`"))?;
        self.role(name).await?.ok_or_else(|| Failure::new(format!("role `{name}` was created and is not there")))
    }

    /// With all that is on it. What is not there is as good as deleted.
    ///
    /// # Errors
    /// AWS refuses.
    pub(crate) async fn delete_role(&self, name: &str) -> Result<(), Failure> {
        let doing = || format!("cannot delete role `{name}`");
        let Some(role) = self.role(name).await? else { return Ok(()) };
        for policy in &role.attached {
            self.iam.detach_role_policy().role_name(name).policy_arn(policy).send().await.doing(doing)?;
        }
        for policy in role.inline.keys() {
            self.iam.delete_role_policy().role_name(name).policy_name(policy).send().await.doing(doing)?;
        }
        self.iam.delete_role().role_name(name).send().await.doing(doing)?;
        Ok(())
    }

    /// The names of the roles below a path.
    ///
    /// # Errors
    /// AWS refuses.
    pub(crate) async fn roles_below(&self, path: &str) -> Result<Vec<String>, Failure> {
        let listed = self.iam.list_roles().path_prefix(path).send().await.doing(|| format!("cannot list the roles below `{path}`"))?;
        Ok(listed.roles().iter().map(|role| role.role_name().to_owned()).collect())
    }

    /// The audiences of the cluster's provider, if it is there.
    ///
    /// # Errors
    /// AWS refuses.
    pub(crate) async fn audiences(&self, issuer: &str) -> Result<Option<BTreeSet<String>>, Failure> {
        match self.iam.get_open_id_connect_provider().open_id_connect_provider_arn(self.provider(issuer)).send().await {
            Err(error) if error.code() == Some("NoSuchEntity") => Ok(None),
            found => {
                Ok(Some(found.doing(|| format!("cannot look at the provider of `{issuer}`"))?.client_id_list().iter().cloned().collect()))
            }
        }
    }

    pub(crate) fn provider(&self, issuer: &str) -> String {
        format!("arn:aws:iam::{}:oidc-provider/{}", self.account, issuer.trim_start_matches("https://"))
    }

    /// As a pod does it: with a token and nothing else.
    ///
    /// # Errors
    /// STS does not answer.
    pub(crate) async fn assume(&self, role: &str, token: &str) -> Result<Assumed, Failure> {
        let call = self.sts.assume_role_with_web_identity().role_arn(role).role_session_name("conformance").web_identity_token(token);
        match call.send().await {
            Ok(session) => Ok(Assumed::Session(session.assumed_role_user().map(|user| user.arn().to_owned()).unwrap_or_default())),
            Err(error) => match error.code() {
                Some(code) => Ok(Assumed::Refused(code.to_owned())),
                None => Err(error).doing(|| format!("cannot ask STS for role `{role}`")),
            },
        }
    }
}
