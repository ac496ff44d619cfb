//! Whether the DNS leads from the server's name to its addresses and back (requirement 15): other servers refuse mail of
//! one for which it does not.

use std::net::IpAddr;
use std::time::Duration;

use crate::admin::check::{Finding, Level};
use crate::dns::{DnsError, Resolver};
use crate::policy::publish::{self, Compared, Purpose, Verdict};
use crate::state::directory::Directory;

/// Addresses of the name that are looked up backwards.
const ADDRESSES_MAX: usize = 8;
const ANSWER_MAX: Duration = Duration::from_secs(10);

type Names = Result<Vec<String>, DnsError>;

pub async fn look_up(dns: &Resolver, hostname: &str) -> Finding {
    if !hostname.contains('.') {
        let text = format!("'{hostname}' is no full name; give one with 'pollux policy set hostname'");
        return Finding::new(Level::Warn, TOPIC, text);
    }
    let asking = async {
        let addresses = match dns.addresses(hostname).await {
            Ok(addresses) => addresses,
            Err(error) => return untold(hostname, &error),
        };
        let mut names: Vec<(IpAddr, Names)> = Vec::new();
        for address in addresses.into_iter().take(ADDRESSES_MAX) {
            names.push((address, dns.ptr(address).await));
        }
        judge(hostname, &names)
    };
    let late =
        |_| Finding::new(Level::Warn, TOPIC, format!("{hostname}: the DNS does not answer; see dns.servers"));
    tokio::time::timeout(ANSWER_MAX, asking).await.unwrap_or_else(late)
}

/// The hostname, and each record that the domain should have.
pub async fn of_domain(dns: &Resolver, directory: &Directory, domain: &str) -> Vec<Finding> {
    let hostname = directory.settings().hostname();
    let wanted = publish::records(directory, domain);
    let (own, compared) = tokio::join!(look_up(dns, hostname), publish::compare(dns, wanted, hostname));
    std::iter::once(own).chain(compared.into_iter().map(found)).collect()
}

fn found(Compared { record, verdict }: Compared) -> Finding {
    let name = &record.name;
    let wanted = || format!("{name}. {}", record.data.words());
    let (level, text) = match (verdict, record.purpose) {
        (Verdict::Right, _) => (Level::Ok, format!("{name} is right")),
        (Verdict::Remark(what), _) => (Level::Warn, format!("{name}: {what}")),
        (Verdict::Unknown(why), _) => (Level::Warn, format!("{name} is not known at the moment: {why}")),
        (Verdict::Missing, Purpose::Mx) => (Level::Fail, format!("no mail comes: publish {}", wanted())),
        (Verdict::Missing, Purpose::Service | Purpose::Autoconfig) => {
            (Level::Ok, format!("{name} is not there; mail programs would use {}", wanted()))
        }
        (Verdict::Missing, _) => (Level::Warn, format!("missing: publish {}", wanted())),
        (Verdict::Wrong(what), Purpose::Mx) => {
            (Level::Fail, format!("{what}; for it to come here publish {}", wanted()))
        }
        (Verdict::Wrong(what), _) => (Level::Warn, format!("{name}: {what}; publish {}", wanted())),
    };
    Finding::new(level, record.purpose.word(), text)
}

const TOPIC: &str = "hostname";

fn untold(hostname: &str, error: &DnsError) -> Finding {
    let text = match error.is_temporary() {
        true => format!("{hostname}: the DNS does not tell its address at the moment ({error})"),
        false => format!("{hostname} has no A or AAAA record: other servers distrust it; add one"),
    };
    Finding::new(Level::Warn, TOPIC, text)
}

/// The names that each of its addresses leads to.
fn judge(hostname: &str, names: &[(IpAddr, Names)]) -> Finding {
    let is_it = |name: &String| name.trim_end_matches('.').eq_ignore_ascii_case(hostname);
    let fault = names.iter().find_map(|(address, names)| match names {
        Ok(names) if names.iter().any(is_it) => None,
        Ok(names) if !names.is_empty() => Some(format!(
            "the PTR record of {address} names {}, not {hostname}: let it be changed",
            names.join(", ")
        )),
        Err(error) if error.is_temporary() => {
            Some(format!("the DNS does not tell the name of {address} at the moment ({error})"))
        }
        Ok(_) | Err(_) => Some(format!(
            "{address} has no PTR record; let it be set to {hostname} by whoever gave you the address"
        )),
    });
    match fault {
        Some(text) => Finding::new(Level::Warn, TOPIC, text),
        None => Finding::new(Level::Ok, TOPIC, format!("{hostname} leads to its addresses and back")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fixture_dns::Server;
    use tokio::sync::watch;

    use super::*;
    use crate::dns::Bounds;

    const ZONES: &str = "
        mx.good.test              A     192.0.2.1
        mx.good.test              AAAA  2001:db8::1
        1.2.0.192.in-addr.arpa    PTR   MX.good.test
        1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR mx.good.test
        mx.half.test              A     192.0.2.1
        mx.nameless.test          A     192.0.2.3
        mx.unsure.test            SERVFAIL
        mx.open.test              A     192.0.2.4
        4.2.0.192.in-addr.arpa    SERVFAIL
    ";

    #[tokio::test]
    async fn each_way_in_which_names_and_addresses_disagree_is_told() {
        let server = Server::start(ZONES);
        let settings = [("dns.servers".to_owned(), server.address().to_string())].into();
        let (_keep, directory) = watch::channel(Arc::new(Directory { settings, ..Directory::default() }));
        let bounds = Bounds { attempt_ms_max: 500, lookup_ms_max: 5_000, lookups_max: 64 };
        let dns = Resolver::new(directory, bounds);
        for (hostname, level, said) in [
            ("mx.good.test", Level::Ok, "and back"),
            ("mx.half.test", Level::Warn, "names mx.good.test"),
            ("mx.nameless.test", Level::Warn, "192.0.2.3 has no PTR record"),
            ("mx.nowhere.test", Level::Warn, "no A or AAAA record"),
            ("mx.unsure.test", Level::Warn, "does not tell its address"),
            ("mx.open.test", Level::Warn, "does not tell the name of 192.0.2.4"),
            ("localhost", Level::Warn, "is no full name"),
        ] {
            let finding = look_up(&dns, hostname).await;
            assert_eq!(finding.level, level, "{finding:?}");
            assert!(finding.text.to_lowercase().contains(&said.to_lowercase()), "{finding:?}");
        }
    }
}
