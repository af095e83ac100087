//! A request head is judged alike whether it comes at once or byte by byte.

#![no_main]

use balancer::engine::h1::request::{Limits, Progress, Refusal, Request};
use libfuzzer_sys::fuzz_target;

fn in_portions(buffer: &[u8], portion: usize) -> Result<Progress, Refusal> {
    let (mut request, limits) = (Request::default(), Limits::default());
    let mut end = 0;
    loop {
        end = (end + portion).min(buffer.len());
        match request.parse(&buffer[..end], &limits) {
            Ok(Progress::Partial) if end < buffer.len() => (),
            other => return other,
        }
    }
}

fuzz_target!(|buffer: &[u8]| {
    assert_eq!(in_portions(buffer, buffer.len().max(1)), in_portions(buffer, 1));
});
