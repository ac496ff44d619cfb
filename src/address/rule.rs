//! When a box may take the addresses, and how long what it did outlives the moment that it was given. Pure.

use std::time::Duration;

use crate::state::holder::AddressHolder;

/// For how long an address is added each time, in the kernel's own unit.
pub const LIFETIME_SECONDS: u32 = 1;
/// The kernel drops an address at the latest so long after it was added: its looks at addresses may be a second apart, and
/// one that ends just behind a look is there until the next.
pub const LIFETIME_MS_MAX: u64 = (LIFETIME_SECONDS as u64 + 1) * 1_000;
/// How long an add that was begun may take, which nothing can call back: it waits for the kernel's lock on its network
/// configuration. With it goes by how much two boxes' clocks differ over all of this.
pub const ADD_MS_MAX: u64 = 400;
/// Between two adds of the same address.
pub const RENEW_EACH_MS: u64 = 200;
/// So long after the last add an address is taken away, before the kernel does.
pub const SILENCE_MS_MAX: u64 = 750;

/// What the leader of `own.term` does, which has read `row` behind the first entry of its term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Another box may have them still, for so long at the most.
    Wait(Duration),
    /// They are on no other box: whoever is in the row is to be this node, and then it may add them.
    Take,
    /// It may add them.
    Hold,
}

/// How long after a node came to lead whatever leaders before it did is undone. None of them was given a moment behind
/// `lease` after the last heartbeat that a majority took, and that was sent before this node came to lead.
pub fn wait(lease: Duration) -> Duration {
    lease + Duration::from_millis(ADD_MS_MAX + LIFETIME_MS_MAX)
}

pub fn step(row: Option<AddressHolder>, own: AddressHolder, led_for: Duration, lease: Duration) -> Step {
    match row {
        Some(holder) if holder == own => Step::Hold,
        Some(holder) if holder.node != own.node => match wait(lease).checked_sub(led_for) {
            Some(left) if !left.is_zero() => Step::Wait(left),
            _ => Step::Take,
        },
        // It let go, or it was this box: two of its processes at the same time are one box all the same.
        Some(_) | None => Step::Take,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::ids::NodeId;

    #[test]
    fn another_boxs_addresses_are_waited_for_and_nobodys_are_not() {
        let holder = |node, term| AddressHolder { node: NodeId(node), term };
        let ms = Duration::from_millis;
        let (own, lease) = (holder(1, 7), ms(350));
        assert_eq!(wait(lease), ms(350 + 400 + 2_000));
        for (row, led_for, then) in [
            (None, 0, Step::Take),
            (Some(own), 0, Step::Hold),
            (Some(holder(1, 5)), 0, Step::Take),
            (Some(holder(2, 6)), 0, Step::Wait(ms(2_750))),
            (Some(holder(2, 6)), 2_749, Step::Wait(ms(1))),
            (Some(holder(2, 6)), 2_750, Step::Take),
            (Some(holder(2, 6)), 10_000, Step::Take),
            // A term of another node's says nothing of this one's.
            (Some(holder(2, 7)), 0, Step::Wait(ms(2_750))),
        ] {
            assert_eq!(step(row, own, ms(led_for), lease), then, "{row:?} after {led_for} ms");
        }
    }

    #[test]
    fn an_address_that_is_renewed_in_time_neither_expires_nor_is_taken_away() {
        let lifetime_ms_min = u64::from(LIFETIME_SECONDS) * 1_000;
        const { assert!(3 * RENEW_EACH_MS < SILENCE_MS_MAX) };
        assert!(SILENCE_MS_MAX < lifetime_ms_min && lifetime_ms_min < LIFETIME_MS_MAX);
    }
}
