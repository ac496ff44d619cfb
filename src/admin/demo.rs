//! `pollux demo`: a pair and a witness on loopback, and a tour.
