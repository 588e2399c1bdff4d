//! `qovery-irsa`: gives the services of a Qovery environment on EKS their AWS permissions, as a Qovery lifecycle job.
//!
//! The rooms of the source, from the top down, each with those that it may use. Nothing leads up, and no folder has a circle in it: a test
//! holds both, and that no arrow is drawn that nothing uses.
//!
//! ```text
//! run       → cli doctor bootstrap install hint steps report plan clients config model
//! doctor    → hint steps report clients model
//! bootstrap → hcl hint steps report plan clients config model
//! install   → hcl steps report plan clients config model
//! hint      → steps clients model
//! steps     → report plan clients config model
//! report    → plan clients config model
//! cli       → plan config
//! plan      → model
//! clients   → model
//! config    → model
//! model     → –
//! hcl       → –
//! ```
//!
//! | room | what is in it |
//! |---|---|
//! | `run` | the program in one function: what each command does, how it ends, why it failed |
//! | `doctor` | the chain from ServiceAccount to role, link by link |
//! | `bootstrap` | what the jobs of a cluster need in AWS to run without a key; only in builds for laptops (feature `laptop`) |
//! | `install` | the lifecycle job itself: reads the environment of Qovery, plans, carries out; prints it as Terraform |
//! | `hint` | what a person can do, from the kind of a failure alone |
//! | `steps` | one step of a run each: connect, observe, apply, prove, write outputs; converge is the loop over them, over a `World`: the connection, or a test's |
//! | `report` | what one sees: lines, JSON, exit codes |
//! | `cli` | the arguments |
//! | `plan` | desired × observed → plan or refusals: pure decisions |
//! | `clients` | AWS, Kubernetes, Qovery: calls, and their errors with a meaning; patience and rate |
//! | `config` | variables and manifest → configuration, all problems at once |
//! | `model` | the nouns |
//! | `hcl` | the language of Terraform as text |

#[cfg(feature = "laptop")]
pub mod bootstrap;
pub mod cli;
pub mod clients;
pub mod config;
pub mod doctor;
mod hcl;
pub mod hint;
pub mod install;
pub mod model;
pub mod plan;
pub mod report;
mod run;
pub mod steps;

pub use run::run;
