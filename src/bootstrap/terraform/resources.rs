//! The resources of a file, each with what is there already.

use serde_json::json;

use crate::{
    hcl::{Body, block, quoted},
    model::{
        bootstrap::{DesiredBootstrap, JOB_POLICY},
        observed::ObservedRole,
        trust::TrustPolicy,
    },
};

/// Blocks of resources, and of what is imported.
#[derive(Default)]
pub(super) struct Resources {
    pub(super) blocks: Vec<String>,
    pub(super) imports: Vec<String>,
}

impl Resources {
    /// A resource; with the id of the one that is there already, if there is one.
    pub(super) fn add(&mut self, kind: &str, name: &str, body: &Body, existing: Option<String>) {
        self.blocks.push(block(&format!("resource {} {}", quoted(kind), quoted(name)), body));
        if let Some(id) = existing {
            let mut body = Body::default();
            body.raw("to", &format!("{kind}.{name}"));
            body.text("id", &id);
            self.imports.push(block("import", &body));
        }
    }

    /// A role and its policy.
    pub(super) fn role(&mut self, name: &str, desired: &DesiredBootstrap, observed: Option<&ObservedRole>) {
        let mut body = Body::default();
        body.text("name", desired.role.name.as_str());
        body.text("description", &desired.description);
        body.document("assume_role_policy", &TrustPolicy::new(&desired.anchor(), &desired.trusted).to_value());
        body.members("tags", &json!(desired.tags));
        self.add("aws_iam_role", name, &body, observed.map(|role| role.arn.name.to_string()));
        let mut body = Body::default();
        body.text("name", JOB_POLICY);
        body.raw("role", &format!("aws_iam_role.{name}.name"));
        body.document("policy", &desired.permissions);
        let has_policy = |role: &&ObservedRole| role.inline_policies.keys().any(|policy| policy.as_str() == JOB_POLICY);
        let existing = observed.filter(has_policy).map(|role| format!("{}:{JOB_POLICY}", role.arn.name));
        self.add("aws_iam_role_policy", name, &body, existing);
    }
}
