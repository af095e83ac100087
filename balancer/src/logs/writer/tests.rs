use std::fs::OpenOptions;
use std::io::Read;

use super::*;

const SOON: Duration = Duration::from_secs(10);

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).unwrap().lines().count()
}

#[test]
fn a_rename_and_a_reopening_lose_no_line() {
    let folder = tempfile::tempdir().unwrap();
    let (path, old) = (folder.path().join("a.log"), folder.path().join("a.old"));
    let log = LogFile::open(&path).unwrap();
    log.collect(|out| out.extend_from_slice(b"one\n"));
    flush();
    finish(SOON);
    std::fs::rename(&path, &old).unwrap();
    log.collect(|out| out.extend_from_slice(b"two\n"));
    reopen(None);
    finish(SOON);
    log.collect(|out| out.extend_from_slice(b"three\n"));
    finish(SOON);
    assert!(lines(&path) > 0);
    assert_eq!(lines(&path) + lines(&old), 3);
}

#[test]
fn two_lines_of_a_configuration_share_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.log");
    let (first, second) = (LogFile::open(&path).unwrap(), LogFile::open(&path).unwrap());
    assert!(Arc::ptr_eq(&first, &second));
}

#[test]
fn a_full_disk_costs_lines_and_counts_them() {
    let before = dropped();
    let log = LogFile::open(Path::new("/dev/full")).unwrap();
    log.tell(Severity::Error, b"one\n");
    finish(SOON);
    assert!(before < dropped());
}

#[test]
fn a_stalled_writer_blocks_nobody_and_leaves_whole_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // A reader that does not read: the writer stands still once the pipe is full.
    let mut reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let before = dropped();
    let log = LogFile::open(&path).unwrap();
    let line = [&[b'x'; 1023][..], b"\n"].concat();
    let sent = 2 * LIMIT as u64 / 1024;
    for _ in 0..sent {
        log.collect(|out| out.extend_from_slice(&line));
    }
    finish(Duration::ZERO);
    let lost = dropped() - before;
    assert!(0 < lost && lost < sent, "{lost} of {sent}");
    let mut rest = vec![0; usize::try_from(sent - lost).unwrap() * line.len()];
    reader.read_exact(&mut rest).unwrap();
    assert!(rest.chunks(line.len()).all(|it| it == line));
}

#[test]
fn packed_lines_are_unpacked_piece_by_piece() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.log.gz");
    let packing = Packing { level: 1, buffer: 8, flush: None };
    let log = LogFile::packed(&path, packing).unwrap();
    for line in ["one\n", "two\n", "three\n", "longer than the buffer\n"] {
        log.collect(|out| out.extend_from_slice(line.as_bytes()));
    }
    finish(SOON);
    let mut text = String::new();
    let file = File::open(&path).unwrap();
    flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    assert_eq!(text, "one\ntwo\nthree\nlonger than the buffer\n");
}

#[test]
fn lines_may_name_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let log = LogFile::named().unwrap();
    let second = Duration::from_secs(1);
    let keeping = Keeping { max: 1, inactive: second, valid: second, min_uses: 1 };
    for (name, keeping) in [("a", None), ("b", Some(keeping)), ("c", Some(keeping)), ("b", None)] {
        log.collect_at(folder.path().join(name), keeping, |out| out.extend_from_slice(b"x\n"));
    }
    finish(SOON);
    let count = |name: &str| lines(&folder.path().join(name));
    assert_eq!([count("a"), count("b"), count("c")], [1, 2, 1]);
}
