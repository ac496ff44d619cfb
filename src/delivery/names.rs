//! The DNS as routing asks it.

use std::net::IpAddr;

use super::routing::Resolve;
use crate::dns::{DnsError, Resolver};

impl Resolve for Resolver {
    async fn mx(&self, domain: &str) -> Result<Vec<(u16, String)>, DnsError> {
        let found = Resolver::mx(self, domain).await?;
        Ok(found.into_iter().map(|mx| (mx.preference, mx.host)).collect())
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        Resolver::addresses(self, host).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::watch;

    use super::*;
    use crate::delivery::routing::{Way, route};
    use crate::delivery::trust::Demand;
    use crate::dns::Bounds;
    use crate::state::directory::Directory;

    #[tokio::test]
    async fn what_the_dns_says_is_where_mail_goes() {
        let server = fixture_dns::Server::start(
            "x.test MX 20 b.x.test\nx.test MX 10 a.x.test\na.x.test A 192.0.2.1\nb.x.test AAAA 2001:db8::1\n\
             null.test MX 0 .\nplain.test A 192.0.2.3\nsick.test SERVFAIL\n",
        );
        let settings = [("dns.servers".to_owned(), server.address().to_string())].into();
        let directory = Directory { settings, ..Directory::default() };
        let (_keep, directory) = watch::channel(Arc::new(directory));
        let resolver = Resolver::new(directory, Bounds::default());
        let demand = Demand::Opportunistic;
        let way = Way { relay: None, demand, login: None, own_name: "mx.own.test".into() };
        for (domain, to) in [
            ("x.test", "192.0.2.1:25 [2001:db8::1]:25"),
            ("plain.test", "192.0.2.3:25"),
            ("null.test", "556 5.1.10"),
            ("gone.test", "550 5.1.2"),
            ("sick.test", "451 4.4.3"),
        ] {
            let routed = match route(&way, domain, &resolver, 0).await {
                Ok(hops) => hops.iter().map(|hop| hop.address.to_string()).collect::<Vec<_>>().join(" "),
                Err(reply) => format!("{} {}", reply.code, reply.status()),
            };
            assert_eq!(routed, to, "{domain}");
        }
    }
}
