//! Choices read from the front of the fuzzer's bytes; when they run out, every choice is the first one.

pub struct Dice<'a> {
    rest: &'a [u8],
}

impl<'a> Dice<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Below `end`, which is at most 256.
    pub fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub fn number(&mut self) -> u64 {
        let (head, rest) = self.rest.split_at(self.rest.len().min(8));
        self.rest = rest;
        head.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// At most `bytes_max` octets behind their length.
    pub fn bytes(&mut self, bytes_max: usize) -> &'a [u8] {
        let length = usize::from(self.byte()) << 8 | usize::from(self.byte());
        let (head, rest) = self.rest.split_at(length.min(bytes_max).min(self.rest.len()));
        self.rest = rest;
        head
    }

    /// Up to the next LF, which is left out.
    pub fn line(&mut self) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let (line, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest.get(1..).unwrap_or_default();
        line
    }

    pub fn exactly(&mut self, count: usize) -> &'a [u8] {
        let (head, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        head
    }
}
