//! No text stops the reader of configurations, nor the rows, nor the report of what is wrong.

#![no_main]

use std::io;
use std::path::{Path, PathBuf};

use balancer::conf::error::{Marks, render, sort};
use balancer::conf::{Block, Dialect, Reader, Reading, read};
use balancer::modules::{MAIN, MainBlock, catalog};
use libfuzzer_sys::fuzz_target;

/// One file, which may include itself.
struct One<'a>(&'a [u8]);

impl Reader for One<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match path.to_str() {
            Some("nginx.conf") => Ok(self.0.to_vec()),
            _ => Err(io::Error::from_raw_os_error(2)),
        }
    }

    fn glob(&self, _: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(vec!["nginx.conf".into()])
    }
}

fuzz_target!(|text: &[u8]| {
    let syntax = read(Path::new("nginx.conf"), "", &One(text));
    let catalog = catalog();
    let mut reading = Reading::new(&catalog, Dialect::Extended);
    reading.problems = syntax.problems;
    reading.apply(Block::Main, &syntax.directives, MAIN, &mut MainBlock::default());
    sort(&mut reading.problems);
    let shown = render(&reading.problems, Marks::Plain);
    assert!(reading.problems.len() <= shown.lines().count());
});
