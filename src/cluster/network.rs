//! Adapts the transport to openraft: append, vote, pre-vote, snapshot, transfer; the witness gate.
