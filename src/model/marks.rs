//! Marks: which jobs want a thing that the tool made. Each job writes only its own, so that no two overwrite each other's.
//!
//! A mark is a tag of a role or a label of a ServiceAccount. Its key names the job, its value says that the job wants the thing, or since
//! when the job's manifest no longer names it.

use std::collections::{BTreeMap, BTreeSet};

use super::{date::Date, gather::Gather as _, names::name};

/// The tag that says whose role it is: `<namespace>/<service account>`, `shared` or `cluster`.
pub const OWNER_TAG: &str = "qovery-irsa/owner";
/// With what every tag of the tool begins.
pub const OWN_TAG_PREFIX: &str = "qovery-irsa/";

name!(
    /// The first eight digits of a job's id, by which its marks are told apart. Qovery names the outputs of a job by the same digits.
    JobMark,
    "the beginning of a job's id",
    "use the first eight hexadecimal digits, as `1a2b3c4d`",
    |text| text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
);

impl JobMark {
    /// The mark of the job with this id, if it is an id of Qovery.
    #[must_use]
    pub fn of_job(id: &str) -> Option<Self> {
        id.get(..8)?.to_ascii_lowercase().parse().ok()
    }

    /// The key of its tag on a role.
    #[must_use]
    pub fn tag(&self) -> String {
        format!("{TAG_PREFIX}{self}")
    }

    /// The field manager of its label on a ServiceAccount: of no other job, so that no apply of one takes away the label of another.
    #[must_use]
    pub fn field_manager(&self) -> String {
        format!("{MANAGER_PREFIX}{self}")
    }

    /// The job whose field manager this is.
    #[must_use]
    pub fn of_manager(manager: &str) -> Option<Self> {
        manager.strip_prefix(MANAGER_PREFIX)?.parse().ok()
    }

    /// The key of its label on a ServiceAccount.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{LABEL_PREFIX}{self}")
    }
}

const TAG_PREFIX: &str = "qovery-irsa/job/";
const LABEL_PREFIX: &str = "qovery-irsa/job-";
const MANAGER_PREFIX: &str = "qovery-irsa-job-";

/// The value of a mark that says that the job wants the thing.
pub const WANTED: &str = "wanted";

/// Whether the key of a label is that of a mark.
#[must_use]
pub fn is_label(key: &str) -> bool {
    key.strip_prefix(LABEL_PREFIX).is_some_and(|job| job.parse::<JobMark>().is_ok())
}

/// What a mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The job wants the thing.
    Wanted,
    /// The job's manifest has not named it since.
    LeftSince(Date),
}

impl Mark {
    /// The value of the tag or label.
    #[must_use]
    pub fn value(self) -> String {
        match self {
            Self::Wanted => WANTED.to_owned(),
            Self::LeftSince(date) => date.to_string(),
        }
    }

    /// Reads a value. One that is no date means that the thing is wanted: what is not understood removes nothing.
    fn of(value: &str) -> Self {
        value.parse().map_or(Self::Wanted, Self::LeftSince)
    }
}

/// What is known of the jobs that have left marks. Without knowledge every mark counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Jobs {
    /// Nothing: nobody could be asked.
    #[default]
    Unknown,
    /// Only these exist.
    Exist(BTreeSet<JobMark>),
    /// These no longer exist.
    Gone(BTreeSet<JobMark>),
}

impl Jobs {
    /// What a list of the jobs that exist says of those whose marks were seen before it was asked for: a job that is made after that is
    /// neither. A list without the job that asks is not believed.
    #[must_use]
    pub fn listed(exist: &BTreeSet<JobMark>, seen: &BTreeSet<JobMark>, own: &JobMark) -> Self {
        if exist.contains(own) { Self::Gone(seen.difference(exist).cloned().gather()) } else { Self::Unknown }
    }
}

/// The marks on a thing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks(BTreeMap<JobMark, Mark>);

impl Marks {
    /// Those among the tags of a role.
    #[must_use]
    pub fn of_tags<'a>(tags: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        Self::read(tags, TAG_PREFIX)
    }

    /// Those among the labels of a ServiceAccount.
    #[must_use]
    pub fn of_labels<'a>(labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        Self::read(labels, LABEL_PREFIX)
    }

    fn read<'a>(pairs: impl IntoIterator<Item = (&'a String, &'a String)>, prefix: &str) -> Self {
        Self(pairs.into_iter().filter_map(|(key, value)| Some((key.strip_prefix(prefix)?.parse().ok()?, Mark::of(value)))).gather())
    }

    /// The mark of a job.
    #[must_use]
    pub fn of(&self, job: Option<&JobMark>) -> Option<Mark> {
        self.0.get(job?).copied()
    }

    /// The jobs other than this one that want the thing or did, without those that are known to be gone.
    #[must_use]
    pub fn others(&self, job: Option<&JobMark>, gone: &BTreeSet<JobMark>) -> BTreeSet<JobMark> {
        self.0.keys().filter(|other| Some(*other) != job && !gone.contains(other)).cloned().gather()
    }

    /// All jobs that have a mark here.
    pub fn jobs(&self) -> impl Iterator<Item = &JobMark> {
        self.0.keys()
    }

    /// Whether there is none: an earlier version made the thing, or a run without a job's id.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_job_has_the_first_eight_digits_of_its_id_and_what_is_no_id_has_no_mark() {
        let mark = JobMark::of_job("1A2B3C4D-0000-4000-8000-000000000000").unwrap();
        assert_eq!((mark.tag().as_str(), mark.label().as_str()), ("qovery-irsa/job/1a2b3c4d", "qovery-irsa/job-1a2b3c4d"));
        for id in ["", "1a2b", "job-of-mine", "1a2b3c4é"] {
            assert_eq!(JobMark::of_job(id), None, "{id}");
        }
    }

    #[test]
    fn marks_of_others_count_until_their_job_is_known_to_be_gone() {
        let found = tags(&[
            ("qovery-irsa/job/aaaaaaaa", "wanted"),
            ("qovery-irsa/job/bbbbbbbb", "2026-11-26T08.30.00Z"),
            ("qovery-irsa/job/odd", "wanted"),
            ("team", "platform"),
        ]);
        let marks = Marks::of_tags(&found);
        let job = |text: &str| text.parse::<JobMark>().unwrap();
        assert_eq!(marks.of(Some(&job("aaaaaaaa"))), Some(Mark::Wanted));
        assert!(matches!(marks.of(Some(&job("bbbbbbbb"))), Some(Mark::LeftSince(_))));
        assert_eq!((marks.of(Some(&job("cccccccc"))), marks.of(None)), (None, None));
        assert_eq!(marks.others(Some(&job("aaaaaaaa")), &BTreeSet::new()), [job("bbbbbbbb")].into());
        assert_eq!(marks.others(Some(&job("aaaaaaaa")), &[job("bbbbbbbb")].into()), BTreeSet::new());
        assert_eq!(marks.others(None, &BTreeSet::new()).len(), 2);
    }

    #[test]
    fn a_value_that_is_not_understood_means_that_the_thing_is_wanted() {
        let marks = Marks::of_labels(&tags(&[("qovery-irsa/job-aaaaaaaa", "later")]));
        assert_eq!(marks.of("aaaaaaaa".parse().ok().as_ref()), Some(Mark::Wanted));
        assert!(is_label("qovery-irsa/job-aaaaaaaa") && !is_label("qovery-irsa/job-x") && !is_label("team"));
    }
}
