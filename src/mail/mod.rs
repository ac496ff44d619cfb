//! The vocabulary of mail, shared by every room above: ids, addresses, flags, MIME structure,
//! bounded lines. Pure; knows nothing of sockets, disks or Raft.

pub mod address;
pub mod date;
pub mod delivery_status;
pub mod dsn;
pub mod flags;
pub mod header;
pub mod html;
pub mod ids;
pub mod leaving;
pub mod lines;
pub mod message_id;
pub mod mime;
pub mod notice;
pub mod preview;
pub mod rights;
pub mod subject;
pub mod utf7;
