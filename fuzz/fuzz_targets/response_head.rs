//! An answer's head is judged alike whether it comes at once or byte by byte.

#![no_main]

use balancer::engine::h1::request::Progress;
use balancer::engine::h1::response::Response;
use libfuzzer_sys::fuzz_target;

fn in_portions(buffer: &[u8], portion: usize) -> Result<Progress, &'static str> {
    let mut response = Response::default();
    let mut end = 0;
    loop {
        end = (end + portion).min(buffer.len());
        match response.parse(&buffer[..end]) {
            Ok(Progress::Partial) if end < buffer.len() => (),
            Ok(progress) => {
                if progress == Progress::Complete {
                    let _ = (response.framing(false), response.framing(true));
                }
                return Ok(progress);
            }
            Err(bad) => return Err(bad.0),
        }
    }
}

fuzz_target!(|buffer: &[u8]| {
    assert_eq!(in_portions(buffer, buffer.len().max(1)), in_portions(buffer, 1));
});
