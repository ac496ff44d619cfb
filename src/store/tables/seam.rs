//! What rows are kept on, where it is not the files of this room: the disk of a simulation. Each method promises
//! what the method of the same name on [`Tables`](super::Tables) promises.

use super::{Row, TablesError};
use crate::state::rows::{Batch, Rows};

pub trait RowDisk: Rows + 'static {
    fn write(&self, batch: Batch) -> Result<(), TablesError>;
    fn sync(&self) -> Result<(), TablesError>;
    /// All rows as they are at this moment, ascending.
    fn all(&self) -> Result<Vec<Row>, TablesError>;
    /// These rows in place of all others, durably.
    fn replace(&self, rows: Vec<Row>) -> Result<(), TablesError>;
}
