//! Dates as AWS writes them: ISO 8601 in answers, the basic format in signatures. UTC only.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: u64 = 86_400;

/// Seconds since 1970; zero before it.
pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

pub(crate) fn from_unix_seconds(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// `2026-11-24T06:35:00Z`.
pub(crate) fn iso8601(time: SystemTime) -> String {
    let (date, clock) = civil(time);
    format!("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", date.0, date.1, date.2, clock.0, clock.1, clock.2)
}

/// `20261124T063500Z`.
pub(crate) fn basic(time: SystemTime) -> String {
    iso8601(time).replace(['-', ':'], "")
}

/// Reads `20261124T063500Z`.
pub(crate) fn parse_basic(text: &str) -> Option<SystemTime> {
    let digits = text.strip_suffix('Z')?.replacen('T', "", 1);
    if text.len() != 16 || digits.len() != 14 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = |from: usize, to: usize| digits.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(8, 10)?, number(10, 12)?, number(12, 14)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    Some(from_unix_seconds(days_from_civil(year, month, day) * DAY + hour * 3600 + minute * 60 + second))
}

type Three = (u64, u64, u64);

fn civil(time: SystemTime) -> (Three, Three) {
    let seconds = unix_seconds(time);
    let (days, rest) = (seconds / DAY, seconds % DAY);
    (civil_from_days(days), (rest / 3600, rest % 3600 / 60, rest % 60))
}

/// Days since 1970-01-01 to year, month and day: years start in March, so that the leap day is the last one.
fn civil_from_days(days: u64) -> Three {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let (era, of_era) = (year / 400, year % 400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted_month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_and_read_back() {
        for (seconds, iso) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_102_444_800, "2100-01-01T00:00:00Z"),
        ] {
            let time = from_unix_seconds(seconds);
            assert_eq!(iso8601(time), iso);
            assert_eq!(parse_basic(&basic(time)), Some(time));
        }
    }

    #[test]
    fn other_forms_of_a_date_are_refused() {
        for text in ["", "2026-11-24T06:35:00Z", "20261124T063500", "20261324T063500Z"] {
            assert_eq!(parse_basic(text), None, "{text}");
        }
    }
}
