//! The grammar of the command line (design 8). Scripts rely on it: words are added, never changed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::words;
use crate::admin::control::request::Quota;
use crate::admin::demo::DemoArgs;
use crate::admin::migration::Security;
use crate::backup::location::Location;
use crate::config::Role;
use crate::mail::ids::Timestamp;

#[derive(Debug, Parser)]
#[command(name = "pollux", version, about = "A mail server for two boxes that behave as one")]
#[command(propagate_version = true, disable_help_subcommand = true)]
pub struct Arguments {
    #[command(flatten)]
    pub place: Place,
    #[command(subcommand)]
    pub command: Command,
}

/// Which node is meant.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// The node's pollux.toml
    #[arg(long, global = true, value_name = "FILE", env = "POLLUX_CONFIG")]
    pub config: Option<PathBuf>,
    /// The running node's control socket, instead of --config
    #[arg(long, global = true, value_name = "SOCKET")]
    pub socket: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the first node of a new cluster
    Init(Init),
    /// Run the node
    Serve,
    /// What `serve` starts beside itself, to hold the cluster's virtual addresses
    #[command(hide = true)]
    HoldAddresses,
    /// Make a one-time token with which a new node may join
    JoinToken {
        /// What the new node is for
        #[arg(long, value_enum, default_value = "data")]
        role: Role,
        /// How long the token is good
        #[arg(long, default_value = "1h", value_parser = words::seconds)]
        ttl: u64,
        #[arg(long)]
        json: bool,
    },
    /// Make this box a node of the cluster that gave the token
    Join(Join),
    /// See and steer the cluster
    #[command(subcommand)]
    Cluster(Cluster),
    /// Mail domains
    #[command(subcommand)]
    Domain(Domain),
    /// Users and their passwords
    #[command(subcommand)]
    User(User),
    /// Other names for users
    #[command(subcommand)]
    Alias(Alias),
    /// Settings of the whole cluster
    #[command(subcommand)]
    Policy(Policy),
    /// Hosts that are shut out for a time
    #[command(subcommand)]
    Block(BlockCommand),
    /// Mail that waits to go to other servers
    #[command(subcommand)]
    Queue(Queue),
    /// Servers that mail goes through, all of it or some
    #[command(subcommand)]
    Relay(RelayCommand),
    /// What the zones of our domains should say, and what they say
    #[command(subcommand)]
    Dns(DnsCommand),
    /// Who may connect to which port, on every node
    #[command(subcommand)]
    Firewall(FirewallCommand),
    /// Certificates that are believed of other servers, beside those that the system trusts
    #[command(subcommand)]
    Ca(CaCommand),
    /// The certificate that the mail services show on all nodes
    #[command(subcommand)]
    Certificate(CertificateCommand),
    /// The secret of the return addresses of mail that is passed on
    #[command(subcommand)]
    Srs(SrsCommand),
    /// Keys that mail to other servers is signed with
    #[command(subcommand)]
    Dkim(DkimCommand),
    /// The filters of users (Sieve scripts)
    #[command(subcommand)]
    Sieve(SieveCommand),
    /// Whole mailboxes, in from other servers and files, and out into files
    #[command(subcommand)]
    Mail(MailCommand),
    /// What became of a mail, on all nodes
    Trace {
        /// A Message-ID, the id of a Received field, or an address
        about: String,
        /// Nothing older than, such as 2d
        #[arg(long, value_parser = words::seconds)]
        since: Option<u64>,
        #[arg(long)]
        json: bool,
    },
    /// Copies of everything in a folder, and the way back
    #[command(subcommand)]
    Backup(Backup),
    /// Look for what is wrong, on this box and in the cluster
    Check {
        #[arg(long)]
        json: bool,
    },
    /// How safe the settings and the cluster are
    #[command(subcommand)]
    Security(SecurityCommand),
    /// Start a pair and a witness on this machine and show what they do
    Demo(DemoArgs),
    /// Print what has a shell complete these commands
    Completions { shell: clap_complete::Shell },
    /// Write a manual page for each command
    Manual {
        /// Made if it is missing
        dir: PathBuf,
    },
}

/// Where a new node lives and listens.
#[derive(Debug, Clone, Args)]
pub struct NewNode {
    /// The node's directory; made if it is missing, refused if it is not empty
    #[arg(long)]
    pub dir: PathBuf,
    /// The node's name, unique in the cluster
    #[arg(long)]
    pub name: Option<String>,
    /// Address on which the mail services listen
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0")]
    pub listen: std::net::IpAddr,
    /// Added to every mail port
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=60_000))]
    pub port_offset: u16,
    /// HOST or HOST:PORT by which the other nodes reach this one (UDP; bulk is on the next port)
    #[arg(long, value_name = "HOST[:PORT]")]
    pub cluster_address: Option<String>,
    /// ADDRESS:PORT on which the cluster listens, where that differs from --cluster-address
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub cluster_listen: Option<std::net::SocketAddr>,
    /// PEM certificate of the mail services; self-signed if it is not given
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its PEM key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub struct Init {
    #[command(flatten)]
    pub node: NewNode,
    /// The first node holds mail; a witness joins later
    #[arg(long, value_enum, default_value = "data")]
    pub role: Role,
    /// The first mail domain
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<String>,
    /// The name by which the mail server greets
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub struct Join {
    /// What 'pollux join-token' printed
    #[arg(long)]
    pub token: String,
    #[command(flatten)]
    pub node: NewNode,
}

const OF_BUCKETS: &str = "A bucket is asked with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_SESSION_TOKEN, AWS_REGION, \
    AWS_ENDPOINT_URL, AWS_CA_BUNDLE) of the environment. All that lies there is sealed with the passphrase in the file that \
    POLLUX_BACKUP_PASSPHRASE_FILE names: keep it elsewhere, too, for without it nothing can be restored.";

#[derive(Debug, Subcommand)]
pub enum Backup {
    /// Make one, through the running node; what is there already is not copied again
    #[command(after_help = OF_BUCKETS)]
    Create {
        /// A folder on the node's box, or s3://BUCKET/PREFIX: empty, or of backups. In a folder keys and password hashes lie open
        to: Location,
        #[arg(long)]
        json: bool,
    },
    /// The backups in a folder or bucket
    #[command(after_help = OF_BUCKETS)]
    List {
        from: Location,
        #[arg(long)]
        json: bool,
    },
    /// Read all that is there and name what is damaged
    #[command(after_help = OF_BUCKETS)]
    Verify {
        from: Location,
        /// Of this backup alone; all packs are read
        #[arg(long, value_name = "ID")]
        backup: Option<String>,
        #[arg(long)]
        json: bool,
    },
    /// Take backups away, and give back the space of what no other one holds
    #[command(after_help = OF_BUCKETS)]
    Remove {
        from: Location,
        /// That backup
        #[arg(long, value_name = "ID", required_unless_present = "keep")]
        backup: Option<String>,
        /// All but so many of the newest
        #[arg(long, value_name = "COUNT", conflicts_with = "backup", value_parser = clap::value_parser!(u32).range(1..))]
        keep: Option<u32>,
        #[arg(long)]
        json: bool,
    },
    /// Make a backup the first node of a new cluster; the old nodes must never be started again
    #[command(after_help = OF_BUCKETS)]
    Restore(Restore),
}

#[derive(Debug, Clone, Args)]
pub struct ChosenBackup {
    /// That backup; the last otherwise
    #[arg(long, value_name = "ID")]
    pub backup: Option<String>,
    /// The last at or before, such as 2026-11-27T13:00:00Z
    #[arg(long, value_name = "TIME", conflicts_with = "backup", value_parser = words::moment)]
    pub at: Option<Timestamp>,
}

#[derive(Debug, Clone, Args)]
pub struct Restore {
    /// The folder or bucket of backups
    pub from: Location,
    #[command(flatten)]
    pub chosen: ChosenBackup,
    /// Go on without messages that are missing or damaged
    #[arg(long)]
    pub partial: bool,
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub node: NewNode,
}

#[derive(Debug, Subcommand)]
pub enum Cluster {
    /// Who leads, who lags, whether the next failure would cost anything
    Status {
        /// Show it again every second until interrupted
        #[arg(long)]
        watch: bool,
        #[arg(long)]
        json: bool,
    },
    /// The nodes
    Members {
        #[arg(long)]
        json: bool,
    },
    /// Hand leadership to NODE
    Transfer { node: String },
    /// Serve no clients on NODE, so that its box may be worked on; it goes on replicating, and stays drained over a restart
    Drain {
        node: String,
        /// Wait until it may be switched off, such as --wait=30m; exit 1 if it may not be by then
        #[arg(long, value_name = "TIME", value_parser = words::seconds, num_args = 0..=1, require_equals = true,
              default_missing_value = "10m")]
        wait: Option<u64>,
    },
    /// Serve clients on NODE again
    Undrain { node: String },
    /// Have this node, while it is stopped, go on alone: the others are off, and no majority is left
    Takeover {
        /// All other nodes are switched off or cut off for good; without this word nothing is done
        #[arg(long, required = true)]
        fenced: bool,
        /// Give up what another node has and this one lacks
        #[arg(long)]
        lost: bool,
    },
    /// Have this node give way to one that was told to go on alone: it stops for good, its mail stays on its disk
    Quarantine,
    /// What a node that stays off, such as one in quarantine, has beside mailboxes, and this cluster lacks or has otherwise
    Compare {
        /// The node's folder
        dir: PathBuf,
        /// Write each mail that waits there to be sent to others, and does not wait here, to a file in FOLDER
        #[arg(long, value_name = "FOLDER")]
        mail_into: Option<PathBuf>,
        #[arg(long)]
        json: bool,
    },
    /// Do all data nodes hold the same, and each what it should? What is wrong is named and mended; exit 1 if something was
    Verify {
        /// Read each message body too; takes as long as the disks need for all mail
        #[arg(long)]
        bodies: bool,
        #[arg(long)]
        json: bool,
    },
    /// From one build to the next, node by node
    #[command(subcommand)]
    Upgrade(Upgrade),
    /// Take NODE out of the cluster for good
    Remove {
        node: String,
        /// Its disk is lost, and with it what no other node has; refused while it answers
        #[arg(long)]
        lost: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum SecurityCommand {
    /// What is weak, how much it weighs, and the command that mends it
    Report {
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum Upgrade {
    /// Which build each node runs, and what is to be done next
    Status {
        #[arg(long)]
        json: bool,
    },
    /// Go on to the newest version that all nodes know; from then on no node can go back to an older build
    Finalize,
}

#[derive(Debug, Subcommand)]
pub enum Domain {
    Add {
        name: String,
    },
    List {
        #[arg(long)]
        json: bool,
    },
    Remove {
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum User {
    /// Add a user; asks for the password
    Add {
        name: String,
        /// Read the password as one line from standard input
        #[arg(long)]
        password_stdin: bool,
        /// Such as 5G; 'default' follows the setting
        #[arg(long, default_value = "default", value_parser = words::quota)]
        quota: Quota,
    },
    List {
        #[arg(long)]
        json: bool,
    },
    Show {
        name: String,
        #[arg(long)]
        json: bool,
    },
    Set {
        name: String,
        #[arg(long, value_parser = words::quota)]
        quota: Option<Quota>,
        /// Let the user log in
        #[arg(long, conflicts_with = "disable")]
        enable: bool,
        /// Refuse logins; mail still comes in
        #[arg(long)]
        disable: bool,
    },
    /// Remove a user with all mail
    Remove { name: String },
    /// Set a new password; asks for it
    Passwd {
        name: String,
        #[arg(long)]
        password_stdin: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum Alias {
    /// Send mail for ADDRESS to the targets
    Add {
        address: String,
        #[arg(required = true)]
        targets: Vec<String>,
    },
    List {
        #[arg(long)]
        json: bool,
    },
    Show {
        address: String,
        #[arg(long)]
        json: bool,
    },
    /// Replace the targets
    Set {
        address: String,
        #[arg(required = true)]
        targets: Vec<String>,
    },
    Remove {
        address: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum CaCommand {
    /// Believe this CA, or the one server that shows this very certificate
    Add {
        /// A name of your choice
        name: String,
        /// One certificate in PEM; '-' is standard input
        file: PathBuf,
        /// Only of this host or domain and those below it
        #[arg(long = "for", value_name = "HOST")]
        hosts: Option<String>,
    },
    List {
        #[arg(long)]
        json: bool,
    },
    Remove {
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum CertificateCommand {
    /// For whom it is, until when, and what became of the last order
    Show {
        #[arg(long)]
        json: bool,
    },
    /// Use this one, on all nodes
    Set {
        /// The chain in PEM, the leaf first; '-' is standard input
        cert: PathBuf,
        /// Its private key in PEM
        key: PathBuf,
    },
    /// Use none: each box shows the one in its pollux.toml
    Remove,
    /// Order another one before its time (acme.directory), for the same key
    Renew {
        /// For a new key: publish its TLSA records anew
        #[arg(long)]
        new_key: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum RelayCommand {
    /// Add one; the closest takes a mail: its sender's, his domain's, the recipient's, his domain's, else one for all
    Add {
        /// A name of your choice
        name: String,
        /// HOST or HOST:PORT; the port is 587 otherwise
        #[arg(long)]
        host: String,
        /// Only mail to this address, or to this @domain
        #[arg(long, value_name = "PATTERN", conflicts_with = "for_sender")]
        for_recipient: Option<String>,
        /// Only mail from this address, or from this @domain
        #[arg(long, value_name = "PATTERN")]
        for_sender: Option<String>,
        /// 'verified' with a login, else 'opportunistic'
        #[arg(long, value_parser = ["off", "opportunistic", "forced", "verified"])]
        tls: Option<String>,
        /// Log in as; the password is asked for
        #[arg(long)]
        user: Option<String>,
        #[arg(long, requires = "user")]
        password_stdin: bool,
    },
    List {
        #[arg(long)]
        json: bool,
    },
    Remove {
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum DnsCommand {
    /// Print the records to publish for a domain of ours, as for a zone file
    Records {
        domain: String,
        #[arg(long)]
        json: bool,
    },
    /// Hold them against what the DNS says; exits 1 where mail would not come
    Check {
        domain: String,
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum FirewallCommand {
    /// Add one; the first rule that fits a connection decides, and where one lets somebody in, nobody else may
    Add {
        /// A name of your choice
        name: String,
        /// Services by name (imap, smtp, ...), whose ports it follows; tcp/PORT, udp/FIRST-LAST
        #[arg(required = true)]
        ports: Vec<String>,
        #[arg(long, value_parser = ["allow", "drop", "reject"])]
        action: String,
        /// Addresses and networks, with commas between; anybody otherwise
        #[arg(long, value_name = "NETWORKS", value_delimiter = ',')]
        from: Vec<String>,
        /// Only what comes in there; with * at its end all that begin so
        #[arg(long)]
        interface: Option<String>,
        /// The rule that it is to stand before; behind all otherwise
        #[arg(long, value_name = "RULE")]
        before: Option<String>,
        #[command(flatten)]
        change: FirewallChange,
    },
    List {
        #[arg(long)]
        json: bool,
    },
    Remove {
        name: String,
        #[command(flatten)]
        change: FirewallChange,
    },
    /// The node's table as nftables reads it
    Render,
    /// Whether each node's table is as the rules say
    Status {
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Clone, Args)]
pub struct FirewallChange {
    /// Show the table that would be, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Even if you could not log in to the box again
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Subcommand)]
pub enum SrsCommand {
    /// Since when it is in use
    Show {
        #[arg(long)]
        json: bool,
    },
    /// Make the next one; return addresses by the last one stay good, by the one before that they do not
    Rotate,
}

#[derive(Debug, Subcommand)]
pub enum DkimCommand {
    /// Make a key and show the record to publish
    Generate {
        domain: String,
        /// The key's name in the DNS; today's date, if none is given
        #[arg(long)]
        selector: Option<String>,
        #[arg(long, default_value = "rsa-sha256", value_parser = ["rsa-sha256", "ed25519-sha256"])]
        algorithm: String,
        /// Do not sign with it yet: publish the record first, then 'pollux dkim activate'
        #[arg(long)]
        hold: bool,
    },
    /// Take a private key in PEM; '-' is standard input
    Import {
        domain: String,
        selector: String,
        file: PathBuf,
        #[arg(long)]
        hold: bool,
    },
    List {
        #[arg(long)]
        json: bool,
    },
    /// The record to publish
    Show {
        domain: String,
        selector: String,
    },
    /// The public key in PEM, or the private one
    Export {
        domain: String,
        selector: String,
        #[arg(long)]
        private: bool,
    },
    /// Sign with it from now on, beside those that sign already
    Activate {
        domain: String,
        selector: String,
    },
    /// Sign with it no longer; it is kept
    Retire {
        domain: String,
        selector: String,
    },
    Remove {
        domain: String,
        selector: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum MailCommand {
    /// Take what the user's mailboxes lack, with flags, dates and folders; run again it goes on where it was
    Import {
        /// Whose mailboxes it goes to
        #[arg(long)]
        user: String,
        /// A folder below which all of it goes
        #[arg(long, default_value = "", hide_default_value = true)]
        into: String,
        #[arg(long)]
        json: bool,
        #[command(subcommand)]
        from: ImportFrom,
    },
    /// Put back what the user has expunged, while it is kept (the setting mail.undelete_days)
    Undelete {
        user: String,
        /// Only of this folder and what was below it
        #[arg(long)]
        folder: Option<String>,
        /// Expunged at or after, such as 2026-11-27T13:00:00Z
        #[arg(long, value_name = "TIME", value_parser = words::moment)]
        since: Option<Timestamp>,
        /// Expunged before
        #[arg(long, value_name = "TIME", value_parser = words::moment)]
        until: Option<Timestamp>,
        /// One folder for all of it; each where it was otherwise
        #[arg(long, value_name = "FOLDER", conflicts_with = "list")]
        into: Option<String>,
        /// Show what there is, and put nothing back
        #[arg(long)]
        list: bool,
        #[arg(long)]
        json: bool,
    },
    /// Write the user's mailboxes to a folder; run again a Maildir goes on where it was
    Export {
        #[arg(long)]
        user: String,
        #[arg(long)]
        json: bool,
        #[arg(value_enum)]
        format: ExportFormat,
        /// Made if it is missing
        dir: PathBuf,
    },
}

/// What is taken of what lies on a disk.
#[derive(Debug, Clone, Args)]
pub struct Taken {
    /// Whose mailboxes, there; the same user's otherwise
    #[arg(long, value_name = "USER")]
    pub from: Option<String>,
    /// Only this folder and what is below it; may be given again
    #[arg(long = "folder", value_name = "FOLDER")]
    pub folders: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum ImportFrom {
    /// A Maildir with its folders, of Maildir++ (.Folder.Sub) or in each other (Folder/Sub)
    Maildir { path: PathBuf },
    /// One mbox file
    Mbox {
        path: PathBuf,
        /// Where its messages go
        #[arg(long, default_value = "INBOX")]
        folder: String,
    },
    /// What a user had at a backup (see 'pollux backup list'): what is lacking now comes back, and nothing else changes
    Backup {
        /// The folder or bucket of backups
        place: Location,
        #[command(flatten)]
        taken: Taken,
        #[command(flatten)]
        chosen: ChosenBackup,
    },
    /// What a user had on a node that stays off, such as one in quarantine
    Node {
        /// The node's folder
        dir: PathBuf,
        #[command(flatten)]
        taken: Taken,
    },
    /// An account on another server; nothing is changed there
    Imap {
        host: String,
        #[arg(long)]
        port: Option<u16>,
        #[arg(long, value_enum, default_value = "tls")]
        security: Security,
        /// The name to log in with there
        #[arg(long)]
        login: String,
        /// Read the password as one line from standard input
        #[arg(long)]
        password_stdin: bool,
        /// A PEM file with certificates that are believed, instead of those that the system trusts
        #[arg(long, value_name = "FILE")]
        ca: Option<PathBuf>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ExportFormat {
    /// Maildir++, as Dovecot and Courier read it
    Maildir,
    /// A file for each folder
    Mbox,
}

#[derive(Debug, Subcommand)]
pub enum SieveCommand {
    List {
        user: String,
        #[arg(long)]
        json: bool,
    },
    /// The text of a script; of the active one, if none is named
    Show { user: String, name: Option<String> },
    /// Keep a script, or another text of it; '-' is standard input
    Put {
        user: String,
        name: String,
        file: PathBuf,
        /// Use it from now on
        #[arg(long)]
        activate: bool,
    },
    /// Remove a script that is not active
    Remove { user: String, name: String },
    /// Use this script, and no other
    Activate { user: String, name: String },
    /// Use no script: all mail comes to INBOX
    Deactivate { user: String },
    /// Say whether a file is a script, without any node
    Check { file: PathBuf },
}

#[derive(Debug, Subcommand)]
pub enum Queue {
    /// The mails, oldest first
    List {
        #[command(flatten)]
        filters: QueueFilters,
        /// Show at most so many
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
        #[arg(long)]
        json: bool,
    },
    /// One mail with all its recipients and what was said of them
    Show {
        id: u64,
        #[arg(long)]
        json: bool,
    },
    /// Try them now
    Retry(Chosen),
    /// Do not try them until they are released
    Hold(Chosen),
    Release(Chosen),
    /// Throw them away; nobody is told
    Remove(Chosen),
    /// What other domains demand of those who send them mail, as it was fetched and is obeyed (MTA-STS)
    Sts {
        #[arg(long)]
        json: bool,
    },
    /// What was counted of TLS with other domains' servers, and not yet reported to them
    TlsReports {
        /// Report it now, to those that want reports
        #[arg(long)]
        send: bool,
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Clone, Args)]
pub struct QueueFilters {
    /// Only with this in the sender's address
    #[arg(long)]
    pub sender: Option<String>,
    /// Only with this in a recipient's address
    #[arg(long)]
    pub recipient: Option<String>,
    /// Only to this domain
    #[arg(long)]
    pub host: Option<String>,
    /// Only what waits longer than, such as 2h
    #[arg(long, value_parser = words::seconds)]
    pub older_than: Option<u64>,
}

/// Mails by their ids, or all that fit.
#[derive(Debug, Clone, Args)]
pub struct Chosen {
    pub ids: Vec<u64>,
    /// Every mail in the queue
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub filters: QueueFilters,
}

#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Every setting with its value
    List {
        #[arg(long)]
        json: bool,
    },
    /// One setting: value, default, bounds, help
    Show {
        key: String,
        #[arg(long)]
        json: bool,
    },
    Set {
        key: String,
        value: String,
    },
    /// Go back to the default
    Unset {
        key: String,
    },
    /// What differs from the defaults, as TOML
    Export,
    /// Set all that FILE says, or nothing; '-' is standard input
    Import {
        file: PathBuf,
    },
    /// What would be made of a mail of a stranger, and why; nothing is sent
    Test(PolicyTest),
    /// Whom to refuse, to trust, to let send on
    #[command(subcommand)]
    Rule(RuleCommand),
}

#[derive(Debug, Clone, Args)]
pub struct PolicyTest {
    /// The client's address
    #[arg(long)]
    pub ip: std::net::IpAddr,
    /// What it calls itself; its address, if nothing is given
    #[arg(long)]
    pub helo: Option<String>,
    /// The sender; '<>' is nobody
    #[arg(long)]
    pub from: String,
    /// A recipient; may be given several times
    #[arg(long, required = true)]
    pub rcpt: Vec<String>,
    /// A message to judge as well; '-' is standard input
    pub file: Option<PathBuf>,
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum RuleCommand {
    /// Add a rule, behind all others or before one
    #[command(after_help = RULE_HELP)]
    Add {
        /// A name of your choice
        name: String,
        /// What the pattern is held against
        #[arg(value_parser = ["sender", "recipient", "ip", "mask", "domain", "client"])]
        kind: String,
        pattern: String,
        #[arg(value_parser = ["discard", "reject", "allow", "refuse", "relay"])]
        action: String,
        /// The rule that it is to stand before
        #[arg(long, value_name = "RULE")]
        before: Option<String>,
    },
    /// The rules in their order
    List {
        #[arg(long)]
        json: bool,
    },
    Remove {
        name: String,
    },
    /// Put a rule elsewhere in the order
    #[command(group = clap::ArgGroup::new("place").required(true))]
    Move {
        name: String,
        /// The rule that it is to stand before
        #[arg(long, value_name = "RULE", group = "place")]
        before: Option<String>,
        /// Behind all others
        #[arg(long, group = "place")]
        last: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum BlockCommand {
    /// Who is shut out, since when, until when, and why
    List {
        #[arg(long)]
        json: bool,
    },
    /// Shut a host out
    Add {
        /// An IPv4 address, or one of IPv6 for its network of 64 bits
        address: String,
        /// For how long
        #[arg(long = "for", value_name = "TIME", default_value = "1d", value_parser = words::seconds)]
        seconds: u64,
        /// Why, in a line
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Let a host in again; what it did is forgotten
    #[command(group = clap::ArgGroup::new("hosts").required(true))]
    Clear {
        #[arg(group = "hosts")]
        address: Option<String>,
        /// All that are blocked
        #[arg(long, group = "hosts")]
        all: bool,
    },
}

const RULE_HELP: &str = "\
Kinds and patterns:
  sender     a@example.com; to keep out, @example.com as well
  recipient  a@example.com
  ip         192.0.2.1
  mask       192.0.2.  192.0.2.21-24  192.0.2.0/24  2001:db8::/32  10.0.0.5/255.0.0.255
  domain     example.com, of the sender
  client     as ip and mask, and a host name: mx.example.com
Actions:
  discard, reject  blacklist: sender, recipient, ip, mask
  allow            whitelist: sender, recipient, ip, mask, domain; what it lets off: whitelist.KIND.skips
  refuse           the manual reject list: sender; no whitelist helps against it
  relay            client: sends without a login, to other servers too
For a client, a sender, a recipient the first rule that names it decides.";
