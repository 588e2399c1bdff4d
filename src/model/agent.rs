//! Whether a cluster has the agent of EKS Pod Identity: what its signs say together.

use super::association::KnownAgent;

/// The add-on that brings the agent, and the `DaemonSet` of each way to install it.
/// <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-agent-setup.html>
pub const AGENT: &str = "eks-pod-identity-agent";

/// What was learned of one sign.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sight<T> {
    /// Nobody looked.
    #[default]
    NotRead,
    /// The job may not look: why, in words.
    Hidden(String),
    /// This.
    Read(T),
}

/// The add-on, by what its status means for the agent.
/// <https://docs.aws.amazon.com/eks/latest/APIReference/API_Addon.html>
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddOn {
    /// The cluster has none.
    Absent,
    /// It was installed once, and its agent is still there: it is active, is updated, or some of its pods do not run.
    Installed,
    /// It is being installed.
    Coming,
    /// It could not be installed, or is being removed: with its status.
    Failed(String),
}

/// Whether EKS runs the nodes, and the agent on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoMode {
    /// It does.
    On,
    /// It does not.
    Off,
}

/// Whether a `DaemonSet` of the agent is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaemonSet {
    /// It is.
    Present,
    /// It is not.
    Absent,
}

/// The signs of it, in the order in which they are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// The add-on.
    pub add_on: Sight<AddOn>,
    /// The cluster.
    pub auto_mode: Sight<AutoMode>,
    /// The namespace `kube-system`.
    pub daemon_set: Sight<DaemonSet>,
}

impl Signs {
    /// What they say together. One that says yes is enough; that there is none takes all of them.
    ///
    /// | add-on | Auto Mode | `DaemonSet` | agent |
    /// |---|---|---|---|
    /// | installed | | | runs |
    /// | | on | | runs |
    /// | | | present | runs |
    /// | is being installed | otherwise | otherwise | not known: it comes |
    /// | none, or failed | off | absent | missing |
    /// | otherwise | | | not known |
    #[must_use]
    pub fn agent(&self) -> KnownAgent {
        let Self { add_on, auto_mode, daemon_set } = self;
        match (add_on, auto_mode, daemon_set) {
            (Sight::Read(AddOn::Installed), ..) => KnownAgent::Runs(format!("add-on `{AGENT}`")),
            (_, Sight::Read(AutoMode::On), _) => KnownAgent::Runs("EKS Auto Mode".to_owned()),
            (.., Sight::Read(DaemonSet::Present)) => KnownAgent::Runs(format!("a DaemonSet of `{AGENT}`")),
            (Sight::Read(AddOn::Coming), ..) => KnownAgent::Unknown(format!("add-on `{AGENT}` is being installed")),
            (Sight::Read(AddOn::Absent | AddOn::Failed(_)), Sight::Read(AutoMode::Off), Sight::Read(DaemonSet::Absent)) => {
                KnownAgent::Missing
            }
            _ => KnownAgent::Unknown(self.unseen()),
        }
    }

    /// Why it is not known.
    fn unseen(&self) -> String {
        let failed = match &self.add_on {
            Sight::Read(AddOn::Failed(status)) => Some(format!("add-on `{AGENT}` has status `{status}`")),
            _ => None,
        };
        let hidden = [hidden(&self.add_on), hidden(&self.auto_mode), hidden(&self.daemon_set)];
        failed.into_iter().chain(hidden.into_iter().flatten()).collect::<Vec<_>>().join("; ")
    }
}

fn hidden<T>(sight: &Sight<T>) -> Option<String> {
    match sight {
        Sight::Hidden(why) => Some(why.clone()),
        Sight::NotRead | Sight::Read(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sign_of_it_is_enough_and_that_there_is_none_takes_all() {
        use AddOn::{Absent, Coming, Failed, Installed};
        use Sight::{Hidden, NotRead, Read};
        let no = || "may not".to_owned();
        let failed = || Failed("CREATE_FAILED".to_owned());
        for (add_on, auto_mode, daemon_set, expected) in [
            (Read(Installed), NotRead, NotRead, "runs: add-on `eks-pod-identity-agent`"),
            (Read(Absent), Read(AutoMode::On), NotRead, "runs: EKS Auto Mode"),
            (Hidden(no()), Hidden(no()), Read(DaemonSet::Present), "runs: a DaemonSet of `eks-pod-identity-agent`"),
            (Read(failed()), Read(AutoMode::Off), Read(DaemonSet::Present), "runs: a DaemonSet of `eks-pod-identity-agent`"),
            (Read(Coming), Read(AutoMode::Off), Read(DaemonSet::Absent), "unknown: add-on `eks-pod-identity-agent` is being installed"),
            (Read(Coming), Read(AutoMode::Off), Hidden(no()), "unknown: add-on `eks-pod-identity-agent` is being installed"),
            (Read(Absent), Read(AutoMode::Off), Read(DaemonSet::Absent), "missing"),
            (Read(failed()), Read(AutoMode::Off), Read(DaemonSet::Absent), "missing"),
            (Read(Absent), Read(AutoMode::Off), Hidden(no()), "unknown: may not"),
            (Hidden(no()), Read(AutoMode::Off), Read(DaemonSet::Absent), "unknown: may not"),
            (Read(Absent), Hidden(no()), Read(DaemonSet::Absent), "unknown: may not"),
            (Hidden("a".to_owned()), Hidden("b".to_owned()), Hidden("c".to_owned()), "unknown: a; b; c"),
            (
                Read(failed()),
                Read(AutoMode::Off),
                Hidden(no()),
                "unknown: add-on `eks-pod-identity-agent` has status `CREATE_FAILED`; may not",
            ),
        ] {
            let signs = Signs { add_on, auto_mode, daemon_set };
            let known = match signs.agent() {
                KnownAgent::Runs(how) => format!("runs: {how}"),
                KnownAgent::Missing => "missing".to_owned(),
                KnownAgent::Unknown(why) => format!("unknown: {why}"),
                KnownAgent::NotRead => "not read".to_owned(),
            };
            assert_eq!(known, expected, "{signs:?}");
        }
    }
}
