//! A chunked body is the same body in whatever portions it arrives.

#![no_main]

use balancer::engine::h1::chunked::{BadChunk, Decoder, Step};
use libfuzzer_sys::fuzz_target;

/// The body, and how many bytes it took; `None` when more are needed.
fn decode(input: &[u8], portion: usize) -> Result<(Vec<u8>, Option<usize>), BadChunk> {
    let mut decoder = Decoder::default();
    let (mut body, mut at, mut end) = (Vec::new(), 0, 0);
    loop {
        end = (end + portion).min(input.len());
        while at < end {
            match decoder.step(&input[at..end])? {
                Step::Data { skip, data } => {
                    assert!(0 < skip + data, "it goes on");
                    body.extend_from_slice(&input[at + skip..at + skip + data]);
                    at += skip + data;
                }
                Step::More { skip } => {
                    at += skip;
                    assert_eq!(at, end, "all is spoken of");
                }
                Step::End { skip } => return Ok((body, Some(at + skip))),
            }
        }
        if end == input.len() {
            return Ok((body, None));
        }
    }
}

fuzz_target!(|input: &[u8]| {
    assert_eq!(decode(input, input.len().max(1)), decode(input, 1));
});
