//! `AssumeRoleForPodIdentity`: the token of a pod for a session of the role that its association names, as the agent of each node asks for it.
//!
//! Checked in this order: the caller, the cluster, the token (form, issuer, signature, times, audience, its pod), the association, the
//! trust of the role, and the way on to the target role. Whether EKS takes a token of a pod that was never scheduled is known to nobody
//! outside; `Aws::take_unscheduled_pods` chooses. The words of refusals that no public source shows are ours.
//! <https://docs.aws.amazon.com/eks/latest/APIReference/API_auth_AssumeRoleForPodIdentity.html>

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use super::{
    Aws, Outcome,
    authorize::{self, Matter},
    credentials::{self, Caller, CallerKind},
    eks::{
        self,
        associations::{POD_IDENTITY, association_arn, external_id},
        state::{Cluster, PodIdentityAssociation},
    },
    error::AwsError,
    evaluate::{Asker, Context, Decision, Question, decide},
    sts::{self, Opening},
    target::Target,
    time, web_identity,
};
use crate::service::Request;

/// What a request can have; all but the token is for the records.
const MEMBERS: [&str; 4] = ["token", "eksNodeName", "instanceId", "zone"];
/// How long the session of the role lives, and that of a target role, which is a session of a session.
const DURATION: u32 = 21_600;
const CHAINED_DURATION: u32 = 3_600;
/// How much of the names of cluster and pod the name of a session holds.
const NAME_LENGTH: usize = 10;

pub(super) fn perform(aws: &mut Aws, caller: &Caller, target: &Target, request: &Request, now: SystemTime) -> Result<Outcome, AwsError> {
    if target.action != "AssumeRoleForPodIdentity" {
        return Err(AwsError::not_implemented(&target.name()));
    }
    let name = request.segments().get(1).cloned().unwrap_or_default();
    let cluster_arn = cluster_arn(aws, &name);
    authorize::check(aws, caller, "eks-auth:AssumeRoleForPodIdentity", &Matter::of(&cluster_arn)).map_err(|error| denied(error.message))?;
    let elsewhere = target.region.as_ref().is_some_and(|region| *region != aws.region);
    let cluster = if elsewhere { Err(no_cluster(&name)) } else { cluster_named(aws, &name) }?;
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    eks::known_only(body.as_object().into_iter().flatten().map(|(member, _)| member.as_str()), &MEMBERS)?;
    let text = body["token"].as_str().filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| AwsError::new(400, "InvalidParameterException", "token can't be blank"))?;
    let pod = Pod::of(aws, cluster, text, now)?;
    let (id, session) = session(aws, cluster, &pod, now)?;
    let keys = session.credentials();
    Ok(Outcome::json(
        json!({
            "subject": {"namespace": pod.namespace, "serviceAccount": pod.service_account},
            "audience": POD_IDENTITY,
            "podIdentityAssociation": {"associationArn": association_arn(aws, cluster, &id), "associationId": id},
            "assumedRoleUser": {"arn": session.arn, "assumeRoleId": session.user_id},
            "credentials": {
                "accessKeyId": keys.access_key_id,
                "secretAccessKey": keys.secret_access_key,
                "sessionToken": keys.session_token,
                "expiration": session.expires,
            },
        }),
        false,
    ))
}

/// The ARN of the session that a pod gets: of this namespace and `ServiceAccount`, with this name and uid.
pub(super) fn session_of_pod(aws: &Aws, now: SystemTime, cluster: &str, of: [&str; 4]) -> Result<String, AwsError> {
    let [namespace, service_account, name, uid] = of.map(str::to_owned);
    session(aws, cluster_named(aws, cluster)?, &Pod { namespace, service_account, name, uid }, now).map(|(_, session)| session.arn)
}

/// The session of a pod, and the id of the association that gives it.
fn session(aws: &Aws, cluster: &Cluster, pod: &Pod, now: SystemTime) -> Result<(String, credentials::Session), AwsError> {
    let name = &cluster.name;
    let (id, association) = aws.association_of(name, &pod.namespace, &pod.service_account, now).ok_or_else(|| {
        not_found(format!("No association found for service account {}/{} in cluster {name}", pod.namespace, pod.service_account))
    })?;
    let session_name = pod.session_name(name, &credentials::uuid(format!("{now:?} {}", aws.requests).as_bytes()));
    let cluster_arn = cluster_arn(aws, name);
    let ask = Ask { aws, cluster, cluster_arn: &cluster_arn, association, pod, session_name: &session_name, now };
    Ok((id.to_owned(), ask.session()?))
}

fn cluster_arn(aws: &Aws, name: &str) -> String {
    format!("arn:{}:eks:{}:{}:cluster/{name}", aws.partition, aws.region, aws.account)
}

fn cluster_named<'a>(aws: &'a Aws, name: &str) -> Result<&'a Cluster, AwsError> {
    aws.clusters.get(name).ok_or_else(|| no_cluster(name))
}

fn no_cluster(name: &str) -> AwsError {
    not_found(format!("No cluster found for name: {name}."))
}

/// The ARN of the role that a pod gets for its token, whoever asks.
pub(super) fn role_of(aws: &Aws, name: &str, token: &str, now: SystemTime) -> Result<String, AwsError> {
    let cluster = cluster_named(aws, name)?;
    session(aws, cluster, &Pod::of(aws, cluster, token, now)?, now).map(|(_, session)| session.role_arn)
}

/// Everything that decides about a session.
struct Ask<'a> {
    aws: &'a Aws,
    cluster: &'a Cluster,
    cluster_arn: &'a str,
    association: &'a PodIdentityAssociation,
    pod: &'a Pod,
    session_name: &'a str,
    now: SystemTime,
}

impl Ask<'_> {
    /// The session that the pod gets: of the role, or of the target role that the role assumes.
    fn session(&self) -> Result<credentials::Session, AwsError> {
        let refused = || denied("Unauthorized Exception! EKS does not have permissions to assume the associated role.");
        let role = self.aws.role_by_arn(&self.association.role_arn).ok_or_else(refused)?;
        let trust: Value = serde_json::from_str(&role.trust).map_err(|_| refused())?;
        let tags =
            if self.association.disable_session_tags { BTreeMap::new() } else { self.pod.tags(self.cluster_arn, &self.cluster.name) };
        let mut context = request_context(self.session_name, &tags);
        context.insert("aws:sourceaccount".to_owned(), vec![self.aws.account.clone()]);
        context.insert("aws:sourcearn".to_owned(), vec![self.cluster_arn.to_owned()]);
        context.insert("aws:principalisawsservice".to_owned(), vec!["true".to_owned()]);
        context.insert("aws:principalservicename".to_owned(), vec![POD_IDENTITY.to_owned()]);
        let actions = if tags.is_empty() { &["sts:AssumeRole"][..] } else { &["sts:AssumeRole", "sts:TagSession"] };
        let allowed = actions.iter().all(|action| {
            let question = Question { asker: Asker::Service(POD_IDENTITY), action, resource: None, context: &context };
            decide([&trust], &question) == Decision::Allowed
        });
        if !allowed {
            return Err(refused());
        }
        let target = self.association.target_role_arn.as_deref();
        // The policy of an association narrows what the pod gets, so not the role on the way to its target.
        let policy = self.association.policy.clone().filter(|_| target.is_none());
        let opening =
            Opening { role_arn: &self.association.role_arn, name: self.session_name, duration: DURATION, policy, tags: tags.clone() };
        let session = opening.open(self.aws, role, self.now);
        let Some(target) = target else {
            return Ok(session);
        };
        let caller = Caller {
            arn: session.arn,
            user_id: session.user_id,
            kind: CallerKind::Session { role_arn: session.role_arn, policy: None, tags: tags.clone() },
        };
        let mut context = request_context(self.session_name, &tags);
        context.insert("sts:externalid".to_owned(), vec![external_id(self.aws, self.cluster, self.association)]);
        let role = self.aws.role_by_arn(target).ok_or_else(refused)?;
        if !actions.iter().all(|action| sts::may_assume(self.aws, &caller, (target, role), action, &context)) {
            return Err(refused());
        }
        let policy = self.association.policy.clone();
        let opening = Opening { role_arn: target, name: self.session_name, duration: CHAINED_DURATION, policy, tags };
        Ok(opening.open(self.aws, role, self.now))
    }
}

/// The condition keys of a request for a session with these tags, all of them transitive.
fn request_context(session_name: &str, tags: &BTreeMap<String, String>) -> Context {
    let mut context = Context::from([("sts:rolesessionname".to_owned(), vec![session_name.to_owned()])]);
    for (key, value) in tags {
        context.insert(format!("aws:requesttag/{key}"), vec![value.clone()]);
    }
    if !tags.is_empty() {
        let keys: Vec<String> = tags.keys().cloned().collect();
        context.insert("sts:transitivetagkeys".to_owned(), keys.clone());
        context.insert("aws:tagkeys".to_owned(), keys);
    }
    context
}

/// What a token tells of its pod.
struct Pod {
    namespace: String,
    service_account: String,
    name: String,
    uid: String,
}

impl Pod {
    fn of(aws: &Aws, cluster: &Cluster, token: &str, now: SystemTime) -> Result<Self, AwsError> {
        let claims = web_identity::claims(token).ok_or_else(|| bad_token("Service account token cannot be parsed"))?;
        if claims["iss"] != cluster.issuer.as_str() {
            return Err(bad_token("The token was not issued by the cluster"));
        }
        let keys = aws.issuers.get(&cluster.issuer).into_iter().flatten();
        if !keys.into_iter().any(|key| key.verify(token).is_some()) {
            return Err(bad_token("The signature of the token is invalid"));
        }
        if claims["exp"].as_u64().is_none_or(|end| end <= time::unix_seconds(now)) {
            return Err(AwsError::new(400, "ExpiredTokenException", "The token is expired"));
        }
        if claims["nbf"].as_u64().is_some_and(|start| start > time::unix_seconds(now + Duration::from_mins(1))) {
            return Err(bad_token("The token is not valid yet"));
        }
        let audiences = super::documents::one_or_many(&claims["aud"]);
        if !audiences.into_iter().any(|audience| audience == POD_IDENTITY) {
            return Err(bad_token(format!("The audience of the token is not {POD_IDENTITY}")));
        }
        let bound = &claims["kubernetes.io"];
        let text = |pointer: &str| bound.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
        let unbound = || bad_token("The token is not bound to a pod");
        if !aws.eks_world.takes_unscheduled_pods && text("/node/name").is_none() {
            return Err(bad_token("The token is not bound to a pod on a node"));
        }
        Ok(Self {
            namespace: text("/namespace").ok_or_else(unbound)?,
            service_account: text("/serviceaccount/name").ok_or_else(unbound)?,
            name: text("/pod/name").ok_or_else(unbound)?,
            uid: text("/pod/uid").ok_or_else(unbound)?,
        })
    }

    /// <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-abac.html>
    fn tags(&self, cluster_arn: &str, cluster: &str) -> BTreeMap<String, String> {
        [
            ("eks-cluster-arn", cluster_arn),
            ("eks-cluster-name", cluster),
            ("kubernetes-namespace", &self.namespace),
            ("kubernetes-service-account", &self.service_account),
            ("kubernetes-pod-name", &self.name),
            ("kubernetes-pod-uid", &self.uid),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }

    /// `eks-CLUSTER-POD-UUID`
    fn session_name(&self, cluster: &str, uuid: &str) -> String {
        let short = |name: &str| name.chars().take(NAME_LENGTH).collect::<String>();
        format!("eks-{}-{}-{uuid}", short(cluster), short(&self.name))
    }
}

/// Its code is `AccessDeniedException`, and unlike elsewhere its status is 400.
fn denied(message: impl Into<String>) -> AwsError {
    AwsError::new(400, "AccessDenied", message)
}

fn bad_token(message: impl Into<String>) -> AwsError {
    AwsError::new(400, "InvalidTokenException", message)
}

fn not_found(message: String) -> AwsError {
    AwsError::new(404, "ResourceNotFoundException", message)
}
