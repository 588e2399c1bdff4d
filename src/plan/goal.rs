//! What a plan is made for, and how fresh what it is made from is.

/// What a run is to bring about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// All as desired.
    Start,
    /// All gone that this job made, that no identity has named for long enough and that nobody uses.
    Prune,
    /// All gone that this environment added.
    Delete,
    /// All gone that environments have left which no longer exist.
    Sweep,
    /// All gone that belongs to an issuer which no longer exists.
    Retire(Provision),
}

/// What becomes of the OIDC provider of an issuer that no longer exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provision {
    /// It stays.
    Keep,
    /// It goes, if the tool made it.
    Remove,
}

/// Whether a plan is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is printed and applied.
    Apply,
    /// It is only printed.
    DryRun,
}

/// Whether an observation is known to show all that was written before a settle time ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It may show the past.
    Unsettled,
    /// A settle time has passed since the run's own last write.
    Settled,
}
