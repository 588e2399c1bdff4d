//! How far a test goes that could go on: `cargo test` is to be over soon, `LONG=1 cargo test` plays all of it.

/// The one for every run of the tests, or the one for `LONG=1`.
pub(crate) fn extent<T>(short: T, long: T) -> T {
    if std::env::var_os("LONG").is_some_and(|value| value == "1") { long } else { short }
}
