//! Transcripts of the client: `S:` what the server says, `C:` what is to be heard of the client, `TEXT` that its text
//! follows, `TLS` the handshake, `MAIL` a mail is given to it, `QUIT`; `= …` what it came to.

use proptest::prelude::*;

use super::*;
use crate::state::secret::Secret;

fn addressee(address: &str) -> Addressee {
    Addressee { address: address.to_owned(), notify: None, orcpt: None }
}

fn mail(to: &[&str], text: &'static str) -> Mail {
    let text = Bytes::from_static(text.as_bytes());
    Mail {
        sender: "alice@example.test".to_owned(),
        to: to.iter().map(|address| addressee(address)).collect(),
        envid: None,
        ret: None,
        smtputf8: false,
        tls: TlsWish::Usual,
        needs: Needs::of(&text),
        text,
    }
}

struct Player {
    client: Client,
    input: BytesMut,
    out: BytesMut,
    step: Step,
}

impl Player {
    fn new(tls: Tls, login: Option<Login>) -> Self {
        let (input, out) = (BytesMut::new(), BytesMut::new());
        Self { client: Client::new("mx.example.test", tls, login), input, out, step: Step::NeedInput }
    }

    fn go(&mut self) {
        loop {
            self.step = self.client.step(&mut self.input, &mut self.out);
            if self.step != Step::Flush {
                return;
            }
        }
    }

    /// `bytewise`: what the server says comes byte by byte.
    fn play(&mut self, script: &str, mails: &[Mail], bytewise: bool) {
        let mut mails = mails.iter();
        for (number, line) in script.lines().enumerate() {
            let at = format!("line {} ({line:?})", number + 1);
            match line.split_at_checked(3) {
                Some(("S: ", said)) => {
                    let said = format!("{said}\r\n");
                    let size = if bytewise { 1 } else { said.len() };
                    for part in said.as_bytes().chunks(size) {
                        self.input.extend_from_slice(part);
                        self.go();
                    }
                }
                Some(("C: ", said)) => assert_eq!(self.line().as_deref(), Some(said), "{at}"),
                _ if line.starts_with("= ") => assert_eq!(self.told(), line[2..], "{at}"),
                _ => match line.trim() {
                    "TLS" => {
                        assert_eq!((&self.step, self.out.len()), (&Step::StartTls, 0), "{at}");
                        self.client.tls_started(&mut self.out);
                        self.go();
                    }
                    "MAIL" => {
                        self.client.send(mails.next().unwrap().clone());
                        self.go();
                    }
                    "QUIT" => {
                        self.client.quit(&mut self.out);
                        self.go();
                    }
                    "" => {}
                    other => panic!("{at}: {other}"),
                },
            }
        }
        assert!(self.out.is_empty(), "left over: {:?}", self.out);
    }

    fn line(&mut self) -> Option<String> {
        let end = self.out.windows(2).position(|pair| pair == b"\r\n")?;
        let line = self.out.split_to(end + 2);
        Some(String::from_utf8_lossy(&line[..end]).into_owned())
    }

    fn told(&self) -> String {
        match &self.step {
            Step::Settled(replies) => replies.iter().map(Reply::to_string).collect::<Vec<_>>().join(" | "),
            Step::Lost(reply) => format!("lost: {reply}"),
            Step::NoTls(reply) => format!("no TLS: {reply}"),
            other => format!("{other:?}"),
        }
    }
}

fn play(script: &str, tls: Tls, mails: &[Mail]) {
    for bytewise in [false, true] {
        Player::new(tls, None).play(script, mails, bytewise);
    }
}

macro_rules! script {
    ($name:literal) => {
        include_str!(concat!("../transcripts/", $name, ".txt"))
    };
}

#[test]
fn a_mail_after_another_pipelined() {
    let two = mail(&["a@x.test", "b@x.test"], "Subject: x\r\n\r\n.dot\r\n");
    play(script!("pipelined"), Tls::Opportunistic, &[two, mail(&["c@x.test"], "no line end")]);
}

#[test]
fn a_server_of_old_speaks_helo_and_waits_for_each_command() {
    play(script!("helo"), Tls::Opportunistic, &[mail(&["a@x.test", "b@x.test"], "x\r\n")]);
}

#[test]
fn recipients_are_told_apart_and_nothing_is_sent_for_nobody() {
    let one = || mail(&["a@x.test", "b@x.test"], "x\r\n");
    play(script!("recipients"), Tls::Off, &[one(), one(), one(), one()]);
    play(script!("recipients_one_by_one"), Tls::Off, &[one(), one()]);
}

#[test]
fn a_mail_that_requires_tls_is_given_to_servers_that_promise_it() {
    let required = || Mail { tls: TlsWish::Required, ..mail(&["a@x.test"], "x\r\n") };
    let notice = || Mail { sender: String::new(), ..required() };
    let unasked = Mail { tls: TlsWish::Waived, ..required() };
    play(script!("requiretls"), Tls::Forced, &[required(), notice(), unasked]);
    play(script!("requiretls_unoffered"), Tls::Opportunistic, &[required(), notice()]);
}

#[test]
fn tls_forgets_what_was_said_before() {
    play(script!("starttls"), Tls::Forced, &[mail(&["a@x.test"], "x\r\n")]);
    play(
        "S: 220 x\nC: EHLO mx.example.test\nS: 250 x\n= no TLS: 451 4.7.4 STARTTLS is demanded of this server, and it does not offer it\n",
        Tls::Forced,
        &[],
    );
    let refused =
        "S: 220 x\nC: EHLO mx.example.test\nS: 250-x\nS: 250 STARTTLS\nC: STARTTLS\nS: 454 4.7.0 not now\n";
    play(&format!("{refused}= lost: 454 4.7.0 not now\n"), Tls::Forced, &[]);
    play(&format!("{refused}= Ready\n"), Tls::Opportunistic, &[]);
    // What anybody may say in the clear is not for good.
    let refused = refused.replace("454 4.7.0 not now", "502 5.5.1 what");
    let lost = "= no TLS: 451 4.7.4 STARTTLS is demanded of this server, and it says 502 5.5.1 what\n";
    play(&format!("{refused}{lost}"), Tls::Forced, &[]);
}

#[test]
fn a_login_is_said_over_tls_alone_and_its_failure_is_never_for_good() {
    let login = Login { user: "user".to_owned(), password: Secret("secret".to_owned()) };
    let begun = |offer: &str| {
        format!(
            "S: 220 x\nC: EHLO mx.example.test\nS: 250-x\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nTLS\n\
             C: EHLO mx.example.test\nS: 250-x\nS: 250 {offer}\n"
        )
    };
    let refused = "C: AUTH PLAIN AHVzZXIAc2VjcmV0\nS: 535 5.7.8 no\n= lost: 451 4.7.8 the server does not let us in: 535 5.7.8 no\n";
    let asks_more = "C: AUTH PLAIN AHVzZXIAc2VjcmV0\nS: 334 more\n= lost: 451 4.7.8 the server does not let us in: 334 more\n";
    for (script, tls) in [
        (script!("login_plain").to_owned(), Tls::Forced),
        (script!("login_login").to_owned(), Tls::Forced),
        (begun("AUTH PLAIN") + refused, Tls::Forced),
        (begun("AUTH PLAIN") + asks_more, Tls::Forced),
        (
            begun("AUTH CRAM-MD5") + "= lost: 451 4.7.4 the server offers no way to log in that is known here\n",
            Tls::Forced,
        ),
        (
            "S: 220 x\nC: EHLO mx.example.test\nS: 250-x\nS: 250 AUTH PLAIN\n= lost: 451 4.7.11 the password is not sent without TLS\n"
                .to_owned(),
            Tls::Off,
        ),
    ] {
        for bytewise in [false, true] {
            Player::new(tls, Some(login.clone())).play(&script, &[], bytewise);
        }
    }
}

#[test]
fn what_a_server_lacks_refuses_the_mail_unsaid() {
    let wide = mail(&["a@x.test"], "a: b\r\n\r\n\u{fc}\r\n");
    let international = Mail { sender: "\u{fc}@example.test".into(), ..mail(&["a@x.test"], "x\r\n") };
    let header = Mail { smtputf8: true, ..mail(&["a@x.test"], "a: \u{fc}\r\n\r\n") };
    let mails = [mail(&["a@x.test"], "0123456789abc\r\n"), wide, international, header];
    play(script!("lacking"), Tls::Off, &mails);
    let domain = Mail { to: vec![addressee("a@b\u{fc}cher.example")], ..mail(&[], "x\r\n") };
    play(
        script!("lacking_nothing"),
        Tls::Off,
        &[mails[1].clone(), mails[2].clone(), mails[3].clone(), domain],
    );
}

#[test]
fn delivery_notices_are_asked_for_where_that_is_offered() {
    let asking = Addressee {
        notify: Some(Notify { success: false, failure: true, delay: true }),
        orcpt: Some("rfc822;a+2Bb@x.test".into()),
        ..addressee("a@x.test")
    };
    let mut mail = mail(&[], "x\r\n");
    mail.to = vec![asking, Addressee { notify: Some(Notify::NEVER), ..addressee("b@x.test") }];
    (mail.envid, mail.ret, mail.sender) = (Some("QQ314".into()), Some(Ret::Headers), String::new());
    play(script!("dsn"), Tls::Off, &[mail]);
}

#[test]
fn a_server_that_closes_or_talks_nonsense_is_lost() {
    for (said, told) in [
        ("554 5.7.1 no", "lost: 554 5.7.1 no"),
        ("421 4.3.2 closing", "lost: 421 4.3.2 closing"),
        ("HTTP/1.1 400", "lost: 451 4.5.0 it says \"HTTP/1.1 400\""),
    ] {
        play(&format!("S: {said}\n= {told}\n"), Tls::Off, &[]);
    }
}

#[test]
fn what_was_said_before_the_connection_broke_stays_said() {
    let lost = Reply::of_ours(451, (4, 4, 2), "lost");
    let told = |player: &mut Player| {
        player.client.abandon(&lost).iter().map(Reply::to_string).collect::<Vec<_>>().join(" | ")
    };
    let mut player = Player::new(Tls::Off, None);
    let begun = script!("broken");
    player.play(begun, &[mail(&["a@x.test", "b@x.test"], "x\r\n")], false);
    assert!(player.client.is_past_the_end());
    assert_eq!(told(&mut player), "550 5.1.1 no | 451 4.4.2 lost");
    let mut player = Player::new(Tls::Off, None);
    player.play(
        "S: 220 x\nC: EHLO mx.example.test\nS: 250 x\nMAIL\nC: MAIL FROM:<alice@example.test>\n",
        &[mail(&["a@x.test"], "x\r\n")],
        false,
    );
    assert!(!player.client.is_past_the_end());
    assert_eq!(told(&mut player), "451 4.4.2 lost");
}

/// Between the server's word to go on and the end of a short text there is a moment, in which it may be kept back.
#[test]
fn the_end_of_a_short_text_is_announced_too() {
    let mut player = Player::new(Tls::Off, None);
    player.play("S: 220 x\nC: EHLO mx.example.test\nS: 250 x\nMAIL\nC: MAIL FROM:<alice@example.test>\nS: 250 x\nC: RCPT TO:<a@x.test>\nS: 250 x\nC: DATA\n", &[mail(&["a@x.test"], "x\r\n")], false);
    player.input.extend_from_slice(b"354 go\r\n");
    assert_eq!(player.client.step(&mut player.input, &mut player.out), Step::Flush);
    assert!(player.client.ends_with_next_part() && player.out.is_empty());
    assert_eq!(player.client.step(&mut player.input, &mut player.out), Step::Flush);
    assert_eq!(&player.out[..], b"x\r\n.\r\n");
}

#[test]
fn a_long_text_goes_out_in_parts_and_its_end_is_announced() {
    let mut player = Player::new(Tls::Off, None);
    let text = Bytes::from(vec![b'x'; 2 * crate::delivery::text::CHUNK_BYTES + 1]);
    let mail = Mail { text, ..mail(&["a@x.test"], "") };
    player.play("S: 220 x\nC: EHLO mx.example.test\nS: 250 x\nMAIL\nC: MAIL FROM:<alice@example.test>\nS: 250 x\nC: RCPT TO:<a@x.test>\nS: 250 x\nC: DATA\n", &[mail], false);
    player.input.extend_from_slice(b"354 go\r\n");
    let mut parts = Vec::new();
    loop {
        let ends = player.client.ends_with_next_part();
        match player.client.step(&mut player.input, &mut player.out) {
            Step::Flush => parts.push((ends, player.out.split().len())),
            _ => break,
        }
    }
    let whole = crate::delivery::text::CHUNK_BYTES;
    let last = 1 + "\r\n.\r\n".len();
    assert_eq!(parts, [(false, 0), (false, whole), (false, whole), (true, last)]);
    assert!(player.client.is_past_the_end());
}

proptest! {
    /// Any replies in any order: it ends, with a reply for each recipient, or gives the server up.
    #[test]
    fn whatever_a_server_says_the_client_comes_to_an_end(
        said in prop::collection::vec(prop_oneof![
            4 => prop::sample::select(vec![
                "220 x\r\n", "250 x\r\n", "250-x\r\n", "250-PIPELINING\r\n", "250 STARTTLS\r\n", "250 SIZE 9\r\n",
                "354 x\r\n", "421 x\r\n", "550 5.1.1 x\r\n", "450 x\r\n", "503 x\r\n",
            ]).prop_map(str::to_owned),
            1 => "[0-9a-z \\-\r\n]{0,20}",
            1 => "\\PC{0,20}\r\n",
        ], 0..60)
    ) {
        const STEPS_MAX: usize = 50;
        let mut player = Player::new(Tls::Opportunistic, None);
        for line in said {
            player.input.extend_from_slice(line.as_bytes());
            let mut steps = 0;
            loop {
                steps += 1;
                prop_assert!(steps < STEPS_MAX && player.out.len() < 10_000);
                match player.client.step(&mut player.input, &mut player.out) {
                    Step::NeedInput => break,
                    Step::Flush => player.out.clear(),
                    Step::StartTls => player.client.tls_started(&mut player.out),
                    Step::Ready => player.client.send(mail(&["a@x.test", "b@x.test"], "x\r\n")),
                    Step::Settled(replies) => {
                        prop_assert_eq!(replies.len(), 2);
                        player.out.clear();
                    }
                    Step::Lost(_) | Step::NoTls(_) | Step::Closed => return Ok(()),
                }
            }
        }
        let lost = Reply::of_ours(451, (4, 4, 2), "lost");
        prop_assert!(matches!(player.client.abandon(&lost).len(), 0 | 2));
    }
}
