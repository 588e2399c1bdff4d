//! EKS: where a cluster is and whose tokens it issues, and the bearer token with which an IAM identity speaks to it.
//!
//! One GET is signed here and sent with the shared client: the SDK's own EKS client for it makes the binary larger by 270 kB, and the
//! budget leaves a quarter of that.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
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
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::{Aws, error};
use crate::{
    clients::{
        call::{CallError, ErrorKind},
        http::{foreign, is_refused_by_tls, read_body, unread},
    },
    model::{
        arn::Account,
        names::{ClusterName, NameProblem, Subject},
        oidc::IssuerUrl,
    },
};

/// A list of more pages is taken for one that never ends.
const MOST_PAGES: usize = 200;

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

#[derive(Deserialize)]
struct Described {
    cluster: DescribedCluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescribedCluster {
    arn: Option<String>,
    endpoint: Option<String>,
    certificate_authority: Option<CertificateAuthority>,
    identity: Option<DescribedIdentity>,
    status: Option<String>,
}

#[derive(Deserialize)]
struct CertificateAuthority {
    data: Option<String>,
}

#[derive(Deserialize)]
struct DescribedIdentity {
    oidc: Option<DescribedOidc>,
}

#[derive(Deserialize)]
struct DescribedOidc {
    issuer: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Clusters {
    clusters: Vec<String>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
struct Associations {
    associations: Vec<AssociationSummary>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AssociationSummary {
    association_id: String,
}

#[derive(Deserialize)]
struct DescribedAssociation {
    association: Association,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Association {
    role_arn: String,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(alias = "Message")]
    message: Option<String>,
}

impl Aws {
    /// `DescribeCluster`, with the job's own credentials.
    /// <https://docs.aws.amazon.com/eks/latest/APIReference/API_DescribeCluster.html>
    ///
    /// # Errors
    /// EKS refuses, does not answer, or answers in an unknown form.
    pub async fn cluster(&self, name: &ClusterName) -> Result<Cluster, CallError> {
        let (body, request_id) = self.get(&format!("/clusters/{name}")).await?;
        read_cluster(&body).map_err(|message| CallError { request_id, ..CallError::unreadable(message) })
    }

    /// The issuer of a cluster, if it has one; none of a cluster that is gone by now or is just being made.
    ///
    /// # Errors
    /// EKS refuses, does not answer, or answers in an unknown form.
    pub async fn issuer_of(&self, name: &ClusterName) -> Result<Option<IssuerUrl>, CallError> {
        let odd = |message: String| CallError::unreadable(message);
        let body = match self.get(&format!("/clusters/{name}")).await {
            Ok((body, _)) => body,
            Err(error) if error.kind.is_missing() => return Ok(None),
            Err(error) => return Err(error),
        };
        let cluster = serde_json::from_slice::<Described>(&body).map_err(|error| odd(error.to_string()))?.cluster;
        let issuer = cluster.identity.and_then(|identity| identity.oidc?.issuer).map(|issuer| issuer.parse());
        issuer.transpose().map_err(|problem: NameProblem| odd(problem.to_string()))
    }

    /// The names of the clusters of the region, all pages.
    /// <https://docs.aws.amazon.com/eks/latest/APIReference/API_ListClusters.html>
    ///
    /// # Errors
    /// EKS refuses, does not answer, or answers in an unknown form.
    pub async fn clusters(&self) -> Result<Vec<ClusterName>, CallError> {
        let odd = |message: String| CallError::unreadable(message);
        let (mut names, mut query) = (Vec::new(), String::new());
        for _ in 0..MOST_PAGES {
            let (body, _) = self.get(&format!("/clusters{query}")).await?;
            let page: Clusters = serde_json::from_slice(&body).map_err(|error| odd(error.to_string()))?;
            for name in page.clusters {
                names.push(name.parse().map_err(|problem: NameProblem| odd(problem.to_string()))?);
            }
            match page.next_token.filter(|token| !token.is_empty()) {
                Some(token) => query = format!("?nextToken={}", utf8_percent_encode(&token, NON_ALPHANUMERIC)),
                None => return Ok(names),
            }
        }
        Err(odd(format!("the list has more than {MOST_PAGES} pages")))
    }

    /// The roles of the Pod Identity associations of a ServiceAccount: EKS gives their credentials before those of an annotation.
    /// <https://docs.aws.amazon.com/eks/latest/APIReference/API_ListPodIdentityAssociations.html>
    ///
    /// # Errors
    /// EKS refuses, does not answer, or answers in an unknown form.
    pub async fn pod_identity_roles(&self, cluster: &ClusterName, subject: &Subject) -> Result<Vec<String>, CallError> {
        let odd = |error: serde_json::Error| CallError::unreadable(error.to_string());
        let path = format!("/clusters/{cluster}/pod-identity-associations");
        // Names of Kubernetes need no encoding in a query.
        let query = format!("?namespace={}&serviceAccount={}", subject.namespace, subject.service_account);
        let (body, _) = self.get(&format!("{path}{query}")).await?;
        let listed: Associations = serde_json::from_slice(&body).map_err(odd)?;
        let mut roles = Vec::new();
        for association in listed.associations {
            let (body, _) = self.get(&format!("{path}/{}", association.association_id)).await?;
            roles.push(serde_json::from_slice::<DescribedAssociation>(&body).map_err(odd)?.association.role_arn);
        }
        Ok(roles)
    }

    /// A signed GET of EKS: the body of a good answer, and the request's id.
    async fn get(&self, path: &str) -> Result<(Vec<u8>, Option<String>), CallError> {
        let endpoint = match named_endpoint(&self.own, "EKS") {
            Some(endpoint) => endpoint,
            None => eks(&self.region, self.own.use_fips().unwrap_or(false), self.own.use_dual_stack().unwrap_or(false)).await?,
        };
        let url = format!("{}{path}", endpoint.trim_end_matches('/'));
        let credentials = self.credentials().await?;
        let mut request = http::Request::get(&url).body(Vec::new()).map_err(|error| unsent(&error))?;
        let headers = [("host", authority(&request))];
        sign_request(&mut request, &headers, &credentials, (&self.region, "eks"), SigningSettings::default(), SystemTime::now())?;
        let request = reqwest::Request::try_from(request).map_err(|error| unsent(&error))?;
        let mut response = self.http.execute(request).await.map_err(|error| no_connection(&error))?;
        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (code, request_id) = (header("x-amzn-errortype"), header("x-amzn-requestid"));
        let body = read_body(&mut response).await.map_err(|error| unread(&*error))?;
        if status != 200 {
            return Err(refused(status, code.as_deref(), request_id, &body));
        }
        Ok((body, request_id))
    }

    /// What the job shows the cluster's API server.
    ///
    /// # Errors
    /// There are no credentials to sign with.
    pub async fn cluster_bearer(&self, name: &ClusterName) -> Result<ClusterBearer, CallError> {
        let credentials = self.credentials().await?;
        let sts = sts(&self.region, self.own.use_fips().unwrap_or(false), false).await?;
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
        let mut request = http::Request::get(&url).body(Vec::new()).map_err(|error| unsent(&error))?;
        let headers = [("host", authority(&request)), ("x-k8s-aws-id", self.name.as_str().to_owned())];
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_mins(1));
        sign_request(&mut request, &headers, &self.credentials, (&self.region, "sts"), settings, now)?;
        Ok(format!("k8s-aws-v1.{}", URL_SAFE_NO_PAD.encode(request.uri().to_string())))
    }
}

/// The URL of a region's STS by the SDK's own rules, never an endpoint that the SDK was told to use: a cluster's authenticator takes no other
/// host. It is the cluster that calls it, so for a token dual-stack would help nobody, and not every authenticator knows those hosts.
/// <https://github.com/kubernetes-sigs/aws-iam-authenticator/blob/master/pkg/token/token.go>
async fn sts(region: &str, fips: bool, dual_stack: bool) -> Result<String, CallError> {
    let parameters = Params::builder().region(region).use_fips(fips).use_dual_stack(dual_stack).use_global_endpoint(false).build();
    let parameters = parameters.map_err(|error| unsent(&error))?;
    let endpoint = DefaultResolver::new().resolve_endpoint(&parameters).await.map_err(|error| unsent(&*error))?;
    Ok(endpoint.url().to_owned())
}

/// The URL of a region's EKS. The SDK's rules for it are those for STS but for the name with FIPS; its partitions are taken from there.
/// <https://github.com/boto/botocore/blob/develop/botocore/data/eks/2017-11-01/endpoint-rule-set-1.json>
async fn eks(region: &str, fips: bool, dual_stack: bool) -> Result<String, CallError> {
    let sts = sts(region, false, dual_stack).await?;
    // A region has no dots: what follows is the partition's domain, for dual-stack another one.
    let domain = sts.split_once(region).map_or("amazonaws.com", |(_, domain)| domain.trim_start_matches('.'));
    let name = match (fips, dual_stack) {
        (false, _) => "eks",
        (true, false) if region.starts_with("us-gov-") => "eks",
        (true, false) if domain == "amazonaws.com" => "fips.eks",
        (true, _) => "eks-fips",
    };
    Ok(format!("https://{name}.{region}.{domain}"))
}

fn sign_request(
    request: &mut http::Request<Vec<u8>>,
    headers: &[(&str, String)],
    credentials: &Credentials,
    (region, service): (&str, &str),
    settings: SigningSettings,
    now: SystemTime,
) -> Result<(), CallError> {
    let identity = Identity::from(credentials.clone());
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(now)
        .settings(settings)
        .build()
        .map_err(|error| unsent(&error))?
        .into();
    let (method, url) = (request.method().to_string(), request.uri().to_string());
    let headers = headers.iter().map(|(name, value)| (*name, value.as_str()));
    let signable = SignableRequest::new(&method, url, headers, SignableBody::Bytes(&[])).map_err(|error| unsent(&error))?;
    let (instructions, _) = sign(signable, &parameters).map_err(|error| unsent(&error))?.into_parts();
    instructions.apply_to_request_http1x(request);
    Ok(())
}

fn authority(request: &http::Request<Vec<u8>>) -> String {
    request.uri().authority().map(ToString::to_string).unwrap_or_default()
}

/// `AWS_ENDPOINT_URL_EKS`, `AWS_ENDPOINT_URL` or a profile's `endpoint_url`, as for every SDK client.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>
fn named_endpoint(config: &SdkConfig, service_id: &'static str) -> Option<String> {
    let key = aws_types::service_config::ServiceConfigKey::builder()
        .service_id(service_id)
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .ok();
    let named = key.and_then(|key| config.service_config()?.load_config(key));
    named.or_else(|| config.endpoint_url().map(str::to_owned))
}

fn read_cluster(body: &[u8]) -> Result<Cluster, String> {
    let cluster = serde_json::from_slice::<Described>(body).map_err(|error| error.to_string())?.cluster;
    let status = cluster.status.as_deref().unwrap_or("unknown");
    let endpoint = cluster.endpoint.ok_or_else(|| format!("the cluster has no endpoint (status {status})"))?;
    let data = cluster.certificate_authority.and_then(|authority| authority.data);
    let data = data.ok_or_else(|| format!("the cluster has no certificate authority (status {status})"))?;
    let issuer = cluster.identity.and_then(|identity| identity.oidc?.issuer).map(|issuer| issuer.parse());
    Ok(Cluster {
        endpoint,
        certificate_authority: STANDARD.decode(data).map_err(|error| format!("the certificate authority is no base64: {error}"))?,
        issuer: issuer.transpose().map_err(|problem: crate::model::names::NameProblem| problem.to_string())?,
        account: cluster.arn.and_then(|arn| Account::of_arn(&arn).ok()),
    })
}

fn refused(status: u16, code: Option<&str>, request_id: Option<String>, body: &[u8]) -> CallError {
    // `AccessDeniedException:http://…` is the header's long form.
    let Some(code) = code.and_then(|code| code.split(':').next()).filter(|code| !code.is_empty()) else {
        return CallError { request_id, ..foreign(status, body) };
    };
    let message = serde_json::from_slice::<Failure>(body).ok().and_then(|failure| failure.message);
    let message = message.unwrap_or_else(|| format!("HTTP status {status}"));
    CallError { request_id, ..CallError::new(error::kind(code, status, &message), code, message) }
}

fn unsent(error: &(dyn std::error::Error + 'static)) -> CallError {
    CallError::not_sent(CallError::chain(error))
}

fn no_connection(error: &reqwest::Error) -> CallError {
    if is_refused_by_tls(error) {
        CallError::new(ErrorKind::UntrustedCertificate, "UntrustedCertificate", CallError::chain(error))
    } else {
        CallError::new(ErrorKind::NoConnection, "NoConnection", CallError::chain(error))
    }
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
            assert_eq!(sts(region, fips, false).await.unwrap(), format!("https://{host}"), "{region} {fips}");
        }
    }

    /// What the SDK's own tests of these rules expect.
    #[tokio::test]
    async fn eks_is_where_the_rules_of_the_sdk_say() {
        for (region, fips, dual_stack, host) in [
            ("eu-west-3", false, false, "eks.eu-west-3.amazonaws.com"),
            ("us-east-1", true, false, "fips.eks.us-east-1.amazonaws.com"),
            ("us-east-1", true, true, "eks-fips.us-east-1.api.aws"),
            ("us-east-1", false, true, "eks.us-east-1.api.aws"),
            ("cn-north-1", false, false, "eks.cn-north-1.amazonaws.com.cn"),
            ("cn-north-1", true, true, "eks-fips.cn-north-1.api.amazonwebservices.com.cn"),
            ("cn-north-1", true, false, "eks-fips.cn-north-1.amazonaws.com.cn"),
            ("cn-north-1", false, true, "eks.cn-north-1.api.amazonwebservices.com.cn"),
            ("us-gov-east-1", false, false, "eks.us-gov-east-1.amazonaws.com"),
            ("us-gov-east-1", true, false, "eks.us-gov-east-1.amazonaws.com"),
            ("us-gov-east-1", true, true, "eks-fips.us-gov-east-1.api.aws"),
            ("us-gov-east-1", false, true, "eks.us-gov-east-1.api.aws"),
            ("us-iso-east-1", false, false, "eks.us-iso-east-1.c2s.ic.gov"),
            ("us-iso-east-1", true, false, "eks-fips.us-iso-east-1.c2s.ic.gov"),
            ("us-isob-east-1", false, false, "eks.us-isob-east-1.sc2s.sgov.gov"),
            ("us-isob-east-1", true, false, "eks-fips.us-isob-east-1.sc2s.sgov.gov"),
            ("eusc-de-east-1", false, false, "eks.eusc-de-east-1.amazonaws.eu"),
            ("us-isof-south-1", false, false, "eks.us-isof-south-1.csp.hci.ic.gov"),
            ("moon-south-1", false, false, "eks.moon-south-1.amazonaws.com"),
        ] {
            assert_eq!(eks(region, fips, dual_stack).await.unwrap(), format!("https://{host}"), "{region} {fips} {dual_stack}");
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
        assert_eq!(read_cluster(br#"{"cluster":{"status":"CREATING"}}"#), Err("the cluster has no endpoint (status CREATING)".to_owned()));
        assert!(read_cluster(b"{}").is_err());
        assert!(read_cluster(br#"{"cluster":{"endpoint":"https://x","certificateAuthority":{"data":"!"}}}"#).is_err());
    }

    #[test]
    fn a_refusal_keeps_code_message_and_request_id() {
        let error = refused(403, Some("AccessDeniedException:http://x"), Some("id".to_owned()), br#"{"message":"no"}"#);
        assert_eq!((error.kind.clone(), error.to_string().as_str()), (ErrorKind::denied(), "AccessDeniedException: no (request id id)"));
        assert_eq!(refused(503, None, None, b"<html>").to_string(), "ForeignAnswer: HTTP status 503: <html>");
    }
}
