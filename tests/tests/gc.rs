//! Stories of `darwinlm gc`: what a run uses stays, what none uses goes, in a folder and in a bucket.

use std::fs;
use std::path::Path;
use std::process::Command;

use darwinlm_tests::files::files_below;
use darwinlm_tests::gateway::Gateway;
use darwinlm_tests::local::Local;
use darwinlm_tests::programs::program;

/// What the command prints.
fn gc(store: &str, more: &[&str], variables: &[(String, String)]) -> String {
    let output = Command::new(program("darwinlm"))
        .args(["gc", "--store", store])
        .args(more)
        // Servers of tests are on this machine, whatever proxy there is.
        .env("NO_PROXY", "127.0.0.1")
        .envs(variables.iter().cloned())
        .output()
        .expect("darwinlm can be started");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    said
}

/// Lets every file below a folder be a month old.
fn age(folder: &Path) {
    let aged = Command::new("find")
        .arg(folder)
        .args([
            "-type",
            "f",
            "-exec",
            "touch",
            "-d",
            "30 days ago",
            "{}",
            "+",
        ])
        .status();
    assert!(aged.is_ok_and(|status| status.success()));
}

/// Looks at a store by its URL while its files lie in a folder.
fn story(folder: &Path, url: &str, variables: &[(String, String)]) {
    let shared = || {
        let kinds = ["models", "tokens", "databases", "teachers"].into_iter();
        kinds
            .filter(|kind| !files_below(&folder.join(kind)).is_empty())
            .collect::<Vec<_>>()
    };
    let all = ["models", "tokens", "databases", "teachers"];
    assert_eq!(shared(), all);
    age(folder);
    let said = gc(url, &["--delete"], variables);
    assert!(
        said.contains("0 removed") && said.contains("4 that runs use"),
        "{said}"
    );
    assert_eq!(shared(), all, "the run uses them");

    // As the clean-up of a deleted run leaves it.
    fs::remove_dir_all(folder.join("runs")).expect("the run's prefix can be removed");
    let said = gc(url, &[], variables);
    assert!(
        said.contains("4 to remove") && said.contains("models/"),
        "{said}"
    );
    assert_eq!(shared(), all, "it was only asked");
    let said = gc(url, &["--older-than", "60d", "--delete"], variables);
    assert!(said.contains("4 that are too young"), "{said}");

    // A builder's beat is new, whatever else is old.
    let database = fs::read_dir(folder.join("databases"))
        .expect("there is a database")
        .flatten()
        .next()
        .expect("it is one")
        .path();
    let beat = database.join("claims/blocks-0000-0002/1.beat");
    fs::create_dir_all(beat.parent().expect("it lies in a folder")).expect("it can be made");
    fs::write(&beat, "{\"count\":3}").expect("it can be written");
    let said = gc(url, &["--delete"], variables);
    assert!(
        said.contains("3 removed") && said.contains("1 that are too young"),
        "{said}"
    );
    assert_eq!(shared(), ["databases"]);
}

#[test]
fn what_a_run_uses_stays_and_what_none_uses_goes_and_is_made_again_when_it_is_wanted() {
    let world = Local::new();
    let digest = world.run(&[]).digest();
    let bucket = Gateway::start("canary of the store");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(world.store())
        .arg(bucket.bucket().join("runs"))
        .status();
    assert!(copied.is_ok_and(|status| status.success()));
    let store = world.store();
    story(&store, store.to_str().expect("it is text"), &[]);
    story(
        &bucket.bucket().join("runs"),
        "s3://bucket/runs",
        &bucket.variables(),
    );
    assert_eq!(world.run(&[]).digest(), digest);
}

#[test]
fn an_age_that_a_builder_may_need_is_refused() {
    let refused = Command::new(program("darwinlm"))
        .args(["gc", "--store", "/tmp", "--older-than", "1m"])
        .output()
        .expect("darwinlm can be started");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && said.contains("at least 10m"),
        "{said}"
    );
}
