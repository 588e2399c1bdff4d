//! Durations as people write them: `300`, `5m`, `1h30m`.

use std::ops::RangeInclusive;

use super::{limits::LONGEST_DURATION, problems::quoted};

/// A duration within bounds, in whole seconds.
///
/// A bare number is seconds; otherwise numbers with `h`, `m` or `s`.
///
/// # Errors
/// The text is no such duration, or one out of bounds.
pub(in crate::config) fn parse(text: &str, bounds: &RangeInclusive<u32>) -> Result<u32, String> {
    let seconds =
        seconds(text).ok_or_else(|| format!("{} is not a duration: use seconds, or a text such as `90m` or `1h30m`", quoted(text)))?;
    u32::try_from(seconds)
        .ok()
        .filter(|seconds| bounds.contains(seconds))
        .ok_or_else(|| format!("{} is out of bounds: use {} to {}", quoted(text), shown(*bounds.start()), shown(*bounds.end())))
}

/// A bound in its largest whole unit.
fn shown(seconds: u32) -> String {
    match seconds {
        0 => "0s".to_owned(),
        _ if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        _ if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

fn seconds(text: &str) -> Option<u64> {
    let text = text.trim();
    // Letters and length are bounded first: humantime also takes months and nanoseconds, and near the end of its range it panics.
    if text.is_empty() || text.len() > LONGEST_DURATION || !text.bytes().all(|byte| byte.is_ascii_digit() || b"hms".contains(&byte)) {
        return None;
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    let duration = humantime::parse_duration(text).ok()?;
    (duration.subsec_nanos() == 0).then_some(duration.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn usual_forms_are_seconds() {
        for (text, expected) in
            [("300", 300), ("0300", 300), ("5m", 300), ("300s", 300), ("1h", 3600), ("90m", 5400), ("1h30m", 5400), (" 5m ", 300)]
        {
            assert_eq!(parse(text, &(0..=10_000)), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            " ",
            "h",
            "1",
            "1.5h",
            "-1",
            "1d",
            "5 m",
            "1M",
            "5ms",
            "1e3",
            "18446744073709551615s",
            "99999999999999h",
            "999999999999999",
            "５m",
        ] {
            assert!(parse(text, &(10..=3600)).is_err(), "{text:?}");
        }
        assert_eq!(parse("1d", &(10..=3600)).unwrap_err(), "`1d` is not a duration: use seconds, or a text such as `90m` or `1h30m`");
        assert_eq!(parse("9s", &(10..=3600)).unwrap_err(), "`9s` is out of bounds: use 10s to 1h");
        assert_eq!(parse("61", &(0..=60)).unwrap_err(), "`61` is out of bounds: use 0s to 1m");
    }

    proptest! {
        #[test]
        fn any_text_is_a_duration_within_bounds_or_refused(text in "[0-9hms. ]{0,24}|(?s).{0,24}") {
            if let Ok(seconds) = parse(&text, &(10..=3600)) {
                prop_assert!((10..=3600).contains(&seconds));
            }
        }
    }
}
