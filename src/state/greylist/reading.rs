//! What a session asks before it proposes anything: most tries change nothing.

use super::{Decision, GreyTry, decide};
use crate::mail::ids::Timestamp;
use crate::state::keys;
use crate::state::reading::get;
use crate::state::rows::{Rows, RowsError};

/// By these rows, which may be behind: whatever is to be kept is decided once more in apply.
pub fn look(rows: &dyn Rows, wanted: &GreyTry, at: Timestamp) -> Result<Decision, RowsError> {
    let triplet = get(rows, &keys::grey_triplet(wanted.triplet))?;
    let client = get(rows, &keys::grey_client(wanted.client))?;
    Ok(decide(&wanted.terms, triplet.as_ref(), client.as_ref(), at))
}
