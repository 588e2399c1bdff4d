//! `qovery-irsa`: gives the services of a Qovery environment on EKS their AWS permissions.

pub mod model;
