//! Any flipped byte in the database, the tokens or the ledger is detected, and the file is named.

use std::path::Path;

use darwinlm_tests::files::{files_below, flip_a_bit};
use darwinlm_tests::local::Local;

#[test]
fn any_flipped_byte_is_detected_and_named() {
    let world = Local::new();
    world.run(&[]).digest();
    assert_eq!(world.verify().code, Some(0));
    for folder in ["databases", "tokens", "models", "runs/local.tiny/ledger"] {
        let files: Vec<_> = files_below(&world.store().join(folder))
            .into_iter()
            .filter(|file| {
                // what it cost, and who was at it: nothing rests on either
                let path = file.to_string_lossy();
                !path.contains(".cost.") && !path.contains("/claims/")
            })
            .collect();
        assert!(!files.is_empty(), "{folder} is empty");
        for file in files {
            a_flip_is_named(&world, &file);
        }
    }
    assert_eq!(world.verify().code, Some(0), "every flip was undone");
}

fn a_flip_is_named(world: &Local, file: &Path) {
    let length = std::fs::metadata(file).expect("the file is there").len() as usize;
    for position in [0, length / 2, length - 1] {
        flip_a_bit(file, position);
        let verified = world.verify();
        flip_a_bit(file, position);
        let said = format!("{}{}", verified.stdout, verified.stderr);
        let shown = file.display();
        assert_ne!(
            verified.code,
            Some(0),
            "{shown}: byte {position} of {length} was flipped: {said}"
        );
        let name = file
            .file_name()
            .expect("a file has a name")
            .to_string_lossy();
        assert!(
            said.contains(&*name),
            "{shown}: byte {position} was flipped, but it said: {said}"
        );
    }
}
