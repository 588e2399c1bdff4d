//! The bearer token of EKS: a pre-signed `GetCallerIdentity` that names the cluster, read as the API server's authenticator reads it.
//!
//! Whether its maker may come in is decided by the cluster's access entries, in `eks/users.rs`.

use std::time::SystemTime;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Uri};

use super::{Aws, credentials::Caller, sigv4::Signature};
use crate::service::Request;

const PREFIX: &str = "k8s-aws-v1.";
const CLUSTER_HEADER: &str = "x-k8s-aws-id";
const LONGEST: usize = 4_096 * 4;
const LONGEST_EXPIRY: u64 = 60;
/// All that the URL may hold, in lower case.
const PARAMETERS: [&str; 10] = [
    "action",
    "version",
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
    "x-amz-user-agent",
];

/// Who made a token for that cluster.
pub(super) fn verify(aws: &Aws, cluster: &str, token: &str, now: SystemTime) -> Option<Caller> {
    let encoded = token.strip_prefix(PREFIX)?;
    if encoded.len() > LONGEST {
        return None;
    }
    let url = String::from_utf8(BASE64URL.decode(encoded).ok()?).ok()?;
    let uri: Uri = url.parse().ok()?;
    let host = uri.authority()?.as_str();
    let query = uri.query()?;
    if !is_sts(aws, &uri) || !matches!(uri.path(), "" | "/") {
        return None;
    }
    let request = |cluster: &str| -> Option<Request> {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_str(host).ok()?);
        headers.insert(CLUSTER_HEADER, HeaderValue::from_str(cluster).ok()?);
        Some(Request { method: Method::GET, path: uri.path().to_owned(), query: query.to_owned(), headers, body: Bytes::new() })
    };
    let first = request("")?;
    let pairs = first.query_pairs();
    let mut names: Vec<String> = pairs.iter().map(|(name, _)| name.to_lowercase()).collect();
    names.sort();
    let repeated = names.windows(2).any(|two| two[0] == two[1]);
    if repeated || !names.iter().all(|name| PARAMETERS.contains(&name.as_str())) {
        return None;
    }
    if first.query_value("Action")? != "GetCallerIdentity" {
        return None;
    }
    let expiry: u64 = first.query_value("X-Amz-Expires")?.parse().ok()?;
    let signature = Signature::of(&first).ok()??;
    let names_cluster = signature.signed_headers.iter().any(|name| name == CLUSTER_HEADER);
    if expiry > LONGEST_EXPIRY || !names_cluster || signature.service != "sts" {
        return None;
    }
    signature.check_time(now).ok()?;
    let (caller, secret) = aws.holder(&signature, now).ok()?;
    signature.check_secret(&request(cluster)?, &secret).is_ok().then_some(caller)
}

/// The DNS names of STS in a partition, with dual-stack where the authenticator knows it.
/// <https://github.com/kubernetes-sigs/aws-iam-authenticator/blob/master/pkg/endpoints/partitions.go>
fn domains(partition: &str) -> &'static [&'static str] {
    match partition {
        "aws" | "aws-us-gov" => &["amazonaws.com", "api.aws"],
        "aws-cn" => &["amazonaws.com.cn", "api.amazonwebservices.com.cn"],
        "aws-eusc" => &["amazonaws.eu", "api.amazonwebservices.eu"],
        "aws-iso" => &["c2s.ic.gov"],
        "aws-iso-b" => &["sc2s.sgov.gov"],
        "aws-iso-e" => &["cloud.adc-e.uk"],
        "aws-iso-f" => &["csp.hci.ic.gov"],
        _ => &[],
    }
}

/// An address of STS: that of a region of the partition over HTTPS, or one on loopback, where it is served here.
fn is_sts(aws: &Aws, uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let rest = host.strip_prefix("sts.").or_else(|| host.strip_prefix("sts-fips."));
    let real = rest.and_then(|rest| rest.split_once('.')).is_some_and(|(_, domain)| domains(&aws.partition).contains(&domain));
    let loopback = matches!(host, "127.0.0.1" | "localhost" | "[::1]");
    loopback || (real && uri.scheme_str() == Some("https"))
}
