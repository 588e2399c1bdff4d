//! What a run is connected to.

use crate::{
    clients::{aws::Aws, kubernetes::Kubernetes, qovery::Qovery},
    model::{arn::Account, names::Subject, oidc::IssuerUrl, place::Place},
};

/// AWS, Kubernetes, Qovery, and the place in them.
#[derive(Debug)]
pub struct Connection {
    /// AWS.
    pub aws: Aws,
    /// Kubernetes.
    pub kubernetes: Kubernetes,
    /// Qovery, if services are to be bound.
    pub qovery: Option<Qovery>,
    /// Namespace, issuer and cluster.
    pub place: Place,
    /// The account that the credentials act in, where that is known without asking: from the role they assume, else from the cluster, which
    /// EKS describes to its own account only.
    pub account: Option<Account>,
    /// The ServiceAccount that the job runs as, where its mounted token is used or was refused.
    pub own: Option<Subject>,
    /// The issuer that `IRSA_OIDC_ISSUER` states, where nothing that is of the cluster itself has said it yet.
    pub(crate) stated: Option<IssuerUrl>,
}
