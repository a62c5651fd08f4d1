//! The map of rows: whole by its text, fresh by the row tests' evidence.

use super::report::Finding;
use crate::linux_map;
use anyhow::Result;

/// Rows that the committed map must show with code and test, and does not.
pub(crate) fn findings() -> Result<Vec<Finding>> {
    let missing = linux_map::missing_in_file()?;
    Ok(missing
        .into_iter()
        .map(|row| format!("{}: {row} has no code and test", linux_map::PATH))
        .collect())
}

/// Whether the committed map differs from what the row tests show now.
pub(crate) fn staleness() -> Result<Option<Finding>> {
    let stale = linux_map::is_stale()?;
    Ok(stale.then(|| format!("{}: stale; run `cargo xtask linux-map`", linux_map::PATH)))
}
