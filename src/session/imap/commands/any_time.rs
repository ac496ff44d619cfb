//! Commands that need nothing: CAPABILITY, NOOP, CHECK, LOGOUT (RFC 3501 6.1, 6.4.1), ID (RFC 2971),
//! ENABLE (RFC 5161), NAMESPACE (RFC 2342), COMPRESS (RFC 4978).

use crate::session::imap::capability::capabilities;
use crate::session::imap::core::{Core, Io, Next, Reply, Task};
use crate::session::imap::question::Answer;

pub struct Capability;

impl Task for Capability {
    fn step(&mut self, core: &mut Core, _answer: Option<Answer>, io: &mut Io) -> Next {
        let line = format!("* CAPABILITY {}\r\n", capabilities(core.stage()));
        io.out.extend_from_slice(line.as_bytes());
        Next::Done(Reply::ok("That is all I can do"))
    }
}

/// NOOP and CHECK: what changed is told with every command's end.
pub struct Nothing(pub &'static str);

impl Task for Nothing {
    fn step(&mut self, _core: &mut Core, _answer: Option<Answer>, _io: &mut Io) -> Next {
        Next::Done(Reply::ok(self.0))
    }
}

pub struct Logout;

impl Task for Logout {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        if let (None, Some(claim)) = (answer, core.claim_recent()) {
            return Next::Ask(claim);
        }
        io.out.extend_from_slice(b"* BYE Logging out\r\n");
        Next::Close(Reply::ok("Goodbye"))
    }
}

pub struct Id;

impl Task for Id {
    fn step(&mut self, _core: &mut Core, _answer: Option<Answer>, io: &mut Io) -> Next {
        // RFC 2971 4: the version helps an attacker more than a client.
        io.out.extend_from_slice(b"* ID (\"name\" \"Pollux\")\r\n");
        Next::Done(Reply::ok("Pleased to meet you"))
    }
}

pub struct Enable(pub Vec<String>);

impl Task for Enable {
    fn step(&mut self, core: &mut Core, _answer: Option<Answer>, io: &mut Io) -> Next {
        // RFC 5161 3.1: what is not known is passed over, and only what is newly on is listed.
        let wants = |wanted: &str| self.0.iter().any(|name| name == wanted);
        let condstore = !core.condstore && wants("CONDSTORE");
        let qresync = !core.qresync && wants("QRESYNC");
        let rev2 = !core.rev2 && wants("IMAP4REV2");
        let uid_only = !core.uid_only && wants("UIDONLY");
        let utf8 = !core.utf8_accept && wants("UTF8=ACCEPT");
        let all = [
            (" CONDSTORE", condstore),
            (" QRESYNC", qresync),
            (" IMAP4rev2", rev2),
            (" UIDONLY", uid_only),
            (" UTF8=ACCEPT", utf8),
        ];
        io.out.extend_from_slice(b"* ENABLED");
        for (name, _) in all.iter().filter(|(_, on)| *on) {
            io.out.extend_from_slice(name.as_bytes());
        }
        io.out.extend_from_slice(b"\r\n");
        core.qresync |= qresync;
        core.uid_only |= uid_only;
        if rev2 {
            core.enable_rev2();
        }
        if utf8 {
            core.enable_utf8();
        }
        if condstore || qresync {
            // RFC 7162 3.2.3: QRESYNC brings CONDSTORE with it.
            core.enable_condstore(io.out);
        }
        Next::Done(Reply::ok("Enabled"))
    }
}

pub struct Compress(pub String);

impl Task for Compress {
    fn step(&mut self, core: &mut Core, _answer: Option<Answer>, _io: &mut Io) -> Next {
        if self.0 != "DEFLATE" {
            return Next::Done(Reply::no("CANNOT", "The algorithm is not supported"));
        }
        if core.compressed {
            // RFC 4978 3: so that the client knows that it need not worry.
            return Next::Done(Reply::no("COMPRESSIONACTIVE", "Compression is on already"));
        }
        Next::Compress(Reply::ok("Compression is on"))
    }
}

pub struct Namespace;

impl Task for Namespace {
    fn step(&mut self, _core: &mut Core, _answer: Option<Answer>, io: &mut Io) -> Next {
        io.out.extend_from_slice(b"* NAMESPACE ((\"\" \"/\")) ((\"user/\" \"/\")) NIL\r\n");
        Next::Done(Reply::ok("Yours, and those of other users"))
    }
}
