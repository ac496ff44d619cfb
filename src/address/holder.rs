//! The process that holds the addresses: `pollux hold-addresses`, a child of the node. One thread, no runtime, nothing to
//! wait for but its orders. It does what it is told while the fence lets it, and takes everything away when the node is
//! silent or has died.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};

use super::announce::Announcer;
use super::fence::Fence;
use super::links::{Link, home, links};
use super::netlink::Netlink;
use super::orders::{LINE_BYTES_MAX, Order, Place, Told};
use super::rule::SILENCE_MS_MAX;
use crate::clock::BootTime;

/// Announcements of an address that is new here, and how far apart (RFC 4861 7.2.6: three at the most, a second apart;
/// RFC 5227 2.3: two, two seconds apart. A switch or a host that missed one hears another).
const ANNOUNCEMENTS: u32 = 3;
const ANNOUNCE_EACH: Duration = Duration::from_secs(1);

/// Until the node closes the pipe. `Err` is one line.
pub fn run() -> Result<(), String> {
    // Who stops all of a service's processes, or presses Ctrl-C, stops the node, which has the addresses taken away first.
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect();
    signals.thread_block().map_err(|error| format!("signals cannot be blocked: {error}"))?;
    let mut holder = Holder::new().map_err(|error| error.to_string())?;
    let done = holder.obey(io::stdin(), &mut io::stdout());
    let gone = holder.let_go(&[]);
    done.map_err(|error| error.to_string()).and(gone)
}

struct Holder {
    fence: Fence,
    netlink: Netlink,
    announcer: nix::Result<Announcer>,
    held: BTreeMap<IpAddr, Held>,
    /// When an address was added last.
    renewed: BootTime,
}

/// One that this process added.
struct Held {
    interface: u32,
    announced: u32,
    next: BootTime,
}

impl Holder {
    fn new() -> nix::Result<Self> {
        Ok(Self {
            fence: Fence::new()?,
            netlink: Netlink::open()?,
            announcer: Announcer::open(),
            held: BTreeMap::new(),
            renewed: BootTime::now(),
        })
    }

    fn obey(&mut self, input: impl Read + AsFd, output: &mut impl Write) -> io::Result<()> {
        let mut input = BufReader::new(input);
        loop {
            if input.buffer().is_empty() && !self.is_told_in_time(&input)? {
                let _ = self.let_go(&[]);
                continue;
            }
            let mut line = String::new();
            if input.by_ref().take(LINE_BYTES_MAX).read_line(&mut line)? == 0 {
                return Ok(());
            }
            let told = self.follow(&serde_json::from_str(&line)?);
            writeln!(output, "{}", serde_json::to_string(&told)?)?;
            output.flush()?;
        }
    }

    /// False: it holds something, and was told nothing for so long that it should not.
    fn is_told_in_time(&self, input: &BufReader<impl Read + AsFd>) -> io::Result<bool> {
        let wait = match self.held.is_empty() {
            true => PollTimeout::NONE,
            false => {
                let until = self.renewed.plus(Duration::from_millis(SILENCE_MS_MAX));
                PollTimeout::try_from(until.since(BootTime::now())).unwrap_or(PollTimeout::ZERO)
            }
        };
        let mut ready = [PollFd::new(input.get_ref().as_fd(), PollFlags::POLLIN)];
        Ok(poll(&mut ready, wait)? > 0)
    }

    fn follow(&mut self, order: &Order) -> Told {
        let done = match order {
            Order::Hold { until, addresses } => self.hold(*until, addresses),
            Order::LetGo { addresses } => self.let_go(addresses).map(|()| Told::Gone),
        };
        done.unwrap_or_else(Told::Failed)
    }

    fn hold(&mut self, until: BootTime, addresses: &[IpAddr]) -> Result<Told, String> {
        // Others would go on sending to the box that had them before, for a minute or so.
        if let Err(error) = self.announcer {
            return Err(format!(
                "this node may not announce addresses ({error}); give it CAP_NET_RAW ({REMEDY})"
            ));
        }
        let links = links().map_err(|error| format!("interfaces cannot be listed: {error}"))?;
        let unwanted: Vec<IpAddr> = self.held.keys().filter(|it| !addresses.contains(it)).copied().collect();
        self.take_away(&unwanted, &links)?;
        let homes: Vec<_> = addresses.iter().map(|address| (*address, home(&links, *address))).collect();
        let netlink = &self.netlink;
        let added = self.fence.within(until, || {
            let add = |(address, home): &(IpAddr, Result<&Link, String>)| {
                let link = home.clone()?;
                netlink.add(*address, link.index).map_err(|error| complaint(&error)).map(|()| link.clone())
            };
            homes.iter().map(add).collect::<Vec<_>>()
        });
        let Some(added) = added.map_err(|error| format!("the fence cannot be set: {error}"))? else {
            return Ok(Told::Late);
        };
        self.renewed = BootTime::now();
        let places = addresses.iter().zip(added).map(|(address, added)| {
            let interface = added.map(|link| {
                self.announce(*address, &link);
                link.name
            });
            Place { address: *address, interface }
        });
        Ok(Told::Held(places.collect()))
    }

    fn announce(&mut self, address: IpAddr, link: &Link) {
        let now = BootTime::now();
        let new = || Held { interface: link.index, announced: 0, next: now };
        let held = self.held.entry(address).or_insert_with(new);
        if held.interface != link.index {
            *held = new();
        }
        if held.announced == ANNOUNCEMENTS || now < held.next {
            return;
        }
        if let (Ok(announcer), Some(ethernet)) = (&self.announcer, &link.ethernet)
            && announcer.announce(address, ethernet).is_ok()
        {
            held.announced += 1;
            held.next = now.plus(ANNOUNCE_EACH);
        }
    }

    /// All that it added, and `addresses`.
    fn let_go(&mut self, addresses: &[IpAddr]) -> Result<(), String> {
        let all: Vec<IpAddr> = self.held.keys().chain(addresses).copied().collect();
        let links = links().map_err(|error| format!("interfaces cannot be listed: {error}"))?;
        self.take_away(&all, &links)
    }

    /// From each interface that has them. What fails is done again by the kernel, in a second or two.
    fn take_away(&mut self, addresses: &[IpAddr], links: &[Link]) -> Result<(), String> {
        for address in addresses {
            for link in links.iter().filter(|link| link.holds(*address)) {
                self.netlink.remove(*address, link.index).map_err(|error| complaint(&error))?;
            }
            self.held.remove(address);
        }
        Ok(())
    }
}

/// Where systemd is told.
const REMEDY: &str = "deploy/addresses.conf";

fn complaint(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!("this node may not change addresses; give it CAP_NET_ADMIN ({REMEDY})")
        }
        _ => error.to_string(),
    }
}
