//! The cluster CA and node certificates (rcgen), and the checks of them.
