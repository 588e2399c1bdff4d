//! The exit codes of the process.

/// Done, or nothing to do.
pub const DONE: u8 = 0;
/// A service failed: running again may help.
pub const FAILED: u8 = 1;
/// Configuration: running again does not help.
pub const MISCONFIGURED: u8 = 2;
/// Something may not be touched: a person must decide.
pub const REFUSED: u8 = 3;
/// All is as it should be, and yet no pod would get its role.
pub const NOT_PROVEN: u8 = 4;
/// `plan` found something to do.
pub const TO_DO: u8 = 10;
