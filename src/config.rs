//! TOML to a typed `Config`: only what a box must know before it joins (id, directories, addresses).
//! Everything else is a replicated setting.
