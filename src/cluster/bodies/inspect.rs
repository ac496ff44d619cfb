//! Looking at the bodies that are named, because an operator asks: whether they are here, or whether they read as they
//! should. What is wrong is mended from a peer, and named.

use std::time::Duration;

use bincode::{Decode, Encode};
use futures_util::{Stream, StreamExt};

use super::fetch::Urgency;
use super::{BodyService, blocking, disk};
use crate::cluster::replica::Fault;
use crate::mail::ids::BodyId;
use crate::store::segments::{Bodies, BodyError};

/// Ids looked at in one go.
const LOOKUP_IDS_MAX: usize = 64;
/// Bodies that are wrong and named; of further ones there is the number alone.
const WRONG_NAMED_MAX: usize = 1_000;
/// The pace at which bodies are read, so that mail keeps most of the disk.
const BYTES_PER_S_MAX: u64 = 32 << 20;

/// How closely bodies are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Depth {
    /// The index of the store has them.
    Present,
    /// Each is read, and is what its id says.
    Read,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Trouble {
    Missing,
    /// Its octets are others, or the disk does not give them.
    Rotten,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WrongBody {
    pub id: BodyId,
    pub trouble: Trouble,
    /// It came anew from a peer.
    pub mended: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Inspected {
    pub bodies: u64,
    /// Octets that were read.
    pub bytes: u64,
    pub wrong: Vec<WrongBody>,
    /// Wrong ones that are not among these, and of them those that were mended.
    pub wrong_unnamed: u64,
    pub mended_unnamed: u64,
}

impl BodyService {
    /// Looks at those of `ids`, and mends what is wrong.
    pub async fn inspect(
        &self,
        ids: impl Stream<Item = Result<BodyId, Fault>> + Send,
        depth: Depth,
    ) -> Result<Inspected, Fault> {
        let mut inspected = Inspected::default();
        let mut chunks = std::pin::pin!(ids.chunks(LOOKUP_IDS_MAX));
        while let Some(chunk) = chunks.next().await {
            let chunk: Vec<BodyId> = chunk.into_iter().collect::<Result<_, Fault>>()?;
            inspected.bodies += chunk.len() as u64;
            let store = self.inner.store.clone();
            let (wrong, bytes) = blocking(move || look_at(&store, &chunk, depth)).await?.map_err(disk)?;
            inspected.bytes += bytes;
            for (id, trouble) in wrong {
                let mended = match trouble {
                    Trouble::Missing => self.inner.fetch(id, Urgency::Background).await.is_ok(),
                    Trouble::Rotten => self.inner.heal(id, Urgency::Background).await.is_ok(),
                };
                inspected.note(WrongBody { id, trouble, mended });
            }
            tokio::time::sleep(Duration::from_millis(bytes * 1_000 / BYTES_PER_S_MAX)).await;
        }
        Ok(inspected)
    }
}

impl Inspected {
    /// Of what is wrong, what no peer gave.
    pub fn unmended(&self) -> u64 {
        let named = self.wrong.iter().filter(|wrong| !wrong.mended).count() as u64;
        named + self.wrong_unnamed.saturating_sub(self.mended_unnamed)
    }

    fn note(&mut self, wrong: WrongBody) {
        if self.wrong.len() < WRONG_NAMED_MAX {
            return self.wrong.push(wrong);
        }
        self.wrong_unnamed += 1;
        self.mended_unnamed += u64::from(wrong.mended);
    }
}

/// What is wrong with which of them, and the octets that were read.
fn look_at(store: &Bodies, ids: &[BodyId], depth: Depth) -> Result<(Vec<(BodyId, Trouble)>, u64), BodyError> {
    let (mut wrong, mut bytes) = (Vec::new(), 0);
    for id in ids {
        match depth {
            Depth::Present if store.contains(*id)? => {}
            Depth::Present => wrong.push((*id, Trouble::Missing)),
            Depth::Read => match store.get(*id) {
                Ok(Some(body)) => bytes += body.len() as u64,
                Ok(None) => wrong.push((*id, Trouble::Missing)),
                Err(BodyError::Corrupt(_) | BodyError::Unreadable(_)) => wrong.push((*id, Trouble::Rotten)),
                Err(error) => return Err(error),
            },
        }
    }
    Ok((wrong, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_its_bound_what_is_wrong_is_counted() {
        let mut inspected = Inspected::default();
        let wrong = |mended| WrongBody { id: BodyId([1; 32]), trouble: Trouble::Rotten, mended };
        (0..WRONG_NAMED_MAX).for_each(|_| inspected.note(wrong(true)));
        assert_eq!((inspected.wrong.len(), inspected.wrong_unnamed), (WRONG_NAMED_MAX, 0));
        inspected.note(wrong(true));
        inspected.note(wrong(false));
        let unnamed = (inspected.wrong_unnamed, inspected.mended_unnamed);
        assert_eq!((inspected.wrong.len(), unnamed), (WRONG_NAMED_MAX, (2, 1)));
        assert_eq!(inspected.unmended(), 1);
    }
}
