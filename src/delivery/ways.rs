//! By which way mail goes: through a relay that an operator has named, or as the settings and the DNS say. Pure.

use super::care::Care;
use super::client::login::Login;
use super::routing::Way;
use super::trust::Demand;
use crate::state::directory::Directory;
use crate::state::queue::reading::Parcel;
use crate::state::relays::{Relay, RelayTls, Relays};

/// Of mail that no relay is named for.
pub fn usual_way(directory: &Directory, care: Care) -> Way {
    let settings = directory.settings();
    let relay = settings.relay_host();
    let demand = relay.as_ref().map_or(Demand::Opportunistic, |_| demand(settings.relay_tls()));
    Way { relay, demand: care.of_way(demand), care, login: None, own_name: settings.hostname().to_owned() }
}

pub fn way_through(relay: &Relay, directory: &Directory, care: Care) -> Way {
    let login = relay.login.as_ref();
    Way {
        relay: Some((relay.host.clone(), relay.port)),
        demand: care.of_way(demand(relay.tls)),
        care,
        login: login.map(|login| Login { user: login.user.clone(), password: login.password.clone() }),
        own_name: directory.settings().hostname().to_owned(),
    }
}

fn demand(tls: RelayTls) -> Demand {
    match tls {
        RelayTls::Off => Demand::Clear,
        RelayTls::Opportunistic => Demand::Opportunistic,
        RelayTls::Forced => Demand::Forced,
        RelayTls::Verified => Demand::Verified,
    }
}

/// The places of the recipients that each relay takes. `stands_in`: for a domain of others, which may have a relay of its own.
pub fn by_relay<'a>(
    parcel: &Parcel,
    relays: &'a Relays,
    stands_in: bool,
) -> Vec<(Option<&'a Relay>, Vec<usize>)> {
    let mut groups: Vec<(Option<&Relay>, Vec<usize>)> = Vec::new();
    for (place, (_, recipient)) in parcel.recipients.iter().enumerate() {
        let relay = match stands_in {
            true => relays.of_recipient(&recipient.address),
            false => relays.of(&parcel.mail.sender, &recipient.address),
        };
        match groups.iter_mut().find(|(known, _)| *known == relay) {
            Some((_, places)) => places.push(place),
            None => groups.push((relay, vec![place])),
        }
    }
    groups
}
