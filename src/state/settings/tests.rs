//! The table against itself, its bounds and its documentation.

use super::*;
use crate::state::certificate::{DIRECTORY_BYTES_MAX, NAMES_MAX};

fn with(settings: &[(&str, &str)]) -> Directory {
    let settings = settings.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    Directory { settings, ..Directory::default() }
}

#[test]
fn checks_are_listed_once_and_in_order_and_nobody_opens_the_relay_to_all() {
    for (key, value, kept) in [
        ("whitelist.ip.skips", " SPF, dnsbl,spf ", Some("dnsbl,spf")),
        ("whitelist.ip.skips", "", Some("")),
        ("whitelist.ip.skips", "spf,cook", None),
        ("relay.open_networks", "192.168.0.7/24, ::1", Some("192.168.0.0/24,::1/128")),
        ("relay.open_networks", "10.0.0.0/8,fc00::/7", Some("10.0.0.0/8,fc00::/7")),
        ("relay.open_networks", "10.0.0.0/7", None),
        ("relay.open_networks", "0.0.0.0/0", None),
        ("relay.open_networks", "192.168.0.0/24,::/0", None),
        ("relay.open_networks", "::ffff:0:0/96", None),
        ("relay.open_networks", "::ffff:192.0.2.0/120", Some("192.0.2.0/24")),
    ] {
        assert_eq!(validate(key, value).ok().as_deref(), kept, "{key} {value}");
    }
    let said = validate("relay.open_networks", "0.0.0.0/0").unwrap_err();
    assert!(said.contains("everybody could send through this server to anywhere"), "{said}");
}

#[test]
fn a_certificate_is_ordered_for_the_hostname_unless_other_names_are_given() {
    let longest = format!("https://ca.example/{}", "x".repeat(DIRECTORY_BYTES_MAX - 19));
    let names: Vec<String> = (0..=NAMES_MAX).map(|at| format!("n{at}.example")).collect();
    for (key, value, is_taken) in [
        ("acme.directory", "", true),
        ("acme.directory", "https://ca.example/directory", true),
        ("acme.directory", "https://ca.example:14000/dir", true),
        ("acme.directory", &longest, true),
        ("acme.directory", &format!("{longest}x"), false),
        ("acme.directory", "http://ca.example/directory", false),
        ("acme.directory", "https://", false),
        ("acme.directory", "https:///directory", false),
        ("acme.directory", "https://ca.example/a b", false),
        ("acme.names", &names[..NAMES_MAX].join(","), true),
        ("acme.names", &names.join(","), false),
        ("acme.names", "*.example", false),
        ("acme.challenge", "dns-01", true),
        ("acme.challenge", "tls-alpn-01", false),
    ] {
        assert_eq!(validate(key, value).is_ok(), is_taken, "{key} {value}");
    }
    let directory = ("acme.directory", "https://ca.example/directory");
    let terms = with(&[("hostname", "mx.example"), directory]).settings().acme().unwrap();
    let (challenge, contact) = (AcmeChallenge::Http, None);
    let directory_url = directory.1.to_owned();
    let names = vec!["mx.example".to_owned()];
    assert_eq!(terms, AcmeTerms { directory: directory_url, names, contact, challenge });
    let more = [
        ("acme.names", "a.example,b.example"),
        ("acme.challenge", "dns-01"),
        ("acme.contact", "x@a.example"),
    ];
    let terms = with(&[&more[..], &[directory]].concat()).settings().acme().unwrap();
    assert_eq!((terms.names.len(), terms.challenge), (2, AcmeChallenge::Dns));
    assert_eq!(terms.contact.as_deref(), Some("x@a.example"));
}

#[test]
fn virtual_addresses_are_such_as_a_box_can_have_each_once_and_eight_at_most() {
    let eight: Vec<String> = (1..=8).map(|host| format!("192.0.2.{host}")).collect();
    let (eight, nine) = (eight.join(","), format!("{},2001:db8::9", eight.join(",")));
    for (value, kept) in [
        ("", Some("")),
        (" 192.0.2.10, 2001:DB8:0::10 ", Some("192.0.2.10,2001:db8::10")),
        ("::ffff:192.0.2.10", Some("192.0.2.10")),
        (&eight, Some(eight.as_str())),
        (&nine, None),
        ("192.0.2.10,::ffff:192.0.2.10", None),
        ("192.0.2.10/24", None),
        ("mail.example", None),
        ("127.0.0.1", None),
        ("::1", None),
        ("0.0.0.0", None),
        ("0.1.2.3", None),
        ("::", None),
        ("224.0.0.1", None),
        ("255.255.255.255", None),
        ("ff02::1", None),
        ("169.254.1.1", None),
        ("fe80::1", None),
    ] {
        assert_eq!(validate("address.virtual", value).ok().as_deref(), kept, "{value}");
    }
    let said = validate("address.virtual", "fe80::1").unwrap_err();
    assert!(said.contains("link-local") && said.contains("at most 8"), "{said}");
    let both = with(&[("address.virtual", "192.0.2.10,2001:db8::10")]);
    let wanted: Vec<IpAddr> = vec!["192.0.2.10".parse().unwrap(), "2001:db8::10".parse().unwrap()];
    assert_eq!(both.settings().virtual_addresses(), wanted);
}

#[test]
fn a_value_is_bounded_as_it_is_kept() {
    // Each becomes longer by half.
    let names =
        |count: usize| (0..count).map(|at| format!("\u{fc}{:03}.de", at)).collect::<Vec<_>>().join(",");
    let kept = validate("relay.inbound_domains", &names(250)).unwrap();
    assert!(kept.starts_with("xn--000-") && kept.len() <= 4_000, "{}", kept.len());
    assert_eq!(validate("relay.inbound_domains", &kept).as_deref(), Ok(kept.as_str()));
    let longer = names(400);
    assert!(longer.len() < 4_000, "{}", longer.len());
    let said = validate("relay.inbound_domains", &longer).unwrap_err();
    assert!(said.ends_with("parted by commas, in 4000 octets at most"), "{said}");
    let said = validate("relay.inbound_domains", &"a".repeat(4_001)).unwrap_err();
    assert!(said.ends_with("in 4000 octets at most"), "{said}");
}

#[test]
fn the_relay_is_open_to_those_listed_and_by_default_to_nobody() {
    let open = with(&[("relay.open_networks", "192.168.0.0/24")]);
    for (client, is_open) in
        [("192.168.0.0", true), ("::ffff:192.168.0.255", true), ("192.168.1.0", false), ("::1", false)]
    {
        assert_eq!(open.settings().is_open_to(client.parse().unwrap()), is_open, "{client}");
        assert!(!with(&[]).settings().is_open_to(client.parse().unwrap()));
    }
    assert!(
        !with(&[("relay.open_networks", "0.0.0.0/0")]).settings().is_open_to("192.0.2.1".parse().unwrap())
    );
}

#[test]
fn every_default_is_allowed_and_canonical() {
    for setting in TABLE {
        assert_eq!(setting.check(setting.default).as_deref(), Ok(setting.default), "{}", setting.key);
        assert_eq!(TABLE.iter().filter(|other| other.key == setting.key).count(), 1, "{}", setting.key);
    }
    assert_eq!(validate_changes(&Directory::default(), &[]), Ok(Vec::new()));
}

#[test]
fn each_getter_has_its_row_in_the_table() {
    let directory = Directory::default();
    let settings = directory.settings();
    for name in ListenerName::ALL {
        let listener = settings.listener(name);
        assert_ne!(listener.port, 0, "{name:?}");
        let asked_for = matches!(name, ListenerName::Lmtp | ListenerName::Http | ListenerName::Https);
        assert_eq!(listener.enabled, !asked_for, "{name:?}");
    }
    assert_eq!(settings.listener(ListenerName::Submission).tls, TlsMode::On);
    assert_eq!(settings.listener(ListenerName::Smtp).tls, TlsMode::On);
    assert!(settings.listener(ListenerName::Smtps).auth_required);
    assert!(!settings.listener(ListenerName::Smtp).auth_required);
    assert_eq!(settings.smtp_banner(), "localhost ESMTP");
    assert!(
        settings.imap_banner().starts_with("localhost ") && settings.pop3_banner().starts_with("localhost ")
    );
    assert_eq!(settings.smtp_message_bytes_max(), 50 << 20);
    assert_eq!((settings.smtp_recipients_max(), settings.smtp_hops_max()), (1_000, 100));
    assert_eq!(settings.smtp_recipient_delimiter(), Some('+'));
    assert_eq!(settings.smtp_postmaster(), Vec::<String>::new());
    let idle = (
        settings.smtp_idle_seconds_max(),
        settings.imap_idle_seconds_max(),
        settings.pop3_idle_seconds_max(),
    );
    assert_eq!(idle, (300, 1_800, 600));
    assert_eq!((settings.relay_host(), settings.relay_tls()), (None, RelayTls::Opportunistic));
    for tls in RelayTls::ALL {
        assert_eq!(validate("relay.tls", tls.word()).as_deref(), Ok(tls.word()));
        assert_eq!(with(&[("relay.tls", tls.word())]).settings().relay_tls(), tls);
    }
    let retry = (settings.delivery_retry_seconds_min(), settings.delivery_retry_seconds_max());
    assert_eq!(retry, (1_000, 4_000));
    let life = (settings.delivery_delay_notice_seconds(), settings.delivery_lifetime_seconds());
    assert_eq!(life, (14_400, 432_000));
    let connections =
        (settings.delivery_connections_max(), settings.delivery_connections_per_destination_max());
    assert_eq!((connections, settings.delivery_answer_seconds_max()), ((100, 5), 300));
    assert_eq!(settings.login_seconds_max(), 120);
    assert!(settings.session_connections_max() > settings.session_connections_per_address_max());
    assert!(!settings.auth_plaintext_without_tls());
    assert_eq!(settings.cluster_degraded_ack(), DegradedAck::Allow);
    assert_eq!(settings.cluster_drain_seconds_max(), 60);
    assert_eq!(settings.quota_default_bytes(), None);
    assert_eq!(settings.dns_servers(), []);
    assert!(settings.virtual_addresses().is_empty());
    assert_eq!(settings.acme(), None);
    assert!(settings.spf_verify() && settings.dkim_verify() && settings.dmarc_verify());
    assert_eq!(settings.arc_trusted_sealers(), Vec::<String>::new());
    assert_eq!((settings.dnsbl_zones(), settings.get("client.hostname")), (Vec::new(), "accept"));
    assert!(settings.helo_must_be_full() && !settings.helo_must_exist());
    assert!(settings.sender_domain_must_be_full() && settings.sender_domain_must_exist());
    assert!(settings.smtp_refuse_early_talk());
    assert_eq!(settings.smtp_junk_commands_max(), Some(10));
    let lists = with(&[("dnsbl.zones", "a.test,b.test"), ("smtp.junk_commands_max", "0")]);
    assert_eq!(lists.settings().dnsbl_zones(), ["a.test", "b.test"]);
    assert_eq!(lists.settings().smtp_junk_commands_max(), None);
    for (client, exempt) in
        [("127.9.9.9", true), ("::1", true), ("::ffff:127.0.0.1", true), ("192.0.2.1", false)]
    {
        assert_eq!(settings.is_exempt(client.parse().unwrap()), exempt, "{client}");
    }
    assert!(!settings.is_proxy("127.0.0.1".parse().unwrap()));
    let proxies = with(&[("session.proxies", "192.0.2.0/31")]);
    for (address, is_proxy) in [("192.0.2.1", true), ("::ffff:192.0.2.1", true), ("192.0.2.2", false)] {
        assert_eq!(proxies.settings().is_proxy(address.parse().unwrap()), is_proxy, "{address}");
    }
    let nobody = with(&[("checks.exempt_networks", ""), ("arc.trusted_sealers", "a.test,b.test")]);
    assert!(!nobody.settings().is_exempt("127.0.0.1".parse().unwrap()));
    assert_eq!(nobody.settings().arc_trusted_sealers(), ["a.test", "b.test"]);
    let directory = with(&[("dns.servers", "192.0.2.53:53,[2001:db8::53]:5353")]);
    let servers = ["192.0.2.53:53".parse().unwrap(), "[2001:db8::53]:5353".parse().unwrap()];
    assert_eq!(directory.settings().dns_servers(), servers);
}

#[test]
fn values_are_bounded_and_made_canonical() {
    for (key, value, canonical) in [
        ("smtp.hops_max", " 1000 ", "1000"),
        ("smtp.message_bytes_max", "64 MiB", "67108864"),
        ("smtp.message_bytes_max", "1g", "1073741824"),
        ("quota.default_bytes", "Unlimited", "unlimited"),
        ("listener.smtp.tls", "OFF", "off"),
        ("listener.lmtp.enabled", "yes", "true"),
        ("hostname", ".MX.B\u{fc}cher.example", "mx.xn--bcher-kva.example"),
        ("smtp.postmaster", "Root, ops@Example.test,", "root,ops@example.test"),
        ("smtp.recipient_delimiter", "", ""),
        ("imap.server_comment", "", ""),
        ("imap.server_admin", "mailto:help@example.test", "mailto:help@example.test"),
        ("imap.server_admin", "", ""),
        (
            "dns.servers",
            "192.0.2.53, [2001:DB8::53]:5353, 2001:db8::1,",
            "192.0.2.53:53,[2001:db8::53]:5353,[2001:db8::1]:53",
        ),
        ("dns.servers", "1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1", "1.1.1.1:53,1.1.1.1:53,1.1.1.1:53,1.1.1.1:53"),
        ("dns.servers", " ", ""),
        ("relay.host", "", ""),
        ("relay.host", "Relay.Example.com:25", "relay.example.com"),
        ("relay.host", "192.0.2.1:587", "192.0.2.1:587"),
        ("relay.host", "[2001:DB8::1]:587", "[2001:db8::1]:587"),
        ("relay.host", "[2001:db8::1]", "[2001:db8::1]"),
        ("checks.exempt_networks", "192.0.2.7/24, 2001:DB8::1,", "192.0.2.0/24,2001:db8::1/128"),
        ("arc.trusted_sealers", "Lists.B\u{fc}cher.example, .a.test", "lists.xn--bcher-kva.example,a.test"),
        ("dmarc.reject", "Junk", "junk"),
        ("dnsbl.zones", "Zen.Spamhaus.org\r\n\nbl.test , .c.test\n", "zen.spamhaus.org,bl.test,c.test"),
        (
            "dnsbl.zones",
            "1.a,2.a,3.a,4.a,5.a,6.a,7.a,8.a,9.a,10.a",
            "1.a,2.a,3.a,4.a,5.a,6.a,7.a,8.a,9.a,10.a",
        ),
        ("client.hostname", "Defer", "defer"),
        ("delivery.tls_reports_from", "tls@example.test", "tls@example.test"),
        ("delivery.tls_reports_from", " ", ""),
    ] {
        assert_eq!(validate(key, value).as_deref(), Ok(canonical), "{key}");
    }
    for (key, value) in [
        ("smtp.hops_max", "0"),
        ("smtp.hops_max", "1001"),
        ("smtp.hops_max", "-1"),
        ("smtp.hops_max", "+5"),
        ("smtp.hops_max", "99999999999999999999999"),
        ("smtp.message_bytes_max", "65535"),
        ("smtp.message_bytes_max", "99999999 TiB"),
        ("listener.smtp.port", "65536"),
        ("listener.smtp.tls", "forced"),
        ("smtp.banner", "a\r\nb"),
        ("smtp.banner", ""),
        ("hostname", "a b"),
        ("smtp.recipient_delimiter", "++"),
        ("smtp.recipient_delimiter", "a"),
        ("imap.server_comment", "\u{fc}"),
        ("imap.server_admin", "help@example.test"),
        ("imap.server_admin", "mailto: x"),
        ("imap.server_admin", "tel:"),
        ("imap.server_admin", "1a:b"),
        ("smtp.postmaster", "a b"),
        ("smtp.postmaster", "\"[tls]\""),
        ("smtp.postmaster", "\"[tls]\"@example.test"),
        ("smtp.postmaster", "@"),
        ("dns.servers", "ns1.example.test"),
        ("checks.exempt_networks", "192.0.2.0/33"),
        ("checks.exempt_networks", "localhost"),
        ("arc.trusted_sealers", "a b"),
        ("spf.temporary", "reject"),
        ("dnsbl.zones", "1.a,2.a,3.a,4.a,5.a,6.a,7.a,8.a,9.a,10.a,11.a"),
        ("dnsbl.zones", "a.test b.test"),
        ("client.hostname", "junk"),
        ("delivery.tls_reports_from", "postmaster"),
        ("delivery.tls_reports_from", "d\u{fc}rst@example.test"),
        ("smtp.junk_commands_max", "1001"),
        ("dns.servers", "192.0.2.53:0"),
        ("dns.servers", "192.0.2.53:65536"),
        ("dns.servers", "1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1"),
        ("relay.host", "a b"),
        ("relay.host", "a:0"),
        ("relay.host", "a:65536"),
        ("relay.host", "a:"),
        ("relay.host", "2001:db8::1"),
        ("relay.host", "[a]:25"),
    ] {
        let error = validate(key, value).expect_err(key);
        assert!(error.starts_with(&format!("{key}: \"")) && !error.contains('\n'), "{error}");
    }
    assert_eq!(
        validate("smtp.hops_max", "0").unwrap_err(),
        "smtp.hops_max: \"0\" is not a number from 1 to 1000 (Received headers)"
    );
    assert_eq!(
        validate("hops_max", "1").unwrap_err(),
        "hops_max: there is no such setting; did you mean smtp.hops_max?"
    );
}

#[test]
fn staged_changes_are_all_or_nothing() {
    let directory = with(&[("listener.smtp.port", "10025"), ("gone.in_this_build", "1")]);
    let change = |key: &str, value: Option<&str>| (key.to_owned(), value.map(str::to_owned));
    let swap = [change("listener.imap.port", Some("110")), change("listener.pop3.port", Some("143"))];
    assert_eq!(validate_changes(&directory, &swap), Ok(swap.to_vec()));
    assert_eq!(
        validate_changes(&directory, &swap[..1]).unwrap_err(),
        "listener.pop3.port: 110 is the port of listener.imap already"
    );
    assert!(validate_changes(&directory, &[swap[0].clone(), change("smtp.hops_max", Some("0"))]).is_err());
    assert!(validate_changes(&directory, &[change("nonsense", None)]).is_err());
    assert!(validate_changes(&directory, &[change("gone.in_this_build", None)]).is_ok());
}

#[test]
fn what_this_build_does_not_allow_reads_as_the_default() {
    let directory =
        with(&[("smtp.hops_max", "0"), ("listener.imap.port", "x"), ("smtp.recipients_max", "7")]);
    let settings = directory.settings();
    assert_eq!((settings.smtp_hops_max(), settings.smtp_recipients_max()), (100, 7));
    assert_eq!(settings.listener(ListenerName::Imap).port, 143);
    assert_eq!(settings.get("no.such"), "");
}

/// `POLLUX_WRITE_DOCS=1 cargo test settings` writes the file anew.
#[test]
fn the_documentation_is_that_of_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/settings.md");
    if std::env::var_os("POLLUX_WRITE_DOCS").is_some() {
        std::fs::write(path, markdown()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(written, markdown(), "run: POLLUX_WRITE_DOCS=1 cargo test settings");
}

#[test]
fn greylisting_is_off_and_nobody_could_pass_is_refused() {
    assert_eq!(with(&[]).settings().greylist(), None);
    let on = with(&[("greylist.enabled", "true")]);
    let terms = GreyTerms {
        delay_ms: 300_000,
        retry_window_ms: 172_800_000,
        lifetime_ms: 3_024_000_000,
        client_passes: 5,
    };
    assert_eq!(on.settings().greylist(), Some(terms));
    let change = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
    let (delay, window) = ("greylist.delay_seconds", "greylist.retry_window_seconds");
    for (changes, allowed) in [
        (vec![change(window, "301")], true),
        (vec![change(window, "300")], false),
        (vec![change(delay, "3600"), change(window, "3600")], false),
        (vec![change(window, "2"), change(delay, "1")], true),
    ] {
        assert_eq!(validate_changes(&Directory::default(), &changes).is_ok(), allowed, "{changes:?}");
    }
    let short = with(&[(delay, "1"), (window, "2")]);
    assert!(validate_changes(&short, &[(delay.to_owned(), None)]).is_err(), "the default is longer");
}
