//! Whole runs of the real binary against the local AWS and Kubernetes, over HTTPS, each in a process with a cleared environment.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]

mod access;
mod before;
mod binding;
mod cost;
mod deadline;
mod departures;
mod doctor;
mod documents;
mod ending;
mod events;
mod faults;
mod guard;
mod hands;
mod harness;
mod hostile;
mod house;
mod install;
mod keys;
mod killed;
mod leaving;
mod lessons;
mod matrix;
mod moving_over;
mod other_cluster;
mod permissions;
mod process;
mod profiles;
mod proof;
mod properties;
mod proxy;
mod qovery;
mod readme;
mod runs;
mod schedules;
mod sequences;
mod source;
mod storm;
mod together;
mod verdicts;
mod virtual_cloud;
