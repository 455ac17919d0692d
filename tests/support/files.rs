//! What is in the files of a directory.

#![expect(clippy::expect_used, reason = "a file that cannot be read ends the test")]

use std::path::Path;

/// Every file below `home`, with its bytes.
pub fn below(home: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![home.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory").flatten() {
            match entry.path() {
                path if path.is_dir() => open.push(path),
                path => found.push((path.display().to_string(), std::fs::read(&path).expect("a file"))),
            }
        }
    }
    found
}

/// Whether `text` stands in `bytes`.
pub fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
