//! IAM: which operations there are, and what several of them share.

mod account;
mod attachments;
mod lists;
mod policies;
mod policy_versions;
mod providers;
mod roles;
mod tags;
mod users;
mod validate;

use super::{Aws, Operation, error::AwsError, state::Role};

/// The operation of that name, if it is implemented.
pub(super) fn operation(action: &str) -> Option<Operation> {
    let operation: Operation = match action {
        "CreateRole" => roles::create,
        "GetRole" => roles::get,
        "UpdateRole" => roles::update,
        "UpdateRoleDescription" => roles::update_description,
        "UpdateAssumeRolePolicy" => roles::update_trust,
        "DeleteRole" => roles::delete,
        "ListRoles" => roles::list,
        "ListInstanceProfilesForRole" => roles::list_instance_profiles,
        "PutRolePermissionsBoundary" => roles::put_boundary,
        "DeleteRolePermissionsBoundary" => roles::delete_boundary,
        "AttachRolePolicy" => attachments::attach,
        "DetachRolePolicy" => attachments::detach,
        "ListAttachedRolePolicies" => attachments::list_attached,
        "PutRolePolicy" => attachments::put,
        "GetRolePolicy" => attachments::get,
        "DeleteRolePolicy" => attachments::delete,
        "ListRolePolicies" => attachments::list,
        "TagRole" => tags::tag_role,
        "UntagRole" => tags::untag_role,
        "ListRoleTags" => tags::list_role,
        "TagOpenIDConnectProvider" => tags::tag_provider,
        "UntagOpenIDConnectProvider" => tags::untag_provider,
        "ListOpenIDConnectProviderTags" => tags::list_provider,
        "CreateOpenIDConnectProvider" => providers::create,
        "GetOpenIDConnectProvider" => providers::get,
        "DeleteOpenIDConnectProvider" => providers::delete,
        "ListOpenIDConnectProviders" => providers::list,
        "AddClientIDToOpenIDConnectProvider" => providers::add_client_id,
        "RemoveClientIDFromOpenIDConnectProvider" => providers::remove_client_id,
        "UpdateOpenIDConnectProviderThumbprint" => providers::update_thumbprint,
        "CreatePolicy" => policies::create,
        "GetPolicy" => policies::get,
        "DeletePolicy" => policies::delete,
        "ListEntitiesForPolicy" => policies::list_entities,
        "CreatePolicyVersion" => policy_versions::create,
        "GetPolicyVersion" => policy_versions::get,
        "ListPolicyVersions" => policy_versions::list,
        "SetDefaultPolicyVersion" => policy_versions::set_default,
        "DeletePolicyVersion" => policy_versions::delete,
        "TagPolicy" => tags::tag_policy,
        "UntagPolicy" => tags::untag_policy,
        "ListPolicyTags" => tags::list_policy,
        "CreateUser" => users::create,
        "CreateAccessKey" => users::create_access_key,
        "PutUserPolicy" => users::put_policy,
        "SimulatePrincipalPolicy" => users::simulate,
        "GetAccountSummary" => account::summary,
        _ => return None,
    };
    Some(operation)
}

impl Aws {
    fn role_named(&self, name: &str) -> Result<&Role, AwsError> {
        self.role_key(name).and_then(|key| self.roles.get(&key)).ok_or_else(|| no_role(name))
    }

    fn role_named_mut(&mut self, name: &str) -> Result<&mut Role, AwsError> {
        self.role_key(name).and_then(|key| self.roles.get_mut(&key)).ok_or_else(|| no_role(name))
    }

    /// A role that may be changed: AWS's own roles may not.
    fn modifiable_role(&mut self, name: &str) -> Result<&mut Role, AwsError> {
        let role = self.role_named_mut(name)?;
        if role.path.starts_with("/aws-service-role/") {
            return Err(AwsError::new(
                400,
                "UnmodifiableEntity",
                format!("Cannot perform the operation on the protected role '{}' - this role is only modifiable by AWS", role.name),
            ));
        }
        Ok(role)
    }
}

fn no_role(name: &str) -> AwsError {
    AwsError::no_such_entity(format!("The role with name {name} cannot be found."))
}

/// Assigns, and says whether that made a difference.
fn replace<T: PartialEq>(slot: &mut T, value: T) -> bool {
    let differs = *slot != value;
    *slot = value;
    differs
}
