//! How what the server itself has to say reaches somebody: notices of failed mail, replies of those who are away. Pure.

use super::{NewQueued, NewRecipient, destination, parcels};
use crate::mail::address::Address;
use crate::mail::dsn::Notify;
use crate::mail::flags::NamedFlags;
use crate::mail::ids::NodeId;
use crate::state::command::DeliverTo;
use crate::state::directory::Directory;
use crate::state::routing::{LocalTarget, Route, home, route, route_postmaster};

/// Where `address` gets mail: here, elsewhere, or both; with the null sender. `None`: nobody is there. `near`: the node
/// that is to try first.
pub fn way_back(
    directory: &Directory,
    address: &Address,
    (near, smtputf8): (NodeId, bool),
) -> Option<(Vec<DeliverTo>, Option<NewQueued>)> {
    // Notices of mail that was passed on go to where it came from, however old it is.
    let address = &home(directory, address, None).ok()?;
    let places = match route(directory, address) {
        Route::Ours { local, remote } => (local, remote),
        Route::NotOurs => (Vec::new(), vec![address.clone()]),
        Route::Unknown => return None,
    };
    Some(mail(places, (near, smtputf8)))
}

/// The same for the postmaster.
pub fn to_postmaster(directory: &Directory, near: NodeId) -> Option<(Vec<DeliverTo>, Option<NewQueued>)> {
    match route_postmaster(directory) {
        Route::Ours { local, remote } => Some(mail((local, remote), (near, false))),
        Route::NotOurs | Route::Unknown => None,
    }
}

fn mail(
    (local, remote): (Vec<LocalTarget>, Vec<Address>),
    (near, smtputf8): (NodeId, bool),
) -> (Vec<DeliverTo>, Option<NewQueued>) {
    let to = |target: LocalTarget| DeliverTo {
        account: target.account,
        mailbox: "INBOX".to_owned(),
        flags: NamedFlags::default(),
    };
    let elsewhere = remote.iter().map(|address| {
        // RFC 3461 6.1: of a notice nobody is told.
        let recipient =
            NewRecipient { address: address.to_string(), orcpt: None, notify: Some(Notify::NEVER) };
        (destination(address), recipient)
    });
    let parcels = parcels(elsewhere);
    let queue = (!parcels.is_empty()).then(|| NewQueued {
        sender: String::new(),
        account: None,
        near,
        envid: None,
        ret: None,
        smtputf8,
        parcels,
    });
    (local.into_iter().map(to).collect(), queue)
}
