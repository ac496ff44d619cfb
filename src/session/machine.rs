//! The contract between a pure protocol machine and the driver that owns socket, TLS and time.
//!
//! A machine takes bytes in and puts bytes out; it never waits. What it needs from the world it asks
//! as a question, and goes on when the driver brings the answer. Transcripts drive it the same way.

use bytes::BytesMut;

use super::channel::ChannelBindings;

/// What the machine wants next. Bytes it wrote to `out` before are sent before the driver waits.
#[derive(Debug)]
pub enum Step<Q> {
    /// Everything that can be done with the input so far is done.
    NeedInput,
    /// The driver answers with [`Machine::answer`] and reads no input meanwhile.
    Ask(Q),
    /// `out` holds a part of a long answer: send it, then call [`Machine::step`] again.
    Flush,
    /// Send `out`, discard input that came before the handshake (STARTTLS injection), start TLS,
    /// then call [`Machine::tls_started`]. Only where the machine was told that TLS is offered, and once.
    StartTls,
    /// Send `out`; from there on both sides compress (RFC 4978), and so are the bytes that came behind the command.
    /// At most once.
    Compress,
    /// Send `out` and close.
    Close,
}

/// One session of one protocol.
pub trait Machine: Send {
    type Question: Send;
    type Answer: Send;

    /// The greeting.
    fn open(&mut self, out: &mut BytesMut);

    /// How long the client is listened to before the greeting, milliseconds; where it says something meanwhile,
    /// [`Machine::interrupted`] is called instead of [`Machine::open`].
    fn listens_ms(&self) -> u64 {
        0
    }

    /// The client has spoken before the greeting.
    fn interrupted(&mut self, _out: &mut BytesMut) {}

    /// Takes what it can from the front of `input`. Called again after every step but `Close`, until `NeedInput`.
    /// Bounds what it leaves in `input`: at most [`Machine::input_max`] bytes without progress.
    fn step(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Step<Self::Question>;

    /// The answer to the last question; what follows is decided by the next `step`.
    fn answer(&mut self, answer: Self::Answer, out: &mut BytesMut);

    /// The client has waited for a while, as the driver counts, for the answer to a question or to many of them, and
    /// again each time it has waited as long. What is written is sent while the answer is awaited.
    fn waited(&mut self, _out: &mut BytesMut) {}

    /// What names the connection's TLS, for SCRAM-SHA-256-PLUS. Before [`Machine::open`] or [`Machine::tls_started`].
    fn bind_channel(&mut self, _bindings: ChannelBindings) {}

    /// TLS is up; state from before is forgotten where the protocol says so.
    fn tls_started(&mut self);

    /// The client was silent for the protocol's time: write the farewell.
    fn timed_out(&mut self, out: &mut BytesMut);

    /// The node stops: write the farewell (421, BYE, `-ERR [SYS/TEMP]`).
    fn shutting_down(&mut self, out: &mut BytesMut);

    /// The user was disabled or removed: write the farewell (421, BYE, `-ERR [AUTH]`).
    fn login_ended(&mut self, out: &mut BytesMut);

    /// Seconds of silence allowed in the present state.
    fn idle_seconds_max(&self) -> u64;

    /// Bytes of input the driver may gather before it calls `step`. The machine must make progress on that many.
    fn input_max(&self) -> usize;

    /// True between the first byte of a command, a literal or a message and its end, as far as the machine holds
    /// it. All pauses of the client in there together are bounded, see [`super::pace`].
    fn is_mid_command(&self) -> bool {
        false
    }

    /// True while the client would have to do something over again if the session ended now: a node that is drained or stops
    /// lets him come to the end of it.
    fn is_mid_transaction(&self) -> bool {
        self.is_mid_command()
    }

    /// True while the session wants [`Machine::step`] called when its watched mailbox changes.
    fn wants_news(&self) -> bool {
        false
    }
}

/// What a machine may know of its connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// `None` on a unix socket: a program on this very box.
    pub address: Option<std::net::SocketAddr>,
    /// True once the bytes are protected: implicit TLS, or after STARTTLS.
    pub tls: bool,
}
