//! The form of a plan that the zone and its cluster access share.

/// What is to be done in order, and what people should know.
#[derive(Clone, Debug, PartialEq)]
pub struct PartPlan<A> {
    /// The actions.
    pub actions: Vec<A>,
    /// What was seen and left alone.
    pub notes: Vec<String>,
    /// What a removal leaves, since `bootstrap` did not make it.
    pub left: Vec<String>,
}

impl<A> Default for PartPlan<A> {
    fn default() -> Self {
        Self { actions: Vec::new(), notes: Vec::new(), left: Vec::new() }
    }
}
