//! A log file that makes way for the next one when it is full; the oldest goes.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};
use tracing_subscriber::fmt::MakeWriter;

/// As large as the vendor's.
const LARGEST: u64 = 10 << 20;
/// Older files beside the one being written, as the vendor keeps.
const OLDER: u32 = 4;

/// Files `daemon.log`, `daemon.1.log`, ... in a directory; the higher the number, the older.
#[derive(Debug)]
pub(super) struct Rotating {
    directory: PathBuf,
    largest: u64,
    now: Mutex<Now>,
}

/// The file being written.
#[derive(Debug)]
struct Now {
    file: Option<File>,
    length: u64,
}

impl Rotating {
    /// Goes on where an earlier process ended.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        Self::open_with(directory, LARGEST)
    }

    fn open_with(directory: &Path, largest: u64) -> io::Result<Self> {
        let now = Now::open(directory)?;
        Ok(Self { directory: directory.to_owned(), largest, now: Mutex::new(now) })
    }

    fn write_line(&self, line: &[u8]) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.length > 0 && now.length + line.len() as u64 > self.largest {
            // Closed first: an open file does not move on Windows.
            now.file = None;
            rotate(&self.directory);
        }
        if now.file.is_none() {
            match Now::open(&self.directory) {
                Ok(fresh) => *now = fresh,
                Err(_) => return,
            }
        }
        // A disk that is full must not stop the daemon; there is nobody to tell.
        let Now { file, length } = &mut *now;
        if let Some(file) = file
            && file.write_all(line).is_ok()
        {
            *length += line.len() as u64;
        }
    }
}

impl Now {
    fn open(directory: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(name(directory, 0))?;
        let length = file.metadata()?.len();
        Ok(Self { file: Some(file), length })
    }
}

fn name(directory: &Path, age: u32) -> PathBuf {
    directory.join(if age == 0 { "daemon.log".to_owned() } else { format!("daemon.{age}.log") })
}

/// Each file becomes one older. One that cannot be moved is written on, so that nothing is lost.
fn rotate(directory: &Path) {
    let _ = fs::remove_file(name(directory, OLDER));
    for age in (0..OLDER).rev() {
        let _ = fs::rename(name(directory, age), name(directory, age + 1));
    }
}

/// One entry on its way.
#[derive(Debug)]
pub(super) struct Entry<'a>(&'a Rotating);

impl Write for Entry<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_line(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Rotating {
    type Writer = Entry<'a>;

    fn make_writer(&'a self) -> Entry<'a> {
        Entry(self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn lines(directory: &Path) -> Vec<String> {
        let ages = (0..=OLDER).rev();
        ages.filter_map(|age| fs::read_to_string(name(directory, age)).ok())
            .flat_map(|text| text.lines().map(ToOwned::to_owned).collect::<Vec<_>>())
            .collect()
    }

    #[test]
    fn files_are_bounded_in_length_and_number_and_keep_the_newest_lines_in_order() {
        let directory = std::env::temp_dir().join(format!("vestibule-log-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let write = |from: u32, to: u32| {
            let log = Rotating::open_with(&directory, 40).unwrap();
            (from..to)
                .for_each(|number| log.make_writer().write_all(format!("line {number:04}\n").as_bytes()).unwrap());
        };
        write(0, 6);
        // The next process goes on in the same file.
        write(6, 100);
        let found = lines(&directory);
        // Four lines of ten bytes fill a file.
        assert_eq!(found.len(), 4 * 5);
        assert!(found.iter().zip(80..).all(|(line, number)| *line == format!("line {number:04}")), "{found:?}");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 5);
        fs::remove_dir_all(directory).unwrap();
    }
}
