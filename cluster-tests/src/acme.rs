//! An ACME server of the stories' own (RFC 8555): strict in what it takes (nonces, signatures, URLs), and held up or displeased when a
//! story wants it. It asks every address that it is given for a name, where one of the world asks one.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::certificates::Ca;
use crate::sink::config;

/// Listens until the process ends.
#[derive(Clone)]
pub struct Acme(Arc<Inner>);

struct Inner {
    /// `https://host:port`.
    place: String,
    ca: Ca,
    state: Mutex<State>,
    /// Whoever waits for the state to change.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    nonces: BTreeSet<String>,
    /// Their keys.
    accounts: Vec<Value>,
    orders: Vec<Order>,
    looks: Looks,
    holds: bool,
    displeased: bool,
    told: usize,
}

/// Where it looks for what proves a name.
#[derive(Clone)]
pub enum Looks {
    /// Web servers, each of which has to give the answer.
    AtWeb(Vec<SocketAddr>),
    /// `NAME VALUE` lines, as a DNS would have them.
    AtRecords(std::path::PathBuf),
}

impl Default for Looks {
    fn default() -> Self {
        Self::AtWeb(Vec::new())
    }
}

struct Order {
    account: usize,
    names: Vec<String>,
    /// For each name what was found, once it was looked for.
    found: Vec<Option<Result<(), String>>>,
    chain: Option<String>,
}

/// What an order and its names are known by.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
pub struct Count {
    pub accounts: usize,
    pub orders: usize,
    /// Of orders that came to a certificate.
    pub certificates: usize,
}

struct Asked {
    method: String,
    path: String,
    body: Vec<u8>,
}

/// Whose request it is, and what he wants.
struct Signed {
    key: Value,
    account: Option<usize>,
    payload: Value,
}

type Fault = (u16, &'static str, String);
/// With the fields that it has beside the usual.
type Answer = (u16, Vec<(&'static str, String)>, Vec<u8>);

impl Acme {
    /// At that name and address, proved by `ca`, which signs what is ordered too.
    pub fn start(host: &str, address: &str, ca: Ca) -> Acme {
        let listener = TcpListener::bind(address).expect("the ACME server's address is free");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let tls = config(&ca.leaf(host, 2100));
        let place = format!("https://{host}:{port}");
        let server = Acme(Arc::new(Inner { place, ca, state: Mutex::default(), changed: Condvar::new() }));
        let serving = server.clone();
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (serving, tls) = (serving.clone(), Arc::clone(&tls));
                // Who breaks off hears nothing.
                thread::spawn(move || serving.serve(socket, tls).unwrap_or_default());
            }
        });
        server
    }

    pub fn directory(&self) -> String {
        format!("{}/directory", self.0.place)
    }

    pub fn looks(&self, looks: Looks) {
        self.state().looks = looks;
    }

    /// From now on it looks for nothing, until it is let go.
    pub fn hold(&self, holds: bool) {
        self.state().holds = holds;
        self.0.changed.notify_all();
    }

    /// From now on it finds nothing, whatever is there.
    pub fn be_displeased(&self, displeased: bool) {
        self.state().displeased = displeased;
    }

    /// As if nobody had ever made one.
    pub fn forget_accounts(&self) {
        self.state().accounts.clear();
    }

    pub fn count(&self) -> Count {
        let state = self.state();
        let certificates = state.orders.iter().filter(|order| order.chain.is_some()).count();
        Count { accounts: state.accounts.len(), orders: state.orders.len(), certificates }
    }

    /// How often somebody said that a name may be looked for.
    pub fn told(&self) -> usize {
        self.state().told
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no holder of this lock panics")
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.0.place)
    }

    fn serve(&self, socket: TcpStream, tls: Arc<ServerConfig>) -> io::Result<()> {
        socket.set_read_timeout(Some(Duration::from_secs(30)))?;
        let connection = ServerConnection::new(tls).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, socket);
        let asked = heard(&mut stream)?;
        let (status, fields, body) = self.answer(&asked).unwrap_or_else(|(status, kind, detail)| {
            let problem = json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail });
            (
                status,
                vec![("Content-Type", "application/problem+json".to_owned())],
                problem.to_string().into(),
            )
        });
        let mut head = format!("HTTP/1.1 {status} Said\r\nReplay-Nonce: {}\r\n", self.nonce());
        for (name, value) in fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\nConnection: close\r\n\r\n", body.len()));
        stream.write_all(head.as_bytes())?;
        if asked.method != "HEAD" {
            stream.write_all(&body)?;
        }
        stream.conn.send_close_notify();
        stream.flush()
    }

    fn nonce(&self) -> String {
        let nonce = format!("{:032x}", fastrand::u128(..));
        self.state().nonces.insert(nonce.clone());
        nonce
    }

    fn answer(&self, asked: &Asked) -> Result<Answer, Fault> {
        let parts: Vec<&str> = asked.path.trim_start_matches('/').split('/').collect();
        match (asked.method.as_str(), parts.as_slice()) {
            ("GET", ["directory"]) => {
                let places = json!({
                    "newNonce": self.url("/nonce"), "newAccount": self.url("/account"),
                    "newOrder": self.url("/order"), "revokeCert": self.url("/revoke"),
                    "keyChange": self.url("/key"),
                });
                return Ok((200, Vec::new(), places.to_string().into()));
            }
            ("HEAD", ["nonce"]) => return Ok((200, Vec::new(), Vec::new())),
            ("POST", _) => {}
            _ => return Err((405, "malformed", asked.path.clone())),
        }
        let signed = self.signed(asked)?;
        let of_account = || signed.account.ok_or((401, "accountDoesNotExist", "no kid".to_owned()));
        let numbers: Vec<usize> = parts[1..].iter().filter_map(|part| part.parse().ok()).collect();
        match (parts[0], numbers.as_slice(), parts.last().copied()) {
            ("account", [], _) => self.new_account(&signed),
            ("order", [], _) => self.new_order(of_account()?, &signed.payload),
            ("order", [order], Some("finalize")) => {
                self.finalize(self.own(*order, of_account()?)?, &signed.payload)
            }
            ("order", [order], _) => Ok(self.order(200, self.own(*order, of_account()?)?)),
            ("authorization", [order, name], _) => {
                Ok(self.authorization(self.own(*order, of_account()?)?, *name))
            }
            ("challenge", [order, name], _) => {
                Ok(self.challenge(self.own(*order, of_account()?)?, *name, &signed))
            }
            ("certificate", [order], _) => {
                let order = self.own(*order, of_account()?)?;
                let chain = self.state().orders[order].chain.clone();
                let chain = chain.ok_or((404, "malformed", "no certificate yet".to_owned()))?;
                let kind = ("Content-Type", "application/pem-certificate-chain".to_owned());
                Ok((200, vec![kind], chain.into()))
            }
            _ => Err((404, "malformed", asked.path.clone())),
        }
    }

    /// RFC 8555 6.2 to 6.5.
    fn signed(&self, asked: &Asked) -> Result<Signed, Fault> {
        let malformed = |what: &str| (400, "malformed", what.to_owned());
        let jws: Value = serde_json::from_slice(&asked.body).map_err(|_| malformed("no JSON"))?;
        let text = |of: &Value, key: &str| of[key].as_str().map(str::to_owned);
        let part = |key: &str| text(&jws, key).ok_or_else(|| malformed(key));
        let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed("no base64url"));
        let (protected, payload, signature) = (part("protected")?, part("payload")?, part("signature")?);
        let head: Value =
            serde_json::from_slice(&decoded(&protected)?).map_err(|_| malformed("no protected header"))?;
        if head["alg"] != "ES256" || text(&head, "url") != Some(self.url(&asked.path)) {
            return Err((401, "unauthorized", "alg or url".to_owned()));
        }
        let nonce = text(&head, "nonce").unwrap_or_default();
        if !self.state().nonces.remove(&nonce) {
            return Err((400, "badNonce", nonce));
        }
        let (key, account) = match (&head["jwk"], head["kid"].as_str()) {
            (key @ Value::Object(_), None) => (key.clone(), None),
            (Value::Null, Some(kid)) => {
                let state = self.state();
                let number = kid.rsplit('/').next().and_then(|number| number.parse::<usize>().ok());
                let known = number.filter(|number| self.url(&format!("/account/{number}")) == kid);
                let key = known.and_then(|number| state.accounts.get(number));
                let key = key.ok_or((400, "accountDoesNotExist", kid.to_owned()))?;
                (key.clone(), known)
            }
            _ => return Err(malformed("jwk or kid")),
        };
        let coordinate = |name: &str| decoded(key[name].as_str().unwrap_or_default());
        let point = [&[4][..], &coordinate("x")?, &coordinate("y")?].concat();
        let verifier = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        let message = format!("{protected}.{payload}");
        let verified = verifier.verify(message.as_bytes(), &decoded(&signature)?);
        verified.map_err(|_| (401, "unauthorized", "signature".to_owned()))?;
        let payload = decoded(&payload)?;
        // RFC 8555 6.3: nothing at all is POST-as-GET.
        let payload = match payload.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&payload).map_err(|_| malformed("payload"))?,
        };
        Ok(Signed { key, account, payload })
    }

    fn new_account(&self, signed: &Signed) -> Result<Answer, Fault> {
        if signed.payload["termsOfServiceAgreed"] != true {
            return Err((403, "userActionRequired", "terms of service".to_owned()));
        }
        let mut state = self.state();
        let known = state.accounts.iter().position(|key| *key == signed.key);
        let number = known.unwrap_or_else(|| {
            state.accounts.push(signed.key.clone());
            state.accounts.len() - 1
        });
        let status = if known.is_some() { 200 } else { 201 };
        let place = ("Location", self.url(&format!("/account/{number}")));
        Ok((status, vec![place], json!({ "status": "valid" }).to_string().into()))
    }

    fn new_order(&self, account: usize, payload: &Value) -> Result<Answer, Fault> {
        let names = payload["identifiers"].as_array().into_iter().flatten();
        let names: Vec<String> = names.filter_map(|name| name["value"].as_str().map(str::to_owned)).collect();
        if names.is_empty() {
            return Err((400, "malformed", "identifiers".to_owned()));
        }
        let order = {
            let mut state = self.state();
            let found = vec![None; names.len()];
            state.orders.push(Order { account, names, found, chain: None });
            state.orders.len() - 1
        };
        Ok(self.order(201, order))
    }

    /// The order, if it is that account's.
    fn own(&self, order: usize, account: usize) -> Result<usize, Fault> {
        let state = self.state();
        match state.orders.get(order).is_some_and(|order| order.account == account) {
            true => Ok(order),
            false => Err((404, "malformed", format!("order {order}"))),
        }
    }

    fn order(&self, status: u16, number: usize) -> Answer {
        let state = self.state();
        let order = &state.orders[number];
        let failed = order.found.iter().any(|found| matches!(found, Some(Err(_))));
        let ready = order.found.iter().all(|found| matches!(found, Some(Ok(()))));
        let word = match (failed, ready, &order.chain) {
            (true, ..) => "invalid",
            (_, _, Some(_)) => "valid",
            (_, true, None) => "ready",
            (_, false, None) => "pending",
        };
        let places: Vec<String> =
            (0..order.names.len()).map(|name| self.url(&format!("/authorization/{number}/{name}"))).collect();
        let identifiers: Vec<Value> =
            order.names.iter().map(|name| json!({ "type": "dns", "value": name })).collect();
        let mut told = json!({
            "status": word, "identifiers": identifiers, "authorizations": places,
            "finalize": self.url(&format!("/order/{number}/finalize")),
        });
        if order.chain.is_some() {
            told["certificate"] = json!(self.url(&format!("/certificate/{number}")));
        }
        let place = ("Location", self.url(&format!("/order/{number}")));
        (status, vec![place], told.to_string().into())
    }

    fn authorization(&self, number: usize, name: usize) -> Answer {
        let (word, fault) = {
            let state = self.state();
            match &state.orders[number].found[name] {
                None => ("pending", Value::Null),
                Some(Ok(())) => ("valid", Value::Null),
                Some(Err(why)) => {
                    ("invalid", json!({ "type": "urn:ietf:params:acme:error:unauthorized", "detail": why }))
                }
            }
        };
        let challenge = |kind: &str| {
            let mut challenge = json!({
                "type": kind, "status": word, "token": token(number, name),
                "url": self.url(&format!("/challenge/{number}/{name}")),
            });
            if !fault.is_null() {
                challenge["error"] = fault.clone();
            }
            challenge
        };
        let identifier = json!({ "type": "dns", "value": self.state().orders[number].names[name] });
        let told = json!({
            "status": word, "identifier": identifier,
            "challenges": [challenge("http-01"), challenge("dns-01")],
        });
        (200, Vec::new(), told.to_string().into())
    }

    /// The client is ready: it is looked for what proves the name, in a while.
    fn challenge(&self, number: usize, name: usize, signed: &Signed) -> Answer {
        let token = token(number, name);
        let authorization = format!("{token}.{}", thumbprint(&signed.key));
        {
            self.state().told += 1;
        }
        let (looking, wanted) = (self.clone(), authorization);
        thread::spawn(move || looking.look(number, name, &wanted));
        let url = self.url(&format!("/challenge/{number}/{name}"));
        let told = json!({ "type": "http-01", "status": "processing", "token": token, "url": url });
        (200, Vec::new(), told.to_string().into())
    }

    fn look(&self, number: usize, name: usize, authorization: &str) {
        let waiting = self.0.changed.wait_while(self.state(), |state| state.holds);
        let (looks, displeased, host) = {
            let state = waiting.expect("no holder of this lock panics");
            (state.looks.clone(), state.displeased, state.orders[number].names[name].clone())
        };
        let found = match looks {
            _ if displeased => Err("I do not like that name".to_owned()),
            Looks::AtWeb(addresses) => {
                let token = token(number, name);
                addresses.iter().try_for_each(|address| told_by(*address, &host, &token, authorization))
            }
            Looks::AtRecords(records) => {
                let value = URL_SAFE_NO_PAD.encode(digest(&SHA256, authorization.as_bytes()));
                let wanted = format!("_acme-challenge.{host} {value}");
                let records = std::fs::read_to_string(records).unwrap_or_default();
                let there = records.lines().any(|record| record == wanted);
                there.then_some(()).ok_or_else(|| format!("no record {wanted}"))
            }
        };
        self.state().orders[number].found[name] = Some(found);
    }

    fn finalize(&self, number: usize, payload: &Value) -> Result<Answer, Fault> {
        let refused = |why: &str| (403, "orderNotReady", why.to_owned());
        let request = payload["csr"].as_str().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let request = request.ok_or((400, "badCSR", "no request".to_owned()))?;
        let names = {
            let state = self.state();
            let order = &state.orders[number];
            if !order.found.iter().all(|found| matches!(found, Some(Ok(())))) {
                return Err(refused("names are not proved"));
            }
            order.names.clone()
        };
        let chain = self.0.ca.grant(&request, &names, 2100);
        let chain = chain.ok_or((400, "badCSR", "other names, or no request".to_owned()))?;
        self.state().orders[number].chain = Some(chain);
        Ok(self.order(200, number))
    }
}

fn token(order: usize, name: usize) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, format!("{order} {name}").as_bytes()))
}

/// RFC 7638.
fn thumbprint(key: &Value) -> String {
    let text = |name: &str| key[name].as_str().unwrap_or_default();
    let canonical = format!(
        r#"{{"crv":"{}","kty":"{}","x":"{}","y":"{}"}}"#,
        text("crv"),
        text("kty"),
        text("x"),
        text("y")
    );
    URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()))
}

/// RFC 8555 8.3.
fn told_by(address: SocketAddr, host: &str, token: &str, wanted: &str) -> Result<(), String> {
    let fault = |error: io::Error| format!("{address}: {error}");
    let mut socket = TcpStream::connect_timeout(&address, Duration::from_secs(20)).map_err(fault)?;
    socket.set_read_timeout(Some(Duration::from_secs(20))).map_err(fault)?;
    let request = format!("GET /.well-known/acme-challenge/{token} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    socket.write_all(request.as_bytes()).map_err(fault)?;
    let mut said = String::new();
    socket.read_to_string(&mut said).map_err(fault)?;
    match said.starts_with("HTTP/1.1 200 ") && said.ends_with(&format!("\r\n\r\n{wanted}")) {
        true => Ok(()),
        false => Err(format!("{address} says {}", said.lines().next().unwrap_or("nothing"))),
    }
}

fn heard(stream: &mut impl Read) -> io::Result<Asked> {
    let (mut head, mut octet) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut octet)? > 0 {
        head.push(octet[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut words = head.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.and_then(|length| length.parse().ok()).unwrap_or(0)];
    stream.read_exact(&mut body)?;
    Ok(Asked { method, path, body })
}
