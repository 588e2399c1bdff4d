//! A moment, to the second, in the form that tags and labels can hold.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, UNIX_EPOCH},
};

/// The last second of the year 9999: what comes later has no four digits for its year.
const LAST: u64 = 253_402_300_799;

/// Seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(u64);

impl Date {
    /// So long after the beginning of 1970.
    #[must_use]
    pub fn since_1970(time: Duration) -> Self {
        Self(time.as_secs().min(LAST))
    }

    /// This long after it.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time.as_secs()).min(LAST))
    }

    /// As people read it: `2026-11-26T08:30:00Z`.
    #[must_use]
    pub fn readable(self) -> String {
        humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(self.0)).to_string()
    }
}

/// As a tag or label holds it: `2026-11-26T08.30.00Z`. The value of a label takes no colon.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>
impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.readable().replace(':', "."))
    }
}

/// A text that is no date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoDate;

impl FromStr for Date {
    type Err = NoDate;

    fn from_str(text: &str) -> Result<Self, NoDate> {
        let time = humantime::parse_rfc3339(&text.replace('.', ":")).map_err(|_| NoDate)?;
        time.duration_since(UNIX_EPOCH).map(Self::since_1970).map_err(|_| NoDate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_read_as_it_is_written_and_fits_a_label() {
        let date = Date(1_795_681_800);
        assert_eq!((date.to_string().as_str(), date.readable().as_str()), ("2026-11-26T08.30.00Z", "2026-11-26T08:30:00Z"));
        assert_eq!(date.to_string().parse(), Ok(date));
        assert_eq!(date.after(Duration::from_hours(1)).to_string(), "2026-11-26T09.30.00Z");
        assert_eq!(Date(u64::MAX).after(Duration::MAX).to_string(), "9999-12-31T23.59.59Z");
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in ["", "wanted", "2026-11-26", "2026-13-26T08.30.00Z", "99999-11-26T08.30.00Z"] {
            assert_eq!(text.parse::<Date>(), Err(NoDate), "{text}");
        }
    }
}
