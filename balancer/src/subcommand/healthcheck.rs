//! `balancer healthcheck`: does it serve? For images without a shell, and for probes.

use std::process::ExitCode;

use super::ask::{ADDRESS, cannot, get};

const USAGE: &str = "Usage: balancer healthcheck [address]

  address       : of the admin listener (default: 127.0.0.1:8081)

Ends with 0 while requests are accepted, with 1 once a stop has begun or nobody answers.";

/// Asks `/health` of an admin listener.
pub(super) fn run(words: &[String]) -> Result<ExitCode, String> {
    let address = match words {
        [] => ADDRESS,
        [address] if !address.starts_with('-') => address,
        [word, ..] => return Err(format!("invalid option: \"{word}\"\n{USAGE}")),
    };
    match get(address, "/health") {
        Ok((200, _)) => Ok(ExitCode::SUCCESS),
        Ok((_, body)) => {
            let text = String::from_utf8_lossy(&body);
            Err(format!("[error] {address} is not healthy: {}", text.trim_end()))
        }
        Err(error) => Err(cannot(address, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_understood_is_refused() {
        let refused = run(&["--nope".to_owned()]).unwrap_err();
        assert!(refused.starts_with("invalid option: \"--nope\"\nUsage:"));
        assert!(run(&["127.0.0.1:1".to_owned(), "x".to_owned()]).is_err());
    }
}
