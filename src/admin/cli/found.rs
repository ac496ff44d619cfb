//! What is done to a node's directory while it does not run. `init` and `join` make a new one beside its place and move it
//! there whole: whatever fails, nothing half-done is left.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use chrono::Datelike;

use super::arguments::{Init, Join, NewNode};
use super::identity::{FIRST_SETTINGS_FILE, FirstSettings, cluster_config};
use super::{Problem, print};
use crate::clock::Clock;
use crate::cluster::membership;
use crate::cluster::token::{JoinToken, Role as ClusterRole};
use crate::config::{CLUSTER_PORT_DEFAULT, Config, Role, is_name};
use crate::store::files;

pub fn init(init: &Init) -> Result<(), Problem> {
    if init.role == Role::Witness {
        return Err("the first node holds mail; make the cluster with a data node, then 'pollux join-token --role witness'".to_owned());
    }
    let first = FirstSettings { domain: init.domain.clone(), hostname: init.hostname.clone() };
    first.check()?;
    let staging = Staging::begin(&init.node.dir)?;
    let names: Vec<String> = [&init.hostname, &init.domain].into_iter().flatten().cloned().collect();
    let config = lay_down(&staging, &init.node, Role::Data, &names)?;
    let json = serde_json::to_vec_pretty(&first).map_err(|error| error.to_string())?;
    write_secret(&staging.path.join(FIRST_SETTINGS_FILE), &json)?;
    membership::found(&cluster_config(&config), &Clock::system()).map_err(|error| error.to_string())?;
    staging.finish(&init.node.dir)?;
    print(&first_steps(&config.name, &init.node.dir));
    Ok(())
}

pub fn join(join: &Join) -> Result<(), Problem> {
    let token = join.token.parse::<JoinToken>().map_err(|error| error.to_string())?;
    let role = match token.role {
        ClusterRole::Data => Role::Data,
        ClusterRole::Witness => Role::Witness,
    };
    let staging = Staging::begin(&join.node.dir)?;
    let config = lay_down(&staging, &join.node, role, &[])?;
    let joined =
        runtime()?.block_on(membership::join(&cluster_config(&config), &join.token, &Clock::system()));
    let node = joined.map_err(|error| error.to_string())?;
    staging.finish(&join.node.dir)?;
    let (name, dir) = (&config.name, join.node.dir.display());
    print(&format!(
        "{name} is member {node} of the cluster. Start it:\n  pollux serve --config {dir}/pollux.toml\n"
    ));
    Ok(())
}

/// The node of `config` is off, and so are all others, as its operator says.
pub fn take_over(config: &Config, lost: bool) -> Result<(), Problem> {
    let taken = runtime()?.block_on(membership::take_over(&cluster_config(config), lost, &Clock::system()));
    let taken = taken.map_err(|error| error.to_string())?;
    let others: Vec<String> = taken.others.iter().map(ToString::to_string).collect();
    print(&format!(
        "{} goes on alone. Start it:\n  pollux serve --config {}/pollux.toml\nThose that come back (nodes {}) follow \
         by themselves, unless they have gone on apart: those stop, and say so.\n",
        config.name,
        config.dir.display(),
        others.join(", ")
    ));
    Ok(())
}

pub fn runtime() -> Result<tokio::runtime::Runtime, Problem> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| format!("no runtime: {error}"))
}

fn first_steps(name: &str, dir: &Path) -> String {
    let at = format!("--config {}/pollux.toml", dir.display());
    format!(
        "{name} is ready in {dir}. Now:\n\
         \x20 pollux serve {at}                        start it\n\
         \x20 pollux {at} domain add example.com       a mail domain, unless given above\n\
         \x20 pollux {at} user add NAME                the first user\n\
         \x20 pollux {at} join-token                   then on the second box: pollux join --token … --dir D\n\
         \x20 pollux {at} join-token --role witness    then on a third, small box, the same\n\
         \x20 pollux {at} check                        what is still missing\n",
        dir = dir.display()
    )
}

const CONFIG_FILE: &str = "pollux.toml";
/// What lies in a directory while it is being made.
const UNFINISHED: &str = ".unfinished";

/// A directory beside the final one, or within it where it exists already (it may be a disk's mount point);
/// gone again unless it is finished.
pub(super) struct Staging {
    path: PathBuf,
    finished: bool,
}

impl Staging {
    pub(super) fn begin(dir: &Path) -> Result<Self, Problem> {
        refuse_unless_empty(dir)?;
        let path = if dir.is_dir() { dir.join(UNFINISHED) } else { beside(dir)? };
        let fault = |error: std::io::Error| {
            format!("{}: cannot be made ({error}); choose another --dir", path.display())
        };
        // Left by a killed run; nothing in it was ever in use.
        if path.exists() {
            fs::remove_dir_all(&path).map_err(fault)?;
        }
        files::create_dir_durably(&path).map_err(fault)?;
        let staging = Self { path, finished: false };
        set_mode(&staging.path, 0o700)?;
        Ok(staging)
    }

    pub(super) fn finish(mut self, dir: &Path) -> Result<(), Problem> {
        let placed = if self.path.starts_with(dir) {
            self.move_up(dir)
        } else {
            files::rename_durably(&self.path, dir)
        };
        placed.map_err(|error| format!("{}: cannot be put in place ({error})", dir.display()))?;
        self.finished = true;
        Ok(())
    }

    /// The configuration comes last: without it there is no node.
    fn move_up(&self, dir: &Path) -> std::io::Result<()> {
        set_mode(dir, 0o700).map_err(std::io::Error::other)?;
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            names.push(entry?.file_name());
        }
        names.sort_by_key(|name| name == CONFIG_FILE);
        for name in names {
            files::rename_durably(&self.path.join(&name), &dir.join(&name))?;
        }
        fs::remove_dir(&self.path)
    }
}

fn beside(dir: &Path) -> Result<PathBuf, Problem> {
    let name = dir.file_name().and_then(|name| name.to_str());
    let Some(name) = name else { return Err(format!("{}: --dir must name a directory", dir.display())) };
    let parent = match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Ok(parent.join(format!(".{name}{UNFINISHED}")))
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.finished {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Clients of some makers refuse certificates that are good for more than 825 days.
pub fn good_for_two_years(params: &mut rcgen::CertificateParams) {
    let today = chrono::DateTime::from_timestamp_millis(Clock::system().now().0 as i64).unwrap_or_default();
    params.not_before = rcgen::date_time_ymd(today.year() - 1, 12, 1);
    params.not_after = rcgen::date_time_ymd(today.year() + 2, 1, 28);
}

fn refuse_unless_empty(dir: &Path) -> Result<(), Problem> {
    match fs::read_dir(dir) {
        Ok(entries) => {
            // A new file system has its lost+found; an unfinished run left what was never in use.
            let counts = |name: &std::ffi::OsStr| name != UNFINISHED && name != "lost+found";
            if entries.flatten().any(|entry| counts(&entry.file_name())) {
                return Err(format!(
                    "{} is not empty; choose another --dir, or remove it if nothing in it is needed",
                    dir.display()
                ));
            }
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("{}: cannot be used ({error}); choose another --dir", dir.display())),
    }
}

/// Certificate and pollux.toml; gives the configuration as `serve` will read it.
pub(super) fn lay_down(
    staging: &Staging,
    node: &NewNode,
    role: Role,
    names: &[String],
) -> Result<Config, Problem> {
    let text = config_text(node, role)?;
    let config = Config::parse(&text, &staging.path.join(CONFIG_FILE)).map_err(|error| error.to_string())?;
    if role == Role::Data && node.tls_cert.is_none() {
        self_signed(&staging.path, &config.name, names)?;
    }
    write_secret(&staging.path.join(CONFIG_FILE), text.as_bytes())?;
    Ok(config)
}

fn config_text(node: &NewNode, role: Role) -> Result<String, Problem> {
    let name = match &node.name {
        Some(name) => name.clone(),
        None => default_name(&node.dir),
    };
    if !is_name(&name) {
        return Err(format!("{name:?} is not a node name; give --name with 1 to 63 of a-z, 0-9 and '-'"));
    }
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut text = format!("name = {}\nrole = \"{}\"\n\n[cluster]\n", quoted(&name), role.word());
    let (listen, advertise) = cluster_addresses(node)?;
    text.push_str(&format!("listen = \"{listen}\"\n"));
    if let Some(advertise) = advertise {
        text.push_str(&format!("advertise = {}\n", quoted(&advertise)));
    }
    if role == Role::Data {
        text.push_str(&format!(
            "\n[listen]\naddress = \"{}\"\nport_offset = {}\n",
            node.listen, node.port_offset
        ));
        let (cert, key) = match (&node.tls_cert, &node.tls_key) {
            (Some(cert), Some(key)) => (absolute(cert)?, absolute(key)?),
            _ => ("tls/cert.pem".to_owned(), "tls/key.pem".to_owned()),
        };
        text.push_str(&format!("\n[tls]\ncert = {}\nkey = {}\n", quoted(&cert), quoted(&key)));
    }
    Ok(text)
}

/// The directory's own name where that can be one.
fn default_name(dir: &Path) -> String {
    let name = dir.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    if is_name(&name) { name } else { "node".to_owned() }
}

fn absolute(path: &Path) -> Result<String, Problem> {
    let found =
        fs::canonicalize(path).map_err(|error| format!("{}: cannot be read ({error})", path.display()))?;
    Ok(found.display().to_string())
}

/// Where to listen, and what to tell the others if that is not the same.
fn cluster_addresses(node: &NewNode) -> Result<(std::net::SocketAddr, Option<String>), Problem> {
    let advertise = node.cluster_address.as_ref().map(|text| with_port(text));
    let told = advertise.as_ref().and_then(|text| text.parse::<std::net::SocketAddr>().ok());
    let port = advertise.as_ref().and_then(|text| text.rsplit_once(':')?.1.parse().ok());
    let listen = match (node.cluster_listen, told) {
        (Some(listen), _) => listen,
        (None, Some(told)) => told,
        (None, None) => ([0, 0, 0, 0], port.unwrap_or(CLUSTER_PORT_DEFAULT)).into(),
    };
    Ok((listen, advertise.filter(|_| told != Some(listen))))
}

/// `host`, `host:port`, `::1` or `[::1]:port` to `host:port`.
fn with_port(text: &str) -> String {
    if let Ok(address) = text.parse::<std::net::IpAddr>() {
        return std::net::SocketAddr::new(address, CLUSTER_PORT_DEFAULT).to_string();
    }
    match text.contains(':') {
        true => text.to_owned(),
        false => format!("{text}:{CLUSTER_PORT_DEFAULT}"),
    }
}

/// A certificate that clients must be told to trust, until the operator has a better one.
fn self_signed(dir: &Path, node: &str, names: &[String]) -> Result<(), Problem> {
    let fault = |error: rcgen::Error| {
        format!("the mail certificate cannot be made: {error}; give --tls-cert and --tls-key")
    };
    let mut all = names.to_vec();
    all.extend([node.to_owned(), "localhost".to_owned(), "127.0.0.1".to_owned()]);
    all.dedup();
    let mut params = rcgen::CertificateParams::new(all).map_err(fault)?;
    params.distinguished_name.push(rcgen::DnType::CommonName, node);
    good_for_two_years(&mut params);
    let signing_key = rcgen::KeyPair::generate().map_err(fault)?;
    let certificate = params.self_signed(&signing_key).map_err(fault)?;
    let tls = dir.join("tls");
    files::create_dir_durably(&tls).map_err(|error| format!("{}: {error}", tls.display()))?;
    write_secret(&tls.join("cert.pem"), certificate.pem().as_bytes())?;
    write_secret(&tls.join("key.pem"), signing_key.serialize_pem().as_bytes())
}

pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    files::write_secret_atomically(path, bytes)
        .map_err(|error| format!("{}: cannot be written ({error})", path.display()))
}

fn set_mode(path: &Path, mode: u32) -> Result<(), Problem> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(|error| format!("{}: its mode cannot be set ({error})", path.display()))
}
