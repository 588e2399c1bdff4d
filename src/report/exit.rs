//! How the process ends: its exit code, and the word for it in the JSON document.

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// What was asked for is done.
    Done,
    /// Nothing was to be done.
    NothingToDo,
    /// A dry run found something to do.
    ToDo,
    /// `doctor` found nothing broken.
    Healthy,
    /// `doctor` found something broken.
    Broken,
    /// `doctor` could not see everything, and found nothing broken.
    Unknown,
    /// A service failed: running again may help.
    Failed,
    /// Configuration: running again does not help.
    Misconfigured,
    /// Something may not be touched: a person must decide.
    Refused,
    /// All is as it should be, and yet no pod would get its role.
    NotProven,
}

impl Exit {
    /// The exit code of the process.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done | Self::NothingToDo | Self::Healthy => 0,
            Self::Failed | Self::Broken | Self::Unknown => 1,
            Self::Misconfigured => 2,
            Self::Refused => 3,
            Self::NotProven => 4,
            Self::ToDo => 10,
        }
    }

    /// One word for machines.
    #[must_use]
    pub fn outcome(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NothingToDo => "nothing to do",
            Self::ToDo => "to do",
            Self::Healthy => "healthy",
            Self::Broken => "broken",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
            Self::Misconfigured => "misconfigured",
            Self::Refused => "refused",
            Self::NotProven => "not proven",
        }
    }
}

/// How a command ended that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// How the process ends.
    pub exit: Exit,
    /// The last line; none where what was printed speaks for itself.
    pub line: Option<String>,
}

impl End {
    /// It ended so, with this as its last line.
    #[must_use]
    pub fn new(exit: Exit, line: impl Into<String>) -> Self {
        Self { exit, line: Some(line.into()) }
    }

    /// What was printed speaks for itself.
    #[must_use]
    pub fn printed() -> Self {
        Self { exit: Exit::Done, line: None }
    }
}
