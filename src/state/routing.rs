//! Where an address leads: users, aliases, plus-addresses, postmaster; pure over the directory.
