//! What a run does, one step a file: it connects, then observes, plans and applies until nothing is left to do, proves, and writes its
//! outputs. Before a delete it asks who still needs what would go.

pub mod apply;
pub mod connect;
pub mod converge;
pub(crate) mod departure;
mod error;
mod live;
pub mod observe;
pub mod output;
pub mod prove;
pub(crate) mod retire;
pub mod world;

pub use error::StepError;
