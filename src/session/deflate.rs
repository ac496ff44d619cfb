//! Raw deflate (RFC 1951) in both directions, as COMPRESS wants it (RFC 4978): pure, bounded in memory, and never
//! more than was asked for at a time, so that a few bytes that stand for millions harm nobody.

use std::cell::RefCell;

use bytes::BytesMut;
use miniz_oxide::deflate::core::{CompressionStrategy, CompressorOxide};
use miniz_oxide::deflate::stream;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress_with_limit, inflate_flags};
use miniz_oxide::{DataFormat, MZFlush};

/// How far back deflate may refer (RFC 1951 2): what an [`Inflater`] must remember, bytes.
pub const WINDOW_BYTES_MAX: usize = 32 * 1024;
/// The window of a client that has not said more yet. Most say little, and idle.
pub const WINDOW_BYTES_MIN: usize = 2 * 1024;
/// Fast rather than small: mail becomes 2.8 times smaller at 130 MB a second of a core; at a third of that it would be 3.0.
const LEVEL: u8 = 2;
/// Room for what a short answer comes to.
const OUT_BYTES_MIN: usize = 64;
const WINDOW_BITS: u8 = 15;
const INFLATE_FLAGS: u32 =
    inflate_flags::TINFL_FLAG_HAS_MORE_INPUT | inflate_flags::TINFL_FLAG_IGNORE_ADLER32;

/// The bytes are not deflate's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what the client sent is not compressed as it should be")]
pub struct BadStream;

/// Bytes taken and bytes given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moved {
    pub taken: usize,
    pub given: usize,
}

/// What came, as it was before it was compressed.
#[derive(Default)]
pub struct Inflater {
    state: Box<DecompressorOxide>,
    /// What was given last; a ring once it is as large as it gets.
    window: Vec<u8>,
    /// Where the next byte goes.
    at: usize,
    /// The state holds output that nobody had room for.
    has_more: bool,
    /// The last block has ended: nothing more will come.
    ended: bool,
}

impl Inflater {
    /// Takes from `input` until `out` is full or the input gives no more.
    pub fn inflate(&mut self, input: &[u8], out: &mut [u8]) -> Result<Moved, BadStream> {
        let mut moved = Moved::default();
        while !self.ended && moved.given < out.len() && (self.has_more || moved.taken < input.len()) {
            self.make_room();
            let room = (out.len() - moved.given).min(self.window.len() - self.at);
            let rest = &input[moved.taken..];
            let (status, taken, given) =
                decompress_with_limit(&mut self.state, rest, &mut self.window, self.at, room, INFLATE_FLAGS);
            out[moved.given..moved.given + given].copy_from_slice(&self.window[self.at..self.at + given]);
            self.at += given;
            moved.taken += taken;
            moved.given += given;
            match status {
                TINFLStatus::NeedsMoreInput => self.has_more = false,
                TINFLStatus::HasMoreOutput => self.has_more = true,
                TINFLStatus::Done => self.ended = true,
                _ => return Err(BadStream),
            }
            let could_go_on = self.has_more || moved.taken < input.len();
            if taken == 0 && given == 0 && could_go_on && !self.ended {
                return Err(BadStream);
            }
        }
        Ok(moved)
    }

    /// The client has ended its stream: nothing that it sends is heard any more.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// True when output is held back for want of room.
    pub fn has_more(&self) -> bool {
        self.has_more
    }

    /// Grows until it is as far as deflate may refer back; from then on the oldest byte goes. While it grows it holds
    /// all that ever came, so that nothing can refer beyond it.
    fn make_room(&mut self) {
        if self.at < self.window.len() {
            return;
        }
        if self.window.len() < WINDOW_BYTES_MAX {
            // A power of two at each step, as the ring must be.
            self.window.resize((2 * self.window.len()).max(WINDOW_BYTES_MIN), 0);
        } else {
            self.at = 0;
        }
    }
}

/// Compresses `plain`, all of it, behind what is in `out`: whole bytes, which can be inflated as they are.
///
/// Each piece stands by itself: deflate needs no memory of what was before. So one compressor for each thread does for
/// all sessions, and none holds one while its client reads.
pub fn deflate(plain: &[u8], out: &mut BytesMut) -> Result<(), BadStream> {
    DEFLATER.with_borrow_mut(|deflater| {
        let deflater = deflater.get_or_insert_with(|| {
            let strategy = CompressionStrategy::Default;
            Box::new(CompressorOxide::with_params(DataFormat::Raw, LEVEL, strategy, WINDOW_BITS))
        });
        deflater.reset();
        let mut rest = plain;
        loop {
            let from = out.len();
            out.resize(from + plain.len().max(OUT_BYTES_MIN), 0);
            let result = stream::deflate(deflater, rest, &mut out[from..], MZFlush::Sync);
            let is_filled = from + result.bytes_written == out.len();
            out.truncate(from + result.bytes_written);
            result.status.map_err(|_| BadStream)?;
            rest = &rest[result.bytes_consumed..];
            if rest.is_empty() && !is_filled {
                return Ok(());
            }
        }
    })
}

thread_local! {
    /// About 320 KiB, for each thread that has ever compressed.
    static DEFLATER: RefCell<Option<Box<CompressorOxide>>> = const { RefCell::new(None) };
}

#[cfg(test)]
mod tests {
    use miniz_oxide::deflate::compress_to_vec;
    use miniz_oxide::inflate::decompress_to_vec;

    use super::*;

    /// Text that refers back near and far, and some that does not compress.
    fn samples() -> Vec<Vec<u8>> {
        let words: Vec<u8> =
            (0..60_000u32).flat_map(|n| format!("{:x} ", n * n % 4_099).into_bytes()).collect();
        let noise: Vec<u8> = (0..3_000u32).flat_map(|n| *blake3::hash(&n.to_le_bytes()).as_bytes()).collect();
        let far = [&noise[..32_000], &words[..700], &noise[..32_000], &noise[..100]].concat();
        vec![b"".to_vec(), b"a NOOP\r\n".to_vec(), words, noise, far, vec![b'x'; 300_000]]
    }

    fn inflate_all(compressed: &[u8], (input, output): (usize, usize)) -> Result<Vec<u8>, BadStream> {
        let (mut inflater, mut all) = (Inflater::default(), Vec::new());
        let mut out = vec![0; output];
        for mut piece in compressed.chunks(input) {
            loop {
                let moved = inflater.inflate(piece, &mut out)?;
                piece = &piece[moved.taken..];
                all.extend_from_slice(&out[..moved.given]);
                if moved.given < out.len() {
                    assert!(piece.is_empty() || inflater.has_ended());
                    break;
                }
            }
        }
        assert!(inflater.window.len() <= WINDOW_BYTES_MAX);
        Ok(all)
    }

    fn deflate_all(plain: &[u8], piece: usize) -> Vec<u8> {
        let mut out = BytesMut::new();
        plain.chunks(piece).for_each(|piece| deflate(piece, &mut out).unwrap());
        out.to_vec()
    }

    #[test]
    fn what_is_compressed_elsewhere_comes_out_however_it_is_cut() {
        for plain in samples() {
            for level in [0, 1, 6, 10] {
                let compressed = compress_to_vec(&plain, level);
                for cut in [(1, 65_536), (7, 3), (4_096, 1), (100_000, 1_024), (1_000, 100_000)] {
                    assert!(inflate_all(&compressed, cut) == Ok(plain.clone()), "level {level}, {cut:?}");
                }
            }
        }
    }

    #[test]
    fn what_we_compress_is_understood_elsewhere_and_by_us() {
        for plain in samples() {
            for piece in [1_000, 65_536, 1_000_000] {
                let mut pieces = deflate_all(&plain, piece);
                for cut in [(1, 64), (65_536, 8_192), (1_000, 100_000), (100_000, 10)] {
                    assert!(inflate_all(&pieces, cut) == Ok(plain.clone()), "{piece}, {cut:?}");
                }
                // An empty last block ends it, as another's decoder wants.
                pieces.extend_from_slice(&[0x03, 0x00]);
                assert!(decompress_to_vec(&pieces).unwrap() == plain, "{piece}");
                assert!(
                    pieces.len() < plain.len() + 20 * (1 + plain.len() / piece.min(32_768)),
                    "{}",
                    pieces.len()
                );
            }
        }
    }

    #[test]
    fn pieces_follow_what_is_there_and_leave_nothing_behind_them() {
        let one = b"* 1 FETCH (FLAGS ())\r\n".repeat(50);
        let mut stream = BytesMut::new();
        deflate(&one, &mut stream).unwrap();
        let first = stream.clone();
        deflate(b"a OK\r\n", &mut stream).unwrap();
        assert!(stream.starts_with(&first));
        assert_eq!(inflate_all(&stream, (5, 5)), Ok([&one[..], b"a OK\r\n"].concat()));
    }

    #[test]
    fn the_window_is_small_until_much_was_said_and_never_beyond_its_bound() {
        let mut inflater = Inflater::default();
        assert_eq!(inflater.window.capacity(), 0);
        let commands = deflate_all(&b"a NOOP\r\n".repeat(200), 100);
        inflater.inflate(&commands, &mut [0; 10_000]).unwrap();
        assert_eq!(inflater.window.capacity(), WINDOW_BYTES_MIN);
        let much = compress_to_vec(&vec![0; 10_000_000], 6);
        let mut inflater = Inflater::default();
        inflater.inflate(&much, &mut vec![0; 20_000_000]).unwrap();
        assert_eq!(inflater.window.capacity(), WINDOW_BYTES_MAX);
    }

    #[test]
    fn a_bomb_gives_no_more_than_was_asked_for() {
        let bomb = compress_to_vec(&vec![b'x'; 100_000_000], 6);
        assert!(bomb.len() < 200_000, "{}", bomb.len());
        let mut inflater = Inflater::default();
        let mut out = [0; 1_024];
        let moved = inflater.inflate(&bomb, &mut out).unwrap();
        assert!(moved.given == out.len() && moved.taken < 100, "{moved:?}");
        assert!(out.iter().all(|byte| *byte == b'x'));
    }

    #[test]
    fn a_stream_that_has_ended_gives_nothing_more() {
        let mut inflater = Inflater::default();
        let stream = [compress_to_vec(b"bye", 6), b"more".to_vec()].concat();
        let mut out = [0; 100];
        assert_eq!(inflater.inflate(&stream, &mut out).unwrap().given, 3);
        assert!(inflater.has_ended());
        assert_eq!(inflater.inflate(b"more", &mut out), Ok(Moved::default()));
    }

    #[test]
    fn garbage_is_refused_and_never_panics() {
        assert_eq!(inflate_all(b"a NOOP\r\na NOOP\r\n", (100, 100)), Err(BadStream));
        for seed in 0..5_000u32 {
            let noise = blake3::hash(&seed.to_le_bytes());
            let mut stream = compress_to_vec(&b"a NOOP\r\nb FETCH 1:* (FLAGS UID)\r\n".repeat(9), 6);
            let at = seed as usize % stream.len();
            stream[at] ^= noise.as_bytes()[0];
            let _ = inflate_all(&stream, (1 + seed as usize % 13, 1 + seed as usize % 97));
            let _ = inflate_all(noise.as_bytes(), (32, 1_024));
        }
    }
}
