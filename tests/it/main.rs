//! Whole runs of the real binary against the local AWS and Kubernetes, over HTTPS, each in a process with a cleared environment.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]

mod access {
    mod other_cluster;
    mod profiles;
    mod proxy;
    mod ways;
}
mod concurrency {
    mod properties;
    mod schedules;
    mod sequences;
    mod storm;
    pub(crate) mod together;
}
mod cost;
mod documents {
    pub(crate) mod promises;
    mod readme;
    mod source;
}
mod faults {
    mod calls;
    mod deadline;
    pub(crate) mod killed;
    mod matrix;
}
mod hostile;
mod house;
mod leaving {
    mod departures;
    pub(crate) mod identities;
    mod terminating;
}
mod permissions {
    mod guard;
    mod policies;
}
mod proof {
    mod deploy;
    pub(crate) mod doctor;
    mod verdicts;
}
mod qovery {
    mod binding;
    pub(crate) mod events;
    mod install;
    mod keys;
}
mod start {
    mod hands;
    mod lessons;
    mod moving_over;
    mod process;
    mod refusals;
    pub(crate) mod runs;
}
mod support {
    pub(crate) mod environment;
    pub(crate) mod shop;
    pub(crate) mod virtual_cloud;
}
