//! What a role has of which nobody says anything: neither the manifest nor, for some of it, a variable.

use crate::model::{arn::PolicyArn, names::RolePath};

/// The path of roles if none is given.
pub(super) const DEFAULT_PATH: &str = "/qovery/";

/// What every role has that is made and of which neither the manifest's defaults nor the role say otherwise.
#[derive(Clone, Debug, Default)]
pub(super) struct Fallbacks {
    pub(super) permissions_boundary: Option<PolicyArn>,
    pub(super) path: Option<RolePath>,
}
