//! A local AWS (IAM, STS, EKS) and Kubernetes API on loopback, exact enough to judge `qovery-irsa` by.

pub mod service;
