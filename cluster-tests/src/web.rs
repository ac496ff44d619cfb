//! A web server of the stories' own, that says one thing to everybody, over TLS, and keeps what is posted to it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::sink::{Identity, config};

/// Listens until the process ends.
#[derive(Clone)]
pub struct Web {
    pub address: SocketAddr,
    says: Arc<Mutex<(u16, String)>>,
    posted: Arc<Mutex<Vec<Posted>>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// The question's first line and its fields.
    pub head: String,
    pub body: Vec<u8>,
}

impl Web {
    /// In the namespace of the calling thread.
    pub fn start(address: &str, identity: &Identity) -> Web {
        let listener = TcpListener::bind(address).expect("the web server's address is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let web = Web { address, says: Arc::new(Mutex::new((404, String::new()))), posted: Arc::default() };
        let (serving, config) = (web.clone(), config(identity));
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (serving, config) = (serving.clone(), Arc::clone(&config));
                // Who breaks off hears nothing.
                thread::spawn(move || serving.answer(socket, config).unwrap_or_default());
            }
        });
        web
    }

    /// From now on.
    pub fn says(&self, code: u16, text: &str) {
        *self.says.lock().expect("no holder of this lock panics") = (code, text.to_owned());
    }

    pub fn posted(&self) -> Vec<Posted> {
        self.posted.lock().expect("no holder of this lock panics").clone()
    }

    fn answer(&self, socket: TcpStream, config: Arc<ServerConfig>) -> io::Result<()> {
        let connection = ServerConnection::new(config).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, socket);
        let (mut heard, mut octet) = (Vec::new(), [0]);
        while !heard.ends_with(b"\r\n\r\n") && stream.read(&mut octet)? > 0 {
            heard.push(octet[0]);
        }
        let head = String::from_utf8_lossy(&heard).into_owned();
        if head.starts_with("POST ") {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            let mut body = vec![0; length.and_then(|length| length.parse().ok()).unwrap_or(0)];
            stream.read_exact(&mut body)?;
            self.posted.lock().expect("no holder of this lock panics").push(Posted { head, body });
        }
        let (code, text) = self.says.lock().expect("no holder of this lock panics").clone();
        let length = text.len();
        let head = format!("HTTP/1.1 {code} Said\r\nContent-Type: text/plain\r\nContent-Length: {length}");
        stream.write_all(format!("{head}\r\n\r\n{text}").as_bytes())?;
        stream.conn.send_close_notify();
        stream.flush()
    }
}
