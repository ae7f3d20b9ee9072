//! Stories with buckets of a real S3 server: a run takes from one and keeps everything in another.

use std::fs;
use std::path::Path;
use std::process::Command;

use darwinlm_tests::files::files_below;
use darwinlm_tests::gateway::Gateway;
use darwinlm_tests::local::{Finished, Local, finish};
use darwinlm_tests::programs::program;

const OF_THE_SOURCE: &str = "canary of the source";
const OF_THE_STORE: &str = "canary of the store";

/// A run whose model and tokens lie in one bucket, and whose store in another.
fn world(source: &Gateway) -> Local {
    let world = Local::new();
    let (models, text) = (
        source.bucket().join("models/tiny"),
        source.bucket().join("text"),
    );
    for folder in [&models, &text] {
        fs::create_dir_all(folder).expect("a folder can be made");
    }
    for file in files_below(&world.path().join("model")) {
        let name = file.file_name().expect("it is a file");
        fs::copy(&file, models.join(name)).expect("a file can be copied");
    }
    fs::write(models.join("training.py"), "import os").expect("a file can be written");
    let tokens = world.path().join("tokens.safetensors");
    fs::copy(&tokens, text.join("tokens.safetensors")).expect("a file can be copied");
    world.edit("pvc://data/model", "s3://bucket/models/tiny");
    world.edit(
        "pvc://data/tokens.safetensors",
        "s3://bucket/text/tokens.safetensors",
    );
    world.edit("pvc://data/store", "s3://bucket/runs");
    world
}

fn run(world: &Local, source: &[(String, String)], store: &[(String, String)]) -> Finished {
    let work = world.path().join("work");
    let work = work.to_str().expect("a temporary folder is text");
    let own = source
        .iter()
        .map(|(name, value)| (format!("DARWINLM_SOURCE_{name}"), value));
    let child = world
        .command(&["--work-dir", work])
        // Servers of tests are on this machine, whatever proxy there is.
        .env("NO_PROXY", "127.0.0.1")
        .envs(own)
        .envs(store.iter().cloned())
        .spawn();
    finish(child.expect("darwinlm can be started"))
}

#[test]
fn a_run_between_buckets_ends_with_the_digest_of_a_run_between_folders() {
    let digest = Local::new().run(&[]).digest();
    let (source, store) = (Gateway::start(OF_THE_SOURCE), Gateway::start(OF_THE_STORE));
    let world = world(&source);
    let (from, to) = (source.variables(), store.variables());
    assert_eq!(run(&world, &from, &to).digest(), digest);
    assert_eq!(run(&world, &from, &to).digest(), digest, "started again");
    assert!(
        !world.store().exists(),
        "something was kept beside the bucket"
    );
    let models = files_below(&store.bucket().join("runs/models"));
    let is_code = |file: &std::path::PathBuf| file.to_string_lossy().contains("training");
    assert!(
        models.len() == 3 && !models.iter().any(is_code),
        "{models:?}"
    );
    let verified = Command::new(program("darwinlm"))
        .args(["verify", "s3://bucket/runs"])
        .envs(to)
        .output()
        .expect("darwinlm can be started");
    let said = String::from_utf8_lossy(&verified.stdout);
    assert!(
        verified.status.success() && said.contains(&digest),
        "{verified:?}"
    );
    for folder in [world.path(), &store.bucket(), &source.bucket()] {
        assert_eq!(holding("canary", folder), "", "a secret was written down");
    }
}

#[test]
fn a_store_behind_an_authority_of_its_own_is_trusted_by_the_bundle() {
    let digest = Local::new().run(&[]).digest();
    let store = Gateway::start_with_tls(OF_THE_STORE);
    let world = world(&store);
    let mut variables = store.variables();
    let authority = store.authority().display().to_string();
    variables.push(("DARWINLM_CA_BUNDLE".to_owned(), authority));
    assert_eq!(run(&world, &[], &variables).digest(), digest);
    let manifests = files_below(&store.bucket().join("runs/databases"));
    assert!(!manifests.is_empty(), "nothing was kept in the bucket");
}

/// The files that hold a word.
fn holding(word: &str, folder: &Path) -> String {
    let found = Command::new("grep")
        .args(["-rlF", word])
        .arg(folder)
        .output();
    let found = found.expect("grep can be started").stdout;
    String::from_utf8_lossy(&found).into_owned()
}

#[test]
fn keys_that_a_bucket_does_not_know_are_refused_by_the_field() {
    let (source, store) = (Gateway::start(OF_THE_SOURCE), Gateway::start(OF_THE_STORE));
    let world = world(&source);
    let (from, to) = (source.variables(), store.variables());
    let mut wrong = from.clone();
    for (name, value) in &mut wrong {
        if name == "AWS_SECRET_ACCESS_KEY" {
            *value = "canary of nobody".to_owned();
        }
    }
    let refused = run(&world, &wrong, &to);
    assert_eq!(refused.code, Some(77), "{}", refused.stderr);
    let said = refused.stderr;
    assert!(
        said.contains("spec.model.source") && said.contains("s3://bucket"),
        "{said}"
    );
    assert!(!said.contains("canary"), "{said}");
    let forbidden = run(&world, &from, &wrong);
    assert_eq!(forbidden.code, Some(77), "{}", forbidden.stderr);
}

#[test]
fn what_a_bucket_does_not_hold_is_named() {
    let source = Gateway::start(OF_THE_SOURCE);
    for (address, said) in [
        (
            "s3://bucket/models/none",
            "s3://bucket/models/none does not exist",
        ),
        (
            "s3://elsewhere/tiny",
            "failed to list tiny in the store s3://elsewhere: there is no such",
        ),
    ] {
        let (world, store) = (world(&source), Gateway::start(OF_THE_STORE));
        world.edit("s3://bucket/models/tiny", address);
        let missing = run(&world, &source.variables(), &store.variables());
        assert_eq!(missing.code, Some(66), "{}", missing.stderr);
        let said = format!("spec.model.source: {said}");
        assert!(missing.stderr.contains(&said), "{}", missing.stderr);
    }
}
