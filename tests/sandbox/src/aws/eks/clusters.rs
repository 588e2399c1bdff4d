//! Clusters: made, described, listed. They are there at once.

use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use serde_json::{Value, json};

use super::{
    super::{Aws, Outcome, credentials, error::AwsError, time},
    Call, arn, field, in_use, invalid, named, named_mut,
    pages::Page,
    state::Cluster,
};

/// How callers are authenticated; the first is EKS's default for clusters made through its API.
pub(super) const MODES: [&str; 3] = ["CONFIG_MAP", "API_AND_CONFIG_MAP", "API"];

pub(super) fn create(aws: &mut Aws, call: &Call<'_>) -> Result<Outcome, AwsError> {
    let body = call.body()?;
    let name = field(&body, "name")?;
    let role_arn = field(&body, "roleArn")?;
    let subnets = body.pointer("/resourcesVpcConfig/subnetIds").and_then(Value::as_array);
    let mode = body.pointer("/accessConfig/authenticationMode").and_then(Value::as_str).unwrap_or(MODES[0]);
    let name_is_good = name.len() <= 100
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(|character| character.is_ascii_alphanumeric() || "-_".contains(character));
    if !name_is_good {
        return Err(invalid(
            "The cluster name must begin with an alphanumeric character and can only contain alphanumeric characters, dashes and underscores.",
        ));
    }
    if subnets.is_none_or(|subnets| subnets.len() < 2) {
        return Err(invalid("Subnets specified must be in at least two different AZs"));
    }
    if !MODES.contains(&mode) {
        return Err(invalid(format!("unsupported authentication mode: {mode}")));
    }
    if aws.clusters.contains_key(name) {
        return Err(in_use(format!("Cluster already exists with name: {name}")));
    }
    let digest = credentials::hmac(aws.account.as_bytes(), name.as_bytes());
    let id = credentials::hex(&digest[..16]).to_uppercase();
    let suffix = if aws.partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
    let issuer = format!("https://oidc.eks.{}.{suffix}/id/{id}", aws.region);
    let endpoint = format!("https://{id}.gr7.{}.eks.{suffix}", aws.region);
    aws.add_cluster(name, &endpoint, "", &issuer);
    let cluster = named_mut(aws, name)?;
    role_arn.clone_into(&mut cluster.role_arn);
    mode.clone_into(&mut cluster.authentication_mode);
    cluster.created = call.now;
    if let Some(version) = body.get("version").and_then(Value::as_str) {
        version.clone_into(&mut cluster.version);
    }
    let shown = show(aws, named(aws, name)?, "CREATING");
    Ok(Outcome::json(json!({"cluster": shown}), true))
}

pub(super) fn describe(aws: &mut Aws, call: &Call<'_>) -> Result<Outcome, AwsError> {
    let cluster = named(aws, call.cluster())?;
    Ok(Outcome::json(json!({"cluster": show(aws, cluster, &cluster.status)}), false))
}

/// Their names. <https://docs.aws.amazon.com/eks/latest/APIReference/API_ListClusters.html>
pub(super) fn list(aws: &mut Aws, call: &Call<'_>) -> Result<Outcome, AwsError> {
    let page = Page::of(aws.clusters.keys().map(|name| (name.clone(), name)), call.request)?;
    Ok(Outcome::json(json!({"clusters": page.items, "nextToken": page.next}), false))
}

fn show(aws: &Aws, cluster: &Cluster, status: &str) -> Value {
    let mut shown = json!({
        "name": cluster.name,
        "arn": arn(aws, &format!("cluster/{}", cluster.name)),
        "createdAt": time::unix_seconds(cluster.created),
        "version": cluster.version,
        "roleArn": cluster.role_arn,
        "status": status,
        "platformVersion": "eks.1",
        "accessConfig": {"authenticationMode": cluster.authentication_mode},
        "tags": {},
    });
    if cluster.auto_mode {
        shown["computeConfig"] = json!({"enabled": true, "nodePools": ["general-purpose", "system"]});
    }
    // A cluster in the making has no address yet.
    if status != "CREATING" {
        shown["endpoint"] = json!(cluster.endpoint);
        shown["identity"] = json!({"oidc": {"issuer": cluster.issuer}});
        let authority = BASE64.encode(&cluster.certificate_authority_pem);
        shown["certificateAuthority"] = json!({"data": authority});
    }
    shown
}
