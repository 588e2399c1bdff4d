//! The main scenarios. Each has namespaces and roles of its own, and asks the servers what is there, not the job.

mod guard;
mod life;
mod permissions;
mod proof;
mod sharing;

use std::{future::Future, pin::Pin};

use crate::{
    failure::Failure,
    world::{Lack, World},
};

type Outcome<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + 'a>>;
type Run = for<'a> fn(&'a World) -> Outcome<'a>;

/// A sentence that holds, or does not.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// What a server must not lack for it to mean anything.
    pub(crate) needs: &'static [Lack],
    pub(crate) run: Run,
}

const fn holds(name: &'static str, needs: &'static [Lack], run: Run) -> Scenario {
    Scenario { name, needs, run }
}

/// All of them, in the order in which they are run.
pub(crate) const ALL: &[Scenario] = &[
    holds("the first start makes everything, and a second one writes nothing", &[], |world| Box::pin(life::start(world))),
    holds("drift is planned, and repaired by the next start", &[], |world| Box::pin(life::drift(world))),
    holds("a manifest that asks for less takes away what the job put there", &[], |world| Box::pin(life::less(world))),
    holds("delete takes away what was added and nothing else, and again finds nothing", &[], |world| Box::pin(life::delete(world))),
    holds("delete works after the namespace is gone", &[], |world| Box::pin(life::namespace_gone(world))),
    holds("a role that somebody else made is refused and stays as it is", &[], |world| Box::pin(life::foreign(world))),
    holds("a role whose name differs only by case is refused", &[Lack::CaseOfNames], |world| Box::pin(life::foreign_by_case(world))),
    holds("a ServiceAccount with a role of somebody else is refused and stays as it is", &[], |world| Box::pin(life::held(world))),
    holds("a policy that is not there is said in IAM's words", &[], |world| Box::pin(life::no_policy(world))),
    holds("a permission policy that IAM would refuse is refused before anything is made", &[], |world| {
        Box::pin(life::malformed_policy(world))
    }),
    holds("further subjects, another audience and patterns are written, found again and taken back", &[], |world| {
        Box::pin(life::trust_policies(world))
    }),
    holds("IAM takes the trust policies that the job writes for trust policies", &[Lack::TrustPolicyCheck], |world| {
        Box::pin(life::trust_policies(world))
    }),
    holds("two environments share a role, one leaves, the other stays in", &[], |world| Box::pin(sharing::leaving(world))),
    holds("four environments that start at once on one role are all in, and leave at once", &[], |world| Box::pin(sharing::at_once(world))),
    holds("a role that others delete first is as good as deleted", &[Lack::Moments], |world| Box::pin(sharing::gone_first(world))),
    holds("a role that the last one out deletes while another comes in is made again", &[Lack::Moments], |world| {
        Box::pin(sharing::gone_meanwhile(world))
    }),
    holds("sweep removes what a namespace that is gone has left", &[], |world| Box::pin(sharing::sweep(world))),
    holds("a trust policy that would be too long is refused, and nothing is written", &[], |world| Box::pin(sharing::full(world))),
    holds("a role given by ARN needs the statement of docs/permissions.md, and is left as it was", &[Lack::CallerPermissions], |world| {
        Box::pin(permissions::given(world))
    }),
    holds("the published policy lets nothing be made outside its path", &[Lack::CallerPermissions], |world| {
        Box::pin(permissions::outside(world))
    }),
    holds("with the published boundary policy no role is made without the boundary", &[Lack::CallerPermissions], |world| {
        Box::pin(permissions::bounded(world))
    }),
    holds("without rbac.yaml the cluster's refusal is said, and nothing is written", &[], |world| Box::pin(permissions::no_rbac(world))),
    holds("under the guard a whole life of an environment passes", &[Lack::AdmissionPolicies], |world| Box::pin(guard::life(world))),
    holds(
        "the group of the job gets no token that the API server takes, and none in a foreign namespace",
        &[Lack::AdmissionPolicies],
        |world| Box::pin(guard::tokens(world)),
    ),
    holds("the group of the job changes no ServiceAccount but as the job does", &[Lack::AdmissionPolicies], |world| {
        Box::pin(guard::service_accounts(world))
    }),
    holds(
        "a pod gets the role, and neither another ServiceAccount nor another audience does",
        &[Lack::Tokens, Lack::TrustPolicies],
        |world| Box::pin(proof::pod(world)),
    ),
    holds("a forged token gets no role", &[Lack::Tokens, Lack::TokenSignature], |world| Box::pin(proof::forgery(world))),
    holds("doctor finds the chain whole, and names the link that is broken", &[Lack::Tokens], |world| Box::pin(proof::doctor(world))),
];
