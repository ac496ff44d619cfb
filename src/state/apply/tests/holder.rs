//! The lock on the virtual addresses.

use super::*;
use crate::state::holder::{AddressHolder, PassAddresses, address_holder};

#[test]
fn the_addresses_pass_only_from_the_one_who_holds_them() {
    let mut world = World::new();
    let holder = |node, term| Some(AddressHolder { node: NodeId(node), term });
    let pass = |before, after| Command::PassAddresses(PassAddresses { before, after });
    assert_eq!(address_holder(&world.rows).unwrap(), None);
    world.done(pass(None, holder(1, 5)));
    // Late, of a former term, or of another node: each read something else.
    for before in [None, holder(1, 4), holder(2, 5)] {
        assert_eq!(world.refusal(pass(before, holder(2, 6))), Refusal::Changed);
        assert_eq!(address_holder(&world.rows).unwrap(), holder(1, 5));
    }
    world.done(pass(holder(1, 5), holder(2, 6)));
    assert_eq!(world.refusal(pass(holder(1, 5), None)), Refusal::Changed);
    world.done(pass(holder(2, 6), None));
    assert_eq!(address_holder(&world.rows).unwrap(), None);
}
