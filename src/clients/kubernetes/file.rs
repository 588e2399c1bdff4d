//! Files that Kubernetes mounts or a person keeps: no larger than any of them can be.

use std::{fs::File, io::Read as _, path::Path};

/// What Kubernetes mounts is some kilobytes; a file that is larger than this is another.
const LARGEST_FILE: u64 = 1024 * 1024;

/// Reads what Kubernetes mounts.
pub(super) fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(LARGEST_FILE + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LARGEST_FILE {
        return Err(std::io::Error::other(format!("it is larger than {LARGEST_FILE} bytes")));
    }
    Ok(content)
}
