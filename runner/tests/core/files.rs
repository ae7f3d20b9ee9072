//! Token files and the safetensors writer.

use std::path::Path;

use darwinlm_runner::tokens::{Sequences, TokensError, documents};
use darwinlm_runner::weights::{MappedTensors, StreamWriter, write_tensors};
use tch::{Device, Kind, Tensor};

use crate::tiny;

#[test]
fn sequences_read_back_and_give_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (
        folder.path().join("a.safetensors"),
        folder.path().join("b.safetensors"),
    );
    let sequences = tiny::sequences(5, 7, 1);
    sequences.write(&one).unwrap();
    let read = Sequences::open(&one, 96).unwrap();
    assert_eq!(read, sequences);
    read.write(&other).unwrap();
    assert_eq!(std::fs::read(&one).unwrap(), std::fs::read(&other).unwrap());
}

#[test]
fn ids_of_64_bits_are_read_and_checked_against_the_vocabulary() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ids.safetensors");
    let ids = Tensor::arange(12, (Kind::Int64, Device::Cpu)).view([3, 4]);
    write_tensors(&path, &[("input_ids".to_owned(), ids)], None).unwrap();
    assert_eq!(
        Sequences::open(&path, 12).unwrap().sequence(2),
        [8, 9, 10, 11]
    );
    let error = Sequences::open(&path, 11).unwrap_err();
    assert!(matches!(
        error,
        TokensError::OutsideVocabulary { found: 11, .. }
    ));
}

#[test]
fn the_last_incomplete_sequence_is_dropped() {
    let stream: Vec<i32> = (0..11).collect();
    let sequences = Sequences::pack(&stream, 4);
    assert_eq!((sequences.count(), sequences.pool().tokens()), (2, 8));
}

#[test]
fn documents_are_files_or_lines() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("a.txt");
    std::fs::write(&text, "one\n\ntwo\n").unwrap();
    let read = |path: &Path, field: &str| -> Result<Vec<String>, TokensError> {
        documents(path, field)?.collect()
    };
    assert_eq!(read(&text, "text").unwrap(), ["one\n\ntwo\n"]);
    let lines = folder.path().join("a.jsonl");
    std::fs::write(&lines, "{\"body\": \"one\"}\n\n{\"body\": \"two\"}\n").unwrap();
    assert_eq!(read(&lines, "body").unwrap(), ["one", "two"]);
    let message = read(&lines, "text").unwrap_err().to_string();
    assert!(
        message.contains("line 1") && message.contains("\"text\""),
        "{message}"
    );
    assert!(documents(&folder.path().join("a.csv"), "text").is_err());
}

#[test]
fn a_streamed_file_equals_its_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("states.safetensors");
    let whole = Tensor::randn([5, 3, 2], (Kind::Float, Device::Cpu));
    let mut writer = StreamWriter::create(&path, "states", &[5, 3, 2], Kind::Float).unwrap();
    for (start, rows) in [(0, 2), (2, 1), (3, 2)] {
        writer.append(&whole.narrow(0, start, rows)).unwrap();
    }
    writer.finish().unwrap();
    let file = MappedTensors::open(&path).unwrap();
    assert!(file.float("states").unwrap().equal(&whole));
    assert!(
        file.float_rows("states", 3, 1)
            .unwrap()
            .equal(&whole.narrow(0, 3, 1))
    );
    assert!(file.float_rows("states", 4, 2).is_err());
}
