//! Where do files of ours go that requests leave for a while?

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};

use crate::conf::ConfError;
use crate::conf::error::os_text;

/// A folder below `prefix`; it is made where it is missing, and given to who serves.
///
/// Source: nginx `ngx_file.c`, `ngx_create_paths`.
pub(super) fn make(prefix: &Path, name: &Path, owner: Option<u32>) -> Result<PathBuf, ConfError> {
    let path = prefix.join(name);
    let failed = |call: &str, error: &std::io::Error| {
        let text = format!("{call} \"{}\" failed {}", path.display(), os_text(error));
        ConfError::of_the_world(text)
    };
    match DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(failed("mkdir()", &error));
        }
        _ => {}
    }
    if let Some(owner) = owner {
        chown(&path, Some(owner), None).map_err(|it| failed("chown()", &it))?;
    }
    Ok(path)
}
