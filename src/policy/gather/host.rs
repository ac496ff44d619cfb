//! The names of a client that hold both ways: its address leads to the name, and the name back to the address. Anybody
//! can write any name for his own addresses.

use std::net::IpAddr;

use crate::dns::{DnsError, Resolver};

/// Names of one address that are looked up; further ones are left out.
pub const HOST_NAMES_MAX: usize = 5;

/// In lower case and A-labels. An error only where a name may yet hold and the DNS does not tell at the moment.
pub async fn verified(dns: &Resolver, client: IpAddr) -> Result<Vec<String>, DnsError> {
    let client = client.to_canonical();
    let names = match dns.ptr(client).await {
        Ok(names) => names,
        Err(error) if error.is_temporary() => return Err(error),
        Err(_) => return Ok(Vec::new()),
    };
    let (mut verified, mut open) = (Vec::new(), None);
    for name in names.into_iter().take(HOST_NAMES_MAX) {
        match dns.addresses_like(client, &name).await {
            Ok(addresses) if addresses.contains(&client) => verified.push(name),
            Err(error) if error.is_temporary() => open = Some(error),
            Ok(_) | Err(_) => {}
        }
    }
    match open {
        Some(error) if verified.is_empty() => Err(error),
        _ => Ok(verified),
    }
}
