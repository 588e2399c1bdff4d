//! One call to a service: how it fails, how long it may take, and when it is tried again.
//!
//! Each adapter turns its own errors into [`CallError`]; nobody else sees an SDK's, and nobody else reads a service's words.

mod back_off;
mod error;
mod pace;
mod patience;

pub use back_off::BackOff;
pub use error::{
    Admission, CallError, CredentialFault, Denial, DeniedBy, DocumentFault, ErrorKind, Failed, HeldField, Missing, PodFault, Quota,
    RoleFault, TokenFault,
};
pub use patience::{Patience, Spent, Took, Waiting};
