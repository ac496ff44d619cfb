//! The metadata rows on disk, in sled: one writer thread, a CRC on every row, a real point of durability.
