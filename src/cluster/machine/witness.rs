//! The witness's small state: how far it heard, and the membership. One file, replaced as a whole.

use std::io;
use std::path::PathBuf;

use super::Progress;
use crate::store::files;

/// Where the witness remembers its progress. Written before the log behind it may be purged, not at each entry:
/// what lies between is in the log.
#[derive(Debug, Clone)]
pub struct WitnessFile {
    path: PathBuf,
}

impl WitnessFile {
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub fn read(&self) -> io::Result<Progress> {
        match std::fs::read(&self.path) {
            Ok(bytes) => Progress::from_bytes(&bytes).map_err(|error| {
                io::Error::other(format!(
                    "{} cannot be used ({error}): remove this witness from the cluster and join it anew",
                    self.path.display()
                ))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Progress::default()),
            Err(error) => Err(error),
        }
    }

    /// Durable when it returns. Blocks.
    pub fn write(&self, progress: &Progress) -> io::Result<()> {
        files::write_atomically(&self.path, &progress.to_bytes())
    }
}
