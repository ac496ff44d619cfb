//! One request, one answer, the end.

use std::borrow::Cow;

use bytes::BytesMut;

use super::offer::Policy;
use super::{apple, mozilla, outlook};
use crate::clock::Clock;
use crate::http::{BODY_BYTES_MAX, Document, HEAD_BYTES_MAX, Method, Request, Response, Status, parse};
use crate::session::machine::{Machine, Step};
use crate::state::certificate::TOKEN_BYTES_MAX;

pub struct Autoconfig {
    policy: Policy,
    clock: Clock,
    phase: Phase,
}

enum Phase {
    Head,
    Body(Request),
    /// How it was asked.
    Asking(Method),
    Answered,
}

/// What an ACME server asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token(pub String);

/// What it is answered with, as the whole cluster knows it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latest(pub Option<String>);

const ACME_PATH: &str = "/.well-known/acme-challenge/";

impl Autoconfig {
    pub fn new(policy: Policy, clock: Clock) -> Self {
        Self { policy, clock, phase: Phase::Head }
    }

    fn head(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Option<Step<Token>> {
        match parse(input) {
            Ok(None) => Some(Step::NeedInput),
            Ok(Some((request, bytes))) => {
                bytes::Buf::advance(input, bytes);
                if request.waits && request.body_bytes > input.len() {
                    out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                }
                self.phase = Phase::Body(request);
                None
            }
            Err(status) => {
                self.refuse(status, out);
                None
            }
        }
    }

    fn respond(&mut self, request: &Request, body: &[u8], out: &mut BytesMut) -> Option<Step<Token>> {
        let token = request.path.strip_prefix(ACME_PATH).filter(|token| is_token(token));
        if let (Some(token), Method::Get | Method::Head) = (token, request.method)
            && self.policy.orders_certificates()
        {
            self.phase = Phase::Asking(request.method);
            return Some(Step::Ask(Token(token.to_owned())));
        }
        self.tell(self.document(request, body), request.method, out);
        None
    }

    fn tell(&mut self, document: Result<Document, Status>, asked: Method, out: &mut BytesMut) {
        let response = match document {
            Ok(document) => Response::ok(document),
            Err(status) => Response::refused(status),
        };
        self.say(&response, asked, out);
    }

    fn document(&self, request: &Request, body: &[u8]) -> Result<Document, Status> {
        let reads = || match request.method {
            Method::Get | Method::Head => Ok(()),
            Method::Post | Method::Other => Err(Status::MethodNotAllowed("GET, HEAD")),
        };
        if request.path == "/.well-known/mta-sts.txt" {
            reads()?;
            let domain = request.host.strip_prefix("mta-sts.").ok_or(Status::NotFound)?;
            self.policy.local_domain(domain).ok_or(Status::NotFound)?;
            let text = self.policy.mta_sts().ok_or(Status::NotFound)?;
            return Ok(Document { kind: "text/plain; charset=utf-8", text });
        }
        if self.policy.servers.is_empty() {
            return Err(Status::Unavailable);
        }
        // Outlook spells its path as it likes.
        match request.path.to_ascii_lowercase().as_str() {
            "/mail/config-v1.1.xml" | "/.well-known/autoconfig/mail/config-v1.1.xml" => {
                reads()?;
                let domain = self.domain(request).ok_or(Status::NotFound)?;
                Ok(mozilla::config(&self.policy, &domain))
            }
            "/autodiscover/autodiscover.xml" => match request.method {
                Method::Post => {
                    let address = outlook::address_in(body).ok_or(Status::BadRequest)?;
                    self.is_ours(&address)?;
                    Ok(outlook::autodiscover(&self.policy, &address))
                }
                Method::Get | Method::Head | Method::Other => Err(Status::MethodNotAllowed("POST")),
            },
            "/mail.mobileconfig" => {
                reads()?;
                let address = self.address(request).ok_or(Status::BadRequest)?;
                self.is_ours(&address)?;
                Ok(apple::profile(&self.policy, &address))
            }
            _ => Err(Status::NotFound),
        }
    }

    fn address<'a>(&self, request: &'a Request) -> Option<Cow<'a, str>> {
        let mut pairs = form_urlencoded::parse(request.query.as_bytes());
        let (_, address) = pairs.find(|(name, _)| name.eq_ignore_ascii_case("emailaddress"))?;
        Some(address)
    }

    /// Of the address that the query names; without one, of the host that was asked.
    fn domain(&self, request: &Request) -> Option<String> {
        match self.address(request) {
            Some(address) => self.policy.local_domain(address.rsplit_once('@')?.1),
            None => {
                let host = request.host.as_str();
                let bare = host.strip_prefix("autoconfig.").unwrap_or(host);
                self.policy.local_domain(bare)
            }
        }
    }

    fn is_ours(&self, address: &str) -> Result<(), Status> {
        let domain = address.rsplit_once('@').and_then(|(_, domain)| self.policy.local_domain(domain));
        domain.map(drop).ok_or(Status::NotFound)
    }

    /// Whatever was asked.
    fn refuse(&mut self, status: Status, out: &mut BytesMut) {
        self.say(&Response::refused(status), Method::Other, out);
    }

    fn say(&mut self, response: &Response, asked: Method, out: &mut BytesMut) {
        self.phase = Phase::Answered;
        response.write(asked, self.clock.now(), out);
    }
}

/// RFC 8555 8.3: base64url.
fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=TOKEN_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

impl Machine for Autoconfig {
    type Question = Token;
    type Answer = Latest;

    fn open(&mut self, _out: &mut BytesMut) {}

    fn step(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Step<Token> {
        loop {
            let step = match std::mem::replace(&mut self.phase, Phase::Head) {
                Phase::Head => self.head(input, out),
                Phase::Body(request) if request.body_bytes > input.len() => {
                    self.phase = Phase::Body(request);
                    Some(Step::NeedInput)
                }
                Phase::Body(request) => {
                    let body = input.split_to(request.body_bytes);
                    self.respond(&request, &body, out)
                }
                Phase::Asking(asked) => {
                    self.phase = Phase::Asking(asked);
                    Some(Step::NeedInput)
                }
                Phase::Answered => {
                    self.phase = Phase::Answered;
                    Some(Step::Close)
                }
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    fn answer(&mut self, answer: Latest, out: &mut BytesMut) {
        if let Phase::Asking(asked) = self.phase {
            let text = answer.0.ok_or(Status::NotFound);
            // RFC 8555 8.3.
            self.tell(text.map(|text| Document { kind: "application/octet-stream", text }), asked, out);
        }
    }

    fn tls_started(&mut self) {}

    fn timed_out(&mut self, out: &mut BytesMut) {
        self.refuse(Status::Timeout, out);
    }

    fn shutting_down(&mut self, out: &mut BytesMut) {
        self.refuse(Status::Unavailable, out);
    }

    fn login_ended(&mut self, _out: &mut BytesMut) {}

    fn idle_seconds_max(&self) -> u64 {
        self.policy.seconds_max
    }

    fn input_max(&self) -> usize {
        HEAD_BYTES_MAX + BODY_BYTES_MAX + 1
    }

    fn is_mid_command(&self) -> bool {
        true
    }

    fn is_mid_transaction(&self) -> bool {
        matches!(self.phase, Phase::Body(_))
    }
}
