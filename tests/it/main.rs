//! Whole runs of the real binary against the local AWS and Kubernetes, over HTTPS, each in a process with a cleared environment.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]

mod access {
    mod mounted;
    mod other_cluster;
    mod profiles;
    mod proxy;
    mod ways;
}
mod bootstrap {
    mod access;
    mod faults;
    mod life;
    mod permissions;
    mod reaching;
    mod refusals;
    mod removal;
    mod sweeping;
    mod terraform;
}
mod concurrency {
    mod crowd;
    mod properties;
    mod schedules;
    mod sequences;
    mod storm;
    mod together;
}
mod cost;
mod documents {
    mod promises;
    mod readme;
    mod source;
}
mod faults {
    mod calls;
    mod deadline;
    mod killed;
    mod matrix;
}
mod hostile;
mod house;
mod keyless {
    mod readme;
    mod walk;
}
mod leaving {
    mod departures;
    mod identities;
    mod terminating;
}
mod permissions {
    mod guard;
    mod keyless;
    mod least_privilege;
    mod policies;
    mod qovery_tokens;
}
mod pod_identity {
    mod agent;
    mod configuration;
    mod deploy;
    mod doctor;
    mod leaving;
    mod moving;
    mod proof;
    mod refused;
    mod role_only;
}
mod proof {
    mod deploy;
    mod doctor;
    mod verdicts;
}
mod qovery {
    mod binding;
    mod deploy;
    mod events;
    mod install;
    mod keyless;
    mod keys;
}
mod start {
    mod hands;
    mod moving_over;
    mod process;
    mod refusals;
    mod runs;
}
/// What tests share. No test is in here, and no test file is used by another.
mod support {
    pub(crate) mod environment;
    pub(crate) mod extent;
    pub(crate) mod fixtures;
    pub(crate) mod keyless;
    pub(crate) mod pod_identity;
    pub(crate) mod repository;
    pub(crate) mod shop;
    pub(crate) mod virtual_world;
    pub(crate) mod zone;
}
