//! What is not known of Qovery: each fact that its public sources do not tell is a switch, and tests play the job in every world.

/// Whether a clone has the aliases that Qovery made of outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aliases {
    /// It has them.
    Cloned,
    /// It has none.
    NotCloned,
}

/// When a deployment reads the advanced settings of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingsRead {
    /// When it starts.
    AtStart,
    /// When the service's stage begins.
    PerStage,
}

/// When the delete event of a job runs, of the deletion of an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteEvent {
    /// Before the services are deleted: their pods run.
    Before,
    /// Beside their deletion: their pods are terminating.
    Beside,
    /// After it: there are no pods.
    After,
}

/// What a `PUT` does with what it does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is gone afterwards.
    Resets,
    /// It stays.
    Keeps,
}

/// What the state of the environment reads like while one service of it is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoneDelete {
    /// As before.
    EnvironmentUnchanged,
    /// As if the environment were deleted.
    EnvironmentDeleting,
}

/// Whether a deletion of the environment is also one of services that are skipped or were never deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// It is.
    Deleted,
    /// It leaves them out, and they go with the namespace.
    LeftOut,
}

/// Whether Qovery takes what the chart of a Helm service renders to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chart {
    /// It takes every namespaced kind that its engine lists, `Role` and `RoleBinding` among them.
    Taken,
    /// It refuses `Role` and `RoleBinding`.
    RoleRefused,
}

/// One way in which Qovery may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct World {
    /// Aliases of outputs in clones.
    pub aliases: Aliases,
    /// Advanced settings.
    pub settings: SettingsRead,
    /// The delete event.
    pub delete_event: DeleteEvent,
    /// Requests that replace.
    pub put: Put,
    /// A single service that is deleted.
    pub lone_delete: LoneDelete,
    /// Services that are skipped or were never deployed.
    pub left_out: LeftOut,
    /// Charts of Helm services.
    pub chart: Chart,
}

impl Default for World {
    fn default() -> Self {
        Self {
            aliases: Aliases::Cloned,
            settings: SettingsRead::AtStart,
            delete_event: DeleteEvent::Beside,
            put: Put::Resets,
            lone_delete: LoneDelete::EnvironmentDeleting,
            left_out: LeftOut::Deleted,
            chart: Chart::Taken,
        }
    }
}

impl World {
    /// Every combination.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for aliases in [Aliases::Cloned, Aliases::NotCloned] {
            for settings in [SettingsRead::AtStart, SettingsRead::PerStage] {
                for delete_event in [DeleteEvent::Before, DeleteEvent::Beside, DeleteEvent::After] {
                    for put in [Put::Resets, Put::Keeps] {
                        for lone_delete in [LoneDelete::EnvironmentUnchanged, LoneDelete::EnvironmentDeleting] {
                            for left_out in [LeftOut::Deleted, LeftOut::LeftOut] {
                                for chart in [Chart::Taken, Chart::RoleRefused] {
                                    all.push(Self { aliases, settings, delete_event, put, lone_delete, left_out, chart });
                                }
                            }
                        }
                    }
                }
            }
        }
        all
    }

    /// A few in which every two values of two switches come together: the one with most new pairs first, again and again.
    #[must_use]
    pub fn pairwise() -> Vec<Self> {
        let all = Self::all();
        let mut wanted: Vec<(usize, String, usize, String)> = all.iter().flat_map(|world| world.pairs()).collect();
        let mut chosen = Vec::new();
        while !wanted.is_empty() {
            let new = |world: &&Self| world.pairs().iter().filter(|pair| wanted.contains(pair)).count();
            let Some(best) = all.iter().max_by_key(new).copied() else { break };
            let covered = best.pairs();
            wanted.retain(|pair| !covered.contains(pair));
            chosen.push(best);
        }
        chosen
    }

    /// Each two switches with their values.
    fn pairs(self) -> Vec<(usize, String, usize, String)> {
        let values = [
            format!("{:?}", self.aliases),
            format!("{:?}", self.settings),
            format!("{:?}", self.delete_event),
            format!("{:?}", self.put),
            format!("{:?}", self.lone_delete),
            format!("{:?}", self.left_out),
            format!("{:?}", self.chart),
        ];
        let numbered: Vec<(usize, &String)> = values.iter().enumerate().collect();
        let pairs = numbered.iter().flat_map(|(one, first)| {
            let later = numbered.iter().filter(move |(other, _)| other > one);
            later.map(move |(other, second)| (*one, (*first).clone(), *other, (*second).clone()))
        });
        pairs.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_few_worlds_have_every_pair_and_all_have_every_combination() {
        let all = World::all();
        assert_eq!(all.len(), 192);
        let few = World::pairwise();
        assert!((6..=10).contains(&few.len()), "{}", few.len());
        for pair in all.iter().flat_map(|world| world.pairs()) {
            assert!(few.iter().any(|world| world.pairs().contains(&pair)), "{pair:?}");
        }
    }
}
