//! The services that a run speaks to, and how it speaks: each client turns its service's answers into nouns of the model and its errors into
//! [`call::CallError`]. What a service says in words is read here and nowhere else.

pub mod aws;
pub mod call;
pub mod http;
pub mod kubernetes;
pub mod qovery;
