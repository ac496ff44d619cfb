//! The node's side: starts the process that holds the addresses, starts it again when it ends, and gives it orders.

use std::io;
use std::net::IpAddr;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::orders::{LINE_BYTES_MAX, Order, Place, Told};
use crate::clock::BootTime;

/// How long it may take with one order. Beyond it is stopped or hangs, and is ended: what it added goes by itself.
const ANSWER_MS_MAX: u64 = 400;
/// This program, even if its file was replaced by a newer one since.
const THIS_PROGRAM: &str = "/proc/self/exe";

const CONFUSED: &str = "the process that holds the addresses answers another order";

/// Dropped, it closes the pipe, and the process takes its addresses away and ends.
#[derive(Default)]
pub struct Keeper {
    holder: Option<Holder>,
    /// Killed, and not seen to end yet: what they had begun may come about until then.
    ending: Vec<Child>,
}

struct Holder {
    /// Waited for by the runtime when it ends.
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Keeper {
    /// Has these addresses and no others on this box, added anew if `until` has not passed. `None`: it had.
    pub async fn hold(
        &mut self,
        until: BootTime,
        addresses: &[IpAddr],
    ) -> Result<Option<Vec<Place>>, String> {
        match self.order(&Order::Hold { until, addresses: addresses.to_vec() }).await? {
            Told::Held(places) => Ok(Some(places)),
            Told::Late => Ok(None),
            Told::Gone => Err(CONFUSED.to_owned()),
            Told::Failed(why) => Err(why),
        }
    }

    /// `Ok`: none of them is on this box any longer, nor what it held.
    pub async fn let_go(&mut self, addresses: &[IpAddr]) -> Result<(), String> {
        let ended = self.have_ended().await;
        match self.order(&Order::LetGo { addresses: addresses.to_vec() }).await? {
            Told::Gone if ended => Ok(()),
            Told::Gone => Err("a process that held the addresses was killed and has yet to end".to_owned()),
            Told::Failed(why) => Err(why),
            Told::Held(_) | Told::Late => Err(CONFUSED.to_owned()),
        }
    }

    /// Waits a moment for those that were killed.
    async fn have_ended(&mut self) -> bool {
        let all = async {
            while let Some(child) = self.ending.last_mut() {
                let _ = child.wait().await;
                self.ending.pop();
            }
        };
        timeout(Duration::from_millis(ANSWER_MS_MAX), all).await.is_ok()
    }

    /// One that does not answer in time is killed, also if it is stopped; the next order starts another.
    async fn order(&mut self, order: &Order) -> Result<Told, String> {
        let mut holder = match self.holder.take() {
            Some(holder) => holder,
            None => Holder::start()
                .map_err(|error| format!("the process that holds the addresses cannot start: {error}"))?,
        };
        match timeout(Duration::from_millis(ANSWER_MS_MAX), holder.ask(order)).await {
            Ok(Ok(told)) => {
                self.holder = Some(holder);
                Ok(told)
            }
            Ok(Err(error)) => Err(format!("the process that holds the addresses has ended: {error}")),
            Err(_) => {
                let _ = holder.child.start_kill();
                self.ending.retain_mut(|child| !matches!(child.try_wait(), Ok(Some(_))));
                self.ending.push(holder.child);
                Err(format!("the process that holds the addresses does not answer within {ANSWER_MS_MAX} ms"))
            }
        }
    }
}

impl Holder {
    fn start() -> io::Result<Self> {
        let mut child = Command::new(THIS_PROGRAM)
            .arg("hold-addresses")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let piped = || io::Error::other("it has no pipe");
        let orders = child.stdin.take().ok_or_else(piped)?;
        let answers = BufReader::new(child.stdout.take().ok_or_else(piped)?);
        Ok(Self { child, orders, answers })
    }

    async fn ask(&mut self, order: &Order) -> io::Result<Told> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        self.orders.write_all(&line).await?;
        let mut answer = String::new();
        if (&mut self.answers).take(LINE_BYTES_MAX).read_line(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str(&answer)?)
    }
}
