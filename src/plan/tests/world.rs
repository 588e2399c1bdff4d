//! An account and a cluster in memory, and what each action does to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::json;

use crate::{
    model::{
        anchor::Anchor,
        applied::{AppliedServiceAccount, Applying},
        arn::Account,
        association::{AssociationId, ObservedAssociation},
        conditions::Conditions,
        desired::Desired,
        identity::{Binding, BoundServices, Identity, Keeper, ManagedRole, Prune, RoleOrigin, RoleSpec, Scope, ServiceAccountSpec},
        names::{RoleName, ServiceAccountName, Subject},
        observed::{FIELD_MANAGER, Field, KnownProvider, Observed, ObservedProvider, ObservedRole, ObservedServiceAccount},
        oidc::Provider,
        place::Place,
        role::{RoleAttributes, RoleSettings},
        trust::TrustPolicy,
    },
    plan::{Action, Freshness, Goal, Plan, Refusals, plan},
};

/// The mark of the job.
pub(super) const JOB: &str = "aaaaaaaa";

#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) place: Place,
    pub(super) identities: Vec<Identity>,
    pub(super) prune: Prune,
    pub(super) observed: Observed,
}

/// An identity of this name whose role is made for it alone, with one policy.
pub(super) fn own_role(name: &str) -> Identity {
    let mut identity = World::identity().remove(0);
    identity.service_account.name = name.parse().unwrap();
    let attributes = attributes(&mut identity);
    *attributes = RoleAttributes { policies: attributes.policies.clone(), ..RoleAttributes::default() };
    identity
}

fn identity(role: RoleSpec) -> Identity {
    Identity {
        service_account: ServiceAccountSpec {
            name: "app".parse().unwrap(),
            token_expiration: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            automount: None,
            keeper: Keeper::Tool,
        },
        role,
        binding: Binding::default(),
        services: BoundServices::default(),
    }
}

/// One identity whose role is given by ARN.
pub(super) fn given() -> Vec<Identity> {
    let arn = "arn:aws:iam::123456789012:role/shared".parse().unwrap();
    vec![identity(RoleSpec {
        origin: RoleOrigin::Given(arn),
        scope: Scope::Shared { retain: false },
        extra_subjects: BTreeSet::new(),
        conditions: Conditions::default(),
    })]
}

pub(super) fn made_role(identity: &mut Identity) -> &mut ManagedRole {
    match &mut identity.role.origin {
        RoleOrigin::Managed(role) => role,
        RoleOrigin::Given(_) => panic!("a given role"),
    }
}

/// What the role of an identity is to be like.
pub(super) fn attributes(identity: &mut Identity) -> &mut RoleAttributes {
    &mut made_role(identity).attributes
}

/// The provider, which was read and exists.
pub(super) fn provider_mut(world: &mut World) -> &mut ObservedProvider {
    match &mut world.observed.provider {
        KnownProvider::Read(Some(provider)) => provider,
        other => panic!("{other:?}"),
    }
}

/// One identity of a role that is made and called `together`, with this scope.
pub(super) fn together(scope: Scope) -> Vec<Identity> {
    let mut identities = World::identity();
    made_role(&mut identities[0]).name = "together".parse().ok();
    identities[0].role.scope = scope;
    identities
}

pub(super) fn role_mut(world: &mut World) -> &mut ObservedRole {
    world.observed.roles.values_mut().next().unwrap()
}

pub(super) fn service_account_mut(world: &mut World) -> &mut ObservedServiceAccount {
    world.observed.service_accounts.values_mut().next().unwrap()
}

impl World {
    /// One identity with everything that a role of an environment can have.
    pub(super) fn identity() -> Vec<Identity> {
        let made = ManagedRole {
            name: None,
            path: "/qovery/".parse().unwrap(),
            attributes: RoleAttributes {
                settings: RoleSettings::default(),
                policies: ["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess".parse().unwrap()].into(),
                inline_policies: [("own".parse().unwrap(), json!({"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}))]
                    .into(),
                permissions_boundary: "arn:aws:iam::123456789012:policy/bounds".parse().ok(),
                tags: [("team".parse().unwrap(), "platform".parse().unwrap())].into(),
            },
        };
        let origin = RoleOrigin::Managed(Box::new(made));
        vec![identity(RoleSpec { origin, scope: Scope::Environment, extra_subjects: BTreeSet::new(), conditions: Conditions::default() })]
    }

    /// Nothing is there but the roles that are given by ARN.
    pub(super) fn empty(identities: Vec<Identity>) -> Self {
        let account = Account { partition: "aws".parse().unwrap(), id: "123456789012".parse().unwrap() };
        let place = Place {
            namespace: "z1".parse().unwrap(),
            issuer: "https://oidc.example.com/id/A".parse().unwrap(),
            cluster: "demo".parse().ok(),
            region: "eu-west-3".parse().ok(),
            cluster_account: None,
            paths: ["/qovery/".parse().unwrap()].into(),
            job: JOB.parse().ok(),
            project: None,
        };
        let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]});
        let given = identities.iter().filter_map(|identity| match &identity.role.origin {
            RoleOrigin::Given(arn) => Some((
                arn.name.clone(),
                ObservedRole {
                    arn: arn.clone(),
                    settings: RoleSettings::default(),
                    permissions_boundary: None,
                    tags: BTreeMap::new(),
                    trust: TrustPolicy::parse(&trust.to_string()).unwrap(),
                    attached: BTreeSet::new(),
                    inline_policies: BTreeMap::new(),
                    instance_profiles: BTreeSet::new(),
                },
            )),
            RoleOrigin::Managed(_) => None,
        });
        let roles = given.collect();
        Self {
            place,
            prune: Prune::On,
            observed: Observed { provider: KnownProvider::Read(None), roles, ..Observed::nothing(account) },
            identities,
        }
    }

    /// Everything is there as the tool makes it.
    pub(super) fn in_sync(identities: Vec<Identity>) -> Self {
        let mut world = Self::empty(identities);
        world.apply(Goal::Start);
        world
    }

    pub(super) fn provider(&self) -> Provider {
        Provider::of(&self.place.issuer, &self.observed.account)
    }

    /// What the roles of this cluster rest on.
    pub(super) fn anchor(&self) -> Anchor {
        Anchor::Oidc(self.provider())
    }

    pub(super) fn desired(&self) -> Desired {
        let desired = Desired::new(&self.identities, &self.place, &self.observed.account).unwrap();
        Desired { prune: self.prune, ..desired }
    }

    /// So many minutes later.
    pub(super) fn later(&mut self, minutes: u64) {
        self.observed.at = self.observed.at.after(Duration::from_mins(minutes));
    }

    pub(super) fn plan(&self, goal: Goal) -> Result<Plan, Refusals> {
        plan(goal, &self.desired(), &self.observed, Freshness::Settled)
    }

    /// Plans and does all of it.
    pub(super) fn apply(&mut self, goal: Goal) {
        self.apply_first(goal, usize::MAX);
    }

    /// Plans and does the first few actions.
    pub(super) fn apply_first(&mut self, goal: Goal, count: usize) {
        let plan = self.plan(goal).unwrap();
        for action in plan.actions().take(count) {
            self.carry_out(action);
        }
    }

    fn role(&mut self, name: &RoleName) -> &mut ObservedRole {
        self.observed.roles.get_mut(name).unwrap()
    }

    /// The associations of the namespace, which were read.
    pub(super) fn associations(&mut self) -> &mut BTreeMap<ServiceAccountName, ObservedAssociation> {
        self.observed.associations.get_or_insert_default()
    }

    fn association(&mut self, subject: &Subject) -> &mut ObservedAssociation {
        self.associations().get_mut(&subject.service_account).unwrap()
    }

    fn carry_out(&mut self, action: &Action) {
        match action {
            Action::CreateProvider { audiences, .. } => {
                let audiences = audiences.iter().map(ToString::to_string).collect();
                assert_eq!(self.observed.provider, KnownProvider::Read(None));
                self.observed.provider = KnownProvider::Read(Some(ObservedProvider { audiences, is_own: true }));
            }
            Action::AddAudience { audience, .. } => drop(provider_mut(self).audiences.insert(audience.to_string())),
            Action::DeleteProvider { .. } => {
                provider_mut(self);
                self.observed.provider = KnownProvider::Read(None);
            }
            Action::CreateRole(new) => {
                let role = ObservedRole::fresh(new);
                assert!(self.observed.roles.insert(new.arn.name.clone(), role).is_none());
            }
            Action::UpdateRole { role, settings } => self.role(role).settings = settings.clone(),
            Action::PutBoundary { role, boundary } => self.role(role).permissions_boundary = Some(boundary.clone()),
            Action::DeleteBoundary { role } => self.role(role).permissions_boundary = None,
            Action::TagRole { role, tags } => self.role(role).tags.extend(tags.clone()),
            Action::UntagRole { role, keys } => self.role(role).tags.retain(|key, _| !keys.contains(key)),
            Action::UpdateTrust { role, trust, .. } => self.role(role).trust = trust.clone(),
            Action::AttachPolicy { role, policy } => drop(self.role(role).attached.insert(policy.clone())),
            Action::DetachPolicy { role, policy } => assert!(self.role(role).attached.remove(policy)),
            Action::PutInlinePolicy { role, policy, document } => {
                self.role(role).inline_policies.insert(policy.clone(), Some(document.clone()));
            }
            Action::DeleteInlinePolicy { role, policy } => assert!(self.role(role).inline_policies.remove(policy).is_some()),
            Action::DeleteRole { role } => {
                let role = self.observed.roles.remove(role).unwrap();
                let empty = role.attached.is_empty() && role.inline_policies.is_empty() && role.instance_profiles.is_empty();
                assert!(empty, "DeleteConflict");
            }
            Action::CreateAssociation(new) => {
                let found = ObservedAssociation {
                    id: AssociationId::read(&format!("a-{}", new.subject.service_account)),
                    arn: format!("arn:aws:eks:eu-west-3:123456789012:podidentityassociation/demo/a-{}", new.subject.service_account),
                    subject: new.subject.clone(),
                    external_id: new.settings.target.as_ref().map(|_| "made-by-eks".parse().unwrap()),
                    settings: new.settings.clone(),
                    tags: new.all_tags(),
                    add_on: None,
                    created: self.observed.at,
                    changed: self.observed.at,
                };
                assert!(self.associations().insert(new.subject.service_account.clone(), found).is_none(), "ResourceInUse");
            }
            Action::UpdateAssociation { subject, settings, .. } => {
                self.association(subject).changed = self.observed.at;
                self.association(subject).settings = settings.clone();
            }
            Action::TagAssociation { subject, tags, .. } => self.association(subject).tags.extend(tags.clone()),
            Action::UntagAssociation { subject, keys, .. } => self.association(subject).tags.retain(|key, _| !keys.contains(key)),
            Action::DeleteAssociation { subject, .. } => assert!(self.associations().remove(&subject.service_account).is_some()),
            Action::ApplyServiceAccount(applied) => self.apply_service_account(applied),
            Action::ReleaseServiceAccount { subject, .. } => {
                let observed = self.observed.service_accounts.get_mut(&subject.service_account).unwrap();
                release(observed, &BTreeMap::new());
            }
            Action::MarkServiceAccount { subject, job, mark, uid, force } => {
                let observed = self.observed.service_accounts.get_mut(&subject.service_account).unwrap();
                assert!(uid.as_ref().is_none_or(|uid| *uid == observed.uid));
                observed.version = (observed.version.parse::<u32>().unwrap() + 1).to_string();
                let (field, manager) = (Field::Label(job.label()), job.field_manager());
                let holders = observed.managers.entry(field.clone()).or_default();
                if let Some(mark) = mark {
                    let equal = observed.values.get(&field).is_none_or(|value| *value == mark.value());
                    if *force && !equal {
                        holders.clear();
                    }
                    assert!(equal || holders.iter().all(|holder| *holder == manager), "Conflict");
                    holders.insert(manager);
                    observed.values.insert(field, mark.value());
                } else {
                    assert!(holders.remove(&manager));
                    if holders.is_empty() {
                        observed.managers.remove(&field);
                        observed.values.remove(&field);
                    }
                }
            }
            Action::DeleteServiceAccount { subject, .. } => {
                assert!(self.observed.service_accounts.remove(&subject.service_account).is_some());
            }
            Action::BindService { service, service_account, before } => {
                let found = self.observed.services.iter_mut().find(|found| found.service == *service).unwrap();
                assert_eq!(found.service_account, *before);
                found.service_account = Some(service_account.to_string());
            }
        }
    }

    fn apply_service_account(&mut self, applied: &AppliedServiceAccount) {
        let present = self.observed.service_accounts.get(&applied.subject.service_account);
        assert_eq!(present.is_none(), applied.how == Applying::Create, "{applied:?}");
        assert!(
            applied.seen.is_none() || applied.seen.as_ref().map(|seen| &seen.version) == present.map(|present| &present.version),
            "Conflict"
        );
        let annotations = applied.annotations.iter().map(|(key, value)| (Field::Annotation(key.clone()), value.clone()));
        let labels = applied.labels.iter().map(|(key, value)| (Field::Label(key.clone()), value.clone()));
        let fields: BTreeMap<Field, String> =
            annotations.chain(labels).chain(applied.automount.map(|automount| (Field::Automount, automount.to_string()))).collect();
        let observed =
            self.observed.service_accounts.entry(applied.subject.service_account.clone()).or_insert_with(|| ObservedServiceAccount {
                namespace: applied.subject.namespace.clone(),
                uid: "uid".to_owned(),
                version: "0".to_owned(),
                ends: false,
                values: BTreeMap::new(),
                managers: BTreeMap::new(),
            });
        observed.version = (observed.version.parse::<u32>().unwrap() + 1).to_string();
        release(observed, &fields);
        assert!(applied.taken.is_empty() || applied.seen.is_some(), "forced without the version that was seen: {applied:?}");
        for (field, value) in fields {
            let managers = observed.managers.entry(field.clone()).or_default();
            if observed.values.get(&field).is_some_and(|present| *present != value) && managers.iter().any(|other| other != FIELD_MANAGER) {
                assert!(applied.taken.contains(&field), "Conflict: {field}: {applied:?}");
                managers.clear();
            }
            managers.insert(FIELD_MANAGER.to_owned());
            observed.values.insert(field, value);
        }
    }
}

/// The tool lets go of what it no longer applies; what nobody else holds goes.
fn release(observed: &mut ObservedServiceAccount, applied: &BTreeMap<Field, String>) {
    observed.managers.retain(|field, managers| {
        if !applied.contains_key(field) && managers.remove(FIELD_MANAGER) && managers.is_empty() {
            observed.values.remove(field);
        }
        !managers.is_empty()
    });
}
