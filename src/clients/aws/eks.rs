//! EKS: where a cluster is and whose tokens it issues, and the bearer token with which an IAM identity speaks to it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;
use aws_sdk_eks::{operation::RequestId as _, types};
use aws_sdk_sts::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_runtime_api::client::identity::Identity;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

use super::{Aws, error};
use crate::{
    clients::call::CallError,
    model::{
        arn::Account,
        names::{ClusterName, NameProblem},
        oidc::IssuerUrl,
    },
};

/// A list of more pages is taken for one that never ends.
pub(super) const MOST_PAGES: usize = 200;

/// An EKS cluster as `DescribeCluster` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// The URL of its API server.
    pub endpoint: String,
    /// The PEM of its certificate authority.
    pub certificate_authority: Vec<u8>,
    /// Its OIDC issuer.
    pub issuer: Option<IssuerUrl>,
    /// The account it is in.
    pub account: Option<Account>,
}

impl Aws {
    /// `DescribeCluster`, with the job's own credentials.
    /// <https://docs.aws.amazon.com/eks/latest/APIReference/API_DescribeCluster.html>
    ///
    /// # Errors
    /// EKS refuses, does not answer, or answers in an unknown form.
    pub async fn cluster(&self, name: &ClusterName) -> Result<Cluster, CallError> {
        let answer = self.eks.describe_cluster().name(name.as_str()).send().await.map_err(|error| error::of_sdk(&error))?;
        let request_id = answer.request_id().map(str::to_owned);
        read_cluster(answer.cluster).map_err(|message| CallError { request_id, ..CallError::unreadable(message) })
    }

    /// The issuer of a cluster, if it has one; none of a cluster that is gone by now or is just being made.
    ///
    /// # Errors
    /// EKS refuses, does not answer, or answers in an unknown form.
    pub async fn issuer_of(&self, name: &ClusterName) -> Result<Option<IssuerUrl>, CallError> {
        let answer = match self.eks.describe_cluster().name(name.as_str()).send().await.map_err(|error| error::of_sdk(&error)) {
            Ok(answer) => answer,
            Err(error) if error.kind.is_missing() => return Ok(None),
            Err(error) => return Err(error),
        };
        issuer(answer.cluster.and_then(|cluster| cluster.identity)).map_err(odd)
    }

    /// The names of the clusters of the region, all pages.
    /// <https://docs.aws.amazon.com/eks/latest/APIReference/API_ListClusters.html>
    ///
    /// # Errors
    /// EKS refuses, does not answer, or answers in an unknown form.
    pub async fn clusters(&self) -> Result<Vec<ClusterName>, CallError> {
        let (mut names, mut next) = (Vec::new(), None);
        for _ in 0..MOST_PAGES {
            let page = self.eks.list_clusters().set_next_token(next).send().await.map_err(|error| error::of_sdk(&error))?;
            for name in page.clusters() {
                names.push(name.parse().map_err(odd)?);
            }
            next = page.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(names);
            }
        }
        Err(CallError::unreadable(format!("the list has more than {MOST_PAGES} pages")))
    }

    /// What the job shows the cluster's API server.
    ///
    /// # Errors
    /// There are no credentials to sign with.
    pub async fn cluster_bearer(&self, name: &ClusterName) -> Result<ClusterBearer, CallError> {
        let credentials = self.credentials().await?;
        let sts = sts(&self.region, self.own.use_fips().unwrap_or(false)).await?;
        let signer = Signer { name: name.clone(), credentials, region: self.region.clone(), sts };
        let made = SystemTime::now();
        let token = signer.token(made)?;
        Ok(ClusterBearer { signer, last: Arc::new(Mutex::new((made, token))) })
    }
}

/// How old a bearer token may be when it is shown: it is good for 15 minutes, and a run may take an hour.
/// <https://github.com/kubernetes-sigs/aws-iam-authenticator#api-authorization-from-outside-a-cluster>
const OLDEST: Duration = Duration::from_mins(10);

/// A bearer token for a cluster's API server, a pre-signed `GetCallerIdentity`, made again before it expires; with the credentials that
/// there were when it was first made, and so no longer than they are good.
#[derive(Clone)]
pub struct ClusterBearer {
    signer: Signer,
    /// The last one, and when it was made.
    last: Arc<Mutex<(SystemTime, String)>>,
}

impl ClusterBearer {
    /// The token to show now.
    #[must_use]
    pub fn token(&self) -> String {
        self.token_at(SystemTime::now())
    }

    fn token_at(&self, now: SystemTime) -> String {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(last.0).is_ok_and(|age| age > OLDEST)
            && let Ok(token) = self.signer.token(now)
        {
            *last = (now, token);
        }
        last.1.clone()
    }
}

/// What a token is made from.
#[derive(Clone)]
struct Signer {
    name: ClusterName,
    credentials: Credentials,
    region: String,
    /// The URL of the region's STS.
    sts: String,
}

impl Signer {
    fn token(&self, now: SystemTime) -> Result<String, CallError> {
        let url = format!("{}/?Action=GetCallerIdentity&Version=2011-06-15", self.sts.trim_end_matches('/'));
        let mut request = http::Request::get(&url).body(()).map_err(|error| unsent(&error))?;
        let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let headers = [("host", host.as_str()), ("x-k8s-aws-id", self.name.as_str())];
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_mins(1));
        let identity = Identity::from(self.credentials.clone());
        let parameters = v4::SigningParams::builder().identity(&identity).region(&self.region).name("sts").time(now).settings(settings);
        let parameters = parameters.build().map_err(|error| unsent(&error))?.into();
        let signable = SignableRequest::new("GET", url, headers.into_iter(), SignableBody::Bytes(&[])).map_err(|error| unsent(&error))?;
        let (instructions, _) = sign(signable, &parameters).map_err(|error| unsent(&error))?.into_parts();
        instructions.apply_to_request_http1x(&mut request);
        Ok(format!("k8s-aws-v1.{}", URL_SAFE_NO_PAD.encode(request.uri().to_string())))
    }
}

/// The URL of a region's STS by the SDK's own rules, never an endpoint that the SDK was told to use: a cluster's authenticator takes no other
/// host. It is the cluster that calls it, so for a token dual-stack would help nobody, and not every authenticator knows those hosts.
/// <https://github.com/kubernetes-sigs/aws-iam-authenticator/blob/master/pkg/token/token.go>
async fn sts(region: &str, fips: bool) -> Result<String, CallError> {
    let parameters = Params::builder().region(region).use_fips(fips).use_dual_stack(false).use_global_endpoint(false).build();
    let parameters = parameters.map_err(|error| unsent(&error))?;
    let endpoint = DefaultResolver::new().resolve_endpoint(&parameters).await.map_err(|error| unsent(&*error))?;
    Ok(endpoint.url().to_owned())
}

pub(super) fn read_cluster(cluster: Option<types::Cluster>) -> Result<Cluster, String> {
    let cluster = cluster.ok_or("the answer has no cluster")?;
    let status = cluster.status.as_ref().map_or("unknown", types::ClusterStatus::as_str);
    let endpoint = cluster.endpoint.ok_or_else(|| format!("the cluster has no endpoint (status {status})"))?;
    let data = cluster.certificate_authority.and_then(|authority| authority.data);
    let data = data.ok_or_else(|| format!("the cluster has no certificate authority (status {status})"))?;
    Ok(Cluster {
        endpoint,
        certificate_authority: STANDARD.decode(data).map_err(|error| format!("the certificate authority is no base64: {error}"))?,
        issuer: issuer(cluster.identity).map_err(|problem| problem.to_string())?,
        account: cluster.arn.and_then(|arn| Account::of_arn(&arn).ok()),
    })
}

pub(super) fn issuer(identity: Option<types::Identity>) -> Result<Option<IssuerUrl>, NameProblem> {
    identity.and_then(|identity| identity.oidc?.issuer).map(|issuer| issuer.parse()).transpose()
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn odd(problem: NameProblem) -> CallError {
    CallError::unreadable(problem.to_string())
}

fn unsent(error: &(dyn std::error::Error + 'static)) -> CallError {
    CallError::not_sent(CallError::chain(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(sts: &str) -> Signer {
        let credentials =
            Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", Some("session".to_owned()), None, "test");
        Signer { name: "demo".parse().unwrap(), credentials, region: "eu-west-3".to_owned(), sts: sts.to_owned() }
    }

    /// What the authenticator of each partition accepts: <https://github.com/kubernetes-sigs/aws-iam-authenticator/blob/master/pkg/token/token_test.go>
    #[tokio::test]
    async fn a_token_is_for_the_sts_of_its_region_in_every_partition() {
        for (region, fips, host) in [
            ("eu-west-3", false, "sts.eu-west-3.amazonaws.com"),
            ("us-east-1", false, "sts.us-east-1.amazonaws.com"),
            ("us-west-2", true, "sts-fips.us-west-2.amazonaws.com"),
            ("cn-north-1", false, "sts.cn-north-1.amazonaws.com.cn"),
            ("us-gov-west-1", false, "sts.us-gov-west-1.amazonaws.com"),
            ("us-gov-west-1", true, "sts.us-gov-west-1.amazonaws.com"),
            ("eusc-de-east-1", false, "sts.eusc-de-east-1.amazonaws.eu"),
            ("us-iso-east-1", false, "sts.us-iso-east-1.c2s.ic.gov"),
            ("us-isob-east-1", false, "sts.us-isob-east-1.sc2s.sgov.gov"),
            ("eu-isoe-west-1", false, "sts.eu-isoe-west-1.cloud.adc-e.uk"),
            ("us-isof-south-1", false, "sts.us-isof-south-1.csp.hci.ic.gov"),
            // A region that is not known yet.
            ("mx-moon-9", false, "sts.mx-moon-9.amazonaws.com"),
        ] {
            assert_eq!(sts(region, fips).await.unwrap(), format!("https://{host}"), "{region} {fips}");
        }
    }

    #[test]
    fn a_cluster_token_is_a_presigned_url() {
        let token =
            signer("https://sts.eu-west-3.amazonaws.com").token(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)).unwrap();
        let url = String::from_utf8(URL_SAFE_NO_PAD.decode(token.strip_prefix("k8s-aws-v1.").unwrap()).unwrap()).unwrap();
        assert!(url.starts_with("https://sts.eu-west-3.amazonaws.com/?"), "{url}");
        for part in [
            "Action=GetCallerIdentity",
            "X-Amz-Expires=60",
            "X-Amz-SignedHeaders=host%3Bx-k8s-aws-id",
            "X-Amz-Security-Token=session",
            "X-Amz-Signature=",
        ] {
            assert!(url.contains(part), "{part} in {url}");
        }
    }

    #[test]
    fn a_bearer_token_is_made_again_before_it_expires() {
        let made = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let signer = signer("https://sts.eu-west-3.amazonaws.com");
        let token = |now| signer.token(now).unwrap();
        let bearer = ClusterBearer { signer: signer.clone(), last: Arc::new(Mutex::new((made, token(made)))) };
        let later = |minutes| made + Duration::from_mins(minutes);
        for (minutes, made_then) in [(0, 0), (10, 0), (11, 11), (20, 11), (59, 59)] {
            assert_eq!(bearer.clone().token_at(later(minutes)), token(later(made_then)), "after {minutes} min");
        }
    }

    #[test]
    fn a_cluster_that_is_not_ready_says_what_it_lacks() {
        let creating = types::Cluster::builder().status(types::ClusterStatus::Creating);
        assert_eq!(read_cluster(Some(creating.clone().build())), Err("the cluster has no endpoint (status CREATING)".to_owned()));
        assert!(read_cluster(None).is_err());
        let authority = types::Certificate::builder().data("!").build();
        assert!(read_cluster(Some(creating.endpoint("https://x").certificate_authority(authority).build())).is_err());
    }
}
