//! Looking at a store's files from outside, and damaging them.

use std::fs;
use std::path::{Path, PathBuf};

/// Every file below a folder, sorted.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path)
            } else {
                found.push(path)
            }
        }
    }
    found.sort();
    found
}

/// Flips one bit of the byte at `position`.
///
/// # Panics
/// When the file cannot be read or written, or is shorter.
pub fn flip_a_bit(file: &Path, position: usize) {
    let mut bytes = fs::read(file).expect("the file can be read");
    bytes[position] ^= 1;
    fs::write(file, bytes).expect("the file can be written");
}
