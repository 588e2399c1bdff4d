//! The main scenarios. Each has namespaces and roles of its own, and asks the servers what is there, not the job.

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

/// A sentence that holds, or does not.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// What a server must not lack for it to mean anything.
    pub(crate) needs: &'static [Lack],
    pub(crate) run: for<'a> fn(&'a World) -> Outcome<'a>,
}

/// All of them, in the order in which they are run.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "the first start makes everything, and a second one writes nothing",
        needs: &[],
        run: |world| Box::pin(life::start(world)),
    },
    Scenario { name: "drift is planned, and repaired by the next start", needs: &[], run: |world| Box::pin(life::drift(world)) },
    Scenario {
        name: "a manifest that asks for less takes away what the job put there",
        needs: &[],
        run: |world| Box::pin(life::less(world)),
    },
    Scenario {
        name: "delete takes away what was added and nothing else, and again finds nothing",
        needs: &[],
        run: |world| Box::pin(life::delete(world)),
    },
    Scenario {
        name: "a role that somebody else made is refused and stays as it is",
        needs: &[],
        run: |world| Box::pin(life::foreign(world)),
    },
    Scenario {
        name: "a role whose name differs only by case is refused",
        needs: &[Lack::CaseOfNames],
        run: |world| Box::pin(life::foreign_by_case(world)),
    },
    Scenario {
        name: "a ServiceAccount with a role of somebody else is refused and stays as it is",
        needs: &[],
        run: |world| Box::pin(life::held(world)),
    },
    Scenario { name: "a policy that is not there is said in IAM's words", needs: &[], run: |world| Box::pin(life::no_policy(world)) },
    Scenario {
        name: "two environments share a role, one leaves, the other stays in",
        needs: &[],
        run: |world| Box::pin(sharing::leaving(world)),
    },
    Scenario {
        name: "four environments that start at once on one role are all in",
        needs: &[],
        run: |world| Box::pin(sharing::at_once(world)),
    },
    Scenario { name: "sweep removes what a namespace that is gone has left", needs: &[], run: |world| Box::pin(sharing::sweep(world)) },
    Scenario {
        name: "IAM takes the trust policies that the job writes for what they are",
        needs: &[Lack::TrustPolicyCheck],
        run: |world| Box::pin(life::trust_policies(world)),
    },
    Scenario {
        name: "a shared role that is full is refused before IAM refuses it",
        needs: &[],
        run: |world| Box::pin(sharing::full(world)),
    },
    Scenario {
        name: "a role given by ARN needs the statement of docs/permissions.md, and is left as it was",
        needs: &[Lack::CallerPermissions],
        run: |world| Box::pin(permissions::given(world)),
    },
    Scenario {
        name: "the published policy lets nothing be made outside its path",
        needs: &[Lack::CallerPermissions],
        run: |world| Box::pin(permissions::outside(world)),
    },
    Scenario {
        name: "with the published boundary policy no role is made without the boundary",
        needs: &[Lack::CallerPermissions],
        run: |world| Box::pin(permissions::bounded(world)),
    },
    Scenario {
        name: "without rbac.yaml the cluster's refusal is said, and nothing is written",
        needs: &[],
        run: |world| Box::pin(permissions::no_rbac(world)),
    },
    Scenario {
        name: "a pod gets the role, and neither another ServiceAccount nor another audience does",
        needs: &[Lack::Tokens],
        run: |world| Box::pin(proof::pod(world)),
    },
    Scenario {
        name: "a forged token gets no role",
        needs: &[Lack::Tokens, Lack::TokenSignature],
        run: |world| Box::pin(proof::forgery(world)),
    },
    Scenario {
        name: "doctor finds the chain whole, and names the link that is broken",
        needs: &[Lack::Tokens],
        run: |world| Box::pin(proof::doctor(world)),
    },
];
