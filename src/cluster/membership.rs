//! Founding, joining, removing, transferring; the handshake.
