//! `qovery-irsa`: gives the services of a Qovery environment on EKS their AWS permissions, as a Qovery lifecycle job.
//!
//! The rooms, and who may use whom:
//!
//! ```text
//! main → run → config        variables and manifest → Config, all problems at once
//!            → connect       AWS, Kubernetes, the cluster's issuer            → adapters
//!                → issuer    whose tokens the cluster issues, and whether it is the one that is meant → adapters
//!            → converge      the loop: observe → plan → apply until nothing is to do, over a `Cloud`: the connection, or a test's
//!                → observe   what is there                                    → adapters
//!                → plan      desired × observed → Plan or refusals: pure
//!                → apply     one call for each action                         → adapters
//!            → departure     before a delete: whether the environment goes, and its pods have ended; retire: whether an issuer is dead → adapters
//!            → install       the lifecycle job itself: sees the environment in Qovery, plans, carries out → adapters; terraform prints it
//!            → doctor        the chain from ServiceAccount to role, link by link → adapters
//!            → prove         a token minted for the ServiceAccount gets the role → adapters
//!            → output        the job's outputs for Qovery
//!            → report        what one sees: lines, JSON, exit codes
//! run/error = why a run failed; hint: what a person can do, from the kind of a failure alone
//! adapters = aws, kubernetes, qovery (over http and call; pace: how fast): a service's words are read there and nowhere else
//! everything → model, model → nothing
//! ```

pub mod apply;
pub mod aws;
pub mod call;
pub mod cli;
pub mod cloud;
pub mod config;
pub mod connect;
mod connection;
pub mod converge;
mod departure;
pub mod doctor;
pub mod exit;
pub mod hint;
pub mod http;
pub mod install;
mod issuer;
pub mod kubernetes;
pub mod model;
pub mod observe;
pub mod output;
pub mod pace;
pub mod plan;
pub mod prove;
pub mod qovery;
pub mod report;
mod retire;
mod run;
pub mod step;
pub mod terraform;

pub use run::run;
