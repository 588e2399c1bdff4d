//! The nouns: names, ARNs, policy documents, what is desired and what was observed.
//!
//! Everything may use this room and it uses nothing: no I/O, clock, environment or SDK type.

pub mod address;
pub mod advice;
pub mod agent;
pub mod anchor;
pub mod api_server;
pub mod applied;
pub mod arn;
pub mod association;
pub mod conditions;
pub mod containers;
pub mod date;
pub mod desired;
pub mod diagnosis;
pub mod document;
pub mod explain;
pub mod fingerprint;
pub mod gather;
pub mod grammar;
pub mod identity;
pub mod job;
pub mod lack;
pub mod line;
pub mod marks;
pub mod names;
pub mod observed;
pub mod oidc;
pub mod output;
pub mod ownership;
pub mod pod_diagnosis;
pub mod pods;
pub mod proof_pod;
pub mod qovery;
pub mod record;
pub mod registry;
pub mod role;
pub mod secret;
pub mod service;
pub mod sessions;
pub mod startup;
pub mod states;
pub mod subjects;
pub mod token;
pub mod trust;
pub mod variable;
