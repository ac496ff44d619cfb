//! The virtual addresses follow leadership: `address/`, which knows nothing of Raft, bound to the node that leads.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{debug, info, warn};

use super::inquiry::Inquiry;
use crate::address::rule::{self, RENEW_EACH_MS, SILENCE_MS_MAX, Step};
use crate::address::{Keeper, Place};
use crate::admin::check::{Finding, Level};
use crate::admin::status::{Report, VirtualAddress};
use crate::clock::BootTime;
use crate::cluster::handle::ClusterHandle;
use crate::cluster::permit::LeadPermit;
use crate::cluster::replica::Replica;
use crate::state::command::Command;
use crate::state::holder::{AddressHolder, PassAddresses, address_holder};
use crate::state::outcome::Outcome;

/// How long another node may take to say what it holds.
const ANSWER_MAX: Duration = Duration::from_millis(500);
/// To note who holds the addresses; the next round tries again.
const NOTE_MAX: Duration = Duration::from_millis(700);

/// What this node holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Standing {
    pub leads: bool,
    pub places: Vec<Place>,
    /// Why it holds none, as a whole.
    pub why: Option<String>,
}

/// What the rooms know of the addresses on this node, and who asks it to stand aside.
#[derive(Clone)]
pub(crate) struct SharedAddresses(Arc<Shared>);

struct Shared {
    standing: watch::Sender<Standing>,
    /// Hand-overs of leadership that are under way.
    aside: watch::Sender<u32>,
    /// The last round was made for a hand-over.
    stood_aside: watch::Sender<bool>,
}

impl Default for SharedAddresses {
    fn default() -> Self {
        Self(Arc::new(Shared {
            standing: watch::Sender::default(),
            aside: watch::Sender::new(0),
            stood_aside: watch::Sender::new(false),
        }))
    }
}

impl SharedAddresses {
    pub fn told(&self) -> Standing {
        self.0.standing.borrow().clone()
    }

    /// Resolves when this node has let go of what it could; it takes nothing while what this gives lives.
    pub async fn stand_aside(self) -> Box<dyn Send> {
        self.0.aside.send_modify(|count| *count += 1);
        let aside = Aside(self.clone());
        let _ = self.0.stood_aside.subscribe().wait_for(|stood| *stood).await;
        Box::new(aside)
    }
}

/// One hand-over.
struct Aside(SharedAddresses);

impl Drop for Aside {
    fn drop(&mut self) {
        self.0.0.aside.send_modify(|count| *count -= 1);
    }
}

/// As long as the node lives.
pub(crate) async fn follow(cluster: ClusterHandle, shared: SharedAddresses) {
    let asked = shared.clone();
    cluster.stand_aside_by(Box::new(move || Box::pin(asked.clone().stand_aside())));
    let mut follower = Follower {
        cluster: cluster.clone(),
        keeper: Keeper::default(),
        led: None,
        own: None,
        last: None,
        known: None,
    };
    let mut aside = shared.0.aside.subscribe();
    let mut ticks = interval(Duration::from_millis(RENEW_EACH_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut leading = cluster.leads();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = aside.changed() => {}
            () = cluster.leading_is(!leading) => {}
        }
        leading = cluster.leads();
        let stands_aside = *aside.borrow_and_update() > 0;
        if !stands_aside {
            // Who asks from here on waits for the next round.
            shared.0.stood_aside.send_replace(false);
        }
        let standing = follower.round(stands_aside).await;
        shared.0.standing.send_if_modified(|before| {
            let changed = *before != standing;
            if changed {
                tell(before, &standing);
                *before = standing;
            }
            changed
        });
        if stands_aside {
            shared.0.stood_aside.send_replace(true);
        }
    }
}

fn tell(before: &Standing, now: &Standing) {
    let held = |standing: &Standing| -> Vec<String> {
        let held = standing.places.iter().filter_map(|it| Some((it.address, it.interface.as_ref().ok()?)));
        held.map(|(address, interface)| format!("{address} on {interface}")).collect()
    };
    let (had, has) = (held(before), held(now));
    if had != has {
        match has.is_empty() {
            true => info!("virtual addresses: none is on this box any longer"),
            false => info!("virtual addresses: this box holds {}", has.join(", ")),
        }
    }
    for Place { address, interface } in &now.places {
        if let Err(why) = interface
            && !before.places.iter().any(|it| it.address == *address && it.interface == *interface)
        {
            warn!("virtual address {address}: {why}");
        }
    }
    // Most of it is over in a moment.
    if let Some(why) = now.why.as_ref().filter(|why| before.why.as_ref() != Some(why)) {
        debug!("virtual addresses: {why}");
    }
}

struct Follower {
    cluster: ClusterHandle,
    keeper: Keeper,
    /// The last term in which this node led, and since when it knows.
    led: Option<(u64, Instant)>,
    /// This node, once it is noted as the holder.
    own: Option<AddressHolder>,
    /// What the last round that came to something left here.
    last: Option<(Instant, Vec<Place>)>,
    /// What may be on this box; `None`: a former life may have left anything.
    known: Option<Vec<IpAddr>>,
}

impl Follower {
    async fn round(&mut self, aside: bool) -> Standing {
        let wanted = self.cluster.directory().settings().virtual_addresses();
        let leads = self.cluster.leads();
        if aside || wanted.is_empty() || !leads {
            self.let_go(&wanted).await;
            return Standing { leads, ..Standing::default() };
        }
        let done = match self.cluster.lead_permit() {
            Some(permit) => self.hold(permit, wanted).await,
            // It may be so again in a moment: the process that holds them does not wait for long.
            None => Err("no majority has confirmed lately that this node leads".to_owned()),
        };
        match (done, &self.last) {
            (Ok(places), _) => {
                self.last = Some((Instant::now(), places.clone()));
                Standing { leads, places, why: None }
            }
            // A round that came to nothing: they are there still.
            (Err(_), Some((at, places))) if at.elapsed() < Duration::from_millis(SILENCE_MS_MAX) => {
                Standing { leads, places: places.clone(), why: None }
            }
            (Err(why), _) => Standing { leads, places: Vec::new(), why: Some(why) },
        }
    }

    async fn hold(&mut self, permit: LeadPermit, wanted: Vec<IpAddr>) -> Result<Vec<Place>, String> {
        let own = AddressHolder { node: self.cluster.node(), term: permit.term };
        if self.own != Some(own) {
            self.note(own).await?;
        }
        // Another one: to be noted takes its time.
        let permit = self.cluster.lead_permit().filter(|permit| permit.term == own.term);
        let until = permit.and_then(|permit| BootTime::not_after(permit.until));
        let until = until.ok_or("no majority has confirmed lately that this node leads")?;
        // Before they are there.
        let known = self.known.get_or_insert_default();
        known.extend(wanted.iter().filter(|it| !known.contains(it)).copied().collect::<Vec<_>>());
        let places = self.keeper.hold(until, &wanted).await?;
        self.known = Some(wanted);
        places.ok_or_else(|| "this box is too slow to take them in time".to_owned())
    }

    /// Waits for who may still have them, and has this node noted as their holder.
    async fn note(&mut self, own: AddressHolder) -> Result<(), String> {
        let (since, is_new) = match self.led {
            Some((term, since)) if term == own.term => (since, false),
            _ => (Instant::now(), true),
        };
        self.led = Some((own.term, since));
        let row = self.cluster.read_queue(address_holder).await.map_err(|fault| fault.to_string())?;
        match rule::step(row, own, since.elapsed(), self.cluster.lease()) {
            Step::Wait(left) => {
                if is_new {
                    info!("virtual addresses: another box may have them still, for {} ms", left.as_millis());
                }
                return Err("the box that led before may have them still, for a moment".to_owned());
            }
            Step::Take => self.pass(row, Some(own)).await?,
            Step::Hold => {}
        }
        self.own = Some(own);
        Ok(())
    }

    async fn pass(&self, before: Option<AddressHolder>, after: Option<AddressHolder>) -> Result<(), String> {
        let command = Command::PassAddresses(PassAddresses { before, after });
        match timeout(NOTE_MAX, self.cluster.propose(command)).await {
            Ok(Ok(Outcome::Refused(refusal))) => Err(refusal.to_string()),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(fault)) => Err(fault.to_string()),
            Err(_) => Err("who holds them could not be noted in time".to_owned()),
        }
    }

    /// Whoever leads next takes them at once if this node is noted as their holder no longer, and only then.
    async fn let_go(&mut self, wanted: &[IpAddr]) {
        self.last = None;
        let all = match &self.known {
            None => wanted.to_vec(),
            Some(known) => known.clone(),
        };
        if !all.is_empty() || self.own.is_some() {
            if let Err(why) = self.keeper.let_go(&all).await {
                return warn!("virtual addresses are given up, and go by themselves: {why}");
            }
            self.known = Some(Vec::new());
        }
        if let Some(own) = self.own.take()
            && self.cluster.leads()
            && let Err(why) = self.pass(Some(own), None).await
        {
            info!("virtual addresses: whoever leads next waits for them: {why}");
        }
    }
}

/// Where each address is, by the word of all data nodes. Empty where there are none.
pub async fn of_all(cluster: &ClusterHandle, own: &SharedAddresses) -> Vec<VirtualAddress> {
    let wanted = cluster.directory().settings().virtual_addresses();
    if wanted.is_empty() {
        return Vec::new();
    }
    let others = cluster.inquire(Inquiry::Addresses.bytes(), ANSWER_MAX).await.into_iter();
    let others = others.filter_map(|told| Some((told.node, serde_json::from_slice(&told.answer?).ok()?)));
    let all: Vec<(String, Standing)> = std::iter::once((cluster.name(), own.told())).chain(others).collect();
    wanted.into_iter().map(|address| found(address, &all)).collect()
}

fn found(address: IpAddr, all: &[(String, Standing)]) -> VirtualAddress {
    let nowhere = VirtualAddress { address: address.to_string(), holder: None, interface: None, why: None };
    let mut why = "no node that leads says that it holds it".to_owned();
    for (node, standing) in all {
        match standing.places.iter().find(|it| it.address == address).map(|it| &it.interface) {
            Some(Ok(interface)) => {
                let (holder, interface) = (Some(node.clone()), Some(interface.clone()));
                return VirtualAddress { holder, interface, ..nowhere };
            }
            Some(Err(problem)) => why = format!("{node}: {problem}"),
            None => why = standing.why.as_ref().map_or(why, |problem| format!("{node}: {problem}")),
        }
    }
    VirtualAddress { why: Some(why), ..nowhere }
}

/// `listens_at`: where this node's services do.
pub fn findings(report: &Report, listens_at: IpAddr) -> Vec<Finding> {
    let found = report.virtual_addresses.iter().flat_map(|it| {
        let address = &it.address;
        let where_it_is = match (&it.holder, &it.why) {
            (Some(holder), _) => Finding::new(Level::Ok, "addresses", format!("{address} is on {holder}")),
            (None, why) => {
                let why = why.as_deref().unwrap_or("nobody says why");
                Finding::new(Level::Fail, "addresses", format!("{address} is nowhere: {why}"))
            }
        };
        let serves = address.parse().is_ok_and(|address: IpAddr| serves(listens_at, address));
        let deaf = (!serves).then(|| {
            let remedy = "give listen.address in pollux.toml as 0.0.0.0, or :: for both families";
            let text = format!("the services listen on {listens_at} alone, not on {address}; {remedy}");
            Finding::new(Level::Fail, "addresses", text)
        });
        [Some(where_it_is), deaf]
    });
    found.flatten().collect()
}

/// One socket of `::` takes both families.
fn serves(listens_at: IpAddr, address: IpAddr) -> bool {
    listens_at == address || listens_at.is_unspecified() && (listens_at.is_ipv6() || address.is_ipv4())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_where_a_node_says_and_else_it_is_said_why_not() {
        let address: IpAddr = "192.0.2.10".parse().unwrap();
        let at = |interface: Result<&str, &str>| Standing {
            leads: true,
            places: vec![Place { address, interface: interface.map(str::to_owned).map_err(str::to_owned) }],
            why: None,
        };
        let waits = Standing { leads: true, places: Vec::new(), why: Some("it waits".to_owned()) };
        let follows = Standing::default();
        for (first, second, holder, why) in [
            (&follows, &at(Ok("eth0")), Some("b"), None),
            (&at(Err("no interface")), &follows, None, Some("a: no interface")),
            (&follows, &waits, None, Some("b: it waits")),
            (&follows, &follows, None, Some("no node that leads says that it holds it")),
        ] {
            let all = [("a".to_owned(), first.clone()), ("b".to_owned(), second.clone())];
            let found = found(address, &all);
            assert_eq!((found.holder.as_deref(), found.why.as_deref()), (holder, why));
        }
    }

    #[test]
    fn services_that_listen_elsewhere_are_said_not_to_serve_it() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for (listens_at, address, served) in [
            ("0.0.0.0", "192.0.2.10", true),
            ("0.0.0.0", "2001:db8::10", false),
            ("::", "192.0.2.10", true),
            ("::", "2001:db8::10", true),
            ("192.0.2.11", "192.0.2.10", false),
        ] {
            assert_eq!(serves(ip(listens_at), ip(address)), served, "{listens_at} {address}");
        }
    }
}
