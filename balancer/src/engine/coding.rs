//! A body → what goes to the wire: compressed or unpacked, in chunks.

use std::io::{self, Write as _};

use flate2::write::MultiGzDecoder;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};

use crate::engine::h1::write;
use crate::http::sub::Substitution;

/// What follows the bytes that are encoded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Then {
    /// More of them, sooner or later.
    More,
    /// More of them, but the client is to have these now.
    Flush,
    /// Nothing.
    End,
}

/// What is done to the bytes of a body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Packing {
    /// They are compressed, at a level.
    Pack(u32),
    /// They are compressed, and unpacked.
    Unpack,
}

/// A body that was to be unpacked and is not compressed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotPacked;

impl From<NotPacked> for io::Error {
    fn from(_: NotPacked) -> Self {
        io::ErrorKind::InvalidData.into()
    }
}

/// How one body is encoded.
#[derive(Debug)]
pub struct Coding {
    packer: Option<Packer>,
    substitution: Option<Substitution>,
    chunked: bool,
    /// Whether somebody else writes the last chunk.
    ends_open: bool,
    scratch: Vec<u8>,
}

impl Coding {
    /// Packs, unpacks, or neither; in chunks, or not; without a last chunk, or with it.
    pub fn new(packing: Option<Packing>, chunked: bool, ends_open: bool) -> Self {
        let packer = packing.map(|it| match it {
            Packing::Pack(level) => Packer::Gzip(Gzip::new(level)),
            Packing::Unpack => Packer::Gunzip(MultiGzDecoder::new(Vec::new())),
        });
        Self { packer, substitution: None, chunked, ends_open, scratch: Vec::new() }
    }

    /// Has texts replaced before the bytes are packed, or after they were unpacked.
    #[must_use]
    pub fn with(mut self, substitution: Option<Substitution>) -> Self {
        self.substitution = substitution;
        self
    }

    /// Whether bytes wait to be sent with those that follow.
    pub fn holds(&self) -> bool {
        matches!(&self.packer, Some(Packer::Gzip(it)) if it.holds)
    }

    /// Bytes that went in, and those that came out of the compressor.
    pub fn ratio(&self) -> Option<(u64, u64)> {
        match &self.packer {
            Some(Packer::Gzip(it)) => Some((it.deflate.total_in(), it.deflate.total_out())),
            _ => None,
        }
    }

    /// Appends what is to be sent for some bytes of the body.
    pub fn encode(&mut self, data: &[u8], then: Then, out: &mut Vec<u8>) -> Result<(), NotPacked> {
        let mut unpacked = Vec::new();
        let data = match &mut self.packer {
            Some(Packer::Gunzip(gunzip)) => {
                gunzip.write_all(data).map_err(|_| NotPacked)?;
                if then == Then::End {
                    gunzip.try_finish().map_err(|_| NotPacked)?;
                } else {
                    gunzip.flush().map_err(|_| NotPacked)?;
                }
                std::mem::swap(&mut unpacked, gunzip.get_mut());
                &unpacked
            }
            Some(Packer::Gzip(_)) | None => data,
        };
        let mut replaced = Vec::new();
        let data = match &mut self.substitution {
            Some(substitution) => {
                substitution.replace(data, then == Then::End, &mut replaced);
                &replaced
            }
            None => data,
        };
        if let Some(Packer::Gzip(gzip)) = &mut self.packer {
            self.scratch.clear();
            gzip.compress(data, then, &mut self.scratch);
            chunk(self.chunked, &self.scratch, out);
        } else {
            chunk(self.chunked, data, out);
        }
        if then == Then::End && self.chunked && !self.ends_open {
            out.extend_from_slice(b"0\r\n\r\n");
        }
        Ok(())
    }
}

#[derive(Debug)]
enum Packer {
    Gzip(Gzip),
    Gunzip(MultiGzDecoder<Vec<u8>>),
}

/// Appends a piece of a body, as a chunk or as it is.
pub fn chunk(chunked: bool, data: &[u8], out: &mut Vec<u8>) {
    if data.is_empty() {
        return;
    }
    if chunked {
        write::hexadecimal(out, data.len() as u64);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(data);
    if chunked {
        out.extend_from_slice(b"\r\n");
    }
}

/// gzip's frame around a deflated stream.
#[derive(Debug)]
struct Gzip {
    deflate: Compress,
    crc: Crc,
    has_begun: bool,
    /// Whether bytes went in that have not been flushed.
    holds: bool,
}

/// As nginx writes it: no name, no time, from Unix.
const GZIP_HEADER: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\x03";

impl Gzip {
    fn new(level: u32) -> Self {
        let deflate = Compress::new(Compression::new(level), false);
        Self { deflate, crc: Crc::new(), has_begun: false, holds: false }
    }

    /// Puts what comes of some bytes into an empty buffer.
    fn compress(&mut self, mut data: &[u8], then: Then, out: &mut Vec<u8>) {
        let is_first = !self.has_begun;
        if is_first {
            out.extend_from_slice(GZIP_HEADER);
        }
        self.crc.update(data);
        self.holds = then == Then::More && (self.holds || !data.is_empty());
        let flush = match then {
            Then::More => FlushCompress::None,
            Then::Flush => FlushCompress::Sync,
            Then::End => FlushCompress::Finish,
        };
        loop {
            out.reserve(data.len() / 2 + 128);
            let before = self.deflate.total_in();
            let status = self.deflate.compress_vec(data, out, flush);
            let taken = self.deflate.total_in() - before;
            data = &data[usize::try_from(taken).unwrap_or(data.len())..];
            let has_room = out.len() < out.capacity();
            match status {
                Ok(Status::StreamEnd) => break,
                // Room that is left says that nothing more is to come.
                Ok(Status::Ok | Status::BufError) if then == Then::End => {}
                Ok(_) if data.is_empty() && has_room => break,
                Ok(_) => {}
                // Not reached: memory to memory, and the stream is not used beyond its end.
                Err(_) => break,
            }
        }
        self.has_begun = true;
        if is_first && out.len() == GZIP_HEADER.len() {
            // It goes with the first bytes that have something to say.
            out.clear();
            self.has_begun = false;
        }
        if then == Then::End {
            out.extend_from_slice(&self.crc.sum().to_le_bytes());
            out.extend_from_slice(&self.crc.amount().to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn unpacked(packed: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        flate2::read::GzDecoder::new(packed).read_to_end(&mut out).unwrap();
        out
    }

    #[test]
    fn whatever_goes_in_comes_out_whole() {
        for length in [0, 1, 1000, 300_000] {
            let body: Vec<u8> =
                (0..length).map(|it: u32| (it.wrapping_mul(it) % 251) as u8).collect();
            let mut coding = Coding::new(Some(Packing::Pack(1)), false, false);
            let mut out = Vec::new();
            for part in body.chunks(7000) {
                coding.encode(part, Then::More, &mut out).unwrap();
            }
            coding.encode(b"", Then::End, &mut out).unwrap();
            assert_eq!(unpacked(&out), body, "{length}");
        }
    }

    #[test]
    fn a_flush_lets_go_of_all_that_went_in() {
        let mut coding = Coding::new(Some(Packing::Pack(6)), false, false);
        let mut out = Vec::new();
        coding.encode(b"hello", Then::More, &mut out).unwrap();
        assert!(coding.holds());
        coding.encode(b"", Then::Flush, &mut out).unwrap();
        assert!(!coding.holds());
        let mut begun = [0; 5];
        flate2::read::GzDecoder::new(&out[..]).read_exact(&mut begun).unwrap();
        assert_eq!(&begun, b"hello");
    }

    #[test]
    fn what_was_packed_is_unpacked() {
        let (mut packed, mut out) = (Vec::new(), Vec::new());
        Coding::new(Some(Packing::Pack(1)), false, false)
            .encode(b"hello", Then::End, &mut packed)
            .unwrap();
        let twice = [&packed[..], &packed[..]].concat();
        let mut coding = Coding::new(Some(Packing::Unpack), false, false);
        for part in twice.chunks(3) {
            coding.encode(part, Then::More, &mut out).unwrap();
        }
        coding.encode(b"", Then::End, &mut out).unwrap();
        assert_eq!(out, b"hellohello");
        let mut coding = Coding::new(Some(Packing::Unpack), false, false);
        assert_eq!(coding.encode(b"not packed", Then::More, &mut out), Err(NotPacked));
    }

    #[test]
    fn chunks_end_with_an_empty_one_unless_it_is_left_open() {
        for (ends_open, expected) in [(false, "5\r\nhello\r\n0\r\n\r\n"), (true, "5\r\nhello\r\n")]
        {
            let mut out = Vec::new();
            Coding::new(None, true, ends_open).encode(b"hello", Then::End, &mut out).unwrap();
            assert_eq!(out, expected.as_bytes());
        }
    }
}
