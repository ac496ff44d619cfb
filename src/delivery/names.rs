//! The DNS as routing asks it.

use std::net::IpAddr;

use super::routing::Resolve;
use crate::dns::{DnsError, Resolver, Tlsa, Vouched};

impl Resolve for Resolver {
    async fn mx(&self, domain: &str) -> Result<Vouched<(u16, String)>, DnsError> {
        let Vouched { found, secure, alias_of } = self.mx_vouched(domain).await?;
        let found = found.into_iter().map(|mx| (mx.preference, mx.host)).collect();
        Ok(Vouched { found, secure, alias_of })
    }

    async fn addresses(&self, host: &str) -> Result<Vouched<IpAddr>, DnsError> {
        self.addresses_vouched(host).await
    }

    async fn tlsa(&self, port: u16, host: &str) -> Result<Vouched<Tlsa>, DnsError> {
        Resolver::tlsa(self, port, host).await
    }

    async fn txt(&self, name: &str) -> Result<Vec<Vec<u8>>, DnsError> {
        Resolver::txt(self, name).await
    }

    async fn is_secure_alias(&self, host: &str) -> Result<bool, DnsError> {
        Resolver::is_secure_alias(self, host).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::watch;

    use super::*;
    use crate::delivery::care::Care;
    use crate::delivery::routing::{Learnt, Way, route};
    use crate::delivery::trust::Demand;
    use crate::dns::Bounds;
    use crate::state::directory::Directory;

    fn resolver(server: &fixture_dns::Server, validates: bool) -> Resolver {
        let settings = [
            ("dns.servers".to_owned(), server.address().to_string()),
            ("dns.servers_validate".to_owned(), validates.to_string()),
        ];
        let directory = Directory { settings: settings.into(), ..Directory::default() };
        // The receiver keeps the last value.
        Resolver::new(watch::channel(Arc::new(directory)).1, Bounds::default())
    }

    fn way() -> Way {
        let (demand, care) = (Demand::Opportunistic, Care::Usual);
        Way { relay: None, demand, care, login: None, own_name: "mx.own.test".into() }
    }

    #[tokio::test]
    async fn what_the_dns_says_is_where_mail_goes() {
        let server = fixture_dns::Server::start(
            "x.test MX 20 b.x.test\nx.test MX 10 a.x.test\na.x.test A 192.0.2.1\nb.x.test AAAA 2001:db8::1\n\
             null.test MX 0 .\nplain.test A 192.0.2.3\nsick.test SERVFAIL\n",
        );
        let (resolver, way) = (resolver(&server, false), way());
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

    const SHA_256: &str = "0000000000000000000000000000000000000000000000000000000000000000";

    /// What is demanded of each domain's servers.
    async fn demanded(server: &fixture_dns::Server, validates: bool, domain: &str) -> String {
        let shown = |demand: &Demand| match demand {
            Demand::Dane(dane) => format!("dane at {}", dane.base),
            other => other.word().to_owned(),
        };
        match route(&way(), domain, &resolver(server, validates), 0).await {
            Ok(hops) => {
                let each = hops.iter().map(|hop| format!("{}: {}", hop.host, shown(&hop.demand)));
                each.collect::<Vec<_>>().join(", ")
            }
            Err(reply) => reply.to_string(),
        }
    }

    #[tokio::test]
    async fn what_is_demanded_of_a_server_is_what_the_dns_says_of_it_for_certain() {
        let server = fixture_dns::Server::start(&format!(
            "s.test SECURE
             s.test MX 10 mx.s.test
             mx.s.test A 192.0.2.1
             _25._tcp.mx.s.test TLSA 3 1 1 {SHA_256}
             pkix.s.test MX 10 mx.pkix.s.test
             mx.pkix.s.test A 192.0.2.1
             _25._tcp.mx.pkix.s.test TLSA 1 1 1 {SHA_256}
             none.s.test MX 10 mx.none.s.test
             mx.none.s.test A 192.0.2.1
             sick.s.test MX 10 mx.sick.s.test
             mx.sick.s.test A 192.0.2.1
             _25._tcp.mx.sick.s.test SERVFAIL
             half.s.test MX 10 mx.sick.s.test
             half.s.test MX 20 mx.s.test
             out.s.test MX 10 mx.u.test
             mx.u.test A 192.0.2.1
             _25._tcp.mx.u.test TLSA 3 1 1 {SHA_256}
             u.test MX 10 mx.s.test
             bare.s.test A 192.0.2.1
             _25._tcp.bare.s.test TLSA 2 0 1 {SHA_256}
             alias.s.test MX 10 a.alias.s.test
             a.alias.s.test CNAME mx.s.test
             first.s.test MX 10 a.first.s.test
             a.first.s.test CNAME mx.none.s.test
             _25._tcp.a.first.s.test TLSA 3 1 1 {SHA_256}
             away.s.test MX 10 a.away.s.test
             a.away.s.test CNAME mx.u.test
             _25._tcp.a.away.s.test TLSA 3 1 1 {SHA_256}
             far.s.test MX 10 a.far.s.test
             a.far.s.test A 192.0.2.1
             _25._tcp.a.far.s.test CNAME _25._tcp.mx.s.test
             lost.s.test MX 10 a.lost.s.test
             a.lost.s.test A 192.0.2.1
             _25._tcp.a.lost.s.test CNAME _25._tcp.mx.u.test"
        ));
        let sick =
            "451 4.4.3 TLSA of mx.sick.s.test cannot be looked up: the name server says Server Failure";
        for (domain, demands) in [
            ("s.test", "mx.s.test: dane at mx.s.test"),
            ("pkix.s.test", "mx.pkix.s.test: dane-unusable"),
            ("none.s.test", "mx.none.s.test: opportunistic"),
            ("sick.s.test", sick),
            ("half.s.test", "mx.s.test: dane at mx.s.test"),
            // The host is not secure, or the MX is not.
            ("out.s.test", "mx.u.test: opportunistic"),
            ("u.test", "mx.s.test: opportunistic"),
            ("bare.s.test", "bare.s.test: dane at bare.s.test"),
            // RFC 7672 2.2.3: where the alias leads, then the alias itself.
            ("alias.s.test", "a.alias.s.test: dane at mx.s.test"),
            ("first.s.test", "a.first.s.test: dane at a.first.s.test"),
            ("away.s.test", "a.away.s.test: dane at a.away.s.test"),
            ("far.s.test", "a.far.s.test: dane at a.far.s.test"),
            ("lost.s.test", "a.lost.s.test: opportunistic"),
        ] {
            assert_eq!(demanded(&server, true, domain).await, demands, "{domain}");
        }
        assert_eq!(server.count("_25._tcp.mx.u.test", "TLSA"), 0, "of what is insecure nothing is asked");
        let waived = Way { care: Care::Waived, ..way() };
        let before = server.count("_25._tcp.mx.s.test", "TLSA");
        let hops = route(&waived, "s.test", &resolver(&server, true), 0).await.unwrap();
        assert_eq!((&hops[0].demand, hops[0].learnt), (&Demand::Opportunistic, Learnt::Securely));
        assert_eq!(server.count("_25._tcp.mx.s.test", "TLSA"), before, "nobody asks for proof");
        let hops = route(&way(), "u.test", &resolver(&server, true), 0).await.unwrap();
        assert_eq!(hops[0].learnt, Learnt::Somehow);
        // By servers whose word is nothing nobody is held to anything, nor asked.
        let before = server.count("_25._tcp.mx.s.test", "TLSA");
        assert_eq!(demanded(&server, false, "s.test").await, "mx.s.test: opportunistic");
        assert_eq!(server.count("_25._tcp.mx.s.test", "TLSA"), before);
    }
}
