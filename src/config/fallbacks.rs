//! What a role has of which nobody says anything: neither the manifest nor, for some of it, a variable.

use crate::model::{arn::PolicyArn, names::RolePath};

/// The path of roles if none is given.
pub(super) const DEFAULT_PATH: &str = "/qovery/";
/// How long a session may last if nothing is said, in seconds: IAM's own default.
pub(super) const DEFAULT_SESSION: u32 = 3600;

/// What every role has that is made and of which neither the manifest's defaults nor the role say otherwise.
#[derive(Clone, Debug, Default)]
pub(super) struct Fallbacks {
    pub(super) permissions_boundary: Option<PolicyArn>,
    pub(super) path: Option<RolePath>,
}
