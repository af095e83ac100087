//! Who takes the spans of requests.

use std::sync::Arc;

use super::Paths;
use crate::conf::ConfError;
use crate::conf::error::os_text;
use crate::modules::HttpBlock;
use crate::otel::{Exporter, check_certificates};
use crate::snapshot::Snapshot;

/// The exporter a configuration asks for: that of the one before it where it asks for the same.
pub(super) fn open(
    http: &HttpBlock,
    previous: Option<&Snapshot>,
    paths: &Paths,
    workers: usize,
) -> Result<Option<Arc<Exporter>>, ConfError> {
    let trusted = http.exporter.trusted_certificate().map(|word| {
        let folder = paths.conf.parent().unwrap_or(&paths.prefix);
        let path = folder.join(word.as_str());
        let read = std::fs::read(&path);
        let read = read.map_err(|it| {
            word.refuse(format!("failed to open \"{}\" {}", path.display(), os_text(&it)))
        })?;
        let checked = check_certificates(&read);
        let failed = |it| word.refuse(format!("failed to read \"{}\": {it}", path.display()));
        checked.map(|()| read).map_err(failed)
    });
    let Some(target) = http.exporter.target(trusted.transpose()?, workers) else { return Ok(None) };
    let before = previous.and_then(|it| it.exporter.as_ref()).filter(|it| it.is_for(&target));
    Ok(Some(before.cloned().unwrap_or_else(|| Arc::new(Exporter::new(target)))))
}
