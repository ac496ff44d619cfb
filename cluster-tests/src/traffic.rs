//! Writers that never stop: SMTP to both nodes, APPEND, flags and expunges by IMAP, all in the ledger.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::cluster::{Cluster, DOMAIN, USERS, password};
use crate::imap::Imap;
use crate::ledger::{Fate, Ledger, Message, message};
use crate::smtp::{Sent, Smtp};
use crate::wait::eventually;
use crate::wire::is_refusal;

pub struct Traffic {
    pub ledger: Ledger,
    stop: Arc<AtomicBool>,
    writers: Vec<JoinHandle<()>>,
}

impl Traffic {
    /// Starts one SMTP and one IMAP writer for each data node.
    pub fn start(cluster: &Cluster, ledger: Ledger, seed: u64) -> Traffic {
        eprintln!("traffic: seed {seed}");
        let stop = Arc::new(AtomicBool::new(false));
        let mut writers = Vec::new();
        for (at, node) in cluster.data_nodes().iter().enumerate() {
            let (smtp, imap) = (node.smtp(), node.imap());
            let run = format!("s{seed}n{at}");
            let (ledger_smtp, stop_smtp) = (ledger.clone(), stop.clone());
            let writer =
                Writer { ledger: ledger_smtp, stop: stop_smtp, run: run.clone(), seed: seed + at as u64 };
            writers.push(std::thread::spawn(move || writer.write_smtp(smtp)));
            let writer =
                Writer { ledger: ledger.clone(), stop: stop.clone(), run, seed: seed + 100 + at as u64 };
            writers.push(std::thread::spawn(move || writer.write_imap(imap)));
        }
        Traffic { ledger, stop, writers }
    }

    /// Waits until `count` further messages have been acknowledged.
    pub fn wait_for(&self, count: usize) {
        let target = self.ledger.acknowledged() + count;
        eventually(&format!("{count} more messages are acknowledged"), || {
            (self.ledger.acknowledged() >= target).then_some(())
        });
    }

    /// Stops the writers; what they were in the middle of is recorded.
    pub fn finish(self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        for writer in self.writers {
            writer.join().expect("a writer does not panic");
        }
        self.ledger
    }
}

struct Writer {
    ledger: Ledger,
    stop: Arc<AtomicBool>,
    run: String,
    seed: u64,
}

impl Writer {
    fn write_smtp(&self, address: SocketAddr) {
        let mut dice = fastrand::Rng::with_seed(self.seed);
        let mut count = 0;
        while self.goes_on() {
            let Ok(mut smtp) = Smtp::connect(address) else { continue };
            while self.goes_on() {
                count += 1;
                let token = format!("{}-smtp-{count}", self.run);
                let user = USERS[dice.usize(..USERS.len())];
                let content = message(&token, dice.usize(..6000));
                let (sent, _) = smtp.send(&[&format!("{user}@{DOMAIN}")], &content);
                let fate = match sent {
                    Sent::Acknowledged => Fate::Acknowledged,
                    Sent::Refused => Fate::Refused,
                    Sent::Unknown => Fate::Unknown,
                };
                self.ledger.record(&token, Message::new(user, "INBOX", fate, content));
                if sent != Sent::Acknowledged {
                    break;
                }
            }
        }
    }

    /// Appends to Archive, then flags, and expunges every third.
    fn write_imap(&self, address: SocketAddr) {
        let mut dice = fastrand::Rng::with_seed(self.seed);
        let mut count = 0;
        while self.goes_on() {
            let user = USERS[dice.usize(..USERS.len())];
            let Ok(mut imap) = Imap::login(address, user, &password(user)) else { continue };
            if imap.select("Archive").is_err() {
                continue;
            }
            while self.goes_on() {
                count += 1;
                let token = format!("{}-imap-{count}", self.run);
                if self.one_life(&mut imap, user, &token, &mut dice).is_err() {
                    break;
                }
            }
        }
    }

    fn one_life(
        &self,
        imap: &mut Imap,
        user: &str,
        token: &str,
        dice: &mut fastrand::Rng,
    ) -> std::io::Result<()> {
        let content = message(token, dice.usize(..3000));
        let appended = imap.append("Archive", &content);
        let fate = fate_of(&appended);
        let mut entry = Message::new(user, "Archive", fate, content);
        entry.uid = appended.as_ref().ok().copied();
        self.ledger.record(token, entry);
        let uid = appended?;
        self.store(imap, token, uid, "\\Flagged")?;
        if dice.u8(..3) == 0 {
            self.expunge(imap, token, uid)?;
        }
        Ok(())
    }

    fn store(&self, imap: &mut Imap, token: &str, uid: u32, flag: &str) -> std::io::Result<()> {
        let result = imap.command(&format!("UID STORE {uid} FLAGS.SILENT ({flag})"));
        let fate = fate_of(&result);
        self.ledger.change(token, |message| match fate {
            Fate::Acknowledged => message.flags = Some(vec![flag.to_string()]),
            Fate::Refused => {}
            Fate::Unknown => message.flags_unknown = true,
        });
        result.map(drop)
    }

    fn expunge(&self, imap: &mut Imap, token: &str, uid: u32) -> std::io::Result<()> {
        self.store(imap, token, uid, "\\Deleted")?;
        let result = imap.command(&format!("UID EXPUNGE {uid}"));
        let fate = fate_of(&result);
        self.ledger.change(token, |message| message.expunged = Some(fate));
        result.map(drop)
    }

    /// True until told to stop; paces a writer whose node is down.
    fn goes_on(&self) -> bool {
        std::thread::sleep(Duration::from_millis(1));
        !self.stop.load(Ordering::Relaxed)
    }
}

fn fate_of<T>(result: &std::io::Result<T>) -> Fate {
    match result {
        Ok(_) => Fate::Acknowledged,
        Err(error) if is_refusal(error) => Fate::Refused,
        Err(_) => Fate::Unknown,
    }
}
